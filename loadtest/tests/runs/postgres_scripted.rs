//! PostgreSQL, as a script would have it: what no real server does on demand.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use bs9_loadtest::{FailureKind, Options, QueryMode, RunError};

use crate::{attempt, report, requests, server::Server};

/// A message with this tag and body.
fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap() + 4;
    [&[tag][..], &length.to_be_bytes(), body].concat()
}

fn ready() -> Vec<u8> {
    message(b'Z', b"I")
}

fn logged_in() -> Vec<u8> {
    [message(b'R', &[0; 4]), message(b'S', b"TimeZone\0UTC\0"), ready()].concat()
}

fn row() -> Vec<u8> {
    [message(b'C', b"SELECT 1\0"), ready()].concat()
}

/// Takes the startup packet, then a message and says something, over and over.
fn serve(mut stream: TcpStream, greeting: &[u8], reply: impl Fn(u8) -> Vec<u8>) -> Option<()> {
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
