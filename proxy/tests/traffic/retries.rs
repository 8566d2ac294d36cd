//! When a request is tried again, and when it must not be.

use crate::{
    fixture::{Site, eventually},
    origin::{Log, Origin, Refusing},
    wire::{Wire, get, ok, post},
};

#[test]
fn another_endpoint_is_tried_when_one_refuses() {
    let (refusing, origin) = (Refusing::new(), Origin::answering(|request| ok(&request.text())));
    let site = Site::of([refusing.address(), origin.address()]);
    let proxy = Site { cluster: "balance = \"round-robin\"", ..site }.start();
    let mut client = proxy.web();
    for number in 0..10 {
        client.send(get("/"));
        assert_eq!(client.response().status(), 200);
        // Nothing was sent to the one that refused: a body is no obstacle.
        let body = format!("body {number}");
        client.send(post("/", &body));
        assert_eq!(client.response().text(), body);
    }
    assert!(proxy.endpoint(refusing.address()).connect_failures_total > 0);
    assert_eq!(proxy.failures().len(), 0);
}

#[test]
fn tries_are_counted() {
    let refusing: Vec<_> = (0..5).map(|_| Refusing::new()).collect();
    let site = Site::of(refusing.iter().map(Refusing::address));
    let proxy = Site { route: "retries = { attempts = 3 }", ..site }.start();
    assert_eq!(proxy.web().get("/").status(), 502);
    let tries: u64 =
        refusing.iter().map(|one| proxy.endpoint(one.address()).connect_failures_total).sum();
    assert_eq!(tries, 4);
}

#[test]
fn no_attempts_means_one_try() {
    let refusing: Vec<_> = (0..2).map(|_| Refusing::new()).collect();
    let site = Site::of(refusing.iter().map(Refusing::address));
    let proxy = Site { route: "retries = { attempts = 0 }", ..site }.start();
    assert_eq!(proxy.web().get("/").status(), 502);
    let tries: u64 =
        refusing.iter().map(|one| proxy.endpoint(one.address()).connect_failures_total).sum();
    assert_eq!(tries, 1);
}

/// Answers the first request of a connection; the second one finds it closed.
fn closes_under_the_second(connection: usize, mut wire: Wire, log: &Log) {
    let Ok(Some(first)) = wire.try_request() else { return };
    log.push(connection, &first);
    wire.send(ok("fine"));
    // The proxy keeps the connection, uses it, and sees it close.
    let Ok(Some(second)) = wire.try_request() else { return };
    log.push(connection, &second);
}

#[test]
fn a_kept_connection_that_was_closed_is_no_reason_to_fail_what_can_be_repeated() {
    let origin = Origin::scripted(closes_under_the_second);
    let proxy = Site::of([origin.address()]).start();
    let mut client = proxy.web();
    client.get("/");
    for method in ["GET", "OPTIONS", "DELETE", "PUT"] {
        client.send(format!("{method} /again HTTP/1.1\r\nHost: a\r\n\r\n"));
        let response = client.response();
        assert_eq!((response.status(), response.closes()), (200, false), "{method}");
    }
    assert_eq!(origin.connections(), 5);
    assert_eq!(proxy.failures().len(), 0);
}

#[test]
fn what_cannot_be_repeated_fails() {
    let origin = Origin::scripted(closes_under_the_second);
    let proxy = Site::of([origin.address()]).start();
    for request in [
        post("/", "body"),
        "POST / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\na".to_owned(),
    ] {
        proxy.web().get("/");
        eventually("the connection is kept", || {
            proxy.endpoint(origin.address()).idle_connections == 1
        });
        let connections = origin.connections();
        let mut client = proxy.web();
        client.send(&request);
        assert_eq!(client.response().status(), 502, "{request}");
        assert_eq!(origin.connections(), connections, "{request}");
    }
    assert_eq!(proxy.failures()["upstream_closed"], 3);
}

#[test]
fn a_kept_connection_that_is_known_to_be_closed_is_not_used() {
    let origin = Origin::scripted(|connection, mut wire, log| {
        let request = wire.request();
        wire.send(ok("fine"));
        wire.finish();
        log.push(connection, &request);
        // Stays half open: the proxy must notice the end by itself.
        let _closed = wire.try_rest();
    });
    let proxy = Site::of([origin.address()]).start();
    let mut client = proxy.web();
    for number in 0..20 {
        client.send(post("/", "body"));
        assert_eq!(client.response().text(), "fine", "{number}");
        // Its end arrives before what the client sends next, so that it has to be noticed.
        eventually("the endpoint has closed", || origin.requests().len() == number + 1);
    }
}

#[test]
fn repetitions_stay_within_the_budget() {
    let origin = Origin::scripted(closes_under_the_second);
    let proxy =
        Site { route: "retries = { budget = 0.0 }", ..Site::of([origin.address()]) }.start();
    let mut client = proxy.web();
    client.get("/");
    let mut statuses: Vec<u16> = (0..30).map(|_| client.get("/").status()).collect();
    // A burst is allowed; nothing is earned after it.
    let repeated = statuses.iter().take_while(|status| **status == 200).count();
    assert_eq!(repeated, 10, "{statuses:?}");
    statuses.dedup();
    assert!(statuses.contains(&502), "{statuses:?}");
}
