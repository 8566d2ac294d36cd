//! Responses and what becomes of them, by section of the RFCs.

use super::*;

/// RFC and section, request, input, verdict.
type Case = (&'static str, Asked, &'static [u8], &'static str);

#[derive(Clone, Copy)]
enum Asked {
    Get,
    Head,
    Connect,
    Upgrade,
}
use Asked::{Connect, Get, Head, Upgrade};

impl Asked {
    fn response_to(self) -> ResponseTo {
        ResponseTo {
            head: matches!(self, Head),
            connect: matches!(self, Connect),
            upgrade: matches!(self, Upgrade),
        }
    }
}

const CASES: &[Case] = &[
    ("9112 4", Get, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "length 5"),
    ("9112 4", Get, b"HTTP/1.1 200 OK\r\n", "partial"),
    ("9112 4", Get, b"", "partial"),
    ("9112 4", Get, b"HTTP/1.1 200 \r\nContent-Length: 5\r\n\r\n", "length 5"),
    ("9112 4", Get, b"HTTP/1.1 200\r\nContent-Length: 5\r\n\r\n", "length 5"),
    ("9112 4", Get, b"HTTP/1.1 200 \xe9t\xe9\r\nContent-Length: 5\r\n\r\n", "length 5"),
    ("9112 4", Get, b"HTTP/1.1 200 a b\tc\r\nContent-Length: 5\r\n\r\n", "length 5"),
    ("9112 4", Get, b"HTTP/1.1 999 LinkedIn\r\nContent-Length: 5\r\n\r\n", "length 5"),
    ("9112 4", Get, b"HTTP/1.1 099 X\r\n\r\n", "invalid_status"),
    ("9112 4", Get, b"HTTP/1.1 000 X\r\n\r\n", "invalid_status"),
    ("9112 4", Get, b"HTTP/1.1 20 OK\r\n\r\n", "invalid_status_line"),
    ("9112 4", Get, b"HTTP/1.1 2000 OK\r\n\r\n", "invalid_status_line"),
    ("9112 4", Get, b"HTTP/1.1 2x0 OK\r\n\r\n", "invalid_status_line"),
    ("9112 4", Get, b"HTTP/1.1  200 OK\r\n\r\n", "invalid_status_line"),
    ("9112 4", Get, b"HTTP/1.1\t200 OK\r\n\r\n", "invalid_status_line"),
    ("9112 4", Get, b"HTTP/1.1 200\tOK\r\n\r\n", "invalid_status_line"),
    ("9112 4", Get, b"HTTP/1.1 +20 OK\r\n\r\n", "invalid_status_line"),
    ("9112 4", Get, b"HTTP/1.1\r\n\r\n", "invalid_status_line"),
    ("9112 4", Get, b"HTTP/1.1 200 O\0K\r\n\r\n", "invalid_status_line"),
    ("9112 4", Get, b"HTTP/1.1 200 O\x7fK\r\n\r\n", "invalid_status_line"),
    ("9112 4", Get, b"HTTP/1.1 200 O\rK\r\n\r\n", "invalid_status_line"),
    ("9112 4", Get, b" HTTP/1.1 200 OK\r\n\r\n", "invalid_status_line"),
    ("9112 4", Get, b"\r\nHTTP/1.1 200 OK\r\n\r\n", "invalid_status_line"),
    ("9112 4", Get, b"\nHTTP/1.1 200 OK\r\n\r\n", "invalid_status_line"),
    ("9112 4", Get, b"hello\r\n", "invalid_status_line"),
    ("9112 4", Get, b"SSH-2.0-OpenSSH\r\n", "invalid_status_line"),
    ("9112 4", Get, b"ICY 200 OK\r\n\r\n", "invalid_status_line"),
    ("9112 2.3", Get, b"HTTP/2.0 200 OK\r\n\r\n", "unsupported_version"),
    ("9112 2.3", Get, b"HTTP/0.9 200 OK\r\n\r\n", "unsupported_version"),
    ("9112 2.3", Get, b"HTTP/1.2 200 OK\r\n\r\n", "unsupported_version"),
    ("9112 2.3", Get, b"HTTP/2 200 OK\r\n\r\n", "invalid_status_line"),
    ("9112 2.3", Get, b"http/1.1 200 OK\r\n\r\n", "invalid_status_line"),
    ("9112 2.2", Get, b"HTTP/1.1 200 OK\nContent-Length: 5\n\n", "length 5"),
    ("9112 2.2", Get, b"HTTP/1.1 200 OK\r\nX: a\rb\r\n\r\n", "bare_cr"),
    (
        "9112 5.1",
        Get,
        b"HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\n",
        "white_space_in_header_name",
    ),
    ("9112 5.2", Get, b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n", "obsolete_fold"),
    ("9112 5.2", Get, b"HTTP/1.1 200 OK\r\n X: a\r\n\r\n", "obsolete_fold"),
    ("9112 5", Get, b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "white_space_in_header_name"),
    ("9112 5", Get, b"HTTP/1.1 200 OK\r\nX\r\n\r\n", "invalid_header_name"),
    ("9110 5.5", Get, b"HTTP/1.1 200 OK\r\nX: \0\r\n\r\n", "invalid_header_value"),
    ("9112 6.3", Get, b"HTTP/1.1 200 OK\r\n\r\n", "until close"),
    ("9112 6.3", Get, b"HTTP/1.0 200 OK\r\n\r\n", "until close"),
    ("9112 6.3", Get, b"HTTP/1.1 404 No\r\nConnection: close\r\n\r\n", "until close"),
    ("9112 6.3", Get, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "none"),
    ("9112 6.3", Get, b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", "length 5"),
    ("9112 6.3", Get, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "chunked"),
    ("9112 6.3", Get, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n", "chunked"),
    ("9112 6.3", Get, b"HTTP/1.1 206 Part\r\nContent-Length: 5\r\n\r\n", "length 5"),
    ("9112 6.3", Get, b"HTTP/1.1 205 Reset\r\nContent-Length: 5\r\n\r\n", "length 5"),
    ("9112 6.3", Get, b"HTTP/1.1 204 None\r\n\r\n", "none"),
    ("9112 6.3", Get, b"HTTP/1.1 204 None\r\nContent-Length: 5\r\n\r\n", "none"),
    ("9112 6.3", Get, b"HTTP/1.1 204 None\r\nTransfer-Encoding: chunked\r\n\r\n", "none"),
    ("9112 6.3", Get, b"HTTP/1.1 304 Same\r\n\r\n", "none"),
    ("9112 6.3", Get, b"HTTP/1.1 304 Same\r\nContent-Length: 5\r\n\r\n", "none"),
    ("9112 6.3", Get, b"HTTP/1.1 304 Same\r\nTransfer-Encoding: chunked\r\n\r\n", "none"),
    ("9112 6.3", Head, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "none"),
    ("9112 6.3", Head, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "none"),
    ("9112 6.3", Head, b"HTTP/1.1 200 OK\r\n\r\n", "none"),
    ("9112 6.3", Head, b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "invalid_content_length"),
    ("9110 15.2", Get, b"HTTP/1.1 100 Continue\r\n\r\n", "none"),
    ("9110 15.2", Get, b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", "none"),
    ("9110 15.2", Get, b"HTTP/1.1 199 Odd\r\nContent-Length: 0\r\n\r\n", "none"),
    ("9110 15.2", Get, b"HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\n", "interim_with_body"),
    (
        "9110 15.2",
        Get,
        b"HTTP/1.1 103 X\r\nTransfer-Encoding: chunked\r\n\r\n",
        "interim_with_body",
    ),
    (
        "9110 15.2.2",
        Upgrade,
        b"HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        "tunnel",
    ),
    (
        "9110 15.2.2",
        Get,
        b"HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        "unexpected_upgrade",
    ),
    (
        "9110 15.2.2",
        Upgrade,
        b"HTTP/1.1 101 Go\r\nUpgrade: websocket\r\n\r\n",
        "unexpected_upgrade",
    ),
    (
        "9110 15.2.2",
        Upgrade,
        b"HTTP/1.1 101 Go\r\nConnection: upgrade\r\n\r\n",
        "unexpected_upgrade",
    ),
    (
        "9110 15.2.2",
        Upgrade,
        b"HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
        "unexpected_upgrade",
    ),
    (
        "9110 15.2.2",
        Upgrade,
        b"HTTP/1.0 101 Go\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        "unexpected_upgrade",
    ),
    ("9110 7.8", Upgrade, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "length 5"),
    ("9110 9.3.6", Connect, b"HTTP/1.1 200 OK\r\n\r\n", "tunnel"),
    ("9110 9.3.6", Connect, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "tunnel"),
    ("9110 9.3.6", Connect, b"HTTP/1.1 204 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "tunnel"),
    ("9110 9.3.6", Connect, b"HTTP/1.1 403 No\r\nContent-Length: 5\r\n\r\n", "length 5"),
    (
        "9112 6.1",
        Get,
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "transfer_encoding_in_http_1_0",
    ),
    (
        "9112 6.1",
        Get,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        "unknown_transfer_coding",
    ),
    (
        "9112 6.1",
        Get,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        "unknown_transfer_coding",
    ),
    (
        "9112 6.1",
        Get,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n",
        "unknown_transfer_coding",
    ),
    (
        "9112 6.1",
        Get,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n",
        "invalid_transfer_encoding",
    ),
    (
        "9112 6.1",
        Get,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding:\r\n\r\n",
        "invalid_transfer_encoding",
    ),
    (
        "9112 6.1",
        Get,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        "invalid_transfer_encoding",
    ),
    (
        "9112 6.3",
        Get,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
        "content_length_with_transfer_encoding",
    ),
    (
        "9112 6.3",
        Head,
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        "content_length_with_transfer_encoding",
    ),
    ("9112 6.3", Get, b"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n", "invalid_content_length"),
    ("9112 6.3", Get, b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "invalid_content_length"),
    ("9112 6.3", Get, b"HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n", "invalid_content_length"),
    (
        "9112 6.3",
        Get,
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
        "repeated_content_length",
    ),
    (
        "9112 6.3",
        Get,
        b"HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551616\r\n\r\n",
        "invalid_content_length",
    ),
];

#[test]
fn verdicts_follow_the_rfcs_and_do_not_depend_on_how_bytes_arrive() {
    assert!(CASES.len() >= 60, "{}", CASES.len());
    for (section, asked, input, verdict) in CASES {
        let request = asked.response_to();
        let found = response_verdict(input, request, &LIMITS);
        assert_eq!(found, *verdict, "RFC {section}: {}", input.escape_ascii());
        assert_settles(input, |bytes| response_verdict(bytes, request, &LIMITS));
    }
}

#[test]
fn limits_hold_for_responses_too() {
    let response = |fields: usize, value: usize| {
        format!("HTTP/1.1 200 OK\r\n{}\r\n", format!("X: {}\r\n", "v".repeat(value)).repeat(fields))
            .into_bytes()
    };
    let cases = [
        (response(16, 1), "until close"),
        (response(17, 1), "too_many_headers"),
        (response(1, 1000), "until close"),
        (response(1, 1001), "head_too_large"),
        (response(1, 9000), "head_too_large"),
    ];
    for (input, verdict) in cases {
        assert_eq!(
            response_verdict(&input, ResponseTo::default(), &LIMITS),
            verdict,
            "{}",
            input.len()
        );
        assert_settles(&input, |bytes| response_verdict(bytes, ResponseTo::default(), &LIMITS));
    }
}

#[test]
fn upstream_connections_are_kept_only_when_nothing_is_in_doubt() {
    let cases = [
        (Get, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", true),
        (Get, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", true),
        (Get, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n", false),
        (Get, "HTTP/1.1 200 OK\r\n\r\n", false),
        (Get, "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", false),
        (Get, "HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\n", true),
        (Get, "HTTP/1.1 204 None\r\n\r\n", true),
        (Get, "HTTP/1.1 204 None\r\nContent-Length: 0\r\n\r\n", true),
        (Get, "HTTP/1.1 204 None\r\nContent-Length: 5\r\n\r\n", false),
        (Get, "HTTP/1.1 204 None\r\nTransfer-Encoding: chunked\r\n\r\n", false),
        (Head, "HTTP/1.1 200 OK\r\n\r\n", true),
        (Get, "HTTP/1.1 304 Same\r\nContent-Length: 5\r\n\r\n", true),
        (Connect, "HTTP/1.1 200 OK\r\n\r\n", false),
    ];
    for (asked, text, expected) in cases {
        let mut storage = HeaderStorage::new();
        match parse_response(text.as_bytes(), &LIMITS, asked.response_to(), &mut storage) {
            Ok(Parsed::Complete(head)) => assert_eq!(head.keep_alive, expected, "{text}"),
            other => panic!("{other:?}: {text}"),
        }
    }
}

#[test]
fn heads_are_views_that_end_where_the_body_starts() {
    let text = "HTTP/1.1 200 Very Well\r\nETag: \"x\"\r\nContent-Length: 7\r\n\r\nabc";
    let mut storage = HeaderStorage::new();
    let Ok(Parsed::Complete(head)) =
        parse_response(text.as_bytes(), &LIMITS, Head.response_to(), &mut storage)
    else {
        panic!("a whole head");
    };
    assert_eq!(&text[head.head_len..], "abc");
    assert_eq!((head.status, head.reason, head.content_length), (200, "Very Well", Some(7)));
    assert_eq!(head.header("etag"), Some(b"\"x\"".as_slice()));
    assert_eq!(head.headers().count(), 2);
    assert!(!head.is_interim());
}
