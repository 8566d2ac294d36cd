//! HTTP over TLS: who is trusted, and what can go wrong.

use std::{
    io::{Read as _, Write as _},
    time::Duration,
};

use bs9_loadtest::{FailureKind, Options, RunError, TlsOptions};
use rustls::HandshakeKind;

use crate::{
    attempt, report, requests,
    server::{Server, response},
    tls_server::{self, Authority, Trait},
};

const HTTP1: &[&[u8]] = &[b"http/1.1"];

fn trusting(authority: &Authority, options: Options) -> Options {
    let tls = TlsOptions { ca_file: Some(authority.file()), ..TlsOptions::default() };
    Options { tls, ..options }
}

fn url(server: &Server) -> String {
    format!("https://{}/", server.address)
}

/// Why no connection could be made ready.
fn not_ready(url: &str, options: Options) -> (FailureKind, String) {
    match attempt(url, options) {
        Err(RunError::NotReady { failures }) => {
            assert_eq!(failures.len(), 1, "{failures:?}");
            (failures[0].kind, failures[0].example.clone())
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_trusted_server_is_asked_over_one_connection_each() {
    let authority = Authority::new();
    for special in [Trait::None, Trait::OnlyTls12] {
        let config = authority.server("127.0.0.1", special, HTTP1);
        let (server, handshakes) = tls_server::http(config, |_| response(200, "hello"));
        let mut options = trusting(&authority, requests(40, 4));
        options.http.expect_body = Some("hello".into());
        let report = report(&url(&server), options);
        assert_eq!((report.requests.succeeded, report.requests.failed), (40, 0), "{report}");
        assert_eq!(report.protocol, "http/1.1 over tls");
        assert_eq!(handshakes.lock().unwrap().len(), 4);
        assert_eq!(report.connect_seconds.unwrap().count, 4);
    }
}

#[test]
fn bodies_longer_than_a_record_arrive_whole() {
    let authority = Authority::new();
    let config = authority.server("127.0.0.1", Trait::None, HTTP1);
    let long = "x".repeat(1_000_000) + "end";
    let (server, _) = tls_server::http(config, move |_| response(200, &long));
    let mut options = trusting(&authority, requests(6, 2));
    options.http.body = Some(vec![b'y'; 700_000]);
    options.http.expect_body = Some("xend".into());
    let report = report(&url(&server), options);
    assert_eq!(report.requests.succeeded, 6, "{report}");
    assert!(report.bytes.received_bytes > 6_000_000, "{report}");
}

#[test]
fn a_connection_for_each_request_shakes_hands_in_full_unless_told() {
    let authority = Authority::new();
    for (resume, expected) in [(false, HandshakeKind::Full), (true, HandshakeKind::Resumed)] {
        let config = authority.server("127.0.0.1", Trait::None, HTTP1);
        let (server, handshakes) = tls_server::http(config, |_| response(200, ""));
        let mut options = trusting(&authority, requests(10, 1));
        options.keep_alive = false;
        options.tls.resume = resume;
        assert_eq!(report(&url(&server), options).requests.succeeded, 10);
        let handshakes = handshakes.lock().unwrap();
        assert_eq!(handshakes.len(), 10);
        assert_eq!(handshakes.last(), Some(&expected), "{handshakes:?}");
    }
}

#[test]
fn a_certificate_has_to_be_right() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    for (signed_by, name, special, words) in [
        (&authority, "127.0.0.1", Trait::Expired, "expired"),
        (&authority, "example.com", Trait::None, "name"),
        (&stranger, "127.0.0.1", Trait::None, "has signed it"),
    ] {
        let config = signed_by.server(name, special, HTTP1);
        let (server, _) = tls_server::http(config, |_| response(200, ""));
        let options = trusting(&authority, requests(2, 2));
        let (kind, example) = not_ready(&url(&server), options.clone());
        assert_eq!(kind, FailureKind::Certificate, "{name}");
        assert!(example.contains(words), "{example}");
        let mut insecure = options;
        insecure.tls = TlsOptions { insecure: true, ..TlsOptions::default() };
        let report = report(&url(&server), insecure);
        assert_eq!(report.requests.succeeded, 2);
    }
}

#[test]
fn another_name_may_be_asked_for() {
    let authority = Authority::new();
    let config = authority.server("shop.example.com", Trait::None, HTTP1);
    let (server, _) = tls_server::http(config, |_| response(200, ""));
    let mut options = trusting(&authority, requests(2, 1));
    options.tls.server_name = Some("shop.example.com".into());
    assert_eq!(report(&url(&server), options).requests.succeeded, 2);
}

#[test]
fn handshakes_that_fail_are_told_from_certificates_that_do() {
    let authority = Authority::new();
    // It speaks no TLS at all.
    let plain = Server::start(|mut stream| {
        let _client_may_be_gone = stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n");
        let _until_it_closes = stream.read(&mut [0; 1000]);
    });
    let options = || trusting(&authority, requests(2, 1));
    assert_eq!(not_ready(&url(&plain), options()).0, FailureKind::Tls);

    // It speaks another protocol inside.
    let config = authority.server("127.0.0.1", Trait::None, &[b"h2"]);
    let (server, _) = tls_server::http(config, |_| response(200, ""));
    let (kind, example) = not_ready(&url(&server), options());
    assert_eq!(kind, FailureKind::Tls);
    assert!(example.contains("no application protocol"), "{example}");

    // It wants to know who asks, which is refused when the handshake seems to be over.
    let config = authority.server("127.0.0.1", Trait::WantsCertificate, HTTP1);
    let (server, _) = tls_server::http(config, |_| response(200, ""));
    let report = report(&url(&server), options());
    assert_eq!((report.errors[0].kind, report.errors[0].count), (FailureKind::Tls, 2), "{report}");
}

#[test]
fn a_handshake_that_is_never_answered_takes_too_long() {
    let server = Server::start(|mut stream| {
        let _until_it_closes = stream.read_to_end(&mut Vec::new());
    });
    let options = Options { connect_timeout: Duration::from_millis(200), ..requests(2, 2) };
    let authority = Authority::new();
    let options = trusting(&authority, options);
    assert_eq!(not_ready(&url(&server), options).0, FailureKind::ConnectTimeout);
}

#[test]
fn what_may_have_been_cut_short_is_no_response() {
    let authority = Authority::new();
    for (says_so, expected) in [(true, 3), (false, 0)] {
        let config = authority.server("127.0.0.1", Trait::None, HTTP1);
        let server = tls_server::start(config, move |mut stream| {
            let _one_request = stream.read(&mut [0; 1000]);
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nuntil the end").unwrap();
            if says_so {
                stream.conn.send_close_notify();
            }
            stream.flush().unwrap();
        });
        let report = report(&url(&server), trusting(&authority, requests(3, 1)));
        assert_eq!(report.requests.succeeded, expected, "{report}");
        if !says_so {
            assert_eq!(report.errors[0].kind, FailureKind::Closed);
        }
    }
}

#[test]
fn an_authority_has_to_be_one() {
    let folder = tempfile::tempdir().unwrap();
    let (missing, empty) = (folder.path().join("missing"), folder.path().join("empty"));
    std::fs::write(&empty, "no certificate").unwrap();
    for file in [missing, empty] {
        let tls = TlsOptions { ca_file: Some(file.clone()), ..TlsOptions::default() };
        let options = Options { tls, ..requests(1, 1) };
        let error = bs9_loadtest::Plan::new("https://127.0.0.1/".parse().unwrap(), options);
        let error = error.unwrap_err().to_string();
        assert!(error.contains(&file.display().to_string()), "{error}");
    }
}
