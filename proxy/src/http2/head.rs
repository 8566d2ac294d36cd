//! Heads between HTTP/2 and HTTP/1.1.

use std::io::Write as _;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use bs9_net::Buffer;
use bytes::Bytes;
use h2::ext::Protocol;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode,
    header::{CONTENT_LENGTH, COOKIE, HOST, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, TE},
    uri::PathAndQuery,
};

use crate::{
    http::Failure,
    http1::{HeadFault, RequestError, ResponseHead, is_for_one_hop},
};

/// How a call of gRPC ended: in its trailers, or in its head when there is nothing else.
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// How the body of a request is put after its head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// As it is: its length was stated, or there is none.
    Plain,
    /// In chunks, which can end in trailers.
    Chunked,
    /// Bytes of another protocol (RFC 8441).
    Tunnel,
}

/// Writes the head of `request` as HTTP/1.1 has it into an empty buffer. `ended`: no body
/// follows. A CONNECT that names a protocol becomes the upgrade to it, with a `nonce` for the
/// handshake of WebSocket, which HTTP/2 does without (RFC 8441 section 5).
///
/// What is not a request in HTTP/1.1 either is left to its parser; here is checked what only
/// HTTP/2 can express.
///
/// # Errors
/// When the request is malformed (RFC 9113 section 8.1.1), or its head too large.
pub(super) fn write_request(
    request: &Request<()>,
    ended: bool,
    nonce: impl FnOnce() -> [u8; 16],
    into: &mut Buffer,
) -> Result<Shape, Failure> {
    let protocol = request.extensions().get::<Protocol>();
    let is_connect = request.method() == Method::CONNECT;
    if is_connect && protocol.is_none() {
        return Err(Failure::Connect);
    }
    let stated = request.headers().contains_key(CONTENT_LENGTH);
    let shape = match protocol {
        Some(_) => Shape::Tunnel,
        None if ended || stated => Shape::Plain,
        None => Shape::Chunked,
    };
    let mut out = into.spare();
    let room = out.len();
    let method = if shape == Shape::Tunnel { &Method::GET } else { request.method() };
    let target = target(request)?;
    let host = host(request)?;
    let written = (|| {
        write!(out, "{method} {target} HTTP/1.1\r\n")?;
        if let Some(host) = host {
            write_field(&mut out, HOST.as_str(), host)?;
        }
        match (shape, protocol) {
            (Shape::Chunked, _) => out.write_all(b"transfer-encoding: chunked\r\n")?,
            (Shape::Tunnel, Some(protocol)) => {
                write!(out, "connection: upgrade\r\nupgrade: {}\r\n", protocol.as_str())?;
                let key = BASE64_STANDARD.encode(nonce());
                write_field(&mut out, "sec-websocket-key", key.as_bytes())?;
            }
            _ => {}
        }
        write_fields(&mut out, request.headers())?;
        out.write_all(b"\r\n")
    })();
    let left = out.len();
    if written.is_err() {
        return Err(malformed(HeadFault::TooLarge));
    }
    if request.headers().values().any(has_space_around) {
        return Err(malformed(HeadFault::InvalidHeaderValue));
    }
    into.commit(room - left);
    Ok(shape)
}

fn malformed(fault: HeadFault) -> Failure {
    Failure::Request(RequestError::Head(fault))
}

/// RFC 9113 section 8.3.1: a path, or `*`.
fn target(request: &Request<()>) -> Result<&str, Failure> {
    let target = request.uri().path_and_query().map_or("", PathAndQuery::as_str);
    let asterisk = target == "*" && request.method() == Method::OPTIONS;
    if target.starts_with('/') || asterisk {
        Ok(target)
    } else {
        Err(Failure::Request(RequestError::InvalidTarget))
    }
}

