//! Bodies get across byte for byte, however they are framed and however slow a side is.

use std::{
    io::{ErrorKind, Write as _},
    thread,
};

use crate::{
    fixture::{Rest, Site, eventually},
    origin::{Origin, serve},
    wire::{Message, Wire, get, noise, ok, post},
};

const LARGE: usize = 8 * 1024 * 1024;
/// A receive buffer that makes its reader slow.
const NARROW: usize = 4 * 1024;

fn web(site: &Site) -> (crate::fixture::Proxy, Wire) {
    let proxy = site.start();
    let client = proxy.web();
    (proxy, client)
}

fn post_head(length: usize) -> String {
    format!("POST /in HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n")
}

fn with_length(body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

#[test]
fn a_small_body_goes_with_its_head_and_the_connection_stays() {
    let origin = Origin::answering(|request| ok(&request.text()));
    let (_proxy, mut client) = web(&Site::of([origin.address()]));
    for body in ["", "a", "hello"] {
        client.send(post("/", body));
        let response = client.response();
        assert_eq!(response.text(), body);
        assert!(!response.closes());
    }
    assert_eq!(origin.connections(), 1);
}

#[test]
fn large_bodies_pass_whole_with_a_slow_writer_and_a_slow_reader() {
    let origin = Origin::answering(|request| with_length(&request.body));
    let proxy = Site::of([origin.address()]).start();
    let bs9_config::BindAddress::Tcp(address) = proxy.address("web") else { unreachable!() };
    let mut client = Wire::connect_tcp(address, Some(NARROW));
    let body = noise(LARGE);
    let mut sender = client.second();
    let sent = body.clone();
    let sending = thread::spawn(move || {
        sender.send(post_head(sent.len()));
        // In small and odd pieces.
        sent.chunks(1_013).for_each(|piece| sender.send(piece));
    });
    let response = client.response();
    sending.join().unwrap();
    assert!(response.body == body, "the body came back changed");
    assert!(!response.closes());
    assert_eq!(client.get("/next").status(), 200);
    assert_eq!(origin.connections(), 1);
}

#[test]
fn a_response_may_stream_while_the_request_still_does() {
    let origin = Origin::scripted(|_, mut wire, _| {
        let head = wire.head();
        assert!(head.starts_with("POST"));
        wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n"));
        let mut echoed = 0;
        while echoed < LARGE {
            let piece = wire.some();
            echoed += piece.len();
            wire.send(piece);
        }
    });
    let (_proxy, mut client) = web(&Site::of([origin.address()]));
    let body = noise(LARGE);
    let (mut sender, sent) = (client.second(), body.clone());
    let sending = thread::spawn(move || {
        sender.send(post_head(sent.len()));
        sender.send(sent);
    });
    let response = client.response();
    sending.join().unwrap();
    assert!(response.body == body, "the body came back changed");
}

/// Writes until nothing is taken any more, in many turns of the proxy, each an answer to `other`;
/// gives the number of bytes that were taken.
fn fill(wire: &mut Wire, mut other: Wire) -> usize {
    let piece = noise(64 * 1024);
    let (mut taken, mut rest) = (0, Rest::default());
    wire.socket().set_nonblocking(true).unwrap();
    while taken < 256 * 1024 * 1024 {
        match wire.socket().write(&piece) {
            Ok(count) => taken += count,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                assert_eq!(other.get("/turn").text(), "turned");
                if rest.after_a_turn(taken as u64) {
                    return taken;
                }
            }
        }
    }
    panic!("{taken} bytes went into nowhere");
}

/// What the kernel may hold in the four socket buffers of a path, and the proxy's own.
const HELD_AT_MOST: usize = 64 * 1024 * 1024;

