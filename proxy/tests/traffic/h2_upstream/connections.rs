//! Few connections carry many requests, within the limits of both sides.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use tokio::sync::watch;

use super::{
    origin::{H2Origin, Settings, ok},
    requests::site,
};
use crate::{
    fixture::{Proxy, Site, eventually},
    http2::session::{Session, on_a_runtime, request, whole},
    wire::{Wire, get},
};

/// Answers when told to; counts how many wait, and how many did at most.
struct Held {
    origin: H2Origin,
    go_on: watch::Sender<bool>,
    waiting: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

fn held(settings: Settings) -> Held {
    let (go_on, wait) = watch::channel(false);
    let (waiting, most) = <(Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
    let counters = (Arc::clone(&waiting), Arc::clone(&most));
    let origin = H2Origin::with(settings, move |_, respond| {
        let (mut wait, (waiting, most)) = (wait.clone(), counters.clone());
        async move {
            let now = waiting.fetch_add(1, SeqCst) + 1;
            most.fetch_max(now, SeqCst);
            let _test_over = wait.wait_for(|go| *go).await.is_err();
            waiting.fetch_sub(1, SeqCst);
            ok(respond, "done").await;
        }
    });
    Held { origin, go_on, waiting, most }
}

fn ask(proxy: &Proxy, clients: usize) -> Vec<Wire> {
    let ask = |_| {
        let mut client = proxy.web();
        client.send(get("/"));
        client
    };
    (0..clients).map(ask).collect()
}

#[test]
fn many_requests_share_a_connection() {
    let Held { origin, go_on, waiting, .. } = held(Settings::default());
    let proxy = site(&origin).start();
    let mut clients = ask(&proxy, 60);
    eventually("all are under way", || waiting.load(SeqCst) == 60);
    assert_eq!((origin.connections(), proxy.endpoint(origin.address()).active), (1, 60));
    go_on.send(true).unwrap();
    clients.iter_mut().for_each(|client| assert_eq!(client.response().text(), "done"));
    eventually("the connection is kept, idle", || {
        let endpoint = proxy.endpoint(origin.address());
        (endpoint.active, endpoint.idle_connections, endpoint.connects_total) == (0, 1, 1)
    });
}

#[test]
fn the_endpoints_limit_of_streams_is_honoured() {
    let Held { origin, go_on, waiting, most } =
        held(Settings { streams: Some(3), ..Settings::default() });
    let cluster = "protocol = \"h2\"\nhttp2 = { connections = 2 }";
    let proxy = Site { cluster, ..site(&origin) }.start();
    // Its SETTINGS have come.
    let mut first = ask(&proxy, 1);
    eventually("the first one is under way", || waiting.load(SeqCst) == 1);
    let mut clients = ask(&proxy, 20);
    eventually("both connections are full", || waiting.load(SeqCst) == 6);
    go_on.send(true).unwrap();
    first.append(&mut clients);
    first.iter_mut().for_each(|client| assert_eq!(client.response().text(), "done"));
    assert_eq!((origin.connections(), most.load(SeqCst)), (2, 6));
    assert_eq!(proxy.failures().len(), 0);
}

#[test]
fn requests_that_find_no_room_wait_for_some_and_not_for_ever() {
    let Held { origin, go_on, waiting, most } = held(Settings::default());
    let cluster = "protocol = \"h2\"\nconnect_timeout = \"300ms\"\n\
                   http2 = { connections = 1, max_concurrent_streams = 2 }";
    let proxy = Site { cluster, ..site(&origin) }.start();
    let mut clients = ask(&proxy, 2);
    eventually("the connection is full", || waiting.load(SeqCst) == 2);
    assert_eq!(proxy.web().get("/").status(), 503);
    assert_eq!(proxy.failures().get("queue_timeout"), Some(&1));
    go_on.send(true).unwrap();
    clients.iter_mut().for_each(|client| assert_eq!(client.response().text(), "done"));
    assert_eq!(proxy.web().get("/").text(), "done");
    assert_eq!((origin.connections(), most.load(SeqCst)), (1, 2));
}

#[test]
fn a_request_that_was_given_up_frees_its_place_and_nothing_else() {
    let Held { origin, go_on, waiting, .. } = held(Settings::default());
    let cluster = "protocol = \"h2\"\nhttp2 = { connections = 1, max_concurrent_streams = 1 }";
    let proxy = Site { cluster, ..site(&origin) }.start();
    on_a_runtime(async {
        let session = Session::open(&proxy).await;
        let (response, mut stream) = session.begin(request("GET", "/"), true).await;
        crate::http2::session::eventually("it is under way", || waiting.load(SeqCst) == 1).await;
        stream.send_reset(h2::Reason::CANCEL);
        drop(response);
        go_on.send(true).unwrap();
        let (response, _) = session.begin(request("GET", "/"), true).await;
        assert_eq!(whole(response.await.unwrap()).await.unwrap().text(), "done");
    });
    assert_eq!(origin.connections(), 1);
}

#[test]
fn a_connection_without_requests_is_closed_in_time() {
    let origin = H2Origin::named("here");
    let cluster = "protocol = \"h2\"\nidle_timeout = \"200ms\"";
    let proxy = Site { cluster, ..site(&origin) }.start();
    assert_eq!(proxy.web().get("/").text(), "here");
    eventually("it is closed", || origin.open() == 0);
    eventually("it is not counted", || proxy.endpoint(origin.address()).idle_connections == 0);
    assert_eq!(proxy.web().get("/").text(), "here");
    assert_eq!(origin.connections(), 2);
}

#[test]
fn a_reload_keeps_connections_unless_they_would_be_others() {
    let origin = H2Origin::named("here");
    let first = site(&origin);
    let proxy = first.start();
    let same = Site { listener: "idle_timeout = \"55s\"", ..first.clone() };
    let other = Site { cluster: "protocol = \"h2\"\nhttp2 = { connections = 3 }", ..first };
    assert_eq!(proxy.web().get("/").text(), "here");
    proxy.reload(&same.toml()).unwrap();
    assert_eq!(proxy.web().get("/").text(), "here");
    assert_eq!(origin.connections(), 1);
    proxy.reload(&other.toml()).unwrap();
    assert_eq!(proxy.web().get("/").text(), "here");
    assert_eq!(origin.connections(), 2);
    eventually("the old one is closed", || origin.open() == 1);
}

#[test]
fn a_reload_leaves_what_is_under_way_alone() {
    let Held { origin, go_on, waiting, .. } = held(Settings::default());
    let first = site(&origin);
    let proxy = first.start();
    let mut clients = ask(&proxy, 1);
    eventually("it is under way", || waiting.load(SeqCst) == 1);
    let other = Site { cluster: "protocol = \"h2\"\nhttp2 = { connections = 3 }", ..first };
    proxy.reload(&other.toml()).unwrap();
    go_on.send(true).unwrap();
    assert_eq!(clients[0].response().text(), "done");
    eventually("the old connection is closed", || origin.open() == 0);
}
