//! Each way to fail is told apart from the others.

use std::{
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex},
    time::Duration,
};

use bs9_loadtest::{FailureKind, Options, Report, RunError};
use socket2::{Domain, Socket, Type};

use crate::{
    attempt, report, requests,
    server::{Answer, Server, response},
};

fn kinds(report: &Report) -> Vec<(FailureKind, u64)> {
    report.errors.iter().map(|error| (error.kind, error.count)).collect()
}

fn unreached(result: Result<Report, RunError>) -> FailureKind {
    match result {
        Err(RunError::Unreached { failure, .. }) => failure.kind(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn nobody_listens() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let result = attempt(&format!("http://{address}/"), requests(1, 1));
    assert_eq!(unreached(result), FailureKind::Refused);
}

#[test]
fn no_way_there() {
    // A multicast address: TCP has no way to one, whatever the network looks like.
    let options = Options { allow_remote: true, ..requests(1, 1) };
    assert_eq!(unreached(attempt("http://224.0.0.1:80/", options)), FailureKind::Unreachable);
}

#[test]
fn another_machine_is_left_alone() {
    for host in ["192.0.2.1", "[2001:db8::1]"] {
        let result = attempt(&format!("http://{host}/"), requests(1, 1));
        assert!(matches!(result, Err(RunError::Remote { .. })), "{result:?}");
    }
}

#[test]
fn no_such_host() {
    let result = attempt("http://no-such-host.invalid/", requests(1, 1));
    assert!(matches!(result, Err(RunError::Resolve { .. })), "{result:?}");
}

#[test]
fn nobody_accepts() {
    // Room for one connection, which the look whether somebody is there takes. The kernel drops
    // the handshakes of all others.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let options = Options { connect_timeout: Duration::from_millis(300), ..requests(3, 3) };
    match attempt(&format!("http://{address}/"), options) {
        Err(RunError::NotReady { failures }) => {
            assert_eq!(failures.len(), 1, "{failures:?}");
            assert_eq!((failures[0].kind, failures[0].count), (FailureKind::ConnectTimeout, 3));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_server_goes_away() {
    // It answers one request, and is gone before the next one.
    let listener = Arc::new(Mutex::new(None::<Server>));
    let own = Arc::clone(&listener);
    let server = Server::http(move |_| {
        drop(own.lock().unwrap().take());
        let head = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
        Answer::SendAndClose(head.into())
    });
    let url = server.url();
    *listener.lock().unwrap() = Some(server);
    let report = report(&url, requests(4, 1));
    assert_eq!(report.requests.succeeded, 1);
    assert_eq!(kinds(&report), [(FailureKind::Refused, 3)]);
    assert!(report.passed, "without thresholds some success is enough");
}

#[test]
fn no_answer_in_time() {
    let server = Server::http(|_| Answer::Nothing);
    let options = Options { request_timeout: Duration::from_millis(100), ..requests(4, 2) };
    let report = report(&server.url(), options);
    assert_eq!(kinds(&report), [(FailureKind::RequestTimeout, 4)]);
    assert!(!report.passed, "nothing succeeded");
    assert!(report.latency_seconds.is_none());
}

#[test]
fn an_answer_that_is_none() {
    let cut = || b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf".to_vec();
    for (answer, kind) in [
        ((|| Answer::Reset) as fn() -> Answer, FailureKind::Reset),
        (|| Answer::SendAndClose(Vec::new()), FailureKind::Closed),
        (|| Answer::Send(b"220 mail.example.com\r\n\r\n".to_vec()), FailureKind::Protocol),
        (|| Answer::Send(response(503, "busy")), FailureKind::Status),
        (|| Answer::Send(response(200, "something else")), FailureKind::Body),
    ] {
        let server = Server::http(move |_| answer());
        let mut options = requests(5, 2);
        options.http.expect_body = Some("hello".into());
        let report = report(&server.url(), options);
        assert_eq!(kinds(&report), [(kind, 5)], "{report}");
        assert_eq!(server.requests(), 5);
    }
    let server = Server::http(move |_| Answer::SendAndClose(cut()));
    assert_eq!(kinds(&report(&server.url(), requests(3, 1))), [(FailureKind::Closed, 3)]);
}

#[test]
fn good_and_bad_are_counted_apart() {
    let server = Server::http(|request| match request.index % 4 {
        0 => Answer::Send(response(404, "")),
        1 => Answer::Reset,
        _ => Answer::Send(response(200, "")),
    });
    let report = report(&server.url(), requests(40, 1));
    assert_eq!(report.requests.succeeded, 20);
    assert_eq!(kinds(&report), [(FailureKind::Reset, 10), (FailureKind::Status, 10)]);
    assert_eq!(report.statuses, [(200, 20), (404, 10)].into());
}

#[test]
fn an_expected_error_is_none() {
    let server = Server::http(|_| Answer::Send(response(404, "")));
    let mut options = requests(3, 1);
    options.http.expect_status = Some("404".parse().unwrap());
    assert_eq!(report(&server.url(), options).requests.succeeded, 3);
}
