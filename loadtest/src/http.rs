//! HTTP/1.1, a client's side: one request over and over, and what must come back.

use std::sync::Arc;

use crate::{
    failure::Failure,
    protocol::{Beginning, Complete, Login, Protocol, Receipt, Reuse},
};

mod body;
mod head;
mod needle;
mod request;
mod status;

use body::{Body, Taken};
use head::Head;
use needle::Needle;

pub(crate) use request::Request;
pub use request::RequestError;
pub use status::{StatusError, StatusSet};

/// Longest head of a response, in bytes.
const MAX_HEAD_BYTES: usize = 64 << 10;
/// Interim responses (1xx) before the one that counts.
const MAX_INTERIM: u8 = 8;

/// Sends one request and checks what comes back.
#[derive(Debug, Clone)]
pub(crate) struct Http {
    request: Request,
    expect_status: StatusSet,
    expect_body: Option<Arc<Needle>>,
}

/// Where a connection is in its response.
#[derive(Debug)]
pub(crate) struct Session {
    stage: Stage,
    /// A head of which only the beginning is here.
    cut_head: Vec<u8>,
    interim: u8,
    /// How much of the needle was just matched.
    matched: usize,
}

#[derive(Debug)]
enum Stage {
    Head,
    Body { status: u16, reuse: Reuse, body: Body },
}

// === impl Http ===

impl Http {
    /// `expect_body` is looked for in every body; empty is the same as none.
    pub(crate) fn new(
        request: Request,
        expect_status: StatusSet,
        expect_body: Option<&[u8]>,
    ) -> Self {
        let expect_body = expect_body.filter(|text| !text.is_empty());
        let expect_body = expect_body.map(|text| Arc::new(Needle::new(text)));
        Self { request, expect_status, expect_body }
    }

    /// The head at the front of `input`, if it is all there now, and what is left behind it.
    fn head<'a>(
        &self,
        session: &mut Session,
        input: &'a [u8],
    ) -> Result<Option<(Head, &'a [u8])>, Failure> {
        let method = self.request.method();
        let before = session.cut_head.len();
        let parsed = if before == 0 {
            head::parse(input, method)?
        } else {
            session.cut_head.extend_from_slice(input);
            head::parse(&session.cut_head, method)?
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
        let found = self.expect_body.as_ref().is_none_or(|needle| needle.is_found(session.matched));
        let outcome = if !self.expect_status.contains(status) {
            Err(Failure::Status(status))
        } else if !found {
            Err(Failure::Body("it does not hold the text it should"))
        } else {
            Ok(())
        };
        let reuse = if self.request.asks_to_close() { Reuse::Close } else { reuse };
        Complete { lane: 0, outcome, status: Some(status), reuse }
    }
}

impl Protocol for Http {
    type Session = Session;

    fn session(&self) -> Session {
        Session { stage: Stage::Head, cut_head: Vec::new(), interim: 0, matched: 0 }
    }

    fn connected(&mut self, session: &mut Session, _: &mut Vec<u8>) -> Login {
        session.cut_head.clear();
        Login::Done
    }

    fn login(&mut self, _: &mut Session, _: &[u8], _: &mut Vec<u8>) -> Result<Login, Failure> {
        Ok(Login::Done)
    }

    fn begin(&mut self, session: &mut Session, _: Beginning, _: &mut Vec<u8>) -> Result<(), Failure> {
        session.stage = Stage::Head;
        session.cut_head.clear();
        (session.interim, session.matched) = (0, 0);
        Ok(())
    }

    #[inline]
    fn request<'a>(&'a self, _: &'a Session) -> &'a [u8] {
        self.request.bytes()
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
                    let (matched, needle) = (&mut session.matched, self.expect_body.as_deref());
                    let taken = body.take(input, |data| {
                        if let Some(needle) = needle {
                            needle.search(matched, data);
                        }
                    })?;
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
