//! Open loop, in every protocol that is not HTTP: as many as are due, and each counts from when
//! it was.

use std::{
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::Duration,
};

use bs9_loadtest::{FailureKind, Options, QueryMode, Rate, Report, Script};

use crate::{echo, postgres_scripted, report, requests, server::Server, websocket};

const STALL: Duration = Duration::from_millis(400);

/// Once, the first answer keeps everybody waiting.
#[derive(Clone, Default)]
struct Stall(Arc<AtomicBool>);

impl Stall {
    fn wait(&self) {
        if !self.0.swap(true, Ordering::SeqCst) {
            // Nothing is ever sent, so this waits just as long, whoever interrupts it.
            let (_sender, nothing) = mpsc::channel::<()>();
            let _timeout = nothing.recv_timeout(STALL);
        }
    }
}

/// A server, and what leads to it.
fn messages(before: impl Fn() + Send + Sync + 'static) -> (Server, String, Options) {
    let server = Server::start(move |mut stream: TcpStream| {
        websocket::serve(&mut stream, |message| {
            before();
            websocket::echo(message)
        });
    });
    let url = format!("ws://{}/chat?room=1", server.address);
    let mut options = Options::default();
    options.http.headers = vec![("Authorization".into(), "Bearer x".into())];
    (server, url, options)
}

fn payloads(before: impl Fn() + Send + Sync + 'static) -> (Server, String, Options) {
    let server = Server::start(move |stream| echo::echo(stream, |_| before()));
    let url = format!("tcp://{}", server.address);
    (server, url, Options::default())
}

fn queries(before: impl Fn() + Send + Sync + 'static) -> (Server, String, Options) {
    let server = Server::start(move |stream| {
        postgres_scripted::serve(stream, &postgres_scripted::logged_in(), |tag| match tag {
            b'Q' => {
                before();
                postgres_scripted::row()
            }
            _ => Vec::new(),
        });
    });
    let url = format!("postgres://app@{}/shop", server.address);
    (server, url, Options { query_mode: Some(QueryMode::Simple), ..Options::default() })
}

/// So many at a rate that takes them 0.6 s, or longer where the machine is busy.
fn at_a_rate(options: Options) -> Options {
    let due = requests(120, 8);
    Options {
        rate: Rate::constant(200.0),
        requests: due.requests,
        connections: due.connections,
        threads: Some(2),
        ..options
    }
}

fn all_that_were_due(report: &Report) {
    assert_eq!((report.requests.succeeded, report.requests.failed), (120, 0), "{report}");
    assert_eq!((report.pacing, report.asked_per_second), ("open", Some([200.0, 200.0])));
    for distribution in [&report.latency_seconds, &report.service_seconds] {
        assert_eq!(distribution.as_ref().unwrap().count, 120, "{report}");
    }
    // None was sent before it was due, the last of them 119 intervals behind the first.
    assert!(report.elapsed_seconds > 118.0 / 200.0, "{report}");
}

#[test]
fn every_protocol_sends_as_many_as_are_due() {
    for (_server, url, options) in [messages(|| ()), payloads(|| ()), queries(|| ())] {
        all_that_were_due(&report(&url, at_a_rate(options)));
    }
    let (_server, url) = postgres_scripted::transactional();
    let script = Some(Script::parse("BEGIN;\nSELECT 1;\nEND;", &[]).unwrap());
    let report = report(&url, at_a_rate(Options { script, ..Options::default() }));
    all_that_were_due(&report);
    assert_eq!(report.requests.statements, Some(3 * 120), "{report}");
}

#[test]
fn in_every_protocol_a_ramp_comes_to_the_mean_of_its_rates() {
    for (_server, url, options) in [messages(|| ()), payloads(|| ()), queries(|| ())] {
        let rate = Rate::ramp(100.0, 300.0);
        let duration = Some(Duration::from_millis(600));
        let report = report(&url, Options { rate, duration, connections: 8, ..options });
        assert_eq!((report.pacing, report.asked_per_second), ("open", Some([100.0, 300.0])));
        // What a busy machine did not come to is counted as well, and told apart.
        assert_eq!(report.requests.total, 120, "{report}");
        assert!(report.errors.iter().all(|error| error.kind == FailureKind::Unsent), "{report}");
        for distribution in [&report.latency_seconds, &report.service_seconds] {
            let count = distribution.as_ref().unwrap().count;
            assert_eq!(count, report.requests.succeeded, "{report}");
        }
    }
}

#[test]
fn in_every_protocol_a_stall_is_seen_by_all_who_came_meanwhile() {
    let stall = || {
        let stall = Stall::default();
        move || stall.wait()
    };
    for (_server, url, options) in [messages(stall()), payloads(stall()), queries(stall())] {
        // One connection. While it waits for the first answer, all the others become due, one
        // each 10 ms: the last of them is kept waiting a quarter of the time.
        let due = requests(30, 1);
        let options = Options {
            rate: Rate::constant(100.0),
            requests: due.requests,
            connections: due.connections,
            ..options
        };
        let report = report(&url, options);
        assert_eq!((report.requests.succeeded, report.requests.failed), (30, 0), "{report}");
        let latency = report.latency_seconds.as_ref().unwrap();
        // A machine that is slow only makes it longer.
        assert!(latency.min > 0.09 && latency.mean > 0.24, "{report}");
        // Measured from when they were really sent, only the first met it.
        let service = report.service_seconds.as_ref().unwrap();
        assert!(service.mean < latency.mean, "{report}");
    }
}
