//! Checking off what is received.

use super::{Copying, Entry, Ledger, Origin, Progress, Request};
use crate::message::backend::TransactionStatus;
use crate::{
    frame::HEADER_LEN,
    tag::{BackendTag, Tag as _},
};

/// Where a message from the server goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// To the client: it asked for this.
    Forward,
    /// Nowhere: the pool asked for this.
    Swallow,
    /// Nobody asked. It concerns the session as a whole: to the client that holds the
    /// connection, if one does. ParameterStatus has to be kept track of in any case.
    Aside,
}

/// A message that was checked off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Observed {
    /// Where it goes.
    pub verdict: Verdict,
    /// The entry it closes, if it does. On ErrorResponse that is the message that failed, when
    /// it belongs to an extended batch.
    pub closed: Option<Entry>,
}

/// What has come due without a message from the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Settled {
    /// The pool's answer to this message goes out now.
    Answer(Entry),
    /// The server ignored this message, or the pool's answer to it is void: it never happened.
    Skipped(Entry),
}

/// A message that cannot be: the connection is out of step and must be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// Nothing is owed.
    #[error("server sent {tag:?} while it owed no reply")]
    Unsolicited {
        /// The message received.
        tag: BackendTag,
    },
    /// Something else is owed.
    #[error("server sent {tag:?} in reply to {request:?}")]
    Unexpected {
        /// The message received.
        tag: BackendTag,
        /// What the next reply should have been for.
        request: Request,
    },
    /// What comes now may be for something that the server has read as part of a COPY, or for what
    /// is behind it.
    #[error("the client sent something else in the middle of COPY")]
    DuringCopy,
    /// The caller did not settle, so that the replies would go out in the wrong order.
    #[error("a reply arrived before the pool's own answers were settled")]
    Unsettled,
}

impl Verdict {
    #[inline]
    fn of(origin: Origin) -> Self {
        if origin == Origin::Client { Self::Forward } else { Self::Swallow }
    }
}

impl Ledger {
    /// What has come due, one at a time. To be drained after every [`expect`](Self::expect),
    /// [`answer`](Self::answer), [`observe`](Self::observe) and [`ready`](Self::ready): answers
    /// go out right there, behind what was observed last.
    #[inline]
    pub fn settle(&mut self) -> Option<Settled> {
        let front = *self.queue.front()?;
        if self.skipping {
            return self.skip();
        }
        if front.origin == Origin::Local {
            self.pop();
            return Some(Settled::Answer(front));
        }
        None
    }

    /// Takes off the next entry the server skips; at a Sync the skipping ends.
    fn skip(&mut self) -> Option<Settled> {
        let front = *self.queue.front()?;
        if front.request == Request::Sync {
            self.skipping = false;
            return None;
        }
        // Had a Sync in doubt ended the skipping, the server has acted on this.
        self.doubtful |= self.doubtful_syncs > 0;
        self.pop();
        Some(Settled::Skipped(front))
    }

    /// Checks off a message from the server. ReadyForQuery goes to [`ready`](Self::ready).
    ///
    /// # Errors
    /// [`Violation`] when it cannot be a reply to what was sent.
    #[inline]
    pub fn observe(&mut self, tag: BackendTag) -> Result<Observed, Violation> {
        match tag {
            BackendTag::ErrorResponse => return self.fail(),
            BackendTag::ParameterStatus | BackendTag::NotificationResponse => {
                return Ok(Observed { verdict: Verdict::Aside, closed: None });
            }
            BackendTag::NoticeResponse => return Ok(self.notice()),
            _ => {}
        }
        let front = self.current(tag)?;
        let closes = self.advance(front.request, tag)?;
        // No more is heard of the Syncs in doubt: they came before this.
        self.doubtful_syncs = 0;
        if closes {
            self.pop();
        }
        Ok(Observed { verdict: Verdict::of(front.origin), closed: closes.then_some(front) })
    }

