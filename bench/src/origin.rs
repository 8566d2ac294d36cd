//! The backend of the HTTP rows: answers every request with the same body, for
//! as little CPU as a program can, so that the contender is what limits the
//! run. It reads heads only: requests must have no body.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, ensure};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

use crate::bench::Bench;
use crate::http_client::Answer;
use crate::process::{Launch, Process};
use crate::run_dir::free_address;

/// Bytes of a small JSON answer.
pub(crate) const SMALL_BODY_BYTES: usize = PATTERN.len();
/// Bytes of a large answer: 1 MiB.
pub(crate) const LARGE_BODY_BYTES: usize = 1 << 20;

/// Bodies are this, over and over.
const PATTERN: &str = concat!(
    r#"{"id":"018f2a44-7c1e-7d5b-9a53-1f0c6b1e0d42","state":"active","#,
    r#""owner":"alice@example.com","generation":17,"region":"eu-central-1"}"#
);

const LISTENER: Token = Token(usize::MAX);
const READ_BUFFER_BYTES: usize = 16 * 1024;
const EVENTS_PER_TURN: usize = 1024;
/// Answers that a client may owe reading; past it, it is cut off.
const OWED_LIMIT: usize = 1024;

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    /// How much of the blank line that ends a head has been seen.
    matched: u8,
    /// Answers not yet written to their end.
    owed: usize,
    /// Bytes of the first of them that are written.
    written: usize,
}

/// Starts an origin with bodies of this size, and waits until it accepts.
pub(crate) fn start(bench: &Bench, body_bytes: usize) -> anyhow::Result<(SocketAddr, Process)> {
    let address = free_address()?;
    start_at(bench, address, body_bytes).map(|process| (address, process))
}

/// Starts one with small bodies that answers at every address of this machine.
pub(crate) fn start_for_all_addresses(bench: &Bench) -> anyhow::Result<(SocketAddr, Process)> {
    let address = free_address()?;
    let everywhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
    start_at(bench, everywhere, SMALL_BODY_BYTES).map(|process| (address, process))
}

/// Starts one at this address, and waits until it accepts.
pub(crate) fn start_at(
    bench: &Bench,
    listen: SocketAddr,
    body_bytes: usize,
) -> anyhow::Result<Process> {
    let own = std::env::current_exe().context("finding the path of this program")?;
    let mut process = Launch::load(bench, "origin", &own)
        .arguments(["origin", "--listen", &listen.to_string()])
        .arguments(["--body-bytes", &body_bytes.to_string()])
        .start(bench)?;
    process.wait_until_it_accepts(listen)?;
    Ok(process)
}

/// Makes sure that `answer` is the origin's.
pub(crate) fn check(answer: &Answer, body_bytes: usize) -> anyhow::Result<()> {
    ensure!(answer.status == 200, "not the expected status: {}", answer.status);
    ensure!(answer.body == body(body_bytes), "not the expected body of {body_bytes} bytes");
    Ok(())
}

/// Answers requests at `listen` for ever.
pub(crate) fn serve(listen: SocketAddr, body_bytes: usize) -> anyhow::Result<()> {
    let mut poll = Poll::new()?;
    let mut listener =
        TcpListener::bind(listen).with_context(|| format!("listening at {listen}"))?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let answer = answer(body_bytes);
    let mut events = Events::with_capacity(EVENTS_PER_TURN);
    let mut buffer = vec![0; READ_BUFFER_BYTES];
    let mut connections = Slab::new();
    loop {
        match poll.poll(&mut events, None) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            polled => polled?,
        }
        for event in &events {
            if event.token() == LISTENER {
                accept(&poll, &listener, &mut connections)?;
                continue;
            }
            let Some(connection) = connections.get_mut(event.token().0) else { continue };
            if connection.turn(&mut buffer, &answer).is_err() {
                connections.remove(event.token().0);
            }
        }
    }
}

fn answer(body_bytes: usize) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nServer: origin\r\nDate: Sat, 21 Nov 2026 00:00:00 GMT\r\n\
         Content-Type: application/json\r\nContent-Length: {body_bytes}\r\n\r\n"
    );
    [head.into_bytes(), body(body_bytes)].concat()
}

pub(crate) fn body(bytes: usize) -> Vec<u8> {
    PATTERN.bytes().cycle().take(bytes).collect()
}

fn accept(
    poll: &Poll,
    listener: &TcpListener,
    connections: &mut Slab<Connection>,
) -> anyhow::Result<()> {
    loop {
        let mut stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(e) if e.kind() == io::ErrorKind::ConnectionAborted => continue,
            Err(e) => return Err(e).context("accepting"),
        };
        stream.set_nodelay(true)?;
        let place = connections.vacant_entry();
        // Both directions at once: one epoll_ctl for the life of the connection.
        let interest = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut stream, Token(place.key()), interest)?;
        place.insert(Connection { stream, matched: 0, owed: 0, written: 0 });
    }
}

// === impl Connection ===

impl Connection {
    /// Reads what is there and answers it. An error, or the client's end of
    /// file, is the end of the connection.
    fn turn(&mut self, buffer: &mut [u8], answer: &[u8]) -> io::Result<()> {
        loop {
            let read = match self.stream.read(buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => read,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            };
            self.owed += heads_ended(&mut self.matched, &buffer[..read]);
            if self.owed > OWED_LIMIT {
                return Err(io::ErrorKind::OutOfMemory.into());
            }
            // epoll(7): a short read means that the socket is drained.
            if read < buffer.len() {
                break;
            }
        }
        self.flush(answer)
    }

    fn flush(&mut self, answer: &[u8]) -> io::Result<()> {
        while self.owed > 0 {
            match self.stream.write(&answer[self.written..]) {
                Ok(written) => {
                    self.written += written;
                    if self.written == answer.len() {
                        self.written = 0;
                        self.owed -= 1;
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

/// Counts the blank lines in `bytes`; `matched` carries a partial one over.
fn heads_ended(matched: &mut u8, bytes: &[u8]) -> usize {
    let mut ended = 0;
    for byte in bytes {
        *matched = match (*matched, byte) {
            (0, b'\r') => 1,
            (1, b'\n') => 2,
            (2, b'\r') => 3,
            (3, b'\n') => {
                ended += 1;
                0
            }
            (_, b'\r') => 1,
            _ => 0,
        };
    }
    ended
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_has_the_size_the_rows_speak_of() {
        assert_eq!(body(SMALL_BODY_BYTES).len(), 130);
        assert_eq!(body(LARGE_BODY_BYTES).len(), 1024 * 1024);
        assert!(answer(SMALL_BODY_BYTES).ends_with(PATTERN.as_bytes()));
    }

    #[test]
    fn heads_are_counted_however_they_are_split() {
        let requests = b"GET / HTTP/1.1\r\nHost: a\r\r\n\r\nGET /b HTTP/1.1\r\n\r\n";
        for cut in 0..=requests.len() {
            let mut matched = 0;
            let (first, second) = requests.split_at(cut);
            let ended = heads_ended(&mut matched, first) + heads_ended(&mut matched, second);
            assert_eq!((ended, matched), (2, 0), "cut at {cut}");
        }
    }
}
