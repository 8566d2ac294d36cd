//! PostgreSQL, as a script would have it: what no real server does on demand.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use bs9_loadtest::{FailureKind, Options, QueryMode, RunError, Script};

use crate::{attempt, report, requests, server::Server};

/// A message with this tag and body.
fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap() + 4;
    [&[tag][..], &length.to_be_bytes(), body].concat()
}

fn ready() -> Vec<u8> {
    message(b'Z', b"I")
}

pub(crate) fn logged_in() -> Vec<u8> {
    [message(b'R', &[0; 4]), message(b'S', b"TimeZone\0UTC\0"), ready()].concat()
}

pub(crate) fn row() -> Vec<u8> {
    [message(b'C', b"SELECT 1\0"), ready()].concat()
}

/// Takes the startup packet, then a message and says something, over and over.
pub(crate) fn serve(
    mut stream: TcpStream,
    greeting: &[u8],
    reply: impl Fn(u8) -> Vec<u8>,
) -> Option<()> {
    read_body(&mut stream)?;
    stream.write_all(greeting).ok()?;
    loop {
        let mut tag = [0];
        stream.read_exact(&mut tag).ok()?;
        read_body(&mut stream)?;
        // A byte at a time, so that no message arrives whole.
        for byte in reply(tag[0]) {
            stream.write_all(&[byte]).ok()?;
        }
    }
}

fn read_body(stream: &mut TcpStream) -> Option<()> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).ok()?;
    let mut body = vec![0; u32::from_be_bytes(length) as usize - 4];
    stream.read_exact(&mut body).ok()
}

fn server(greeting: Vec<u8>, reply: fn(u8) -> Vec<u8>) -> (Server, String) {
    let server = Server::start(move |stream| {
        let _either_side_closed = serve(stream, &greeting, reply);
    });
    let url = format!("postgres://app@{}/shop", server.address);
    (server, url)
}

#[test]
fn each_mode_waits_for_its_reply() {
    let (_server, url) = server(logged_in(), |tag| match tag {
        b'Q' | b'S' => row(),
        b'P' => message(b'1', b""),
        _ => Vec::new(),
    });
    for mode in [QueryMode::Simple, QueryMode::Extended] {
        let options = Options { query_mode: Some(mode), ..requests(10, 2) };
        assert_eq!(report(&url, options).requests.succeeded, 10, "{mode}");
    }
}

#[test]
fn errors_of_the_server_have_its_words() {
    let (_server, url) = server(logged_in(), |tag| match tag {
        b'Q' => [message(b'E', b"SERROR\0C42P01\0Mno such table\0\0"), ready()].concat(),
        _ => Vec::new(),
    });
    let report = report(&url, requests(5, 2));
    assert_eq!((report.errors[0].kind, report.errors[0].count), (FailureKind::Query, 5));
    assert!(report.errors[0].example.contains("42P01 no such table"), "{report}");
    assert_eq!(report.connect_seconds.as_ref().unwrap().count, 2, "connections stay");
}

