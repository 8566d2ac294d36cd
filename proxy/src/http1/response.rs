//! Parsing response heads (RFC 9112 sections 4 to 6).

use httparse::{Error, Status};

use super::error::ResponseError;
use super::fault::{self, HeadFault};
use super::field_table::FieldTable;
use super::framing::Framing;
use super::head::{HeadLimits, HeaderStorage, MAX_HEADERS, Parsed, Version};
use super::request::VersionText;

/// What a response answers: without it, its length is unknown (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResponseTo {
    /// The request was a HEAD: no body follows.
    pub head: bool,
    /// The request was a CONNECT: success opens a tunnel.
    pub connect: bool,
    /// The request asked for another protocol, so 101 is an answer.
    pub upgrade: bool,
}

/// How the body of a response is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseFraming {
    /// No body follows, whatever the fields say.
    None,
    /// So many bytes, at least one.
    Length(u64),
    /// Chunks, to be followed by a [`super::ChunkedScanner`].
    Chunked,
    /// Everything until the connection closes.
    UntilClose,
    /// No longer HTTP: 101, or success of a CONNECT.
    Tunnel,
}

/// A validated response head, a view of the read buffer.
#[derive(Clone, Copy, Debug)]
pub struct ResponseHead<'b> {
    /// The status, 100 to 999.
    pub status: u16,
    /// The reason phrase; empty when it was absent or not ASCII.
    pub reason: &'b str,
    /// The version the endpoint speaks.
    pub version: Version,
    /// How the body is delimited.
    pub framing: ResponseFraming,
    /// The length the fields state: the length of the body, or, without one (HEAD, 304), of what
    /// GET would have brought.
    pub content_length: Option<u64>,
    /// Whether the upstream connection can carry another request once the body has been read.
    pub keep_alive: bool,
    /// Bytes of the head: the body starts here.
    pub head_len: usize,
    pub(super) fields: FieldTable<'b>,
}

impl<'b> ResponseHead<'b> {
    /// The value of the first field with this name, which is compared without regard to case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'b [u8]> {
        self.fields.get(name)
    }

    /// All fields in order of appearance.
    pub fn headers(&self) -> impl Iterator<Item = (&'b str, &'b [u8])> + use<'b> {
        self.fields.headers.iter().map(|header| (header.name, header.value))
    }

    /// Whether the final response is still to come (RFC 9110 section 15.2). A client of HTTP/1.0
    /// must not see this one.
    #[must_use]
    pub const fn is_interim(&self) -> bool {
        self.status < 200 && self.status != 101
    }
}

/// Parses the response head at the start of `buf`.
///
/// # Errors
/// The first fault found; the upstream connection must be closed.
pub fn parse_response<'h, 'b: 'h>(
    buf: &'b [u8],
    limits: &HeadLimits,
    request: ResponseTo,
    storage: &'h mut HeaderStorage<'b>,
) -> Result<Parsed<ResponseHead<'h>>, ResponseError> {
    if matches!(buf.first(), Some(b'\r' | b'\n')) {
        return Err(ResponseError::InvalidStatusLine);
    }
    let window = &buf[..buf.len().min(limits.max_head_bytes)];
    let slots = &mut storage.slots[..limits.max_headers.min(MAX_HEADERS)];
    let mut raw = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    match config.parse_response_with_uninit_headers(&mut raw, window, slots) {
        Ok(Status::Complete(len)) => Ok(Parsed::Complete(assemble(&window[..len], request, raw)?)),
        Ok(Status::Partial) if buf.len() >= limits.max_head_bytes => {
            Err(HeadFault::TooLarge.into())
        }
        Ok(Status::Partial) => Ok(Parsed::Partial),
        Err(error) => refuse(window, error),
    }
}

#[inline]
fn assemble<'h, 'b: 'h>(
    head: &'b [u8],
    request: ResponseTo,
    raw: httparse::Response<'h, 'b>,
) -> Result<ResponseHead<'h>, ResponseError> {
    let status = raw.code.ok_or(ResponseError::InvalidStatusLine)?;
    if status < 100 {
        return Err(ResponseError::InvalidStatus);
    }
    let version = Version::from_minor(raw.version.ok_or(ResponseError::InvalidStatusLine)?);
    let (fields, stated) = FieldTable::new(head, raw.headers, version)?;
    if status == 101
        && (!request.upgrade || fields.upgrade().is_none() || version == Version::Http10)
    {
        return Err(ResponseError::UnexpectedUpgrade);
    }
    let framing = framing(status, request, stated)?;
    let persistent =
        !fields.options.close && (version == Version::Http11 || fields.options.keep_alive);
    // A 204 that states a body may well be followed by one.
    let unambiguous = status != 204 || matches!(stated, Framing::Absent | Framing::Length(0));
    Ok(ResponseHead {
        status,
        reason: raw.reason.unwrap_or_default(),
        version,
        framing,
        content_length: if let Framing::Length(length) = stated { Some(length) } else { None },
        keep_alive: persistent
            && unambiguous
            && !matches!(framing, ResponseFraming::UntilClose | ResponseFraming::Tunnel),
        head_len: head.len(),
        fields,
    })
}

/// RFC 9112 section 6.3, in its order.
#[inline]
fn framing(
    status: u16,
    request: ResponseTo,
    stated: Framing,
) -> Result<ResponseFraming, ResponseError> {
    let interim = status < 200;
    if interim && !matches!(stated, Framing::Absent | Framing::Length(0)) {
        return Err(ResponseError::InterimWithBody);
    }
    Ok(match stated {
        _ if status == 101 => ResponseFraming::Tunnel,
        _ if request.connect && (200..300).contains(&status) => ResponseFraming::Tunnel,
        _ if interim || request.head || matches!(status, 204 | 304) => ResponseFraming::None,
        Framing::Absent => ResponseFraming::UntilClose,
        Framing::Length(0) => ResponseFraming::None,
        Framing::Length(length) => ResponseFraming::Length(length),
        Framing::Chunked => ResponseFraming::Chunked,
    })
}

/// Names the fault that made `httparse` refuse a head.
#[cold]
fn refuse<'h>(window: &[u8], error: Error) -> Result<Parsed<ResponseHead<'h>>, ResponseError> {
    match error {
        Error::Version => match VersionText::of(window) {
            VersionText::Incomplete => Ok(Parsed::Partial),
            VersionText::Unsupported => Err(ResponseError::UnsupportedVersion),
            VersionText::Supported | VersionText::Malformed => {
                Err(ResponseError::InvalidStatusLine)
            }
        },
        Error::Status => Err(ResponseError::InvalidStatusLine),
        error => Err(fault::in_header_lines(window, error).into()),
    }
}
