//! The end of a data plane: bounded, and nothing in flight is lost.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fixture;

use std::{net::SocketAddr, os::unix::process::ExitStatusExt as _, thread};

use fixture::{Answer, DataPlane, eventually, origin::Origin, try_get};
use rustix::process::Signal;

fn config(origin: &Origin, timeout: &str) -> String {
    format!(
        "drain_timeout = \"{timeout}\"\n[listeners.web]\nbind = [\"127.0.0.1:0\"]\nprotocol = \"http\"\n\
         [[listeners.web.routes]]\ncluster = \"api\"\n[clusters.api]\nendpoints = [\"{}\"]\n",
        origin.address
    )
}

/// A request that is in flight until the origin lets it go.
fn slow(web: SocketAddr, origin: &Origin) -> thread::JoinHandle<std::io::Result<Answer>> {
    let asking = thread::spawn(move || try_get(web, "/slow"));
    origin.wait_for_slow(1);
    asking
}

#[test]
fn sigterm_lets_what_is_in_flight_finish() {
    let origin = Origin::start("one");
    let mut data_plane = DataPlane::serve(&config(&origin, "60s"));
    let web = data_plane.running.address("web");
    let asking = slow(web, &origin);
    data_plane.running.signal(Signal::TERM);
    eventually("it drains", || (data_plane.running.status()["state"] == "draining").then_some(()));
    eventually("nothing new is taken", || try_get(web, "/").is_err().then_some(()));
    let said = data_plane.running.ask(&["loadbalancer", "reload"]).fails(1);
    assert!(said.contains("draining"), "{said}");
    assert!(data_plane.running.has_ended().is_none());
    origin.release();
    assert_eq!(asking.join().unwrap().unwrap(), Answer { status: 200, body: "one".to_owned() });
    assert_eq!(data_plane.running.ended().code(), Some(0));
    assert!(!data_plane.folder.path().join("dataplane.sock").exists(), "the socket goes too");
}

#[test]
fn the_api_drains_too() {
    let origin = Origin::start("one");
    let mut data_plane = DataPlane::serve(&config(&origin, "60s"));
    let asking = slow(data_plane.running.address("web"), &origin);
    let answer =
        data_plane.running.ask(&["loadbalancer", "drain", "--all", "--no-wait", "--json"]).json();
    assert_eq!(answer["state"], "draining");
    assert_eq!(answer["open_connections"], 1);
    assert_eq!(answer["timeout_seconds"], 60.0);
    origin.release();
    assert_eq!(asking.join().unwrap().unwrap().status, 200);
    assert_eq!(data_plane.running.ended().code(), Some(0));
}

#[test]
fn a_drain_is_bounded() {
    let origin = Origin::start("one");
    let mut data_plane = DataPlane::serve(&config(&origin, "100ms"));
    let asking = slow(data_plane.running.address("web"), &origin);
    data_plane.running.signal(Signal::INT);
    assert_eq!(data_plane.running.ended().code(), Some(0));
    assert!(asking.join().unwrap().is_err(), "it was cut off");
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let origin = Origin::start("one");
    let mut data_plane = DataPlane::serve(&config(&origin, "10m"));
    let asking = slow(data_plane.running.address("web"), &origin);
    data_plane.running.signal(Signal::TERM);
    eventually("it drains", || (data_plane.running.status()["state"] == "draining").then_some(()));
    data_plane.running.signal(Signal::TERM);
    let status = data_plane.running.ended();
    assert_eq!((status.code(), status.signal()), (Some(1), None));
    assert!(asking.join().unwrap().is_err(), "it was cut off");
}
