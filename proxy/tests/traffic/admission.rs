//! Who may come, and who is believed about whom.

use std::{net::SocketAddr, sync::mpsc};

use bs9_config::BindAddress;
use bs9_net::proxy_header::{ProxyHeader, write_v1, write_v2};

use crate::{
    fixture::{Proxy, Site, eventually},
    origin::{Log, Origin},
    wire::{Message, PATIENCE, Wire, get},
};

fn from(client: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: site.test\r\nX-Forwarded-For: {client}\r\n\r\n")
}

#[test]
fn who_is_denied_or_not_allowed_is_closed_at_once() {
    let origin = Origin::named("ok");
    for (lists, welcome) in [
        ("allow = [\"127.0.0.0/8\"]", true),
        ("allow = [\"10.0.0.0/8\"]", false),
        ("deny = [\"127.0.0.1\"]", false),
        ("allow = [\"127.0.0.0/8\"]\ndeny = [\"127.0.0.1\"]", false),
        ("deny = [\"127.0.0.2\", \"::/0\"]", true),
    ] {
        let proxy = Site { listener: lists, ..Site::of([origin.address()]) }.start();
        let mut client = proxy.web();
        if welcome {
            assert_eq!(client.get("/").status(), 200, "{lists}");
        } else {
            client.expect_closed();
            assert_eq!(proxy.report("web").listener.denied_connections(), 1, "{lists}");
        }
        assert_eq!(proxy.report("web").listener.denied_connections(), u64::from(!welcome));
    }
}

#[test]
fn lists_follow_a_reload() {
    let origin = Origin::named("ok");
    let site = Site::of([origin.address()]);
    let proxy = site.start();
    assert_eq!(proxy.web().get("/").status(), 200);
    let closed = Site { listener: "deny = [\"0.0.0.0/0\"]", ..site.clone() };
    proxy.reload(&closed.toml()).unwrap();
    proxy.web().expect_closed();
    proxy.reload(&site.toml()).unwrap();
    assert_eq!(proxy.web().get("/").status(), 200);
}

#[test]
fn a_client_behind_a_trusted_proxy_is_judged_by_its_own_address() {
    let origin = Origin::named("ok");
    let listener =
        "trusted_proxies = [\"127.0.0.1\"]\nallow = [\"192.0.2.0/24\"]\ndeny = [\"192.0.2.6\"]";
    let proxy = Site { listener, ..Site::of([origin.address()]) }.start();
    for (client, status) in [
        ("192.0.2.1", 200),
        ("192.0.2.6", 403),
        ("198.51.100.1", 403),
        // Spoofed before the proxy added what it saw.
        ("192.0.2.1, 198.51.100.1", 403),
        ("198.51.100.1, 192.0.2.1", 200),
    ] {
        let mut wire = proxy.web();
        wire.send(from(client));
        assert_eq!(wire.response().status(), status, "{client}");
    }
    assert_eq!(proxy.failures()["address_denied"], 3);
    let seen: Vec<_> = origin.requests().into_iter().map(|(_, request)| request).collect();
    let chains: Vec<_> = seen.iter().map(|request| request.headers("x-forwarded-for")).collect();
    assert_eq!(chains, [["192.0.2.1, 127.0.0.1"], ["198.51.100.1, 192.0.2.1, 127.0.0.1"]]);
}

