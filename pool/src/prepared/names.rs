//! What one client means by its names.

use std::sync::{Arc, Weak};

use rustc_hash::FxHashMap;

use super::{
    cache::Cache,
    journal::{Change, Journal},
    stateful::Passing,
    statement::{Exhausted, Statement, StatementStore},
};
use crate::session::Effects;

/// Most bytes of names and texts that one client may have prepared.
pub(crate) const MAX_CLIENT_BYTES: usize = 64 << 20;
/// What a name costs beside its own bytes.
const NAME_COST: usize = 64;

/// The statements of one client. There is none for a client that has prepared nothing.
#[derive(Debug)]
pub(crate) struct Statements {
    named: FxHashMap<Box<[u8]>, Arc<Statement>>,
    /// The unnamed statement.
    pub(crate) unnamed: Option<Arc<Statement>>,
    /// What its texts did to the session since it got its server.
    pub(crate) effects: Option<Box<Effects>>,
    /// A long text that is on its way.
    pub(super) long: Option<Box<Passing>>,
    /// What was bound that forgets names when it is executed, the latest first.
    pub(super) bound: Vec<Bound>,
    /// The client listens by way of the shared connection.
    pub(crate) subscribed: bool,
    /// Changes that are not certain yet.
    pub(crate) journal: Journal,
    /// What is to be written in place of the message being looked at.
    pub(crate) scratch: Vec<u8>,
    /// Bytes of names and texts.
    held: usize,
    /// Bytes of names, counted in the store.
    charged: usize,
    store: Arc<StatementStore>,
}

/// A portal that forgets a name, or all.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) portal: Box<[u8]>,
    pub(super) name: Option<Box<[u8]>>,
}

impl Statements {
    pub(crate) fn new(store: &Arc<StatementStore>) -> Box<Self> {
        Box::new(Self {
            named: FxHashMap::default(),
            unnamed: None,
            effects: None,
            long: None,
            bound: Vec::new(),
            subscribed: false,
            journal: Journal::default(),
            scratch: Vec::new(),
            held: 0,
            charged: 0,
            store: Arc::clone(store),
        })
    }

    /// Whether texts may mean something else now than by the settings that are known.
    #[inline]
    pub(crate) fn is_unsettled(&self) -> bool {
        self.effects.as_ref().is_some_and(|effects| effects.unsettles)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.named.is_empty() && self.unnamed.is_none()
    }

    /// Whether changes are still to be confirmed.
    #[inline]
    pub(crate) fn awaits_replies(&self) -> bool {
        !self.journal.is_empty()
    }

    /// Whether the end of the transaction is not to be told before it is settled what the client
    /// listens to.
    #[inline]
    pub(crate) fn withholds_ready(&self) -> bool {
        self.effects.as_ref().is_some_and(|effects| effects.listens)
    }

    #[inline]
    pub(crate) fn get(&self, name: &[u8]) -> Option<&Arc<Statement>> {
        self.named.get(name)
    }

    /// Gives a name a meaning it had not.
    pub(crate) fn insert(
        &mut self,
        name: &[u8],
        statement: &Arc<Statement>,
    ) -> Result<(), Exhausted> {
        let cost = name.len() + NAME_COST;
        if self.held + cost + statement.body().len() > MAX_CLIENT_BYTES {
            return Err(Exhausted);
        }
        self.store.charge(cost)?;
        self.charged += cost;
        self.held += cost + statement.body().len();
        if let Some(before) = self.named.insert(name.into(), Arc::clone(statement)) {
            self.uncount(name, &before);
        }
        Ok(())
    }

    pub(crate) fn remove(&mut self, name: &[u8]) -> Option<Arc<Statement>> {
        let statement = self.named.remove(name)?;
        self.uncount(name, &statement);
        Some(statement)
    }

    fn uncount(&mut self, name: &[u8], statement: &Statement) {
        let cost = name.len() + NAME_COST;
        self.store.discharge(cost);
        self.charged -= cost;
        self.held -= cost + statement.body().len();
    }

    /// The same text, prepared anew, takes the place of `before` wherever it was meant.
    pub(crate) fn renew(&mut self, before: &Arc<Statement>, fresh: &Arc<Statement>) {
        for statement in self.named.values_mut() {
            if Arc::ptr_eq(statement, before) {
                *statement = Arc::clone(fresh);
            }
        }
    }

    /// The client's session is about to drop all that has a name.
    pub(super) fn hide_all(&mut self, cache: &mut Cache) -> Change {
        Change::ForgottenAll { named: std::mem::take(&mut self.named), numbers: cache.take_all() }
    }

