use proptest::prelude::*;

use super::*;
use crate::{failure::FailureKind, plan::HttpOptions};

fn http(method: &str, expect_body: Option<&str>) -> Http {
    let options = HttpOptions { method: Some(method.into()), ..HttpOptions::default() };
    let request = Request::new("h", "/", &options, true).unwrap();
    let options = HttpOptions { expect_body: expect_body.map(str::to_owned), ..options };
    Http::new(vec![Call { request, checks: options.checks() }], Arc::new([]))
}

/// What came of a response.
#[derive(Debug, PartialEq)]
enum End {
    /// All there, with this status.
    Complete(u16, Reuse),
    /// All there, but not as expected.
    Unexpected(FailureKind, Reuse),
    /// Broken.
    Broken(FailureKind),
    /// Still going on when the server closed, which completed it or not.
    Open,
}

fn end_of(complete: Complete) -> End {
    match complete.outcome {
        Ok(()) => End::Complete(complete.status.unwrap(), complete.reuse),
        Err(failure) => End::Unexpected(failure.kind(), complete.reuse),
    }
}

fn feed<'a>(http: &mut Http, pieces: impl IntoIterator<Item = &'a [u8]>) -> (End, Session) {
    let mut session = http.session();
    http.connected(&mut session, &mut Vec::new()).unwrap();
    http.begin(&mut session, Beginning::default(), &mut Vec::new()).unwrap();
    for piece in pieces {
        match http.receive(&mut session, piece, &mut Vec::new()) {
            Ok(Receipt::More) => {}
            Ok(Receipt::Complete(complete)) => return (end_of(complete), session),
            Err(failure) => return (End::Broken(failure.kind()), session),
        }
    }
    (End::Open, session)
}

const RESPONSES: &[(&str, &str, End)] = &[
    ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", End::Complete(200, Reuse::Keep)),
    ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", End::Complete(200, Reuse::Keep)),
    ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", End::Complete(200, Reuse::Keep)),
    ("GET", "HTTP/1.1 204 No Content\r\n\r\n", End::Complete(204, Reuse::Keep)),
    (
        "GET",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
        End::Complete(304, Reuse::Keep),
    ),
    (
        "GET",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nA;x=\"y\"\r\n0123456789\r\n0\r\nT: 1\r\n\r\n",
        End::Complete(200, Reuse::Keep),
    ),
    (
        "GET",
        "HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 1\r\n\r\n1",
        End::Complete(200, Reuse::Close),
    ),
    ("GET", "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n1", End::Complete(200, Reuse::Close)),
    (
        "GET",
        "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\n1",
        End::Complete(200, Reuse::Keep),
    ),
    (
        "POST",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1",
        End::Complete(200, Reuse::Keep),
    ),
    (
        "GET",
        "HTTP/1.1 503 Busy\r\nContent-Length: 1\r\n\r\n1",
        End::Unexpected(FailureKind::Status, Reuse::Keep),
    ),
    ("GET", "HTTP/1.1 200 OK\r\n\r\nuntil the end", End::Open),
    ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", End::Open),
    ("GET", "HTTP/1.1 200 OK\r\nContent-Le", End::Open),
    ("GET", "SSH-2.0-OpenSSH_9.2\r\n\r\n", End::Broken(FailureKind::Protocol)),
    ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n12", End::Broken(FailureKind::Protocol)),
    ("GET", "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\n1", End::Broken(FailureKind::Protocol)),
    (
        "GET",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n1",
        End::Broken(FailureKind::Protocol),
    ),
    (
        "GET",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n1",
        End::Broken(FailureKind::Protocol),
    ),
    (
        "GET",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n1",
        End::Broken(FailureKind::Protocol),
    ),
    (
        "GET",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n",
        End::Broken(FailureKind::Protocol),
    ),
    (
        "GET",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab",
        End::Broken(FailureKind::Protocol),
    ),
    (
        "GET",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n11111111111111111\r\n",
        End::Broken(FailureKind::Protocol),
    ),
    ("GET", "HTTP/1.1 101 Switching Protocols\r\n\r\n", End::Broken(FailureKind::Protocol)),
];

#[test]
fn responses_end_where_they_say() {
    for (method, response, expected) in RESPONSES {
        let mut http = http(method, None);
        let (end, mut session) = feed(&mut http, [response.as_bytes()]);
        assert_eq!(&end, expected, "{response}");
        if end == End::Open {
            let ended = http.ended(&mut session);
            assert_eq!(ended.is_ok(), response.contains("until the end"), "{response}");
        }
    }
}

#[test]
fn a_connection_goes_on_after_a_response() {
    let mut http = http("GET", None);
    let mut session = http.session();
    for response in ["Content-Length: 2\r\n\r\nok", "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"] {
        http.begin(&mut session, Beginning::default(), &mut Vec::new()).unwrap();
        let response = format!("HTTP/1.1 200 OK\r\n{response}");
        let receipt = http.receive(&mut session, response.as_bytes(), &mut Vec::new()).unwrap();
        assert!(matches!(receipt, Receipt::Complete(_)), "{response}");
    }
}

#[test]
fn heads_are_bounded() {
    let mut http = http("GET", None);
    let endless = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(MAX_HEAD_BYTES));
    let (end, _) = feed(&mut http, endless.as_bytes().chunks(1000));
    assert_eq!(end, End::Broken(FailureKind::Protocol));
    let interim = "HTTP/1.1 100 Continue\r\n\r\n".repeat(usize::from(MAX_INTERIM) + 1);
    assert_eq!(feed(&mut http, [interim.as_bytes()]).0, End::Broken(FailureKind::Protocol));
}

#[test]
fn bodies_are_searched_without_their_framing() {
    let response =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n";
    for (text, expected) in [
        ("hello", End::Complete(200, Reuse::Keep)),
        ("goodbye", End::Unexpected(FailureKind::Body, Reuse::Keep)),
    ] {
        let mut http = http("GET", Some(text));
        assert_eq!(feed(&mut http, [response.as_bytes()]).0, expected, "{text}");
    }
}

proptest! {
    /// However the bytes arrive, it comes to the same.
    #[test]
    fn pieces_make_no_difference(index in 0..RESPONSES.len(), size in 1usize..20) {
        let (method, response, expected) = &RESPONSES[index];
        let mut http = http(method, None);
        let (end, _) = feed(&mut http, response.as_bytes().chunks(size));
        // Bytes behind the response may come after it was complete: then nobody reads them.
        let behind = response.ends_with("\r\n\r\n12");
        if !(behind && end == End::Complete(200, Reuse::Keep)) {
            prop_assert_eq!(&end, expected);
        }
    }

    #[test]
    fn noise_is_no_reason_to_panic(noise in prop::collection::vec(any::<u8>(), 0..300), framed: bool) {
        let mut http = http("GET", Some("x"));
        let head = if framed { "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" } else { "" };
        feed(&mut http, [head.as_bytes(), &noise].into_iter().filter(|piece| !piece.is_empty()));
    }
}
