//! Statement texts, kept once however many clients and servers use them.

use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher as _,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

use rustc_hash::FxHashMap;

use super::deallocate;
use crate::{
    session::{self, Effects},
    settings,
};

/// Longest Parse message that is kept, bytes.
pub(crate) const MAX_STATEMENT_BYTES: usize = 4 << 20;
/// Most bytes that texts and names may take, over all pools.
pub(crate) const MAX_TOTAL_BYTES: usize = 256 << 20;

/// What a Parse said, without its name. Two clients mean the same statement when they hold the
/// same `Arc`.
#[derive(Debug)]
pub(crate) struct Statement {
    /// Settings the text is understood by: see `Settings::context`.
    context: Arc<[u8]>,
    /// Query and parameter types, as sent. Empty: too long to be kept.
    body: Box<[u8]>,
    /// Where the store has it; `None`: one client's alone.
    hash: Option<u64>,
    /// It changes what outlives its transaction.
    matters: bool,
    /// Its result has changed since it was prepared.
    stale: AtomicBool,
    /// The store's when it was named first.
    schema: u64,
    store: Arc<StatementStore>,
}

/// Every statement that is shared, and the bytes of all.
#[derive(Debug)]
pub(crate) struct StatementStore {
    /// Locked when a client names a statement, and when the last user of one lets go of it.
    shared: Mutex<FxHashMap<u64, Vec<Weak<Statement>>>>,
    hasher: RandomState,
    bytes: AtomicUsize,
    limit: usize,
    /// Counts definitions that were changed through the pool, wherever.
    schema: AtomicU64,
}

/// As many bytes are kept as may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exhausted;

// === impl Statement ===

impl Statement {
    /// Query and parameter types as they follow the name in a Parse.
    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }

    /// The text alone.
    pub(crate) fn query(&self) -> &[u8] {
        let end = self.body.iter().position(|byte| *byte == 0);
        &self.body[..end.unwrap_or(self.body.len())]
    }

    /// Whether it changes what outlives its transaction, such as what has been prepared.
    #[inline]
    pub(crate) fn matters(&self) -> bool {
        self.matters
    }

    /// Whether it can be prepared again.
    pub(crate) fn is_kept(&self) -> bool {
        !self.body.is_empty()
    }

    pub(crate) fn is_stale(&self) -> bool {
        self.stale.load(Relaxed)
    }

    /// Whoever prepares this text from now on gets a new statement.
    pub(crate) fn mark_stale(&self) {
        self.stale.store(true, Relaxed);
    }

    /// Whether it is one client's alone.
    pub(crate) fn is_own(&self) -> bool {
        self.hash.is_none()
    }

    /// Whether it was understood by these settings.
    pub(crate) fn is_of(&self, context: &Arc<[u8]>) -> bool {
        Arc::ptr_eq(&self.context, context) || self.context == *context
    }

    fn means(&self, context: &Arc<[u8]>, body: &[u8]) -> bool {
        *self.body == *body && self.is_of(context) && !self.is_stale()
    }
}

impl Drop for Statement {
    fn drop(&mut self) {
        self.store.discharge(self.body.len());
        let Some(hash) = self.hash else { return };
        let mut shared = self.store.lock();
        if let Some(known) = shared.get_mut(&hash) {
            known.retain(|one| !std::ptr::eq(one.as_ptr(), self));
            if known.is_empty() {
                shared.remove(&hash);
            }
        }
    }
}

// === impl StatementStore ===

impl StatementStore {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            shared: Mutex::default(),
            hasher: RandomState::new(),
            bytes: AtomicUsize::new(0),
            limit,
            schema: AtomicU64::new(0),
        })
    }

    fn lock(&self) -> MutexGuard<'_, FxHashMap<u64, Vec<Weak<Statement>>>> {
        // Nothing panics while the table is half changed.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts bytes as kept.
    pub(crate) fn charge(&self, bytes: usize) -> Result<(), Exhausted> {
        let room = |kept: usize| kept.checked_add(bytes).filter(|kept| *kept <= self.limit);
        self.bytes.fetch_update(Relaxed, Relaxed, room).map(drop).map_err(|_| Exhausted)
    }

    pub(crate) fn discharge(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Relaxed);
    }

    /// A table, a type or the like was created, altered or dropped. What a text meant before it
    /// may not mean any more: a server of its own would look again when it is told to prepare
    /// it, so whoever names it from now on shares with nobody who did so before.
    pub(crate) fn note_change_of_schema(&self) {
        self.schema.fetch_add(1, Relaxed);
    }

    /// The statement everyone shares.
    pub(crate) fn share(
        self: &Arc<Self>,
        context: &Arc<[u8]>,
        body: &[u8],
    ) -> Result<Arc<Statement>, Exhausted> {
        let hash = self.hasher.hash_one((&**context, body));
        // What turns out not to be meant is let go of behind the lock: that takes the lock, too.
        let mut passed = Vec::new();
        let mut shared = self.lock();
        let schema = self.schema.load(Relaxed);
        for known in shared.get(&hash).into_iter().flatten().filter_map(Weak::upgrade) {
            if known.schema == schema && known.means(context, body) {
                return Ok(known);
            }
            passed.push(known);
        }
        self.charge(body.len())?;
        let statement = Arc::new(self.statement(context, body, Some(hash)));
        shared.entry(hash).or_default().push(Arc::downgrade(&statement));
        drop(shared);
        Ok(statement)
    }

    /// The statement everyone shares, or this client's own where what is known of its settings may not
    /// be what the text is understood by.
    pub(crate) fn current(
        self: &Arc<Self>,
        unsettled: bool,
        context: &Arc<[u8]>,
        body: &[u8],
    ) -> Result<Arc<Statement>, Exhausted> {
        if unsettled { self.own(context, body) } else { self.share(context, body) }
    }

    /// A statement of one client.
    pub(crate) fn own(
        self: &Arc<Self>,
        context: &Arc<[u8]>,
        body: &[u8],
    ) -> Result<Arc<Statement>, Exhausted> {
        self.charge(body.len())?;
        Ok(Arc::new(self.statement(context, body, None)))
    }

    /// A statement of one client whose text is not kept.
    pub(crate) fn unkept(self: &Arc<Self>) -> Arc<Statement> {
        Arc::new(self.statement(&Arc::default(), &[], None))
    }

    fn statement(
        self: &Arc<Self>,
        context: &Arc<[u8]>,
        body: &[u8],
        hash: Option<u64>,
    ) -> Statement {
        let query = body.iter().position(|byte| *byte == 0).map_or(body, |end| &body[..end]);
        let start = &query[..query.len().min(session::TELLING_BYTES)];
        let matters = session::may_matter(query)
            && Effects::in_doubt(query, settings::quoting_of(context)).is_some()
            || deallocate::may_forget(start) && deallocate::forgets(query).is_some();
        Statement {
            context: Arc::clone(context),
            body: body.into(),
            hash,
            matters,
            stale: AtomicBool::new(false),
            schema: self.schema.load(Relaxed),
            store: Arc::clone(self),
        }
    }

    /// Bytes kept.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Relaxed)
    }

    /// Statements that are shared.
    #[cfg(test)]
    pub(crate) fn shared(&self) -> usize {
        self.lock().values().map(Vec::len).sum()
    }
}
