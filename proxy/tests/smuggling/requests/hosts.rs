//! `Host` (RFC 9112 section 3.2, RFC 9110 section 7.2).

use crate::case::{Case, case};

pub(super) fn cases() -> Vec<Case> {
    let of = |what: &str, lines: &[u8], verdict| {
        let input = [b"GET /a HTTP/1.1\r\n", lines, b"\r\n"].concat();
        case("9112 3.2", &format!("Host: {what}"), input, verdict)
    };
    let value = |what: &str, value: &[u8]| of(what, &[b"Host: ", value, b"\r\n"].concat(), "400");
    vec![
        of("with a port", b"Host: b.test:8080\r\n", "GET /a @b.test:8080, next"),
        of("an address", b"Host: 127.0.0.1\r\n", "GET /a @127.0.0.1, next"),
        of("an IPv6 address", b"Host: [::1]:80\r\n", "GET /a @[::1]:80, next"),
        of("without a space", b"Host:b.test\r\n", "GET /a @b.test, next"),
        of("between tabs", b"Host:\t b.test \t\r\n", "GET /a @b.test, next"),
        of("missing", b"", "400"),
        of("twice the same", b"Host: site.test\r\nHost: site.test\r\n", "400"),
        of("twice", b"Host: site.test\r\nHost: b.test\r\n", "400"),
        of("twice, apart", b"Host: site.test\r\nX: y\r\nhOST: b.test\r\n", "400"),
        of("twice, the first empty", b"Host:\r\nHost: b.test\r\n", "400"),
        of("a space before the colon", b"Host : site.test\r\n", "400"),
        of("a good one and one with a space", b"Host: site.test\r\nHost : b.test\r\n", "400"),
        of("a good one and one behind a fold", b"Host: site.test\r\n Host: b.test\r\n", "400"),
        of("folded", b"Host:\r\n site.test\r\n", "400"),
        value("empty", b""),
        value("blanks", b" \t"),
        value("two names", b"site.test b.test"),
        value("a list", b"site.test, b.test"),
        value("a path", b"site.test/a"),
        value("a URL", b"http://site.test"),
        value("a query", b"site.test?a"),
        value("a fragment", b"site.test#a"),
        value("user information", b"user@site.test"),
        value("a backslash", b"site.test\\b"),
        value("a port that is no number", b"site.test:http"),
        value("two ports", b"site.test:80:81"),
        value("a port beyond 65535", b"site.test:65536"),
        value("a negative port", b"site.test:-1"),
        value("a port alone", b":80"),
        value("bytes beyond ASCII", "caf\u{e9}.test".as_bytes()),
        value("NUL", b"site\0.test"),
        value("an open bracket", b"[::1"),
        value("an IPv6 address without brackets", b"::1"),
        value("a zone", b"[fe80::1%25eth0]"),
        value("something behind the brackets", b"[::1]x"),
        value("half an encoded byte", b"site%4"),
        value("300 bytes", "a".repeat(300).as_bytes()),
        case(
            "9112 3.2",
            "Host: twice in HTTP/1.0",
            "GET /a HTTP/1.0\r\nHost: site.test\r\nHost: b.test\r\n\r\n",
            "400",
        ),
        case("9112 3.2", "Host: empty in HTTP/1.0", "GET /a HTTP/1.0\r\nHost:\r\n\r\n", "400"),
    ]
}
