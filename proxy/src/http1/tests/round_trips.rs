//! Whatever is forwarded reads the same to the next recipient, framing above all.

use proptest::prelude::*;

use super::*;

/// Header lines that mean something to the codec, or look as if they did.
fn line() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec![
        "Content-Length",
        "content-length",
        "Transfer-Encoding",
        "Connection",
        "Host",
        "Upgrade",
        "Expect",
        "TE",
        "Keep-Alive",
        "X-Forwarded-For",
        "X_Forwarded_For",
        "X-Forwarded-Proto",
        "Forwarded",
        "X-Hop",
        "Cookie",
        "A",
        "Trailer",
        "Via",
    ]);
    let value = prop::sample::select(vec![
        "",
        "0",
        "5",
        "007",
        "chunked",
        "Chunked",
        "close",
        "keep-alive",
        "upgrade",
        "upgrade, x-hop",
        "x-hop",
        "host, cookie",
        "websocket",
        "h2c",
        "100-continue",
        "a",
        "example.com:80",
        "trailers",
        "a, b",
        "x\ty",
        "content-length",
        "\u{e9}",
    ]);
    let gap = prop::sample::select(vec![" ", " ", " ", "", "\t", "  "]);
    let end = prop::sample::select(vec!["\r\n", "\r\n", "\r\n", "\n", " \r\n", "\t\n"]);
    (name, gap, value, end).prop_map(|(name, gap, value, end)| format!("{name}:{gap}{value}{end}"))
}

fn request() -> impl Strategy<Value = String> {
    let start = prop::sample::select(vec![
        "GET / HTTP/1.1\r\n",
        "POST /a?b HTTP/1.1\r\n",
        "PUT http://h:1/x HTTP/1.1\r\n",
        "GET http://h?q HTTP/1.1\n",
        "GET / HTTP/1.0\r\n",
        "\r\nPOST / HTTP/1.1\n",
        "OPTIONS * HTTP/1.1\r\n",
        "CONNECT h:1 HTTP/1.1\r\n",
    ]);
    let host = prop::sample::select(vec!["Host: a\r\n", "Host: a\r\n", "Host:a\n", ""]);
    (start, host, prop::collection::vec(line(), 0..6), prop::sample::select(vec!["\r\n", "\n"]))
        .prop_map(|(start, host, lines, end)| format!("{start}{host}{}{end}", lines.concat()))
}

fn response() -> impl Strategy<Value = String> {
    let start = prop::sample::select(vec![
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.0 200 OK\r\n",
        "HTTP/1.1 204\r\n",
        "HTTP/1.1 304 Same\n",
        "HTTP/1.1 103 Hints\r\n",
        "HTTP/1.1 101 Go\r\n",
        "HTTP/1.1 404 \u{e9}\r\n",
        "HTTP/1.1 426 Up\r\n",
    ]);
    (start, prop::collection::vec(line(), 0..6), prop::sample::select(vec!["\r\n", "\n"]))
        .prop_map(|(start, lines, end)| format!("{start}{}{end}", lines.concat()))
}

fn request_edits() -> impl Strategy<Value = RequestEdits<'static>> {
    let address = prop::option::of(Just("192.0.2.1"));
    let path = prop::option::of(Just("/new"));
    let host = prop::option::of(Just("other:2"));
    (any::<bool>(), any::<bool>(), any::<bool>(), address, path, host).prop_map(
        |(trust, upgrade, expect, address, path_override, host_override)| RequestEdits {
            forwarded_for: address,
            forwarded_proto: address.map(|_| "https"),
            forwarded_host: address.map(|_| "a"),
            trust_incoming_forwarded: trust,
            keep_forwarded: trust,
            upgrade,
            forward_expect: expect,
            path_override,
            host_override,
            host_if_absent: "fallback",
            ..RequestEdits::default()
        },
    )
}

