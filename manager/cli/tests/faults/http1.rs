//! What a faulty endpoint says in HTTP/1.1, with TLS around it or without.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use crate::endpoint::{Fault, Shared, body_of, reset};

/// Answers on a connection until it ends; `raw` is what carries it.
pub(crate) fn converse(shared: &Shared, mut stream: impl Read + Write, raw: &TcpStream) {
    let (mut bytes, mut piece) = (Vec::new(), vec![0; 16 * 1024]);
    loop {
        while let Some(request) = Request::take(&mut bytes) {
            if answer(shared, &mut stream, raw, &request).is_none() {
                return;
            }
        }
        match stream.read(&mut piece) {
            Ok(count) if count > 0 => bytes.extend_from_slice(&piece[..count]),
            _ => return,
        }
    }
}

/// `None`: the connection has ended; without a `close_notify`, where it has TLS.
fn answer(
    shared: &Shared,
    stream: &mut (impl Read + Write),
    raw: &TcpStream,
    request: &Request,
) -> Option<()> {
    if request.target == "/healthz" {
        return match shared.fault() {
            Some(Fault::Stalled) => stall(shared, stream),
            _ => stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").ok(),
        };
    }
    let id = shared.note(&request.method, &request.target);
    shared.check(id, &request.method, &request.body);
    let fault = shared.fault();
    shared.count(fault);
    let answer = answer_to(id, shared.number);
    match fault {
        None => stream.write_all(&answer).ok(),
        Some(Fault::Stalled) => stall(shared, stream),
        Some(Fault::Killed | Fault::Reset) => {
            reset(raw);
            None
        }
        Some(Fault::Garbage) => stream.write_all(&noise(id, shared.number)).ok(),
        Some(Fault::Half) => {
            let _gone = stream.write_all(&answer[..answer.len() / 2]);
            None
        }
        Some(Fault::Extra) => {
            shared.books.give(id);
            // In one piece: had it come later, it could not be told from the next answer.
            stream.write_all(&[answer, answer_to(id + 1, shared.number)].concat()).ok()
        }
    }
}

/// Holds the connection until somebody ends it.
fn stall(shared: &Shared, stream: &mut impl Read) -> Option<()> {
    let mut piece = [0; 1024];
    while shared.fault() == Some(Fault::Stalled) {
        match stream.read(&mut piece) {
            Ok(count) if count > 0 => {}
            _ => return None,
        }
    }
    None
}

/// Right answers differ in body, length and framing.
fn answer_to(id: u64, endpoint: usize) -> Vec<u8> {
    let body = body_of(id);
    let head = format!("HTTP/1.1 200 OK\r\nX-Id: {id}\r\nX-Endpoint: {endpoint}\r\n");
    if id.is_multiple_of(3) {
        let mut answer = format!("{head}Transfer-Encoding: chunked\r\n\r\n").into_bytes();
        for piece in body.chunks(700) {
            answer.extend(format!("{:x}\r\n", piece.len()).into_bytes());
            answer.extend(piece);
            answer.extend(b"\r\n");
        }
        answer.extend(b"0\r\n\r\n");
        answer
    } else {
        let head = format!("{head}Content-Length: {}\r\n\r\n", body.len());
        [head.as_bytes(), &body].concat()
    }
}

/// What is no answer in any version of HTTP.
pub(crate) fn noise(id: u64, endpoint: usize) -> Vec<u8> {
    [b"\x00\xffHTTP/9.9 ", &answer_to(id, endpoint)[..]].concat()
}

/// A request that has come whole.
struct Request {
    method: String,
    target: String,
    body: Vec<u8>,
}

impl Request {
    fn take(bytes: &mut Vec<u8>) -> Option<Self> {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let length: usize = head
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            .map_or(0, |(_, value)| value.trim().parse().unwrap());
        if bytes.len() < end + length {
            return None;
        }
        let body = bytes[end..end + length].to_vec();
        bytes.drain(..end + length);
        let mut words = head.split(' ').map(str::to_owned);
        Some(Self { method: words.next()?, target: words.next()?, body })
    }
}