    /// The client's session has dropped all that had a name. What was prepared since stays.
    pub(crate) fn forget(&mut self, cache: &mut Cache) {
        for (name, statement) in std::mem::take(&mut self.named) {
            self.uncount(&name, &statement);
        }
        let mut journal = std::mem::take(&mut self.journal);
        for change in journal.changes() {
            match change {
                // The name has become free: the server will take it.
                Change::Again { name, statement, number } if self.get(name).is_none() => {
                    let (name, statement) = (std::mem::take(name), Arc::clone(statement));
                    *change = Change::Named { name, statement, number: Some(*number) };
                }
                Change::Closed { name, .. } | Change::Forgotten { name, .. }
                    if self.remove(name).is_none() =>
                {
                    // There is nothing left to be taken back.
                    *change = Change::Unknown { name: std::mem::take(name) };
                }
                _ => {}
            }
            match change {
                Change::Named { name, statement, number } => {
                    if let Some(number) = number {
                        cache.put(statement, *number);
                    }
                    // It had room a moment ago.
                    let _room = self.insert(name, statement);
                }
                Change::Prepared { statement, number } => cache.put(statement, *number),
                Change::Evicted { number } => drop(cache.remove(*number)),
                Change::ForgottenAll { named, numbers } => {
                    let gone = std::mem::replace(named, std::mem::take(&mut self.named));
                    gone.iter().for_each(|(name, statement)| self.uncount(name, statement));
                    *numbers = cache.take_all();
                }
                _ => {}
            }
        }
        self.journal = journal;
    }

    // === What became of changes ===

    /// The server has done it, under the settings `context` stands for.
    pub(crate) fn done(&mut self, change: Change, cache: &mut Cache, context: &Arc<[u8]>) {
        match change {
            Change::Named { statement, number: Some(number), .. }
            | Change::Prepared { statement, number } => {
                // If settings changed on the way, it is not what others mean by this text.
                let meant = statement.is_own() || statement.is_of(context);
                cache.settle(number, meant);
            }
            Change::Again { name, statement, number, .. } => {
                // The server had lost the statement before; now it has another.
                cache.remove(number);
                cache.put(&statement, number);
                self.remove(&name);
                let _room = self.insert(&name, &statement);
            }
            Change::ForgottenAll { named, .. } => {
                named.iter().for_each(|(name, statement)| self.uncount(name, statement));
            }
            _ => {}
        }
    }

    /// The server has answered with an error.
    pub(crate) fn failed(&mut self, change: Change, cache: &mut Cache) {
        match change {
            // Whatever it was is dropped first.
            Change::Unnamed { .. } => {
                self.unnamed = None;
                cache.set_unnamed(Weak::new());
            }
            Change::UnnamedPrepared { .. } => drop(cache.set_unnamed(Weak::new())),
            other => self.undone(other, cache),
        }
    }

    /// The server never did it.
    pub(crate) fn undone(&mut self, change: Change, cache: &mut Cache) {
        match change {
            Change::Named { name, number, .. } => {
                self.remove(&name);
                if let Some(number) = number {
                    cache.remove(number);
                }
            }
            Change::Unnamed { before, on_server } => {
                self.unnamed = before;
                cache.set_unnamed(on_server);
            }
            Change::UnnamedPrepared { on_server } => drop(cache.set_unnamed(on_server)),
            Change::Prepared { number, .. } => drop(cache.remove(number)),
            Change::Closed { name, statement } | Change::Forgotten { name, statement } => {
                // It had room when it was closed.
                let _room = self.insert(&name, &statement);
            }
            Change::ForgottenAll { named, numbers } => {
                for (name, statement) in named {
                    if let Some(since) = self.named.insert(name.clone(), statement) {
                        self.uncount(&name, &since);
                    }
                }
                // What became of them meanwhile was not entered.
                numbers.into_iter().for_each(|number| cache.close_later(number));
            }
            Change::ClosedUnnamed { before } => self.unnamed = before,
            Change::Evicted { number } => cache.close_later(number),
            Change::Again { .. } | Change::Unknown { .. } | Change::Refused(_) => {}
        }
    }

    /// The server is gone, and nothing had been sent to it.
    pub(crate) fn rewind(&mut self) {
        self.long = None;
        self.bound.clear();
        let mut nowhere = Cache::default();
        let changes: Vec<Change> = self.journal.take_all().collect();
        for change in changes {
            self.undone(change, &mut nowhere);
        }
    }
}

impl Drop for Statements {
    fn drop(&mut self) {
        self.store.discharge(self.charged);
    }
}
