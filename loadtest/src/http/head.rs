//! Heads of responses, and what they say about the body (RFC 9112 section 6).

use std::mem::MaybeUninit;

use httparse::{Header, ParserConfig, Response, Status};

use super::body::Body;
use crate::{
    checks::{Checks, Seen},
    failure::Failure,
    protocol::Reuse,
};

/// Most header fields of a response.
const MAX_FIELDS: usize = 96;

/// What matters of a head.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: u16,
    pub(super) reuse: Reuse,
    pub(super) body: Body,
}

/// What header fields say about the message's end and the connection's.
#[derive(Default)]
struct Framing {
    length: Option<u64>,
    chunked: bool,
    other_coding: bool,
    close: bool,
    keep_alive: bool,
}

impl Head {
    /// Whether the response that counts is still to come (RFC 9110 section 15.2).
    pub(super) fn is_interim(&self) -> bool {
        (100..200).contains(&self.status)
    }
}

/// The head `input` begins with and its length in bytes; `None` when part of it is missing.
pub(super) fn parse(
    input: &[u8],
    method: &str,
    checks: &Checks,
    seen: &mut Seen,
) -> Result<Option<(Head, usize)>, Failure> {
    let mut fields = [const { MaybeUninit::<Header<'_>>::uninit() }; MAX_FIELDS];
    let mut response = Response::new(&mut []);
    let parsed = ParserConfig::default().parse_response_with_uninit_headers(
        &mut response,
        input,
        &mut fields,
    );
    let len = match parsed {
        Ok(Status::Complete(len)) => len,
        Ok(Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => {
            return Err(Failure::Protocol("the response has more than 96 header fields"));
        }
        Err(_) => return Err(Failure::Protocol("the head of the response is malformed")),
    };
    let status = response.code.unwrap_or_default();
    if !(100..1000).contains(&status) {
        return Err(Failure::Protocol("the status is not a number from 100 to 999"));
    }
    if status == 101 {
        return Err(Failure::Protocol("the server switched protocols unasked"));
    }
    let framing = Framing::read(response.headers)?;
    if checks.wants_headers() && status >= 200 {
        for Header { name, value } in &*response.headers {
            checks.header(seen, name.as_bytes(), value);
        }
    }
    let body = framing.body(status, method)?;
    let persistent = !framing.close && (response.version == Some(1) || framing.keep_alive);
    let reuse = match body {
        Body::UntilClose => Reuse::Close,
        _ if persistent => Reuse::Keep,
        _ => Reuse::Close,
    };
    Ok(Some((Head { status, reuse, body }, len)))
}

// === impl Framing ===

impl Framing {
    fn read(fields: &[Header<'_>]) -> Result<Self, Failure> {
        let mut framing = Self::default();
        for Header { name, value } in fields {
            // The length first: it tells almost all names apart without comparing them.
            match name.len() {
                14 if name.eq_ignore_ascii_case("content-length") => framing.length(value)?,
                17 if name.eq_ignore_ascii_case("transfer-encoding") => framing.coding(value)?,
                10 if name.eq_ignore_ascii_case("connection") => framing.connection(value),
                _ => {}
            }
        }
        Ok(framing)
    }

    fn length(&mut self, value: &[u8]) -> Result<(), Failure> {
        let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
        let length = str::from_utf8(value).ok().filter(|_| digits).and_then(|v| v.parse().ok());
        let length: u64 = length.ok_or(Failure::Protocol("Content-Length is not a number"))?;
        if self.length.replace(length).is_some_and(|before| before != length) {
            return Err(Failure::Protocol("two Content-Length fields differ"));
        }
        Ok(())
    }

    fn coding(&mut self, value: &[u8]) -> Result<(), Failure> {
        for coding in tokens(value) {
            if self.chunked {
                return Err(Failure::Protocol("chunked is not the last transfer coding"));
            }
            if coding.eq_ignore_ascii_case(b"chunked") {
                self.chunked = true;
            } else {
                self.other_coding = true;
            }
        }
        Ok(())
    }

    fn connection(&mut self, value: &[u8]) {
        for option in tokens(value) {
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }

    /// RFC 9112 section 6.3, in its order.
    fn body(&self, status: u16, method: &str) -> Result<Body, Failure> {
        if method == "HEAD" || matches!(status, 100..200 | 204 | 304) {
            return Ok(Body::of_length(0));
        }
        match (self.chunked, self.other_coding, self.length) {
            // It might be an attempt at smuggling; nothing honest sends both.
            (true, _, Some(_)) | (_, true, Some(_)) => {
                Err(Failure::Protocol("both Transfer-Encoding and Content-Length"))
            }
            (true, ..) => Ok(Body::chunked()),
            (false, true, None) | (false, false, None) => Ok(Body::UntilClose),
            (false, false, Some(length)) => Ok(Body::of_length(length)),
        }
    }
}

/// The elements of a comma-separated list.
fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|token| !token.is_empty())
}
