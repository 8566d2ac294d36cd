//! How traffic spreads over endpoints.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, mpsc},
};

use crate::{
    fixture::{Proxy, Site, eventually},
    origin::Origin,
    wire::{PATIENCE, get, ok},
};

fn named(names: &[&str]) -> Vec<Origin> {
    names.iter().map(|name| Origin::named(name)).collect()
}

/// Who answered how many of `count` requests, one after the other.
fn tally(proxy: &Proxy, count: usize) -> BTreeMap<String, usize> {
    let mut client = proxy.web();
    let mut tally = BTreeMap::new();
    for _ in 0..count {
        *tally.entry(client.get("/").text()).or_default() += 1;
    }
    tally
}

fn counts(tally: &BTreeMap<String, usize>) -> Vec<usize> {
    tally.values().copied().collect()
}

#[test]
fn round_robin_takes_turns() {
    let origins = named(&["a", "b", "c"]);
    let site = Site::of(origins.iter().map(Origin::address));
    let proxy = Site { cluster: "balance = \"round-robin\"", ..site }.start();
    assert_eq!(counts(&tally(&proxy, 30)), [10, 10, 10]);
}

#[test]
fn weights_are_exact_over_a_cycle_and_zero_takes_nothing() {
    let origins = named(&["a", "b", "c", "d"]);
    let weighted: Vec<_> = origins
        .iter()
        .zip([5, 1, 1, 0])
        .map(|(origin, weight)| {
            format!("{{ address = \"{}\", weight = {weight} }}", origin.address())
        })
        .collect();
    let toml = Site { cluster: "balance = \"weighted-round-robin\"", ..Site::default() }.toml();
    let toml = toml.replace("endpoints = []", &format!("endpoints = [{}]", weighted.join(", ")));
    assert_eq!(counts(&tally(&Proxy::start(&toml), 70)), [50, 10, 10]);
}

#[test]
fn least_connections_avoids_the_busy_one() {
    let (go_on, wait) = mpsc::channel::<()>();
    let wait = Arc::new(Mutex::new(wait));
    let origins = ["a", "b"].map(|name| {
        let wait = Arc::clone(&wait);
        Origin::answering(move |request| {
            if request.target() == "/slow" {
                wait.lock().unwrap().recv_timeout(PATIENCE).unwrap();
            }
            ok(name)
        })
    });
    let site = Site::of(origins.iter().map(Origin::address));
    let proxy = Site { cluster: "balance = \"least-connections\"", ..site }.start();
    for _ in 0..4 {
        let before: usize = origins.iter().map(|origin| origin.requests().len()).sum();
        let mut slow = proxy.web();
        slow.send(get("/slow"));
        eventually("the request is under way", || {
            origins.iter().map(|origin| origin.requests().len()).sum::<usize>() > before
        });
        let free = tally(&proxy, 10);
        assert_eq!(counts(&free), [10], "{free:?}");
        go_on.send(()).unwrap();
        let busy = slow.response().text();
        assert!(!free.contains_key(&busy), "{busy} was busy: {free:?}");
    }
}

#[test]
fn the_random_ones_use_every_endpoint() {
    let origins = named(&["a", "b", "c"]);
    for balance in ["balance = \"random\"", "balance = \"p2c\""] {
        let site = Site::of(origins.iter().map(Origin::address));
        let proxy = Site { cluster: balance, ..site }.start();
        let tally = tally(&proxy, 300);
        assert_eq!(tally.len(), 3, "{balance}: {tally:?}");
        assert!(tally.values().all(|count| *count > 40), "{balance}: {tally:?}");
    }
}

#[test]
fn both_shards_take_connections_and_spread_their_requests() {
    let origins = named(&["a", "b"]);
    let site = Site::of(origins.iter().map(Origin::address));
    let proxy = Site { shards: 2, cluster: "balance = \"round-robin\"", ..site }.start();
    let listener = proxy.report("web").listener;
    let mut rounds = 0_u64;
    // The kernel spreads connections by a hash of their addresses.
    while (0..2).any(|shard| listener.accepted_connections_on(shard) == 0) || rounds < 20 {
        assert_eq!(counts(&tally(&proxy, 4)), [2, 2]);
        rounds += 1;
        assert!(rounds < 1_000, "one shard gets nothing");
    }
    assert_eq!(listener.accepted_connections(), rounds);
    assert_eq!(origins[0].requests().len(), origins[1].requests().len());
}
