//! When a request is tried again, and when it must not be.

use crate::{
    fixture::{Proxy, Site, eventually},
    origin::{Log, Origin, Refusing},
    wire::{PATIENCE, Wire, get, ok, post},
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
    for request in [post("/", "body"), "POST / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()] {
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
    assert_eq!(proxy.failures()["upstream_closed"], 2);
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

/// A proxy in front of an endpoint that misbehaves and one that does not.
fn beside_a_good_one(bad: &Origin, route: &'static str, cluster: &'static str) -> (Proxy, Origin) {
    let good = Origin::answering(|request| ok(&format!("good {}", request.text())));
    let proxy = Site { route, cluster, ..Site::of([bad.address(), good.address()]) }.start();
    (proxy, good)
}

const TURNS: &str = "balance = \"round-robin\"";

fn status(status: u16) -> Origin {
    Origin::answering(move |_| {
        format!("HTTP/1.1 {status} No\r\nContent-Length: 3\r\n\r\nbad").into_bytes()
    })
}

fn resets() -> Origin {
    Origin::scripted(|connection, mut wire, log| {
        let Ok(Some(request)) = wire.try_request() else { return };
        log.push(connection, &request);
        wire.reset();
    })
}

fn silent() -> Origin {
    Origin::scripted(|connection, mut wire, log| {
        let Ok(Some(request)) = wire.try_request() else { return };
        log.push(connection, &request);
        let _cut_off = wire.try_rest();
    })
}

#[test]
fn a_reset_is_tried_again_elsewhere_when_that_is_safe() {
    let bad = resets();
    let (proxy, good) = beside_a_good_one(&bad, "", TURNS);
    let mut client = proxy.web();
    for _ in 0..10 {
        assert_eq!(client.get("/").text(), "good ");
        client.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody");
        assert_eq!(client.response().text(), "good body", "the body is sent again");
    }
    assert_eq!(bad.requests().len(), 20, "a try elsewhere is a turn as well");
    assert_eq!(good.requests().len(), 20);
    // A POST may have been carried out.
    let outcomes: Vec<_> = (0..4)
        .map(|_| {
            let mut client = proxy.web();
            client.send(post("/", "body"));
            client.response().status()
        })
        .collect();
    assert_eq!(outcomes.iter().filter(|status| **status == 502).count(), 2, "{outcomes:?}");
    assert_eq!(good.requests().len(), 22, "none of them was sent twice");
    assert_eq!(proxy.engine.cluster_statuses()[0].retries_total, 20);
}

#[test]
fn a_body_that_comes_in_pieces_is_sent_again_whole() {
    let bad = resets();
    let (proxy, good) = beside_a_good_one(&bad, "", TURNS);
    for _ in 0..4 {
        let mut client = proxy.web();
        client.send("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
        let asked = bad.connections() + good.connections();
        eventually("an endpoint is asked", || bad.connections() + good.connections() >= asked);
        client.send("5\r\nfirst\r\n");
        client.send("6\r\nsecond\r\n0\r\n\r\n");
        assert_eq!(client.response().status(), 200);
    }
    let bodies: Vec<_> = good.requests().into_iter().map(|(_, request)| request.text()).collect();
    assert_eq!(bodies, ["5\r\nfirst\r\n6\r\nsecond\r\n0\r\n\r\n"; 4]);
}

#[test]
fn a_body_that_is_too_large_to_be_kept_is_sent_once() {
    let bad = resets();
    let (proxy, good) = beside_a_good_one(&bad, "retries = { max_replay_size = \"3B\" }", TURNS);
    let mut statuses: Vec<u16> = (0..4)
        .map(|_| {
            let mut client = proxy.web();
            client.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody");
            client.response().status()
        })
        .collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 502, 502]);
    assert_eq!(good.requests().len(), 2);
}

#[test]
fn statuses_are_tried_again_only_when_they_are_named() {
    let bad = status(503);
    let named = "retries = { on = [\"503\"], methods = [\"GET\", \"POST\"] }";
    let (proxy, good) = beside_a_good_one(&bad, named, TURNS);
    let mut client = proxy.web();
    for _ in 0..6 {
        assert_eq!(client.get("/").text(), "good ");
        client.send(post("/", "body"));
        assert_eq!(client.response().text(), "good body", "as its method is named");
        client.send("DELETE / HTTP/1.1\r\nHost: a\r\n\r\n");
        client.response();
    }
    assert!(bad.requests().len() >= 6 && good.requests().len() >= 12);
    // The last answer is the client's when there is nobody left to ask.
    let alone = Site { route: named, ..Site::of([bad.address()]) }.start();
    let response = alone.web().get("/");
    assert_eq!((response.status(), response.text()), (503, "bad".to_owned()));
    let (proxy, _good) = beside_a_good_one(&bad, "", TURNS);
    let mut client = proxy.web();
    let mut statuses: Vec<u16> = (0..4).map(|_| client.get("/").status()).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 503, 503]);
}

#[test]
fn a_try_has_a_limit_of_its_own() {
    let bad = silent();
    let route = "timeout = \"20s\"\nretries = { per_try_timeout = \"500ms\" }";
    let (proxy, _good) = beside_a_good_one(&bad, route, TURNS);
    let mut client = proxy.web();
    for _ in 0..4 {
        assert_eq!(client.get("/").text(), "good ");
    }
    assert_eq!(bad.requests().len(), 4);
    // All of them together have another.
    let route = "timeout = \"300ms\"\nretries = { per_try_timeout = \"10s\", attempts = 9 }";
    let proxy = Site { route, ..Site::of([bad.address(), silent().address()]) }.start();
    assert_eq!(proxy.web().get("/").status(), 504);
    assert_eq!(proxy.failures()["response_timeout"], 1);
}

#[test]
fn repetitions_stay_within_the_budget() {
    let bad = resets();
    let none = "retries = { budget = 0.0, min_concurrent = 0 }";
    let (proxy, _good) = beside_a_good_one(&bad, none, TURNS);
    let mut client = proxy.web();
    let mut statuses: Vec<u16> = (0..20).map(|_| client.get("/").status()).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [[200; 10], [502; 10]].concat());
    let status = &proxy.engine.cluster_statuses()[0];
    assert_eq!((status.retries_total, status.retries_refused_total), (0, 10));
}

#[test]
fn what_is_under_way_at_once_counts_for_the_budget() {
    // Holds every request until told, then answers 503.
    let (go_on, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let held = Origin::answering(move |_| {
        wait.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        ok("late")
    });
    let bad = resets();
    let toml = Site {
        route: "retries = { budget = 0.0, min_concurrent = 2 }",
        cluster: TURNS,
        ..Site::of([bad.address(), held.address()])
    };
    let proxy = toml.start();
    // Every other request begins with the one that resets, and goes on to the one that holds.
    let mut clients: Vec<_> = (0..8).map(|_| proxy.web()).collect();
    for client in &mut clients {
        client.send(get("/"));
    }
    eventually("two retries are under way, and the others were refused", || {
        let status = &proxy.engine.cluster_statuses()[0];
        status.retries_total == 2 && status.retries_refused_total == 2
    });
    for _ in 0..6 {
        go_on.send(()).unwrap();
    }
    let mut statuses: Vec<u16> =
        clients.iter_mut().map(|client| client.response().status()).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 200, 200, 200, 200, 502, 502]);
}
