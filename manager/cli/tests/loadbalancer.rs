//! `bs9 loadbalancer start`: the familiar flags.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fixture;

use std::{collections::BTreeMap, net::TcpListener};

use fixture::{Running, eventually, get, origin::Origin, program};
use rustix::process::Signal;

#[test]
fn a_load_balancer_from_flags() {
    let (one, two) = (Origin::start("one"), Origin::start("two"));
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("lb.sock");
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let backends = format!("{}:3,{}", one.address, two.address);
    let mut command = program();
    command
        .args(["loadbalancer", "start", "--host", "127.0.0.1", "-p", &port.to_string()])
        .args(["-a", "weighted-round-robin", "-b", &backends])
        .args(["--health-check", "--health-path", "/healthz", "--health-interval", "100"])
        .arg("--socket")
        .arg(&socket);
    let mut running = Running::start(command, &folder.path().join("log"), socket);
    let status = eventually("both endpoints are healthy", || {
        let answer = running.ask(&["loadbalancer", "status", "--json"]);
        let status = (answer.code == Some(0)).then(|| answer.json())?;
        let all = status["clusters"][0]["endpoints"]
            .as_array()?
            .iter()
            .all(|one| one["health"] == "healthy");
        all.then_some(status)
    });
    assert_eq!(status["clusters"][0]["balance"], "weighted-round-robin");
    let address = ([127, 0, 0, 1], port).into();
    let mut shares: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..80 {
        *shares.entry(get(address, "/").body).or_default() += 1;
    }
    assert!((52..=68).contains(&shares["one"]), "{shares:?}");

    let said = running.ask(&["loadbalancer", "reload"]).fails(1);
    assert!(said.contains("started from flags"), "{said}");
    let said = running.ask(&["loadbalancer", "add", "10.0.0.1:1", "--persist"]).fails(1);
    assert!(said.contains("started from flags"), "{said}");
    let endpoint = status["clusters"][0]["endpoints"][0]["address"].as_str().unwrap();
    let said = running.ask(&["loadbalancer", "disable", endpoint, "--persist"]).fails(1);
    assert!(said.contains("started from flags"), "{said}");
    running.ask(&["lb", "add", "10.0.0.1:1"]).ok();
    assert!(running.log().contains(&format!("http://127.0.0.1:{port}")), "{}", running.log());
    running.signal(Signal::INT);
    assert_eq!(running.ended().code(), Some(0));
}
