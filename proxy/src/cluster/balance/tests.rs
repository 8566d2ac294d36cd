//! What each algorithm promises, on one shard and over several.

use std::sync::{Arc, atomic::Ordering::SeqCst};

use proptest::prelude::*;

use crate::cluster::{Cluster, Endpoint, Lease, ShardCluster, Tried, endpoint::Block};

const ALL: [&str; 8] = [
    "round-robin",
    "weighted-round-robin",
    "least-connections",
    "p2c",
    "peak-ewma",
    "random",
    "maglev",
    "ring-hash",
];

fn cluster(balance: &str, weights: &[u16], keys: &str, shards: usize) -> Arc<Cluster> {
    let endpoints: Vec<_> = weights
        .iter()
        .enumerate()
        .map(|(at, weight)| {
            format!("{{ address = \"127.0.0.1:{}\", weight = {weight} }}", 3000 + at)
        })
        .collect();
    let toml = format!(
        "[clusters.app]\nbalance = \"{balance}\"\n{keys}\nendpoints = [{}]\n",
        endpoints.join(", ")
    );
    let config = bs9_config::parse_str("test.toml", &toml).unwrap_or_else(|e| panic!("{e}"));
    Cluster::compile(&config.clusters["app"], None, None, shards)
}

fn endpoint(cluster: &Cluster, at: usize) -> &Endpoint {
    &cluster.members[at].endpoint
}

/// Picks so often on one shard, letting go at once.
fn tally(cluster: &Arc<Cluster>, picks: usize) -> Vec<usize> {
    let shard = ShardCluster::new(cluster, 0, None);
    let mut counts = vec![0; cluster.members.len()];
    for _ in 0..picks {
        counts[shard.lease(&Tried::default()).unwrap().member()] += 1;
    }
    counts
}

#[test]
fn round_robin_takes_turns_whatever_the_weights() {
    assert_eq!(tally(&cluster("round-robin", &[1, 5, 1], "", 1), 9), [3, 3, 3]);
}

#[test]
fn smooth_weights_are_exact_over_a_cycle_and_interleave() {
    let weighted = cluster("weighted-round-robin", &[5, 1, 1], "", 1);
    assert_eq!(tally(&weighted, 7), [5, 1, 1]);
    let shard = ShardCluster::new(&weighted, 0, None);
    let order: Vec<_> = (0..7).map(|_| shard.lease(&Tried::default()).unwrap().member()).collect();
    assert_eq!(order, [0, 0, 1, 0, 2, 0, 0]);
    // Too long to be written down: the same by other means.
    let long = cluster("weighted-round-robin", &[50_021, 10_007, 9_973], "", 1);
    let counts = tally(&long, 7_000);
    assert!(counts[0].abs_diff(5_001) <= 1 && counts[1].abs_diff(1_001) <= 1, "{counts:?}");
}

#[test]
fn random_follows_weights() {
    let counts = tally(&cluster("random", &[3, 1], "", 1), 40_000);
    assert!((29_000..31_000).contains(&counts[0]), "{counts:?}");
    let counts = tally(&cluster("random", &[1, 1], "", 1), 40_000);
    assert!((19_000..21_000).contains(&counts[0]), "{counts:?}");
}

#[test]
fn least_connections_respects_load_and_weight() {
    let loaded = cluster("least-connections", &[1, 1, 4], "", 1);
    endpoint(&loaded, 0).active.store(1, SeqCst);
    endpoint(&loaded, 2).active.store(3, SeqCst);
    // Loads after one more: 2/1, 1/1, 4/4: the last two are equal and take turns.
    assert_eq!(tally(&loaded, 10), [0, 5, 5]);
}

#[test]
fn two_choices_avoid_the_busy_one() {
    for balance in ["p2c", "peak-ewma"] {
        let loaded = cluster(balance, &[1, 1], "", 1);
        endpoint(&loaded, 0).active.store(100, SeqCst);
        let now = bs9_net::now();
        for at in 0..2 {
            endpoint(&loaded, at).latency.observe(std::time::Duration::from_millis(1), now);
        }
        assert_eq!(tally(&loaded, 10_000)[0], 0, "{balance}");
    }
}

#[test]
fn peak_ewma_prefers_the_fast_and_is_not_fooled_by_fast_failures() {
    let ewma = cluster("peak-ewma", &[1, 1, 1], "", 1);
    let shard = ShardCluster::new(&ewma, 0, None);
    // The first is slow; the second answers fast; the third fails even faster.
    let mut counts = [0; 3];
    for _ in 0..3_000 {
        let lease = shard.lease(&Tried::default()).unwrap();
        counts[lease.member()] += 1;
        match lease.member() {
            0 => lease.succeeded(std::time::Duration::from_millis(50)),
            1 => lease.succeeded(std::time::Duration::from_millis(5)),
            _ => lease.failed(std::time::Duration::from_micros(100)),
        }
    }
    assert!(counts[2] < 30, "{counts:?}");
    assert!(counts[1] > counts[0], "{counts:?}");
}

#[test]
fn an_endpoint_that_was_tried_is_not_picked_again() {
    for balance in ALL {
        let three = cluster(balance, &[1, 2, 3], "", 1);
        let shard = ShardCluster::new(&three, 0, None);
        let mut tried = Tried::default();
        for left in (1..=3).rev() {
            let lease = shard.lease(&tried).unwrap_or_else(|| panic!("{balance}: {left} left"));
            tried.add(lease.member());
        }
        assert!(shard.lease(&tried).is_none(), "{balance}");
    }
}

