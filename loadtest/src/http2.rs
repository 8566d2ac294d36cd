//! HTTP/2, a client's side (RFC 9113): many requests of a mix at the same time, and what must
//! come back.
//!
//! A request is a block of header fields made before the run; what all requests have in common
//! is sent once a connection and referred to from then on. Windows for responses are so wide
//! that a server never waits for us.

use std::sync::Arc;

use crate::{
    failure::Failure,
    feed::{Feed, Feeder},
    http::{Call, RequestError},
    protocol::{Beginning, Complete, Login, Protocol, Receipt, Reuse},
};

mod frame;
mod hpack;
mod request;
mod session;
mod settings;
mod stream;

use request::Exchange;
pub(crate) use session::Session;

/// Sends requests and checks what comes back.
#[derive(Debug, Clone)]
pub(crate) struct Http2 {
    exchanges: Arc<[Exchange]>,
    feeder: Feeder,
    lanes: usize,
}

impl Http2 {
    /// At least one call, and `streams` at the same time on a connection, at least one.
    /// `scheme` is `http` or `https`.
    ///
    /// # Errors
    /// When a request cannot be said in HTTP/2.
    pub(crate) fn new(
        calls: Vec<Call>,
        feeds: Arc<[Feed]>,
        scheme: &str,
        streams: usize,
    ) -> Result<Self, RequestError> {
        let exchanges = request::exchanges(calls, scheme)?.into();
        Ok(Self { exchanges, feeder: Feeder::new(feeds), lanes: streams })
    }
}

impl Protocol for Http2 {
    type Session = Session;

    const MULTIPLEXED: bool = true;

    fn settle(&mut self, index: usize, threads: usize) {
        self.feeder.settle(index, threads);
    }

    fn session(&self) -> Session {
        Session::new(self.lanes, self.feeder.no_rows())
    }

    fn lanes(&self) -> usize {
        self.lanes
    }

    fn connected(&mut self, session: &mut Session, out: &mut Vec<u8>) -> Result<Login, Failure> {
        session.reset();
        settings::greet(out);
        Ok(Login::Pending)
    }

    fn login(
        &mut self,
        session: &mut Session,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Login, Failure> {
        session.walk(&self.exchanges, input, out)?;
        match session.is_settled() {
            _ if session.is_draining() => Err(session.closed()),
            true => Ok(Login::Done),
            false => Ok(Login::Pending),
        }
    }

    fn begin(
        &mut self,
        session: &mut Session,
        beginning: Beginning,
        out: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let used = &self.exchanges[beginning.request].used;
        self.feeder.advance(&mut session.rows, used);
        session.begin(&self.exchanges, &self.feeder, beginning, out);
        Ok(())
    }

    fn receive(
        &mut self,
        session: &mut Session,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Receipt, Failure> {
        session.walk(&self.exchanges, input, out)?;
        Ok(Receipt::More)
    }

    fn completed(&mut self, session: &mut Session) -> Option<Complete> {
        session.completed()
    }

    fn returned(&mut self, session: &mut Session) -> Option<usize> {
        session.returned()
    }

    fn is_draining(&self, session: &Session) -> bool {
        session.is_draining()
    }

    fn abandon(&mut self, session: &mut Session, lane: usize, out: &mut Vec<u8>) -> Reuse {
        session.abandon(&self.exchanges, lane, out);
        Reuse::Keep
    }

    fn ended(&mut self, session: &mut Session) -> Result<Complete, Failure> {
        Err(session.closed())
    }

    fn idle(&mut self, session: &mut Session, input: &[u8], out: &mut Vec<u8>) -> Reuse {
        match session.walk(&self.exchanges, input, out) {
            Ok(()) if !session.is_draining() => Reuse::Keep,
            _ => Reuse::Close,
        }
    }

    fn farewell(&mut self, _: &mut Session, out: &mut Vec<u8>) {
        // We have taken no stream of the server's.
        let payload = [0u32.to_be_bytes(), frame::NO_ERROR.to_be_bytes()].concat();
        frame::write(out, frame::GOAWAY, 0, 0, &payload);
    }
}

#[cfg(test)]
mod tests;
