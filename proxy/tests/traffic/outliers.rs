//! Endpoints that fail live traffic are taken out, and let back by a probe.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::SeqCst},
};

use crate::{
    fixture::{Proxy, Site, eventually},
    origin::{Origin, Refusing, serve},
    wire::ok,
};

const QUICK: &str = "balance = \"round-robin\"\noutlier_detection = { consecutive_failures = 3, \
    ejection_time = \"100ms\", max_ejection_time = \"10s\" }";
const LONG: &str = "balance = \"round-robin\"\noutlier_detection = { consecutive_failures = 3, \
    ejection_time = \"1h\", max_ejection_time = \"1h\" }";

/// An endpoint that answers 500 while `ill` says so.
fn moody(name: &'static str, ill: &Arc<AtomicBool>) -> Origin {
    let ill = Arc::clone(ill);
    Origin::answering(move |_| match ill.load(SeqCst) {
        true => b"HTTP/1.1 500 Ill\r\nContent-Length: 3\r\n\r\nill".to_vec(),
        false => ok(name),
    })
}

fn bad_answers(proxy: &Proxy, count: usize) -> usize {
    let mut client = proxy.web();
    (0..count).filter(|_| client.get("/").status() >= 500).count()
}

#[test]
fn failures_in_a_row_take_an_endpoint_out() {
    let ill = Arc::new(AtomicBool::new(true));
    let (a, b) = (moody("a", &ill), Origin::named("b"));
    let proxy = Site { cluster: LONG, ..Site::of([a.address(), b.address()]) }.start();
    assert_eq!(bad_answers(&proxy, 40), 3, "the third failure is the last one");
    let status = proxy.endpoint(a.address());
    assert!(status.ejected && status.ejections_total == 1);
    assert!(!proxy.endpoint(b.address()).ejected);
}

#[test]
fn it_is_let_back_and_goes_sooner_the_next_time() {
    let ill = Arc::new(AtomicBool::new(true));
    let (a, b) = (moody("a", &ill), Origin::named("b"));
    let proxy = Site { cluster: QUICK, ..Site::of([a.address(), b.address()]) }.start();
    assert_eq!(bad_answers(&proxy, 6), 3);
    eventually("it is let back", || !proxy.endpoint(a.address()).ejected);
    // On probation: one failure is enough now.
    assert_eq!(bad_answers(&proxy, 2), 1);
    assert_eq!(proxy.endpoint(a.address()).ejections_total, 2);
    ill.store(false, SeqCst);
    eventually("it is let back again", || !proxy.endpoint(a.address()).ejected);
    assert_eq!(bad_answers(&proxy, 20), 0);
    let before = proxy.endpoint(a.address()).requests_total;
    assert_eq!(bad_answers(&proxy, 20), 0);
    assert_eq!(proxy.endpoint(a.address()).requests_total, before + 10);
    assert_eq!(proxy.endpoint(a.address()).ejections_total, 2);
}

#[test]
fn a_success_in_between_forgives() {
    let turn = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let a = Origin::answering(move |_| match turn.fetch_add(1, SeqCst) % 3 {
        2 => ok("a"),
        _ => b"HTTP/1.1 503 Ill\r\nContent-Length: 0\r\n\r\n".to_vec(),
    });
    let b = Origin::named("b");
    let proxy = Site { cluster: LONG, ..Site::of([a.address(), b.address()]) }.start();
    assert_eq!(bad_answers(&proxy, 60), 20);
    assert!(!proxy.endpoint(a.address()).ejected);
}

#[test]
fn the_last_one_stays_and_no_more_go_than_may() {
    let ill = Arc::new(AtomicBool::new(true));
    let origins = [moody("a", &ill), moody("b", &ill), moody("c", &ill), moody("d", &ill)];
    let proxy = Site { cluster: LONG, ..Site::of(origins.iter().map(Origin::address)) }.start();
    assert_eq!(bad_answers(&proxy, 80), 80);
    let out = origins.iter().filter(|origin| proxy.endpoint(origin.address()).ejected).count();
    assert_eq!(out, 2, "half of them may");
    let most = "max_ejected = 0.75, max_ejection_time";
    let most: &str = LONG.replace("max_ejection_time", most).leak();
    let proxy = Site { cluster: most, ..Site::of(origins.iter().map(Origin::address)) }.start();
    assert_eq!(bad_answers(&proxy, 80), 80);
    let out = origins.iter().filter(|origin| proxy.endpoint(origin.address()).ejected).count();
    assert_eq!(out, 3, "three of four may");
    let alone = Site { cluster: LONG, ..Site::of([origins[0].address()]) }.start();
    assert_eq!(bad_answers(&alone, 10), 10);
    assert!(!alone.endpoint(origins[0].address()).ejected);
}

#[test]
fn refused_connections_count_and_a_probe_has_to_succeed() {
    let refusing = Refusing::new();
    let address = refusing.address();
    let good = Origin::named("good");
    let proxy = Site { cluster: QUICK, ..Site::of([address, good.address()]) }.start();
    let mut client = proxy.web();
    for _ in 0..10 {
        assert_eq!(client.get("/").text(), "good", "connecting is tried elsewhere");
    }
    assert!(proxy.endpoint(address).ejected);
    assert_eq!(proxy.endpoint(address).connect_failures_total, 3);
    drop(refusing);
    let back = Origin::at(address, serve(|_| ok("back")));
    eventually("it is let back", || !proxy.endpoint(address).ejected);
    let answers: Vec<_> = (0..4).map(|_| client.get("/").text()).collect();
    assert_eq!(answers.iter().filter(|answer| *answer == "back").count(), 2, "{answers:?}");
    // Its place in the cluster is what it was.
    assert!(back.connections() > 0);
}

#[test]
fn a_reload_without_detection_lets_everyone_back() {
    let ill = Arc::new(AtomicBool::new(true));
    let (a, b) = (moody("a", &ill), Origin::named("b"));
    let site = Site { cluster: LONG, ..Site::of([a.address(), b.address()]) };
    let proxy = site.start();
    assert_eq!(bad_answers(&proxy, 10), 3);
    proxy.reload(&Site { cluster: "balance = \"round-robin\"", ..site }.toml()).unwrap();
    assert!(!proxy.endpoint(a.address()).ejected);
    assert_eq!(bad_answers(&proxy, 10), 5);
}
