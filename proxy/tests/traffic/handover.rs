//! Idle upstream connections that pass from one shard to another.

use std::time::{Duration, Instant};

use crate::{
    fixture::{Proxy, Site, eventually},
    origin::Origin,
    wire::{Wire, ok},
};

/// Longer than a connection has to be idle to be to spare, and than nobody is asked in vain.
const LONG: Duration = Duration::from_millis(700);

/// A client of each shard.
fn one_of_each(proxy: &Proxy, shards: usize) -> Vec<Wire> {
    let open = |shard| proxy.report("web").listener.open_connections_on(shard);
    let mut found: Vec<Option<Wire>> = (0..shards).map(|_| None).collect();
    let mut others = Vec::new();
    eventually("every shard has a client", || {
        let before: Vec<_> = (0..shards).map(open).collect();
        let client = proxy.web();
        let mut shard = None;
        eventually("it is accepted", || {
            shard = (0..shards).find(|shard| open(*shard) > before[*shard]);
            shard.is_some()
        });
        match &mut found[shard.unwrap()] {
            place @ None => *place = Some(client),
            Some(_) => others.push(client),
        }
        found.iter().all(Option::is_some)
    });
    found.into_iter().flatten().collect()
}

fn pass(time: Duration) {
    let began = Instant::now();
    eventually("time passes", || began.elapsed() >= time);
}

fn site(origin: &Origin, cluster: &'static str) -> Site {
    Site { shards: 2, cluster, ..Site::of([origin.address()]) }
}

#[test]
fn a_shard_without_an_idle_connection_takes_one_that_another_has_to_spare() {
    // A shard asks for a moment only: on a busy machine the answer may come too late, and it
    // connects. That is no fault; that it always were, would be.
    eventually("a connection goes to and fro", goes_to_and_fro);
}

/// Whether one connection served all, which is what happens when every shard answers in time.
fn goes_to_and_fro() -> bool {
    let origin = Origin::answering(|_| ok("ok"));
    let proxy = site(&origin, "").start();
    let mut clients = one_of_each(&proxy, 2);
    let endpoint = || proxy.endpoint(origin.address());
    for (turn, shard) in [0, 1, 0, 1].into_iter().enumerate() {
        assert_eq!(clients[shard].get("/").text(), "ok");
        eventually("all are kept", || endpoint().idle_connections == endpoint().connects_total);
        if endpoint().handovers_total < turn as u64 {
            return false;
        }
        pass(LONG);
    }
    assert_eq!((origin.connections(), endpoint().connects_total), (1, 1));
    true
}

#[test]
fn what_a_shard_uses_itself_is_not_taken_from_it() {
    let origin = Origin::answering(|_| ok("ok"));
    let proxy = site(&origin, "").start();
    let mut clients = one_of_each(&proxy, 2);
    // By turns, at once: each has its own connection then, and it stays so.
    for _ in 0..20 {
        for client in &mut clients {
            assert_eq!(client.get("/").text(), "ok");
        }
    }
    let endpoint = proxy.endpoint(origin.address());
    assert!(endpoint.connects_total <= 2, "{endpoint:?}");
    assert!(endpoint.handovers_total <= 1, "a busy machine may pause once: {endpoint:?}");
}

#[test]
fn a_connection_that_was_closed_meanwhile_is_not_passed_on() {
    let origin = Origin::scripted(|connection, mut wire, log| {
        let Some(head) = wire.try_head().unwrap() else { return };
        log.push(connection, &crate::wire::Message { head, body: Vec::new() });
        wire.send(ok("ok"));
        // Closes: there is no second request on it.
    });
    let proxy = site(&origin, "").start();
    let mut clients = one_of_each(&proxy, 2);
    for shard in [0, 1, 0, 1] {
        pass(LONG);
        assert_eq!(clients[shard].get("/").text(), "ok");
    }
    assert_eq!(origin.connections(), 4);
    assert_eq!(proxy.endpoint(origin.address()).handovers_total, 0);
}

#[test]
fn where_none_are_kept_nobody_is_asked() {
    let origin = Origin::answering(|_| ok("ok"));
    let proxy = site(&origin, "max_idle_connections = 0").start();
    let mut clients = one_of_each(&proxy, 2);
    for client in &mut clients {
        assert_eq!(client.get("/").text(), "ok");
    }
    assert_eq!(origin.connections(), 2);
}
