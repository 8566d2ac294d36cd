//! Connections that become another protocol's.

use crate::{
    fixture::{Site, eventually},
    origin::Origin,
    wire::{get, noise, ok},
};

const ASK: &str = "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Key: x\r\n\r\n";
const SWITCH: &str =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

#[test]
fn early_bytes_of_both_sides_get_across_and_then_everything() {
    let origin = Origin::scripted(|connection, mut wire, log| {
        let request = wire.request();
        log.push(connection, &request);
        wire.send(format!("{SWITCH}from the endpoint"));
        assert_eq!(wire.exact(15), b"from the client");
        let echo = wire.exact(1_000_000);
        wire.send(&echo);
        assert_eq!(wire.rest(), b"");
    });
    let proxy = Site::of([origin.address()]).start();
    let mut client = proxy.web();
    client.send(format!("{ASK}from the client"));
    let response = client.response();
    assert_eq!(response.status(), 101);
    assert_eq!(response.header("upgrade"), Some("websocket"));
    assert_eq!(response.header("connection"), Some("upgrade"));
    assert_eq!(client.exact(17), b"from the endpoint");
    let sent = noise(1_000_000);
    client.send(&sent);
    assert!(client.exact(sent.len()) == sent);
    let request = origin.only_request();
    assert_eq!(request.header("upgrade"), Some("websocket"));
    assert_eq!(request.header("connection"), Some("upgrade"));
    assert_eq!(request.header("sec-websocket-key"), Some("x"));
    client.finish();
    assert_eq!(client.rest(), b"");
    eventually("nothing is open", || proxy.open_connections() == 0);
    assert_eq!(proxy.endpoint(origin.address()).idle_connections, 0);
}

#[test]
fn each_direction_may_end_on_its_own() {
    let origin = Origin::scripted(|_, mut wire, _| {
        wire.head();
        wire.send(SWITCH);
        assert_eq!(wire.rest(), b"all I have");
        wire.send("more of mine");
    });
    let proxy = Site::of([origin.address()]).start();
    let mut client = proxy.web();
    client.send(ASK);
    assert_eq!(client.response().status(), 101);
    client.send("all I have");
    client.finish();
    assert_eq!(client.rest(), b"more of mine");
}

#[test]
fn an_idle_tunnel_is_closed() {
    let origin = Origin::scripted(|_, mut wire, _| {
        wire.head();
        wire.send(SWITCH);
        let _cut_off = wire.try_rest();
    });
    let proxy =
        Site { listener: "tunnel_timeout = \"1s\"", ..Site::of([origin.address()]) }.start();
    let mut client = proxy.web();
    client.send(ASK);
    assert_eq!(client.response().status(), 101);
    client.expect_closed();
    eventually("nothing is open", || proxy.open_connections() == 0);
}

#[test]
fn an_endpoint_may_decline_and_the_connection_goes_on() {
    let origin = Origin::answering(|_| ok("just HTTP"));
    let proxy = Site::of([origin.address()]).start();
    let mut client = proxy.web();
    client.send(ASK);
    assert_eq!(client.response().text(), "just HTTP");
    assert_eq!(client.get("/").status(), 200);
    assert_eq!(origin.connections(), 1);
}

#[test]
fn a_switch_nobody_asked_for_is_refused() {
    let origin = Origin::scripted(|_, mut wire, _| {
        wire.head();
        wire.send(SWITCH);
        let _cut_off = wire.try_rest();
    });
    let proxy = Site::of([origin.address()]).start();
    let mut client = proxy.web();
    client.send(get("/"));
    assert_eq!(client.response().status(), 502);
    assert_eq!(proxy.failures()["bad_response"], 1);
}
