//! `Transfer-Encoding`, alone and against `Content-Length` (RFC 9112 sections 6.1 and 6.3).

use crate::case::{Case, SMUGGLED, case, head, post};

const HELLO: &str = "5\r\nhello\r\n0\r\n\r\n";

pub(super) fn cases() -> Vec<Case> {
    [both(), accepted(), obscured(), unusual(), old()].into_iter().flatten().collect()
}

/// Both framing fields at once.
fn both() -> Vec<Case> {
    let attack =
        |what: &str, lines: &str, body: String| case("9112 6.1", what, post(lines, body), "400");
    let behind = format!("0\r\n\r\n{SMUGGLED}");
    let length = behind.len();
    let by_length = format!("Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n");
    let by_coding = "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n";
    let inside = format!("{:x}\r\n{SMUGGLED}\r\n0\r\n\r\n", SMUGGLED.len());
    vec![
        attack("CL.TE: the length hides a request behind the last chunk", &by_length, behind),
        attack("TE.CL: the chunk is a request to whom the length counts", by_coding, inside),
        attack(
            "both, and they agree",
            "Content-Length: 15\r\nTransfer-Encoding: chunked\r\n",
            HELLO.to_owned(),
        ),
        attack(
            "both, far apart",
            "Transfer-Encoding: chunked\r\nX: y\r\nX: z\r\ncontent-length: 15\r\n",
            HELLO.to_owned(),
        ),
        attack(
            "a length of 0 and chunks",
            "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
            HELLO.to_owned(),
        ),
        attack(
            "two lengths and chunks",
            "Content-Length: 5\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            HELLO.to_owned(),
        ),
        case(
            "9112 6.1",
            "a length and identity",
            post("Content-Length: 5\r\nTransfer-Encoding: identity\r\n", "hello"),
            "501",
        ),
        attack(
            "a bad length and chunks",
            "Content-Length: x\r\nTransfer-Encoding: chunked\r\n",
            HELLO.to_owned(),
        ),
    ]
}

fn accepted() -> Vec<Case> {
    let good = |what: &str, line: &str| {
        case("9112 6.1", what, post(format!("{line}\r\n"), HELLO), "POST /a <hello>, next")
    };
    vec![
        good("chunked", "Transfer-Encoding: chunked"),
        good("chunked in capitals", "TRANSFER-ENCODING: CHUNKED"),
        good("chunked without a space", "transfer-encoding:chunked"),
        good("chunked between tabs", "Transfer-Encoding:\t chunked \t"),
        case(
            "9112 2.2",
            "chunked on a line that a bare LF ends",
            post("Transfer-Encoding: chunked\n", HELLO),
            "POST /a <hello>, next",
        ),
        case(
            "9110 9.3.1",
            "GET in chunks",
            head("GET /a HTTP/1.1", "Transfer-Encoding: chunked\r\n", HELLO),
            "GET /a <hello>, next",
        ),
    ]
}

