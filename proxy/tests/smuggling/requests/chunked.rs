//! The chunked coding (RFC 9112 section 7.1).

use crate::case::{Case, SMUGGLED, case, chunks, cut_off};

pub(super) fn cases() -> Vec<Case> {
    [well_formed(), sizes(), line_ends(), extensions(), trailers()].into_iter().flatten().collect()
}

fn well_formed() -> Vec<Case> {
    let many = "1\r\nx\r\n".repeat(300);
    let smuggled = format!("{:x}\r\n{SMUGGLED}\r\n0\r\n\r\n", SMUGGLED.len());
    vec![
        case(
            "9112 7.1",
            "two chunks",
            chunks("2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"),
            "POST /a <hello>, next",
        ),
        case("9112 7.1", "no chunks", chunks("0\r\n\r\n"), "POST /a <>, next"),
        case(
            "9112 7.1",
            "zeros before a size",
            chunks("00005\r\nhello\r\n0\r\n\r\n"),
            "POST /a <hello>, next",
        ),
        case(
            "9112 7.1",
            "a last chunk of many zeros",
            chunks("5\r\nhello\r\n0000\r\n\r\n"),
            "POST /a <hello>, next",
        ),
        case(
            "9112 7.1",
            "capital digits",
            chunks("A\r\n0123456789\r\n0\r\n\r\n"),
            "POST /a <0123456789>, next",
        ),
        case(
            "9112 7.1",
            "small digits",
            chunks("a\r\n0123456789\r\n0\r\n\r\n"),
            "POST /a <0123456789>, next",
        ),
        case("9112 7.1", "300 chunks", chunks(many + "0\r\n\r\n"), "POST /a <300 bytes>, next"),
        case("9112 7.1", "a request inside a chunk", chunks(smuggled), "POST /a <43 bytes>, next"),
        case(
            "9112 7.1",
            "what looks like a last chunk inside a chunk",
            chunks("7\r\n0\r\n\r\nab\r\n0\r\n\r\n"),
            "POST /a <0\\r\\n\\r\\nab>, next",
        ),
        cut_off("9112 8", "the end in a chunk", chunks("5\r\nhel"), "closed"),
        cut_off("9112 8", "the end before the last chunk", chunks("5\r\nhello\r\n"), "closed"),
        cut_off("9112 8", "the end before the last CRLF", chunks("5\r\nhello\r\n0\r\n"), "closed"),
    ]
}

fn sizes() -> Vec<Case> {
    let refused = |what: &str, size: &str| {
        let body = format!("{size}\r\nhello\r\n0\r\n\r\n{SMUGGLED}");
        case("9112 7.1", &format!("a chunk size: {what}"), chunks(body), "400")
    };
    let mut cases: Vec<_> = [
        ("beyond 64 bits, wrapped to 5", "10000000000000005"),
        ("17 digits", "00000000000000005"),
        ("negative to whom 64 bits have a sign", "8000000000000000"),
        ("-1 to whom 64 bits have a sign", "ffffffffffffffff"),
        ("far beyond 64 bits", "fffffffffffffffffffff5"),
        ("prefixed", "0x5"),
        ("a sign", "+5"),
        ("negative", "-5"),
        ("a space before it", " 5"),
        ("a tab before it", "\t5"),
        ("a space behind it", "5 "),
        ("an underscore", "0_5"),
        ("a fraction", "5.0"),
        ("a comma", "5,5"),
        ("no digit", "g"),
        ("none", ""),
        ("a letter behind it", "5x"),
        ("NUL behind it", "5\0"),
        ("a vertical tab behind it", "5\x0b"),
        ("a byte beyond ASCII behind it", "5\u{a0}"),
    ]
    .into_iter()
    .map(|(what, size)| refused(what, size))
    .collect();
    cases.push(cut_off(
        "9112 7.1",
        "the largest chunk",
        chunks("7fffffffffffffff\r\nhello"),
        "closed",
    ));
    cases.push(case(
        "9112 7.1",
        "more in a chunk than its size says",
        chunks("4\r\nhello\r\n0\r\n\r\n"),
        "400",
    ));
    cases.push(case(
        "9112 7.1",
        "less in a chunk than its size says",
        chunks("7\r\nhello\r\n0\r\n\r\n"),
        "400",
    ));
    cases
}

