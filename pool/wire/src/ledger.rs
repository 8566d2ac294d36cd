//! Which replies a server connection still owes, and to whom they go.
//!
//! The pool forwards a client's messages to a server without waiting for each reply, and puts
//! messages of its own in between. Whether the connection may then be given to another client
//! cannot be told from a ReadyForQuery alone: several may be under way. So every message sent is
//! entered here ([`Ledger::expect`]) and every message received is checked off
//! ([`Ledger::observe`], [`Ledger::ready`]). A reply nobody asked for is a [`Violation`], after
//! which the connection can only be closed; a connection is handed on only when
//! [`Ledger::condition`] is [`Condition::Clean`].
//!
//! # What the server answers
//!
//! | sent | answered by | manual |
//! |---|---|---|
//! | Query | any of `T D C I`, COPY, `E`; then one `Z` | Simple Query |
//! | FunctionCall | `V` or `E`, then `Z` | Function Call |
//! | Parse, Bind, Close | `1`, `2`, `3` | Extended Query |
//! | Describe | (`t` for a statement, then) `T` or `n` | Extended Query |
//! | Execute | `D`s, then `C`, `I` or `s`; or COPY, then `C` | Extended Query |
//! | Sync | `Z`; `E` before it when the commit fails | Extended Query |
//! | Flush | nothing of its own | Extended Query |
//! | CopyData, CopyDone, CopyFail | nothing of their own | COPY Operations |
//!
//! `N`, `S` and `A` may come at any time (Asynchronous Operations).
//!
//! # Errors
//!
//! An `E` for Parse, Bind, Describe, Execute or Close makes the server ignore everything up to
//! the next Sync: also a Query or FunctionCall in between, which then gets no `Z` at all. An `E`
//! for Query, FunctionCall or Sync is followed by that message's `Z` and nothing is ignored.
//!
//! # COPY FROM STDIN
//!
//! From the message that starts it up to CopyDone or CopyFail, the server ignores Flush and
//! Sync. Clients that pipeline do send a Sync right behind the Execute, so Syncs already entered
//! are struck off when `G` arrives. CopyDone and CopyFail are entered as marks while something
//! is owed, because a client may send them before `G` is seen.
//!
//! When such a COPY fails half-way, it cannot be known whether the server read those Syncs
//! before it failed (and ignored them) or after (and answers each with a `Z`). The ledger
//! accepts both, and the connection is [`Condition::Doubtful`] until the server answers something
//! sent behind them: no more of their `Z` can come then. Who does not want to wait for that asks
//! something ([`Ledger::is_to_be_asked`]). But when the server may have acted on what the ledger
//! takes for skipped, replies could pass for each other, and it is never clean again. Late
//! CopyData, CopyDone and CopyFail are ignored by the server and owe nothing.
//!
//! Anything else that the server reads in the middle of the COPY makes it fail. Since PostgreSQL 14
//! the server hangs up then, having said why; before, it went on behind that message, which was
//! never answered. In a batch that is all the same: what is behind the message that failed is
//! skipped, whether it was read as part of the COPY or not. Of a Query, and where the client sent
//! it although `G` had come, only the server's last words are taken. Behind a ReadyForQuery a reply
//! could pass for another.
//!
//! # What the pool puts in
//!
//! Each entry has an [`Origin`]. Replies to the pool's own messages are swallowed. Messages the
//! pool answers itself, without sending them ([`Ledger::answer`]), wait in the queue for their
//! turn, so that a ParseComplete made up by the pool comes out exactly where the server's would;
//! [`Ledger::settle`] hands them out.
//!
//! # Use
//!
//! ```
//! use bs9_wire::ledger::{Ledger, Origin, Request, Verdict};
//! use bs9_wire::message::backend::TransactionStatus;
//! use bs9_wire::tag::BackendTag;
//!
//! let mut ledger = Ledger::new(1024);
//! // The pool runs a statement of its own, the client's query right behind it.
//! let _ = ledger.expect(Request::Query, Origin::Pool, 0)?;
//! let _ = ledger.expect(Request::Query, Origin::Client, 0)?;
//!
//! assert_eq!(ledger.observe(BackendTag::CommandComplete)?.verdict, Verdict::Swallow);
//! assert_eq!(ledger.ready(TransactionStatus::Idle)?.verdict, Verdict::Swallow);
//! assert!(!ledger.is_clean(), "idle, but one more ReadyForQuery is owed");
//! assert_eq!(ledger.observe(BackendTag::CommandComplete)?.verdict, Verdict::Forward);
//! assert_eq!(ledger.ready(TransactionStatus::Idle)?.verdict, Verdict::Forward);
//! assert!(ledger.is_clean());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod entry;
mod expect;
mod observe;

use std::collections::VecDeque;

pub use entry::{Entry, Origin, Request};
pub use expect::{Full, Placed, Refused};
pub use observe::{Observed, Settled, Verdict, Violation};

use crate::message::backend::TransactionStatus;

