//! Sockets: opening, sending, receiving.

use std::{
    io::{self, ErrorKind, Read as _, Write as _},
    time::Instant,
};

use mio::{Interest, Token, net::TcpStream};

use super::{LaneState, Stage, Worker};
use crate::{
    failure::Failure,
    protocol::{Beginning, Login, Protocol, Receipt, Reuse},
};

/// What reading led to.
enum Next {
    /// Nothing yet; there may be more to read.
    Read,
    /// The connection may send requests.
    Ready,
    /// A response is complete.
    Complete(crate::protocol::Complete),
    /// It is over.
    Fail(Failure),
}

impl From<Result<Receipt, Failure>> for Next {
    fn from(receipt: Result<Receipt, Failure>) -> Self {
        match receipt {
            Ok(Receipt::More) => Self::Read,
            Ok(Receipt::Complete(complete)) => Self::Complete(complete),
            Err(failure) => Self::Fail(failure),
        }
    }
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
        match self.protocol.connected(&mut connection.session, &mut connection.out) {
            Ok(Login::Done) => self.ready(slot),
            Ok(Login::Pending) => {
                connection.stage = Stage::LoggingIn;
                self.flush(slot);
            }
            Err(failure) => self.fail(slot, &failure),
        }
    }

    /// Requests may be sent.
    fn ready(&mut self, slot: usize) {
        let now = Instant::now();
        let connection = &mut self.connections[slot];
        connection.forgive();
        connection.stage = Stage::Open;
        self.connect.record(now - connection.began);
        if self.clock.is_none() {
            self.opening -= 1;
        }
        for lane in self.lanes_of(slot) {
            if !self.connections[slot].takes_requests() {
                break;
            }
            if self.lanes[lane].state == LaneState::Claimed {
                self.send(lane, now);
            }
        }
        // The last of a login may wait behind no request.
        self.flush_or_queue(slot);
    }

    /// Begins a request.
    pub(super) fn send(&mut self, lane: usize, now: Instant) {
        let slot = self.slot(lane);
        let carried = &mut self.lanes[lane];
        (carried.state, carried.began) = (LaneState::Begun, now);
        let request = carried.request;
        self.set_request_deadline(lane, now + self.order.request_timeout);
        let beginning = Beginning { lane: lane - self.lanes_of(slot).start, request };
        let connection = &mut self.connections[slot];
        connection.under_way += 1;
        connection.sent = 0;
        match self.protocol.begin(&mut connection.session, beginning, &mut connection.out) {
            Err(failure) => return self.fail(slot, &failure),
            // Others may begin on it too before there is time to send anything.
            Ok(()) if P::MULTIPLEXED => self.queue_flush(slot),
            Ok(()) => self.flush(slot),
        }
        self.nap_if_asked(slot);
    }

    /// Puts a connection in line to be flushed.
    pub(super) fn queue_flush(&mut self, slot: usize) {
        if !std::mem::replace(&mut self.connections[slot].queued, true) {
            self.unflushed.push(slot);
        }
    }

    /// What a protocol says beside requests is sent, at once or with the requests that follow.
    fn flush_or_queue(&mut self, slot: usize) {
        let connection = &self.connections[slot];
        if P::MULTIPLEXED {
            self.queue_flush(slot);
        } else if !connection.out.is_empty() && !connection.blocked {
            self.flush(slot);
        }
    }

    /// Flushes the connections that are in line.
    pub(super) fn flush_queued(&mut self) {
        while let Some(slot) = self.unflushed.pop() {
            self.connections[slot].queued = false;
            self.flush(slot);
        }
    }

    /// Sends what is left to be sent.
    pub(super) fn flush(&mut self, slot: usize) {
        let connection = &mut self.connections[slot];
        let Some(stream) = &mut connection.stream else { return };
        if P::MULTIPLEXED && connection.stage == Stage::Open {
            self.protocol.seal(&mut connection.session, &mut connection.out);
        }
        let request = match connection.under_way {
            0 => &[],
            _ => self.protocol.request(&connection.session),
        };
        let error = loop {
            let unsent = &connection.out[connection.written..];
            let from_out = !unsent.is_empty();
            let rest = if from_out { unsent } else { &request[connection.sent..] };
            if rest.is_empty() {
                connection.out.clear();
                connection.written = 0;
                connection.blocked = false;
                return;
            }
            match stream.write(rest) {
                Ok(count) => {
                    let done = match from_out {
                        true => &mut connection.written,
                        false => &mut connection.sent,
                    };
                    *done += count;
                    self.measured.sent_bytes += count as u64;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    connection.blocked = true;
                    return;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => break error,
            }
        };
        // A server may answer before it has read everything, and close: the answer counts.
        connection.blocked = true;
        self.read(slot, true);
        // Unless it was closed meanwhile, and perhaps opened again.
        if self.connections[slot].blocked {
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
                Next::Read => self.nap_if_asked(slot),
                Next::Ready => return self.ready(slot),
                Next::Complete(mut complete) => {
                    if closing || self.connections[slot].blocked {
                        complete.reuse = Reuse::Close;
                    }
                    return self.succeed(slot, complete);
                }
                Next::Fail(failure) => return self.fail(slot, &failure),
            }
            if P::MULTIPLEXED && self.take_completed(slot) == Reuse::Close {
                return;
            }
            self.flush_or_queue(slot);
            // The buffer was not filled, so there was no more; if more comes, so does an event.
            if count < self.buffer.len() && !closing {
                return;
            }
        }
    }

    /// Ends the requests that were answered. Says whether the connection is still there.
    fn take_completed(&mut self, slot: usize) -> Reuse {
        loop {
            let connection = &mut self.connections[slot];
            if connection.stage == Stage::LoggingIn {
                return Reuse::Keep;
            }
            if connection.stage != Stage::Open {
                return Reuse::Close;
            }
            connection.draining |= self.protocol.is_draining(&connection.session);
            if let Some(own) = self.protocol.returned(&mut connection.session) {
                self.give_back(slot, own);
                continue;
            }
            let Some(complete) = self.protocol.completed(&mut connection.session) else {
                self.part_if_drained(slot);
                self.open_if_wanted(slot, Instant::now());
                let open = self.connections[slot].stage == Stage::Open;
                return if open { Reuse::Keep } else { Reuse::Close };
            };
            self.succeed(slot, complete);
        }
    }

    /// Gives the first `count` bytes of the buffer to the protocol.
    fn take(&mut self, slot: usize, count: usize) -> Next {
        let connection = &mut self.connections[slot];
        let (session, out) = (&mut connection.session, &mut connection.out);
        let input = &self.buffer[..count];
        if connection.stage != Stage::LoggingIn {
            return self.protocol.receive(session, input, out).into();
        }
        match self.protocol.login(session, input, out) {
            Ok(Login::Done) => Next::Ready,
            Ok(Login::Pending) => Next::Read,
            Err(failure) => Next::Fail(failure),
        }
    }

    /// The server closed during a response or a login.
    fn ended(&mut self, slot: usize) {
        let connection = &mut self.connections[slot];
        let ended = match connection.stage {
            Stage::Open => self.protocol.ended(&mut connection.session),
            _ => Err(Failure::Closed),
        };
        match ended {
            Ok(complete) => self.succeed(slot, complete),
            Err(failure) => self.fail(slot, &failure),
        }
    }

    /// Something came while nothing was asked: the end, mostly.
    pub(super) fn read_idle(&mut self, slot: usize) {
        loop {
            let connection = &mut self.connections[slot];
            let Some(stream) = &mut connection.stream else { return };
            let reuse = match stream.read(&mut self.buffer) {
                Ok(0) => Reuse::Close,
                Ok(count) => {
                    let input = &self.buffer[..count];
                    self.protocol.idle(&mut connection.session, input, &mut connection.out)
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => Reuse::Keep,
                Err(_) => Reuse::Close,
            };
            if reuse == Reuse::Close {
                // No request was on it, so nothing failed; the next one opens it again.
                return connection.close();
            }
        }
        self.flush_or_queue(slot);
    }
}

fn open(poll: &mio::Poll, address: std::net::SocketAddr, slot: usize) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    // A request that takes more than one segment must not wait for an acknowledgement.
    stream.set_nodelay(true)?;
    poll.registry().register(&mut stream, Token(slot), Interest::READABLE | Interest::WRITABLE)?;
    Ok(stream)
}
