//! An endpoint that leaves says up to where it has looked (RFC 9113 section 6.8).

use std::sync::{Arc, Mutex, mpsc};

use super::scripted::scripted;
use crate::{
    fixture::{Proxy, Site, eventually},
    http2::frames::GOAWAY,
    origin::Origin,
    wire::{PATIENCE, Wire, post},
};

fn start(origin: &Origin) -> Proxy {
    Site { cluster: "protocol = \"h2\"", ..Site::of([origin.address()]) }.start()
}

fn posted(proxy: &Proxy) -> Wire {
    let mut client = proxy.web();
    client.send(post("/", "body"));
    client
}

#[test]
fn what_is_above_the_last_stream_is_tried_again_and_what_is_below_finishes() {
    let (seen, log) = mpsc::channel();
    let (go_on, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let origin = scripted(move |connection, mut server| {
        if connection > 0 {
            while let Some(stream) = server.try_request() {
                seen.send((connection, stream)).unwrap();
                server.answer(stream, &[("x-connection", "second")]);
            }
            return;
        }
        let (first, second) = (server.request(), server.request());
        seen.send((connection, first)).unwrap();
        seen.send((connection, second)).unwrap();
        server.goaway(first, 0);
        // The one that was looked at is answered, however late.
        wait.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        server.answer(first, &[("x-connection", "first")]);
        server.rest();
    });
    let proxy = start(&origin);
    let mut below = posted(&proxy);
    eventually("the connection is there", || origin.connections() == 1);
    let mut above = posted(&proxy);
    let answer = above.response();
    assert_eq!((answer.status(), answer.header("x-connection")), (200, Some("second")));
    // What comes now takes the new connection.
    assert_eq!(posted(&proxy).response().header("x-connection"), Some("second"));
    go_on.send(()).unwrap();
    let answer = below.response();
    assert_eq!((answer.status(), answer.header("x-connection")), (200, Some("first")));
    let log: Vec<_> = log.try_iter().collect();
    assert_eq!(log, [(0, 1), (0, 3), (1, 1), (1, 3)]);
    assert_eq!(proxy.failures().len(), 0);
}

#[test]
fn what_was_looked_at_and_is_lost_is_not_tried_again() {
    let asked = Arc::new(Mutex::new(0));
    let counter = Arc::clone(&asked);
    let origin = scripted(move |_, mut server| {
        let stream = server.request();
        *counter.lock().unwrap() += 1;
        server.goaway(stream, 0);
    });
    let proxy = start(&origin);
    assert_eq!(posted(&proxy).response().status(), 502);
    assert_eq!(proxy.failures().get("upstream_closed"), Some(&1), "{:?}", proxy.failures());
    assert_eq!(*asked.lock().unwrap(), 1);
}

#[test]
fn who_leaves_with_every_request_is_given_up() {
    let origin = scripted(|_, mut server| {
        let _stream = server.request();
        server.goaway(0, 0);
        server.rest();
    });
    let proxy = start(&origin);
    assert_eq!(posted(&proxy).response().status(), 502);
    assert_eq!(proxy.failures().get("upstream_goaway"), Some(&1), "{:?}", proxy.failures());
    assert_eq!(origin.connections(), 3, "as often as retries allow");
}

#[test]
fn a_connection_that_was_told_goodbye_while_idle_is_not_used_again() {
    let origin = scripted(|connection, mut server| {
        let stream = server.request();
        server.answer(stream, &[]);
        if connection == 0 {
            server.goaway(stream, 0);
        }
        while let Some(stream) = server.try_request() {
            server.answer(stream, &[]);
        }
    });
    let proxy = start(&origin);
    for _ in 0..3 {
        assert_eq!(posted(&proxy).response().status(), 200);
    }
    assert_eq!((origin.connections(), proxy.failures().len()), (2, 0));
}

#[test]
fn a_drain_says_goodbye_to_endpoints_that_have_nothing_to_do() {
    let (told, goodbye) = mpsc::channel();
    let origin = scripted(move |_, mut server| {
        let stream = server.request();
        server.answer(stream, &[]);
        told.send(server.0.next_of(&[GOAWAY]).code()).unwrap();
        server.rest();
    });
    let proxy = start(&origin);
    let mut client = proxy.web();
    assert_eq!(client.get("/").status(), 200);
    let _ended = proxy.drain(PATIENCE);
    assert_eq!(goodbye.recv_timeout(PATIENCE), Ok(0), "without an error");
}