#[test]
fn an_endpoint_that_does_not_read_stops_the_client() {
    let (go_on, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let origin = Origin::scripted(move |_, mut wire, _| {
        while wire.try_head().is_ok_and(|head| head.is_some_and(|head| head.starts_with("GET"))) {
            wire.send(ok("turned"));
        }
        let _gone = wait.lock().unwrap().recv();
    });
    let (proxy, mut client) = web(&Site::of([origin.address()]));
    client.send(post_head(1 << 30));
    assert!(fill(&mut client, proxy.web()) < HELD_AT_MOST);
    drop(go_on);
}

#[test]
fn a_client_that_does_not_read_stops_the_endpoint() {
    let (lend, lent) = std::sync::mpsc::channel::<Wire>();
    let (report, reported) = std::sync::mpsc::channel();
    let lent = std::sync::Mutex::new(lent);
    let origin = Origin::scripted(move |_, mut wire, _| {
        while wire.head().starts_with("GET /turn ") {
            wire.send(ok("turned"));
        }
        wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 1 << 30));
        let other = lent.lock().unwrap().recv().unwrap();
        report.send(fill(&mut wire, other)).unwrap();
    });
    let (proxy, mut client) = web(&Site::of([origin.address()]));
    client.send(get("/"));
    lend.send(proxy.web()).unwrap();
    let held = reported.recv_timeout(crate::wire::PATIENCE).unwrap();
    assert!(held < HELD_AT_MOST, "{held}");
}

const CHUNKS: &[u8] =
    b"5;ext=\"a\"\r\nhello\r\n00001\r\n \r\n5\r\nworld\r\n0\r\nX-Sum: 42\r\nX-More: a\r\n\r\n";

#[test]
fn a_chunked_upload_passes_as_it_is_with_extensions_and_trailers() {
    let origin = Origin::named("ok");
    let (_proxy, mut client) = web(&Site::of([origin.address()]));
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let whole = [head.as_bytes(), CHUNKS].concat();
    client.send(&whole);
    assert_eq!(client.response().status(), 200);
    // And in pieces that respect nothing.
    for piece in whole.chunks(7) {
        client.send(piece);
    }
    assert_eq!(client.response().status(), 200);
    let requests = origin.requests();
    assert_eq!(requests.len(), 2);
    for (_, request) in requests {
        assert_eq!(request.body, CHUNKS, "{}", String::from_utf8_lossy(&request.body));
        assert_eq!(request.header("transfer-encoding"), Some("chunked"));
        assert_eq!(request.header("content-length"), None);
    }
    assert_eq!(origin.connections(), 1);
}

#[test]
fn a_chunked_response_passes_as_it_is_with_extensions_and_trailers() {
    let origin = Origin::scripted(|_, mut wire, _| {
        while wire.try_head().unwrap().is_some() {
            wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n");
            for piece in CHUNKS.chunks(3) {
                wire.send(piece);
            }
        }
    });
    let (_proxy, mut client) = web(&Site::of([origin.address()]));
    for _ in 0..3 {
        let response = client.get("/");
        assert_eq!(response.body, CHUNKS);
        assert!(!response.closes());
    }
    assert_eq!(origin.connections(), 1);
}

