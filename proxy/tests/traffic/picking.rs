//! Who gets which request: hashes, cookies, priorities, zones, panic, slow start.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

use bs9_api::types::EndpointHealth;

use crate::{
    fixture::{Proxy, Site, eventually},
    origin::Origin,
    wire::{Message, Wire, ok},
};

/// Endpoints that answer with their number.
fn numbered(count: usize) -> Vec<Origin> {
    (0..count).map(|number| Origin::named(&number.to_string())).collect()
}

fn start(shards: usize, cluster: &str, endpoints: &[(&Origin, &str)]) -> Proxy {
    let endpoints: Vec<_> = endpoints
        .iter()
        .map(|(origin, keys)| format!("{{ address = \"{}\"{keys} }}", origin.address()))
        .collect();
    let toml = Site { shards, ..Site::default() }.toml();
    let endpoints = format!("endpoints = [{}]\n{cluster}", endpoints.join(", "));
    Proxy::start(&toml.replace("endpoints = []", &endpoints))
}

fn plain(origins: &[Origin]) -> Vec<(&Origin, &'static str)> {
    origins.iter().map(|origin| (origin, "")).collect()
}

fn ask(client: &mut Wire, target: &str, fields: &str) -> Message {
    client.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
    client.response()
}

/// Where `ask` leads on connections of their own, which land on every shard.
fn places(proxy: &Proxy, target: &str, fields: &str) -> BTreeSet<String> {
    (0..8).map(|_| ask(&mut proxy.web(), target, fields).text()).collect()
}

#[test]
fn a_hash_leads_to_the_same_endpoint_from_every_shard() {
    let origins = numbered(5);
    for balance in ["maglev", "ring-hash"] {
        let cases = [
            ("{ header = \"x-user\" }", "/", "X-User: "),
            ("{ cookie = \"id\" }", "/", "Cookie: a=b; id="),
            ("\"path\"", "/", ""),
        ];
        for (hash, target, field) in cases {
            let keys = format!("balance = \"{balance}\"\nhash = {hash}");
            let proxy = start(2, &keys, &plain(&origins));
            let mut used = BTreeSet::new();
            for key in 0..20 {
                let found = if field.is_empty() {
                    places(&proxy, &format!("{target}{key}?x={key}"), "")
                } else {
                    places(&proxy, target, &format!("{field}{key}\r\n"))
                };
                assert_eq!(found.len(), 1, "{keys}: {key} goes to {found:?}");
                used.extend(found);
            }
            assert!(used.len() >= 4, "{keys}: only {used:?} are used");
        }
        let keys = format!("balance = \"{balance}\"");
        let proxy = start(2, &keys, &plain(&origins));
        assert_eq!(places(&proxy, "/", "").len(), 1, "all clients have the same address");
        let keys = format!("balance = \"{balance}\"\nhash = {{ header = \"x-user\" }}");
        let proxy = start(1, &keys, &plain(&origins));
        let mut client = proxy.web();
        let without: BTreeSet<_> = (0..60).map(|_| client.get("/").text()).collect();
        assert_eq!(without.len(), 5, "who says nothing is spread");
    }
}

#[test]
fn a_cookie_is_set_once_and_followed_while_its_endpoint_takes_traffic() {
    let origins = numbered(3);
    let proxy = start(2, "sticky = { cookie = \"stay\", secret = \"s\" }", &plain(&origins));
    let mut client = proxy.web();
    let first = client.get("/");
    let cookie = first.header("set-cookie").expect("a cookie").to_owned();
    assert!(cookie.ends_with("; Path=/; HttpOnly; SameSite=Lax"), "{cookie}");
    assert!(!cookie.contains("127.0.0.1"), "{cookie}");
    let fields = format!("Cookie: {}\r\n", cookie.split(';').next().unwrap());
    for _ in 0..10 {
        let again = ask(&mut proxy.web(), "/", &fields);
        assert_eq!(again.text(), first.text());
        assert_eq!(again.header("set-cookie"), None, "it is set once");
    }
    let at: usize = first.text().parse().unwrap();
    let address = origins[at].address().to_string();
    proxy.engine.drain_endpoint("app", &address, true).unwrap();
    let elsewhere = ask(&mut client, "/", &fields);
    assert_ne!(elsewhere.text(), first.text());
    assert!(elsewhere.header("set-cookie").is_some(), "it moves");
    proxy.engine.drain_endpoint("app", &address, false).unwrap();
    assert_eq!(ask(&mut client, "/", &fields).text(), first.text());
    let made_up = format!("Cookie: stay={}\r\n", "0".repeat(32));
    assert!(ask(&mut client, "/", &made_up).header("set-cookie").is_some());
}

#[test]
fn the_endpoints_own_cookies_stay() {
    let origin = Origin::answering(|_| {
        b"HTTP/1.1 200 OK\r\nSet-Cookie: mine=1\r\nContent-Length: 2\r\n\r\nok".to_vec()
    });
    let proxy = Site { cluster: "sticky = true", ..Site::of([origin.address()]) }.start();
    let response = proxy.web().get("/");
    let cookies = response.headers("set-cookie");
    assert_eq!(cookies.len(), 2, "{cookies:?}");
    assert!(cookies.contains(&"mine=1"));
}