#[test]
fn a_route_may_be_for_some_clients_alone() {
    let origin = Origin::named("ok");
    let inside = "\n[[listeners.web.routes]]\npath = \"/inside/\"\ncluster = \"app\"\n\
        allow = [\"192.0.2.0/24\", \"2001:db8::/32\"]\ndeny = [\"192.0.2.6\"]\n\
        response_headers = { set = { x-route = \"inside\" } }\n\
        [[listeners.web.routes]]\npath = \"/told\"\nrespond = { body = \"told\" }\n\
        deny = [\"0.0.0.0/0\"]\n\
        [[listeners.web.routes]]\npath = \"/moved\"\nredirect = \"/new\"\nallow = [\"::/0\"]\n";
    let site = Site {
        listener: "trusted_proxies = [\"127.0.0.1\"]",
        route: inside,
        ..Site::of([origin.address()])
    };
    let proxy = site.start();
    let mut wire = proxy.web();
    let mut ask = |path: &str, client: &str| {
        wire.send(format!(
            "GET {path} HTTP/1.1\r\nHost: site.test\r\nX-Forwarded-For: {client}\r\n\r\n"
        ));
        // All on one connection: a client that is refused here may be welcome elsewhere.
        wire.response()
    };
    for (path, client, status) in [
        ("/inside/a", "192.0.2.1", 200),
        ("/inside/a", "192.0.2.6", 403),
        ("/inside/a", "198.51.100.1", 403),
        ("/inside/a", "2001:db8::7", 200),
        ("/inside/a", "2001:db9::7", 403),
        // Spoofed before the proxy added what it saw.
        ("/inside/a", "192.0.2.1, 198.51.100.1", 403),
        ("/", "198.51.100.1", 200),
        ("/told", "198.51.100.1", 403),
        ("/told", "2001:db8::7", 200),
        ("/moved", "198.51.100.1", 403),
        ("/moved", "2001:db8::7", 308),
    ] {
        let answer = ask(path, client);
        assert_eq!(answer.status(), status, "{path} for {client}");
        let edited = path.starts_with("/inside/").then_some("inside");
        assert_eq!(answer.header("x-route"), edited, "{path} for {client}");
    }
    assert_eq!(proxy.failures()["route_denied"], 6);
    assert!(!proxy.failures().contains_key("address_denied"));
    assert_eq!(origin.requests().len(), 3);
}

#[test]
fn the_lists_of_a_route_hold_for_peers_and_follow_a_reload() {
    let origin = Origin::named("ok");
    let site = |route| Site { route, ..Site::of([origin.address()]) };
    let proxy = site("allow = [\"10.0.0.0/8\"]").start();
    let mut client = proxy.web();
    // What nobody checks is not believed.
    client.send(from("10.0.0.1"));
    assert_eq!(client.response().status(), 403);
    // A body that is not read takes the connection along, but the answer comes.
    let mut other = proxy.web();
    other.send("POST / HTTP/1.1\r\nHost: site.test\r\nContent-Length: 5\r\n\r\nhello");
    let refused = other.response();
    assert_eq!((refused.status(), refused.closes()), (403, true));
    proxy.reload(&site("deny = [\"10.0.0.0/8\"]").toml()).unwrap();
    eventually("it is let in", || client.get("/").status() == 200);
    assert_eq!(origin.requests().len(), 1);
}

/// The only request an endpoint got of one with these fields.
fn forwarded(listener: &'static str, fields: &str) -> Message {
    let origin = Origin::named("ok");
    let proxy = Site { listener, ..Site::of([origin.address()]) }.start();
    let mut wire = proxy.web();
    wire.send(format!("GET / HTTP/1.1\r\nHost: site.test\r\n{fields}\r\n"));
    assert_eq!(wire.response().status(), 200);
    origin.only_request()
}

const SPOOFED: &str = "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\n\
    X-Forwarded-Host: evil.test\r\nX-Forwarded-Port: 1\r\nForwarded: for=6.6.6.6;proto=https\r\n";

#[test]
fn the_field_that_nobody_checks_does_not_pass() {
    let request = forwarded("trusted_proxies = [\"127.0.0.0/8\"]", SPOOFED);
    assert_eq!(request.headers("x-forwarded-for"), ["6.6.6.6, 127.0.0.1"]);
    assert_eq!(request.headers("x-forwarded-proto"), ["https"]);
    assert_eq!(request.header("forwarded"), None);

    let standard = "trusted_proxies = [\"127.0.0.0/8\"]\nforwarded_field = \"forwarded\"";
    let request = forwarded(standard, SPOOFED);
    assert_eq!(
        request.headers("forwarded"),
        ["for=6.6.6.6;proto=https, for=127.0.0.1;host=\"site.test\";proto=http"]
    );
    assert_eq!(request.headers("x-forwarded-for"), ["6.6.6.6"]);
    assert_eq!(request.headers("x-forwarded-proto"), ["https"]);
    assert_eq!(request.headers("x-forwarded-host"), ["site.test"]);
    assert_eq!(request.header("x-forwarded-port"), None);
}

