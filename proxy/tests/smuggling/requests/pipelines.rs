//! Several requests on a connection, and what follows one that was refused.

use crate::case::{Case, SMUGGLED, case, get, head, post};

pub(super) fn cases() -> Vec<Case> {
    [behind_good_ones(), behind_refused_ones()].into_iter().flatten().collect()
}

const B: &str = "GET /b HTTP/1.1\r\nHost: site.test\r\n\r\n";

fn behind_good_ones() -> Vec<Case> {
    let of = |what: &str, parts: &[&[u8]], verdict| {
        case("9112 9.3.2", &format!("pipelined: {what}"), parts.concat(), verdict)
    };
    let (plain, b) = (get(""), B.as_bytes());
    let length = post("Content-Length: 5\r\n", "hello");
    let chunks = post("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n");
    vec![
        of("two", &[&plain, b], "GET /a, GET /b, next"),
        of(
            "ten",
            &[b.repeat(10).as_slice()],
            "GET /b, GET /b, GET /b, GET /b, GET /b, GET /b, GET /b, GET /b, GET /b, GET /b, next",
        ),
        of("behind a body", &[&length, b], "POST /a (hello), GET /b, next"),
        of("behind chunks", &[&chunks, b], "POST /a <hello>, GET /b, next"),
        of(
            "bodies of every kind",
            &[&length, &chunks, &length],
            "POST /a (hello), POST /a <hello>, POST /a (hello), next",
        ),
        of("behind HEAD", &[&head("HEAD /a HTTP/1.1", "", ""), b], "HEAD /a, GET /b, next"),
        of("an empty line between", &[&length, b"\r\n", b], "POST /a (hello), GET /b, next"),
        of("bytes too many behind a body", &[&length, b"\0", b], "POST /a (hello), 400"),
        of(
            "a bad one behind a good one",
            &[&plain, &get("X : y\r\n"), SMUGGLED.as_bytes()],
            "GET /a, 400",
        ),
        of(
            "a bad chunk behind a good one",
            &[&plain, &post("Transfer-Encoding: chunked\r\n", "x\r\n"), SMUGGLED.as_bytes()],
            "GET /a, 400",
        ),
        of(
            "both framings behind a good one",
            &[
                &plain,
                &post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
                SMUGGLED.as_bytes(),
            ],
            "GET /a, 400",
        ),
    ]
}

/// A body that nobody reads must not become requests.
fn behind_refused_ones() -> Vec<Case> {
    let length = SMUGGLED.len();
    let body = format!("Content-Length: {length}\r\n");
    let in_chunks = format!("{length:x}\r\n{SMUGGLED}\r\n0\r\n\r\n");
    let fixed = |lines: &str, body: &str| head("POST /fixed HTTP/1.1", lines, body);
    vec![
        case("9112 9.3", "a fixed answer", head("GET /fixed HTTP/1.1", "", B), "403, GET /b, next"),
        case("9112 9.3", "a fixed answer to a body", fixed(&body, SMUGGLED), "403"),
        case(
            "9112 9.3",
            "a fixed answer to chunks",
            fixed("Transfer-Encoding: chunked\r\n", &in_chunks),
            "403",
        ),
        case(
            "9112 9.3",
            "a fixed answer to a body that waits for 100",
            fixed(&format!("Expect: 100-continue\r\n{body}"), SMUGGLED),
            "403",
        ),
        case("9112 9.3", "no route", get("X-Nowhere: 1\r\n"), "404, next"),
        case(
            "9112 9.3",
            "no route for a body",
            post(format!("X-Nowhere: 1\r\n{body}"), SMUGGLED),
            "404",
        ),
        case(
            "9112 9.3",
            "no route for chunks",
            post("X-Nowhere: 1\r\nTransfer-Encoding: chunked\r\n", in_chunks),
            "404",
        ),
        case(
            "9112 9.3",
            "too large a body",
            post("Content-Length: 70000\r\n", SMUGGLED.repeat(10)),
            "413",
        ),
        case(
            "9112 9.3",
            "too many chunks",
            post(
                "Transfer-Encoding: chunked\r\n",
                format!("8000\r\n{}\r\n", "x".repeat(0x8000)).repeat(3) + "0\r\n\r\n" + SMUGGLED,
            ),
            "413",
        ),
        case(
            "9110 9.3.6",
            "a request inside a refused tunnel",
            head("CONNECT site.test:443 HTTP/1.1", "", SMUGGLED),
            "405",
        ),
        case(
            "9112 9.3",
            "a request behind a bad Host",
            format!("GET /a HTTP/1.1\r\nHost: a b\r\n\r\n{SMUGGLED}"),
            "400",
        ),
        case(
            "9112 9.3",
            "a request behind an unknown version",
            format!("GET /a HTTP/1.2\r\nHost: site.test\r\n\r\n{SMUGGLED}"),
            "505",
        ),
        case(
            "9112 9.3",
            "a request behind too large a head",
            get(format!("X: {}\r\n\r\n{SMUGGLED}", "x".repeat(20_000))),
            "431",
        ),
        case(
            "9112 9.3",
            "a request behind an unknown coding",
            post("Transfer-Encoding: gzip\r\n", SMUGGLED),
            "501",
        ),
    ]
}
