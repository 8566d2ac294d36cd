//! TCP echo: what is sent has to come back, byte by byte.

use crate::{
    failure::Failure,
    payload::{Echoed, Payloads},
    protocol::{Beginning, Complete, Login, Protocol, Receipt, Reuse},
};

/// Sends payloads as they are.
#[derive(Debug, Clone)]
pub(crate) struct Echo {
    payloads: Payloads,
}

impl Echo {
    pub(crate) fn new(payloads: Payloads) -> Self {
        Self { payloads }
    }
}

impl Protocol for Echo {
    type Session = Echoed;

    fn session(&self) -> Echoed {
        Echoed::default()
    }

    fn connected(&mut self, _: &mut Echoed, _: &mut Vec<u8>) -> Result<Login, Failure> {
        Ok(Login::Done)
    }

    fn login(&mut self, _: &mut Echoed, _: &[u8], _: &mut Vec<u8>) -> Result<Login, Failure> {
        Ok(Login::Done)
    }

    fn begin(
        &mut self,
        session: &mut Echoed,
        _: Beginning,
        _: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        *session = self.payloads.next();
        Ok(())
    }

    fn request<'a>(&'a self, session: &'a Echoed) -> &'a [u8] {
        self.payloads.payload(*session)
    }

    fn receive(
        &mut self,
        session: &mut Echoed,
        input: &[u8],
        _: &mut Vec<u8>,
    ) -> Result<Receipt, Failure> {
        if !self.payloads.compare(session, input)? {
            return Ok(Receipt::More);
        }
        let reuse = Reuse::Keep;
        Ok(Receipt::Complete(Complete { lane: 0, outcome: Ok(()), status: None, reuse }))
    }

    fn ended(&mut self, _: &mut Echoed) -> Result<Complete, Failure> {
        Err(Failure::Closed)
    }

    fn idle(&mut self, _: &mut Echoed, _: &[u8], _: &mut Vec<u8>) -> Reuse {
        Reuse::Close
    }
}
