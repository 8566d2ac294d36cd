//! Parsing request heads (RFC 9112 sections 2, 3 and 5).

use httparse::{Error, Status};

use super::authority;
use super::error::RequestError;
use super::fault::{self, HeadFault};
use super::field_table::FieldTable;
use super::framing::Framing;
use super::head::{HeadLimits, HeaderStorage, MAX_HEADERS, Parsed, Version};
use super::response::ResponseTo;
use super::target::Target;

/// Empty lines tolerated before a request line: some clients end a body with one too many (RFC 9112
/// section 2.2).
const MAX_LEADING_EMPTY_LINES: usize = 4;

/// How the body of a request is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFraming {
    /// No body follows; also said by `Content-Length: 0`.
    None,
    /// So many bytes, at least one.
    Length(u64),
    /// Chunks, to be followed by a [`super::ChunkedScanner`].
    Chunked,
}

/// A validated request head, a view of the read buffer.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'b> {
    /// The method, a token; methods are told apart by case.
    pub method: &'b str,
    /// The request target.
    pub target: Target<'b>,
    /// The version the client speaks.
    pub version: Version,
    /// The host that is asked for, with its port if one was sent: from the target when that has
    /// one, else from `Host`. Never empty. `None` only in HTTP/1.0.
    pub host: Option<&'b str>,
    /// How the body is delimited.
    pub framing: BodyFraming,
    /// Whether the client would send another request on this connection.
    pub keep_alive: bool,
    /// Whether the client waits for a 100 before it sends the body.
    pub expect_continue: bool,
    /// The protocol the client would switch to: only in HTTP/1.1, when `Connection` names the
    /// upgrade and no body follows. Never HTTP or TLS.
    pub upgrade: Option<&'b str>,
    /// Bytes of the head, with any empty lines before it: the body starts here.
    pub head_len: usize,
    pub(super) fields: FieldTable<'b>,
}

impl<'b> RequestHead<'b> {
    /// The value of the first field with this name, which is compared without regard to case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'b [u8]> {
        self.fields.get(name)
    }

    /// All fields in order of appearance.
    pub fn headers(&self) -> impl Iterator<Item = (&'b str, &'b [u8])> + use<'b> {
        self.fields.headers.iter().map(|header| (header.name, header.value))
    }

    /// What has to be known of this request to read the response to it.
    #[must_use]
    pub fn response_to(&self) -> ResponseTo {
        ResponseTo {
            head: self.method == "HEAD",
            connect: self.method == "CONNECT",
            upgrade: self.upgrade.is_some(),
        }
    }
}

/// Parses the request head at the start of `buf`.
///
/// While the head is incomplete, call again when bytes have been appended; the verdict does not
/// depend on how the bytes arrive.
///
/// # Errors
/// The first fault found; the connection must be closed after answering with
/// [`RequestError::status`].
pub fn parse_request<'h, 'b: 'h>(
    buf: &'b [u8],
    limits: &HeadLimits,
    storage: &'h mut HeaderStorage<'b>,
) -> Result<Parsed<RequestHead<'h>>, RequestError> {
    let skipped = leading_empty_lines(buf)?;
    let window = &buf[skipped..buf.len().min(limits.max_head_bytes).max(skipped)];
    let slots = &mut storage.slots[..limits.max_headers.min(MAX_HEADERS)];
    let mut raw = httparse::Request::new(&mut []);
    match raw.parse_with_uninit_headers(window, slots) {
        Ok(Status::Complete(len)) => {
            let head = assemble(&window[..len], skipped, limits, raw)?;
            Ok(Parsed::Complete(head))
        }
        Ok(Status::Partial) => {
            check_target_len(window, &raw, limits)?;
            if buf.len() >= limits.max_head_bytes {
                return Err(HeadFault::TooLarge.into());
            }
            Ok(Parsed::Partial)
        }
        Err(error) => {
            check_target_len(window, &raw, limits)?;
            refuse(window, &raw, error)
        }
    }
}

/// Bytes of the empty lines before the request line.
#[inline]
fn leading_empty_lines(buf: &[u8]) -> Result<usize, RequestError> {
    if !matches!(buf.first(), Some(b'\r' | b'\n')) {
        return Ok(0);
    }
    let mut skipped = 0;
    for _ in 0..MAX_LEADING_EMPTY_LINES {
        skipped += match &buf[skipped..] {
            [b'\r', b'\n', ..] => 2,
            [b'\n', ..] => 1,
            [b'\r', _, ..] => return Err(HeadFault::BareCr.into()),
            _ => return Ok(skipped),
        };
    }
    match &buf[skipped..] {
        [b'\r' | b'\n', ..] => Err(RequestError::LeadingEmptyLines),
        _ => Ok(skipped),
    }
}

/// Refuses a target beyond its limit, whether or not all of it has arrived.
#[inline]
fn check_target_len(
    window: &[u8],
    raw: &httparse::Request<'_, '_>,
    limits: &HeadLimits,
) -> Result<(), RequestError> {
    let len = match (raw.path, raw.method) {
        (Some(path), _) => path.len(),
        (None, Some(method)) => {
            let rest = window.get(method.len() + 1..).unwrap_or_default();
            rest.iter().position(|byte| *byte <= b' ' || *byte == 0x7f).unwrap_or(rest.len())
        }
        (None, None) => 0,
    };
    if len > limits.max_uri_bytes { Err(RequestError::UriTooLong) } else { Ok(()) }
}