#[test]
fn a_peer_that_is_not_trusted_is_not_believed() {
    for listener in [
        "trusted_proxies = [\"10.0.0.0/8\", \"unix\"]",
        "trusted_proxies = [\"10.0.0.0/8\"]\nforwarded_field = \"forwarded\"",
    ] {
        let request = forwarded(listener, SPOOFED);
        assert_eq!(request.headers("x-forwarded-for"), ["127.0.0.1"]);
        assert_eq!(request.headers("x-forwarded-proto"), ["http"]);
        assert_eq!(request.headers("x-forwarded-host"), ["site.test"]);
        assert_eq!(request.header("x-forwarded-port"), None);
        assert!(!request.head.contains("6.6.6.6"), "{}", request.head);
    }
}

#[test]
fn a_hash_by_address_follows_the_client_and_not_the_proxy() {
    let origins = [Origin::named("a"), Origin::named("b"), Origin::named("c")];
    let site = Site {
        listener: "trusted_proxies = [\"127.0.0.1\"]",
        cluster: "balance = \"maglev\"",
        ..Site::of(origins.each_ref().map(Origin::address))
    };
    let proxy = site.start();
    let mut wire = proxy.web();
    let mut ask = |client: usize| {
        wire.send(from(&format!("192.0.2.{client}")));
        wire.response().text()
    };
    let first: Vec<_> = (1..40).map(&mut ask).collect();
    let second: Vec<_> = (1..40).map(&mut ask).collect();
    assert_eq!(first, second);
    for name in ["a", "b", "c"] {
        assert!(first.iter().any(|answer| answer == name), "{first:?}");
    }
}

// === PROXY protocol in ===

fn header(write: fn(&mut Vec<u8>, ProxyHeader), source: &str) -> Vec<u8> {
    let source = source.parse().unwrap();
    let destination = "203.0.113.9:443".parse().unwrap();
    let mut out = Vec::new();
    write(&mut out, ProxyHeader::Proxied { source, destination });
    out
}

const BEHIND: &str = "trusted_proxies = [\"127.0.0.1\"]\nproxy_protocol = true";

#[test]
fn the_client_is_whom_the_header_names() {
    let origin = Origin::named("ok");
    let proxy = Site { listener: BEHIND, ..Site::of([origin.address()]) }.start();
    for write in [write_v1 as fn(&mut Vec<u8>, ProxyHeader), write_v2] {
        for source in ["192.0.2.7:4000", "[2001:db8::7]:4000"] {
            let mut wire = proxy.web();
            // One byte at a time, and what follows with the last one.
            let header = header(write, source);
            let (last, first) = header.split_last().unwrap();
            for byte in first {
                wire.send([*byte]);
            }
            wire.send([&[*last], get("/").as_bytes()].concat());
            assert_eq!(wire.response().status(), 200);
            assert_eq!(wire.get("/again").status(), 200);
        }
    }
    let clients: Vec<_> = origin
        .requests()
        .iter()
        .map(|(_, request)| request.header("x-forwarded-for").unwrap().to_owned())
        .collect();
    let twice = ["192.0.2.7", "192.0.2.7", "2001:db8::7", "2001:db8::7"];
    assert_eq!(clients, [twice, twice].concat());
}

#[test]
fn a_connection_without_the_header_it_should_have_is_closed() {
    let origin = Origin::named("ok");
    let listener = "trusted_proxies = [\"127.0.0.1\"]\nproxy_protocol = { timeout = \"50ms\" }";
    let proxy = Site { listener, ..Site::of([origin.address()]) }.start();
    for sent in [
        get("/").as_bytes(),
        b"PROXY TCP4 1 2 3 4\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\xff\0\0\0",
        b"PROXY TC",
    ] {
        let mut wire = proxy.web();
        wire.send(sent);
        wire.expect_closed();
    }
    let mut half = proxy.web();
    half.send("PROXY");
    half.finish();
    half.expect_closed();
    eventually("all are counted", || proxy.report("web").listener.bad_headers() == 5);
    eventually("nothing is open", || proxy.open_connections() == 0);
    assert!(origin.requests().is_empty());
}

