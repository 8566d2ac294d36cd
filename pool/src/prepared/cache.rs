//! What one server connection has prepared.

use std::sync::{Arc, Weak};

use rustc_hash::FxHashMap;

use super::statement::Statement;

/// The statements of one server connection; the one used longest ago goes first.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    /// By the address of the statement, which lives as long as its slot.
    slots: FxHashMap<usize, Slot>,
    /// Counts uses.
    clock: u64,
    /// The number given last.
    last: u32,
    /// Statements that are there and of no more use.
    closing: Vec<u32>,
    /// Whose statement the unnamed one is. Dangling: not known, or none.
    unnamed: Weak<Statement>,
    /// Definitions were changed, which a ROLLBACK may take back.
    pub(super) altered: bool,
}

#[derive(Debug)]
struct Slot {
    statement: Arc<Statement>,
    number: u32,
    used: u64,
}

fn address(statement: &Arc<Statement>) -> usize {
    Arc::as_ptr(statement).addr()
}

impl Cache {
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The number of a statement that is about to be used.
    #[inline]
    pub(crate) fn use_one(&mut self, statement: &Arc<Statement>) -> Option<u32> {
        self.clock += 1;
        let slot = self.slots.get_mut(&address(statement))?;
        slot.used = self.clock;
        Some(slot.number)
    }

    /// A number nothing has had before.
    pub(crate) fn number(&mut self) -> u32 {
        self.last = self.last.checked_add(1).unwrap_or(1);
        self.last
    }

    /// Enters a statement that is being prepared. One it takes the place of is to be closed.
    pub(crate) fn put(&mut self, statement: &Arc<Statement>, number: u32) {
        self.clock += 1;
        let slot = Slot { statement: Arc::clone(statement), number, used: self.clock };
        if let Some(before) = self.slots.insert(address(statement), slot) {
            self.closing.push(before.number);
        }
    }

    /// Takes out the statement used longest ago.
    pub(crate) fn evict(&mut self) -> Option<u32> {
        let oldest = self.slots.iter().min_by_key(|(_, slot)| slot.used).map(|(key, _)| *key)?;
        self.slots.remove(&oldest).map(|slot| slot.number)
    }

    /// Takes out a statement, by its number.
    pub(crate) fn remove(&mut self, number: u32) -> Option<Arc<Statement>> {
        let found = self.slots.iter().find(|(_, slot)| slot.number == number);
        let key = found.map(|(key, _)| *key)?;
        self.slots.remove(&key).map(|slot| slot.statement)
    }

    /// A statement has been prepared; if that is not what was `meant`, it is of no use.
    pub(crate) fn settle(&mut self, number: u32, meant: bool) {
        if !meant && self.remove(number).is_some() {
            self.close_later(number);
        }
    }

    /// A statement that is there has to be closed when there is an occasion.
    pub(crate) fn close_later(&mut self, number: u32) {
        self.closing.push(number);
    }

    pub(crate) fn next_to_close(&mut self) -> Option<u32> {
        self.closing.pop()
    }

    /// The server has dropped all that had a name.
    pub(crate) fn forget(&mut self) {
        self.slots.clear();
        self.closing.clear();
    }

    /// The server is about to drop all that has a name. Returns what that is, should it not.
    pub(crate) fn take_all(&mut self) -> Vec<u32> {
        self.slots.drain().map(|(_, slot)| slot.number).collect()
    }

    /// The server did not know a statement that was believed to be there: SQL that nobody saw has
    /// dropped it, and others maybe. What is used from now on is prepared again; what is there after
    /// all is closed when there is an occasion.
    pub(crate) fn distrust(&mut self, number: u32) {
        if self.remove(number).is_some() {
            self.closing.extend(self.slots.drain().map(|(_, slot)| slot.number));
        }
    }

    // === The unnamed statement ===

    pub(crate) fn unnamed_is(&self, statement: &Arc<Statement>) -> bool {
        std::ptr::eq(self.unnamed.as_ptr(), Arc::as_ptr(statement))
    }

    /// Says whose it is from now on, and returns whose it was.
    pub(crate) fn set_unnamed(&mut self, unnamed: Weak<Statement>) -> Weak<Statement> {
        std::mem::replace(&mut self.unnamed, unnamed)
    }

    /// It is gone, or nobody's.
    #[inline]
    pub(crate) fn drop_unnamed(&mut self) {
        if self.unnamed.strong_count() > 0 {
            self.unnamed = Weak::new();
        }
    }
}
