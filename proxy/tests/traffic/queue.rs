//! Endpoints at their limit of connections, and who waits for them.

use std::sync::{Mutex, mpsc};

use crate::{
    fixture::{Proxy, Site, eventually},
    origin::Origin,
    wire::{PATIENCE, get, ok},
};

/// An endpoint that answers `/slow` when it is told to.
fn held() -> (Origin, mpsc::Sender<()>) {
    let (go_on, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let origin = Origin::answering(move |request| {
        if request.target() == "/slow" {
            wait.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        }
        ok("ok")
    });
    (origin, go_on)
}

fn waiting(proxy: &Proxy) -> u64 {
    proxy.engine.cluster_statuses()[0].waiting
}

#[test]
fn a_request_waits_until_an_endpoint_is_below_its_limit() {
    for shards in [1, 2] {
        let (origin, go_on) = held();
        let cluster = "max_connections = 1\nqueue = { length = 8, timeout = \"20s\" }";
        let proxy = Site { shards, cluster, ..Site::of([origin.address()]) }.start();
        let mut slow = proxy.web();
        slow.send(get("/slow"));
        // Counted before it is sent: only the endpoint knows that it has it.
        eventually("it is under way", || origin.requests().len() == 1);
        // Connections spread over the shards: those that wait elsewhere are told as well.
        let mut clients: Vec<_> = (0..8).map(|_| proxy.web()).collect();
        for client in &mut clients {
            client.send(get("/"));
        }
        eventually("they wait", || waiting(&proxy) == 8);
        assert_eq!(origin.requests().len(), 1);
        // One too many.
        let refused = proxy.web().get("/");
        assert_eq!((refused.status(), refused.header("retry-after")), (503, Some("20")));
        assert_eq!(proxy.failures()["endpoints_full"], 1);
        go_on.send(()).unwrap();
        assert_eq!(slow.response().status(), 200);
        for client in &mut clients {
            assert_eq!(client.response().text(), "ok");
        }
        assert_eq!(waiting(&proxy), 0);
        eventually("all is over", || proxy.endpoint(origin.address()).active == 0);
        assert_eq!(proxy.web().get("/").status(), 200);
    }
}

#[test]
fn who_waits_too_long_is_told_so() {
    let (origin, go_on) = held();
    let cluster = "max_connections = 1\nqueue = { timeout = \"100ms\" }";
    let proxy = Site { cluster, ..Site::of([origin.address()]) }.start();
    let mut slow = proxy.web();
    slow.send(get("/slow"));
    eventually("it is under way", || proxy.endpoint(origin.address()).active == 1);
    let mut client = proxy.web();
    let response = client.get("/");
    assert_eq!((response.status(), response.header("retry-after")), (503, Some("1")));
    assert!(!response.closes());
    assert_eq!(proxy.failures()["queue_timeout"], 1);
    assert_eq!(waiting(&proxy), 0);
    go_on.send(()).unwrap();
    assert_eq!(slow.response().status(), 200);
    eventually("all is over", || proxy.endpoint(origin.address()).active == 0);
    assert_eq!(client.get("/").status(), 200);
}

#[test]
fn who_leaves_gives_its_place_up() {
    let (origin, go_on) = held();
    let cluster = "max_connections = 1\nqueue = { length = 1, timeout = \"20s\" }";
    let proxy = Site { cluster, ..Site::of([origin.address()]) }.start();
    let mut slow = proxy.web();
    slow.send(get("/slow"));
    eventually("it is under way", || proxy.endpoint(origin.address()).active == 1);
    let mut client = proxy.web();
    client.send(get("/"));
    eventually("it waits", || waiting(&proxy) == 1);
    drop(client);
    eventually("nobody waits", || waiting(&proxy) == 0);
    assert_eq!(proxy.failures()["client_gone"], 1);
    go_on.send(()).unwrap();
    assert_eq!(slow.response().status(), 200);
    assert_eq!(origin.requests().len(), 1);
}

#[test]
fn an_endpoint_that_comes_back_is_for_those_who_wait() {
    let (origin, go_on) = held();
    let other = Origin::named("other");
    let cluster = "max_connections = 1\nqueue = { timeout = \"20s\" }";
    let proxy = Site { cluster, ..Site::of([origin.address(), other.address()]) }.start();
    let address = other.address().to_string();
    proxy.engine.drain_endpoint("app", &address, true).unwrap();
    let mut slow = proxy.web();
    slow.send(get("/slow"));
    eventually("it is under way", || proxy.endpoint(origin.address()).active == 1);
    let mut client = proxy.web();
    client.send(get("/"));
    eventually("it waits", || waiting(&proxy) == 1);
    proxy.engine.drain_endpoint("app", &address, false).unwrap();
    assert_eq!(client.response().text(), "other");
    go_on.send(()).unwrap();
    assert_eq!(slow.response().status(), 200);
}