fn response_to() -> impl Strategy<Value = ResponseTo> {
    prop::sample::select(vec![
        ResponseTo::default(),
        ResponseTo { head: true, ..ResponseTo::default() },
        ResponseTo { connect: true, ..ResponseTo::default() },
        ResponseTo { upgrade: true, ..ResponseTo::default() },
    ])
}

/// No line of a forwarded head leaves anything to interpret.
fn assert_plain_lines(head: &[u8]) {
    let text = head.strip_suffix(b"\r\n\r\n").expect("a head ends in an empty line");
    for line in text.split(|byte| *byte == b'\n').skip(1) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let colon = line.iter().position(|byte| *byte == b':').expect("a header line has a colon");
        assert!(line[colon..].starts_with(b": "), "{}", line.escape_ascii());
        let value = &line[colon + 2..];
        assert_eq!(value.trim_ascii(), value, "{}", line.escape_ascii());
        assert!(!value.contains(&b'\r'), "{}", line.escape_ascii());
    }
}

/// The overrides are not for CONNECT.
fn expected_host<'a>(head: &RequestHead<'a>, edits: &RequestEdits<'a>) -> Option<&'a str> {
    let over = edits.host_override.filter(|_| head.method != "CONNECT");
    over.or(head.host).or(Some(edits.host_if_absent))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn forwarded_requests_read_the_same(text in request(), edits in request_edits()) {
        let mut storage = HeaderStorage::new();
        if let Ok(Parsed::Complete(head)) = parse_request(text.as_bytes(), &LIMITS, &mut storage) {
            let mut out = Vec::new();
            write_request_head(&mut out, &head, &edits);
            assert_plain_lines(&out);
            let mut storage = HeaderStorage::new();
            let Ok(Parsed::Complete(forwarded)) = parse_request(&out, &LIMITS, &mut storage) else {
                return Err(TestCaseError::fail(format!("refused: {}", out.escape_ascii())));
            };
            prop_assert_eq!(forwarded.head_len, out.len());
            prop_assert_eq!(forwarded.framing, head.framing);
            prop_assert_eq!(forwarded.method, head.method);
            prop_assert_eq!(forwarded.version, Version::Http11);
            prop_assert_eq!(forwarded.target.query(), if edits.path_override.is_some() { None } else { head.target.query() });
            prop_assert_eq!(forwarded.host, expected_host(&head, &edits));
            prop_assert_eq!(forwarded.expect_continue, head.expect_continue && edits.forward_expect);
            prop_assert_eq!(forwarded.upgrade, head.upgrade.filter(|_| edits.upgrade));
            prop_assert!(forwarded.keep_alive);
        }
    }

    #[test]
    fn forwarded_responses_read_the_same(text in response(), request in response_to(), keep_alive in any::<bool>()) {
        let mut storage = HeaderStorage::new();
        if let Ok(Parsed::Complete(head)) = parse_response(text.as_bytes(), &LIMITS, request, &mut storage) {
            let edits = ResponseEdits {
                keep_alive,
                client_version: Version::Http11,
                recode: Recode::Keep,
                set: &[],
                remove: &[],
            };
            let mut out = Vec::new();
            write_response_head(&mut out, &head, &edits);
            assert_plain_lines(&out);
            let mut storage = HeaderStorage::new();
            let Ok(Parsed::Complete(forwarded)) = parse_response(&out, &LIMITS, request, &mut storage) else {
                return Err(TestCaseError::fail(format!("refused: {}", out.escape_ascii())));
            };
            prop_assert_eq!(forwarded.head_len, out.len());
            prop_assert_eq!(forwarded.framing, head.framing);
            prop_assert_eq!(forwarded.status, head.status);
            prop_assert_eq!(forwarded.version, Version::Http11);
        }
    }

    #[test]
    fn verdicts_do_not_depend_on_how_bytes_arrive(text in request(), answer in response(), to in response_to()) {
        assert_settles(text.as_bytes(), |bytes| request_verdict(bytes, &LIMITS));
        assert_settles(answer.as_bytes(), |bytes| response_verdict(bytes, to, &LIMITS));
    }
}