#[test]
fn a_large_chunked_body_passes_both_ways() {
    let mut body = Vec::new();
    for piece in noise(LARGE / 4).chunks(3_333) {
        body.extend(format!("{:x}\r\n", piece.len()).into_bytes());
        body.extend(piece);
        body.extend(b"\r\n");
    }
    body.extend(b"0\r\n\r\n");
    let origin = Origin::answering(|request| {
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        [head, request.body.as_slice()].concat()
    });
    let (_proxy, mut client) = web(&Site::of([origin.address()]));
    for _ in 0..2 {
        client.send("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
        client.send(&body);
        assert!(client.response().body == body, "the body came back changed");
    }
    assert_eq!(origin.connections(), 1);
}

#[test]
fn responses_without_a_body_leave_the_connection_at_the_next_one() {
    let origin = Origin::answering(|request| {
        match (request.line().split(' ').next().unwrap(), request.target()) {
            ("HEAD", _) => b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n".to_vec(),
            (_, "/204") => b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(),
            (_, "/304") => {
                b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: \"x\"\r\n\r\n".to_vec()
            }
            _ => ok("body"),
        }
    });
    let (_proxy, mut client) = web(&Site::of([origin.address()]));
    for _ in 0..2 {
        client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
        let head = Message { head: client.head(), body: Vec::new() };
        assert_eq!((head.status(), head.header("content-length")), (200, Some("5")));
        assert_eq!(client.get("/204").status(), 204);
        let unchanged = client.get("/304");
        assert_eq!((unchanged.status(), unchanged.header("etag")), (304, Some("\"x\"")));
        assert_eq!(client.get("/").text(), "body");
    }
    assert_eq!(origin.connections(), 1);
}

#[test]
fn a_response_that_ends_with_its_connection_ends_the_clients_too() {
    let origin = Origin::scripted(|_, mut wire, _| {
        wire.head();
        wire.send("HTTP/1.1 200 OK\r\n\r\n");
        wire.send(noise(LARGE / 8));
    });
    let (_proxy, mut client) = web(&Site::of([origin.address()]));
    client.send(get("/"));
    let response = client.response();
    assert!(response.closes());
    assert!(response.body == noise(LARGE / 8));
}

#[test]
fn a_final_response_may_come_before_the_request_is_whole() {
    let origin = Origin::scripted(|_, mut wire, _| {
        wire.head();
        wire.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
        wire.expect_upload_to_end();
    });
    let (_proxy, mut client) = web(&Site::of([origin.address()]));
    client.send(post_head(LARGE));
    let response = client.response();
    assert_eq!((response.status(), response.text()), (403, "no".to_owned()));
    assert!(response.closes(), "the rest of the body is not worth reading");
    client.expect_closed();
}

impl Wire {
    fn expect_upload_to_end(&mut self) {
        let _cut_off = self.try_rest();
    }
}

#[test]
fn an_endpoint_that_refuses_the_body_by_closing_is_still_heard() {
    let origin = Origin::scripted(|_, mut wire, _| {
        wire.head();
        wire.send("HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno");
    });
    let (_proxy, mut client) = web(&Site::of([origin.address()]));
    let mut sender = client.second();
    let sending = thread::spawn(move || {
        sender.send(post_head(LARGE));
        let _refused = sender.try_send(noise(LARGE));
    });
    assert_eq!(client.response().status(), 413);
    drop(client);
    sending.join().unwrap();
}

#[test]
fn a_client_that_leaves_in_the_middle_of_its_body_takes_the_request_with_it() {
    let origin = Origin::scripted(|_, mut wire, log| {
        let head = wire.head();
        // Not a whole body: the end comes first.
        assert!(wire.body(&head).is_err());
        log.push(0, &Message { head, body: Vec::new() });
    });
    let (proxy, mut client) = web(&Site::of([origin.address()]));
    client.send(post_head(100));
    client.send("half");
    eventually("the request is under way", || origin.connections() == 1);
    drop(client);
    eventually("the endpoint sees the end", || origin.requests().len() == 1);
    eventually("nothing is open", || proxy.open_connections() == 0);
    assert_eq!(proxy.endpoint(origin.address()).idle_connections, 0);
}

#[test]
fn two_shards_carry_bodies_alike() {
    let origin = Origin::scripted(serve(|request: &Message| with_length(&request.body)));
    let proxy = Site { shards: 2, ..Site::of([origin.address()]) }.start();
    let address = proxy.address("web");
    let clients: Vec<_> = (0..8)
        .map(|number| {
            let address = address.clone();
            thread::spawn(move || {
                let mut client = Wire::connect(&address);
                let body = noise(300_000 + number);
                for _ in 0..3 {
                    client.send(post_head(body.len()));
                    client.send(&body);
                    assert!(client.response().body == body);
                }
            })
        })
        .collect();
    clients.into_iter().for_each(|client| client.join().unwrap());
    eventually("nothing is open", || proxy.open_connections() == 0);
}
