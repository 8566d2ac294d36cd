//! Entering what is sent.

use super::{Copying, Entry, Ledger, Origin, Request};

/// What became of a message that was entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[must_use]
pub enum Placed {
    /// A reply is owed.
    Owed,
    /// The message has no reply of its own. It still has to be sent.
    Silent,
    /// The server ignores the message, for it is skipping to the next Sync: it need not be sent,
    /// and what it asked for does not happen.
    Skipped,
}

/// The ledger holds as many entries as it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{limit} replies are owed already, more may not be pipelined")]
pub struct Full {
    /// The limit.
    pub limit: usize,
}

/// Why a message may not be sent now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Too much is pipelined.
    #[error(transparent)]
    Full(#[from] Full),
    /// The server waits for COPY data. Only the client may break that off.
    #[error("{request:?} sent in the middle of COPY")]
    DuringCopy {
        /// The message.
        request: Request,
    },
}

impl Ledger {
    /// Enters a message that is sent to the server, in the order it is sent.
    ///
    /// # Errors
    /// [`Refused`] when it may not be sent now. Nothing is entered then.
    #[inline]
    pub fn expect(
        &mut self,
        request: Request,
        origin: Origin,
        token: u32,
    ) -> Result<Placed, Refused> {
        match request {
            Request::Flush | Request::CopyData => return Ok(Placed::Silent),
            Request::CopyEnd => return self.end_copy(origin),
            _ => {}
        }
        let entry = Entry { request, origin, token };
        if let Copying::In { done: false, .. } = self.copy {
            return self.expect_amid_copy(entry);
        }
        // With entries left, the Sync that ends the skipping may be among them: not known yet.
        if self.skipping && self.queue.is_empty() {
            return self.expect_amid_skipped(entry);
        }
        self.push(entry)?;
        self.unsynced = request.is_extended();
        Ok(Placed::Owed)
    }

    #[cold]
    fn expect_amid_copy(&mut self, entry: Entry) -> Result<Placed, Refused> {
        if let Copying::In { eaten, .. } = &mut self.copy
            && entry.request == Request::Sync
        {
            *eaten = eaten.saturating_add(1);
            return Ok(Placed::Silent);
        }
        if entry.origin != Origin::Client {
            return Err(Refused::DuringCopy { request: entry.request });
        }
        self.push(entry)?;
        self.copy = Copying::Lost;
        Ok(Placed::Owed)
    }

    #[cold]
    fn expect_amid_skipped(&mut self, entry: Entry) -> Result<Placed, Refused> {
        if entry.request != Request::Sync {
            self.unsynced |= entry.request.is_extended();
            self.doubtful |= self.doubtful_syncs > 0;
            return Ok(Placed::Skipped);
        }
        self.push(entry)?;
        self.skipping = false;
        self.unsynced = false;
        Ok(Placed::Owed)
    }

    /// Enters a message of the client that is *not* sent: the pool answers it when
    /// [`settle`](Self::settle) says it is its turn. Only for messages of an extended batch,
    /// such as a Parse of a statement the server has.
    ///
    /// # Errors
    /// [`Refused`] as for [`expect`](Self::expect).
    pub fn answer(&mut self, request: Request, token: u32) -> Result<Placed, Refused> {
        debug_assert!(request.is_extended(), "{request:?} cannot be answered by the pool");
        if let Copying::In { done: false, .. } = self.copy {
            return Err(Refused::DuringCopy { request });
        }
        if self.skipping && self.queue.is_empty() {
            self.doubtful |= self.doubtful_syncs > 0;
            return Ok(Placed::Skipped);
        }
        self.push(Entry { request, origin: Origin::Local, token })?;
        Ok(Placed::Owed)
    }

    /// CopyDone or CopyFail: ends the COPY under way, or marks the end of one that a message
    /// already sent may turn out to start.
    fn end_copy(&mut self, origin: Origin) -> Result<Placed, Refused> {
        match &mut self.copy {
            Copying::In { done: done @ false, .. } => *done = true,
            Copying::Both { client_done: true, .. } => {}
            Copying::Both { server_done: true, .. } => self.copy = Copying::No,
            Copying::Both { client_done, .. } => *client_done = true,
            _ if self.queue.is_empty() => {}
            _ => self.push(Entry { request: Request::CopyEnd, origin, token: 0 })?,
        }
        Ok(Placed::Silent)
    }

    #[inline]
    fn push(&mut self, entry: Entry) -> Result<(), Full> {
        if self.queue.len() >= self.limit {
            return Err(Full { limit: self.limit });
        }
        self.queue.push_back(entry);
        Ok(())
    }
}