/// `:authority`, which a `Host` must not contradict (RFC 9113 section 8.3.1); else `Host`.
fn host(request: &Request<()>) -> Result<Option<&[u8]>, Failure> {
    let mut fields = request.headers().get_all(HOST).iter();
    let field = fields.next().map(HeaderValue::as_bytes);
    if fields.next().is_some() {
        return Err(Failure::Request(RequestError::RepeatedHost));
    }
    let authority = request.uri().authority().map(|authority| authority.as_str().as_bytes());
    match (authority, field) {
        (Some(authority), Some(field)) if !authority.eq_ignore_ascii_case(field) => {
            Err(Failure::Request(RequestError::InvalidHost))
        }
        (Some(host), _) | (None, Some(host)) => Ok(Some(host)),
        (None, None) => Ok(None),
    }
}

/// RFC 9113 section 8.2.1.
fn has_space_around(value: &HeaderValue) -> bool {
    let is_space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let value = value.as_bytes();
    is_space(value.first()) || is_space(value.last())
}

fn write_fields(out: &mut &mut [u8], fields: &HeaderMap) -> std::io::Result<()> {
    for (name, value) in fields {
        // `te` says what this hop may be sent (RFC 9113 section 8.2.2).
        if ![HOST, COOKIE, TE, SEC_WEBSOCKET_KEY].contains(name) {
            write_field(out, name.as_str(), value.as_bytes())?;
        }
    }
    // Crumbs are one field again (RFC 9113 section 8.2.3).
    let mut crumbs = fields.get_all(COOKIE).iter();
    if let Some(first) = crumbs.next() {
        out.write_all(b"cookie: ")?;
        out.write_all(first.as_bytes())?;
        for crumb in crumbs {
            out.write_all(b"; ")?;
            out.write_all(crumb.as_bytes())?;
        }
        out.write_all(b"\r\n")?;
    }
    Ok(())
}

pub(super) fn write_field(
    out: &mut impl std::io::Write,
    name: &str,
    value: &[u8],
) -> std::io::Result<()> {
    out.write_all(name.as_bytes())?;
    out.write_all(b": ")?;
    out.write_all(value)?;
    out.write_all(b"\r\n")
}

/// The end of a chunked body, with its trailers.
pub(super) fn last_chunk(trailers: &HeaderMap) -> Bytes {
    let mut out = b"0\r\n".to_vec();
    for (name, value) in trailers {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    out.into()
}

/// The response that `head` is the head of, without what concerns connections of HTTP/1.1.
/// `None`: HTTP/2 cannot say it.
pub(super) fn response(head: &ResponseHead<'_>) -> Option<Response<()>> {
    let mut response = Response::new(());
    // Switching protocols is said by success (RFC 8441 section 5).
    let switches = head.status == 101;
    let status = if switches { 200 } else { head.status };
    *response.status_mut() = StatusCode::from_u16(status).ok()?;
    let headers = response.headers_mut();
    *headers = fields(head.headers().filter(|(name, _)| !is_for_one_hop(name)))?;
    if switches {
        headers.remove(SEC_WEBSOCKET_ACCEPT);
    }
    if headers.contains_key(GRPC_STATUS) {
        // It is the trailers as well: what is not theirs would pass for metadata of the call.
        headers.remove(CONTENT_LENGTH);
    }
    Some(response)
}

/// Fields as HTTP/2 has them: names in lower case.
pub(super) fn fields<'a>(lines: impl Iterator<Item = (&'a str, &'a [u8])>) -> Option<HeaderMap> {
    let mut fields = HeaderMap::with_capacity(lines.size_hint().1.unwrap_or_default());
    for (name, value) in lines {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        fields.try_append(name, HeaderValue::from_bytes(value).ok()?).ok()?;
    }
    Some(fields)
}

#[cfg(test)]
mod tests {
    use bs9_net::BufferPool;
    use proptest::prelude::*;

    use super::*;
    use crate::http1::{BodyFraming, HeadLimits, HeaderStorage, Parsed, parse_request};

    fn written(
        request: &Request<()>,
        ended: bool,
        room: usize,
    ) -> Result<(Shape, Buffer), Failure> {
        let mut buffer = BufferPool::new(room, 1).take();
        write_request(request, ended, || [7; 16], &mut buffer).map(|shape| (shape, buffer))
    }

    fn request(uri: &str) -> http::request::Builder {
        Request::builder().uri(uri)
    }

    fn text(buffer: &Buffer) -> &str {
        std::str::from_utf8(buffer.filled()).unwrap()
    }

