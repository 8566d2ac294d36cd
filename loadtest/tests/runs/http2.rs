//! HTTP/2, plain and over TLS.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::Mutex,
    time::Duration,
};

use bs9_loadtest::{FailureKind, Options, Plan, Report, RunError, TlsOptions};

use crate::{
    attempt,
    http2_server::{self, Frame, script},
    report, requests,
    server::{Answer, Server, response},
    tls_server::{self, Authority, Trait},
};

fn http2(streams: usize, options: Options) -> Options {
    Options { http2: true, streams: Some(streams), ..options }
}

fn kinds(report: &Report) -> Vec<(FailureKind, u64)> {
    report.errors.iter().map(|error| (error.kind, error.count)).collect()
}

/// A server of frames, in plain text.
fn scripted(answer: impl Fn(usize, u32) -> Vec<Frame> + Send + Sync + 'static) -> (Server, String) {
    let server = Server::start(move |mut stream: TcpStream| {
        script(&mut stream, &answer);
    });
    let url = format!("http://{}/", server.address);
    (server, url)
}

#[test]
fn many_streams_share_a_connection() {
    let mut builder = h2::server::Builder::new();
    builder.max_concurrent_streams(100);
    let server = http2_server::Server::start(builder, |request| {
        assert_eq!(request.head.uri.path(), "/items");
        assert_eq!(request.head.headers["x-tenant"], "blue");
        http::Response::new(b"hello".to_vec())
    });
    let mut options = http2(10, requests(2_000, 2));
    options.http.headers = vec![("X-Tenant".into(), "blue".into())];
    options.http.expect_body = Some("hello".into());
    let report = report(&format!("http://{}/items", server.address), options);
    assert_eq!((report.requests.succeeded, report.requests.failed), (2_000, 0), "{report}");
    assert_eq!(report.protocol, "http/2");
    assert_eq!(report.statuses, [(200, 2_000)].into());
    assert_eq!(report.connect_seconds.unwrap().count, 2);
    assert!((2..=10).contains(&server.most_at_once()), "{}", server.most_at_once());
}

#[test]
fn a_server_that_takes_few_streams_is_not_pressed() {
    let mut builder = h2::server::Builder::new();
    builder.max_concurrent_streams(3);
    let server = http2_server::Server::start(builder, |_| http::Response::new(Vec::new()));
    let options = http2(20, requests(500, 1));
    let report = report(&format!("http://{}/", server.address), options);
    assert_eq!(report.requests.succeeded, 500, "{report}");
    assert_eq!(server.most_at_once(), 3);
}

#[test]
fn bodies_both_ways_pass_narrow_windows() {
    let mut builder = h2::server::Builder::new();
    builder.initial_window_size(10_000).initial_connection_window_size(70_000);
    let server = http2_server::Server::start(builder, |request| {
        let sum: usize = request.body.iter().map(|&byte| usize::from(byte)).sum();
        let mut reply = vec![b'.'; 300_000];
        reply.extend(format!("sum {sum}").bytes());
        http::Response::new(reply)
    });
    let mut options = http2(4, requests(24, 2));
    options.http.body = Some((0..200_000).map(|at| (at % 251) as u8).collect());
    let sum: usize = (0..200_000).map(|at| at % 251).sum();
    options.http.expect_body = Some(format!("sum {sum}"));
    let report = report(&format!("http://{}/", server.address), options);
    assert_eq!((report.requests.succeeded, report.requests.failed), (24, 0), "{report}");
    assert!(report.bytes.sent_bytes > 24 * 200_000 && report.bytes.received_bytes > 24 * 300_000);
}

#[test]
fn statuses_and_bodies_are_checked() {
    let server = http2_server::Server::start(h2::server::Builder::new(), |request| {
        let status = if request.head.uri.path() == "/busy" { 503 } else { 200 };
        http::Response::builder().status(status).body(b"else".to_vec()).unwrap()
    });
    for (path, kind) in [("busy", FailureKind::Status), ("other", FailureKind::Body)] {
        let mut options = http2(2, requests(10, 1));
        options.http.expect_body = Some("hello".into());
        let report = report(&format!("http://{}/{path}", server.address), options);
        assert_eq!(kinds(&report), [(kind, 10)], "{report}");
    }
}

