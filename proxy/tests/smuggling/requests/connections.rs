//! What belongs to one connection only: `Connection`, `Upgrade`, `Expect` (RFC 9110 sections 7.6.1, 7.8 and 10.1.1).

use crate::case::{Case, SMUGGLED, case, get, head, post};

pub(super) fn cases() -> Vec<Case> {
    [nominated(), upgrades(), expectations()].into_iter().flatten().collect()
}

fn nominated() -> Vec<Case> {
    let of = |what: &str, lines: &str, verdict| {
        case("9110 7.6.1", &format!("Connection: {what}"), get(lines), verdict)
    };
    let options: String = (0..40).map(|number| format!("x-{number}, ")).collect();
    vec![
        of("keep-alive", "Connection: keep-alive\r\n", "GET /a, next"),
        case(
            "9112 9.6",
            "Connection: close, and a request behind it",
            head("GET /a HTTP/1.1", "Connection: close\r\n", SMUGGLED),
            "GET /a",
        ),
        of("close and keep-alive", "Connection: keep-alive, close\r\n", "GET /a"),
        of("close in capitals among others", "Connection: x, CLOSE\r\n", "GET /a"),
        of(
            "a field of one hop",
            "Connection: X-Hop\r\nX-Hop: 1\r\nX-End: 2\r\n",
            "GET /a {X-End: 2}, next",
        ),
        of("Host stays", "Connection: Host\r\n", "GET /a, next"),
        of("Cookie stays", "Connection: cookie\r\nCookie: a=b\r\n", "GET /a {Cookie: a=b}, next"),
        of(
            "Authorization stays",
            "Connection: Authorization\r\nAuthorization: x\r\n",
            "GET /a {Authorization: x}, next",
        ),
        of("Keep-Alive is for one hop", "Keep-Alive: timeout=5\r\n", "GET /a, next"),
        of("Proxy-Connection is for one hop", "Proxy-Connection: close\r\n", "GET /a, next"),
        of("TE is for one hop", "Connection: TE\r\nTE: trailers\r\n", "GET /a, next"),
        of("an empty list", "Connection: , ,\r\n", "GET /a, next"),
        of("40 options", &format!("Connection: {options}x\r\n"), "400"),
        case(
            "9110 7.6.1",
            "Connection: Content-Length stays",
            post("Connection: Content-Length\r\nContent-Length: 5\r\n", "hello"),
            "POST /a (hello), next",
        ),
        case(
            "9110 7.6.1",
            "Connection: Transfer-Encoding stays",
            post("Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
            "POST /a <>, next",
        ),
    ]
}

fn upgrades() -> Vec<Case> {
    let of = |section, what: &str, lines: &str, verdict| {
        case(section, &format!("Upgrade: {what}"), get(lines), verdict)
    };
    vec![
        of(
            "9110 7.8",
            "a WebSocket, declined",
            "Connection: Upgrade\r\nUpgrade: websocket\r\n",
            "GET /a {Upgrade: websocket, Connection: upgrade}, next",
        ),
        of("9110 7.8", "without Connection", "Upgrade: websocket\r\n", "GET /a, next"),
        of(
            "9113 3.1",
            "h2c, with its settings",
            "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
            "GET /a, next",
        ),
        of("9110 7.8", "HTTP/2.0", "Connection: Upgrade\r\nUpgrade: HTTP/2.0\r\n", "GET /a, next"),
        of("2817 3", "TLS/1.0", "Connection: Upgrade\r\nUpgrade: TLS/1.0\r\n", "GET /a, next"),
        of(
            "9110 7.8",
            "a list",
            "Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n",
            "GET /a, next",
        ),
        of(
            "9110 7.8",
            "twice",
            "Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n",
            "GET /a, next",
        ),
        case(
            "9110 7.8",
            "Upgrade: with a body that is a request",
            post(
                format!(
                    "Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: {}\r\n",
                    SMUGGLED.len()
                ),
                SMUGGLED,
            ),
            "POST /a (43 bytes), next",
        ),
        case(
            "9110 7.8",
            "Upgrade: in chunks",
            post(
                "Connection: Upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n",
                "5\r\nhello\r\n0\r\n\r\n",
            ),
            "POST /a <hello>, next",
        ),
        case(
            "9110 7.8",
            "Upgrade: in HTTP/1.0",
            head("GET /a HTTP/1.0", "Connection: Upgrade\r\nUpgrade: websocket\r\n", ""),
            "GET /a",
        ),
    ]
}

fn expectations() -> Vec<Case> {
    let of = |what: &str, lines: &str, body: &str, verdict| {
        case("9110 10.1.1", &format!("Expect: {what}"), post(lines, body), verdict)
    };
    vec![
        of(
            "100-continue, not waited for",
            "Expect: 100-continue\r\nContent-Length: 5\r\n",
            "hello",
            "POST /a (hello) {Expect: 100-continue}, next",
        ),
        of(
            "100-continue in chunks",
            "Expect: 100-Continue\r\nTransfer-Encoding: chunked\r\n",
            "5\r\nhello\r\n0\r\n\r\n",
            "POST /a <hello> {Expect: 100-Continue}, next",
        ),
        of("something else", "Expect: tea\r\nContent-Length: 5\r\n", "hello", "417"),
        of(
            "100-continue and more",
            "Expect: 100-continue, tea\r\nContent-Length: 5\r\n",
            "hello",
            "417",
        ),
        of("twice", "Expect: 100-continue\r\nExpect: tea\r\nContent-Length: 5\r\n", "hello", "417"),
        of("empty", "Expect:\r\nContent-Length: 5\r\n", "hello", "417"),
        case(
            "9110 10.1.1",
            "Expect: something else and a request as the body",
            post(format!("Expect: tea\r\nContent-Length: {}\r\n", SMUGGLED.len()), SMUGGLED),
            "417",
        ),
        case(
            "9110 10.1.1",
            "Expect: nothing to HTTP/1.0",
            head("POST /a HTTP/1.0", "Expect: tea\r\nContent-Length: 5\r\n", "hello"),
            "POST /a (hello)",
        ),
    ]
}
