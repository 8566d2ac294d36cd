//! HTTP/1.1, a client's side: requests of a mix, and what must come back.

use std::sync::Arc;

use crate::{
    checks::{Checks, Seen},
    failure::Failure,
    feed::{Feed, Feeder, Rows},
    protocol::{Beginning, Complete, Login, Protocol, Receipt, Reuse},
};

mod body;
mod head;
pub(crate) mod request;

use body::{Body, Taken};
use head::Head;

pub use request::RequestError;
pub(crate) use request::{Parts, Request, check_field};

/// Longest head of a response, in bytes.
const MAX_HEAD_BYTES: usize = 64 << 10;
/// Interim responses (1xx) before the one that counts.
const MAX_INTERIM: u8 = 8;

/// Sends requests and checks what comes back.
#[derive(Debug, Clone)]
pub(crate) struct Http {
    calls: Arc<[Call]>,
    feeder: Feeder,
}

/// A request of the mix, and what has to come back.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) request: Request,
    pub(crate) checks: Checks,
}

/// Where a connection is in its response.
#[derive(Debug)]
pub(crate) struct Session {
    stage: Stage,
    /// A head of which only the beginning is here.
    cut_head: Vec<u8>,
    interim: u8,
    /// The request that is under way.
    call: usize,
    rows: Rows,
    seen: Seen,
}

#[derive(Debug)]
enum Stage {
    Head,
    Body { status: u16, reuse: Reuse, body: Body },
}

// === impl Http ===

impl Http {
    /// At least one call; places in their requests are filled from `feeds`.
    pub(crate) fn new(calls: Vec<Call>, feeds: Arc<[Feed]>) -> Self {
        Self { calls: calls.into(), feeder: Feeder::new(feeds) }
    }

    /// The head at the front of `input`, if it is all there now, and what is left behind it.
    fn head<'a>(
        &self,
        session: &mut Session,
        input: &'a [u8],
    ) -> Result<Option<(Head, &'a [u8])>, Failure> {
        let Call { request, checks } = &self.calls[session.call];
        let method = request.method();
        let before = session.cut_head.len();
        let seen = &mut session.seen;
        let parsed = if before == 0 {
            head::parse(input, method, checks, seen)?
        } else {
            session.cut_head.extend_from_slice(input);
            head::parse(&session.cut_head, method, checks, seen)?
        };
        let Some((head, head_len)) = parsed else {
            if before == 0 {
                session.cut_head.extend_from_slice(input);
            }
            if session.cut_head.len() > MAX_HEAD_BYTES {
                return Err(Failure::Protocol("the head of the response is longer than 64 KiB"));
            }
            return Ok(None);
        };
        session.cut_head.clear();
        // A head that was cut before this input began cannot end before it either.
        Ok(Some((head, &input[head_len - before..])))
    }

    fn complete(&self, session: &mut Session, status: u16, reuse: Reuse) -> Complete {
        session.stage = Stage::Head;
        let Call { request, checks } = &self.calls[session.call];
        let outcome = checks.verdict(&session.seen, status);
        let reuse = if request.asks_to_close() { Reuse::Close } else { reuse };
        Complete { lane: 0, outcome, status: Some(status), reuse }
    }
}

impl Protocol for Http {
    type Session = Session;

    fn settle(&mut self, index: usize, threads: usize) {
        self.feeder.settle(index, threads);
    }

    fn session(&self) -> Session {
        Session {
            stage: Stage::Head,
            cut_head: Vec::new(),
            interim: 0,
            call: 0,
            rows: self.feeder.no_rows(),
            seen: Seen::default(),
        }
    }

    fn connected(&mut self, session: &mut Session, _: &mut Vec<u8>) -> Result<Login, Failure> {
        session.cut_head.clear();
        Ok(Login::Done)
    }

    fn login(&mut self, _: &mut Session, _: &[u8], _: &mut Vec<u8>) -> Result<Login, Failure> {
        Ok(Login::Done)
    }

    fn begin(
        &mut self,
        session: &mut Session,
        beginning: Beginning,
        out: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        session.stage = Stage::Head;
        session.cut_head.clear();
        (session.interim, session.call) = (0, beginning.request);
        let Call { request, checks } = &self.calls[session.call];
        checks.begin(&mut session.seen);
        self.feeder.advance(&mut session.rows, request.used());
        request.fill(&self.feeder, &session.rows, out);
        Ok(())
    }

    #[inline]
    fn request<'a>(&'a self, session: &'a Session) -> &'a [u8] {
        self.calls[session.call].request.fixed()
    }

    fn receive(
        &mut self,
        session: &mut Session,
        mut input: &[u8],
        _: &mut Vec<u8>,
    ) -> Result<Receipt, Failure> {
        loop {
            match &mut session.stage {
                Stage::Head => {
                    let Some((head, rest)) = self.head(session, input)? else {
                        return Ok(Receipt::More);
                    };
                    input = rest;
                    if head.is_interim() {
                        session.interim += 1;
                        if session.interim > MAX_INTERIM {
                            return Err(Failure::Protocol("too many interim responses"));
                        }
                        if input.is_empty() {
                            return Ok(Receipt::More);
                        }
                        continue;
                    }
                    let Head { status, reuse, body } = head;
                    session.stage = Stage::Body { status, reuse, body };
                }
                Stage::Body { status, reuse, body } => {
                    let checks = &self.calls[session.call].checks;
                    let seen = &mut session.seen;
                    let taken = body.take(input, |piece| checks.body(seen, piece))?;
                    let Taken::End { behind } = taken else { return Ok(Receipt::More) };
                    if behind > 0 {
                        return Err(Failure::Protocol("bytes follow behind the response"));
                    }
                    let (status, reuse) = (*status, *reuse);
                    return Ok(Receipt::Complete(self.complete(session, status, reuse)));
                }
            }
        }
    }

    fn ended(&mut self, session: &mut Session) -> Result<Complete, Failure> {
        match session.stage {
            Stage::Body { status, body: Body::UntilClose, .. } => {
                Ok(self.complete(session, status, Reuse::Close))
            }
            _ => Err(Failure::Closed),
        }
    }

    /// Whatever a server says unasked (408 before it closes, mostly), it is nobody's response.
    fn idle(&mut self, _: &mut Session, _: &[u8], _: &mut Vec<u8>) -> Reuse {
        Reuse::Close
    }
}

#[cfg(test)]
mod tests;