    #[test]
    fn a_head_is_written_as_http_1_1_would_bring_it() {
        let asked = request("http://site.test/a?b")
            .header("host", "SITE.test")
            .header("cookie", "a=1")
            .header("te", "trailers")
            .header("cookie", "b=2")
            .header("x", "y");
        let (shape, head) = written(&asked.body(()).unwrap(), false, 4096).unwrap();
        assert_eq!(shape, Shape::Chunked);
        assert_eq!(
            text(&head),
            "GET /a?b HTTP/1.1\r\nhost: site.test\r\ntransfer-encoding: chunked\r\nx: y\r\n\
             cookie: a=1; b=2\r\n\r\n"
        );
    }

    #[test]
    fn a_connect_that_names_a_protocol_is_an_upgrade() {
        let asked = request("http://site.test/chat").method("CONNECT");
        let asked = asked.extension(Protocol::from_static("websocket"));
        let (shape, head) = written(&asked.body(()).unwrap(), false, 4096).unwrap();
        assert_eq!(shape, Shape::Tunnel);
        assert_eq!(
            text(&head),
            "GET /chat HTTP/1.1\r\nhost: site.test\r\nconnection: upgrade\r\n\
             upgrade: websocket\r\nsec-websocket-key: BwcHBwcHBwcHBwcHBwcHBw==\r\n\r\n"
        );
        let plain = request("site.test:443").method("CONNECT").body(()).unwrap();
        assert_eq!(written(&plain, true, 4096).err(), Some(Failure::Connect));
    }

    #[test]
    fn a_head_that_does_not_fit_is_too_large_at_every_size() {
        let asked = request("http://site.test/").header("cookie", "a=1").body(()).unwrap();
        let (_, head) = written(&asked, true, 4096).unwrap();
        for room in 1..head.len() {
            assert_eq!(written(&asked, true, room).err(), Some(malformed(HeadFault::TooLarge)));
        }
        assert!(written(&asked, true, head.len()).is_ok());
    }

    proptest! {
        /// Whatever the `http` crate takes for a request, the parser finds one head, to its last
        /// byte, with the framing that was meant; or it refuses it.
        #[test]
        fn one_request_in_is_one_request_out(
            path in "/[ -~]{0,20}",
            authority in "[a-z0-9.:@_-]{1,12}",
            names in prop::collection::vec("[a-zA-Z0-9!#$%&'*+.^_`|~-]{1,12}", 0..6),
            values in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 6),
            length in prop::option::of("[0-9]{1,3}"),
            ended: bool,
        ) {
            let uri = http::Uri::builder().scheme("http").authority(authority).path_and_query(path);
            let Ok(uri) = uri.build() else { return Ok(()) };
            let mut asked = Request::new(());
            *asked.uri_mut() = uri;
            let fields = asked.headers_mut();
            for (name, value) in names.iter().zip(&values) {
                let name = HeaderName::from_bytes(name.to_ascii_lowercase().as_bytes()).unwrap();
                let Ok(value) = HeaderValue::from_bytes(value) else { continue };
                if !is_for_one_hop(name.as_str()) {
                    fields.append(name, value);
                }
            }
            if let Some(length) = &length {
                fields.insert(CONTENT_LENGTH, length.parse().unwrap());
            }
            let Ok((shape, head)) = written(&asked, ended, 4096) else { return Ok(()) };
            let mut storage = HeaderStorage::new();
            match parse_request(head.filled(), &HeadLimits::default(), &mut storage) {
                Err(_) => {}
                Ok(Parsed::Partial) => prop_assert!(false, "a whole head is whole"),
                Ok(Parsed::Complete(parsed)) => {
                    prop_assert_eq!(parsed.head_len, head.len());
                    let stated = length.map_or(0, |length| length.parse().unwrap());
                    let framing = match (shape, stated) {
                        (Shape::Chunked, _) => BodyFraming::Chunked,
                        (_, 0) => BodyFraming::None,
                        (_, length) => BodyFraming::Length(length),
                    };
                    prop_assert_eq!(parsed.framing, framing);
                }
            }
        }
    }
}
