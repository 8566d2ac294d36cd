//! An input and what has to become of it.

/// An input of HTTP/1.x, as the client sends it.
pub(crate) struct Case {
    /// RFC and section.
    pub(crate) section: &'static str,
    pub(crate) what: String,
    pub(crate) input: Vec<u8>,
    /// What the client is told and the origin sees, in order (see `docs/SMUGGLING.md`).
    pub(crate) verdict: &'static str,
    /// Whether the client says after it that nothing more comes, instead of asking on.
    pub(crate) ends: bool,
}

/// An input, followed by another request on the same connection.
pub(crate) fn case(
    section: &'static str,
    what: &str,
    input: impl AsRef<[u8]>,
    verdict: &'static str,
) -> Case {
    Case { section, what: what.to_owned(), input: input.as_ref().to_vec(), verdict, ends: false }
}

/// An input that ends in the middle.
pub(crate) fn cut_off(
    section: &'static str,
    what: &str,
    input: impl AsRef<[u8]>,
    verdict: &'static str,
) -> Case {
    Case { ends: true, ..case(section, what, input, verdict) }
}

/// What comes after every input: whoever reads that one rightly finds this.
pub(crate) const NEXT: &str = "GET /next HTTP/1.1\r\nHost: next.test\r\nConnection: close\r\n\r\n";

/// What an attacker would like to have read as a request; nothing that is sent asks for it.
pub(crate) const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: site.test\r\n\r\n";

/// A GET with these lines.
pub(crate) fn get(lines: impl AsRef<[u8]>) -> Vec<u8> {
    head("GET /a HTTP/1.1", lines, "")
}

/// A POST with these lines and what follows its head.
pub(crate) fn post(lines: impl AsRef<[u8]>, body: impl AsRef<[u8]>) -> Vec<u8> {
    head("POST /a HTTP/1.1", lines, body)
}

/// A POST in chunks.
pub(crate) fn chunks(body: impl AsRef<[u8]>) -> Vec<u8> {
    post("Transfer-Encoding: chunked\r\n", body)
}

/// A GET with this request line.
pub(crate) fn line(line: impl AsRef<[u8]>) -> Vec<u8> {
    head(line, "", "")
}

pub(crate) fn head(
    line: impl AsRef<[u8]>,
    lines: impl AsRef<[u8]>,
    body: impl AsRef<[u8]>,
) -> Vec<u8> {
    let host: &[u8] = b"\r\nHost: site.test\r\n";
    [line.as_ref(), host, lines.as_ref(), b"\r\n", body.as_ref()].concat()
}

/// Bytes as a person can read them: long ones are left out.
pub(crate) fn shown(bytes: &[u8], most: usize) -> String {
    if bytes.len() > most {
        return format!("{} bytes", bytes.len());
    }
    escaped(bytes)
}

pub(crate) fn escaped(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string().replace("\\'", "'").replace("\\\"", "\"")
}