/// Requests over several shards, one after the other as `order` says, all finished at once.
fn spread(cluster: &Arc<Cluster>, shards: usize, order: &[u8]) -> Vec<usize> {
    let shards: Vec<_> = (0..shards).map(|at| ShardCluster::new(cluster, at, None)).collect();
    let mut counts = vec![0; cluster.members.len()];
    for shard in order {
        let shard = &shards[usize::from(*shard) % shards.len()];
        counts[shard.lease(&Tried::default()).unwrap().member()] += 1;
    }
    counts
}

proptest! {
    #[test]
    fn turns_are_within_one_request_per_shard_over_all_shards(
        count in 1_usize..9,
        shards in 1_usize..6,
        order in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        let even = cluster("round-robin", &vec![1; count], "", shards);
        let counts = spread(&even, shards, &order);
        let (most, least) = (counts.iter().max().unwrap(), counts.iter().min().unwrap());
        prop_assert!(most - least <= shards, "{counts:?} on {shards} shards");
    }

    #[test]
    fn weighted_turns_are_within_two_requests_per_shard_over_all_shards(
        weights in prop::collection::vec(1_u16..60, 1..9),
        shards in 1_usize..6,
        order in prop::collection::vec(any::<u8>(), 0..600),
    ) {
        let weighted = cluster("weighted-round-robin", &weights, "", shards);
        let counts = spread(&weighted, shards, &order);
        let total: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
        for (count, weight) in counts.iter().zip(&weights) {
            let wanted = order.len() as f64 * f64::from(*weight) / total;
            let error = (*count as f64 - wanted).abs();
            prop_assert!(error <= 2.0 * shards as f64, "{counts:?}, {weights:?}, {shards} shards");
        }
    }

    #[test]
    fn only_those_that_may_be_picked_are(
        states in prop::collection::vec((any::<bool>(), 0_u16..9, 0_usize..4), 1..9),
    ) {
        for balance in ALL {
            let weights: Vec<u16> = states.iter().map(|state| state.1).collect();
            let limited = cluster(balance, &weights, "max_connections = 3", 1);
            let shard = ShardCluster::new(&limited, 0, None);
            for (at, (up, _, active)) in states.iter().enumerate() {
                endpoint(&limited, at).active.store(*active, SeqCst);
                if !up {
                    endpoint(&limited, at).block(Block::Unhealthy);
                }
            }
            let may = |at: usize| states[at].0 && states[at].1 > 0 && states[at].2 < 3;
            for _ in 0..10 {
                match shard.lease(&Tried::default()) {
                    Some(lease) => prop_assert!(may(lease.member()), "{balance}"),
                    None => prop_assert!((0..states.len()).all(|at| !may(at)), "{balance}"),
                }
            }
        }
    }
}

/// Shards as threads: each holds what it picks until all have picked.
#[test]
fn least_connections_holds_over_shards_that_pick_at_once() {
    const SHARDS: usize = 4;
    const EACH: usize = 250;
    let weights = [1, 2, 2];
    let loaded = cluster("least-connections", &weights, "", SHARDS);
    let held = std::sync::Barrier::new(SHARDS + 1);
    let counts = std::thread::scope(|scope| {
        for at in 0..SHARDS {
            let (loaded, held) = (&loaded, &held);
            scope.spawn(move || {
                let shard = ShardCluster::new(loaded, at, None);
                let leases: Vec<Lease> =
                    (0..EACH).map(|_| shard.lease(&Tried::default()).unwrap()).collect();
                held.wait();
                held.wait();
                drop(leases);
            });
        }
        held.wait();
        let active = |at| endpoint(&loaded, at).active.load(SeqCst);
        let counts: Vec<usize> = (0..weights.len()).map(active).collect();
        held.wait();
        counts
    });
    let total = SHARDS * EACH;
    assert_eq!(counts.iter().sum::<usize>(), total);
    for (count, weight) in counts.iter().zip(weights) {
        let wanted = total * usize::from(weight) / 5;
        // One request per weight on a single shard, and one for each further shard.
        assert!(count.abs_diff(wanted) <= 2 + SHARDS, "{counts:?}");
    }
    assert!((0..3).all(|at| endpoint(&loaded, at).active.load(SeqCst) == 0));
}

/// A limit is never exceeded, however many shards pick at once.
#[test]
fn a_limit_holds_over_shards_that_pick_at_once() {
    const SHARDS: usize = 4;
    let limited = cluster("round-robin", &[1, 1], "max_connections = 10", SHARDS);
    let held = std::sync::Barrier::new(SHARDS);
    let taken: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..SHARDS)
            .map(|at| {
                let (limited, held) = (&limited, &held);
                scope.spawn(move || {
                    let shard = ShardCluster::new(limited, at, None);
                    let leases: Vec<Lease> =
                        (0..20).filter_map(|_| shard.lease(&Tried::default())).collect();
                    held.wait();
                    leases.len()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert!(taken <= 20, "{taken} at once, with two endpoints of 10");
    assert!(taken >= 20 - SHARDS, "{taken}: places were left unused");
}
