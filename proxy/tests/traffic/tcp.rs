//! TCP listeners.

use std::{net::SocketAddr, thread};

use crate::{
    fixture::{Proxy, eventually},
    origin::{Origin, Refusing},
    wire::{Wire, noise},
};

fn toml(shards: usize, listener: &str, endpoints: &[SocketAddr]) -> String {
    let endpoints: Vec<_> = endpoints.iter().map(ToString::to_string).collect();
    format!(
        "[runtime]\nshards = {shards}\npin = false\n[listeners.raw]\nbind = [\"127.0.0.1:0\"]\n\
         protocol = \"tcp\"\ncluster = \"app\"\n{listener}\n\
         [clusters.app]\nendpoints = {endpoints:?}\nbalance = \"round-robin\"\n"
    )
}

fn echo(_: usize, mut wire: Wire, _: &crate::origin::Log) {
    let mut sender = wire.second();
    // Whatever comes goes back; the end comes back as an end.
    loop {
        match wire.try_exact(1) {
            Ok(first) => {
                let rest = wire.ahead();
                if sender.try_send([first, rest].concat()).is_err() {
                    return;
                }
            }
            Err(_) => return sender.finish_if_open(),
        }
    }
}

impl Wire {
    fn ahead(&mut self) -> Vec<u8> {
        let held = self.held();
        self.exact(held)
    }

    fn finish_if_open(&self) {
        let _gone = self.socket().shutdown(std::net::Shutdown::Write);
    }
}

#[test]
fn bytes_come_back() {
    let origin = Origin::scripted(echo);
    for shards in [1, 2] {
        let proxy = Proxy::start(&toml(shards, "", &[origin.address()]));
        let mut clients: Vec<_> = (0..6).map(|_| proxy.client("raw")).collect();
        for client in &mut clients {
            client.send("hello");
            assert_eq!(client.exact(5), b"hello");
        }
        assert_eq!(proxy.endpoint(origin.address()).active, 6);
        drop(clients);
        eventually("nothing is open", || proxy.open_connections() == 0);
        assert_eq!(proxy.endpoint(origin.address()).active, 0);
    }
}

#[test]
fn a_large_transfer_passes_both_ways_at_once() {
    let origin = Origin::scripted(echo);
    let proxy = Proxy::start(&toml(1, "", &[origin.address()]));
    let mut client = proxy.client("raw");
    let bytes = noise(16 * 1024 * 1024);
    let (mut sender, sent) = (client.second(), bytes.clone());
    let sending = thread::spawn(move || {
        sender.send(sent);
        sender.finish();
    });
    let back = client.rest();
    sending.join().unwrap();
    assert!(back == bytes, "{} of {} bytes came back", back.len(), bytes.len());
}

#[test]
fn the_client_may_end_first() {
    let origin = Origin::scripted(|_, mut wire, _| {
        assert_eq!(wire.rest(), b"question");
        wire.send("answer");
    });
    let proxy = Proxy::start(&toml(1, "", &[origin.address()]));
    let mut client = proxy.client("raw");
    client.send("question");
    client.finish();
    assert_eq!(client.rest(), b"answer");
    eventually("nothing is open", || proxy.open_connections() == 0);
}

#[test]
fn the_endpoint_may_end_first() {
    let origin = Origin::scripted(|connection, mut wire, log| {
        wire.send("greeting");
        wire.finish();
        let head = String::from_utf8(wire.rest()).unwrap();
        log.push(connection, &crate::wire::Message { head, body: Vec::new() });
    });
    let proxy = Proxy::start(&toml(1, "", &[origin.address()]));
    let mut client = proxy.client("raw");
    assert_eq!(client.rest(), b"greeting");
    client.send("still here");
    client.finish();
    eventually("it all arrives", || origin.requests().len() == 1);
    assert_eq!(origin.only_request().head, "still here");
    eventually("nothing is open", || proxy.open_connections() == 0);
}

