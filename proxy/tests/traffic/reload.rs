//! A new configuration takes over without disturbing what it does not change.

use std::{
    collections::BTreeSet,
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread,
};

use bs9_config::BindAddress;

use crate::{
    fixture::{Site, eventually},
    origin::Origin,
    wire::{PATIENCE, Wire, get, ok, post},
};

#[test]
fn the_next_request_of_an_open_connection_follows_the_new_routes() {
    let (old, new) = (Origin::named("old"), Origin::named("new"));
    for shards in [1, 2] {
        let proxy = Site { shards, ..Site::of([old.address()]) }.start();
        let mut clients: Vec<_> = (0..4).map(|_| proxy.web()).collect();
        assert!(clients.iter_mut().all(|client| client.get("/").text() == "old"));
        let summary = proxy.reload(&Site { shards, ..Site::of([new.address()]) }.toml()).unwrap();
        assert_eq!(summary.generation.0, 2);
        assert!(summary.opened.is_empty() && summary.closed.is_empty(), "{summary:?}");
        assert!(clients.iter_mut().all(|client| client.get("/").text() == "new"));
        assert_eq!(proxy.report("web").listener.accepted_connections(), 4);
    }
}

#[test]
fn what_is_under_way_finishes_on_what_it_began_with() {
    let (go_on, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let old = Origin::answering(move |_| {
        wait.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        ok("old")
    });
    let new = Origin::named("new");
    let proxy = Site::of([old.address()]).start();
    let mut client = proxy.web();
    client.send(get("/"));
    eventually("the request is under way", || old.requests().len() == 1);
    proxy.reload(&Site::of([new.address()]).toml()).unwrap();
    assert_eq!(proxy.web().get("/").text(), "new");
    go_on.send(()).unwrap();
    assert_eq!(client.response().text(), "old");
    assert_eq!(client.get("/").text(), "new");
}

#[test]
fn a_cluster_that_did_not_change_keeps_its_connections_and_counters() {
    let origin = Origin::named("kept");
    let site = Site::of([origin.address()]);
    let proxy = site.start();
    let mut client = proxy.web();
    client.get("/");
    let more = "[[listeners.web.routes]]\npath = \"/more\"\nrespond = {}\n".to_owned();
    proxy.reload(&Site { rest: more, ..site.clone() }.toml()).unwrap();
    client.get("/");
    // One that gets another endpoint keeps those of the first.
    let other = Origin::named("other");
    let both = Site::of([origin.address(), other.address()]);
    proxy.reload(&Site { cluster: "balance = \"round-robin\"", ..both }.toml()).unwrap();
    for _ in 0..4 {
        client.get("/");
    }
    assert_eq!((origin.connections(), other.connections()), (1, 1));
    assert_eq!(proxy.endpoint(origin.address()).requests_total, 4);
    assert_eq!(proxy.endpoint(other.address()).requests_total, 2);
}

#[test]
fn an_endpoint_is_disabled_and_enabled_by_a_change_of_its_key_only() {
    let origins = ["one", "two"].map(Origin::named);
    let [_, two] = origins.each_ref().map(|origin| origin.address().to_string());
    for shards in [1, 2] {
        let toml = |disabled: [bool; 2], keys: &str| {
            let endpoints = origins.iter().zip(disabled).map(|(origin, disabled)| {
                format!("{{ address = \"{}\", disabled = {disabled} }}", origin.address())
            });
            let endpoints = endpoints.collect::<Vec<_>>().join(", ");
            Site { shards, cluster: "balance = \"round-robin\"", ..Site::default() }
                .toml()
                .replace("endpoints = []", &format!("endpoints = [{endpoints}]\n{keys}"))
        };
        let proxy = crate::fixture::Proxy::start(&toml([false, true], ""));
        let answer = |names: &[&str]| {
            let said: BTreeSet<_> = (0..8).map(|_| proxy.web().get("/").text()).collect();
            let wanted: BTreeSet<_> = names.iter().map(ToString::to_string).collect();
            assert_eq!(said, wanted);
        };
        let states = || {
            let found = proxy.endpoint(&two);
            (found.disabled, found.draining)
        };
        answer(&["one"]);
        assert_eq!((states(), proxy.engine.is_draining("app", &two)), ((true, true), Some(true)));

        // An operator has the last word, until the key changes.
        proxy.engine.drain_endpoint("app", &two, false).unwrap();
        answer(&["one", "two"]);
        proxy.reload(&toml([false, true], "max_idle_connections = 7")).unwrap();
        answer(&["one", "two"]);
        assert_eq!((states(), proxy.engine.is_draining("app", &two)), ((true, false), Some(false)));
        proxy.engine.drain_endpoint("app", &two, true).unwrap();
        proxy.reload(&toml([false, false], "max_idle_connections = 7")).unwrap();
        answer(&["one", "two"]);
        proxy.engine.drain_endpoint("app", &two, true).unwrap();
        proxy.reload(&toml([false, false], "")).unwrap();
        answer(&["one"]);
        assert_eq!(states(), (false, true));
        proxy.reload(&toml([true, false], "")).unwrap();
        assert_eq!(proxy.web().get("/").status(), 503, "one by its key, one by an operator");
        proxy.engine.drain_endpoint("app", &two, false).unwrap();
        answer(&["two"]);

        // One that is refused changes nothing.
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let rest = second_listener(&taken.local_addr().unwrap().to_string());
        proxy.reload(&format!("{}{rest}", toml([false, true], ""))).unwrap_err();
        answer(&["two"]);
        assert_eq!(proxy.engine.is_draining("app", "127.0.0.1:1"), None);
    }
}

#[test]
fn connections_to_an_endpoint_that_is_gone_are_closed() {
    let origin = Origin::scripted(|connection, mut wire, log| {
        let request = wire.request();
        wire.send(ok("ok"));
        assert_eq!(wire.rest(), b"");
        log.push(connection, &request);
    });
    let proxy = Site::of([origin.address()]).start();
    proxy.web().get("/");
    proxy.reload(&Site::of([] as [&str; 0]).toml()).unwrap();
    eventually("the endpoint sees the end", || origin.requests().len() == 1);
}

fn second_listener(bind: &str) -> String {
    format!(
        "[listeners.second]\nbind = [\"{bind}\"]\nprotocol = \"http\"\n\
         [[listeners.second.routes]]\nrespond = {{ body = \"second\" }}\n"
    )
}

#[test]
fn listeners_come_and_go_and_the_others_stay() {
    let origin = Origin::named("first");
    for shards in [1, 2] {
        let site = Site { shards, ..Site::of([origin.address()]) };
        let proxy = site.start();
        let mut first = proxy.web();
        first.get("/");
        let address = proxy.address("web");

        let summary = proxy
            .reload(&Site { rest: second_listener("127.0.0.1:0"), ..site.clone() }.toml())
            .unwrap();
        let second = proxy.address("second");
        assert_eq!(summary.opened, [second.to_string()]);
        assert_eq!(proxy.address("web"), address);
        let mut clients: Vec<_> = (0..10).map(|_| Wire::connect(&second)).collect();
        assert!(clients.iter_mut().all(|client| client.get("/").text() == "second"));
        assert_eq!(first.get("/").text(), "first");

        let summary = proxy.reload(&site.toml()).unwrap();
        assert_eq!(summary.closed, [second.to_string()]);
        let BindAddress::Tcp(gone) = second else { unreachable!() };
        eventually("it refuses", || std::net::TcpStream::connect(gone).is_err());
        // Idle connections go with their listener; those of others stay.
        clients.iter_mut().for_each(Wire::expect_closed);
        assert_eq!(first.get("/").text(), "first");
        assert_eq!(proxy.report("web").listener.accepted_connections(), 1);
    }
}

#[test]
fn a_listener_under_another_name_takes_the_address_over() {
    let origin = Origin::named("web");
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = format!("unix:{}", folder.path().join("s").display());
    for bind in [free.to_string(), path] {
        for shards in [1, 2] {
            let site = Site { shards, ..Site::of([origin.address()]) };
            let toml = site.toml().replace("127.0.0.1:0", &bind);
            let proxy = crate::fixture::Proxy::start(&toml);
            let mut open = proxy.web();
            assert_eq!(open.get("/").text(), "web");
            let renamed = toml.replace("listeners.web", "listeners.renamed");
            proxy.reload(&renamed).unwrap();
            for _ in 0..10 {
                assert_eq!(proxy.client("renamed").get("/").text(), "web");
            }
            assert_eq!(open.get("/").text(), "web", "an open connection goes on");
            proxy.reload(&toml).unwrap();
            assert_eq!(proxy.web().get("/").text(), "web");
        }
    }
}

#[test]
fn listeners_that_swap_addresses_or_names_lose_no_connection() {
    let free = [0, 1].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    let addresses = free.map(|listening| listening.local_addr().unwrap());
    let toml = |names: [&str; 2]| {
        let mut toml = "[runtime]\nshards = 2\npin = false\n".to_owned();
        for (name, address) in names.iter().zip(addresses) {
            toml.push_str(&second_listener(&address.to_string()).replace("second", name));
        }
        toml
    };
    // A swap, a new name, the old name, a swap.
    let sides = [["x", "y"], ["y", "x"], ["z", "x"], ["y", "x"]].map(toml);
    let proxy = crate::fixture::Proxy::start(&sides[0]);
    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = addresses
        .into_iter()
        .map(|address| {
            let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
            thread::spawn(move || {
                while !stop.load(SeqCst) {
                    // A connection each: any of them may come at the wrong moment.
                    let response = Wire::connect_tcp(address, None).get("/");
                    assert!(["x", "y", "z"].contains(&response.text().as_str()));
                    answered.fetch_add(1, SeqCst);
                }
            })
        })
        .collect();
    for round in 1..=60 {
        let before = answered.load(SeqCst);
        let summary = proxy.reload(&sides[round % sides.len()]).unwrap();
        assert!(summary.opened.is_empty() && summary.closed.is_empty(), "{summary:?}");
        eventually("requests go on", || {
            answered.load(SeqCst) > before + 4
                || clients.iter().any(thread::JoinHandle::is_finished)
        });
    }
    stop.store(true, SeqCst);
    clients.into_iter().for_each(|client| client.join().unwrap());
    for (name, address) in ["x", "y"].into_iter().zip(addresses) {
        assert_eq!(Wire::connect_tcp(address, None).get("/").text(), name);
    }
}

#[test]
fn a_reload_that_cannot_be_had_changes_nothing() {
    let origin = Origin::named("as before");
    let other = Origin::named("other");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = format!("unix:{}", folder.path().join("s").display());
    let site = Site::of([origin.address()]);
    // A second listener at a socket that the refused reload would give to another one.
    let proxy =
        crate::fixture::Proxy::start(&Site { rest: second_listener(&path), ..site.clone() }.toml());
    let mut client = proxy.web();
    client.get("/");
    let rest = format!(
        "{}{}",
        second_listener(&path).replace("second", "moved"),
        second_listener(&taken.local_addr().unwrap().to_string()).replace("second", "zzz"),
    );
    let refused = Site { rest, ..Site::of([other.address()]) };
    let error = proxy.reload(&refused.toml()).unwrap_err();
    assert!(error.contains("is taken by another program"), "{error}");
    assert_eq!(client.get("/").text(), "as before");
    assert_eq!(proxy.web().get("/").text(), "as before");
    assert_eq!(proxy.client("second").get("/").text(), "second");
    assert_eq!(proxy.reports().len(), 2);
    drop(taken);
    let summary = proxy.reload(&refused.toml()).unwrap();
    assert_eq!(summary.generation.0, 2, "a refused reload does not count");
    assert_eq!(client.get("/").text(), "other");
    assert_eq!(proxy.client("moved").get("/").text(), "moved");
}

#[test]
fn a_hundred_reloads_under_load_fail_no_request() {
    let origins = [Origin::named("a"), Origin::named("b")];
    let addresses = origins.each_ref().map(Origin::address);
    let sites = [
        Site::of(addresses),
        Site { cluster: "balance = \"round-robin\"", ..Site::of([addresses[1]]) },
        Site { route: "timeout = \"30s\"", ..Site::of([addresses[0]]) },
        Site { rest: second_listener("127.0.0.1:0"), ..Site::of(addresses) },
    ]
    .map(|site| Site { shards: 2, ..site }.toml());
    let proxy = crate::fixture::Proxy::start(&sites[0]);
    let address = proxy.address("web");
    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (address, stop, answered) =
                (address.clone(), Arc::clone(&stop), Arc::clone(&answered));
            thread::spawn(move || {
                let mut client = Wire::connect(&address);
                while !stop.load(SeqCst) {
                    let response = client.get("/");
                    assert_eq!((response.status(), response.closes()), (200, false));
                    client.send(post("/", "body"));
                    assert_eq!(client.response().status(), 200);
                    answered.fetch_add(2, SeqCst);
                }
            })
        })
        .collect();
    for round in 1..=100 {
        let before = answered.load(SeqCst);
        proxy.reload(&sites[round % sites.len()]).unwrap();
        eventually("requests go on", || {
            answered.load(SeqCst) > before || clients.iter().any(thread::JoinHandle::is_finished)
        });
    }
    stop.store(true, SeqCst);
    clients.into_iter().for_each(|client| client.join().unwrap());
    assert_eq!(proxy.failures().len(), 0, "{:?}", proxy.failures());
    assert_eq!(proxy.report("web").listener.accepted_connections(), 4);
}