/// TE.TE: what one reader takes for `chunked` and another does not.
fn obscured() -> Vec<Case> {
    let lines: [(&str, &str, &[u8]); 29] = [
        ("9112 5.1", "space before the colon", b"Transfer-Encoding : chunked\r\n"),
        ("9112 5.1", "a tab before the colon", b"Transfer-Encoding\t: chunked\r\n"),
        ("9112 5.1", "a space in the name", b"Transfer Encoding: chunked\r\n"),
        ("9112 5.2", "a folded value", b"Transfer-Encoding:\r\n chunked\r\n"),
        ("9112 5.2", "a value folded with a tab", b"Transfer-Encoding:\r\n\tchunked\r\n"),
        ("9112 5.2", "a value folded behind a bare LF", b"Transfer-Encoding:\n chunked\r\n"),
        ("9112 5.2", "the field as the end of another", b"X: y\r\n Transfer-Encoding: chunked\r\n"),
        ("9112 2.2", "behind a bare CR", b"X: y\rTransfer-Encoding: chunked\r\n"),
        ("9112 2.2", "a bare CR at the end", b"Transfer-Encoding: chunked\r\r\n"),
        ("9112 2.2", "a CR in the name", b"Transfer-Encoding\r: chunked\r\n"),
        ("9112 2.2", "a CR before the value", b"Transfer-Encoding: \rchunked\r\n"),
        ("9110 5.1", "a vertical tab before the name", b"\x0bTransfer-Encoding: chunked\r\n"),
        ("9110 5.1", "NUL in the name", b"Transfer\0-Encoding: chunked\r\n"),
        ("9110 5.1", "a byte beyond ASCII in the name", b"Transfer-Encoding\xff: chunked\r\n"),
        ("9110 5.1", "a colon before the name", b":Transfer-Encoding: chunked\r\n"),
        ("9110 5.5", "NUL behind the value", b"Transfer-Encoding: chunked\0\r\n"),
        ("9110 5.5", "a vertical tab before the value", b"Transfer-Encoding: \x0bchunked\r\n"),
        ("9110 5.5", "a form feed behind the value", b"Transfer-Encoding: chunked\x0c\r\n"),
        ("9110 5.5", "NUL between the lines", b"X: y\0\r\nTransfer-Encoding: chunked\r\n"),
        ("9112 6.1", "empty", b"Transfer-Encoding:\r\n"),
        (
            "9112 6.1",
            "empty before the real one",
            b"Transfer-Encoding:\r\nTransfer-Encoding: chunked\r\n",
        ),
        ("9112 6.1", "a list of nothing", b"Transfer-Encoding: ,\r\n"),
        ("9112 6.1", "an empty list element behind it", b"Transfer-Encoding: chunked,\r\n"),
        ("9112 6.1", "an empty list element before it", b"Transfer-Encoding: ,chunked\r\n"),
        ("9112 6.1", "quoted", b"Transfer-Encoding: \"chunked\"\r\n"),
        ("9112 6.1", "a space inside", b"Transfer-Encoding: chun ked\r\n"),
        ("9112 6.1", "a colon too many", b"Transfer-Encoding: : chunked\r\n"),
        ("9112 6.1", "with a parameter", b"Transfer-Encoding: chunked;q=1\r\n"),
        ("9112 6.1", "behind a no-break space", b"Transfer-Encoding: \xa0chunked\r\n"),
    ];
    let behind = format!("0\r\n\r\n{SMUGGLED}");
    let refused = |(section, what, lines): (&'static str, &str, &[u8])| {
        case(section, &format!("a coding: {what}"), post(lines, &behind), "400")
    };
    let mut cases: Vec<_> = lines.into_iter().map(refused).collect();
    cases.push(case(
        "9110 5.1",
        "a coding: an underscore in the name, which some take for a hyphen",
        post("Transfer_Encoding: chunked\r\n", ""),
        "POST /a, next",
    ));
    cases.push(case(
        "9110 5.1",
        "a longer name is another name",
        post("X-Transfer-Encoding: chunked\r\n", ""),
        "POST /a {X-Transfer-Encoding: chunked}, next",
    ));
    cases
}

/// Codings in other numbers and of other kinds.
fn unusual() -> Vec<Case> {
    let refused =
        |what: &str, lines: &str, verdict| case("9112 6.1", what, post(lines, HELLO), verdict);
    vec![
        refused("chunked twice in a list", "Transfer-Encoding: chunked, chunked\r\n", "400"),
        refused(
            "chunked twice",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "400",
        ),
        refused(
            "chunked, then another",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: cow\r\n",
            "400",
        ),
        refused(
            "another, then chunked",
            "Transfer-Encoding: cow\r\nTransfer-Encoding: chunked\r\n",
            "501",
        ),
        refused("chunked, not last", "Transfer-Encoding: chunked, identity\r\n", "400"),
        refused("identity, chunked", "Transfer-Encoding: identity, chunked\r\n", "501"),
        refused("identity", "Transfer-Encoding: identity\r\n", "501"),
        refused("gzip, chunked", "Transfer-Encoding: gzip, chunked\r\n", "501"),
        refused("gzip alone", "Transfer-Encoding: gzip\r\n", "501"),
        refused("an unknown coding", "Transfer-Encoding: cow\r\n", "501"),
        refused("letters before chunked", "Transfer-Encoding: xchunked\r\n", "501"),
        refused("letters behind chunked", "Transfer-Encoding: chunkedx\r\n", "501"),
        case(
            "9110 10.1.4",
            "TE is for one hop and frames nothing",
            post("TE: chunked\r\n", ""),
            "POST /a, next",
        ),
        case(
            "9110 8.4",
            "Content-Encoding frames nothing",
            post("Content-Encoding: chunked\r\n", ""),
            "POST /a {Content-Encoding: chunked}, next",
        ),
    ]
}

/// HTTP/1.0 knows no codings.
fn old() -> Vec<Case> {
    let old = |what: &str, lines: &str, body: &str, verdict| {
        case("9112 6.1", what, head("POST /a HTTP/1.0", lines, body), verdict)
    };
    vec![
        old("chunks in HTTP/1.0", "Transfer-Encoding: chunked\r\n", HELLO, "400"),
        old(
            "chunks and a length in HTTP/1.0",
            "Content-Length: 15\r\nTransfer-Encoding: chunked\r\n",
            HELLO,
            "400",
        ),
        old(
            "chunks in HTTP/1.0 on a kept connection",
            "Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n",
            HELLO,
            "400",
        ),
        old("a length in HTTP/1.0", "Content-Length: 5\r\n", "hello", "POST /a (hello)"),
        old(
            "a length in HTTP/1.0 on a kept connection",
            "Connection: keep-alive\r\nContent-Length: 5\r\n",
            "hello",
            "POST /a (hello), next",
        ),
    ]
}