#[test]
fn what_an_endpoint_said_before_it_closed_arrives_although_it_reads_no_more() {
    const SAID: usize = 1_000_000;
    let (report, closed) = std::sync::mpsc::channel();
    let origin = Origin::scripted(move |_, mut wire, _| {
        wire.send(noise(SAID));
        // Returns once the other side has it all; what comes then is answered with a reset.
        wire.socket().set_linger(Some(crate::wire::PATIENCE)).unwrap();
        drop(wire);
        report.send(()).unwrap();
    });
    let proxy = Proxy::start(&toml(1, "", &[origin.address()]));
    let bs9_config::BindAddress::Tcp(address) = proxy.address("raw") else { unreachable!() };
    for _ in 0..10 {
        let mut client = Wire::connect_tcp(address, Some(4 * 1024));
        closed.recv_timeout(crate::wire::PATIENCE).unwrap();
        client.send("thank");
        let first = client.exact(SAID / 2);
        client.send("you");
        let rest = client.exact(SAID / 2);
        assert!([first, rest].concat() == noise(SAID));
    }
}

#[test]
fn another_endpoint_is_tried_when_one_refuses() {
    let (refusing, origin) = (Refusing::new(), Origin::scripted(echo));
    let proxy = Proxy::start(&toml(1, "", &[refusing.address(), origin.address()]));
    for _ in 0..6 {
        let mut client = proxy.client("raw");
        client.send("hello");
        assert_eq!(client.exact(5), b"hello");
    }
    assert!(proxy.endpoint(refusing.address()).connect_failures_total >= 3);
}

#[test]
fn so_many_endpoints_are_tried_as_connect_attempts_says() {
    let refusing: Vec<_> = (0..3).map(|_| Refusing::new()).collect();
    let addresses: Vec<_> = refusing.iter().map(Refusing::address).collect();
    for more in [0, 1, 2] {
        let listener = format!("connect_attempts = {more}");
        let proxy = Proxy::start(&toml(1, &listener, &addresses));
        proxy.client("raw").expect_closed();
        let failures = |address| proxy.endpoint(address).connect_failures_total;
        let tried: u64 = addresses.iter().copied().map(failures).sum();
        assert_eq!(tried, more + 1);
    }
}

#[test]
fn a_client_is_closed_when_every_endpoint_refuses() {
    let refusing = [Refusing::new(), Refusing::new()];
    let proxy = Proxy::start(&toml(1, "", &refusing.each_ref().map(Refusing::address)));
    proxy.client("raw").expect_closed();
    eventually("nothing is open", || proxy.open_connections() == 0);
}

#[test]
fn an_idle_connection_is_closed_and_a_busy_one_is_not() {
    let origin = Origin::scripted(echo);
    let proxy = Proxy::start(&toml(1, "idle_timeout = \"400ms\"", &[origin.address()]));
    let mut idle = proxy.client("raw");
    let mut busy = proxy.client("raw");
    let watching = thread::spawn(move || idle.expect_closed());
    while !watching.is_finished() {
        busy.send("tick");
        assert_eq!(busy.exact(4), b"tick");
    }
    watching.join().unwrap();
    busy.send("tick");
    assert_eq!(busy.exact(4), b"tick");
    busy.expect_closed();
}

#[test]
fn a_connection_ends_after_its_lifetime_however_busy_it_is() {
    let origin = Origin::scripted(echo);
    let proxy = Proxy::start(&toml(1, "max_lifetime = \"200ms\"", &[origin.address()]));
    let mut client = proxy.client("raw");
    let mut ticks = 0;
    while client.try_send("tick").is_ok() && client.try_exact(4).is_ok() {
        ticks += 1;
    }
    assert!(ticks > 0, "it was busy until then");
    eventually("nothing is open", || proxy.open_connections() == 0);
}

#[test]
fn a_reset_at_one_end_is_one_at_the_other() {
    let origin = Origin::scripted(|_, mut wire, _| {
        wire.exact(5);
        wire.reset();
    });
    let proxy = Proxy::start(&toml(1, "", &[origin.address()]));
    let mut client = proxy.client("raw");
    client.send("hello");
    assert!(client.try_rest().is_err(), "half a stream looks like a whole one");
}
