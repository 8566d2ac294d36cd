//! How logins of clients ended: counted over all shards, for they are rare.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use bs9_api::types::CountByReason;
use bs9_wire::sqlstate::SqlState;
use rustc_hash::FxHashMap;

/// SQLSTATEs that are told apart: some are servers' own, which can come up with any.
const MAX_REASONS: usize = 64;

/// Since the process was started.
#[derive(Debug, Default)]
pub(crate) struct LoginCounts {
    admitted: AtomicU64,
    /// `None`: any other reason.
    refused: Mutex<FxHashMap<Option<SqlState>, u64>>,
}

/// How logins ended since the process was started.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LoginReport {
    /// Clients that got in, to a pool or to the console.
    pub admitted: u64,
    /// Clients that were told why not, by SQLSTATE (five characters, or `other`), in that order.
    pub refused: Vec<CountByReason>,
    /// Questions to servers about users, by outcome: `found`, `unknown`, `failed`.
    pub lookups: Vec<CountByReason>,
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

    pub(crate) fn admitted(&self) -> u64 {
        self.admitted.load(Relaxed)
    }

    pub(crate) fn refused(&self) -> Vec<CountByReason> {
        let told = |(why, count): (&Option<SqlState>, &u64)| CountByReason {
            reason: why.map_or_else(|| "other".to_owned(), |why| why.to_string()),
            count: *count,
        };
        let mut refused: Vec<_> = self.reasons().iter().map(told).collect();
        refused.sort_unstable_by(|one, other| one.reason.cmp(&other.reason));
        refused
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
        let refused = counts.refused();
        assert_eq!(refused.len(), MAX_REASONS + 1);
        let is = |count: Option<&CountByReason>, reason: &str, times: u64| {
            count.is_some_and(|count| (&*count.reason, count.count) == (reason, times))
        };
        assert!(is(refused.first(), "28P01", 2) && is(refused.last(), "other", 1), "{refused:?}");
    }
}
