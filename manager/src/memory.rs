//! Everything the manager remembers.

use std::time::Duration;

use bs9_api::types::{DataPlaneStatus, DataPlaneView, EndpointHealth, HistoryPoint};
use bs9_config::History as HistoryConfig;
use jiff::Timestamp;

use crate::{
    history::History,
    view::{Change, View},
};

/// What polls have left behind.
#[derive(Debug)]
pub(crate) struct Memory {
    pub(crate) started_at: Timestamp,
    pub(crate) view: View,
    pub(crate) history: History,
    pub(crate) counts: Counts,
}

/// What the manager counts about its own work.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) polls_answered: u64,
    pub(crate) polls_failed: u64,
    /// Times the data plane was another process than before.
    pub(crate) restarts: u64,
}

impl Memory {
    pub(crate) fn new(now: Timestamp, history: &HistoryConfig, poll_interval: Duration) -> Self {
        Self {
            started_at: now,
            view: View::new(now),
            history: History::new(history, poll_interval),
            counts: Counts::default(),
        }
    }

    /// Takes in the outcome of a poll and says what is new.
    pub(crate) fn note(
        &mut self,
        now: Timestamp,
        poll: Result<DataPlaneStatus, String>,
    ) -> Vec<Change> {
        match poll {
            Ok(_) => self.counts.polls_answered += 1,
            Err(_) => self.counts.polls_failed += 1,
        }
        let changes = self.view.note(now, poll);
        if changes.iter().any(|change| matches!(change, Change::Restarted { .. })) {
            self.counts.restarts += 1;
        }
        self.history.offer(point(now, self.view.shown()));
        changes
    }
}

fn point(at: Timestamp, view: &DataPlaneView) -> HistoryPoint {
    // The last answer of one that is gone says nothing about now.
    let status = view.status.as_ref().filter(|_| view.reachable);
    HistoryPoint {
        at,
        reachable: view.reachable,
        open_connections: status.map_or(0, open_connections),
        unhealthy_endpoints: status.map_or(0, unhealthy_endpoints),
        clients_waiting: status.map_or(0, clients_waiting),
        rates: view.rates.clone(),
    }
}

fn open_connections(status: &DataPlaneStatus) -> u64 {
    status.shards.iter().map(|shard| shard.open_connections).fold(0, u64::saturating_add)
}

fn unhealthy_endpoints(status: &DataPlaneStatus) -> u64 {
    let endpoints = status.clusters.iter().flat_map(|cluster| &cluster.endpoints);
    endpoints.filter(|endpoint| endpoint.health == EndpointHealth::Unhealthy).count() as u64
}

fn clients_waiting(status: &DataPlaneStatus) -> u64 {
    status.pools.iter().map(|pool| pool.clients_waiting).fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use bs9_api::types::{PoolStatus, ShardStatus};

    use super::*;
    use crate::rates::tests::{at, status};

    fn memory() -> Memory {
        let config = HistoryConfig {
            keep: Duration::from_secs(60),
            resolution: Duration::from_secs(1),
            store: None,
        };
        Memory::new(at(0), &config, Duration::from_secs(1))
    }

    fn busy(pid: u32, uptime_seconds: f64) -> DataPlaneStatus {
        let mut status = status(pid, uptime_seconds);
        let shard = |shard| ShardStatus { shard, open_connections: 4, ..ShardStatus::default() };
        status.shards = vec![shard(0), shard(1)];
        status.pools = vec![PoolStatus { clients_waiting: 3, ..PoolStatus::default() }];
        status
    }

    #[test]
    fn every_poll_is_counted_and_remembered() {
        let mut memory = memory();
        memory.note(at(1), Ok(busy(1, 1.0)));
        memory.note(at(2), Err("gone".to_owned()));
        memory.note(at(3), Ok(busy(2, 0.5)));
        assert_eq!(memory.counts, Counts { polls_answered: 2, polls_failed: 1, restarts: 1 });
        let points = memory.history.last(at(3), None);
        let seen: Vec<_> = points
            .iter()
            .map(|point| (point.reachable, point.open_connections, point.clients_waiting))
            .collect();
        assert_eq!(seen, [(true, 8, 3), (false, 0, 0), (true, 8, 3)]);
    }
}
