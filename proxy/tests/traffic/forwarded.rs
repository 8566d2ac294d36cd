//! What endpoints are told about the client, and what clients cannot make them believe.

use crate::{fixture::Site, origin::Origin};

const SPOOFED: &str = "GET / HTTP/1.1\r\nHost: site.test\r\nX-Forwarded-For: 6.6.6.6\r\n\
    X-Forwarded-Proto: https\r\nX-Forwarded-Host: evil.test\r\nX-Forwarded-Port: 1\r\n\
    Forwarded: for=6.6.6.6\r\nX-Kept: yes\r\n\r\n";

#[test]
fn the_client_is_named_and_spoofed_fields_are_dropped() {
    let origin = Origin::named("ok");
    let proxy = Site::of([origin.address()]).start();
    let mut client = proxy.web();
    client.send(SPOOFED);
    assert_eq!(client.response().status(), 200);
    let request = origin.only_request();
    assert_eq!(request.headers("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(request.headers("x-forwarded-proto"), ["http"]);
    assert_eq!(request.headers("x-forwarded-host"), ["site.test"]);
    assert_eq!(request.header("x-forwarded-port"), None);
    assert_eq!(request.header("forwarded"), None);
    assert_eq!(request.header("x-kept"), Some("yes"));
    assert_eq!(request.headers("host"), ["site.test"]);
}

#[test]
fn a_trusted_client_is_believed_and_its_chain_extended() {
    let origin = Origin::named("ok");
    let proxy = Site { listener: "trust_forwarded = true", ..Site::of([origin.address()]) }.start();
    let mut client = proxy.web();
    client.send(SPOOFED);
    client.response();
    let request = origin.only_request();
    assert_eq!(request.headers("x-forwarded-for"), ["6.6.6.6, 127.0.0.1"]);
    assert_eq!(request.headers("x-forwarded-proto"), ["https"]);
    assert_eq!(request.headers("x-forwarded-host"), ["evil.test"]);
}

#[test]
fn fields_between_two_neighbours_are_not_passed_on() {
    let origin = Origin::answering(|_| {
        b"HTTP/1.1 200 OK\r\nConnection: x-hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n\
          X-End: 1\r\nContent-Length: 0\r\n\r\n"
            .to_vec()
    });
    let proxy = Site::of([origin.address()]).start();
    let mut client = proxy.web();
    client.send(
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, x-mine\r\nX-Mine: 1\r\n\
         Keep-Alive: 5\r\nProxy-Connection: keep-alive\r\nX-End: 1\r\n\r\n",
    );
    let response = client.response();
    let request = origin.only_request();
    for (message, name) in [(&request, "x-mine"), (&response, "x-hop")] {
        assert_eq!(message.header(name), None);
        assert_eq!(message.header("keep-alive"), None);
        assert_eq!(message.header("connection"), None);
        assert_eq!(message.header("x-end"), Some("1"));
    }
}
