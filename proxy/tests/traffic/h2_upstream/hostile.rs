//! Endpoints that answer by HTTP/2 what is no answer, half of one, or more than one. Whoever asked is told so or cut
//! off; nobody else gets a byte of it. The section is RFC 9113's.

use std::sync::{Arc, Mutex};

use super::scripted::{Server, scripted};
use crate::{
    fixture::{Proxy, Site, eventually},
    http2::{
        frames::{CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, RST_STREAM, block, frame},
        session::{Session, on_a_runtime, request, whole},
    },
    wire::{Wire, get, post},
};

const PUSH_PROMISE: u8 = 5;

/// What a client makes of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// Told that there was no good answer.
    BadGateway,
    /// Told so or, when the head was on its way already, cut off.
    Cut,
    /// The status, and this body to its end.
    Whole(u16, &'static str),
    /// Likewise or, when what is wrong comes in time, cut off.
    WholeOrCut(u16, &'static str),
}
use Verdict::{BadGateway, Cut, Whole, WholeOrCut};

struct Attack {
    what: &'static str,
    /// The frames of the answer, for a stream.
    answer: Box<dyn Fn(u32) -> Vec<u8> + Send>,
    verdict: Verdict,
}

fn attack(
    what: &'static str,
    answer: impl Fn(u32) -> Vec<u8> + Send + 'static,
    verdict: Verdict,
) -> Attack {
    Attack { what, answer: Box::new(answer), verdict }
}

type Fields = &'static [(&'static str, &'static str)];
const OK: Fields = &[(":status", "200")];

fn head(stream: u32, fields: Fields) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &block(fields))
}

fn last_head(stream: u32, fields: Fields) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(fields))
}

fn data(stream: u32, bytes: &[u8]) -> Vec<u8> {
    frame(DATA, 0, stream, bytes)
}

fn last_data(stream: u32, bytes: &[u8]) -> Vec<u8> {
    frame(DATA, END_STREAM, stream, bytes)
}

/// A head of these fields with `hello` behind it.
fn with(what: &'static str, fields: Fields, verdict: Verdict) -> Attack {
    attack(what, move |s| [head(s, fields), last_data(s, b"hello")].concat(), verdict)
}

fn sound() -> Vec<Attack> {
    vec![
        with("6.2: a sound answer", OK, Whole(200, "hello")),
        with(
            "8.1.1: the length it says",
            &[(":status", "200"), ("content-length", "5")],
            Whole(200, "hello"),
        ),
        attack(
            "8.1: one 103 before it",
            |s| [head(s, &[(":status", "103")]), head(s, OK), last_data(s, b"hello")].concat(),
            Whole(200, "hello"),
        ),
    ]
}

fn heads() -> Vec<Attack> {
    let bad = |what, fields| with(what, fields, BadGateway);
    vec![
        bad("8.2.1: a capital in a name", &[(":status", "200"), ("X-Up", "a")]),
        bad("8.2.1: a space in a name", &[(":status", "200"), ("x up", "a")]),
        bad("8.2.1: an empty name", &[(":status", "200"), ("", "a")]),
        bad("8.2.1: a line break in a name", &[(":status", "200"), ("x\r\nset-cookie", "a")]),
        bad("8.2.1: a line break in a value", &[(":status", "200"), ("x", "a\r\nset-cookie: b")]),
        bad("8.2.1: a bare LF in a value", &[(":status", "200"), ("x", "a\nb: c")]),
        bad("8.2.1: NUL in a value", &[(":status", "200"), ("x", "a\0b")]),
        bad("8.2.2: connection", &[(":status", "200"), ("connection", "close")]),
        bad("8.2.2: transfer-encoding", &[(":status", "200"), ("transfer-encoding", "chunked")]),
        bad("8.3.2: no status", &[("x", "a")]),
        bad("8.3.2: a status of letters", &[(":status", "two")]),
        bad("8.3.2: a status of two digits", &[(":status", "20")]),
        bad("8.3: two statuses", &[(":status", "200"), (":status", "404")]),
        bad("8.3: a status behind a field", &[("x", "a"), (":status", "200")]),
        // Malformed as well, but the library leaves such a field out, and says nothing of it.
        with(
            "8.3: a pseudo-header field of requests",
            &[(":status", "200"), (":path", "/")],
            Whole(200, "hello"),
        ),
        bad("8.3: an unknown pseudo-header field", &[(":status", "200"), (":what", "a")]),
        bad("8.6: 101", &[(":status", "101")]),
        bad(
            "8.1.1: two lengths",
            &[(":status", "200"), ("content-length", "5"), ("content-length", "6")],
        ),
        bad("8.1.1: a length of letters", &[(":status", "200"), ("content-length", "five")]),
        bad("8.1.1: a length with a sign", &[(":status", "200"), ("content-length", "+5")]),
    ]
}

