//! WebSocket echo, a client's side (RFC 6455): a message is sent, and has to come back.

use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};

use crate::{
    failure::Failure,
    payload::{Echoed, Payloads},
    protocol::{Beginning, Complete, Login, Protocol, Receipt, Reuse},
};

mod frame;
mod handshake;

use frame::{Event, Opcode, Reader};
pub(crate) use handshake::Upgrade;
use handshake::{Answer, Key};

/// Closing without a complaint (section 7.4.1).
const NORMAL_CLOSURE: [u8; 2] = 1_000u16.to_be_bytes();

/// Sends each payload as a binary message.
#[derive(Debug, Clone)]
pub(crate) struct WebSocket {
    upgrade: Upgrade,
    payloads: Payloads,
    random: SmallRng,
}

/// Where a connection is.
#[derive(Debug)]
pub(crate) struct Session {
    key: Key,
    answer: Answer,
    reader: Reader,
    echoed: Echoed,
    /// The message that comes back has begun.
    begun: bool,
    /// All of the payload is back.
    returned: bool,
}

impl WebSocket {
    pub(crate) fn new(upgrade: Upgrade, payloads: Payloads) -> Self {
        Self { upgrade, payloads, random: SmallRng::from_rng(&mut rand::rng()) }
    }

    /// Takes frames. Says whether the message that was awaited is complete.
    fn walk(
        &mut self,
        session: &mut Session,
        input: &[u8],
        awaited: Awaited,
        out: &mut Vec<u8>,
    ) -> Result<bool, Failure> {
        let Self { payloads, random, .. } = self;
        let Session { reader, echoed, begun, returned, .. } = session;
        let mut complete = false;
        reader.read(input, |event| {
            match event {
                Event::Ping(payload) => frame::write(out, Opcode::Pong, random.random(), payload),
                Event::Close => return Err(Failure::Closed),
                Event::Begin(_) if awaited == Awaited::Nothing || *begun => {
                    return Err(Failure::Protocol("a message comes that nobody waits for"));
                }
                Event::Begin(Opcode::Text) => {
                    return Err(Failure::Body("a binary message came back as text"));
                }
                Event::Begin(_) => *begun = true,
                Event::Piece(piece) => *returned = payloads.compare(echoed, piece)?,
                Event::End if *returned => complete = true,
                Event::End => return Err(Failure::Body("less came back than was sent")),
            }
            Ok(())
        })?;
        Ok(complete)
    }
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Awaited {
    Nothing,
    Echo,
}

impl Protocol for WebSocket {
    type Session = Session;

    /// Each thread has random numbers of its own.
    fn settle(&mut self, _: usize, _: usize) {
        self.random = SmallRng::from_rng(&mut rand::rng());
    }

    fn session(&self) -> Session {
        Session {
            key: Key::default(),
            answer: Answer::default(),
            reader: Reader::default(),
            echoed: Echoed::default(),
            begun: false,
            returned: false,
        }
    }

    fn connected(&mut self, session: &mut Session, out: &mut Vec<u8>) -> Result<Login, Failure> {
        session.key = Key::new(self.random.random());
        session.answer = Answer::default();
        session.reader = Reader::default();
        self.upgrade.ask(&session.key, out);
        Ok(Login::Pending)
    }

    fn login(
        &mut self,
        session: &mut Session,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Login, Failure> {
        let Some(rest) = session.answer.read(&self.upgrade, &session.key, input)? else {
            return Ok(Login::Pending);
        };
        self.walk(session, rest, Awaited::Nothing, out)?;
        Ok(Login::Done)
    }

    fn begin(
        &mut self,
        session: &mut Session,
        _: Beginning,
        out: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        session.echoed = self.payloads.next();
        (session.begun, session.returned) = (false, false);
        let mask = self.random.random();
        frame::write(out, Opcode::Binary, mask, self.payloads.payload(session.echoed));
        Ok(())
    }

    fn receive(
        &mut self,
        session: &mut Session,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Receipt, Failure> {
        if !self.walk(session, input, Awaited::Echo, out)? {
            return Ok(Receipt::More);
        }
        let reuse = Reuse::Keep;
        Ok(Receipt::Complete(Complete { lane: 0, outcome: Ok(()), status: None, reuse }))
    }

    fn ended(&mut self, _: &mut Session) -> Result<Complete, Failure> {
        Err(Failure::Closed)
    }

    fn idle(&mut self, session: &mut Session, input: &[u8], out: &mut Vec<u8>) -> Reuse {
        match self.walk(session, input, Awaited::Nothing, out) {
            Ok(_) => Reuse::Keep,
            Err(_) => Reuse::Close,
        }
    }

    fn farewell(&mut self, _: &mut Session, out: &mut Vec<u8>) {
        frame::write(out, Opcode::Close, self.random.random(), &NORMAL_CLOSURE);
    }
}

#[cfg(test)]
mod tests;
