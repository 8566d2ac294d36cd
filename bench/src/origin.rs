//! The backend of the HTTP rows: answers every request with the same small
//! body, for as little CPU as a program can, so that the contender is what
//! limits the run. It reads heads only: requests must have no body.

use std::io::{self, Read, Write};
use std::net::SocketAddr;

use anyhow::Context;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

/// 130 bytes: a small JSON answer.
pub(crate) const BODY: &str = concat!(
    r#"{"id":"018f2a44-7c1e-7d5b-9a53-1f0c6b1e0d42","state":"active","#,
    r#""owner":"alice@example.com","generation":17,"region":"eu-central-1"}"#
);

const LISTENER: Token = Token(usize::MAX);
const READ_BUFFER_BYTES: usize = 16 * 1024;
const EVENTS_PER_TURN: usize = 1024;
/// What may wait for a client that does not read; past it, it is cut off.
const PENDING_LIMIT_BYTES: usize = 1024 * 1024;

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    /// How much of the blank line that ends a head has been seen.
    matched: u8,
    pending: Vec<u8>,
}

/// Answers requests at `listen` for ever.
pub(crate) fn serve(listen: SocketAddr) -> anyhow::Result<()> {
    let mut poll = Poll::new()?;
    let mut listener =
        TcpListener::bind(listen).with_context(|| format!("listening at {listen}"))?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let answer = answer();
    let mut events = Events::with_capacity(EVENTS_PER_TURN);
    let mut buffer = vec![0; READ_BUFFER_BYTES];
    let mut connections: Vec<Option<Connection>> = Vec::new();
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
            let Some(place) = connections.get_mut(event.token().0) else { continue };
            if let Some(connection) = place
                && connection.turn(&mut buffer, &answer).is_err()
            {
                *place = None;
            }
        }
    }
}

fn answer() -> Vec<u8> {
    format!(
        "HTTP/1.1 200 OK\r\nServer: origin\r\nDate: Sat, 21 Nov 2026 00:00:00 GMT\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{BODY}",
        BODY.len()
    )
    .into_bytes()
}

fn accept(
    poll: &Poll,
    listener: &TcpListener,
    connections: &mut Vec<Option<Connection>>,
) -> anyhow::Result<()> {
    loop {
        let mut stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(e) if e.kind() == io::ErrorKind::ConnectionAborted => continue,
            Err(e) => return Err(e).context("accepting"),
        };
        stream.set_nodelay(true)?;
        let free = connections.iter().position(Option::is_none).unwrap_or_else(|| {
            connections.push(None);
            connections.len() - 1
        });
        // Both directions at once: one epoll_ctl for the life of the connection.
        let interest = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut stream, Token(free), interest)?;
        connections[free] = Some(Connection { stream, matched: 0, pending: Vec::new() });
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
            for _ in 0..heads_ended(&mut self.matched, &buffer[..read]) {
                self.pending.extend_from_slice(answer);
            }
            if self.pending.len() > PENDING_LIMIT_BYTES {
                return Err(io::ErrorKind::OutOfMemory.into());
            }
            // epoll(7): a short read means that the socket is drained.
            if read < buffer.len() {
                break;
            }
        }
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        while !self.pending.is_empty() {
            match self.stream.write(&self.pending) {
                Ok(written) => drop(self.pending.drain(..written)),
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
        assert_eq!(BODY.len(), 130);
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
