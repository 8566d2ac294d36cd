//! The end of the data plane: what is open finishes, by a deadline.

use std::{sync::mpsc, time::Duration};

use crate::{
    fixture::{Proxy, Site, eventually},
    origin::Origin,
    wire::{PATIENCE, Wire, get, ok},
};

fn until_told() -> (mpsc::Sender<()>, Origin) {
    let (go_on, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let origin = Origin::answering(move |request| {
        if request.target() == "/slow" {
            let _test_over = wait.lock().unwrap().recv_timeout(PATIENCE);
        }
        ok("finished")
    });
    (go_on, origin)
}

fn slow(proxy: &Proxy, origin: &Origin) -> Wire {
    let mut client = proxy.web();
    client.send(get("/slow"));
    eventually("the request is under way", || !origin.requests().is_empty());
    client
}

#[test]
fn what_is_under_way_finishes_and_the_idle_go_at_once() {
    for shards in [1, 2] {
        let (go_on, origin) = until_told();
        let proxy = Site { shards, ..Site::of([origin.address()]) }.start();
        let mut busy = slow(&proxy, &origin);
        let (mut fresh, mut used) = (proxy.web(), proxy.web());
        used.get("/");
        let bs9_config::BindAddress::Tcp(address) = proxy.address("web") else { unreachable!() };
        let ended = proxy.drain(PATIENCE);
        fresh.expect_closed();
        used.expect_closed();
        eventually("nothing new is taken", || std::net::TcpStream::connect(address).is_err());
        assert!(ended.try_recv().is_err(), "a request is still under way");
        go_on.send(()).unwrap();
        let response = busy.response();
        assert_eq!(response.text(), "finished");
        assert!(response.closes(), "the client learns that this was the last one");
        drop(busy);
        ended.recv_timeout(PATIENCE).expect("the drain ends");
    }
}

#[test]
fn what_hangs_is_closed_at_the_deadline() {
    let (_go_on, origin) = until_told();
    let proxy = Site::of([origin.address()]).start();
    let mut busy = slow(&proxy, &origin);
    let mut half = proxy.web();
    half.send("GET / HTTP/1.1\r\n");
    let mut tunnel = Tunnel::open();
    let ended = proxy.drain(Duration::from_millis(200));
    ended.recv_timeout(PATIENCE).expect("the drain ends");
    assert!(busy.try_response().is_err());
    half.expect_closed();
    tunnel.check();
}

/// A tunnel through a proxy of its own, whose drain has a deadline too.
struct Tunnel {
    client: Wire,
    ended: mpsc::Receiver<()>,
    _proxy: Proxy,
}

impl Tunnel {
    fn open() -> Self {
        let origin = Origin::scripted(|_, mut wire, _| {
            let echo = wire.some();
            wire.send(echo);
            let _cut_off = wire.try_rest();
        });
        let toml = format!(
            "[runtime]\nshards = 1\npin = false\n[listeners.raw]\nbind = [\"127.0.0.1:0\"]\n\
             protocol = \"tcp\"\ncluster = \"app\"\n[clusters.app]\nendpoints = [\"{}\"]\n",
            origin.address()
        );
        let proxy = Proxy::start(&toml);
        let mut client = proxy.client("raw");
        client.send("hello");
        assert_eq!(client.exact(5), b"hello");
        std::mem::forget(origin);
        let ended = proxy.drain(Duration::from_millis(200));
        Self { client, ended, _proxy: proxy }
    }

    fn check(&mut self) {
        self.ended.recv_timeout(PATIENCE).expect("the drain ends");
        self.client.expect_closed();
    }
}

#[test]
fn an_upload_may_finish_while_draining() {
    let origin = Origin::answering(|request| ok(&request.text()));
    let proxy = Site::of([origin.address()]).start();
    let mut client = proxy.web();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nfirst");
    eventually("the request is under way", || proxy.endpoint(origin.address()).active == 1);
    let mut bystander = proxy.web();
    bystander.get("/");
    let ended = proxy.drain(PATIENCE);
    bystander.expect_closed();
    client.send("half.");
    let response = client.response();
    assert_eq!((response.text(), response.closes()), ("firsthalf.".to_owned(), true));
    drop(client);
    ended.recv_timeout(PATIENCE).expect("the drain ends");
}

#[test]
fn a_reload_is_refused_while_draining() {
    let origin = Origin::named("ok");
    let site = Site::of([origin.address()]);
    let proxy = site.start();
    proxy.drain(Duration::ZERO).recv_timeout(PATIENCE).expect("the drain ends");
    let error = proxy.reload(&site.toml()).unwrap_err();
    assert!(error.contains("draining"), "{error}");
}
