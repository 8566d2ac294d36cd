//! Heads between HTTP/1.1 and an endpoint that speaks HTTP/2.

use std::io::{self, Write as _};

use aws_lc_rs::digest;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use bs9_net::Buffer;
use bytes::Bytes;
use h2::{Reason, ext::Protocol};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri,
    header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, SEC_WEBSOCKET_KEY, TE},
};

use super::fault::StreamFault;
use crate::{
    http::is_call,
    http1::{BodyReader, RequestHead, Target, is_for_one_hop},
    http2::{Shape, response},
};

/// What a key is hashed with for the handshake of WebSocket (RFC 6455 section 1.3).
const WEBSOCKET_GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A request, and what has to be known to read its answer.
pub(super) struct Asking {
    pub(super) request: Request<()>,
    /// How its body is delimited.
    pub(super) body: BodyReader,
    pub(super) answer: Answering,
}

/// What an answer answers.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answering {
    /// Any other request.
    Usual,
    /// HEAD: no body follows.
    Head,
    /// A CONNECT that names a protocol (RFC 8441), for an upgrade in HTTP/1.1; with what answers
    /// its handshake.
    Upgrade { protocol: Box<str>, accept: Option<String> },
}

/// The request that `head` is the head of. An upgrade is asked for if the endpoint
/// `extends_connect`; if not, it is left out, as it may be (RFC 9110 section 7.8). `None`: HTTP/2
/// cannot say it.
///
/// The endpoint is told that trailers are welcome: they pass on to every client that can have
/// them.
pub(super) fn asking(
    head: &RequestHead<'_>,
    scheme: &'static str,
    extends_connect: bool,
) -> Option<Asking> {
    let upgrade = head.upgrade.filter(|_| extends_connect);
    let path = match head.target {
        Target::Origin(path) => path,
        Target::Asterisk => "*",
        Target::Absolute { .. } | Target::Authority(_) => return None,
    };
    let uri = Uri::builder().scheme(scheme).authority(head.host?).path_and_query(path);
    let mut request = Request::new(());
    *request.uri_mut() = uri.build().ok()?;
    *request.method_mut() = Method::from_bytes(head.method.as_bytes()).ok()?;
    *request.headers_mut() = fields(head, upgrade.is_some())?;
    let (body, answer) = match upgrade {
        Some(protocol) => {
            *request.method_mut() = Method::CONNECT;
            request.extensions_mut().insert(Protocol::from(protocol));
            let accept = head.header(SEC_WEBSOCKET_KEY.as_str()).map(accept);
            (BodyReader::UntilClose, Answering::Upgrade { protocol: protocol.into(), accept })
        }
        None if head.method == "HEAD" => (head.framing.into(), Answering::Head),
        None => (head.framing.into(), Answering::Usual),
    };
    Some(Asking { request, body, answer })
}

fn fields(head: &RequestHead<'_>, upgrades: bool) -> Option<HeaderMap> {
    let mut fields = HeaderMap::with_capacity(head.headers().size_hint().0 + 1);
    for (name, value) in head.headers() {
        if is_for_one_hop(name) {
            continue;
        }
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        // It is in `:authority` (RFC 9113 section 8.3.1).
        if name != HOST && !(upgrades && name == SEC_WEBSOCKET_KEY) {
            fields.try_append(name, HeaderValue::from_bytes(value).ok()?).ok()?;
        }
    }
    // The one thing it may say (RFC 9113 section 8.2.2).
    fields.try_insert(TE, HeaderValue::from_static("trailers")).ok()?;
    Some(fields)
}

/// `Sec-WebSocket-Accept` for a key (RFC 6455 section 4.2.2).
fn accept(key: &[u8]) -> String {
    let mut hash = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    hash.update(key);
    hash.update(WEBSOCKET_GUID);
    BASE64_STANDARD.encode(hash.finish())
}

/// Writes the head of `response` as HTTP/1.1 has it. `ended`: no body follows. Gives how the body
/// is put after it.
///
/// # Errors
/// When HTTP/1.1 cannot say it, or it is too large for the buffer.
pub(super) fn write_response(
    response: &Response<()>,
    ended: bool,
    answers: &Answering,
    into: &mut Buffer,
) -> Result<Shape, StreamFault> {
    let status = response.status();
    if status == StatusCode::SWITCHING_PROTOCOLS {
        // HTTP/2 does not have it (RFC 9113 section 8.6).
        return Err(StreamFault::Protocol(Reason::PROTOCOL_ERROR));
    }
    into.compact();
    let mut out = into.spare();
    let room = out.len();
    let written = match answers {
        Answering::Upgrade { protocol, accept } if status.is_success() => {
            write_switch(&mut out, response.headers(), protocol, accept.as_deref())
                .map(|()| Shape::Tunnel)
        }
        _ => {
            let shape = shape(response, ended, answers);
            write_usual(&mut out, response, ended, answers, shape).map(|()| shape)
        }
    };
    let left = out.len();
    let shape = written.map_err(|_full| StreamFault::HeadTooLarge)?;
    into.commit(room - left);
    Ok(shape)
}

