//! Open loop: a stall is seen by everybody it keeps waiting.

use std::{
    sync::{RwLock, mpsc},
    time::Duration,
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

#[test]
fn an_open_loop_shows_a_stall_that_a_closed_one_hides() {
    // A fifth of all requests are due while nothing is answered.
    let open = Options { rate: Rate::constant(200.0), ..requests(600, 4) };
    let open = report(&stalling_server().url(), open);
    // Each connection meets the stall once, with one of the thousand that it sends.
    let closed = report(&stalling_server().url(), requests(4_000, 4));
    assert_eq!((open.requests.succeeded, closed.requests.succeeded), (600, 4_000), "{closed}");
    let [open, closed] = [open, closed].map(|report| report.latency_seconds.unwrap());
    assert!(open.p99 > 0.45, "the stall shows: {open:?}");
    assert!(
        closed.p99 < open.p99 / 2.0 && closed.max > 0.5,
        "it hides in the last hundredth: {closed:?}"
    );
}
