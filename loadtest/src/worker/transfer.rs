//! Sockets: opening, sending, receiving.

use std::{
    io::{self, ErrorKind, Read as _, Write as _},
    time::Instant,
};

use mio::{Interest, Token, net::TcpStream};

use super::{Stage, Worker};
use crate::{
    failure::Failure,
    protocol::{Login, Protocol, Receipt, Reuse},
};

/// What reading led to.
enum Next {
    /// Nothing yet; there may be more to read.
    Read,
    /// The connection may send requests.
    Ready,
    /// An answer of the login waits to be sent.
    Flush,
    /// A response is complete.
    Complete(crate::protocol::Complete),
    /// It is over.
    Fail(Failure),
}

impl<P: Protocol> Worker<'_, P> {
    /// Begins to open a connection.
    pub(super) fn connect(&mut self, slot: usize, now: Instant) {
        let connection = &mut self.connections[slot];
        connection.stage = Stage::Connecting;
        connection.began = now;
        match open(&self.poll, self.order.address, slot) {
            Ok(stream) => {
                connection.stream = Some(stream);
                self.set_deadline(slot, now + self.order.connect_timeout);
            }
            Err(error) => self.fail(slot, &Failure::of_connect(error)),
        }
    }

    /// The handshake failed.
    pub(super) fn not_connected(&mut self, slot: usize) {
        let stream = self.connections[slot].stream.as_ref();
        let error = stream.and_then(|stream| stream.take_error().ok().flatten());
        // Without an error it was closed before anybody looked.
        let failure = error.map_or(Failure::Reset, Failure::of_connect);
        self.fail(slot, &failure);
    }

    /// The handshake is done.
    pub(super) fn connected(&mut self, slot: usize) {
        let connection = &mut self.connections[slot];
        connection.login.clear();
        connection.written = 0;
        match self.protocol.connected(&mut connection.session, &mut connection.login) {
            Login::Done => self.ready(slot),
            Login::Pending => {
                connection.stage = Stage::LoggingIn;
                self.flush(slot);
            }
        }
    }

    /// Requests may be sent.
    fn ready(&mut self, slot: usize) {
        let now = Instant::now();
        let connection = &mut self.connections[slot];
        connection.forgive();
        self.connect.record(now - connection.began);
        if connection.claimed.is_some() {
            self.send(slot, now);
        } else {
            connection.stage = Stage::Idle;
            self.opening -= 1;
        }
    }

    /// Begins a request.
    pub(super) fn send(&mut self, slot: usize, now: Instant) {
        let connection = &mut self.connections[slot];
        connection.stage = Stage::Sending;
        connection.written = 0;
        connection.began = now;
        self.protocol.begin(&mut connection.session);
        self.set_deadline(slot, now + self.order.request_timeout);
        self.flush(slot);
    }

    /// Sends what is left of the login or the request.
    pub(super) fn flush(&mut self, slot: usize) {
        let connection = &mut self.connections[slot];
        let Some(stream) = &mut connection.stream else { return };
        let logging_in = connection.stage == Stage::LoggingIn;
        let bytes = match logging_in {
            true => connection.login.as_slice(),
            false => self.protocol.request(&connection.session),
        };
        let error = loop {
            let rest = &bytes[connection.written..];
            if rest.is_empty() {
                if !logging_in {
                    connection.stage = Stage::Receiving;
                }
                return;
            }
            match stream.write(rest) {
                Ok(count) => {
                    connection.written += count;
                    self.measured.sent_bytes += count as u64;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => break error,
            }
        };
        // A server may answer before it has read everything, and close: the answer counts.
        self.read(slot, true);
        if matches!(self.connections[slot].stage, Stage::Sending | Stage::LoggingIn) {
            self.fail(slot, &Failure::of_transfer(error));
        }
    }

    /// Reads what has arrived. With `closing` the server has closed already, and nobody will
    /// say so again.
    pub(super) fn read(&mut self, slot: usize, closing: bool) {
        loop {
            let Some(stream) = &mut self.connections[slot].stream else { return };
            let count = match stream.read(&mut self.buffer) {
                Ok(0) => return self.ended(slot),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return self.fail(slot, &Failure::of_transfer(error)),
            };
            self.measured.received_bytes += count as u64;
            match self.take(slot, count) {
                Next::Read => {}
                Next::Ready => return self.ready(slot),
                Next::Flush => self.flush(slot),
                Next::Complete(mut complete) => {
                    let sending = self.connections[slot].stage == Stage::Sending;
                    if closing || sending {
                        complete.reuse = Reuse::Close;
                    }
                    return self.succeed(slot, complete);
                }
                Next::Fail(failure) => return self.fail(slot, &failure),
            }
            // The buffer was not filled, so there was no more; if more comes, so does an event.
            if count < self.buffer.len() && !closing {
                return;
            }
        }
    }

    /// Gives the first `count` bytes of the buffer to the protocol.
    fn take(&mut self, slot: usize, count: usize) -> Next {
        let connection = &mut self.connections[slot];
        let (session, input) = (&mut connection.session, &self.buffer[..count]);
        if connection.stage != Stage::LoggingIn {
            return match self.protocol.receive(session, input) {
                Ok(Receipt::More) => Next::Read,
                Ok(Receipt::Complete(complete)) => Next::Complete(complete),
                Err(failure) => Next::Fail(failure),
            };
        }
        if connection.written == connection.login.len() {
            connection.login.clear();
            connection.written = 0;
        }
        match self.protocol.login(session, input, &mut connection.login) {
            Ok(Login::Done) => Next::Ready,
            Ok(Login::Pending) if connection.written < connection.login.len() => Next::Flush,
            Ok(Login::Pending) => Next::Read,
            Err(failure) => Next::Fail(failure),
        }
    }

    /// The server closed during a response or a login.
    fn ended(&mut self, slot: usize) {
        let connection = &mut self.connections[slot];
        let ended = match connection.stage {
            Stage::Sending | Stage::Receiving => self.protocol.ended(&mut connection.session),
            _ => Err(Failure::Closed),
        };
        match ended {
            Ok(complete) => self.succeed(slot, complete),
            Err(failure) => self.fail(slot, &failure),
        }
    }

    /// Something came while nothing was asked: the end, mostly.
    pub(super) fn read_idle(&mut self, slot: usize) {
        let connection = &mut self.connections[slot];
        let Some(stream) = &mut connection.stream else { return };
        loop {
            let reuse = match stream.read(&mut self.buffer) {
                Ok(0) => Reuse::Close,
                Ok(count) => self.protocol.idle(&mut connection.session, &self.buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => Reuse::Keep,
                Err(_) => Reuse::Close,
            };
            if reuse == Reuse::Close {
                // No request was on it, so nothing failed; the next one opens it again.
                return connection.close();
            }
        }
    }
}

fn open(poll: &mio::Poll, address: std::net::SocketAddr, slot: usize) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    // A request that takes more than one segment must not wait for an acknowledgement.
    stream.set_nodelay(true)?;
    poll.registry().register(&mut stream, Token(slot), Interest::READABLE | Interest::WRITABLE)?;
    Ok(stream)
}
