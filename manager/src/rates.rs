//! From counters to rates.

use std::collections::HashMap;

use bs9_api::types::{DataPlaneStatus, HttpListenerStatus, ListenerStatus, PoolStatus, Rates};

/// Whether both answers are of one process, so that its counters can be compared.
pub(crate) fn is_same_process(before: &DataPlaneStatus, after: &DataPlaneStatus) -> bool {
    before.pid == after.pid && before.started_at == after.started_at
}

/// Rates between two answers, by the data plane's own clock. `None` when they
/// are of different processes or no time passed between them.
///
/// Never negative: a listener or pool that is new, or was made anew and counts
/// from 0 again, did all it counts since the answer before; one that is gone
/// takes what it did meanwhile with it.
pub(crate) fn rates_between(before: &DataPlaneStatus, after: &DataPlaneStatus) -> Option<Rates> {
    let seconds = after.uptime_seconds - before.uptime_seconds;
    if !is_same_process(before, after) || !seconds.is_finite() || seconds <= 0.0 {
        return None;
    }
    let per_second = |count: u64| count as f64 / seconds;
    let http = Growth::of(&before.listeners, &after.listeners, |listener| &listener.name);
    let pools =
        Growth::of(&before.pools, &after.pools, |pool: &PoolStatus| (&pool.database, &pool.user));
    let shards = Growth::of(&before.shards, &after.shards, |shard| shard.shard);
    Some(Rates {
        requests_per_second: per_second(http.sum(|l| counts(l).map_or(0, |c| c.requests_total))),
        server_errors_per_second: per_second(
            http.sum(|l| counts(l).map_or(0, |c| c.responses_total[SERVER_ERRORS])),
        ),
        queries_per_second: per_second(pools.sum(|pool| pool.queries_total)),
        transactions_per_second: per_second(pools.sum(|pool| pool.transactions_total)),
        accepts_per_second: per_second(shards.sum(|shard| shard.accepted_connections_total)),
    })
}

/// Index of 5xx in [`HttpListenerStatus::responses_total`].
const SERVER_ERRORS: usize = 4;

fn counts(listener: &ListenerStatus) -> Option<&HttpListenerStatus> {
    listener.http.as_ref()
}

/// Things that count, each beside what it was before.
struct Growth<'a, T>(Vec<(Option<&'a T>, &'a T)>);

