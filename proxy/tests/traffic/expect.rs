//! `Expect: 100-continue` and other interim responses (RFC 9110 sections 10.1.1 and 15.2).

use crate::{
    fixture::Site,
    origin::Origin,
    wire::{get, ok},
};

const EXPECTING: &str =
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";

#[test]
fn a_client_is_told_to_go_on_by_the_endpoint() {
    let origin = Origin::scripted(|connection, mut wire, log| {
        while let Some(head) = wire.try_head().unwrap() {
            wire.send("HTTP/1.1 100 Continue\r\n\r\n");
            let body = wire.body(&head).unwrap().unwrap();
            log.push(connection, &crate::wire::Message { head, body });
            wire.send(ok("thanks"));
        }
    });
    let proxy = Site::of([origin.address()]).start();
    let mut client = proxy.web();
    for _ in 0..2 {
        client.send(EXPECTING);
        assert_eq!(client.response().status(), 100);
        client.send("hello");
        let response = client.response();
        assert_eq!((response.status(), response.text()), (200, "thanks".to_owned()));
        assert!(!response.closes());
    }
    let requests = origin.requests();
    assert!(
        requests.iter().all(|(connection, request)| *connection == 0 && request.text() == "hello")
    );
    assert_eq!(requests[0].1.header("expect"), Some("100-continue"));
}

#[test]
fn a_final_answer_at_once_spares_the_body_and_ends_the_connection() {
    let origin = Origin::scripted(|_, mut wire, _| {
        wire.head();
        wire.send("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n");
        let _cut_off = wire.try_rest();
    });
    let proxy = Site::of([origin.address()]).start();
    let mut client = proxy.web();
    client.send(EXPECTING);
    let response = client.response();
    assert_eq!(response.status(), 401);
    // Whether a body follows cannot be known: what came next might be taken for one.
    assert!(response.closes());
    client.expect_closed();
    assert_eq!(proxy.endpoint(origin.address()).idle_connections, 0);
}

#[test]
fn a_client_may_go_on_without_having_been_told() {
    let origin = Origin::answering(|request| ok(&request.text()));
    let proxy = Site::of([origin.address()]).start();
    let mut client = proxy.web();
    client.send(EXPECTING);
    client.send("hello");
    assert_eq!(client.response().text(), "hello");
    assert_eq!(client.get("/next").status(), 200);
}

#[test]
fn an_endpoint_that_never_says_anything_is_given_up() {
    let origin = Origin::scripted(|_, mut wire, _| {
        let _cut_off = wire.try_rest();
    });
    let proxy = Site { route: "timeout = \"300ms\"", ..Site::of([origin.address()]) }.start();
    let mut client = proxy.web();
    client.send(EXPECTING);
    let response = client.response();
    assert!(matches!(response.status(), 408 | 504), "{response:?}");
    client.expect_closed();
}

#[test]
fn other_expectations_are_refused() {
    let origin = Origin::named("ok");
    let proxy = Site::of([origin.address()]).start();
    let mut client = proxy.web();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nExpect: miracles\r\n\r\n");
    assert_eq!(client.response().status(), 417);
}

fn interim(count: usize) -> Vec<u8> {
    let mut bytes = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n".repeat(count);
    bytes.extend(ok("done"));
    bytes
}

#[test]
fn interim_responses_are_passed_on() {
    let origin = Origin::answering(|_| interim(3));
    let proxy = Site::of([origin.address()]).start();
    let mut client = proxy.web();
    for _ in 0..2 {
        let first = client.get("/");
        assert_eq!((first.status(), first.header("link")), (103, Some("</a.css>")));
        assert_eq!(client.response().status(), 103);
        assert_eq!(client.response().status(), 103);
        assert_eq!(client.response().text(), "done");
    }
    assert_eq!(origin.connections(), 1);
}

#[test]
fn clients_of_http_1_0_see_no_interim_response() {
    let origin = Origin::answering(|_| interim(3));
    let proxy = Site::of([origin.address()]).start();
    let mut client = proxy.web();
    client.send("GET / HTTP/1.0\r\n\r\n");
    let response = client.response();
    assert_eq!((response.status(), response.text()), (200, "done".to_owned()));
}

#[test]
fn a_storm_of_interim_responses_is_refused() {
    let origin = Origin::answering(|_| interim(1_000));
    let proxy = Site::of([origin.address()]).start();
    let mut client = proxy.web();
    client.send(get("/"));
    let mut seen = 0;
    let last = loop {
        match client.response() {
            response if response.status() == 103 => seen += 1,
            response => break response,
        }
    };
    assert_eq!(last.status(), 502);
    assert!((1..=64).contains(&seen), "{seen}");
    assert_eq!(proxy.failures()["bad_response"], 1);
    assert_eq!(proxy.endpoint(origin.address()).idle_connections, 0);
}