/// The replies one server connection owes. Starts after login, at its first ReadyForQuery.
#[derive(Debug, Clone)]
pub struct Ledger {
    queue: VecDeque<Entry>,
    limit: usize,
    /// How far the first entry has got.
    progress: Progress,
    status: TransactionStatus,
    copy: Copying,
    /// The server ignores what it reads, up to a Sync. Entries before that Sync are void.
    skipping: bool,
    /// Messages of an extended batch were sent and no Sync behind them: the server may have an
    /// implicit transaction open that no ReadyForQuery told of.
    unsynced: bool,
    /// Syncs that may or may not be answered yet (see "COPY FROM STDIN" above).
    doubtful_syncs: u32,
    /// What is still to come cannot be told for certain, or the server said goodbye, and nothing
    /// will mend that.
    doubtful: bool,
}

/// What the first entry has received so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// Nothing that ends a statement.
    Nothing,
    /// Query: a statement ended. FunctionCall: its result. Describe: the parameter types.
    Answered,
    /// An ErrorResponse: only the ReadyForQuery is missing.
    Failed,
}

/// COPY in progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Copying {
    No,
    /// From the client. `eaten` Syncs sent meanwhile are ignored by the server.
    In {
        done: bool,
        eaten: u32,
    },
    /// From the client, who has sent something else before its end: it can but fail.
    Astray {
        eaten: u32,
    },
    /// Likewise, and what comes behind its error cannot be told.
    Lost,
    /// To the client.
    Out,
    /// Both ways: streaming replication. Over when both sides have sent CopyDone.
    Both {
        client_done: bool,
        server_done: bool,
    },
}

/// What may be done with a server connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Condition {
    /// Every reply is in, and the server is outside a transaction: it may serve anyone.
    Clean,
    /// Every reply is in, and the server is inside a transaction block, open or failed. It
    /// belongs to its client; with the client gone, a ROLLBACK may be sent.
    InTransaction,
    /// Replies are owed, or a batch is open.
    Busy,
    /// Every reply that is certain to come is in, and the server is outside a transaction, but
    /// more may come or the server is about to close. The client may go, the connection must
    /// be closed.
    Doubtful,
}

// === impl Ledger ===

impl Ledger {
    /// A ledger for a connection that has just logged in. `limit` is the most entries it holds
    /// (8 bytes each); more cannot be pipelined before replies arrive.
    pub fn new(limit: usize) -> Self {
        Self {
            queue: VecDeque::new(),
            limit,
            progress: Progress::Nothing,
            status: TransactionStatus::Idle,
            copy: Copying::No,
            skipping: false,
            unsynced: false,
            doubtful_syncs: 0,
            doubtful: false,
        }
    }

    /// Forgets everything, for a new connection. The memory is kept.
    pub fn reset(&mut self) {
        let mut queue = std::mem::take(&mut self.queue);
        queue.clear();
        *self = Self { queue, ..Self::new(self.limit) };
    }

    /// The status of the last ReadyForQuery.
    #[inline]
    pub fn status(&self) -> TransactionStatus {
        self.status
    }

    /// How many entries are open.
    #[inline]
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether no entry is open. Less than clean: see [`condition`](Self::condition).
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// How many more entries fit. With none left, stop reading from the client until replies
    /// have come.
    #[inline]
    pub fn room(&self) -> usize {
        self.limit.saturating_sub(self.queue.len())
    }

    /// The entry the next reply belongs to.
    #[inline]
    pub fn front(&self) -> Option<&Entry> {
        self.queue.front()
    }

    /// Whether a ReadyForQuery is owed: what it will say of the transaction is not known yet.
    pub fn awaits_ready(&self) -> bool {
        self.queue.iter().any(|entry| entry.request.ends_with_ready())
    }

    /// Whether the server ignores whatever it is sent, until a Sync.
    #[inline]
    pub fn is_skipping(&self) -> bool {
        self.skipping
    }

    /// Whether the server waits for COPY data, and for CopyDone or CopyFail.
    #[inline]
    pub fn awaits_copy(&self) -> bool {
        matches!(
            self.copy,
            Copying::In { done: false, .. } | Copying::Both { client_done: false, .. }
        )
    }

    /// What may be done with the connection now.
    #[inline]
    pub fn condition(&self) -> Condition {
        let busy =
            !self.queue.is_empty() || self.skipping || self.unsynced || self.copy != Copying::No;
        if busy {
            Condition::Busy
        } else if self.status != TransactionStatus::Idle {
            Condition::InTransaction
        } else if self.doubtful || self.doubtful_syncs > 0 {
            Condition::Doubtful
        } else {
            Condition::Clean
        }
    }

    /// Whether the connection may serve anyone: [`Condition::Clean`].
    #[inline]
    pub fn is_clean(&self) -> bool {
        self.condition() == Condition::Clean
    }

    /// Whether it would be clean but for Syncs in doubt: the reply to any query sent now tells.
    #[inline]
    pub fn is_to_be_asked(&self) -> bool {
        self.doubtful_syncs > 0 && !self.doubtful && self.condition() == Condition::Doubtful
    }

    /// Takes the first entry off, and the marks behind it, which have lost their meaning.
    fn pop(&mut self) {
        self.queue.pop_front();
        self.progress = Progress::Nothing;
        while self.queue.front().is_some_and(|next| next.request == Request::CopyEnd) {
            self.queue.pop_front();
        }
    }
}

#[cfg(test)]
mod tests;