#[test]
fn a_refused_login_is_no_connection() {
    let (_server, url) = server(message(b'E', b"SFATAL\0C28000\0Mnot with me\0\0"), |_| Vec::new());
    match attempt(&url, requests(3, 3)) {
        Err(RunError::NotReady { failures }) => {
            assert_eq!((failures[0].kind, failures[0].count), (FailureKind::Login, 3));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn nonsense_is_told_from_silence() {
    let (_server, url) = server(logged_in(), |tag| match tag {
        b'Q' => b"D\0\0\0\x01".to_vec(),
        _ => Vec::new(),
    });
    let report = report(&url, requests(3, 1));
    assert_eq!((report.errors[0].kind, report.errors[0].count), (FailureKind::Protocol, 3));
}

/// A server that knows transactions: `BEGIN` opens one, `END` and `ROLLBACK` close it, and
/// `FAIL` fails.
pub(crate) fn transactional() -> (Server, String) {
    let server = Server::start(|mut stream| {
        let _either_side_closed = (|| {
            read_body(&mut stream)?;
            stream.write_all(&logged_in()).ok()?;
            let mut status = b'I';
            loop {
                let mut tag = [0];
                stream.read_exact(&mut tag).ok()?;
                let mut length = [0; 4];
                stream.read_exact(&mut length).ok()?;
                let mut body = vec![0; u32::from_be_bytes(length) as usize - 4];
                stream.read_exact(&mut body).ok()?;
                if tag[0] != b'Q' {
                    return None::<()>;
                }
                let fails = body.starts_with(b"FAIL");
                status = match (&*body, status) {
                    (b"BEGIN\0", _) => b'T',
                    (b"END\0" | b"ROLLBACK\0", _) => b'I',
                    (_, b'T') if fails => b'E',
                    (_, status) => status,
                };
                let outcome = match fails {
                    true => message(b'E', b"SERROR\0C23505\0Mtwice\0\0"),
                    false => message(b'C', b"OK\0"),
                };
                let ready = message(b'Z', &[status]);
                stream.write_all(&[outcome, ready].concat()).ok()?;
            }
        })();
    });
    let url = format!("postgres://app@{}/shop", server.address);
    (server, url)
}

#[test]
fn a_transaction_is_one_request() {
    let (_server, url) = transactional();
    let run = |text: &str| {
        let script = Some(Script::parse(text, &[]).unwrap());
        report(&url, Options { script, ..requests(8, 2) })
    };
    let good = run("BEGIN;\nSELECT 1;\nEND;");
    assert_eq!((good.requests.succeeded, good.requests.statements), (8, Some(24)), "{good}");
    assert!(good.to_string().contains("statements 24 ok"), "{good}");
    for (text, kind, statements) in [
        ("BEGIN;\nFAIL;\nEND;", FailureKind::Query, 8),
        ("SELECT 1;\nFAIL;", FailureKind::Query, 8),
        ("BEGIN;\nSELECT 1;", FailureKind::Script, 16),
        ("BEGIN;\n\\set a 1 / (1 - 1)\nEND;", FailureKind::Script, 8),
        ("\\set a random(2, 1)\nSELECT 1;", FailureKind::Script, 0),
    ] {
        let report = run(text);
        assert_eq!(report.requests.succeeded, 0, "{report}");
        assert_eq!((report.errors[0].kind, report.errors[0].count), (kind, 8), "{text}: {report}");
        assert_eq!(report.requests.statements, Some(statements), "{text}");
        // A division by zero is found with a transaction open, and before anything was sent.
        let stays = !text.contains("\\set");
        assert_eq!(report.connect_seconds.unwrap().count == 2, stays, "{text}");
    }
}

#[test]
fn a_transaction_pauses_where_its_script_says_so() {
    let (_server, url) = transactional();
    let run = |text: &str, options: Options| {
        let script = Some(Script::parse(text, &[("length".into(), 20)]).unwrap());
        report(&url, Options { script, ..options })
    };
    for text in [
        "\\sleep 20 ms\nBEGIN;\nSELECT 1;\nEND;",
        "BEGIN;\n\\sleep :length ms\nSELECT 1;\nEND;",
        "BEGIN;\nSELECT 1;\nEND;\n\\sleep 20000 us",
        "BEGIN;\n\\sleep 8 ms\n\\sleep 12 ms\nSELECT 1;\nEND;",
    ] {
        let report = run(text, requests(8, 2));
        assert_eq!(
            (report.requests.succeeded, report.requests.statements),
            (8, Some(24)),
            "{text}"
        );
        // The pause is part of it, and never shorter than said.
        assert!(report.latency_seconds.as_ref().unwrap().min >= 0.020, "{text}: {report}");
    }
    let impatient = Options { request_timeout: Duration::from_millis(50), ..requests(2, 2) };
    let report = run("BEGIN;\n\\sleep 1000\nEND;", impatient);
    assert_eq!((report.errors[0].kind, report.errors[0].count), (FailureKind::RequestTimeout, 2));
}

#[test]
fn what_a_server_says_in_a_pause_is_heard() {
    for (said, kind) in [
        (message(b'E', b"SFATAL\0C57P01\0Mgoing down\0\0"), FailureKind::Query),
        (message(b'C', b"OK\0"), FailureKind::Protocol),
        (Vec::new(), FailureKind::Closed),
    ] {
        let server = Server::start(move |mut stream| {
            let _either_side_closed = (|| {
                read_body(&mut stream)?;
                stream.write_all(&logged_in()).ok()?;
                stream.read_exact(&mut [0; 11]).ok()?;
                let notice = message(b'N', b"SNOTICE\0\0");
                let reply = [message(b'C', b"BEGIN\0"), message(b'Z', b"T"), notice, said.clone()];
                stream.write_all(&reply.concat()).ok()
            })();
        });
        let url = format!("postgres://app@{}/shop", server.address);
        let script = Some(Script::parse("BEGIN;\n\\sleep 1000\nEND;", &[]).unwrap());
        let report = report(&url, Options { script, ..requests(1, 1) });
        assert_eq!((report.errors[0].kind, report.errors[0].count), (kind, 1), "{report}");
    }
}
