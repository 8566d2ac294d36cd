//! Lines, versions, methods and fields (RFC 9112 sections 2, 3 and 5).

use crate::case::{Case, SMUGGLED, case, cut_off, get, head, line};

pub(super) fn cases() -> Vec<Case> {
    [line_ends(), request_lines(), versions(), methods(), names(), values(), sizes()]
        .into_iter()
        .flatten()
        .collect()
}

fn line_ends() -> Vec<Case> {
    let raw = |what: &str, input: &str, verdict| case("9112 2.2", what, input, verdict);
    let plain = "GET /a HTTP/1.1\r\nHost: site.test\r\n\r\n";
    vec![
        raw("an empty line before a request", &format!("\r\n{plain}"), "GET /a, next"),
        raw("four empty lines before a request", &format!("\r\n\n\r\n\n{plain}"), "GET /a, next"),
        raw("five empty lines before a request", &format!("\r\n\r\n\r\n\r\n\r\n{plain}"), "400"),
        raw("bare LFs", "GET /a HTTP/1.1\nHost: site.test\n\n", "GET /a, next"),
        raw(
            "a bare LF behind the request line",
            "GET /a HTTP/1.1\nHost: site.test\r\n\r\n",
            "GET /a, next",
        ),
        raw(
            "a bare LF behind a field",
            "GET /a HTTP/1.1\r\nHost: site.test\nX: y\r\n\r\n",
            "GET /a {X: y}, next",
        ),
        raw(
            "a bare LF as the empty line",
            "GET /a HTTP/1.1\r\nHost: site.test\r\n\n",
            "GET /a, next",
        ),
        raw("a bare CR before a request", &format!("\r{plain}"), "400"),
        raw("a bare CR behind the request line", "GET /a HTTP/1.1\rHost: site.test\r\n\r\n", "400"),
        raw("a bare CR behind a field", "GET /a HTTP/1.1\r\nHost: site.test\rX: y\r\n\r\n", "400"),
        raw("bare CRs", "GET /a HTTP/1.1\rHost: site.test\r\r", "400"),
        raw(
            "CR CR LF behind the request line",
            "GET /a HTTP/1.1\r\r\nHost: site.test\r\n\r\n",
            "400",
        ),
        raw("CR CR LF as the empty line", "GET /a HTTP/1.1\r\nHost: site.test\r\n\r\r\n", "400"),
        raw("a field behind LF CR", "GET /a HTTP/1.1\r\nHost: site.test\n\rX: y\r\n\r\n", "400"),
        cut_off("9112 8", "half a head", "GET /a HTTP/1.1\r\nHost: si", "closed"),
        cut_off(
            "9112 8",
            "a head without its empty line",
            "GET /a HTTP/1.1\r\nHost: site.test\r\n",
            "closed",
        ),
    ]
}

fn request_lines() -> Vec<Case> {
    let refused = |what: &str, text: &[u8]| case("9112 3", what, line(text), "400");
    vec![
        refused("a space before the method", b" GET /a HTTP/1.1"),
        refused("two spaces behind the method", b"GET  /a HTTP/1.1"),
        refused("two spaces behind the target", b"GET /a  HTTP/1.1"),
        refused("a space behind the version", b"GET /a HTTP/1.1 "),
        refused("a tab behind the method", b"GET\t/a HTTP/1.1"),
        refused("a tab behind the target", b"GET /a\tHTTP/1.1"),
        refused("a vertical tab behind the target", b"GET /a\x0bHTTP/1.1"),
        refused("a no-break space behind the target", b"GET /a\xa0HTTP/1.1"),
        refused("no method", b"/a HTTP/1.1"),
        refused("no target", b"GET HTTP/1.1"),
        refused("a second version", b"GET /a HTTP/1.1 HTTP/1.1"),
        refused("NUL at the end", b"GET /a HTTP/1.1\0"),
    ]
}

fn versions() -> Vec<Case> {
    let of = |what: &str, version: &str, verdict| {
        case("9112 2.3", what, line(format!("GET /a{version}")), verdict)
    };
    vec![
        of("HTTP/0.9 without a version", "", "400"),
        of("HTTP/0.9 with a version", " HTTP/0.9", "505"),
        of("HTTP/1.2", " HTTP/1.2", "505"),
        of("HTTP/2.0", " HTTP/2.0", "505"),
        of("HTTP/9.9", " HTTP/9.9", "505"),
        of("small letters", " http/1.1", "400"),
        of("one number", " HTTP/1", "400"),
        of("two digits", " HTTP/1.10", "400"),
        of("a leading zero", " HTTP/01.1", "400"),
        of("a comma", " HTTP/1,1", "400"),
        of("no number", " HTTP/", "400"),
        of("a letter behind it", " HTTP/1.1x", "400"),
        of("a sign", " HTTP/+1.1", "400"),
        of("a space in it", " HTTP /1.1", "400"),
        of("another protocol", " ICAP/1.0", "400"),
        case("9112 2.3", "HTTP/1.0 without Host", "GET /a HTTP/1.0\r\n\r\n", "GET /a @localhost"),
        case(
            "9112 9.3",
            "HTTP/1.0 does not go on by itself",
            head("GET /a HTTP/1.0", "", SMUGGLED),
            "GET /a",
        ),
        case(
            "9112 9.3",
            "HTTP/1.0 that goes on",
            head("GET /a HTTP/1.0", "Connection: keep-alive\r\n", ""),
            "GET /a, next",
        ),
    ]
}

