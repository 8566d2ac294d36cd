//! Endpoints that fail live traffic are taken out for a while, and let back by a probe.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use bs9_config::Outliers;
use bs9_net::CoarseInstant;

use super::{Cluster, Endpoint, endpoint::Block};

/// How often an endpoint was taken out.
#[derive(Debug, Default)]
pub(super) struct Ejections {
    total: AtomicU64,
    record: Mutex<Record>,
}

#[derive(Debug, Default)]
struct Record {
    /// Without a long good time in between.
    in_a_row: u32,
    /// When it was last let back.
    returned_at: Option<CoarseInstant>,
    /// While it is out: when it may be let back at the earliest.
    out_until: Option<SystemTime>,
}

impl Ejections {
    pub(super) fn total(&self) -> u64 {
        self.total.load(Relaxed)
    }

    /// Counts one more.
    fn count(&self, outliers: &Outliers, now: CoarseInstant) {
        self.total.fetch_add(1, Relaxed);
        let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        let fine = record.returned_at.is_some_and(|at| now.since(at) >= outliers.max_ejection_time);
        record.in_a_row = if fine { 1 } else { record.in_a_row.saturating_add(1) };
        record.out_until = SystemTime::now().checked_add(record.length(outliers));
    }

    /// How long it stays out this time.
    fn length(&self, outliers: &Outliers) -> Duration {
        self.record.lock().unwrap_or_else(PoisonError::into_inner).length(outliers)
    }

    /// While it is out: when it may be let back at the earliest.
    pub(super) fn out_until(&self) -> Option<SystemTime> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner).out_until
    }

    fn note_return(&self, now: CoarseInstant) {
        let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        record.returned_at = Some(now);
        record.out_until = None;
    }
}

impl Record {
    fn length(&self, outliers: &Outliers) -> Duration {
        let doublings = self.in_a_row.saturating_sub(1).min(30);
        outliers.ejection_time.saturating_mul(1 << doublings).min(outliers.max_ejection_time)
    }
}

impl Endpoint {
    /// It did what was asked of it.
    #[inline]
    pub(super) fn note_success(&self) {
        if self.failures_in_row.load(Relaxed) != 0 {
            self.failures_in_row.store(0, Relaxed);
        }
    }

    /// It failed: connecting, answering, or with a 5xx. Takes it out when that happened too
    /// often in a row and the cluster can do without it.
    #[cold]
    pub(super) fn note_failure(&self, cluster: &Cluster, outliers: &Outliers) {
        let in_row = self.failures_in_row.fetch_add(1, Relaxed).saturating_add(1);
        if in_row < outliers.consecutive_failures || self.is_blocked_by(Block::Ejected) {
            return;
        }
        let one_at_a_time = self.commons().ejecting();
        let members = &cluster.members;
        let out = members.iter().filter(|one| one.endpoint.is_blocked_by(Block::Ejected)).count();
        let most = ((members.len() as f64 * outliers.max_ejected) as usize).max(1);
        if out >= most || out + 1 >= members.len() || !self.block(Block::Ejected) {
            return;
        }
        drop(one_at_a_time);
        self.ejections.count(outliers, bs9_net::now());
        self.ejected.notify_one();
        tracing::warn!(
            cluster = &*cluster.config.name,
            endpoint = self.name(),
            failures = in_row,
            "an endpoint failed too often in a row: it is taken out, until a probe succeeds"
        );
    }

    /// Waits until it is taken out; gives how long it stays out at least.
    pub(super) async fn taken_out(&self, outliers: &Outliers) -> Duration {
        while !self.is_blocked_by(Block::Ejected) {
            self.ejected.notified().await;
        }
        self.ejections.length(outliers)
    }

    /// Lets it back, on probation: one more failure takes it out again.
    pub(super) fn let_back(&self, outliers: Option<&Outliers>) {
        let probation = outliers.map_or(0, |outliers| outliers.consecutive_failures - 1);
        self.failures_in_row.store(probation, Relaxed);
        if self.unblock(Block::Ejected) {
            self.ejections.note_return(bs9_net::refresh_clock());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTLIERS: Outliers = Outliers {
        consecutive_failures: 5,
        ejection_time: Duration::from_secs(10),
        max_ejection_time: Duration::from_secs(35),
        max_ejected: 0.5,
    };

    #[test]
    fn each_time_is_twice_as_long_up_to_the_limit_and_a_good_time_forgets() {
        let ejections = Ejections::default();
        let start = bs9_net::now();
        let mut lengths = Vec::new();
        for _ in 0..4 {
            ejections.count(&OUTLIERS, start);
            lengths.push(ejections.length(&OUTLIERS).as_secs());
            let until = ejections.out_until().unwrap();
            let left = until.duration_since(SystemTime::now()).unwrap_or_default();
            assert!(left <= ejections.length(&OUTLIERS));
            ejections.note_return(start);
            assert_eq!(ejections.out_until(), None);
        }
        assert_eq!(lengths, [10, 20, 35, 35]);
        ejections.count(&OUTLIERS, start.plus(Duration::from_secs(36)));
        assert_eq!(ejections.length(&OUTLIERS).as_secs(), 10);
        assert_eq!(ejections.total(), 5);
    }
}