    /// Bytes of the whole rows and row descriptions that `input`, received from the server,
    /// starts with, as far as they reply to the client's query. Each of them
    /// [`observe`](Self::observe) would forward, and nothing here would change by it.
    #[inline]
    pub fn leading_rows(&self, input: &[u8]) -> usize {
        let Some(front) = self.queue.front() else { return 0 };
        let failed = self.progress == Progress::Failed;
        if self.skipping || failed || self.copy != Copying::No || front.origin != Origin::Client {
            return 0;
        }
        let described = match front.request {
            Request::Query => true,
            Request::Execute => false,
            _ => return 0,
        };
        let (row, description) = (BackendTag::DataRow.byte(), BackendTag::RowDescription.byte());
        let mut rest = input;
        while let Some(&[tag, a, b, c, d]) = rest.first_chunk::<HEADER_LEN>() {
            let len = u32::from_be_bytes([a, b, c, d]) as usize;
            let fits = (4..rest.len()).contains(&len);
            if !fits || !(tag == row || described && tag == description) {
                break;
            }
            rest = &rest[1 + len..];
        }
        input.len() - rest.len()
    }

    /// Checks off a ReadyForQuery.
    ///
    /// # Errors
    /// [`Violation`] when none can come now.
    #[inline]
    pub fn ready(&mut self, status: TransactionStatus) -> Result<Observed, Violation> {
        match self.current(BackendTag::ReadyForQuery) {
            Ok(front) if self.ready_ends(front.request) => {
                self.status = status;
                self.pop();
                Ok(Observed { verdict: Verdict::of(front.origin), closed: Some(front) })
            }
            other => self.ready_of_none(status, other),
        }
    }

    /// Likewise when the next reply cannot be it.
    #[cold]
    fn ready_of_none(
        &mut self,
        status: TransactionStatus,
        current: Result<Entry, Violation>,
    ) -> Result<Observed, Violation> {
        match current {
            Err(Violation::Unsettled) => Err(Violation::Unsettled),
            _ if self.doubtful_syncs > 0 => {
                // One of the Syncs sent into a COPY that failed was read after the failure.
                self.doubtful_syncs -= 1;
                self.skipping = false;
                self.status = status;
                Ok(Observed { verdict: Verdict::Forward, closed: None })
            }
            _ if self.copy == Copying::Lost => Err(Violation::DuringCopy),
            Ok(Entry { request, .. }) => {
                Err(Violation::Unexpected { tag: BackendTag::ReadyForQuery, request })
            }
            Err(violation) => Err(violation),
        }
    }

    fn ready_ends(&self, request: Request) -> bool {
        let answered = request == Request::Sync || self.progress != Progress::Nothing;
        request.ends_with_ready() && answered && self.copy == Copying::No
    }

    /// The entry the next reply is for.
    #[inline]
    fn current(&mut self, tag: BackendTag) -> Result<Entry, Violation> {
        while self.skipping && self.skip().is_some() {}
        let front = *self.queue.front().ok_or(Violation::Unsolicited { tag })?;
        if front.origin == Origin::Local {
            return Err(Violation::Unsettled);
        }
        Ok(front)
    }

    fn notice(&self) -> Observed {
        let verdict = match self.queue.front() {
            Some(front) if !self.skipping => Verdict::of(front.origin),
            _ => Verdict::Aside,
        };
        Observed { verdict, closed: None }
    }

    /// Checks `tag` against what `request` may be answered with. True when that closes it.
    #[inline]
    fn advance(&mut self, request: Request, tag: BackendTag) -> Result<bool, Violation> {
        use BackendTag as T;
        use Request as R;
        let fresh = self.progress == Progress::Nothing;
        match (request, tag) {
            _ if self.progress == Progress::Failed => {}
            (_, T::CopyData | T::CopyDone) => return self.copy_out(request, tag),
            (R::Query | R::Execute, T::CommandComplete) if self.copy_is_over() => {
                self.copy = Copying::No;
                self.progress = Progress::Answered;
                return Ok(request == R::Execute);
            }
            _ if self.copy != Copying::No => {}
            (R::Query | R::Execute, T::DataRow) | (R::Query, T::RowDescription) => {
                return Ok(false);
            }
            (R::Query, T::EmptyQueryResponse) => {
                self.progress = Progress::Answered;
                return Ok(false);
            }
            (R::FunctionCall, T::FunctionCallResponse)
            | (R::DescribeStatement, T::ParameterDescription)
                if fresh =>
            {
                self.progress = Progress::Answered;
                return Ok(false);
            }
            (R::DescribeStatement, T::RowDescription | T::NoData) if !fresh => return Ok(true),
            (R::Parse, T::ParseComplete)
            | (R::Bind, T::BindComplete)
            | (R::Close, T::CloseComplete)
            | (R::DescribePortal, T::RowDescription | T::NoData)
            | (R::Execute, T::EmptyQueryResponse | T::PortalSuspended) => return Ok(true),
            (R::Query | R::Execute, T::CopyInResponse) => {
                self.copy = self.strike_copy_input(request);
                return Ok(false);
            }
            (R::Query | R::Execute, T::CopyOutResponse) => {
                self.copy = Copying::Out;
                return Ok(false);
            }
            (R::Query, T::CopyBothResponse) => {
                let Copying::In { done: client_done, .. } = self.strike_copy_input(request) else {
                    return Err(Violation::DuringCopy);
                };
                self.copy = Copying::Both { client_done, server_done: false };
                return Ok(false);
            }
            _ => {}
        }
        Err(Violation::Unexpected { tag, request })
    }

