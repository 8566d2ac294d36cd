//! What heads look like on the other side.

use super::*;

#[track_caller]
fn edited_request(text: &str, edits: &RequestEdits<'_>) -> String {
    let mut storage = HeaderStorage::new();
    let Ok(Parsed::Complete(head)) = parse_request(text.as_bytes(), &LIMITS, &mut storage) else {
        panic!("not a whole head: {text}");
    };
    let mut out = b"before|".to_vec();
    write_request_head(&mut out, &head, edits);
    String::from_utf8(out).unwrap().strip_prefix("before|").unwrap().to_owned()
}

#[track_caller]
fn edited_response(text: &str, request: ResponseTo, edits: &ResponseEdits<'_>) -> String {
    let mut storage = HeaderStorage::new();
    let Ok(Parsed::Complete(head)) =
        parse_response(text.as_bytes(), &LIMITS, request, &mut storage)
    else {
        panic!("not a whole head: {text}");
    };
    let mut out = Vec::new();
    write_response_head(&mut out, &head, edits);
    String::from_utf8(out).unwrap()
}

const KEPT_OPEN: ResponseEdits<'static> = ResponseEdits {
    keep_alive: true,
    client_version: Version::Http11,
    recode: Recode::Keep,
    set: &[],
    remove: &[],
};

#[test]
fn a_head_that_needs_no_change_is_unchanged() {
    let text = "GET /a?b HTTP/1.1\r\nHost: a:1\r\nAccept: */*\r\nTrailer: x\r\n\r\n";
    assert_eq!(edited_request(text, &RequestEdits::default()), text);
    let text = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: y\r\n\r\n";
    assert_eq!(edited_response(text, ResponseTo::default(), &KEPT_OPEN), text);
}

#[test]
fn hop_by_hop_fields_stay_here() {
    let text = "GET / HTTP/1.1\r\nConnection: keep-alive, X-Hop, host, Cookie\r\nX-Hop: 1\r\nHost: a\r\nKeep-Alive: 5\r\n\
        Cookie: c\r\nProxy-Connection: x\r\nTE: trailers\r\nx-hop: 2\r\nUpgrade: websocket\r\nProxy-Authorization: p\r\n\
        HTTP2-Settings: AA\r\nX: y\r\n\r\n";
    let expected = "GET / HTTP/1.1\r\nHost: a\r\nCookie: c\r\nX: y\r\n\r\n";
    assert_eq!(edited_request(text, &RequestEdits::default()), expected);
    let text = "HTTP/1.1 200 OK\r\nConnection: close, x-hop, content-length\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n\
        Upgrade: h2c\r\nProxy-Authenticate: x\r\nContent-Length: 3\r\n\r\n";
    let expected = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n";
    assert_eq!(edited_response(text, ResponseTo::default(), &KEPT_OPEN), expected);
}

#[test]
fn lengths_lose_zeros_that_could_be_read_as_octal() {
    for (sent, passed) in [("010", "10"), ("00", "0"), ("0", "0"), ("100", "100"), ("007", "7")] {
        let text = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {sent}\r\nX: 01\r\n\r\n");
        let expected = text.replace(&format!(": {sent}\r"), &format!(": {passed}\r"));
        assert_eq!(edited_request(&text, &RequestEdits::default()), expected);
        let text = format!("HTTP/1.1 200 OK\r\nContent-Length: {sent}\r\n\r\n");
        let expected = format!("HTTP/1.1 200 OK\r\nContent-Length: {passed}\r\n\r\n");
        assert_eq!(edited_response(&text, ResponseTo::default(), &KEPT_OPEN), expected);
    }
}

#[test]
fn irregular_lines_are_written_anew() {
    let text = "\r\nGET / HTTP/1.1\nHost:a\nA:  b\r\nC: d \r\nE:\t f\r\nG:\r\nContent-Length:\t5\r\nI: j\n\n";
    let expected = "GET / HTTP/1.1\r\nHost: a\r\nA: b\r\nC: d\r\nE: f\r\nG: \r\nContent-Length: 5\r\nI: j\r\n\r\n";
    assert_eq!(edited_request(text, &RequestEdits::default()), expected);
    let text = "HTTP/1.1 200 OK\nA: b\r\nTransfer-Encoding: \tchunked\r\n\n";
    let expected = "HTTP/1.1 200 OK\r\nA: b\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(edited_response(text, ResponseTo::default(), &KEPT_OPEN), expected);
}

#[test]
fn start_lines_say_http_1_1() {
    let edits = RequestEdits { host_if_absent: "fallback", ..RequestEdits::default() };
    assert_eq!(
        edited_request("GET /a HTTP/1.0\r\n\r\n", &edits),
        "GET /a HTTP/1.1\r\nHost: fallback\r\n\r\n"
    );
    assert_eq!(
        edited_request("GET /a HTTP/1.0\r\nX: y\r\nHost: h\r\n\r\n", &edits),
        "GET /a HTTP/1.1\r\nX: y\r\nHost: h\r\n\r\n",
    );
    let text = "HTTP/1.0 404 Not Found\r\nContent-Length: 5\r\n\r\n";
    let expected = "HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\n";
    assert_eq!(edited_response(text, ResponseTo::default(), &KEPT_OPEN), expected);
    let text = "HTTP/1.1 200\r\nContent-Length: 5\r\n\r\n";
    let expected = "HTTP/1.1 200 \r\nContent-Length: 5\r\n\r\n";
    assert_eq!(edited_response(text, ResponseTo::default(), &KEPT_OPEN), expected);
}

