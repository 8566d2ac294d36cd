//! A reader that takes nothing but the plainest form of a request: what bs9 sends has to be that.

use std::ops::Range;

use crate::case::shown;

/// A request that has come whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) len: usize,
    /// In short, as `docs/SMUGGLING.md` writes it.
    pub(crate) summary: String,
}

/// Why bytes are no request, for a strict reader.
pub(crate) type Fault = &'static str;

/// The request at the start of `bytes`; `None`: it is not whole yet.
pub(crate) fn read(bytes: &[u8]) -> Result<Option<Request>, Fault> {
    let Some(end) = find(bytes, b"\r\n\r\n") else {
        return if bytes.len() > 256 * 1024 { Err("an endless head") } else { Ok(None) };
    };
    let mut lines = Lines { bytes: &bytes[..end + 2] };
    let (method, target) = request_line(lines.next().ok_or("no request line")??)?;
    let mut fields = Vec::new();
    for line in lines {
        fields.push(field(line?)?);
    }
    let framing = Framing::of(&fields)?;
    let hosts: Vec<_> = named(&fields, "host").collect();
    let [host] = hosts[..] else { return Err("not exactly one Host") };
    let start = end + 4;
    let Some(body) = framing.body(bytes, start)? else { return Ok(None) };
    let host = if host == b"site.test" { String::new() } else { format!(" @{}", shown(host, 60)) };
    let summary = format!(
        "{} {}{host}{}{}",
        shown(method, 60),
        shown(target, 100),
        body.shown,
        extra(&fields)
    );
    Ok(Some(Request { len: body.end, summary }))
}

struct Lines<'b> {
    bytes: &'b [u8],
}

impl<'b> Iterator for Lines<'b> {
    type Item = Result<&'b [u8], Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.bytes.is_empty() {
            return None;
        }
        let Some(end) = find(self.bytes, b"\r\n") else { return Some(Err("a line without CRLF")) };
        let line = &self.bytes[..end];
        self.bytes = &self.bytes[end + 2..];
        let control = |byte: &u8| (*byte < b' ' && *byte != b'\t') || *byte == 0x7f;
        Some(if line.iter().any(control) { Err("a control character in a line") } else { Ok(line) })
    }
}

fn request_line(line: &[u8]) -> Result<(&[u8], &[u8]), Fault> {
    let parts: Vec<_> = line.split(|byte| *byte == b' ').collect();
    let [method, target, b"HTTP/1.1"] = parts[..] else {
        return Err("a request line of another form");
    };
    if method.is_empty() || !method.iter().all(|byte| is_token(*byte)) {
        return Err("a method that is no token");
    }
    let plain = target.iter().all(|byte| (0x21..0x7f).contains(byte) && *byte != b'#');
    let form = target.starts_with(b"/") || (target == b"*" && method == b"OPTIONS");
    if plain && form { Ok((method, target)) } else { Err("a target of another form") }
}

type FieldLine<'b> = (&'b [u8], &'b [u8]);

fn field(line: &[u8]) -> Result<FieldLine<'_>, Fault> {
    let colon = line.iter().position(|byte| *byte == b':').ok_or("a header line without colon")?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    if name.is_empty() || !name.iter().all(|byte| is_token(*byte)) {
        return Err("a header name that is no token");
    }
    let value = value.strip_prefix(b" ").ok_or("no single space before a value")?;
    if value.trim_ascii().len() != value.len() {
        return Err("space around a value");
    }
    Ok((name, value))
}

fn named<'b>(fields: &'b [FieldLine<'b>], name: &'b str) -> impl Iterator<Item = &'b [u8]> {
    let of_name = move |(own, _): &&FieldLine<'_>| own.eq_ignore_ascii_case(name.as_bytes());
    fields.iter().filter(of_name).map(|(_, value)| *value)
}

enum Framing {
    None,
    Length(usize),
    Chunked,
}

struct Body {
    end: usize,
    shown: String,
}