fn methods() -> Vec<Case> {
    let of = |what: &str, method: &[u8], verdict| {
        case("9110 9.1", what, line([method, b" /a HTTP/1.1"].concat()), verdict)
    };
    vec![
        of("a method of one's own", b"PURGE", "PURGE /a, next"),
        of("a method in small letters is another", b"get", "get /a, next"),
        of("every sign that a token may have", b"!#$%&'*+-.^_`|~", "!#$%&'*+-.^_`|~ /a, next"),
        of("a bracket in the method", b"G(T", "400"),
        of("a comma in the method", b"G,T", "400"),
        of("a colon in the method", b"GET:", "400"),
        of("a quoted method", b"\"GET\"", "400"),
        of("NUL in the method", b"G\0ET", "400"),
        of("DEL in the method", b"GET\x7f", "400"),
        of("a byte beyond ASCII in the method", b"G\xc9T", "400"),
        of("another protocol's greeting", b"\x16\x03\x01\x02", "400"),
    ]
}

fn names() -> Vec<Case> {
    let refused = |section, what: &str, lines: &[u8]| {
        case(section, &format!("a name: {what}"), get(lines), "400")
    };
    vec![
        refused("9112 5", "no colon", b"X\r\n"),
        refused("9112 5", "none", b": y\r\n"),
        refused("9112 5.1", "a space behind it", b"X : y\r\n"),
        refused("9112 5.1", "a space in it", b"X Y: z\r\n"),
        refused("9112 5.2", "a folded value", b"X: y\r\n z\r\n"),
        refused("9112 5.2", "a folded value with a tab", b"X: y\r\n\tz\r\n"),
        refused("9112 5.2", "a fold of nothing but space", b"X: y\r\n \r\n"),
        refused("9110 5.1", "a bracket in it", b"X(: y\r\n"),
        refused("9110 5.1", "a slash in it", b"X/Y: z\r\n"),
        refused("9110 5.1", "an at sign in it", b"X@Y: z\r\n"),
        refused("9110 5.1", "NUL in it", b"X\0: y\r\n"),
        refused("9110 5.1", "a control character in it", b"X\x01: y\r\n"),
        refused("9110 5.1", "a byte beyond ASCII in it", b"X\xe9: y\r\n"),
        case(
            "9112 2.2",
            "a first line that begins with a space",
            "GET /a HTTP/1.1\r\n X: y\r\nHost: site.test\r\n\r\n",
            "400",
        ),
        case(
            "9112 2.2",
            "a first line that begins with a tab",
            "GET /a HTTP/1.1\r\n\tHost: site.test\r\n\r\n",
            "400",
        ),
    ]
}

fn values() -> Vec<Case> {
    let of = |what: &str, value: &[u8], verdict| {
        let lines = [b"X:", value, b"\r\n"].concat();
        case("9110 5.5", &format!("a value: {what}"), get(lines), verdict)
    };
    vec![
        of("without a space", b"y", "GET /a {X: y}, next"),
        of("with spaces around it", b" \t y \t", "GET /a {X: y}, next"),
        of("empty", b"", "GET /a {X: }, next"),
        of("a tab in it", b" a\tb", "GET /a {X: a\\tb}, next"),
        of("bytes beyond ASCII", b" caf\xc3\xa9", "GET /a {X: caf\\xc3\\xa9}, next"),
        of("NUL", b" a\0b", "400"),
        of("a control character", b" \x01", "400"),
        of("DEL", b" a\x7f", "400"),
        of("ESC", b" \x1b[2J", "400"),
        of("a vertical tab", b" a\x0bb", "400"),
        of("CRLF, encoded", b" a%0d%0aY: z", "GET /a {X: a%0d%0aY: z}, next"),
    ]
}

fn sizes() -> Vec<Case> {
    let fields = |count: usize| get("X: y\r\n".repeat(count));
    let long = |size: usize| get(format!("X: {}\r\n", "x".repeat(size)));
    vec![
        case("9110 5.4", "91 fields", fields(90), "GET /a {90 fields}, next"),
        case("9110 5.4", "101 fields", fields(100), "431"),
        case("9110 5.4", "300 fields", fields(300), "431"),
        case("9110 5.4", "a field of 8,000 bytes", long(8_000), "GET /a {X: 8000 bytes}, next"),
        case("9110 5.4", "a field of 20,000 bytes", long(20_000), "431"),
        case("9110 5.4", "a field of 300,000 bytes", long(300_000), "431"),
        case(
            "9110 9.1",
            "a method of 200 bytes",
            line(format!("{} /a HTTP/1.1", "G".repeat(200))),
            "200 bytes /a, next",
        ),
        case(
            "9112 3",
            "a target of 4,000 bytes",
            line(format!("GET /{} HTTP/1.1", "a".repeat(3_999))),
            "GET 4000 bytes, next",
        ),
        case(
            "9112 3",
            "a target of 9,000 bytes",
            line(format!("GET /{} HTTP/1.1", "a".repeat(8_999))),
            "414",
        ),
        case(
            "9112 3",
            "a target of 100,000 bytes",
            line(format!("GET /{} HTTP/1.1", "a".repeat(99_999))),
            "414",
        ),
    ]
}