#[test]
fn absolute_targets_become_origin_and_host() {
    let cases = [
        (
            "GET http://b:2/c?d HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n",
            "GET /c?d HTTP/1.1\r\nHost: b:2\r\nX: y\r\n\r\n",
        ),
        ("GET http://b HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\nHost: b\r\n\r\n"),
        ("GET http://b?d HTTP/1.0\r\n\r\n", "GET /?d HTTP/1.1\r\nHost: b\r\n\r\n"),
        ("OPTIONS http://b HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: b\r\n\r\n"),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"),
    ];
    for (text, expected) in cases {
        assert_eq!(edited_request(text, &RequestEdits::default()), expected);
    }
}

#[test]
fn targets_hosts_and_fields_can_be_overridden() {
    let set = [HeaderLine::new("X-Set", "1").unwrap(), HeaderLine::new("x-new", "2").unwrap()];
    let remove = ["X-GONE".into(), "Content-Length".into(), "Host".into()];
    let edits = RequestEdits {
        path_override: Some("/new?q"),
        host_override: Some("h:1"),
        set: &set,
        remove: &remove,
        ..RequestEdits::default()
    };
    assert_eq!(
        edited_request(
            "GET /old HTTP/1.1\r\nHost: a\r\nx-set: 0\r\nX-Gone: 1\r\nContent-Length: 1\r\nx-set: 3\r\n\r\n",
            &edits
        ),
        "GET /new?q HTTP/1.1\r\nHost: h:1\r\nContent-Length: 1\r\nX-Set: 1\r\nx-new: 2\r\n\r\n",
    );
    let edits = ResponseEdits { set: &set, remove: &remove, ..KEPT_OPEN };
    assert_eq!(
        edited_response(
            "HTTP/1.1 200 OK\r\nX-gone: 1\r\nContent-Length: 1\r\n\r\n",
            ResponseTo::default(),
            &edits
        ),
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nX-Set: 1\r\nx-new: 2\r\n\r\n",
    );
}

#[test]
fn configured_lines_cannot_break_a_head() {
    assert_eq!(HeaderLine::new("X A", "1"), Err(HeaderLineError::InvalidName));
    assert_eq!(HeaderLine::new("", "1"), Err(HeaderLineError::InvalidName));
    assert_eq!(HeaderLine::new("X", "1\r\nY: 2"), Err(HeaderLineError::InvalidValue));
    assert_eq!(HeaderLine::new("X", " 1"), Err(HeaderLineError::InvalidValue));
    for name in ["Host", "content-length", "Transfer-Encoding", "Connection", "Upgrade", "TE"] {
        assert_eq!(HeaderLine::new(name, "1"), Err(HeaderLineError::Reserved), "{name}");
    }
}

const FORWARDED: RequestEdits<'static> = RequestEdits {
    forwarded_for: Some("192.0.2.1"),
    forwarded_proto: Some("https"),
    forwarded_host: Some("a"),
    trust_incoming_forwarded: false,
    keep_forwarded: false,
    forwarded_element: None,
    upgrade: false,
    forward_expect: false,
    path_override: None,
    host_override: None,
    host_if_absent: "",
    set: &[],
    remove: &[],
};

#[test]
fn clients_that_are_not_trusted_cannot_say_who_they_are() {
    let text = "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 6.6.6.6\r\nx_forwarded_for: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\n\
        X-Forwarded-Proto: http\r\nX-Forwarded-Host: evil\r\nX-Forwarded-Port: 1\r\nX: y\r\n\r\n";
    assert_eq!(
        edited_request(text, &FORWARDED),
        "GET / HTTP/1.1\r\nHost: a\r\nX: y\r\nX-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\n\
         X-Forwarded-Host: a\r\n\r\n",
    );
}

#[test]
fn trusted_clients_are_believed_and_extended() {
    let edits = RequestEdits { trust_incoming_forwarded: true, keep_forwarded: true, ..FORWARDED };
    let text = "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.1.1.1, 2.2.2.2\r\nX-Forwarded-For: 3.3.3.3\r\n\
        X-Forwarded-For:\r\nForwarded: for=x\r\nX-Forwarded-Proto: http\r\n\r\n";
    assert_eq!(
        edited_request(text, &edits),
        "GET / HTTP/1.1\r\nHost: a\r\nForwarded: for=x\r\nX-Forwarded-Proto: http\r\n\
         X-Forwarded-For: 1.1.1.1, 2.2.2.2, 3.3.3.3, 192.0.2.1\r\nX-Forwarded-Host: a\r\n\r\n",
    );
    let silent = RequestEdits { trust_incoming_forwarded: true, ..RequestEdits::default() };
    let text = "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.1.1.1\r\n\r\n";
    assert_eq!(edited_request(text, &silent), text);
}

