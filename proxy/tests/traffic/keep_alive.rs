//! Connections that carry more than one request.

use crate::{
    fixture::{Site, eventually},
    origin::Origin,
    wire::{get, ok, post},
};

#[test]
fn requests_of_many_clients_share_one_kept_connection() {
    let origin = Origin::answering(|request| ok(request.target()));
    let proxy = Site::of([origin.address()]).start();
    for client in 0..3 {
        let mut client_wire = proxy.web();
        for request in 0..20 {
            let target = format!("/{client}/{request}");
            let response = client_wire.get(&target);
            assert_eq!((response.status(), response.text()), (200, target));
        }
    }
    assert_eq!(origin.connections(), 1);
    assert_eq!(proxy.endpoint(origin.address()).requests_total, 60);
    eventually("the connection is idle", || proxy.endpoint(origin.address()).idle_connections == 1);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let origin = Origin::answering(|request| ok(&format!("{} {}", request.line(), request.text())));
    let proxy = Site::of([origin.address()]).start();
    let mut client = proxy.web();
    let batch =
        [get("/1"), post("/2", "two"), get("/3"), post("/4", &"4".repeat(40_000)), get("/5")];
    client.send(batch.concat());
    let answers: Vec<_> = (0..5).map(|_| client.response().text()).collect();
    assert_eq!(answers[0], "GET /1 HTTP/1.1 ");
    assert_eq!(answers[1], "POST /2 HTTP/1.1 two");
    assert_eq!(answers[2], "GET /3 HTTP/1.1 ");
    assert_eq!(answers[3], format!("POST /4 HTTP/1.1 {}", "4".repeat(40_000)));
    assert_eq!(answers[4], "GET /5 HTTP/1.1 ");
    assert_eq!(origin.connections(), 1);
}

#[test]
fn many_pipelined_requests_do_not_need_to_fit_a_buffer() {
    let origin = Origin::answering(|request| ok(request.target()));
    let proxy = Site::of([origin.address()]).start();
    let mut client = proxy.web();
    let targets: Vec<_> = (0..2_000).map(|number| format!("/{number}")).collect();
    let mut sender = client.second();
    let batch: String = targets.iter().map(|target| get(target)).collect();
    let sending = std::thread::spawn(move || sender.send(batch));
    for target in &targets {
        assert_eq!(client.response().text(), *target);
    }
    sending.join().unwrap();
}

#[test]
fn a_head_may_arrive_byte_by_byte() {
    let origin = Origin::named("whole");
    let proxy = Site::of([origin.address()]).start();
    let mut client = proxy.web();
    for byte in get("/slow").as_bytes() {
        client.send([*byte]);
    }
    assert_eq!(client.response().text(), "whole");
    assert_eq!(origin.only_request().target(), "/slow");
}

#[test]
fn a_client_that_asks_for_it_is_closed() {
    let origin = Origin::named("bye");
    let proxy = Site::of([origin.address()]).start();
    let mut client = proxy.web();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let response = client.response();
    assert!(response.closes());
    assert_eq!(response.text(), "bye");
    client.expect_closed();
    // The endpoint was not asked to close: its connection stays.
    proxy.web().get("/");
    assert_eq!(origin.connections(), 1);
}

#[test]
fn an_endpoint_that_closes_gets_a_new_connection() {
    let origin = Origin::answering(|request| match request.target() {
        "/last" => b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok".to_vec(),
        _ => ok("ok"),
    });
    let proxy = Site::of([origin.address()]).start();
    let mut client = proxy.web();
    let response = client.get("/last");
    assert!(!response.closes(), "what the endpoint does with its connection is not the client's");
    client.get("/next");
    assert_eq!(origin.connections(), 2);
}

#[test]
fn an_idle_client_is_closed_after_a_while() {
    let origin = Origin::named("ok");
    let proxy =
        Site { listener: "idle_timeout = \"200ms\"", ..Site::of([origin.address()]) }.start();
    let mut fresh = proxy.web();
    let mut used = proxy.web();
    used.get("/");
    fresh.expect_closed();
    used.expect_closed();
    eventually("nothing is open", || proxy.open_connections() == 0);
}

#[test]
fn idle_connections_to_endpoints_are_limited_in_number_and_age() {
    let origin = Origin::named("ok");
    let cluster = "max_idle_connections = 1\nidle_timeout = \"300ms\"";
    let proxy = Site { cluster, ..Site::of([origin.address()]) }.start();
    let mut clients: Vec<_> = (0..3).map(|_| proxy.web()).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n");
    }
    for client in &mut clients {
        client.send("\r\n");
    }
    for client in &mut clients {
        client.response();
    }
    assert!(proxy.endpoint(origin.address()).idle_connections <= 1);
    eventually("the idle one is closed", || proxy.endpoint(origin.address()).idle_connections == 0);
}