impl<'a, T> Growth<'a, T> {
    fn of<K: std::hash::Hash + Eq>(
        before: &'a [T],
        after: &'a [T],
        key: impl Fn(&'a T) -> K,
    ) -> Self {
        let known: HashMap<K, &T> = before.iter().map(|thing| (key(thing), thing)).collect();
        Self(after.iter().map(|thing| (known.get(&key(thing)).copied(), thing)).collect())
    }

    fn sum(&self, counter: impl Fn(&T) -> u64) -> u64 {
        self.0
            .iter()
            .map(|(before, after)| {
                let (before, after) = (before.map_or(0, &counter), counter(after));
                after.checked_sub(before).unwrap_or(after)
            })
            .fold(0, u64::saturating_add)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use bs9_api::types::{DataPlaneState, GenerationStatus, SCHEMA, ShardStatus};
    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// Of a process that started at second 0.
    pub(crate) fn status(pid: u32, uptime_seconds: f64) -> DataPlaneStatus {
        DataPlaneStatus {
            schema: SCHEMA,
            version: "0".to_owned(),
            pid,
            state: DataPlaneState::Serving,
            started_at: at(0),
            uptime_seconds,
            generation: GenerationStatus {
                generation: 1,
                since: at(0),
                sources: Vec::new(),
                unsaved_changes: Vec::new(),
                last_failure: None,
                stale_certificates: Vec::new(),
            },
            shards: Vec::new(),
            listeners: Vec::new(),
            clusters: Vec::new(),
            pools: Vec::new(),
        }
    }

    fn listener(name: &str, requests_total: u64, errors: u64) -> ListenerStatus {
        ListenerStatus {
            name: name.to_owned(),
            protocol: "http".to_owned(),
            addresses: Vec::new(),
            open_connections: 0,
            accepted_connections_total: 0,
            refused_connections_total: 0,
            tls: None,
            http: Some(HttpListenerStatus {
                requests_total,
                responses_total: [0, 0, 0, 0, errors],
                ..HttpListenerStatus::default()
            }),
        }
    }

    fn pool(user: &str, queries_total: u64) -> PoolStatus {
        PoolStatus {
            user: user.to_owned(),
            queries_total,
            transactions_total: queries_total / 2,
            ..PoolStatus::default()
        }
    }

    fn shard(shard: usize, accepted_connections_total: u64) -> ShardStatus {
        ShardStatus { shard, accepted_connections_total, ..ShardStatus::default() }
    }

    #[test]
    fn counters_become_rates() {
        let mut before = status(1, 10.0);
        before.listeners = vec![listener("a", 100, 1), listener("gone", 1000, 0)];
        before.pools = vec![pool("x", 10)];
        before.shards = vec![shard(0, 5), shard(1, 6)];
        let mut after = status(1, 12.0);
        after.listeners = vec![listener("a", 120, 3), listener("new", 6, 0)];
        after.pools = vec![pool("x", 30)];
        after.shards = vec![shard(0, 6), shard(1, 9)];
        let expected = Rates {
            requests_per_second: 13.0,
            server_errors_per_second: 1.0,
            queries_per_second: 10.0,
            transactions_per_second: 5.0,
            accepts_per_second: 2.0,
        };
        assert_eq!(rates_between(&before, &after), Some(expected));
    }

    #[test]
    fn a_counter_that_starts_anew_counts_from_zero() {
        let mut before = status(1, 10.0);
        before.pools = vec![pool("x", 1_000_000)];
        let mut after = status(1, 11.0);
        after.pools = vec![pool("x", 4)];
        assert_eq!(rates_between(&before, &after).unwrap().queries_per_second, 4.0);
    }

    #[test]
    fn no_rates_across_processes_or_without_time() {
        let before = status(1, 10.0);
        let mut later_start = status(1, 11.0);
        later_start.started_at = at(9);
        let others = [
            status(2, 11.0),
            later_start,
            status(1, 10.0),
            status(1, 9.0),
            status(1, f64::NAN),
            status(1, f64::INFINITY),
        ];
        for after in others {
            assert_eq!(rates_between(&before, &after), None, "{after:?}");
        }
    }

    fn any_status() -> impl Strategy<Value = DataPlaneStatus> {
        let listeners = prop::collection::vec((0..4_u8, any::<u64>(), any::<u64>()), 0..5);
        let pools = prop::collection::vec((0..4_u8, any::<u64>()), 0..5);
        let shards = prop::collection::vec(any::<u64>(), 0..4);
        (1..3_u32, 0.0..1e9_f64, listeners, pools, shards).prop_map(
            |(pid, uptime, listeners, pools, shards)| {
                let mut status = status(pid, uptime);
                status.listeners = listeners
                    .into_iter()
                    .map(|(name, requests, errors)| listener(&name.to_string(), requests, errors))
                    .collect();
                status.pools =
                    pools.into_iter().map(|(user, n)| pool(&user.to_string(), n)).collect();
                status.shards = shards.into_iter().enumerate().map(|(i, n)| shard(i, n)).collect();
                status
            },
        )
    }

    proptest! {
        #[test]
        fn rates_are_never_negative(before in any_status(), after in any_status()) {
            if let Some(rates) = rates_between(&before, &after) {
                for rate in [
                    rates.requests_per_second,
                    rates.server_errors_per_second,
                    rates.queries_per_second,
                    rates.transactions_per_second,
                    rates.accepts_per_second,
                ] {
                    prop_assert!(rate >= 0.0 && rate.is_finite(), "{}", rate);
                }
            }
        }
    }
}
