//! Request targets (RFC 9112 section 3.2).

use crate::case::{Case, case, head, line};

pub(super) fn cases() -> Vec<Case> {
    [origin_form(), absolute_form(), other_forms()].into_iter().flatten().collect()
}

fn origin_form() -> Vec<Case> {
    let of = |section, what: &str, target: &[u8], verdict| {
        let text = [b"GET ", target, b" HTTP/1.1"].concat();
        case(section, &format!("a target: {what}"), line(text), verdict)
    };
    let refused = |what: &str, target: &[u8]| of("9112 3.2.1", what, target, "400");
    vec![
        of("9112 3.2.1", "a query", b"/a?b=/c?d", "GET /a?b=/c?d, next"),
        of("9112 3.2.1", "two slashes", b"//a", "GET //a, next"),
        of("3986 5.2.4", "dot segments", b"/b/../a/./c", "GET /a/c, next"),
        of("3986 5.2.4", "more dots than segments", b"/../../a", "GET /a, next"),
        of("3986 6.2.2", "encoded dots", b"/b/%2e%2E/a", "GET /a, next"),
        of("3986 6.2.2", "dots behind an encoded slash", b"/b/..%2fa", "400"),
        of("3986 2.1", "CRLF, encoded", b"/a%0d%0aX:%20y", "GET /a%0d%0aX:%20y, next"),
        of("3986 2.1", "a fragment, encoded", b"/a%23b", "GET /a%23b, next"),
        refused("a space", b"/a b"),
        refused("a fragment", b"/a#b"),
        refused("a fragment of a query", b"/a?b#c"),
        refused("bytes beyond ASCII", b"/caf\xc3\xa9"),
        refused("a byte that is not UTF-8", b"/\xe9"),
        refused("a control character", b"/\x01"),
        refused("NUL", b"/a\0"),
        refused("DEL", b"/\x7f"),
        refused("a bare CR", b"/a\rb"),
        refused("no slash", b"a"),
        refused("a query alone", b"?a"),
        refused("a backslash", b"\\a"),
    ]
}

fn absolute_form() -> Vec<Case> {
    let of = |section, what: &str, target: &str, verdict| {
        case(section, what, line(format!("GET {target} HTTP/1.1")), verdict)
    };
    let refused = |section, what: &str, target: &str| of(section, what, target, "400");
    vec![
        of("9112 3.2.2", "absolute, as Host says", "http://site.test/a", "GET /a, next"),
        of(
            "9112 3.2.2",
            "absolute, unlike Host: it counts",
            "http://b.test/a",
            "GET /a @b.test, next",
        ),
        of(
            "9112 3.2.2",
            "absolute with a port",
            "http://site.test:80/a",
            "GET /a @site.test:80, next",
        ),
        of("9112 3.2.2", "absolute without a path", "http://b.test", "GET / @b.test, next"),
        of("9112 3.2.2", "absolute with a query only", "http://b.test?c", "GET /?c @b.test, next"),
        of("9110 4.2.3", "a scheme in capitals", "HTTP://site.test/a", "GET /a, next"),
        of("9112 3.2.2", "an IPv6 address", "http://[::1]:8/a", "GET /a @[::1]:8, next"),
        case("9112 3.2.2", "absolute without Host", "GET http://b.test/a HTTP/1.1\r\n\r\n", "400"),
        case(
            "9112 3.2.2",
            "absolute with a malformed Host",
            "GET http://b.test/a HTTP/1.1\r\nHost: a b\r\n\r\n",
            "400",
        ),
        case(
            "9112 3.2.2",
            "absolute with two Hosts",
            "GET http://b.test/a HTTP/1.1\r\nHost: b.test\r\nHost: b.test\r\n\r\n",
            "400",
        ),
        case(
            "9112 3.2.2",
            "absolute in HTTP/1.0 without Host",
            "GET http://b.test/a HTTP/1.0\r\n\r\n",
            "GET /a @b.test",
        ),
        refused("9110 4.2.1", "no authority", "http:///a"),
        refused("9110 4.2.1", "a port alone", "http://:80/a"),
        refused("9110 4.2.4", "user information", "http://user@site.test/a"),
        refused("9110 4.2.4", "user and password", "http://user:pw@site.test/a"),
        refused("9110 4.2.4", "an at sign that hides the host", "http://site.test@b.test/a"),
        refused("9112 3.2.2", "a port beyond 65535", "http://site.test:65536/a"),
        refused("9112 3.2.2", "a port that is no number", "http://site.test:x/a"),
        refused("9112 3.2.2", "another scheme", "ftp://site.test/a"),
        refused("9112 3.2.2", "one slash", "http:/site.test/a"),
        refused("9112 3.2.2", "a backslash", "http://site.test\\@b.test/a"),
        refused("9112 3.2.2", "a fragment", "http://site.test/a#b"),
    ]
}

fn other_forms() -> Vec<Case> {
    let of = |section, what: &str, text: &str, verdict| case(section, what, line(text), verdict);
    vec![
        of("9112 3.2.3", "CONNECT", "CONNECT site.test:443 HTTP/1.1", "405"),
        of("9112 3.2.3", "CONNECT without a port", "CONNECT site.test HTTP/1.1", "400"),
        of("9112 3.2.3", "CONNECT with a path", "CONNECT /a HTTP/1.1", "400"),
        of("9112 3.2.3", "CONNECT with a URL", "CONNECT http://site.test:80/ HTTP/1.1", "400"),
        case(
            "9110 9.3.6",
            "CONNECT with a length",
            head("CONNECT site.test:443 HTTP/1.1", "Content-Length: 5\r\n", "hello"),
            "400",
        ),
        case(
            "9110 9.3.6",
            "CONNECT in chunks",
            head("CONNECT site.test:443 HTTP/1.1", "Transfer-Encoding: chunked\r\n", "0\r\n\r\n"),
            "400",
        ),
        of("9112 3.2.3", "an authority without CONNECT", "GET site.test:80 HTTP/1.1", "400"),
        of("9112 3.2.4", "OPTIONS of the server", "OPTIONS * HTTP/1.1", "OPTIONS *, next"),
        of(
            "9112 3.2.4",
            "OPTIONS of a host",
            "OPTIONS http://b.test HTTP/1.1",
            "OPTIONS * @b.test, next",
        ),
        of("9112 3.2.4", "OPTIONS of more than an asterisk", "OPTIONS *a HTTP/1.1", "400"),
        of("9112 3.2.4", "an asterisk without OPTIONS", "GET * HTTP/1.1", "400"),
    ]
}