#[inline]
fn assemble<'h, 'b: 'h>(
    head: &'b [u8],
    skipped: usize,
    limits: &HeadLimits,
    raw: httparse::Request<'h, 'b>,
) -> Result<RequestHead<'h>, RequestError> {
    let method = raw.method.ok_or(RequestError::InvalidMethod)?;
    let path = raw.path.ok_or(RequestError::InvalidTarget)?;
    if path.len() > limits.max_uri_bytes {
        return Err(RequestError::UriTooLong);
    }
    let version = Version::from_minor(raw.version.ok_or(RequestError::InvalidVersion)?);
    let target = Target::parse(method, path).ok_or(RequestError::InvalidTarget)?;
    let (fields, framing) = FieldTable::new(head, raw.headers, version)?;
    let framing = match framing {
        _ if method == "CONNECT" && framing != Framing::Absent => {
            return Err(RequestError::ConnectWithBody);
        }
        Framing::Absent | Framing::Length(0) => BodyFraming::None,
        Framing::Length(length) => BodyFraming::Length(length),
        Framing::Chunked => BodyFraming::Chunked,
    };
    let host = host(&fields, target, version)?;
    let http11 = version == Version::Http11;
    let has_body = framing != BodyFraming::None;
    Ok(RequestHead {
        method,
        target,
        version,
        host,
        framing,
        keep_alive: !fields.options.close && (http11 || fields.options.keep_alive),
        expect_continue: http11 && expects_continue(&fields)? && has_body,
        upgrade: if http11 && !has_body { fields.upgrade() } else { None },
        head_len: skipped + head.len(),
        fields,
    })
}

/// The host asked for. A target that names one wins over `Host`, which must be right all the same
/// (RFC 9112 sections 3.2 and 3.2.2).
fn host<'b>(
    fields: &FieldTable<'b>,
    target: Target<'b>,
    version: Version,
) -> Result<Option<&'b str>, RequestError> {
    let lines = fields.marks.host;
    let field = match fields.single(lines) {
        Some(value) if authority::is_valid(value) => {
            Some(std::str::from_utf8(value).map_err(|_| RequestError::InvalidHost)?)
        }
        Some(_) => return Err(RequestError::InvalidHost),
        None if lines != 0 => return Err(RequestError::RepeatedHost),
        None if version == Version::Http11 => return Err(RequestError::MissingHost),
        None => None,
    };
    Ok(match target {
        Target::Absolute { authority, .. } | Target::Authority(authority) => Some(authority),
        Target::Origin(_) | Target::Asterisk => field,
    })
}

/// Whether `Expect: 100-continue` is there; any other expectation is refused (RFC 9110 section
/// 10.1.1).
#[inline]
fn expects_continue(fields: &FieldTable<'_>) -> Result<bool, RequestError> {
    let lines = fields.marks.expect;
    if fields.values(lines).all(|value| value.eq_ignore_ascii_case(b"100-continue")) {
        Ok(lines != 0)
    } else {
        Err(RequestError::UnsupportedExpectation)
    }
}

/// Names the fault that made `httparse` refuse a head.
#[cold]
fn refuse<'h>(
    window: &[u8],
    raw: &httparse::Request<'_, '_>,
    error: Error,
) -> Result<Parsed<RequestHead<'h>>, RequestError> {
    let Some(method) = raw.method else {
        return Err(RequestError::InvalidMethod);
    };
    let Some(path) = raw.path else {
        return Err(RequestError::InvalidTarget);
    };
    let version_at = method.len() + path.len() + 2;
    let rest = window.get(version_at..).unwrap_or_default();
    if error == Error::Version {
        return match VersionText::of(rest) {
            VersionText::Incomplete => Ok(Parsed::Partial),
            VersionText::Unsupported => Err(RequestError::UnsupportedVersion),
            VersionText::Supported | VersionText::Malformed => Err(RequestError::InvalidVersion),
        };
    }
    match rest.get(8..).unwrap_or_default() {
        [b'\n', ..] | [b'\r', b'\n', ..] => Err(fault::in_header_lines(window, error).into()),
        [b'\r', ..] => Err(HeadFault::BareCr.into()),
        _ => Err(RequestError::InvalidVersion),
    }
}

/// What stands where the protocol version belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum VersionText {
    /// The beginning of a version.
    Incomplete,
    /// HTTP/1.0 or HTTP/1.1.
    Supported,
    /// Another version.
    Unsupported,
    /// No version.
    Malformed,
}

impl VersionText {
    /// Reads `HTTP/` digit `.` digit (RFC 9112 section 2.3) from the start of `text`.
    pub(super) fn of(text: &[u8]) -> Self {
        let shape = b"HTTP/0.0";
        let fits = text.iter().zip(shape).all(|(byte, want)| match want {
            b'0' => byte.is_ascii_digit(),
            want => byte == want,
        });
        match text.get(..shape.len()) {
            _ if !fits => Self::Malformed,
            None => Self::Incomplete,
            Some(b"HTTP/1.0" | b"HTTP/1.1") => Self::Supported,
            Some(_) => Self::Unsupported,
        }
    }
}