fn line_ends() -> Vec<Case> {
    let refused =
        |what: &str, body: &str| case("9112 7.1", what, chunks(format!("{body}{SMUGGLED}")), "400");
    vec![
        refused("a bare LF behind a size", "5\nhello\r\n0\r\n\r\n"),
        refused("a bare CR behind a size", "5\rhello\r\n0\r\n\r\n"),
        refused("CR CR LF behind a size", "5\r\r\nhello\r\n0\r\n\r\n"),
        refused("a bare LF behind a chunk", "5\r\nhello\n0\r\n\r\n"),
        refused("a bare CR behind a chunk", "5\r\nhello\r0\r\n\r\n"),
        refused("nothing behind a chunk", "5\r\nhello0\r\n\r\n"),
        refused("two CRLF behind a chunk", "5\r\nhello\r\n\r\n0\r\n\r\n"),
        refused("a bare LF behind the last size", "5\r\nhello\r\n0\n\r\n"),
        refused("a bare LF at the end", "5\r\nhello\r\n0\r\n\n"),
        refused("bare LFs everywhere", "5\nhello\n0\n\n"),
        refused("a bare CR at the end", "5\r\nhello\r\n0\r\n\r"),
        refused("no CRLF at the end", "5\r\nhello\r\n0\r\n"),
        refused("other bytes in place of CRLF behind a chunk", "5\r\nhelloXX0\r\n\r\n"),
    ]
}

fn extensions() -> Vec<Case> {
    let good = |what: &str, extension: &str, verdict| {
        let body = format!("5{extension}\r\nhello\r\n0\r\n\r\n");
        case("9112 7.1.1", &format!("an extension: {what}"), chunks(body), verdict)
    };
    let refused = |what: &str, extension: &str| good(what, extension, "400");
    let long = format!(";a={}", "x".repeat(5_000));
    vec![
        good("a name", ";a", "POST /a <hello> [;a], next"),
        good("a value", ";a=b", "POST /a <hello> [;a=b], next"),
        good("a quoted value", ";a=\"b c\"", "POST /a <hello> [;a=\"b c\"], next"),
        good("a quoted quote", ";a=\"\\\"\"", "POST /a <hello> [;a=\"\\\\\"\"], next"),
        good("space around it", " ; a = b", "POST /a <hello> [ ; a = b], next"),
        refused("a bare LF in it", ";a\nb"),
        refused("a bare LF at its end", ";a\nhello\r\n0\r\n\r\n"),
        refused("a bare CR in it", ";a\rb"),
        refused("a bare CR in quotes", ";a=\"\r\""),
        refused("CRLF in quotes", ";a=\"\r\n\""),
        refused("a bare LF in quotes", ";a=\"\n\""),
        refused("NUL in it", ";a\0"),
        refused("no name", ";=b"),
        refused("nothing behind the semicolon", ";"),
        refused("two semicolons", ";;a"),
        refused("no end of the quotes", ";a=\"b"),
        refused("no semicolon", " a"),
        refused("of 5,000 bytes", &long),
        case(
            "9112 7.1.1",
            "32 KiB of extensions in small chunks",
            chunks(format!("1;{}\r\nx\r\n", "a".repeat(1_000)).repeat(33) + "0\r\n\r\n"),
            "400",
        ),
        case(
            "9112 7.1.1",
            "an extension of the last chunk",
            chunks("5\r\nhello\r\n0;a=b\r\n\r\n"),
            "POST /a <hello> [;a=b], next",
        ),
    ]
}

fn trailers() -> Vec<Case> {
    let with = |what: &str, lines: &str, verdict| {
        let body = format!("5\r\nhello\r\n0\r\n{lines}\r\n");
        case("9112 7.1.2", &format!("a trailer: {what}"), chunks(body), verdict)
    };
    let refused = |what: &str, lines: &str| with(what, lines, "400");
    let forbidden = |lines: &str| {
        let name = lines.split(':').next().unwrap_or_default();
        let body = format!("5\r\nhello\r\n0\r\n{lines}\r\n\r\n");
        case("9110 6.5.1", &format!("a trailer: {name}"), chunks(body), "400")
    };
    vec![
        with("a field", "X-Sum: 1\r\n", "POST /a <hello> +{X-Sum: 1}, next"),
        with(
            "two fields",
            "X-Sum: 1\r\nX-More: 2\r\n",
            "POST /a <hello> +{X-Sum: 1, X-More: 2}, next",
        ),
        forbidden("Content-Length: 5"),
        forbidden("Transfer-Encoding: chunked"),
        forbidden("Host: other.test"),
        forbidden("Authorization: Basic eDp5"),
        forbidden("Connection: close"),
        forbidden("Cookie: a=b"),
        forbidden("X-Forwarded-For: 10.0.0.1"),
        forbidden("Trailer: X"),
        forbidden("Upgrade: websocket"),
        refused("folded", "X-Sum: 1\r\n 2\r\n"),
        refused("space before the colon", "X-Sum : 1\r\n"),
        refused("space before the name", " X-Sum: 1\r\n"),
        refused("no colon", "X-Sum\r\n"),
        refused("no name", ": 1\r\n"),
        refused("NUL in a value", "X-Sum: \0\r\n"),
        refused("a bare CR in a value", "X-Sum: 1\r2\r\n"),
        refused("a bare LF", "X-Sum: 1\n"),
        refused("of 9,000 bytes", &format!("X-Sum: {}\r\n", "x".repeat(9_000))),
    ]
}