#[test]
fn upgrades_pass_when_wanted() {
    let text = "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n";
    let edits = RequestEdits { upgrade: true, ..RequestEdits::default() };
    assert_eq!(
        edited_request(text, &edits),
        "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\nConnection: upgrade\r\n\r\n",
    );
    assert_eq!(
        edited_request(text, &RequestEdits::default()),
        "GET / HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Key: k\r\n\r\n",
    );
    let h2c = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: A\r\n\r\n";
    assert_eq!(edited_request(h2c, &edits), "GET / HTTP/1.1\r\nHost: a\r\n\r\n");

    let asked = ResponseTo { upgrade: true, ..ResponseTo::default() };
    let text = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade, x\r\nx: 1\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(
        edited_response(text, asked, &KEPT_OPEN),
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
    );
    let text = "HTTP/1.1 426 Upgrade Required\r\nUpgrade: a\r\nConnection: Upgrade\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(
        edited_response(
            text,
            ResponseTo::default(),
            &ResponseEdits { keep_alive: false, ..KEPT_OPEN }
        ),
        "HTTP/1.1 426 Upgrade Required\r\nUpgrade: a\r\nContent-Length: 0\r\nConnection: upgrade, close\r\n\r\n",
    );
}

#[test]
fn expectations_pass_when_wanted() {
    let text = "PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n";
    let forward = RequestEdits { forward_expect: true, ..RequestEdits::default() };
    assert_eq!(edited_request(text, &forward), text);
    assert_eq!(
        edited_request(text, &RequestEdits::default()),
        "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n",
    );
    let pointless = "GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n";
    assert_eq!(edited_request(pointless, &forward), "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
}

#[test]
fn clients_are_told_about_their_connection() {
    let text = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
    let cases = [
        (true, Version::Http11, ""),
        (true, Version::Http10, "Connection: keep-alive\r\n"),
        (false, Version::Http11, "Connection: close\r\n"),
        (false, Version::Http10, "Connection: close\r\n"),
    ];
    for (keep_alive, client_version, line) in cases {
        let edits = ResponseEdits { keep_alive, client_version, ..KEPT_OPEN };
        assert_eq!(
            edited_response(text, ResponseTo::default(), &edits),
            format!("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n{line}\r\n"),
        );
    }
    let closing = ResponseEdits { keep_alive: false, ..KEPT_OPEN };
    let interim = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n";
    assert_eq!(edited_response(interim, ResponseTo::default(), &closing), interim);
}

#[test]
fn bodies_are_framed_anew_when_asked() {
    let dechunk = ResponseEdits {
        keep_alive: false,
        client_version: Version::Http10,
        recode: Recode::Dechunk,
        ..KEPT_OPEN
    };
    assert_eq!(
        edited_response(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX: y\r\n\r\n",
            ResponseTo::default(),
            &dechunk
        ),
        "HTTP/1.1 200 OK\r\nX: y\r\nConnection: close\r\n\r\n",
    );
    let head = ResponseTo { head: true, ..ResponseTo::default() };
    let old = ResponseEdits { client_version: Version::Http10, ..KEPT_OPEN };
    assert_eq!(
        edited_response("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", head, &old),
        "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n\r\n",
    );
    let enchunk = ResponseEdits { recode: Recode::Enchunk, ..KEPT_OPEN };
    assert_eq!(
        edited_response("HTTP/1.0 200 OK\r\nX: y\r\n\r\n", ResponseTo::default(), &enchunk),
        "HTTP/1.1 200 OK\r\nX: y\r\nTransfer-Encoding: chunked\r\n\r\n",
    );
    let known = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
    assert_eq!(edited_response(known, ResponseTo::default(), &enchunk), known);
}

#[test]
fn responses_without_a_body_state_none_of_their_own() {
    let strip = "HTTP/1.1 204 None\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(
        response_verdict(strip.as_bytes(), ResponseTo::default(), &LIMITS),
        "content_length_with_transfer_encoding"
    );
    for line in ["Content-Length: 0\r\n", "Content-Length: 9\r\n", "Transfer-Encoding: chunked\r\n"]
    {
        let text = format!("HTTP/1.1 204 None\r\n{line}\r\n");
        assert_eq!(
            edited_response(&text, ResponseTo::default(), &KEPT_OPEN),
            "HTTP/1.1 204 None\r\n\r\n"
        );
    }
    let head = ResponseTo { head: true, ..ResponseTo::default() };
    let text = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n";
    assert_eq!(edited_response(text, head, &KEPT_OPEN), text, "what GET would bring");
    let connect = ResponseTo { connect: true, ..ResponseTo::default() };
    assert_eq!(edited_response(text, connect, &KEPT_OPEN), "HTTP/1.1 200 OK\r\n\r\n");
}
