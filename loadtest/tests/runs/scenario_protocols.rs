//! Scenario files for every protocol but plain HTTP/1.1, carried out.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use bs9_loadtest::{Report, TlsOptions};

use crate::{
    echo,
    http2_server::{self, Frame, script},
    postgres_scripted,
    scenario::{carry_out, carry_out_over},
    server::{Server, response},
    tls_server::{self, Authority, Trait},
    websocket,
};

const MIX: &str = r#"
rate = 100
duration = "400ms"
connections = 2
threads = 1
[data.users]
file = "users.csv"
[[requests]]
name = "user"
path = "/users/{{users.id}}"
expect.body = "hello"
[[requests]]
name = "home"
path = "/"
expect.status = 200
"#;

/// What [`MIX`] asks for.
const PATHS: [&str; 5] = ["/", "/users/1", "/users/2", "/users/3", "/users/4"];

fn trusting(authority: &Authority) -> TlsOptions {
    TlsOptions { ca_file: Some(authority.file()), ..TlsOptions::default() }
}

/// All forty were answered as expected, each request of the mix some of them.
fn went_well(report: &Report, protocol: &str) {
    assert_eq!((report.requests.succeeded, report.requests.total), (40, 40), "{report}");
    assert_eq!(report.protocol, protocol);
    let names: Vec<_> = report.mix.iter().map(|row| (&*row.name, row.succeeded > 0)).collect();
    assert_eq!(names, [("user", true), ("home", true)], "{report}");
}

#[test]
fn a_scenario_of_http2_shares_connections_between_its_requests() {
    let seen = Arc::<Mutex<BTreeSet<String>>>::default();
    let own = Arc::clone(&seen);
    let server = http2_server::Server::start(h2::server::Builder::new(), move |request| {
        own.lock().unwrap().insert(request.head.uri.path().to_owned());
        http::Response::new(b"hello".to_vec())
    });
    let url = format!("http://{}", server.address);
    let report = carry_out(&url, &format!("http2 = true\nstreams = 4\n{MIX}"));
    went_well(&report, "http/2");
    assert_eq!(report.streams, Some(4));
    assert_eq!(*seen.lock().unwrap(), PATHS.map(str::to_owned).into());
}

#[test]
fn a_scenario_goes_over_tls_in_either_version_of_http() {
    let authority = Authority::new();
    let seen = Arc::<Mutex<BTreeSet<String>>>::default();
    let own = Arc::clone(&seen);
    let config = authority.server("127.0.0.1", Trait::None, &[b"http/1.1"]);
    let (server, handshakes) = tls_server::http(config, move |head| {
        own.lock().unwrap().insert(head.split(' ').nth(1).unwrap().to_owned());
        response(200, "hello")
    });
    let url = format!("https://{}", server.address);
    went_well(&carry_out_over(trusting(&authority), &url, MIX), "http/1.1 over tls");
    assert_eq!(handshakes.lock().unwrap().len(), 2, "one for each connection");
    assert_eq!(*seen.lock().unwrap(), PATHS.map(str::to_owned).into());

    let config = authority.server("127.0.0.1", Trait::None, &[b"h2"]);
    let server = tls_server::start(config, |mut stream| {
        script(&mut stream, |_, stream| vec![Frame::ok(stream)]);
    });
    let url = format!("https://{}", server.address);
    // Its responses have no body.
    let text = format!("http2 = true\n{}", MIX.replace("expect.body = \"hello\"", ""));
    went_well(&carry_out_over(trusting(&authority), &url, &text), "http/2 over tls");
}

#[test]
fn a_scenario_of_messages_shakes_hands_with_its_headers() {
    // The server takes nobody without this header.
    let text = r#"
headers = { Authorization = "Bearer x" }
payload_size = "70000B"
connections = 2
[[stages]]
name = "some"
duration = "200ms"
rate = 100
[[stages]]
name = "more"
duration = "200ms"
rate = 200
"#;
    let server = Server::start(|mut stream| {
        websocket::serve(&mut stream, websocket::echo);
    });
    let url = format!("ws://{}/chat?room=1", server.address);
    let report = carry_out(&url, text);
    assert_eq!((report.requests.succeeded, report.requests.total), (60, 60), "{report}");
    assert_eq!((report.protocol, report.stages.len()), ("websocket", 2));
    assert!(report.bytes.sent_bytes > 60 * 70_000, "{report}");

    let authority = Authority::new();
    let config = authority.server("127.0.0.1", Trait::None, &[b"http/1.1"]);
    let server = tls_server::start(config, |mut stream| {
        websocket::serve(&mut stream, websocket::echo);
    });
    let url = format!("wss://{}/chat?room=1", server.address);
    let report = carry_out_over(trusting(&authority), &url, text);
    assert_eq!((report.requests.succeeded, report.requests.total), (60, 60), "{report}");
    assert_eq!(report.protocol, "websocket over tls");
}

#[test]
fn a_scenario_of_payloads_has_stages_and_pauses() {
    let server = Server::start(|stream| echo::echo(stream, |_| {}));
    let report = carry_out(
        &format!("tcp://{}", server.address),
        r#"
payload_size = "3KiB"
think_time = "50ms"
thresholds = ["errors == 0", "requests > 1"]
[[stages]]
duration = "300ms"
connections = 2
[[stages]]
duration = "200ms"
connections = 1
"#,
    );
    let succeeded = report.requests.succeeded;
    assert!(report.passed && report.requests.failed == 0, "{report}");
    assert_eq!((report.protocol, report.stages.len()), ("tcp", 2));
    assert_eq!(report.bytes.sent_bytes, succeeded * 3 * 1024);
    // At most one each 50 ms on each connection, and the first of each.
    assert!(succeeded <= 2 * 7 + 5, "nobody thinks: {report}");
}

#[test]
fn a_scenario_of_queries_without_any_asks_the_usual_one_and_thinks() {
    let server = Server::start(|stream| {
        let replies = |tag| if tag == b'Q' { postgres_scripted::row() } else { Vec::new() };
        postgres_scripted::serve(stream, &postgres_scripted::logged_in(), replies);
    });
    let report = carry_out(
        &format!("postgres://app@{}/shop", server.address),
        "mode = \"simple\"\nduration = \"300ms\"\nconnections = 2\nthink_time = \"10s\"\n",
    );
    // Each connection asks once, and is still thinking when it is over.
    assert_eq!((report.requests.succeeded, report.requests.failed), (2, 0), "{report}");
    assert_eq!(report.protocol, "postgresql");
}
