//! How long a client's queries and transactions take, and what happens when that is too long.

use std::{rc::Rc, time::Duration};

use bs9_net::CoarseInstant;

use super::{Client, End, Phase};
use crate::{cell::Cell, failure::LoginFailure, wait::Waits as _};

/// For a cancelled query to end before its client is disconnected.
const CANCEL_GRACE: Duration = Duration::from_secs(10);

/// When what the client does now began.
pub(super) struct Times {
    /// The transaction.
    began: CoarseInstant,
    /// The query that runs; when none does, the end of the last.
    asked: CoarseInstant,
    /// It was cancelled for running too long.
    cancelled: bool,
    /// The client was told that it waits.
    noticed: bool,
}

impl Times {
    pub(super) fn new() -> Self {
        let now = bs9_net::now();
        Self { began: now, asked: now, cancelled: false, noticed: false }
    }

    /// A query is about to be sent. `first`: it begins a transaction.
    #[inline]
    fn begin(&mut self, first: bool) {
        let now = bs9_net::now();
        self.asked = now;
        self.cancelled = false;
        if first {
            self.began = now;
        }
    }

    /// A ReadyForQuery for the client has arrived; `ended`: with no transaction open. Returns how
    /// long the query took, nanoseconds.
    #[inline]
    pub(super) fn ready(&mut self, cell: &Cell, ended: bool) -> u64 {
        let now = bs9_net::now();
        let took = now.nanoseconds().saturating_sub(self.asked.nanoseconds());
        cell.query_times.record_nanoseconds(took);
        bs9_net::answered(self.asked);
        self.asked = now;
        if ended {
            let transaction = now.nanoseconds().saturating_sub(self.began.nanoseconds());
            cell.transaction_times.record_nanoseconds(transaction);
            cell.transactions.increment();
            self.began = now;
        }
        took
    }
}

impl Client {
    /// Sets the timeout that goes with a phase that has just begun after `before`.
    #[inline]
    pub(super) fn set_timeout(&mut self, phase: Phase, before: Phase) {
        if phase == Phase::Busy {
            self.times.begin(before != Phase::IdleInTransaction);
            if !self.local.timed.get() {
                self.timer.clear();
                return;
            }
        }
        if phase == Phase::Waiting {
            self.times.noticed = false;
        }
        self.set_limit(phase);
    }

    fn set_limit(&self, phase: Phase) {
        let limit: Option<Duration> = self.local.with_plan(|plan| {
            let postgres = plan.postgres();
            let now = bs9_net::now();
            let left =
                |limit: Duration, since: CoarseInstant| limit.saturating_sub(now.since(since));
            let transaction = postgres.limits.transaction_timeout;
            let transaction = transaction.map(|limit| left(limit, self.times.began));
            let sooner = |one: Option<Duration>, other: Option<Duration>| match (one, other) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            };
            match phase {
                Phase::Login => Some(postgres.login_timeout),
                Phase::Idle => postgres.client_idle_timeout,
                Phase::IdleInTransaction => sooner(postgres.idle_transaction_timeout, transaction),
                Phase::Waiting if self.times.noticed => {
                    Some(left(postgres.wait_timeout, self.registered.waits_as().waiter().since()))
                }
                Phase::Waiting => sooner(Some(postgres.wait_timeout), postgres.limits.wait_notice),
                Phase::Busy if self.times.cancelled => {
                    let query = postgres.limits.query_timeout.unwrap_or_default() + CANCEL_GRACE;
                    sooner(Some(left(query, self.times.asked)), transaction)
                }
                Phase::Busy => {
                    let query = postgres.limits.query_timeout;
                    sooner(query.map(|limit| left(limit, self.times.asked)), transaction)
                }
            }
        });
        match limit {
            Some(limit) => self.timer.set(limit),
            None => self.timer.clear(),
        }
    }

    /// Why it has no server yet, as far as logins that failed are the reason.
    fn trouble(&self) -> Option<Rc<LoginFailure>> {
        self.local.trouble_of(self.registered.waits_as())
    }

    /// The time of a phase is up: why the client's connection ends, unless it goes on.
    pub(super) fn time_is_up(&mut self) -> Option<End> {
        let (began, asked) = (self.times.began, self.times.asked);
        let now = bs9_net::now();
        let over = |limit: Option<Duration>, since: CoarseInstant| {
            limit.is_some_and(|limit| now.since(since) >= limit)
        };
        let (transaction, query, wait) = self.local.with_plan(|plan| {
            let limits = &plan.postgres().limits;
            let transaction = over(limits.transaction_timeout, began);
            (transaction, over(limits.query_timeout, asked), plan.postgres().wait_timeout)
        });
        match self.phase {
            Phase::Login => return Some(End::LoginTimeout(self.trouble())),
            Phase::Idle => return Some(End::IdleTimeout),
            Phase::IdleInTransaction if transaction => return Some(End::TransactionTimeout),
            Phase::IdleInTransaction => return Some(End::IdleInTransaction),
            Phase::Waiting if now.since(self.registered.waits_as().waiter().since()) >= wait => {
                return Some(End::WaitTimeout(self.trouble()));
            }
            Phase::Waiting => {
                self.times.noticed = true;
                self.down.tell_of_the_wait(self.trouble().as_deref());
            }
            Phase::Busy if transaction => return Some(End::TransactionTimeout),
            Phase::Busy if query && self.times.cancelled => return Some(End::QueryTimeout),
            Phase::Busy if query => {
                tracing::warn!(pool = %self.local.name(), "a query has run for too long: cancelled");
                self.local.cell().query_timeouts.increment();
                self.times.cancelled = true;
                self.registered.cancel();
            }
            // One query has ended meanwhile and another begun.
            Phase::Busy => {}
        }
        self.set_limit(self.phase);
        None
    }
}
