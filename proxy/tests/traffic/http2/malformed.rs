//! What is no request by RFC 9113 reaches no endpoint, and harms no other stream.

use super::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GET, GOAWAY, HEADERS, PING, PROTOCOL_ERROR,
    RST_STREAM, Raw, block, frame, get,
};
use crate::{fixture::Site, origin::Origin};

/// How a malformed request is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// The stream is.
    Reset,
    /// The connection is ended.
    Ended,
    Answered(u16),
}

fn with(fields: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    [&GET[..], fields].concat()
}

fn without(name: &str) -> Vec<(&'static str, &'static str)> {
    GET.into_iter().filter(|(found, _)| *found != name).collect()
}

fn instead(name: &'static str, value: &'static str) -> Vec<(&'static str, &'static str)> {
    GET.into_iter().map(|field| if field.0 == name { (name, value) } else { field }).collect()
}

#[test]
fn malformed_requests_are_refused_one_by_one() {
    use Verdict::{Answered, Reset};
    let cases = [
        // Section 8.2: names in lower case, tokens; values without line ends or surrounding space.
        (with(&[("X-Upper", "1")]), Reset),
        (with(&[("x bad", "1")]), Reset),
        (with(&[("", "1")]), Reset),
        (with(&[("x-value", "a\r\nb: c")]), Reset),
        (with(&[("x-value", "a\0b")]), Reset),
        (with(&[("x-value", " a")]), Answered(400)),
        (with(&[("x-value", "a\t")]), Answered(400)),
        // Section 8.2.2: nothing about connections.
        (with(&[("connection", "close")]), Reset),
        (with(&[("keep-alive", "timeout=5")]), Reset),
        (with(&[("proxy-connection", "keep-alive")]), Reset),
        (with(&[("transfer-encoding", "chunked")]), Reset),
        (with(&[("upgrade", "websocket")]), Reset),
        (with(&[("te", "gzip")]), Reset),
        // Section 8.3: pseudo-header fields come first, once, and are known.
        (without(":method"), Reset),
        (without(":scheme"), Reset),
        (without(":path"), Reset),
        (instead(":path", ""), Reset),
        (instead(":path", "relative"), Reset),
        (instead(":path", "*"), Answered(400)),
        (instead(":path", "/a b"), Reset),
        (instead(":path", "/a\r\nx: y"), Reset),
        (instead(":method", "GET /x"), Reset),
        (instead(":method", "CONNECT"), Reset),
        (instead(":authority", "a b"), Reset),
        (instead(":authority", "user@site.test"), Answered(400)),
        (with(&[(":path", "/twice")]), Reset),
        (with(&[(":status", "200")]), Reset),
        (with(&[(":unknown", "x")]), Reset),
        ([&[("x-first", "1")], &GET[..]].concat(), Reset),
        // Section 8.3.1: the authority and Host agree, and one of them is there.
        (with(&[("host", "other.test")]), Answered(400)),
        (with(&[("host", "site.test"), ("host", "site.test")]), Answered(400)),
        (without(":authority"), Answered(400)),
        // Section 8.1.1: what is announced comes.
        (with(&[("content-length", "5")]), Reset),
        (with(&[("content-length", "x")]), Reset),
        (with(&[("expect", "tea")]), Answered(417)),
    ];
    let origin = Origin::named("here");
    let proxy = Site::of([origin.address()]).start();
    let mut wrong = Vec::new();
    for (fields, verdict) in cases {
        let mut raw = Raw::open(&proxy);
        raw.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&fields)));
        let met = raw.next_of(&[HEADERS, RST_STREAM, GOAWAY]);
        let found = match met.kind {
            RST_STREAM => Reset,
            GOAWAY => Verdict::Ended,
            _ => Answered(met.status()),
        };
        if found != verdict {
            wrong.push(format!("{:?}: {found:?} instead of {verdict:?}", fields));
        }
        assert!(met.kind == HEADERS || met.code() == PROTOCOL_ERROR, "{fields:?}: {met:?}");
        if found != Verdict::Ended {
            raw.send(frame(PING, 0, 0, b"still on"));
            assert_eq!(raw.next_of(&[PING, GOAWAY]).kind, PING, "the connection goes on");
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(origin.requests().is_empty());
    let agreed = with(&[("host", "SITE.test")]);
    let mut raw = Raw::open(&proxy);
    raw.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&agreed)));
    assert_eq!(raw.next_of(&[HEADERS, RST_STREAM, GOAWAY]).status(), 200);
    assert_eq!(origin.only_request().headers("host"), ["site.test"]);
}

#[test]
fn data_that_is_not_as_long_as_announced_is_refused() {
    let origin = Origin::scripted(|_, mut wire, _| {
        let head = wire.head();
        // Half a body is never taken for a whole one.
        assert!(wire.body(&head).is_err());
    });
    let proxy = Site::of([origin.address()]).start();
    let mut raw = Raw::open(&proxy);
    for (stream, data) in [(1, "abcdef"), (3, "abcd")] {
        let mut fields = instead(":method", "POST");
        fields.push(("content-length", "5"));
        raw.send(frame(HEADERS, END_HEADERS, stream, &block(&fields)));
        raw.send(frame(DATA, END_STREAM, stream, data.as_bytes()));
        let met = raw.next_of(&[HEADERS, RST_STREAM, GOAWAY]);
        assert_eq!((met.kind, met.stream, met.code()), (RST_STREAM, stream, PROTOCOL_ERROR));
    }
}

#[test]
fn a_broken_protocol_ends_the_connection() {
    let origin = Origin::named("here");
    let proxy = Site::of([origin.address()]).start();
    let broken = [
        // DATA on stream 0, and on one that nobody opened.
        frame(DATA, 0, 0, b"x"),
        frame(DATA, 0, 1, b"x"),
        // A stream of an even number, HEADERS on stream 0, CONTINUATION of nothing.
        get(2),
        get(0),
        frame(CONTINUATION, END_HEADERS, 1, b""),
        // Not a header block.
        frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0xff; 20]),
        // Larger than allowed.
        frame(DATA, 0, 1, &[0; 16_385]),
    ];
    for bytes in broken {
        let mut raw = Raw::open(&proxy);
        raw.send(&bytes);
        assert_ne!(raw.expect_goaway(), 0, "{:?}", &bytes[..9]);
    }
    assert!(origin.requests().is_empty());
}

#[test]
fn a_head_beyond_the_limit_is_answered_431() {
    let origin = Origin::named("here");
    let site = Site { listener: "max_head_size = \"2KiB\"", ..Site::of([origin.address()]) };
    let proxy = site.start();
    let mut raw = Raw::open(&proxy);
    let long = "x".repeat(3_000);
    let fields = [&GET[..], &[("x-long", &long)]].concat();
    raw.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&fields)));
    let met = raw.next_of(&[HEADERS, RST_STREAM, GOAWAY]);
    assert_eq!(met.kind, HEADERS, "431 is an answer");
    raw.send(get(3));
    let met = raw.next_of(&[HEADERS, RST_STREAM, GOAWAY]);
    assert_eq!((met.kind, met.stream), (HEADERS, 3), "the connection goes on");
    assert_eq!(origin.requests().len(), 1);
}