fn answers(proxy: &Proxy) -> BTreeSet<String> {
    let mut client = proxy.web();
    (0..20).map(|_| client.get("/").text()).collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn priorities_and_zones_fail_over_and_back() {
    let origins = numbered(4);
    let keys = [
        ", zone = \"a\"",
        ", zone = \"b\"",
        ", zone = \"a\", priority = 1",
        ", zone = \"b\", priority = 1",
    ];
    let endpoints: Vec<_> = origins.iter().zip(keys).collect();
    let proxy = start(1, "zone = \"b\"\nbalance = \"round-robin\"", &endpoints);
    let drain = |at: usize, drain| {
        let address = origins[at].address().to_string();
        proxy.engine.drain_endpoint("app", &address, drain).unwrap();
    };
    assert_eq!(answers(&proxy), set(&["1"]));
    drain(1, true);
    assert_eq!(answers(&proxy), set(&["0"]));
    drain(0, true);
    assert_eq!(answers(&proxy), set(&["3"]));
    drain(3, true);
    assert_eq!(answers(&proxy), set(&["2"]));
    drain(1, false);
    assert_eq!(answers(&proxy), set(&["1"]));
}

#[test]
fn a_cookie_has_the_attributes_that_it_is_given() {
    let origins = numbered(1);
    let keys =
        "sticky = { path = \"/app\", max_age = \"1h\", secure = true, same_site = \"none\" }";
    let answer = start(1, keys, &plain(&origins)).web().get("/");
    let cookie = answer.header("set-cookie").unwrap();
    let attributes = "; Path=/app; HttpOnly; Max-Age=3600; Secure; SameSite=None";
    assert!(cookie.ends_with(attributes), "{cookie}");
}

const CHECKED: &str = "health_check = { path = \"/up\", interval = \"1s\", timeout = \"1s\", \
    healthy_after = 1, unhealthy_after = 1 }\nbalance = \"round-robin\"";

/// An endpoint that is well while `up` says so.
fn checked(name: &'static str, up: &Arc<AtomicBool>) -> Origin {
    let up = Arc::clone(up);
    Origin::answering(move |request| match (request.target(), up.load(SeqCst)) {
        ("/up", false) => b"HTTP/1.1 500 Ill\r\nContent-Length: 0\r\n\r\n".to_vec(),
        _ => ok(name),
    })
}

#[test]
fn a_group_of_which_too_little_is_left_is_not_used() {
    for (keys, expected) in [("", "b"), ("failover_below = 0.6\n", "c")] {
        let ups = [true, true, true].map(|up| Arc::new(AtomicBool::new(up)));
        let origins = [checked("a", &ups[0]), checked("b", &ups[1]), checked("c", &ups[2])];
        let endpoints: Vec<_> = origins.iter().zip(["", "", ", priority = 1"]).collect();
        let proxy = start(1, &format!("{keys}{CHECKED}"), &endpoints);
        assert_eq!(answers(&proxy), set(&["a", "b"]));
        ups[0].store(false, SeqCst);
        eventually("it is unhealthy", || {
            proxy.endpoint(origins[0].address()).health == EndpointHealth::Unhealthy
        });
        assert_eq!(answers(&proxy), set(&[expected]), "{keys}");
    }
}

#[test]
fn in_a_panic_everyone_takes_traffic() {
    let ups = [true, true, true].map(|up| Arc::new(AtomicBool::new(up)));
    let origins = [checked("a", &ups[0]), checked("b", &ups[1]), checked("c", &ups[2])];
    let keys = format!("panic_threshold = 0.5\n{CHECKED}");
    let proxy = start(1, &keys, &plain(&origins));
    let ill = |at: usize| {
        ups[at].store(false, SeqCst);
        eventually("it is unhealthy", || {
            proxy.endpoint(origins[at].address()).health == EndpointHealth::Unhealthy
        });
    };
    ill(0);
    assert_eq!(answers(&proxy), set(&["b", "c"]));
    assert!(!proxy.engine.cluster_statuses()[0].panicking);
    ill(1);
    assert_eq!(answers(&proxy), set(&["a", "b", "c"]));
    assert!(proxy.engine.cluster_statuses()[0].panicking);
}

#[test]
fn who_comes_back_starts_slowly() {
    let ups = [true, true].map(|up| Arc::new(AtomicBool::new(up)));
    let origins = [checked("a", &ups[0]), checked("b", &ups[1])];
    let keys = format!("slow_start = \"1h\"\n{CHECKED}");
    let proxy = start(1, &keys, &plain(&origins));
    let mut client = proxy.web();
    let mut share = || {
        let answers = (0..110).map(|_| client.get("/").text());
        answers.filter(|name| name == "a").count()
    };
    assert_eq!(share(), 55, "all begin together");
    ups[0].store(false, SeqCst);
    let health = |at: usize| proxy.endpoint(origins[at].address()).health;
    eventually("it is unhealthy", || health(0) == EndpointHealth::Unhealthy);
    assert_eq!(share(), 0);
    ups[0].store(true, SeqCst);
    eventually("it is healthy", || health(0) == EndpointHealth::Healthy);
    assert_eq!(share(), 10, "a tenth of the other's");
    let ratio = proxy.endpoint(origins[0].address()).slow_start_ratio.expect("it starts");
    assert!((0.1..0.2).contains(&ratio), "{ratio}");
    assert_eq!(proxy.endpoint(origins[1].address()).slow_start_ratio, None);
}

#[test]
fn peak_ewma_leaves_an_endpoint_that_fails_fast() {
    let failing =
        Origin::answering(|_| b"HTTP/1.1 500 Quick\r\nContent-Length: 0\r\n\r\n".to_vec());
    let slow = Origin::answering(|_| {
        std::thread::park_timeout(std::time::Duration::from_millis(3));
        ok("slow")
    });
    let other = Origin::named("fast");
    let origins = [failing, slow, other];
    let proxy = start(1, "balance = \"peak-ewma\"", &plain(&origins));
    let mut client = proxy.web();
    let failures = (0..400).filter(|_| client.get("/").status() == 500).count();
    assert!(failures <= 20, "{failures} of 400 went to the one that fails");
}
