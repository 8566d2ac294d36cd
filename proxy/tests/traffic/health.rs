//! Active health checks turn traffic away and let it back.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
};

use bs9_api::types::EndpointHealth;

use crate::{
    fixture::{Proxy, Site, eventually},
    origin::{Origin, serve},
    wire::ok,
};

const HTTP: &str = "balance = \"round-robin\"\nhealth_check = { path = \"/up\", interval = \"1s\", \
    timeout = \"1s\", healthy_after = 2, unhealthy_after = 2 }";
const TCP: &str = "health_check = { interval = \"1s\", timeout = \"1s\", healthy_after = 2, \
    unhealthy_after = 2 }";

fn probed(name: &'static str, up: &Arc<AtomicBool>) -> Origin {
    let up = Arc::clone(up);
    Origin::answering(move |request| match (request.target(), up.load(SeqCst)) {
        ("/up", false) => b"HTTP/1.1 503 Down\r\nContent-Length: 0\r\n\r\n".to_vec(),
        _ => ok(name),
    })
}

fn wait_for(proxy: &Proxy, origin: &Origin, health: EndpointHealth) {
    eventually("health changes", || proxy.endpoint(origin.address()).health == health);
}

/// The answers of 10 requests, without repetitions.
fn answers(proxy: &Proxy) -> Vec<String> {
    let mut client = proxy.web();
    let mut answers: Vec<_> = (0..10).map(|_| client.get("/").text()).collect();
    answers.sort();
    answers.dedup();
    answers
}

#[test]
fn traffic_follows_http_checks() {
    let (a_up, b_up) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(true)));
    let (a, b) = (probed("a", &a_up), probed("b", &b_up));
    let proxy = Site { cluster: HTTP, ..Site::of([a.address(), b.address()]) }.start();
    wait_for(&proxy, &a, EndpointHealth::Healthy);
    wait_for(&proxy, &b, EndpointHealth::Healthy);
    assert_eq!(answers(&proxy), ["a", "b"]);

    a_up.store(false, SeqCst);
    wait_for(&proxy, &a, EndpointHealth::Unhealthy);
    assert_eq!(proxy.endpoint(a.address()).health_reason.as_deref(), Some("answered status 503"));
    assert_eq!(answers(&proxy), ["b"]);

    b_up.store(false, SeqCst);
    wait_for(&proxy, &b, EndpointHealth::Unhealthy);
    let response = proxy.web().get("/");
    assert_eq!((response.status(), response.header("retry-after")), (503, Some("2")));
    assert_eq!(proxy.failures()["no_healthy_endpoint"], 1);

    a_up.store(true, SeqCst);
    wait_for(&proxy, &a, EndpointHealth::Healthy);
    assert_eq!(proxy.endpoint(a.address()).health_reason, None);
    assert_eq!(answers(&proxy), ["a"]);
}

#[test]
fn traffic_follows_tcp_checks() {
    let origin = Origin::named("up");
    let proxy = Site { cluster: TCP, ..Site::of([origin.address()]) }.start();
    wait_for(&proxy, &origin, EndpointHealth::Healthy);
    let address = origin.stop();
    eventually("the endpoint is unhealthy", || {
        proxy.endpoint(address).health == EndpointHealth::Unhealthy
    });
    let origin = Origin::at(address, serve(|_| ok("up again")));
    wait_for(&proxy, &origin, EndpointHealth::Healthy);
    assert_eq!(proxy.web().get("/").status(), 200);
}

#[test]
fn one_bad_probe_changes_nothing() {
    let probes = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&probes);
    let origin = Origin::answering(move |_| match counted.fetch_add(1, SeqCst) % 2 {
        0 => ok("up"),
        _ => b"HTTP/1.1 500 Hiccup\r\nContent-Length: 0\r\n\r\n".to_vec(),
    });
    let proxy = Site { cluster: HTTP, ..Site::of([origin.address()]) }.start();
    eventually("there were probes", || probes.load(SeqCst) > 0);
    wait_for(&proxy, &origin, EndpointHealth::Healthy);
    eventually("there were many probes", || {
        assert_eq!(proxy.endpoint(origin.address()).health, EndpointHealth::Healthy);
        probes.load(SeqCst) > 8
    });
}

#[test]
fn a_reload_without_checks_forgets_what_they_found() {
    let up = Arc::new(AtomicBool::new(false));
    let origin = probed("up", &up);
    let checked = Site { cluster: HTTP, ..Site::of([origin.address()]) };
    let proxy = checked.start();
    wait_for(&proxy, &origin, EndpointHealth::Unhealthy);
    // A reload that changes nothing about the cluster keeps its health.
    let more = "[[listeners.web.routes]]\npath = \"/more\"\nrespond = {}\n".to_owned();
    proxy.reload(&Site { rest: more, ..checked.clone() }.toml()).unwrap();
    assert_eq!(proxy.endpoint(origin.address()).health, EndpointHealth::Unhealthy);
    proxy.reload(&Site { cluster: "", ..checked.clone() }.toml()).unwrap();
    assert_eq!(proxy.endpoint(origin.address()).health, EndpointHealth::Unknown);
    assert_eq!(proxy.web().get("/").text(), "up");
}
