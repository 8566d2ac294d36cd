//! `request_headers` and `response_headers`: header fields removed, set and added.

use bs9_config::HeaderEdits;

use crate::http1::{HeaderLine, HeaderLineError};

/// Changes to the fields of a head.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FieldEdits {
    /// What is written, in place of the fields of the same name or beside them.
    lines: Box<[HeaderLine]>,
    remove: Box<[Box<str>]>,
}

impl FieldEdits {
    pub(crate) fn compile(wanted: &HeaderEdits) -> Result<Self, String> {
        let explain = |name: &str, error: HeaderLineError| format!("{name}: {error}");
        let line = |field: &bs9_config::HeaderField| {
            HeaderLine::new(&field.name, &field.value).map_err(|error| explain(&field.name, error))
        };
        let set = wanted.set.iter().map(line);
        let add = wanted.add.iter().map(|field| line(field).map(HeaderLine::beside));
        Ok(Self {
            lines: set.chain(add).collect::<Result<_, _>>()?,
            remove: wanted.remove.iter().map(|name| (&**name).into()).collect(),
        })
    }

    /// Lines that are set, in place of those of the same name.
    pub(crate) fn of(lines: impl IntoIterator<Item = HeaderLine>) -> Self {
        Self { lines: lines.into_iter().collect(), remove: Box::default() }
    }

    /// These, and `others` where they do not speak of the same field.
    pub(crate) fn and(mut self, others: &Self) -> Self {
        let new = others.lines.iter().filter(|other| !self.names(other.name()));
        let lines: Box<[_]> = new.chain(&self.lines).cloned().collect();
        let removed = others.remove.iter().filter(|name| !self.replaces(name.as_bytes()));
        self.remove = removed.chain(&self.remove).cloned().collect();
        self.lines = lines;
        self
    }

    fn names(&self, name: &[u8]) -> bool {
        let removed = self.remove.iter().any(|own| own.as_bytes().eq_ignore_ascii_case(name));
        removed || self.replaces(name)
    }

    fn replaces(&self, name: &[u8]) -> bool {
        let mut lines = self.lines.iter().filter(|line| line.replaces());
        lines.any(|line| line.name().eq_ignore_ascii_case(name))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.remove.is_empty()
    }

    pub(crate) fn lines(&self) -> &[HeaderLine] {
        &self.lines
    }

    pub(crate) fn remove(&self) -> &[Box<str>] {
        &self.remove
    }

    /// Edits the head of a whole response that is the proxy's own. What frames it stays.
    pub(crate) fn apply(&self, response: &mut Vec<u8>) {
        if self.is_empty() {
            return;
        }
        let Some(end) = memchr::memmem::find(response, b"\r\n\r\n") else { return };
        let mut edited = Vec::with_capacity(response.len() + 256);
        let head = &response[..end + 2];
        for (number, line) in head.split_inclusive(|byte| *byte == b'\n').enumerate() {
            let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
            let framing = [&b"Content-Length"[..], b"Connection"].contains(&name);
            if number == 0 || framing || !self.names(name) {
                edited.extend_from_slice(line);
            }
        }
        self.lines.iter().for_each(|line| edited.extend_from_slice(line.as_bytes()));
        edited.extend_from_slice(&response[end + 2..]);
        *response = edited;
    }
}

#[cfg(test)]
mod tests {
    use bs9_config::HeaderField;

    use super::*;

    fn field(name: &str, value: &str) -> HeaderField {
        HeaderField { name: name.into(), value: value.into() }
    }

    #[test]
    fn own_answers_are_edited_but_for_their_framing() {
        let edits = FieldEdits::compile(&HeaderEdits {
            set: vec![field("content-type", "text/html")],
            add: vec![field("X-A", "2"), field("x-a", "3")],
            remove: vec!["retry-after".into(), "Content-Length".into()],
        })
        .unwrap();
        let mut response = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\n\
            X-A: 1\r\nRetry-After: 5\r\nContent-Length: 4\r\n\r\n\r\n\r\n"
            .to_vec();
        edits.apply(&mut response);
        let expected = "HTTP/1.1 503 Service Unavailable\r\nX-A: 1\r\nContent-Length: 4\r\n\
            content-type: text/html\r\nX-A: 2\r\nx-a: 3\r\n\r\n\r\n\r\n";
        assert_eq!(String::from_utf8(response).unwrap(), expected);
    }

    #[test]
    fn a_route_says_more_than_its_listener() {
        let everywhere = FieldEdits::of([HeaderLine::new("X-A", "1").unwrap()]);
        let set = HeaderEdits { set: vec![field("x-a", "2")], ..HeaderEdits::default() };
        let own = FieldEdits::compile(&set).unwrap();
        assert_eq!(own.clone().and(&everywhere), own);
        let none = FieldEdits::default().and(&everywhere);
        assert_eq!(none, everywhere);
        let reserved =
            HeaderEdits { add: vec![field("Connection", "x")], ..HeaderEdits::default() };
        assert!(FieldEdits::compile(&reserved).unwrap_err().starts_with("Connection: "));
    }
}