#[test]
fn only_trusted_peers_speak_the_header_and_lists_hold_for_whom_they_name() {
    let origin = Origin::named("ok");
    let elsewhere = "trusted_proxies = [\"10.0.0.0/8\"]\nproxy_protocol = true";
    let proxy = Site { listener: elsewhere, ..Site::of([origin.address()]) }.start();
    assert_eq!(proxy.web().get("/").status(), 200);
    let mut spoofing = proxy.web();
    spoofing.send([header(write_v1, "6.6.6.6:1"), get("/").into_bytes()].concat());
    assert_eq!(spoofing.response().status(), 400);

    let listener =
        "trusted_proxies = [\"127.0.0.1\"]\nproxy_protocol = true\ndeny = [\"192.0.2.6\"]";
    let proxy = Site { listener, ..Site::of([origin.address()]) }.start();
    let mut denied = proxy.web();
    denied.send(header(write_v2, "192.0.2.6:1"));
    denied.expect_closed();
    let mut local = proxy.web();
    let mut health_check = Vec::new();
    write_v2(&mut health_check, ProxyHeader::Local);
    local.send([&health_check[..], get("/").as_bytes()].concat());
    assert_eq!(local.response().status(), 200);
}

/// A `tcp` listener at `bind` with these lines, in front of an endpoint that is told of clients.
fn raw(bind: &str, lines: &str, endpoint: &str) -> Proxy {
    Proxy::start(&format!(
        "[runtime]\nshards = 2\npin = false\n[listeners.raw]\nbind = [\"{bind}\"]\n\
         protocol = \"tcp\"\ncluster = \"app\"\n{lines}\n\
         [clusters.app]\nendpoints = [\"{endpoint}\"]\nproxy_protocol = \"v2\"\n"
    ))
}

/// Tells what came on each connection, which it takes to its end.
fn reporting() -> (impl Fn(usize, Wire, &Log) + Send + Sync, mpsc::Receiver<Vec<u8>>) {
    let (report, told) = mpsc::channel();
    (move |_: usize, mut wire: Wire, _: &Log| report.send(wire.rest()).unwrap(), told)
}

/// Sends this, and its end.
fn say(proxy: &Proxy, pieces: &[&[u8]]) {
    let mut wire = proxy.client("raw");
    pieces.iter().for_each(|piece| wire.send(piece));
    wire.finish();
    wire.expect_closed();
}

#[test]
fn a_tcp_listener_reads_the_header_and_tells_the_endpoint_whom_it_names() {
    let (script, told) = reporting();
    let origin = Origin::scripted(script);
    let lines = format!("{BEHIND}\ndeny = [\"192.0.2.6\"]");
    let proxy = raw("127.0.0.1:0", &lines, &origin.address().to_string());
    for source in ["192.0.2.7:4000", "[2001:db8::7]:4000"] {
        let expected = [&header(write_v2, source)[..], b"hello"].concat();
        for write in [write_v1 as fn(&mut Vec<u8>, ProxyHeader), write_v2] {
            let sent = header(write, source);
            let (first, last) = sent.split_at(sent.len() / 2);
            say(&proxy, &[first, &[last, b"hel"].concat(), b"lo"]);
            assert_eq!(told.recv_timeout(PATIENCE).unwrap(), expected, "{source}");
        }
    }
    // Who is denied, and who says nothing of a client, gets no connection.
    for sent in [&header(write_v1, "192.0.2.6:1")[..], b"hello, who is there?\r\n"] {
        let mut wire = proxy.client("raw");
        wire.send(sent);
        wire.expect_closed();
    }
    assert_eq!(proxy.report("raw").listener.denied_connections(), 1);
    assert_eq!(proxy.report("raw").listener.bad_headers(), 1);
    assert_eq!((told.try_recv().ok(), origin.connections()), (None, 4));
}

#[test]
fn a_proxy_behind_a_unix_socket_is_trusted_by_that_word_alone() {
    let folder = tempfile::tempdir().unwrap();
    let [inside, outside] = ["app", "raw"].map(|name| folder.path().join(name));
    let (script, told) = reporting();
    let _origin = Origin::at_path(&inside, script);
    let [endpoint, bind] = [&inside, &outside].map(|path| format!("unix:{}", path.display()));
    let sent = header(write_v1, "192.0.2.7:4000");
    let mut local = Vec::new();
    write_v2(&mut local, ProxyHeader::Local);
    for (trusted, expected) in [
        ("\"unix\"", [&header(write_v2, "192.0.2.7:4000")[..], b"hello"].concat()),
        // A client like others, without an address; what it says is passed on and nothing else.
        ("\"127.0.0.1\"", [&local[..], &sent, b"hello"].concat()),
    ] {
        let lines = format!("trusted_proxies = [{trusted}]\nproxy_protocol = true");
        let proxy = raw(&bind, &lines, &endpoint);
        say(&proxy, &[&sent, b"hello"]);
        assert_eq!(told.recv_timeout(PATIENCE).unwrap(), expected, "{trusted}");
        assert_eq!(proxy.report("raw").listener.bad_headers(), 0);
        drop(proxy);
        assert!(!outside.exists(), "the socket file goes with its listener");
    }
}