#[test]
fn it_is_spoken_over_tls() {
    let authority = Authority::new();
    let config = authority.server("127.0.0.1", Trait::None, &[b"h2", b"http/1.1"]);
    let server = tls_server::start(config, |mut stream| {
        script(&mut stream, |_, stream| vec![Frame::ok(stream)]);
    });
    let tls = TlsOptions { ca_file: Some(authority.file()), ..TlsOptions::default() };
    let url = format!("https://{}/", server.address);
    let options = http2(8, Options { tls: tls.clone(), ..requests(400, 2) });
    let report = report(&url, options);
    assert_eq!((report.requests.succeeded, report.requests.failed), (400, 0), "{report}");
    assert_eq!(report.protocol, "http/2 over tls");

    // Who does not agree on it is not spoken to.
    for (alpn, words) in [(&[b"http/1.1" as &[u8]][..], "no application protocol"), (&[], "HTTP/2")]
    {
        let config = authority.server("127.0.0.1", Trait::None, alpn);
        let (server, _) = tls_server::http(config, |_| response(200, ""));
        let options = http2(1, Options { tls: tls.clone(), ..requests(1, 1) });
        match attempt(&format!("https://{}/", server.address), options) {
            Err(RunError::NotReady { failures }) => {
                assert_eq!(failures[0].kind, FailureKind::Tls);
                assert!(failures[0].example.contains(words), "{failures:?}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_server_of_http1_is_told_from_one_that_is_broken() {
    let server = Server::http(|_| Answer::Send(response(400, "what?")));
    match attempt(&server.url(), http2(1, requests(1, 1))) {
        Err(RunError::NotReady { failures }) => {
            assert_eq!(failures[0].kind, FailureKind::Protocol);
            assert!(failures[0].example.contains("HTTP/1.1"), "{failures:?}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_stream_that_is_reset_leaves_the_others_alone() {
    let (_server, url) = scripted(|request, stream| match request % 4 {
        0 => vec![Frame::reset(stream, 7)],
        _ => vec![Frame::ok(stream)],
    });
    let report = report(&url, http2(3, requests(40, 1)));
    assert_eq!(report.requests.succeeded, 30, "{report}");
    assert_eq!(kinds(&report), [(FailureKind::StreamReset, 10)]);
    assert!(report.errors[0].example.contains("REFUSED_STREAM"), "{report}");
    assert_eq!(report.connect_seconds.unwrap().count, 1);
}

#[test]
fn what_a_leaving_server_has_not_seen_is_asked_again() {
    // Each connection answers ten requests, and leaves as servers do that count them.
    let (_server, url) = scripted(|request, stream| match request {
        0..9 => vec![Frame::ok(stream)],
        9 => vec![Frame::go_away(stream, 0), Frame::ok(stream)],
        _ => vec![Frame::new(6, 0, 0, &[0; 8])],
    });
    let report = report(&url, http2(4, requests(100, 1)));
    assert_eq!((report.requests.succeeded, report.requests.failed), (100, 0), "{report}");
    assert_eq!(report.connect_seconds.unwrap().count, 10);
}

#[test]
fn a_server_may_say_all_its_goodbyes_at_once() {
    let authority = Authority::new();
    let config = authority.server("127.0.0.1", Trait::None, &[b"h2"]);
    let server = tls_server::start(config, |mut stream| {
        let mut serve = || {
            http2_server::greet(&mut stream)?;
            for request in 0..10 {
                let id = http2_server::next_request(&mut stream)?;
                let ok = Frame::ok(id).bytes();
                if request < 9 {
                    stream.write_all(&ok).ok()?;
                    stream.flush().ok()?;
                } else {
                    let last = [Frame::go_away(id, 0).bytes(), ok].concat();
                    stream.conn.writer().write_all(&last).ok()?;
                    stream.conn.send_close_notify();
                    stream.flush().ok()?;
                }
            }
            stream.read_to_end(&mut Vec::new()).ok()
        };
        let _either_side_closed = serve();
    });
    let tls = TlsOptions { ca_file: Some(authority.file()), ..TlsOptions::default() };
    let options = http2(4, Options { tls, ..requests(200, 1) });
    let report = report(&format!("https://{}/", server.address), options);
    assert_eq!((report.requests.succeeded, report.requests.failed), (200, 0), "{report}");
}

#[test]
fn a_server_that_leaves_in_anger_is_an_error() {
    let (_server, url) = scripted(|request, stream| match request {
        0..9 => vec![Frame::ok(stream)],
        _ => vec![Frame::go_away(stream - 2, 11), Frame::new(6, 0, 0, &[0; 8])],
    });
    let report = report(&url, http2(1, requests(50, 1)));
    assert_eq!(report.requests.succeeded, 45, "{report}");
    assert_eq!(kinds(&report), [(FailureKind::GoAway, 5)]);
    assert!(report.errors[0].example.contains("ENHANCE_YOUR_CALM"), "{report}");
}

#[test]
fn a_request_is_not_sent_for_ever() {
    let (_server, url) = scripted(|_, _| vec![Frame::go_away(0, 0)]);
    let report = report(&url, http2(2, requests(6, 1)));
    assert_eq!(kinds(&report), [(FailureKind::GoAway, 6)], "{report}");
}

#[test]
fn a_connection_that_breaks_takes_its_requests_with_it() {
    let (_server, url) = scripted(|request, stream| match request {
        0..4 => vec![Frame::ok(stream)],
        _ => Vec::new(),
    });
    let report = report(&url, http2(1, requests(20, 1)));
    assert_eq!(report.requests.succeeded, 16, "{report}");
    assert_eq!(kinds(&report), [(FailureKind::Closed, 4)]);

    let (_server, url) = scripted(|_, stream| vec![Frame::new(0, 1, stream, b"no fields")]);
    let report = crate::report(&url, http2(3, requests(6, 1)));
    assert!(report.errors.iter().all(|error| error.kind == FailureKind::Protocol), "{report}");
    assert_eq!(report.requests.failed, 6);
}

#[test]
fn a_request_that_takes_too_long_gives_its_stream_up() {
    let seen = Mutex::new(0);
    let (_server, url) = scripted(move |_, stream| {
        let mut seen = seen.lock().unwrap();
        *seen += 1;
        // Every fifth is never answered.
        if *seen % 5 == 0 { vec![Frame::new(6, 0, 0, &[0; 8])] } else { vec![Frame::ok(stream)] }
    });
    let options = Options { request_timeout: Duration::from_secs(1), ..requests(30, 1) };
    let report = report(&url, http2(3, options));
    assert_eq!(report.requests.succeeded, 24, "{report}");
    assert_eq!(kinds(&report), [(FailureKind::RequestTimeout, 6)]);
    assert_eq!(report.connect_seconds.unwrap().count, 1, "the connection stays");
}

#[test]
fn a_connection_for_each_request() {
    let (server, url) = scripted(|_, stream| vec![Frame::ok(stream)]);
    let options = Options { keep_alive: false, ..http2(1, requests(12, 3)) };
    assert_eq!(report(&url, options).requests.succeeded, 12);
    // One of them only looked whether somebody is there.
    assert_eq!(server.connections(), 13);
}

#[test]
fn streams_at_a_rate() {
    let (_server, url) = scripted(|_, stream| vec![Frame::ok(stream)]);
    let rate = Some("500".parse().unwrap());
    let exact = report(&url, Options { rate, ..http2(10, requests(300, 1)) });
    assert_eq!((exact.requests.succeeded, exact.requests.failed), (300, 0), "{exact}");
    assert_eq!(exact.pacing, "open");
    // For so long: what a busy machine did not come to is counted as well, and told apart.
    let options = Options { rate, requests: None, ..http2(10, requests(1, 1)) };
    let timed = report(&url, Options { duration: Some(Duration::from_millis(600)), ..options });
    assert_eq!(timed.requests.total, 300, "{timed}");
    assert!(timed.errors.iter().all(|error| error.kind == FailureKind::Unsent), "{timed}");
}

#[test]
fn streams_are_for_those_who_have_them() {
    let plan = |url: &str, options| Plan::new(url.parse().unwrap(), options).is_err();
    let http = "http://127.0.0.1/";
    assert!(plan(http, Options { http2: false, ..http2(2, requests(1, 1)) }));
    assert!(plan(http, Options { keep_alive: false, ..http2(2, requests(1, 1)) }));
    assert!(plan(http, http2(0, requests(1, 1))));
    assert!(plan(http, http2(1_001, requests(1, 1))));
    assert!(plan(http, http2(1_000, requests(1, 2_000))));
    assert!(plan("tcp://127.0.0.1:1", http2(1, requests(1, 1))));
}