fn write_switch(
    out: &mut &mut [u8],
    fields: &HeaderMap,
    protocol: &str,
    accept: Option<&str>,
) -> io::Result<()> {
    out.write_all(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n")?;
    write_field(out, "upgrade", protocol.as_bytes())?;
    if let Some(accept) = accept {
        write_field(out, "sec-websocket-accept", accept.as_bytes())?;
    }
    write_fields(out, fields, |name| name != CONTENT_LENGTH)?;
    out.write_all(b"\r\n")
}

fn write_usual(
    out: &mut &mut [u8],
    response: &Response<()>,
    ended: bool,
    answers: &Answering,
    shape: Shape,
) -> io::Result<()> {
    let (status, fields) = (response.status(), response.headers());
    write!(out, "HTTP/1.1 {} {}\r\n", status.as_u16(), status.canonical_reason().unwrap_or(""))?;
    write_fields(out, fields, |name| shape == Shape::Plain || name != CONTENT_LENGTH)?;
    if shape == Shape::Chunked {
        out.write_all(b"transfer-encoding: chunked\r\n")?;
    } else if ended && may_have_body(status, answers) && !fields.contains_key(CONTENT_LENGTH) {
        out.write_all(b"content-length: 0\r\n")?;
    }
    out.write_all(b"\r\n")
}

fn write_fields(
    out: &mut &mut [u8],
    fields: &HeaderMap,
    wanted: impl Fn(&HeaderName) -> bool,
) -> io::Result<()> {
    for (name, value) in fields {
        if wanted(name) && !is_for_one_hop(name.as_str()) {
            write_field(out, name.as_str(), value.as_bytes())?;
        }
    }
    Ok(())
}

/// RFC 9110 section 6.4.1.
fn may_have_body(status: StatusCode, answers: &Answering) -> bool {
    let never = status.is_informational()
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    !never && *answers != Answering::Head
}

/// How the body is delimited. A length leaves no room for trailers, which gRPC cannot do without.
fn shape(response: &Response<()>, ended: bool, answers: &Answering) -> Shape {
    let fields = response.headers();
    let calls = fields.get(CONTENT_TYPE).is_some_and(|is| is_call(is.as_bytes()));
    let stated = fields.contains_key(CONTENT_LENGTH) && !calls;
    if ended || stated || !may_have_body(response.status(), answers) {
        Shape::Plain
    } else {
        Shape::Chunked
    }
}

fn write_field(out: &mut impl io::Write, name: &str, value: &[u8]) -> io::Result<()> {
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

/// The fields of a whole trailer section, as HTTP/2 has them; `None`: it is none.
pub(super) fn trailer_fields(section: &[u8]) -> Option<HeaderMap> {
    let mut storage = response::trailer_storage();
    let lines = response::trailer_fields(section, &mut storage)?;
    let mut fields = HeaderMap::with_capacity(lines.len());
    for line in lines {
        let name = HeaderName::from_bytes(line.name.as_bytes()).ok()?;
        fields.try_append(name, HeaderValue::from_bytes(line.value).ok()?).ok()?;
    }
    Some(fields)
}

#[cfg(test)]
mod tests {
    use bs9_net::BufferPool;

    use super::*;
    use crate::http1::{HeadLimits, HeaderStorage, Parsed, parse_request};

    fn asked(head: &str, extends_connect: bool) -> Option<Asking> {
        let mut storage = HeaderStorage::new();
        match parse_request(head.as_bytes(), &HeadLimits::default(), &mut storage).unwrap() {
            Parsed::Complete(head) => asking(&head, "http", extends_connect),
            Parsed::Partial => panic!("a whole head"),
        }
    }

    fn written(response: &Response<()>, ended: bool, answers: &Answering) -> (Shape, String) {
        let mut buffer = BufferPool::new(4096, 1).take();
        let shape = write_response(response, ended, answers, &mut buffer).unwrap();
        (shape, String::from_utf8(buffer.filled().to_vec()).unwrap())
    }

    fn response(status: u16, fields: &[(&str, &str)]) -> Response<()> {
        let mut response = Response::builder().status(status);
        for (name, value) in fields {
            response = response.header(*name, *value);
        }
        response.body(()).unwrap()
    }

    #[test]
    fn a_request_keeps_what_is_not_for_one_hop() {
        let asked = asked(
            "POST /a?b HTTP/1.1\r\nHost: site.test:80\r\nX-Kept: y\r\nTransfer-Encoding: chunked\r\n\
             Expect: 100-continue\r\n\r\n",
            false,
        );
        let Asking { request, body, answer } = asked.unwrap();
        assert_eq!(
            (request.method(), &*request.uri().to_string()),
            (&Method::POST, "http://site.test:80/a?b")
        );
        let fields: Vec<_> = request.headers().keys().map(HeaderName::as_str).collect();
        assert_eq!(fields, ["x-kept", "expect", "te"]);
        assert_eq!(request.headers()["te"], "trailers");
        assert!(matches!(body, BodyReader::Chunked(_)));
        assert_eq!(answer, Answering::Usual);
    }

    #[test]
    fn targets_without_a_path_keep_their_meaning() {
        let all = asked("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", false).unwrap();
        assert_eq!(all.request.uri().path(), "*");
        let head = asked("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", false).unwrap();
        assert_eq!((head.body, head.answer), (BodyReader::None, Answering::Head));
    }

    #[test]
    fn an_upgrade_is_a_connect_where_that_is_known() {
        let head = "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
                    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
        let asking = asked(head, true).unwrap();
        assert_eq!(asking.request.method(), Method::CONNECT);
        assert_eq!(asking.request.extensions().get::<Protocol>().unwrap().as_str(), "websocket");
        assert!(!asking.request.headers().contains_key(SEC_WEBSOCKET_KEY));
        // RFC 6455 section 1.3 has this pair.
        let accept = Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".to_owned());
        assert_eq!(asking.answer, Answering::Upgrade { protocol: "websocket".into(), accept });
        let (shape, text) = written(&response(200, &[("x", "y")]), false, &asking.answer);
        assert_eq!(shape, Shape::Tunnel);
        assert_eq!(
            text,
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nx: y\r\n\r\n"
        );
        let (_, text) = written(&response(403, &[]), true, &asking.answer);
        assert_eq!(text, "HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n");
        let plain = asked(head, false).unwrap();
        assert_eq!((plain.request.method(), plain.answer), (&Method::GET, Answering::Usual));
        assert!(!plain.request.headers().contains_key("upgrade"));
    }

    #[test]
    fn a_response_is_framed_by_what_is_known_of_its_body() {
        let length = [("content-length", "5")];
        let calls = [("content-type", "application/grpc+proto"), ("content-length", "5")];
        for (status, fields, ended, answers, shape, framing) in [
            (
                200,
                &[][..],
                false,
                Answering::Usual,
                Shape::Chunked,
                "transfer-encoding: chunked\r\n",
            ),
            (200, &[], true, Answering::Usual, Shape::Plain, "content-length: 0\r\n"),
            (200, &length, false, Answering::Usual, Shape::Plain, "content-length: 5\r\n"),
            (
                200,
                &calls[..1],
                false,
                Answering::Usual,
                Shape::Chunked,
                "transfer-encoding: chunked\r\n",
            ),
            (
                200,
                &calls,
                false,
                Answering::Usual,
                Shape::Chunked,
                "transfer-encoding: chunked\r\n",
            ),
            (200, &length, true, Answering::Head, Shape::Plain, "content-length: 5\r\n"),
            (200, &[], true, Answering::Head, Shape::Plain, ""),
            (204, &[], true, Answering::Usual, Shape::Plain, ""),
            (304, &length, true, Answering::Usual, Shape::Plain, "content-length: 5\r\n"),
            (103, &[], false, Answering::Usual, Shape::Plain, ""),
        ] {
            let (found, text) = written(&response(status, fields), ended, &answers);
            assert_eq!(found, shape, "{text}");
            let framed: String = text
                .split_inclusive("\r\n")
                .filter(|line| line.starts_with("transfer") || line.starts_with("content-length"))
                .collect();
            assert_eq!(framed, framing, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_said_or_does_not_fit_is_refused() {
        let mut small = BufferPool::new(64, 1).take();
        let large = response(200, &[("x-large", &"y".repeat(64))]);
        let refused = write_response(&large, true, &Answering::Usual, &mut small);
        assert_eq!(refused, Err(StreamFault::HeadTooLarge));
        assert!(small.is_empty());
        let switch = write_response(&response(101, &[]), true, &Answering::Usual, &mut small);
        assert_eq!(switch, Err(StreamFault::Protocol(Reason::PROTOCOL_ERROR)));
    }
}