    /// CommandComplete comes when the data is through: for COPY FROM STDIN not before the client
    /// has ended it, otherwise behind CopyDone.
    #[inline]
    fn copy_is_over(&self) -> bool {
        matches!(self.copy, Copying::No | Copying::In { done: true, .. })
    }

    fn copy_out(&mut self, request: Request, tag: BackendTag) -> Result<bool, Violation> {
        self.copy = match (self.copy, tag) {
            (Copying::Out, BackendTag::CopyDone)
            | (Copying::Both { client_done: true, .. }, BackendTag::CopyDone) => Copying::No,
            (Copying::Both { client_done, .. }, BackendTag::CopyDone) => {
                Copying::Both { client_done, server_done: true }
            }
            (Copying::Out | Copying::Both { server_done: false, .. }, _) => self.copy,
            _ => return Err(Violation::Unexpected { tag, request }),
        };
        Ok(false)
    }

    /// Strikes off the entries behind the first that the server reads as part of the COPY it
    /// starts: Syncs, which it ignores, up to the mark of its end. Returns how that goes on.
    #[cold]
    fn strike_copy_input(&mut self, request: Request) -> Copying {
        let mut eaten = 0;
        let mut done = false;
        let mut astray = false;
        while let Some(next) = self.queue.get(1)
            && !done
        {
            match next.request {
                Request::Sync => eaten += 1,
                Request::CopyEnd => done = true,
                _ => {
                    astray = true;
                    break;
                }
            }
            self.queue.remove(1);
        }
        // What a struck Sync had closed is open again.
        let last = self
            .queue
            .iter()
            .rfind(|entry| entry.request != Request::CopyEnd && entry.origin != Origin::Local);
        self.unsynced = last.is_some_and(|entry| entry.request.is_extended());
        match astray {
            false => Copying::In { done, eaten },
            true if request.is_extended() => Copying::Astray { eaten },
            true => Copying::Lost,
        }
    }

    /// Checks off an ErrorResponse.
    fn fail(&mut self) -> Result<Observed, Violation> {
        let front = match self.current(BackendTag::ErrorResponse) {
            Ok(front) => front,
            Err(Violation::Unsolicited { .. }) => {
                // It answers nothing: the server is shutting down, or tired of waiting.
                self.doubtful = true;
                return Ok(Observed { verdict: Verdict::Aside, closed: None });
            }
            Err(violation) => return Err(violation),
        };
        (self.copy, self.doubtful_syncs) = match self.copy {
            Copying::In { eaten, .. } | Copying::Astray { eaten } => (Copying::No, eaten),
            Copying::Lost => (Copying::Lost, 0),
            _ => (Copying::No, 0),
        };
        let verdict =
            if front.origin == Origin::Pool { Verdict::Swallow } else { Verdict::Forward };
        if front.request.is_extended() {
            self.pop();
            self.skipping = true;
            return Ok(Observed { verdict, closed: Some(front) });
        }
        // A second error before ReadyForQuery is the last word of a server that gives up.
        self.doubtful |= self.progress == Progress::Failed;
        self.progress = Progress::Failed;
        Ok(Observed { verdict, closed: None })
    }
}