impl Framing {
    fn of(fields: &[FieldLine<'_>]) -> Result<Self, Fault> {
        let lengths: Vec<_> = named(fields, "content-length").collect();
        let codings: Vec<_> = named(fields, "transfer-encoding").collect();
        match (&lengths[..], &codings[..]) {
            ([], []) => Ok(Self::None),
            ([length], []) => {
                let digits = length.iter().all(u8::is_ascii_digit);
                let plain = digits && (*length == b"0" || !length.starts_with(b"0"));
                let text = plain.then(|| std::str::from_utf8(length).ok()).flatten();
                let number = text.and_then(|text| text.parse().ok());
                number.map(Self::Length).ok_or("a Content-Length of another form")
            }
            ([], [coding]) if coding.eq_ignore_ascii_case(b"chunked") => Ok(Self::Chunked),
            ([], [_]) => Err("a Transfer-Encoding that is not chunked"),
            _ => Err("more than one framing field"),
        }
    }

    fn body(&self, bytes: &[u8], start: usize) -> Result<Option<Body>, Fault> {
        let (end, shown) = match *self {
            Self::None => (start, String::new()),
            Self::Length(length) => {
                let Some(body) = bytes.get(start..start.saturating_add(length)) else {
                    return Ok(None);
                };
                (start + length, format!(" ({})", shown(body, 40)))
            }
            Self::Chunked => {
                let Some(chunked) = Chunked::read(bytes, start)? else { return Ok(None) };
                (chunked.end, chunked.shown())
            }
        };
        Ok(Some(Body { end, shown }))
    }
}

#[derive(Default)]
struct Chunked<'b> {
    payload: Vec<u8>,
    extensions: Vec<&'b [u8]>,
    trailers: Vec<FieldLine<'b>>,
    end: usize,
}

impl<'b> Chunked<'b> {
    fn read(bytes: &'b [u8], start: usize) -> Result<Option<Self>, Fault> {
        let mut this = Self { end: start, ..Self::default() };
        loop {
            let Some(line) = this.line(bytes)? else { return Ok(None) };
            let size_end = line.iter().position(|byte| !byte.is_ascii_hexdigit());
            let (size, extension) = line.split_at(size_end.unwrap_or(line.len()));
            let size = std::str::from_utf8(size).map_err(|_| "a chunk size that is no number")?;
            let size =
                usize::from_str_radix(size, 16).map_err(|_| "a chunk size that is no number")?;
            if !extension.is_empty() {
                if !extension.trim_ascii_start().starts_with(b";") {
                    return Err("something behind a chunk size");
                }
                this.extensions.push(extension);
            }
            if size == 0 {
                break;
            }
            let whole = size.checked_add(2).ok_or("a chunk of every byte there is")?;
            let Some(chunk) = this.take(bytes, whole) else { return Ok(None) };
            let payload = chunk.strip_suffix(b"\r\n").ok_or("a chunk without CRLF")?;
            this.payload.extend_from_slice(payload);
        }
        loop {
            let Some(line) = this.line(bytes)? else { return Ok(None) };
            if line.is_empty() {
                return Ok(Some(this));
            }
            this.trailers.push(field(line)?);
        }
    }

    fn take(&mut self, bytes: &'b [u8], count: usize) -> Option<&'b [u8]> {
        let range: Range<usize> = self.end..self.end.checked_add(count)?;
        let taken = bytes.get(range)?;
        self.end += count;
        Some(taken)
    }

    fn line(&mut self, bytes: &'b [u8]) -> Result<Option<&'b [u8]>, Fault> {
        let rest = &bytes[self.end..];
        let Some(len) = find(rest, b"\r\n") else {
            // Only a CR may still be waiting for its LF.
            let open = rest.strip_suffix(b"\r").unwrap_or(rest);
            let broken = open.iter().any(|byte| matches!(byte, b'\r' | b'\n'));
            return if broken { Err("a chunk line without CRLF") } else { Ok(None) };
        };
        let line = &rest[..len];
        if line.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
            return Err("a control character in a chunk line");
        }
        self.end += len + 2;
        Ok(Some(line))
    }

    fn shown(&self) -> String {
        let mut text = format!(" <{}>", shown(&self.payload, 40));
        for extension in &self.extensions {
            text.push_str(&format!(" [{}]", shown(extension, 20)));
        }
        if !self.trailers.is_empty() {
            text.push_str(&format!(" +{}", listed(self.trailers.iter().copied())));
        }
        text
    }
}

/// The fields that are neither a proxy's own nor shown otherwise.
fn extra(fields: &[FieldLine<'_>]) -> String {
    const USUAL: [&str; 7] = [
        "host",
        "content-length",
        "transfer-encoding",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-host",
        "accept",
    ];
    let shown: Vec<_> = fields
        .iter()
        .copied()
        .filter(|(name, value)| {
            let own = String::from_utf8_lossy(name).to_ascii_lowercase();
            let tunnels = value.eq_ignore_ascii_case(b"upgrade");
            !USUAL.contains(&own.as_str()) && (own != "connection" || tunnels)
        })
        .collect();
    match shown.len() {
        0 => String::new(),
        1..=4 => format!(" {}", listed(shown.into_iter())),
        many => format!(" {{{many} fields}}"),
    }
}

fn listed<'b>(fields: impl Iterator<Item = FieldLine<'b>>) -> String {
    let lines: Vec<_> =
        fields.map(|(name, value)| format!("{}: {}", shown(name, 40), shown(value, 60))).collect();
    format!("{{{}}}", lines.join(", "))
}

pub(crate) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

pub(crate) fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}
