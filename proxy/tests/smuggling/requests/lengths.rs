//! `Content-Length` (RFC 9110 section 8.6, RFC 9112 section 6.3).

use crate::case::{Case, SMUGGLED, case, cut_off, head, post};

pub(super) fn cases() -> Vec<Case> {
    [stated(), malformed(), several()].into_iter().flatten().collect()
}

fn stated() -> Vec<Case> {
    let hello = |line: &str| post(format!("{line}\r\n"), "hello");
    vec![
        case("9112 6.3", "a length", hello("Content-Length: 5"), "POST /a (hello), next"),
        case("9112 6.3", "no body", post("Content-Length: 0\r\n", ""), "POST /a (), next"),
        case("9112 6.3", "no framing field, so no body", post("", ""), "POST /a, next"),
        case("9110 5.1", "names in any case", hello("cOnTeNt-LeNgTh: 5"), "POST /a (hello), next"),
        case("9110 5.5", "no space before it", hello("Content-Length:5"), "POST /a (hello), next"),
        case("9110 5.5", "tabs around it", hello("Content-Length:\t5 \t"), "POST /a (hello), next"),
        case("9110 8.6", "leading zeros", hello("Content-Length: 0005"), "POST /a (hello), next"),
        case(
            "9110 8.6",
            "leading zeros, which are octal to some",
            post("Content-Length: 010\r\n", "0123456789"),
            "POST /a (0123456789), next",
        ),
        case("9110 8.6", "zeros alone", post("Content-Length: 00\r\n", ""), "POST /a (), next"),
        case(
            "9112 6.3",
            "a request inside the body",
            post(format!("Content-Length: {}\r\n", SMUGGLED.len()), SMUGGLED),
            "POST /a (43 bytes), next",
        ),
        case(
            "9112 6.3",
            "a shorter length than what follows",
            post("Content-Length: 4\r\n", "hello"),
            "POST /a (hell), oGET /next @next.test",
        ),
        cut_off("9112 8", "half a body", post("Content-Length: 9\r\n", "hello"), "closed"),
        case(
            "9110 9.3.1",
            "GET with a body",
            head("GET /a HTTP/1.1", "Content-Length: 5\r\n", "hello"),
            "GET /a (hello), next",
        ),
        case(
            "9110 9.3.1",
            "GET with a request as its body",
            head("GET /a HTTP/1.1", format!("Content-Length: {}\r\n", SMUGGLED.len()), SMUGGLED),
            "GET /a (43 bytes), next",
        ),
        case(
            "9110 9.3.2",
            "HEAD with a body",
            head("HEAD /a HTTP/1.1", "Content-Length: 5\r\n", "hello"),
            "HEAD /a (hello), next",
        ),
        case(
            "9110 9.3.5",
            "DELETE with a body",
            head("DELETE /a HTTP/1.1", "Content-Length: 5\r\n", "hello"),
            "DELETE /a (hello), next",
        ),
        case(
            "9110 9.3.7",
            "OPTIONS with a body",
            head("OPTIONS /a HTTP/1.1", "Content-Length: 5\r\n", "hello"),
            "OPTIONS /a (hello), next",
        ),
        case(
            "9110 15.5.14",
            "more than is allowed",
            post("Content-Length: 65537\r\n", "hello"),
            "413",
        ),
        case(
            "9110 15.5.14",
            "the largest length",
            post("Content-Length: 9223372036854775807\r\n", "hello"),
            "413",
        ),
        case(
            "9110 5.1",
            "an underscore in the name, which some take for a hyphen",
            post("Content_Length: 5\r\n", ""),
            "POST /a, next",
        ),
    ]
}

fn malformed() -> Vec<Case> {
    let values: [(&str, &[u8]); 23] = [
        ("negative to whom 64 bits have a sign", b"9223372036854775808"),
        ("-1 to whom 64 bits have a sign", b"18446744073709551615"),
        ("beyond 64 bits", b"18446744073709551616"),
        ("64 bits, wrapped to 5", b"18446744073709551621"),
        ("far beyond 64 bits", b"99999999999999999999999999999999"),
        ("empty", b""),
        ("blanks", b"\t "),
        ("a sign", b"+5"),
        ("negative", b"-5"),
        ("hexadecimal", b"0x5"),
        ("letters behind", b"5a"),
        ("a fraction", b"5.0"),
        ("an exponent", b"5e0"),
        ("an underscore", b"5_0"),
        ("quotes", b"\"5\""),
        ("two numbers", b"5 5"),
        ("a semicolon", b"5;"),
        ("other digits", "\u{665}".as_bytes()),
        ("a vertical tab before it", b"\x0b5"),
        ("a vertical tab behind it", b"5\x0b"),
        ("NUL behind it", b"5\0"),
        ("a no-break space before it", b"\xa05"),
        ("a bare CR behind it", b"5\rX: y"),
    ];
    let refused = |(what, value): (&str, &[u8])| {
        let lines = [b"Content-Length: ", value, b"\r\n"].concat();
        case("9110 8.6", &format!("a length: {what}"), post(lines, "hello"), "400")
    };
    values.into_iter().map(refused).collect()
}

fn several() -> Vec<Case> {
    let refused = |what: &str, lines: &str| case("9112 6.3", what, post(lines, "hello"), "400");
    vec![
        refused("a list of equal lengths", "Content-Length: 5, 5\r\n"),
        refused("a list of lengths", "Content-Length: 5, 6\r\n"),
        refused("a list with an empty end", "Content-Length: 5,\r\n"),
        refused("a list with an empty start", "Content-Length: ,5\r\n"),
        refused("two equal lengths", "Content-Length: 5\r\nContent-Length: 5\r\n"),
        refused("two lengths, the first counts", "Content-Length: 5\r\nContent-Length: 0\r\n"),
        refused("two lengths, the last counts", "Content-Length: 0\r\nContent-Length: 5\r\n"),
        refused("two lengths apart", "Content-Length: 5\r\nX: y\r\ncontent-length: 6\r\n"),
        refused("an empty length before a good one", "Content-Length:\r\nContent-Length: 5\r\n"),
        refused("a folded length", "Content-Length:\r\n 5\r\n"),
        refused("a length continued", "Content-Length: 5\r\n\t0\r\n"),
        refused("space before the colon", "Content-Length : 5\r\n"),
        refused("a tab before the colon", "Content-Length\t: 5\r\n"),
        refused("space before the name", "X: y\r\n Content-Length: 5\r\n"),
    ]
}