#[test]
fn a_proxy_behind_a_unix_socket_is_believed_about_clients_of_http() {
    let folder = tempfile::tempdir().unwrap();
    let bind = format!("unix:{}", folder.path().join("web").display());
    let origin = Origin::named("ok");
    for (trusted, seen) in [("unix", Some("192.0.2.7")), ("10.0.0.0/8", None)] {
        let listener = format!("trusted_proxies = [\"{trusted}\"]\ndeny = [\"192.0.2.6\"]");
        let site = Site { listener: listener.leak(), ..Site::of([origin.address()]) };
        let proxy = Proxy::start(&site.toml().replace("127.0.0.1:0", &bind));
        let mut wire = proxy.web();
        wire.send(from("192.0.2.7"));
        assert_eq!(wire.response().status(), 200);
        let (_, request) = origin.requests().pop().unwrap();
        assert_eq!(request.header("x-forwarded-for"), seen, "{trusted}");
        wire.send(from("192.0.2.6"));
        assert_eq!(wire.response().status(), if seen.is_some() { 403 } else { 200 });
    }
}

// === PROXY protocol out ===

fn address(wire: &Wire) -> SocketAddr {
    wire.socket().local_addr().unwrap().as_socket().unwrap()
}

#[test]
fn endpoints_are_told_of_tcp_clients_before_their_first_byte() {
    for version in ["v1", "v2"] {
        let (report, told) = mpsc::channel();
        let origin = Origin::scripted(move |_, mut wire, _| {
            report.send(wire.rest()).unwrap();
        });
        let proxy = Proxy::start(&format!(
            "[runtime]\nshards = 1\npin = false\n[listeners.raw]\nbind = [\"127.0.0.1:0\"]\n\
             protocol = \"tcp\"\ncluster = \"app\"\n[clusters.app]\n\
             endpoints = [\"{}\"]\nproxy_protocol = \"{version}\"\n",
            origin.address()
        ));
        let BindAddress::Tcp(destination) = proxy.address("raw") else { panic!("a TCP address") };
        let mut wire = proxy.client("raw");
        let source = address(&wire);
        wire.send("hello");
        wire.finish();
        let mut expected = Vec::new();
        let write = if version == "v1" { write_v1 } else { write_v2 };
        write(&mut expected, ProxyHeader::Proxied { source, destination });
        expected.extend_from_slice(b"hello");
        assert_eq!(told.recv_timeout(PATIENCE).unwrap(), expected);
    }
}

#[test]
fn what_one_proxy_says_another_one_understands_and_no_connection_serves_two_clients() {
    let origin = Origin::named("ok");
    let inner = Site { listener: BEHIND, ..Site::of([origin.address()]) }.start();
    let site = Site {
        listener: BEHIND,
        cluster: "proxy_protocol = \"v2\"\nhealth_check = { path = \"/healthz\", interval = \"1s\" }",
        ..Site::of([inner.address("web")])
    };
    let outer = site.start();
    for client in ["192.0.2.1", "192.0.2.2"] {
        let mut wire = outer.web();
        wire.send(header(write_v1, &format!("{client}:1")));
        for _ in 0..2 {
            assert_eq!(wire.get("/").status(), 200);
        }
    }
    let asked = || origin.requests().into_iter().map(|(_, request)| request);
    let clients: Vec<_> = asked()
        .filter(|request| request.target() == "/")
        .map(|request| request.header("x-forwarded-for").unwrap().to_owned())
        .collect();
    assert_eq!(clients, ["192.0.2.1", "192.0.2.1", "192.0.2.2", "192.0.2.2"]);
    // Health checks speak for themselves.
    eventually("it is probed", || asked().any(|request| request.target() == "/healthz"));
    assert_eq!(inner.report("web").listener.bad_headers(), 0);
}
