//! Every way in which a request is not answered by an endpoint: the status, and the counter that says why.

use std::net::SocketAddr;

use socket2::{Domain, Socket, Type};

use crate::{
    fixture::{Proxy, Site, eventually},
    origin::{Origin, Refusing},
    wire::{Message, PATIENCE, Wire, get, ok, post},
};

/// What a client sends, and what it must get.
struct Case {
    name: &'static str,
    listener: &'static str,
    send: String,
    status: u16,
    reason: &'static str,
}

fn case(name: &'static str, send: impl Into<String>, status: u16, reason: &'static str) -> Case {
    Case { name, listener: "", send: send.into(), status, reason }
}

fn limited(
    name: &'static str,
    listener: &'static str,
    send: impl Into<String>,
    status: u16,
    reason: &'static str,
) -> Case {
    Case { name, listener, send: send.into(), status, reason }
}

fn chunked(body: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}")
}

fn cases() -> Vec<Case> {
    let long = "a".repeat(20_000);
    let head = "GET / HTTP/1.1\r\nHost: a\r\n";
    let many: String = (0..200).map(|at| format!("x-{at}: 1\r\n")).collect();
    let small = "max_body_size = \"10B\"";
    vec![
        case("garbage", "\u{1}\u{2}\u{3}\r\n\r\n", 400, "bad_request"),
        case("no Host", "GET / HTTP/1.1\r\n\r\n", 400, "bad_request"),
        case(
            "two lengths",
            format!("{head}Content-Length: 1\r\nContent-Length: 1\r\n\r\na"),
            400,
            "bad_request",
        ),
        case(
            "both framings",
            format!("{head}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
            400,
            "bad_request",
        ),
        case("folded header", format!("{head}X-A: 1\r\n 2\r\n\r\n"), 400, "bad_request"),
        case("bad chunk at once", chunked("zz\r\n"), 400, "bad_request_body"),
        case("bad chunk later", chunked("5\r\nhello!!\r\n"), 400, "bad_request_body"),
        case("CONNECT", "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", 405, "connect_method"),
        case(
            "unknown coding",
            format!("{head}Transfer-Encoding: gzip, chunked\r\n\r\n"),
            501,
            "bad_request",
        ),
        case("version 2", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505, "bad_request"),
        case(
            "long target",
            format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"),
            414,
            "uri_too_long",
        ),
        case("long head", format!("{head}X-A: {long}\r\n\r\n"), 431, "head_too_large"),
        case("many headers", format!("{head}{many}\r\n"), 431, "head_too_large"),
        limited(
            "head limit",
            "max_head_size = \"1KiB\"",
            format!("{head}X-A: {}\r\n\r\n", &long[..1_100]),
            431,
            "head_too_large",
        ),
        limited("body by length", small, post("/", "eleven byte"), 413, "body_too_large"),
        limited(
            "chunked body in one packet",
            small,
            chunked("b\r\neleven byte\r\n0\r\n\r\n"),
            413,
            "body_too_large",
        ),
        limited(
            "chunked body without end",
            small,
            chunked("b\r\neleven byte\r\n"),
            413,
            "body_too_large",
        ),
        limited("slow head", "head_timeout = \"200ms\"", head, 408, "head_timeout"),
        limited(
            "slow body",
            "body_timeout = \"200ms\"",
            post("/", "abc").trim_end_matches('c'),
            408,
            "body_timeout",
        ),
        limited(
            "no body at all",
            "body_timeout = \"200ms\"",
            post("/", "abc").trim_end_matches("abc"),
            408,
            "body_timeout",
        ),
    ]
}

#[test]
fn a_request_that_is_refused_gets_its_status_and_counts_under_its_reason() {
    for Case { name, listener, send, status, reason } in cases() {
        let origin = Origin::named("should not be seen");
        let proxy = Site { listener, ..Site::of([origin.address()]) }.start();
        let mut client = proxy.web();
        client.send(&send);
        let response = client.response();
        assert_eq!(response.status(), status, "{name}: {response:?}");
        assert!(response.closes(), "{name}: what follows cannot be told from a request");
        client.expect_closed();
        assert_eq!(proxy.failures().get(reason), Some(&1), "{name}: {:?}", proxy.failures());
        assert_eq!(origin.requests().len(), 0, "{name}");
    }
}

#[test]
fn a_body_as_large_as_allowed_passes() {
    let origin = Origin::answering(|request| ok(&request.text()));
    let proxy =
        Site { listener: "max_body_size = \"10B\"", ..Site::of([origin.address()]) }.start();
    let mut client = proxy.web();
    client.send(post("/", "ten bytes!"));
    assert_eq!(client.response().status(), 200);
    // Framing is not body.
    client.send(chunked("5\r\nten b\r\n5\r\nytes!\r\n0\r\n\r\n"));
    assert_eq!(client.response().status(), 200);
    assert_eq!(proxy.failures().len(), 0);
}

#[test]
fn what_no_route_matches_is_not_found_and_the_connection_goes_on() {
    let origin = Origin::named("ok");
    let proxy = Site { route: "path = \"/there\"", ..Site::of([origin.address()]) }.start();
    let mut client = proxy.web();
    let response = client.get("/elsewhere");
    assert_eq!(response.status(), 404);
    assert!(!response.closes());
    client.send("HEAD /elsewhere HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(client.head().starts_with("HTTP/1.1 404 "));
    assert_eq!(client.get("/there").status(), 200);
    client.send(post("/elsewhere", "with a body"));
    let response = client.response();
    assert!(response.status() == 404 && response.closes());
    assert_eq!(proxy.failures()["no_route"], 3);
}

/// Sends a GET to an endpoint that plays `answer`, and gives the response.
fn against(site: &Site) -> (Proxy, Wire, Message) {
    let proxy = site.start();
    let mut client = proxy.web();
    let response = client.get("/");
    (proxy, client, response)
}

fn expect_bad_gateway(answer: &'static [u8], reason: &str) {
    let origin = Origin::scripted(move |_, mut wire, _| {
        wire.head();
        wire.send(answer);
    });
    let (proxy, mut client, response) = against(&Site::of([origin.address()]));
    let shown = String::from_utf8_lossy(answer);
    assert_eq!(response.status(), 502, "{shown:?}");
    assert_eq!(proxy.failures().get(reason), Some(&1), "{shown:?}: {:?}", proxy.failures());
    assert_eq!(origin.connections(), 1, "{shown:?} is not tried again");
    assert!(!response.closes(), "the client did nothing wrong");
    assert_eq!(client.get("/").status(), 502);
}

#[test]
fn an_endpoint_that_closes_or_talks_nonsense_is_a_bad_gateway() {
    expect_bad_gateway(b"", "upstream_closed");
    expect_bad_gateway(b"HTTP/1.1 200 OK\r\nContent-Le", "upstream_closed");
    expect_bad_gateway(b"SSH-2.0-OpenSSH\r\n", "bad_response");
    expect_bad_gateway(
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "bad_response",
    );
    expect_bad_gateway(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "bad_response");
}

#[test]
fn a_response_head_beyond_the_buffer_is_a_bad_gateway() {
    let origin = Origin::answering(|_| {
        format!("HTTP/1.1 200 OK\r\nX-A: {}\r\nContent-Length: 0\r\n\r\n", "a".repeat(64 * 1024))
            .into_bytes()
    });
    let (proxy, _, response) = against(&Site::of([origin.address()]));
    assert_eq!(response.status(), 502);
    assert_eq!(proxy.failures()["bad_response"], 1);
}

#[test]
fn an_endpoint_that_refuses_is_a_bad_gateway() {
    let refusing = Refusing::new();
    let (proxy, mut client, response) = against(&Site::of([refusing.address()]));
    assert_eq!(response.status(), 502);
    assert_eq!(proxy.failures()["connect_failed"], 1);
    assert!(!response.closes());
    assert_eq!(client.get("/").status(), 502);
    assert_eq!(proxy.endpoint(refusing.address()).connect_failures_total, 2);
}

#[test]
fn bytes_nobody_asked_for_end_the_endpoints_connection() {
    let origin = Origin::answering(|_| [ok("fine"), ok("poison")].concat());
    let proxy = Site::of([origin.address()]).start();
    let mut client = proxy.web();
    for _ in 0..3 {
        assert_eq!(client.get("/").text(), "fine");
    }
    assert_eq!(origin.connections(), 3, "no connection is used twice");
    eventually("the excess is counted", || {
        proxy.failures().get("upstream_excess").is_some_and(|count| *count == 3)
    });
}

#[test]
fn bytes_that_come_late_end_an_idle_connection() {
    let origin = Origin::scripted(|connection, mut wire, log| {
        while let Some(head) = wire.try_head().unwrap() {
            wire.send(ok("fine"));
            wire.send(ok("poison"));
            log.push(connection, &Message { head, body: Vec::new() });
        }
    });
    let proxy = Site::of([origin.address()]).start();
    let mut client = proxy.web();
    for number in 1..=50 {
        assert_eq!(client.get("/").text(), "fine");
        // The excess arrives before what the client sends next, so that it has to be noticed.
        eventually("the excess is sent", || origin.requests().len() == number);
        assert_eq!(origin.connections(), number, "no connection is used twice");
    }
}

fn expect_unavailable(proxy: &Proxy, reason: &str, after: Option<&str>) {
    let mut client = proxy.web();
    let response = client.get("/");
    assert_eq!(response.status(), 503);
    assert_eq!(response.header("retry-after"), after);
    assert!(!response.closes());
    assert_eq!(proxy.failures()[reason], 1);
}

#[test]
fn clients_are_told_the_reason_where_that_is_wanted() {
    let none = Site::of([] as [&str; 0]);
    assert_eq!(none.start().web().get("/").header("x-bs9-reason"), None);
    let proxy = Site { listener: "reason_header = true", ..none }.start();
    assert_eq!(proxy.web().get("/").header("x-bs9-reason"), Some("no_endpoints"));
    let refusing = Refusing::new();
    let site = Site { listener: "reason_header = true", ..Site::of([refusing.address()]) };
    assert_eq!(site.start().web().get("/").header("x-bs9-reason"), Some("connect_failed"));
    let mut client = proxy.web();
    client.send("nonsense\r\n\r\n");
    assert_eq!(client.response().header("x-bs9-reason"), Some("bad_request"));
}

#[test]
fn a_cluster_without_endpoints_is_unavailable() {
    expect_unavailable(&Site::of([] as [&str; 0]).start(), "no_endpoints", None);
}

#[test]
fn a_cluster_whose_endpoints_all_drain_is_unavailable_until_one_comes_back() {
    let origins = [Origin::named("a"), Origin::named("b")];
    let proxy = Site::of(origins.iter().map(Origin::address)).start();
    for origin in &origins {
        proxy.engine.drain_endpoint("app", &origin.address().to_string(), true).unwrap();
    }
    expect_unavailable(&proxy, "no_healthy_endpoint", None);
    proxy.engine.drain_endpoint("app", &origins[1].address().to_string(), false).unwrap();
    let mut client = proxy.web();
    for _ in 0..5 {
        assert_eq!(client.get("/").text(), "b");
    }
    assert!(proxy.engine.drain_endpoint("app", "127.0.0.1:1", true).is_err());
    assert!(proxy.engine.drain_endpoint("nope", "127.0.0.1:1", true).is_err());
}

#[test]
fn an_endpoint_at_its_limit_of_connections_takes_no_more() {
    let (go_on, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let origin = Origin::answering(move |request| {
        if request.target() == "/slow" {
            wait.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        }
        ok("ok")
    });
    let proxy = Site { cluster: "max_connections = 1", ..Site::of([origin.address()]) }.start();
    let mut slow = proxy.web();
    slow.send(get("/slow"));
    eventually("the request is under way", || proxy.endpoint(origin.address()).active == 1);
    expect_unavailable(&proxy, "endpoints_full", Some("1"));
    go_on.send(()).unwrap();
    assert_eq!(slow.response().status(), 200);
    eventually("the request is over", || proxy.endpoint(origin.address()).active == 0);
    assert_eq!(proxy.web().get("/").status(), 200);
}

#[test]
fn a_response_that_does_not_come_in_time_is_a_timeout() {
    let origin = Origin::scripted(|_, mut wire, _| {
        let _cut_off = wire.try_rest();
    });
    let site = Site { route: "timeout = \"200ms\"", ..Site::of([origin.address()]) };
    let (proxy, mut client, response) = against(&site);
    assert_eq!(response.status(), 504);
    assert_eq!(proxy.failures()["response_timeout"], 1);
    assert_eq!(
        origin.connections(),
        1,
        "a request that may have been carried out is not tried again"
    );
    assert_eq!(client.get("/").status(), 504);
    // With a body, which was sent whole.
    client.send(post("/", "body"));
    assert_eq!(client.response().status(), 504);
}

#[test]
fn a_connection_that_does_not_come_in_time_is_a_timeout() {
    // A full accept queue: the kernel drops further attempts.
    let listening = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listening.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    listening.listen(0).unwrap();
    let address = listening.local_addr().unwrap().as_socket().unwrap();
    let patience = std::time::Duration::from_millis(200);
    let mut queued = Vec::new();
    while let Ok(stream) = std::net::TcpStream::connect_timeout(&address, patience) {
        queued.push(stream);
        assert!(queued.len() < 100, "the accept queue does not fill");
    }
    let site = Site { cluster: "connect_timeout = \"200ms\"", ..Site::of([address]) };
    let (proxy, _, response) = against(&site);
    assert_eq!(response.status(), 504);
    assert_eq!(proxy.failures()["connect_timeout"], 1);
}

/// Each of these is cut off; a client must not take it for whole.
fn expect_cut(request: &str, answer: &'static [u8], reset: bool) {
    let (proxy, origin) = cut(request, answer, reset);
    eventually("the cut is counted", || proxy.failures().contains_key("upstream_closed"));
    assert_eq!(proxy.endpoint(origin.address()).idle_connections, 0);
}

fn cut(request: &str, answer: &'static [u8], reset: bool) -> (Proxy, Origin) {
    let origin = Origin::scripted(move |_, mut wire, _| {
        wire.head();
        wire.send(answer);
        if reset {
            // Only once the proxy has had the head: a reset takes unread bytes with it.
            let _cut_off = wire.exact(1);
            wire.reset();
        }
    });
    let proxy = Site::of([origin.address()]).start();
    let mut client = proxy.web();
    client.send(request);
    let Some(head) = client.try_head().unwrap() else {
        // The fault was there before a byte had been passed on.
        return (proxy, origin);
    };
    assert!(head.starts_with("HTTP/1.1 200 "));
    if reset {
        client.send("x");
    }
    let rest = match client.body(&head) {
        Ok(None) => client.try_rest().map(Some),
        other => other,
    };
    assert!(
        rest.is_err(),
        "{request:?} got {:?}",
        rest.map(|body| String::from_utf8(body.unwrap()))
    );
    (proxy, origin)
}

#[test]
fn half_a_response_is_never_taken_for_a_whole_one() {
    expect_cut(&get("/"), b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", false);
    expect_cut(
        &get("/"),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        false,
    );
    let old = "GET / HTTP/1.0\r\n\r\n";
    expect_cut(old, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", false);
    expect_cut(
        old,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n",
        false,
    );
}

#[test]
fn a_body_that_is_malformed_before_a_byte_was_passed_on_is_a_bad_response() {
    let origin = Origin::scripted(|_, mut wire, _| {
        wire.head();
        wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n");
    });
    let (proxy, mut client, response) = against(&Site::of([origin.address()]));
    assert_eq!(response.status(), 502);
    assert_eq!(proxy.failures()["bad_response"], 1);
    assert_eq!(proxy.endpoint(origin.address()).idle_connections, 0);
    assert_eq!(client.get("/").status(), 502, "the client's connection goes on");
}

#[test]
fn a_reset_of_a_response_without_length_is_passed_on_as_one() {
    // The upload goes on, so that the endpoint knows when the head has arrived.
    let request = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n";
    expect_cut(request, b"HTTP/1.1 200 OK\r\n\r\nhalf", true);
}

#[test]
fn a_response_that_stalls_is_cut() {
    let origin = Origin::scripted(|_, mut wire, _| {
        wire.head();
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
        let _cut_off = wire.try_rest();
    });
    let proxy =
        Site { listener: "body_timeout = \"200ms\"", ..Site::of([origin.address()]) }.start();
    let mut client = proxy.web();
    client.send(get("/"));
    assert!(client.try_response().is_err());
    eventually("nothing is open", || proxy.open_connections() == 0);
}
