//! How logins of clients ended, and lookups of users: counted over all shards, for they are rare.

use std::{
    array,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use bs9_wire::sqlstate::SqlState;
use rustc_hash::FxHashMap;

/// SQLSTATEs that are told apart: some are servers' own, which can come up with any.
const MAX_REASONS: usize = 64;

/// Since the process was started.
#[derive(Debug)]
pub(crate) struct LoginCounts {
    admitted: AtomicU64,
    /// `None`: any other reason.
    refused: Mutex<FxHashMap<Option<SqlState>, u64>>,
    lookups: [AtomicU64; LookupOutcome::ALL.len()],
}

/// What became of a question to a server, by `auth_query` or for roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LookupOutcome {
    Found,
    Unknown,
    Failed,
}

/// How logins ended since the process was started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoginReport {
    /// Clients that got in, to a pool or to the console.
    pub admitted: u64,
    /// Clients that were told why not, by SQLSTATE (five characters, or `other`), in that order.
    pub refused: Vec<(String, u64)>,
    /// Questions to servers about users, by outcome: `found`, `unknown`, `failed`.
    pub lookups: Vec<(&'static str, u64)>,
}

impl LookupOutcome {
    const ALL: [Self; 3] = [Self::Found, Self::Unknown, Self::Failed];

    fn name(self) -> &'static str {
        match self {
            Self::Found => "found",
            Self::Unknown => "unknown",
            Self::Failed => "failed",
        }
    }
}

impl Default for LoginCounts {
    fn default() -> Self {
        let lookups = array::from_fn(|_| AtomicU64::new(0));
        Self { admitted: AtomicU64::new(0), refused: Mutex::default(), lookups }
    }
}

impl LoginCounts {
    fn reasons(&self) -> MutexGuard<'_, FxHashMap<Option<SqlState>, u64>> {
        // Nothing panics while it is half changed.
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn count_admitted(&self) {
        self.admitted.fetch_add(1, Relaxed);
    }

    /// A client was told why it may not log in.
    pub(crate) fn count_refused(&self, why: SqlState) {
        let mut reasons = self.reasons();
        let known = reasons.len() < MAX_REASONS || reasons.contains_key(&Some(why));
        *reasons.entry(known.then_some(why)).or_default() += 1;
    }

    pub(crate) fn count_lookup(&self, outcome: LookupOutcome) {
        self.lookups[outcome as usize].fetch_add(1, Relaxed);
    }

    pub(crate) fn report(&self) -> LoginReport {
        let named = |(why, count): (&Option<SqlState>, &u64)| {
            (why.map_or_else(|| "other".to_owned(), |why| why.to_string()), *count)
        };
        let mut refused: Vec<_> = self.reasons().iter().map(named).collect();
        refused.sort_unstable();
        let lookups = LookupOutcome::ALL
            .map(|outcome| (outcome.name(), self.lookups[outcome as usize].load(Relaxed)));
        let admitted = self.admitted.load(Relaxed);
        LoginReport { admitted, refused, lookups: lookups.to_vec() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_counted_apart_up_to_a_limit() {
        let counts = LoginCounts::default();
        counts.count_refused(SqlState::INVALID_PASSWORD);
        for number in 0..MAX_REASONS {
            let text = format!("ZZ{number:03}");
            counts.count_refused(SqlState::parse(text.as_bytes()).unwrap());
        }
        counts.count_refused(SqlState::INVALID_PASSWORD);
        counts.count_lookup(LookupOutcome::Unknown);
        let report = counts.report();
        assert_eq!(report.refused.len(), MAX_REASONS + 1);
        assert_eq!(report.refused.first(), Some(&("28P01".to_owned(), 2)));
        assert_eq!(report.refused.last(), Some(&("other".to_owned(), 1)));
        assert_eq!(report.lookups, [("found", 0), ("unknown", 1), ("failed", 0)]);
    }
}
