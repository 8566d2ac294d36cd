//! WebSocket echo, plain and over TLS; and an echo over TLS without it.

use std::io::{Read, Write};

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bs9_loadtest::{FailureKind, Options, RunError, TlsOptions};

use crate::{
    attempt, report, requests,
    server::{Answer, Server, response},
    tls_server::{self, Authority, Trait},
};

/// A message of a client, without its mask: kind and payload.
pub(crate) type Message = (u8, Vec<u8>);

/// Shakes hands, and says to each message what `answer` has for it, until that is nothing.
pub(crate) fn serve(
    stream: &mut (impl Read + Write),
    answer: impl Fn(Message) -> Option<Vec<u8>>,
) -> Option<()> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.push(char::from(byte[0]));
    }
    assert!(head.starts_with("GET /chat?room=1 HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("\r\nAuthorization: Bearer x\r\n"), "{head}");
    let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let proof = STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()));
    write!(
        stream,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {proof}\r\n\r\n"
    )
    .ok()?;
    stream.flush().ok()?;
    while let Some(message) = read(stream) {
        let Some(reply) = answer(message) else { break };
        stream.write_all(&reply).ok()?;
        stream.flush().ok()?;
    }
    Some(())
}

fn read(stream: &mut impl Read) -> Option<Message> {
    let mut head = [0; 2];
    stream.read_exact(&mut head).ok()?;
    assert_eq!(head[1] & 0x80, 0x80, "a client masks");
    let length = match head[1] & 0x7f {
        126 => {
            let mut length = [0; 2];
            stream.read_exact(&mut length).ok()?;
            usize::from(u16::from_be_bytes(length))
        }
        127 => {
            let mut length = [0; 8];
            stream.read_exact(&mut length).ok()?;
            usize::try_from(u64::from_be_bytes(length)).unwrap()
        }
        short => usize::from(short),
    };
    let mut mask = [0; 4];
    stream.read_exact(&mut mask).ok()?;
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).ok()?;
    payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    Some((head[0], payload))
}

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        length @ ..126 => frame.push(u8::try_from(length).unwrap()),
        length @ ..65_536 => {
            frame.push(126);
            frame.extend_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
        }
        length => {
            frame.push(127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    [&frame, payload].concat()
}

/// Half of it, a question, and the other half.
pub(crate) fn echo((kind, payload): Message) -> Option<Vec<u8>> {
    let (first, second) = payload.split_at(payload.len() / 2);
    // Binary messages come back; answers to questions do not; goodbye ends it.
    match kind {
        0x82 => Some([frame(0x02, first), frame(0x89, b"?"), frame(0x80, second)].concat()),
        0x8a => Some(Vec::new()),
        _ => None,
    }
}

fn options(payload_bytes: usize, options: Options) -> Options {
    let mut options = Options { payload_bytes: Some(payload_bytes), ..options };
    options.http.headers = vec![("Authorization".into(), "Bearer x".into())];
    options
}

#[test]
fn messages_of_all_sizes_come_back() {
    let server = Server::start(|mut stream| {
        serve(&mut stream, echo);
    });
    let url = format!("ws://{}/chat?room=1", server.address);
    for payload_bytes in [1, 64, 125, 126, 65_535, 65_536, 1_000_000] {
        let report = report(&url, options(payload_bytes, requests(12, 3)));
        assert_eq!((report.requests.succeeded, report.requests.failed), (12, 0), "{report}");
        assert_eq!(report.protocol, "websocket");
        assert!(report.bytes.sent_bytes > 12 * payload_bytes as u64);
    }
    let each = Options { keep_alive: false, ..requests(10, 2) };
    assert_eq!(report(&url, options(64, each)).requests.succeeded, 10);
}

#[test]
fn what_comes_back_wrong_is_told_from_what_does_not() {
    for (answer, kind) in [
        ((|(_, payload)| Some(frame(0x82, &payload[1..]))) as fn(Message) -> _, FailureKind::Body),
        (|(_, payload)| Some(frame(0x81, &payload)), FailureKind::Body),
        (|(_, payload)| Some(frame(0xc2, &payload)), FailureKind::Protocol),
        (|_| Some(frame(0x88, &[3, 243])), FailureKind::Closed),
        (|_| None, FailureKind::Closed),
    ] {
        let server = Server::start(move |mut stream| {
            serve(&mut stream, answer);
        });
        let url = format!("ws://{}/chat?room=1", server.address);
        let report = report(&url, options(64, requests(4, 2)));
        assert_eq!((report.errors[0].kind, report.errors[0].count), (kind, 4), "{report}");
    }
}

#[test]
fn a_server_of_pages_is_not_one_of_messages() {
    for (answer, kind) in [
        (response(404, "no chat here"), FailureKind::Status),
        (b"HTTP/1.1 101 Fine\r\n\r\n".to_vec(), FailureKind::Protocol),
    ] {
        let server = Server::http(move |_| Answer::Send(answer.clone()));
        let url = format!("ws://{}/", server.address);
        match attempt(&url, requests(2, 2)) {
            Err(RunError::NotReady { failures }) => assert_eq!(failures[0].kind, kind),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn echoes_over_tls() {
    let authority = Authority::new();
    let tls = TlsOptions { ca_file: Some(authority.file()), ..TlsOptions::default() };
    let config = authority.server("127.0.0.1", Trait::None, &[b"http/1.1"]);
    let server = tls_server::start(config, |mut stream| {
        serve(&mut stream, echo);
    });
    let url = format!("wss://{}/chat?room=1", server.address);
    let report = report(&url, options(100_000, Options { tls: tls.clone(), ..requests(12, 3) }));
    assert_eq!((report.requests.succeeded, report.requests.failed), (12, 0), "{report}");
    assert_eq!(report.protocol, "websocket over tls");

    let config = authority.server("127.0.0.1", Trait::None, &[]);
    let server = tls_server::start(config, |mut stream| {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            if stream.write_all(&buffer[..count]).is_err() || stream.flush().is_err() {
                return;
            }
        }
    });
    let url = format!("tls://{}", server.address);
    let options = Options { tls, payload_bytes: Some(50_000), ..requests(12, 3) };
    let report = crate::report(&url, options);
    assert_eq!((report.requests.succeeded, report.protocol), (12, "tls"), "{report}");
}