fn bodies() -> Vec<Attack> {
    const NINE: Fields = &[(":status", "200"), ("content-length", "9")];
    const THREE: Fields = &[(":status", "200"), ("content-length", "3")];
    let cancel = |s| frame(RST_STREAM, 0, s, &[0, 0, 0, 8]);
    vec![
        with("8.1.1: less than the length says", NINE, Cut),
        with("8.1.1: more than the length says", THREE, Cut),
        attack("8.1.1: nothing of what the length says", |s| last_head(s, NINE), Cut),
        attack(
            "8.1.1: more than the length says, in two frames",
            |s| [head(s, THREE), data(s, b"hel"), last_data(s, b"lo")].concat(),
            WholeOrCut(200, "hel"),
        ),
        attack(
            "8.1: a reset within the body",
            move |s| [head(s, OK), data(s, b"hello"), cancel(s)].concat(),
            Cut,
        ),
        attack(
            "8.1: a reset within a body of a length",
            move |s| [head(s, NINE), data(s, b"hello"), cancel(s)].concat(),
            Cut,
        ),
        attack("8.1: a reset in place of an answer", cancel, BadGateway),
        attack("8.1: a body without a head", |s| last_data(s, b"hello"), BadGateway),
        attack(
            "8.1: a second head that is no end",
            |s| [head(s, OK), data(s, b"hello"), head(s, OK), last_data(s, b"poison")].concat(),
            Cut,
        ),
        attack(
            "8.1: trailers with a status",
            |s| [head(s, OK), data(s, b"hello"), last_head(s, OK)].concat(),
            // It is left out, as above.
            Whole(200, "hello"),
        ),
        attack(
            "8.2.1: trailers with a line break",
            |s| [head(s, OK), data(s, b"hello"), last_head(s, &[("x", "a\r\nb: c")])].concat(),
            Cut,
        ),
        attack(
            "9112 6.5: trailers with a length",
            |s| {
                let trailers: Fields = &[("content-length", "5")];
                [head(s, OK), data(s, b"hello"), last_head(s, trailers)].concat()
            },
            Cut,
        ),
        attack(
            "5.1: a head behind the end",
            |s| [head(s, OK), last_data(s, b"hello"), last_head(s, &[(":status", "404")])].concat(),
            Whole(200, "hello"),
        ),
        attack(
            "5.1: data behind the end",
            |s| [head(s, OK), last_data(s, b"hello"), last_data(s, b"poison")].concat(),
            Whole(200, "hello"),
        ),
        with("9110 15.3.5: 204 with a body", &[(":status", "204")], Whole(204, "")),
        with("9110 15.4.5: 304 with a body", &[(":status", "304")], Whole(304, "")),
    ]
}

fn connections() -> Vec<Attack> {
    let hints: Fields = &[(":status", "103"), ("link", "</a>")];
    vec![
        attack("8.1: a storm of 103", move |s| head(s, hints).repeat(10_000), BadGateway),
        attack(
            "8.1: a storm of 103, and an answer",
            move |s| [head(s, hints).repeat(100), head(s, OK), last_data(s, b"hello")].concat(),
            BadGateway,
        ),
        attack("8.1: 103 that ends the stream", move |s| last_head(s, hints), BadGateway),
        attack("5.1.1: data of a stream that nobody began", |s| data(s + 100, b"x"), BadGateway),
        attack(
            "8.4: a promise that nobody allowed",
            |s| frame(PUSH_PROMISE, END_HEADERS, s, &[&[0, 0, 0, 2][..], &block(OK)].concat()),
            BadGateway,
        ),
        attack(
            "4.2: a frame larger than allowed",
            |s| [head(s, OK), data(s, &vec![7; 20_000_000])].concat(),
            Cut,
        ),
        attack(
            "4.3: a block that cannot be read",
            |s| frame(HEADERS, 4, s, &[0xff; 20]),
            BadGateway,
        ),
        attack(
            "6.10: a block without an end",
            |s| {
                let more = frame(CONTINUATION, 0, s, &block(&[("x-more", "more and more")]));
                [frame(HEADERS, 0, s, &block(OK)), more.repeat(20_000)].concat()
            },
            BadGateway,
        ),
        attack(
            "6.10: another frame within a block",
            |s| [frame(HEADERS, 0, s, &block(OK)), data(s, b"hello")].concat(),
            BadGateway,
        ),
        attack("6.9.1: HTTP/1.1", |_| crate::wire::ok("hello"), BadGateway),
    ]
}

