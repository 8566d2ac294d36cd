//! TCP echo: what is sent has to come back, byte by byte.

use std::sync::Arc;

use crate::{
    failure::Failure,
    protocol::{Beginning, Complete, Login, Protocol, Receipt, Reuse},
};

/// Payloads begin at one of so many places of the pattern, a different one each time: an echo
/// that is late, or another connection's, does not pass for the right one. A prime, so that the
/// sequence does not fall in step with the number of connections.
const WINDOWS: usize = 251;

/// Sends windows of one pattern. Nothing is copied for a request.
#[derive(Debug, Clone)]
pub(crate) struct Echo {
    pattern: Arc<[u8]>,
    payload_bytes: usize,
    next_window: usize,
}

/// Where the payload begins in the pattern, and how much of it came back.
#[derive(Debug)]
pub(crate) struct Session {
    window: usize,
    returned: usize,
}

impl Echo {
    /// Payloads of so many bytes, at least one.
    pub(crate) fn new(payload_bytes: usize) -> Self {
        // xorshift64 (Marsaglia 2003): no two windows look alike.
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        };
        let pattern = (0..payload_bytes + WINDOWS).map(|_| next()).collect();
        Self { pattern, payload_bytes, next_window: 0 }
    }

    fn window(&self, session: &Session) -> &[u8] {
        &self.pattern[session.window..][..self.payload_bytes]
    }
}

impl Protocol for Echo {
    type Session = Session;

    fn session(&self) -> Session {
        Session { window: 0, returned: 0 }
    }

    fn connected(&mut self, _: &mut Session, _: &mut Vec<u8>) -> Result<Login, Failure> {
        Ok(Login::Done)
    }

    fn login(&mut self, _: &mut Session, _: &[u8], _: &mut Vec<u8>) -> Result<Login, Failure> {
        Ok(Login::Done)
    }

    fn begin(
        &mut self,
        session: &mut Session,
        _: Beginning,
        _: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        *session = Session { window: self.next_window, returned: 0 };
        self.next_window = (self.next_window + 1) % WINDOWS;
        Ok(())
    }

    fn request<'a>(&'a self, session: &'a Session) -> &'a [u8] {
        self.window(session)
    }

    fn receive(
        &mut self,
        session: &mut Session,
        input: &[u8],
        _: &mut Vec<u8>,
    ) -> Result<Receipt, Failure> {
        let expected = &self.window(session)[session.returned..];
        if input.len() > expected.len() {
            return Err(Failure::Body("more came back than was sent"));
        }
        if *input != expected[..input.len()] {
            return Err(Failure::Body("what came back is not what was sent"));
        }
        session.returned += input.len();
        if session.returned < self.payload_bytes {
            return Ok(Receipt::More);
        }
        let reuse = Reuse::Keep;
        Ok(Receipt::Complete(Complete { lane: 0, outcome: Ok(()), status: None, reuse }))
    }

    fn ended(&mut self, _: &mut Session) -> Result<Complete, Failure> {
        Err(Failure::Closed)
    }

    fn idle(&mut self, _: &mut Session, _: &[u8], _: &mut Vec<u8>) -> Reuse {
        Reuse::Close
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_payload_is_another() {
        let mut echo = Echo::new(16);
        let mut session = echo.session();
        let mut seen = std::collections::HashSet::new();
        for _ in 0..WINDOWS {
            echo.begin(&mut session, Beginning::default(), &mut Vec::new()).unwrap();
            assert!(seen.insert(echo.request(&session).to_vec()));
        }
    }

    #[test]
    fn only_the_echo_will_do() {
        let mut echo = Echo::new(16);
        let mut session = echo.session();
        echo.begin(&mut session, Beginning::default(), &mut Vec::new()).unwrap();
        let payload = echo.request(&session).to_vec();
        assert!(matches!(
            echo.receive(&mut session, &payload[..7], &mut Vec::new()),
            Ok(Receipt::More)
        ));
        let rest = echo.receive(&mut session, &payload[7..], &mut Vec::new());
        assert!(matches!(rest, Ok(Receipt::Complete(Complete { outcome: Ok(()), .. }))));
        // The same once more is late: another payload is under way.
        echo.begin(&mut session, Beginning::default(), &mut Vec::new()).unwrap();
        assert!(matches!(
            echo.receive(&mut session, &payload, &mut Vec::new()),
            Err(Failure::Body(_))
        ));
        echo.begin(&mut session, Beginning::default(), &mut Vec::new()).unwrap();
        let longer = [echo.request(&session), b"!"].concat();
        assert!(matches!(
            echo.receive(&mut session, &longer, &mut Vec::new()),
            Err(Failure::Body(_))
        ));
    }
}
