//! Answers by what is wrong with them.

use super::{After, Ask, Attack};

/// Every case.
pub(super) fn all() -> Vec<Attack> {
    [
        sound(),
        status_lines(),
        fields(),
        lengths(),
        chunks(),
        too_many(),
        without_bodies(),
        interim(),
        endings(),
        early(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn attack(
    section: &'static str,
    what: &'static str,
    answer: impl AsRef<[u8]>,
    verdict: &'static str,
) -> Attack {
    Attack {
        section,
        what,
        ask: Ask::Get,
        answer: answer.as_ref().to_vec(),
        late: None,
        after: After::GoOn,
        verdict,
    }
}

impl Attack {
    fn asked(self, ask: Ask) -> Self {
        Self { ask, ..self }
    }

    fn then(self, after: After) -> Self {
        Self { after, ..self }
    }

    fn late(self, late: &'static [u8]) -> Self {
        Self { late: Some(late), ..self }
    }
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
/// What an attacker would have another client take for its answer.
const POISON: &str = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

/// With these lines, and five bytes behind them.
fn with(lines: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{lines}\r\nhello")
}

fn sound() -> Vec<Attack> {
    vec![
        attack("9112 6.3", "a sound answer", OK, "200 (hello), kept"),
        attack(
            "9112 7.1",
            "a sound answer in chunks",
            format!("{CHUNKED}5\r\nhello\r\n0\r\n\r\n"),
            "200 (5\\r\\nhello\\r\\n0\\r\\n\\r\\n), kept",
        ),
        attack(
            "9112 2.2",
            "bare LFs",
            "HTTP/1.1 200 OK\nContent-Length: 5\n\nhello",
            "200 (hello), kept",
        ),
        attack(
            "9112 4",
            "no reason",
            "HTTP/1.1 200 \r\nContent-Length: 5\r\n\r\nhello",
            "200 (hello), kept",
        ),
        attack(
            "9110 15",
            "a status of no class",
            "HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n",
            "999 (), kept",
        ),
        attack(
            "9112 9.3",
            "HTTP/1.0 that goes on",
            "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello",
            "200 (hello), kept",
        ),
        attack(
            "9112 9.3",
            "HTTP/1.0 that does not go on",
            "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            "200 (hello), dropped",
        ),
        attack(
            "9112 9.6",
            "an announced end that does not come",
            with("Connection: close\r\nContent-Length: 5\r\n"),
            "200 (hello), dropped",
        ),
    ]
}

fn status_lines() -> Vec<Attack> {
    let refused = |what, line: &str| {
        attack("9112 4", what, format!("{line}\r\nContent-Length: 5\r\n\r\nhello"), "502, dropped")
    };
    vec![
        refused("bytes before the status line", "x HTTP/1.1 200 OK"),
        refused("a space before the status line", " HTTP/1.1 200 OK"),
        refused("an empty line before the status line", "\r\nHTTP/1.1 200 OK"),
        refused("NUL before the status line", "\0HTTP/1.1 200 OK"),
        refused("two spaces", "HTTP/1.1  200 OK"),
        refused("two digits", "HTTP/1.1 20 OK"),
        refused("four digits", "HTTP/1.1 2000 OK"),
        refused("a status below 100", "HTTP/1.1 099 OK"),
        refused("a status of letters", "HTTP/1.1 two OK"),
        refused("a negative status", "HTTP/1.1 -20 OK"),
        refused("HTTP/2.0", "HTTP/2.0 200 OK"),
        refused("HTTP/1.2", "HTTP/1.2 200 OK"),
        refused("small letters", "http/1.1 200 OK"),
        refused("another protocol", "ICY 200 OK"),
        refused("a bare CR in the reason", "HTTP/1.1 200 O\rK"),
        refused("NUL in the reason", "HTTP/1.1 200 O\0K"),
        attack("9112 2.3", "HTTP/0.9", "<html>hello</html>", "502, dropped").then(After::Close),
        attack(
            "9112 4",
            "a request in place of an answer",
            "GET / HTTP/1.1\r\nHost: site.test\r\n\r\n",
            "502, dropped",
        ),
        attack("9112 4", "TLS", b"\x15\x03\x01\x00\x02\x02\x46", "502, dropped").then(After::Close),
        attack("9112 4", "a megabyte of noise", "\u{7f}x".repeat(500_000), "502, dropped")
            .then(After::Close),
    ]
}

fn fields() -> Vec<Attack> {
    let refused = |section, what, lines: &str| {
        attack(section, what, with(&format!("{lines}Content-Length: 5\r\n")), "502, dropped")
    };
    let endless = format!("HTTP/1.1 200 OK\r\n{}", "X: y\r\n".repeat(20_000));
    vec![
        refused("9112 5.1", "a space before a colon", "X : y\r\n"),
        refused("9112 5.2", "a folded value", "X: y\r\n z\r\n"),
        refused("9112 5", "no colon", "X\r\n"),
        refused("9112 5", "no name", ": y\r\n"),
        refused("9110 5.1", "NUL in a name", "X\0: y\r\n"),
        refused("9110 5.5", "NUL in a value", "X: y\0\r\n"),
        refused("9112 2.2", "a bare CR in a value", "X: y\rSet-Cookie: a=b\r\n"),
        attack(
            "9110 5.4",
            "a head of 20 KB",
            with(&format!("X: {}\r\n", "x".repeat(20_000))),
            "502, dropped",
        ),
        attack(
            "9110 5.4",
            "101 fields",
            with(&("X: y\r\n".repeat(100) + "Content-Length: 5\r\n")),
            "502, dropped",
        ),
        attack("9110 5.4", "a head without an end", endless, "502, dropped"),
    ]
}

fn lengths() -> Vec<Attack> {
    let refused = |what, lines: &str| attack("9112 6.3", what, with(lines), "502, dropped");
    vec![
        refused("two lengths", "Content-Length: 5\r\nContent-Length: 4\r\n"),
        refused("two equal lengths", "Content-Length: 5\r\nContent-Length: 5\r\n"),
        refused("a list of lengths", "Content-Length: 5, 5\r\n"),
        refused("a sign", "Content-Length: +5\r\n"),
        refused("a negative length", "Content-Length: -1\r\n"),
        refused("a length beyond 64 bits", "Content-Length: 18446744073709551621\r\n"),
        refused("a length of letters", "Content-Length: five\r\n"),
        refused("an empty length", "Content-Length:\r\n"),
        refused("a length and chunks", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
        refused("chunks and a length", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"),
        refused("chunked twice", "Transfer-Encoding: chunked, chunked\r\n"),
        refused("another coding", "Transfer-Encoding: gzip\r\n"),
        refused("chunked, not last", "Transfer-Encoding: chunked, gzip\r\n"),
        refused("an obscured coding", "Transfer-Encoding: \x0bchunked\r\n"),
        refused("a space before the colon of a coding", "Transfer-Encoding : chunked\r\n"),
        attack(
            "9112 6.1",
            "chunks in HTTP/1.0",
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "502, dropped",
        ),
        attack(
            "9112 8",
            "less than the length says",
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello",
            "200 cut, dropped",
        )
        .then(After::Close),
        attack(
            "9112 8",
            "less than the length says, and a reset",
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello",
            "200 cut, dropped",
        )
        .then(After::Reset),
        attack(
            "9112 8",
            "more than the length says",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello, world",
            "200 (hello), dropped",
        ),
        attack(
            "9112 8",
            "one byte more than the length says",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello!",
            "200 (hello), dropped",
        ),
        attack(
            "9112 8",
            "a length of 0 and a body",
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nhello",
            "200 (), dropped",
        ),
    ]
}

fn chunks() -> Vec<Attack> {
    let cut = |what, body: &str| {
        attack("9112 7.1", what, format!("{CHUNKED}5\r\nhello\r\n{body}{POISON}"), "502, dropped")
    };
    vec![
        cut("a chunk size of letters", "zz\r\n"),
        cut("a chunk size with a sign", "+5\r\nhello\r\n0\r\n\r\n"),
        cut("a chunk size beyond 64 bits", "10000000000000000\r\nx\r\n0\r\n\r\n"),
        cut("a bare LF behind a chunk size", "5\nhello\r\n0\r\n\r\n"),
        cut("a bare LF behind a chunk", "5\r\nhello\n0\r\n\r\n"),
        cut("no CRLF behind a chunk", "5\r\nhello0\r\n\r\n"),
        cut("a bare LF in an extension", "5;a\nb\r\nhello\r\n0\r\n\r\n"),
        cut("a length in the trailers", "0\r\nContent-Length: 5\r\n\r\n"),
        cut("a coding in the trailers", "0\r\nTransfer-Encoding: chunked\r\n\r\n"),
        cut("a folded trailer", "0\r\nX: y\r\n z\r\n\r\n"),
        cut("no empty line at the end", "0\r\n"),
        attack("9112 7.1", "a bad first chunk", format!("{CHUNKED}xyz\r\n"), "502, dropped"),
        attack("9112 8", "no last chunk", format!("{CHUNKED}5\r\nhello\r\n"), "200 cut, dropped")
            .then(After::Close),
        attack("9112 8", "half a chunk", format!("{CHUNKED}5\r\nhel"), "200 cut, dropped")
            .then(After::Close),
        attack(
            "9112 7.1",
            "bytes behind the last chunk",
            format!("{CHUNKED}0\r\n\r\nx"),
            "200 (0\\r\\n\\r\\n), dropped",
        ),
        attack(
            "9112 7.1",
            "bad chunks to a client of HTTP/1.0",
            format!("{CHUNKED}5\r\nhello\r\nzz\r\n"),
            "200 cut, dropped",
        )
        .asked(Ask::Old),
    ]
}

/// More than was asked for.
fn too_many() -> Vec<Attack> {
    let poison: &'static [u8] = POISON.as_bytes();
    let late = |what, late, verdict| attack("9112 9.2", what, OK, verdict).late(late);
    vec![
        attack("9112 9.2", "two answers", format!("{OK}{POISON}"), "200 (hello), dropped"),
        attack(
            "9112 9.2",
            "three answers",
            format!("{OK}{POISON}{POISON}"),
            "200 (hello), dropped",
        ),
        attack("9112 9.2", "two answers to POST", format!("{OK}{POISON}"), "200 (hello), dropped")
            .asked(Ask::Post),
        attack(
            "9112 9.2",
            "half an answer too many",
            format!("{OK}HTTP/1.1 200 OK\r\nContent-Le"),
            "200 (hello), dropped",
        ),
        attack("9112 9.2", "an empty line too many", format!("{OK}\r\n"), "200 (hello), dropped"),
        late("an answer nobody asked for, later", poison, "200 (hello), dropped"),
        late(
            "half an answer nobody asked for, later",
            b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npoi",
            "200 (hello), dropped",
        ),
        late("a byte nobody asked for, later", b"x", "200 (hello), dropped"),
        late(
            "an interim answer nobody asked for, later",
            b"HTTP/1.1 100 Continue\r\n\r\n",
            "200 (hello), dropped",
        ),
        late(
            "408 on an idle connection",
            b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n",
            "200 (hello), dropped",
        )
        .then(After::Close),
        late("an idle connection is closed", b"", "200 (hello), dropped").then(After::Close),
        late("an idle connection is reset", b"", "200 (hello), dropped").then(After::Reset),
    ]
}

/// Answers that have no body, with one.
fn without_bodies() -> Vec<Attack> {
    let chunks = format!("{CHUNKED}6\r\npoison\r\n0\r\n\r\n");
    vec![
        attack(
            "9110 9.3.2",
            "HEAD, sound",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
            "200, kept",
        )
        .asked(Ask::Head),
        attack("9110 9.3.2", "HEAD with a body", OK, "200, dropped").asked(Ask::Head),
        attack("9110 9.3.2", "HEAD with chunks", chunks, "200, dropped").asked(Ask::Head),
        attack(
            "9110 9.3.2",
            "HEAD with a body, later",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
            "200, dropped",
        )
        .asked(Ask::Head)
        .late(b"hello"),
        attack(
            "9110 9.3.2",
            "HEAD with another answer as its body",
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{POISON}", POISON.len()),
            "200, dropped",
        )
        .asked(Ask::Head),
        attack("9110 15.3.5", "204, sound", "HTTP/1.1 204 No Content\r\n\r\n", "204, kept"),
        attack(
            "9110 15.3.5",
            "204 with a body",
            "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello",
            "204, dropped",
        ),
        attack(
            "9110 15.3.5",
            "204 with a length and no body",
            "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
            "204, dropped",
        ),
        attack(
            "9110 15.3.5",
            "204 with a body, later",
            "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
            "204, dropped",
        )
        .late(b"hello"),
        attack(
            "9110 15.3.5",
            "204 in chunks",
            "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            "204, dropped",
        ),
        attack(
            "9110 15.4.5",
            "304, sound",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
            "304, kept",
        ),
        attack(
            "9110 15.4.5",
            "304 with a body",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nhello",
            "304, dropped",
        ),
        attack(
            "9110 15.4.5",
            "304 with an answer as its body",
            format!(
                "HTTP/1.1 304 Not Modified\r\nContent-Length: {}\r\n\r\n{POISON}",
                POISON.len()
            ),
            "304, dropped",
        ),
    ]
}

fn interim() -> Vec<Attack> {
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    vec![
        attack("9110 15.2", "103", format!("{hints}{OK}"), "103 200 (hello), kept"),
        attack(
            "9110 15.2",
            "100 unasked",
            format!("HTTP/1.1 100 Continue\r\n\r\n{OK}"),
            "100 200 (hello), kept",
        ),
        attack(
            "9110 15.2",
            "ten of them",
            format!("{}{OK}", hints.repeat(10)),
            "10 interim 200 (hello), kept",
        ),
        attack("9110 15.2", "a storm of them", hints.repeat(10_000), "32 interim 502, dropped"),
        attack(
            "9110 15.2",
            "a storm, and an answer",
            format!("{}{OK}", hints.repeat(40)),
            "32 interim 502, dropped",
        ),
        attack(
            "9110 15.2",
            "an unknown one",
            format!("HTTP/1.1 199 Odd\r\n\r\n{OK}"),
            "199 200 (hello), kept",
        ),
        attack(
            "9112 6.3",
            "103 with a length",
            format!("HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\nhello{OK}"),
            "502, dropped",
        ),
        attack(
            "9112 6.3",
            "100 in chunks",
            format!("HTTP/1.1 100 Continue\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{OK}"),
            "502, dropped",
        ),
        attack("9112 8", "only 103", hints, "103 502, dropped").then(After::Close),
        attack("9110 15.2", "to a client of HTTP/1.0", format!("{hints}{OK}"), "200 (hello), kept")
            .asked(Ask::Old),
        attack(
            "9110 15.2.2",
            "101 unasked",
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
            "502, dropped",
        ),
        attack(
            "9110 15.2.2",
            "101 without a protocol",
            "HTTP/1.1 101 Switching Protocols\r\n\r\n",
            "502, dropped",
        )
        .asked(Ask::Upgrade),
        attack(
            "9110 15.2.2",
            "101 to HTTP/2",
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
            "502, dropped",
        )
        .asked(Ask::Upgrade),
        attack(
            "9110 15.2.2",
            "101 in HTTP/1.0",
            "HTTP/1.0 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
            "502, dropped",
        )
        .asked(Ask::Upgrade),
        attack(
            "9110 15.2.2",
            "101 as asked",
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
            "101, dropped",
        )
        .asked(Ask::Upgrade),
    ]
}

fn endings() -> Vec<Attack> {
    let whole = "HTTP/1.1 200 OK\r\n\r\nhello";
    vec![
        attack(
            "9112 6.3",
            "the end of the connection ends the body",
            whole,
            "200 (hello), dropped",
        )
        .then(After::Close),
        attack("9112 8", "half a head", "HTTP/1.1 200 OK\r\nContent-Le", "502, dropped")
            .then(After::Close),
        attack("9112 8", "half a status line", "HTTP/1.1 2", "502, dropped").then(After::Close),
        attack("9112 8", "half a head to POST", "HTTP/1.1 200 OK\r\nContent-Le", "502, dropped")
            .asked(Ask::Post)
            .then(After::Close),
        attack(
            "9112 8",
            "a head without its empty line, and a reset",
            "HTTP/1.1 200 OK\r\n",
            "502, dropped",
        )
        .then(After::Reset),
        attack("9112 8", "nothing to POST", "", "502, dropped").asked(Ask::Post).then(After::Close),
        attack("9112 8", "a reset to POST", "", "502, dropped").asked(Ask::Post).then(After::Reset),
        attack("9112 9.3.1", "nothing to GET, which is asked again", "", "200 (again), kept")
            .then(After::Close),
    ]
}

/// Before the request was whole.
fn early() -> Vec<Attack> {
    vec![
        attack("9112 9.3", "an answer before the body", OK, "200 (hello), dropped")
            .asked(Ask::HalfAPost),
        attack(
            "9112 9.3",
            "a refusal before the body",
            "HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno",
            "413 (no), dropped",
        )
        .asked(Ask::HalfAPost)
        .then(After::Close),
        attack(
            "9112 9.3",
            "two answers before the body",
            format!("{OK}{POISON}"),
            "200 (hello), dropped",
        )
        .asked(Ask::HalfAPost),
        attack("9112 9.3", "noise before the body", "noise", "502, dropped").asked(Ask::HalfAPost),
        attack(
            "9112 8",
            "half an answer before the body",
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello",
            "200 cut, dropped",
        )
        .asked(Ask::HalfAPost)
        .then(After::Close),
    ]
}