fn attacks() -> Vec<Attack> {
    [sound(), heads(), bodies(), connections()].into_iter().flatten().collect()
}

/// Answers one request with what it is armed with, and all others with `mine`.
fn hostile(armed: &Arc<Mutex<Option<Attack>>>) -> crate::origin::Origin {
    let armed = Arc::clone(armed);
    scripted(move |_, mut server: Server| {
        while let Some(stream) = server.try_request() {
            let attack = armed.lock().unwrap().take();
            let answer = match attack {
                Some(attack) => (attack.answer)(stream),
                None => [head(stream, OK), last_data(stream, b"mine")].concat(),
            };
            // It may be refused half-way.
            if server.0.0.try_send(answer).is_err() {
                return;
            }
        }
    })
}

/// What a client of HTTP/1.1 made of the answer to a POST, which nobody sends again.
fn by_http1(proxy: &Proxy) -> Result<(u16, String), u16> {
    let mut client = proxy.web();
    client.send(post("/", "hello"));
    loop {
        let head = client.head();
        let status = head[9..12].parse().unwrap();
        match status {
            100..=199 => {}
            204 | 304 => {
                assert_nothing_follows(&mut client);
                return Ok((status, String::new()));
            }
            _ => {
                let body = client.body(&head).map_err(|_| status)?.ok_or(status)?;
                let chunked = head.to_lowercase().contains("transfer-encoding");
                let body = if chunked { super::bodies::decoded(&body) } else { body };
                return Ok((status, String::from_utf8(body).unwrap()));
            }
        }
    }
}

/// The same connection is good for another request, or at its end.
fn assert_nothing_follows(client: &mut Wire) {
    if client.try_send(get("/")).is_ok()
        && let Ok(answer) = client.try_response()
    {
        assert_eq!(answer.status(), 200, "{answer:?}");
    }
}

/// Likewise by HTTP/2.
fn by_http2(proxy: &Proxy) -> Result<(u16, String), u16> {
    on_a_runtime(async {
        let session = Session::open(proxy).await;
        let (response, _) = session.begin(request("POST", "/"), true).await;
        let response = response.await.expect("an answer, if of bs9's own");
        let status = response.status().as_u16();
        let whole = whole(response).await.map_err(|_| status)?;
        Ok((status, whole.text().to_owned()))
    })
}

fn judge(verdict: Verdict, found: &Result<(u16, String), u16>) -> bool {
    match (verdict, found) {
        (BadGateway | Cut, Ok((502, _))) | (Cut | WholeOrCut(..), Err(200)) => true,
        (Whole(status, body) | WholeOrCut(status, body), Ok(found)) => {
            (status, body) == (found.0, &found.1)
        }
        _ => false,
    }
}

fn suffer(by: fn(&Proxy) -> Result<(u16, String), u16>) {
    let armed = Arc::new(Mutex::new(None));
    let origin = hostile(&armed);
    let site = Site { cluster: "protocol = \"h2\"", ..Site::of([origin.address()]) };
    let proxy = site.start();
    let mut wrong = Vec::new();
    for attack in attacks() {
        let (what, verdict) = (attack.what, attack.verdict);
        *armed.lock().unwrap() = Some(attack);
        let found = by(&proxy);
        if !judge(verdict, &found) {
            wrong.push(format!("{what}: {found:?} instead of {verdict:?}"));
        }
        assert!(armed.lock().unwrap().is_none(), "{what}: it was asked");
        // Whoever comes next is asked for on a connection that is as good as new.
        for _ in 0..2 {
            let mine = proxy.web().get("/");
            let body = super::bodies::decoded(&mine.body);
            if (mine.status(), &body[..]) != (200, b"mine") {
                wrong.push(format!("{what}: the next one got {mine:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    eventually("nothing is open", || proxy.open_connections() == 0);
}

#[test]
fn no_client_of_http_1_1_is_told_a_wrong_answer() {
    suffer(by_http1);
}

#[test]
fn no_client_of_http2_is_told_a_wrong_answer() {
    suffer(by_http2);
}
