//! Open loop: a stall is seen by everybody it keeps waiting.

use std::{
    sync::{RwLock, mpsc},
    time::{Duration, Instant},
};

use bs9_loadtest::{FailureKind, Options, Rate};

use crate::{
    report, requests,
    server::{Answer, Server, response},
};

const STALL: Duration = Duration::from_millis(600);

/// Nothing is ever sent, so this waits just as long, whoever interrupts it.
fn stall() {
    let (_sender, nothing) = mpsc::channel::<()>();
    let _timeout = nothing.recv_timeout(STALL);
}

/// Answers at once, but once keeps all connections waiting.
fn stalling_server() -> Server {
    let gate = RwLock::new(());
    Server::http(move |request| {
        if request.index == 100 {
            let _closed = gate.write().unwrap();
            stall();
        }
        let _open = gate.read().unwrap();
        Answer::Send(response(200, "hello"))
    })
}

#[test]
fn a_stall_shows_though_few_connections_meet_it() {
    let server = stalling_server();
    let options = Options { rate: Rate::constant(200.0), ..requests(400, 4) };
    let report = report(&server.url(), options);
    assert_eq!(report.requests.succeeded, 400, "none is left out: {report}");
    // In each tenth of a second 20 requests are due, 5 % of all. Those of the stall's first tenth
    // have to wait for the other five. A machine that is slow only makes it longer.
    let latency = report.latency_seconds.as_ref().unwrap();
    assert!(latency.p99 > 0.49, "{report}");
    // Measured from when they were really sent, only four requests met the stall.
    let service = report.service_seconds.as_ref().unwrap();
    assert!(service.mean < latency.mean, "{report}");
}

#[test]
fn a_schedule_nobody_can_keep_is_said_so() {
    // One connection, one answer in 600 ms, and a hundred requests a second.
    let server = Server::http(|_| {
        stall();
        Answer::Send(response(200, "hello"))
    });
    let options = Options {
        rate: Rate::constant(100.0),
        duration: Some(Duration::from_millis(500)),
        connections: 1,
        ..Options::default()
    };
    let report = report(&server.url(), options);
    assert_eq!(report.requests.total, 50, "all that were due: {report}");
    assert_eq!(report.errors[0].kind, FailureKind::Unsent, "{report}");
    assert!(report.warnings.iter().any(|warning| warning.contains("never sent")), "{report}");
}

/// A server that stands still for a fifth of a second at the end of each second.
fn server_that_stalls_again_and_again() -> Server {
    const CYCLE: u128 = 1_000;
    const STALLS_FROM: u128 = 800;
    let start = Instant::now();
    Server::http(move |_| {
        let at = start.elapsed().as_millis() % CYCLE;
        if at >= STALLS_FROM {
            // Nothing is ever sent, so this waits until the cycle is over.
            let (_sender, nothing) = mpsc::channel::<()>();
            let left = u64::try_from(CYCLE - at).unwrap();
            let _timeout = nothing.recv_timeout(Duration::from_millis(left));
        }
        Answer::Send(response(200, "hello"))
    })
}

#[test]
fn an_open_loop_shows_stalls_that_a_closed_one_hides() {
    let server = server_that_stalls_again_and_again();
    let options = |rate| Options {
        duration: Some(Duration::from_secs(3)),
        rate,
        connections: 4,
        ..Options::default()
    };
    // A fifth of all requests are due while nothing is answered.
    let open = report(&server.url(), options(Rate::constant(200.0)));
    let open = open.latency_seconds.unwrap();
    // Each stall is met by one request a connection, of all that are sent before and after.
    let closed = report(&server.url(), options(None));
    assert!(closed.requests.succeeded > 2_000, "{closed}");
    let closed = closed.latency_seconds.unwrap();
    assert!(open.p99 > 0.15, "the stall shows: {open:?}");
    assert!(
        closed.p99 < open.p99 / 2.0 && closed.max > 0.1,
        "it hides in the last hundredth: {closed:?}"
    );
}
