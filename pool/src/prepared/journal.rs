//! Changes a server has not confirmed yet.

use std::{
    collections::VecDeque,
    sync::{Arc, Weak},
};

use bs9_wire::{ledger::Entry, ledger::Request, sqlstate::SqlState};
use rustc_hash::FxHashMap;

use super::statement::Statement;

/// What was changed when a message was read from the client.
#[derive(Debug)]
pub(crate) enum Change {
    /// Parse of a new name; with a number, it was sent.
    Named { name: Box<[u8]>, statement: Arc<Statement>, number: Option<u32> },
    /// Parse of a name that is in use: it is sent so that the server refuses it.
    Again { name: Box<[u8]>, statement: Arc<Statement>, number: u32 },
    /// Parse of the unnamed statement: what it was before, to the client and on the server.
    Unnamed { before: Option<Arc<Statement>>, on_server: Weak<Statement> },
    /// Something the pool refuses, sent as something the server cannot but refuse.
    Refused(Refusal),
    /// The pool's Parse of a statement the server lacked.
    Prepared { statement: Arc<Statement>, number: u32 },
    /// The pool's Parse, or Close, of the unnamed statement.
    UnnamedPrepared { on_server: Weak<Statement> },
    /// The client's Close of a name.
    Closed { name: Box<[u8]>, statement: Arc<Statement> },
    /// Execute of the client's `DEALLOCATE` of a name.
    Forgotten { name: Box<[u8]>, statement: Arc<Statement> },
    /// Execute of the client's `DEALLOCATE` of a name that is not in use any more, or Close of one.
    Unknown { name: Box<[u8]> },
    /// Execute of `DEALLOCATE ALL` or the like: what the client had named, and what the server had.
    ForgottenAll { named: FxHashMap<Box<[u8]>, Arc<Statement>>, numbers: Vec<u32> },
    /// The client's Close of the unnamed statement, or of nothing.
    ClosedUnnamed { before: Option<Arc<Statement>> },
    /// The pool's Close of a statement.
    Evicted { number: u32 },
}

/// Why the pool refuses a Parse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) sqlstate: SqlState,
    pub(crate) message: &'static str,
    pub(crate) hint: Option<&'static str>,
}

#[derive(Debug)]
struct Record {
    id: u32,
    change: Change,
}

/// Records in the order of the ledger's entries that carry their ids.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    records: VecDeque<Record>,
    last: u32,
    /// Records of batches whose end was sent.
    sealed: usize,
}

/// The record an entry of the ledger carries.
pub(crate) fn record_of(entry: &Entry) -> Option<u32> {
    let carries = matches!(entry.request, Request::Parse | Request::Close | Request::Execute);
    let carries = carries && entry.token != 0;
    carries.then_some(entry.token)
}

impl Journal {
    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Writes a change down; returns the id for the ledger's entry.
    pub(crate) fn push(&mut self, change: Change) -> u32 {
        self.last = self.last.checked_add(1).unwrap_or(1);
        self.records.push_back(Record { id: self.last, change });
        self.last
    }

    /// The batch so far was ended.
    pub(crate) fn seal(&mut self) {
        self.sealed = self.records.len();
    }

    /// Whether an earlier batch may still change something.
    pub(crate) fn is_open_before(&self) -> bool {
        self.sealed > 0
    }

    /// Takes the record at the front, when it is this one.
    pub(crate) fn take(&mut self, id: u32) -> Option<Change> {
        if self.records.front()?.id != id {
            return None;
        }
        self.pop_front()
    }

    fn pop_front(&mut self) -> Option<Change> {
        self.sealed = self.sealed.saturating_sub(1);
        self.records.pop_front().map(|record| record.change)
    }

    /// Takes every record up to and with this one, the latest first.
    pub(crate) fn take_back_to(&mut self, id: u32) -> Vec<Change> {
        let Some(at) = self.records.iter().position(|record| record.id == id) else {
            return Vec::new();
        };
        let mut taken: Vec<Change> = (0..=at).filter_map(|_| self.pop_front()).collect();
        taken.reverse();
        taken
    }

    /// Takes every record, the latest first.
    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = Change> + use<> {
        self.sealed = 0;
        std::mem::take(&mut self.records).into_iter().rev().map(|record| record.change)
    }

    /// The unnamed statement is gone, whatever becomes of what is open.
    pub(crate) fn drop_unnamed(&mut self) {
        for record in &mut self.records {
            match &mut record.change {
                Change::Unnamed { before, on_server } => {
                    *before = None;
                    *on_server = Weak::new();
                }
                Change::UnnamedPrepared { on_server } => *on_server = Weak::new(),
                Change::ClosedUnnamed { before } => *before = None,
                _ => {}
            }
        }
    }

    pub(crate) fn changes(&mut self) -> impl Iterator<Item = &mut Change> {
        self.records.iter_mut().map(|record| &mut record.change)
    }
}
