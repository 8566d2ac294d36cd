//! When a request is tried again: what a route allows, and what its cluster can afford.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use bs9_config::{Retries, RetryReason};

/// A route's `retries`, compiled.
#[derive(Debug, Clone)]
pub(crate) struct RetryPolicy {
    /// Tries after the first one.
    pub(crate) attempts: u32,
    /// Limit for one try, to the head of its response.
    pub(crate) per_try_timeout: Option<Duration>,
    /// Bytes of a body that are kept to be sent again.
    pub(crate) max_replay_bytes: usize,
    budget: f64,
    min_concurrent: usize,
    methods: Option<Box<[Arc<str>]>>,
    on_connect_failure: bool,
    on_reset: bool,
    on_timeout: bool,
    statuses: [bool; 3],
}

/// Why a try came to nothing, as far as trying again is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Setback {
    /// No connection: nothing was sent.
    Connect,
    /// The endpoint said that it has not looked at the request.
    Unseen,
    /// The connection ended before a byte of the response.
    Reset,
    /// The try took too long.
    Timeout,
    /// The endpoint answered with this status.
    Status(u16),
}

impl RetryPolicy {
    pub(crate) fn new(retries: &Retries) -> Self {
        let on = |reason| retries.on.contains(&reason);
        Self {
            attempts: retries.attempts,
            per_try_timeout: retries.per_try_timeout,
            max_replay_bytes: retries.max_replay_bytes,
            budget: retries.budget,
            min_concurrent: retries.min_concurrent,
            methods: retries.methods.as_deref().map(Into::into),
            on_connect_failure: on(RetryReason::ConnectFailure),
            on_reset: on(RetryReason::Reset),
            on_timeout: on(RetryReason::Timeout),
            statuses: [502, 503, 504].map(|status| on(RetryReason::Status(status))),
        }
    }

    /// Whether a request of this method may be sent twice.
    pub(crate) fn allows(&self, method: &str) -> bool {
        match &self.methods {
            None => is_idempotent(method),
            Some(methods) => methods.iter().any(|allowed| **allowed == *method),
        }
    }

    /// Whether this is a reason to try again.
    pub(crate) fn covers(&self, setback: Setback) -> bool {
        match setback {
            Setback::Connect | Setback::Unseen => self.on_connect_failure,
            Setback::Reset => self.on_reset,
            Setback::Timeout => self.on_timeout,
            Setback::Status(status @ 502..=504) => self.statuses[usize::from(status - 502)],
            Setback::Status(_) => false,
        }
    }
}

/// Methods of which a repetition does nothing more (RFC 9110 section 9.2.2).
fn is_idempotent(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE")
}

/// The retries of a cluster under way, over all shards.
#[derive(Debug, Default)]
pub(crate) struct RetryBudget {
    under_way: AtomicUsize,
    /// One more than how many there might be when one was last asked for; 0: none was.
    allowed: AtomicUsize,
    made: AtomicUsize,
    refused: AtomicUsize,
}

impl RetryBudget {
    /// Takes one retry out of the budget while `active` requests are in flight; given back
    /// when dropped.
    pub(crate) fn spend(budget: &Arc<Self>, policy: &RetryPolicy, active: u64) -> Option<Spent> {
        let share = (active as f64 * policy.budget) as usize;
        let most = share.max(policy.min_concurrent);
        budget.allowed.store(most.saturating_add(1), Relaxed);
        if budget.under_way.fetch_add(1, Relaxed) >= most {
            budget.under_way.fetch_sub(1, Relaxed);
            budget.refused.fetch_add(1, Relaxed);
            return None;
        }
        Some(Spent(Arc::clone(budget)))
    }

    /// Retries under way.
    pub(crate) fn under_way(&self) -> u64 {
        self.under_way.load(Relaxed) as u64
    }

    /// How many there might be when one was last asked for; `None`: none was.
    pub(crate) fn allowed(&self) -> Option<u64> {
        self.allowed.load(Relaxed).checked_sub(1).map(|most| most as u64)
    }

    /// Counts a retry that is made.
    pub(crate) fn count(&self) {
        self.made.fetch_add(1, Relaxed);
    }

    /// Retries made.
    pub(crate) fn made(&self) -> u64 {
        self.made.load(Relaxed) as u64
    }

    /// Retries that the budget did not allow.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Relaxed) as u64
    }
}

/// A retry under way.
#[derive(Debug)]
pub(crate) struct Spent(Arc<RetryBudget>);

impl Drop for Spent {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(budget: f64, min_concurrent: usize) -> RetryPolicy {
        RetryPolicy::new(&Retries {
            attempts: 2,
            budget,
            min_concurrent,
            on: vec![RetryReason::Reset, RetryReason::Status(503)],
            methods: None,
            per_try_timeout: None,
            max_replay_bytes: 0,
        })
    }

    #[test]
    fn a_budget_is_a_share_with_a_minimum_and_comes_back() {
        let budget = Arc::new(RetryBudget::default());
        let policy = policy(0.2, 1);
        let first = RetryBudget::spend(&budget, &policy, 0).expect("the minimum");
        assert!(RetryBudget::spend(&budget, &policy, 9).is_none());
        let second = RetryBudget::spend(&budget, &policy, 10).expect("a fifth of ten is two");
        assert!(RetryBudget::spend(&budget, &policy, 10).is_none());
        drop((first, second));
        assert!(RetryBudget::spend(&budget, &policy, 0).is_some());
        assert_eq!((budget.made(), budget.refused()), (0, 2));
        assert_eq!((budget.under_way(), budget.allowed()), (0, Some(1)));
    }

    #[test]
    fn no_budget_is_no_retry() {
        let budget = Arc::new(RetryBudget::default());
        assert!(RetryBudget::spend(&budget, &policy(0.0, 0), 1_000).is_none());
    }

    #[test]
    fn only_what_is_named_is_a_reason() {
        let policy = policy(0.2, 3);
        assert!(policy.covers(Setback::Reset) && policy.covers(Setback::Status(503)));
        for setback in
            [Setback::Connect, Setback::Timeout, Setback::Status(502), Setback::Status(500)]
        {
            assert!(!policy.covers(setback), "{setback:?}");
        }
    }

    #[test]
    fn methods_are_those_named_or_the_idempotent_ones() {
        let usual = policy(0.2, 3);
        assert!(usual.allows("PUT") && !usual.allows("POST") && !usual.allows("PATCH"));
        let named = RetryPolicy { methods: Some(vec!["POST".into()].into()), ..usual };
        assert!(named.allows("POST") && !named.allows("GET"));
    }
}
