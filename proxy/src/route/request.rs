//! What routes look at.

use super::query;

/// A request, as far as routes look at it.
#[derive(Debug)]
pub struct Request<'r, F: ?Sized> {
    /// The host asked for, with or without a port.
    pub host: Option<&'r str>,
    /// The path without the query.
    pub path: &'r str,
    /// What follows `?`, percent-encoded as sent.
    pub query: Option<&'r str>,
    /// The method.
    pub method: &'r str,
    /// The header fields.
    pub fields: &'r F,
}

/// Header fields, by name.
pub trait Fields {
    /// Whether `test` holds for the value of any field with this name, which is compared without
    /// regard to case.
    fn any(&self, name: &str, test: &mut dyn FnMut(&[u8]) -> bool) -> bool;
}

/// No fields at all.
impl Fields for () {
    fn any(&self, _: &str, _: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        false
    }
}

impl<N: AsRef<str>, V: AsRef<[u8]>> Fields for [(N, V)] {
    fn any(&self, name: &str, test: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        let mut named = self.iter().filter(|(own, _)| own.as_ref().eq_ignore_ascii_case(name));
        named.any(|(_, value)| test(value.as_ref()))
    }
}

impl<F: Fields + ?Sized> Request<'_, F> {
    /// Whether `test` holds for the value of any cookie with this name (RFC 6265 section 4.2.1).
    pub(super) fn any_cookie(&self, name: &str, test: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        any_cookie(self.fields, name, test)
    }

    /// Whether `test` holds for the decoded value of any query parameter with this name.
    pub(super) fn any_parameter(&self, name: &str, test: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        self.query.is_some_and(|query| query::any(query, name, test))
    }
}

/// Whether `test` holds for the value of any cookie with this name (RFC 6265 section 4.2.1).
pub fn any_cookie<F: Fields + ?Sized>(
    fields: &F,
    name: &str,
    test: &mut dyn FnMut(&[u8]) -> bool,
) -> bool {
    fields.any("cookie", &mut |line| {
        line.split(|byte| *byte == b';').any(|pair| {
            let pair = pair.trim_ascii();
            let value = pair.strip_prefix(name.as_bytes()).and_then(|rest| rest.strip_prefix(b"="));
            value.is_some_and(&mut *test)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_told_apart_by_their_whole_name() {
        let fields = [("Cookie", "a=1; session=x=y;b=2 "), ("cookie", "session=z")];
        let values = |name: &str| {
            let mut found = Vec::new();
            any_cookie(&fields[..], name, &mut |value| {
                found.push(String::from_utf8_lossy(value).into_owned());
                false
            });
            found
        };
        assert_eq!(values("session"), ["x=y", "z"]);
        assert_eq!(values("a"), ["1"]);
        assert_eq!(values("b"), ["2"]);
        assert!(values("sess").is_empty() && values("SESSION").is_empty());
    }
}
