//! What is counted is what happened.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use bs9_loadtest::{Options, Plan, Rate, run};

use crate::{
    report, requests,
    server::{Answer, Server, response},
};

fn ok_server() -> Server {
    Server::http(|_| Answer::Send(response(200, "hello")))
}

#[test]
fn as_many_requests_as_asked_for() {
    let server = ok_server();
    let options = Options { threads: Some(2), ..requests(501, 7) };
    let report = report(&server.url(), options);
    assert_eq!(server.requests(), 501);
    assert_eq!((report.requests.total, report.requests.succeeded), (501, 501));
    assert_eq!(report.statuses, [(200, 501)].into());
    assert_eq!(report.bytes.received_bytes, 501 * response(200, "hello").len() as u64);
    assert_eq!(report.latency_seconds.as_ref().unwrap().count, 501);
    assert_eq!(report.connect_seconds.as_ref().unwrap().count, 7);
    assert_eq!(server.connections(), 7 + 1, "and the one that looked whether somebody is there");
    assert!(report.passed && report.errors.is_empty(), "{report}");
    assert_eq!(report.series.iter().map(|second| second.succeeded).sum::<u64>(), 501);
}

#[test]
fn warm_up_does_not_count() {
    let server = ok_server();
    let options = Options { warm_up: Duration::from_millis(200), ..requests(50, 4) };
    let report = report(&server.url(), options);
    assert_eq!(report.requests.total, 50);
    assert!(report.requests.warm_up > 0);
    assert_eq!(server.requests() as u64, 50 + report.requests.warm_up);
}

#[test]
fn a_connection_for_each_request() {
    let server = Server::http(|request| {
        assert!(request.head.contains("Connection: close"), "{}", request.head);
        Answer::Send(response(200, "hello"))
    });
    let report = report(&server.url(), Options { keep_alive: false, ..requests(20, 3) });
    assert_eq!((report.requests.succeeded, server.requests()), (20, 20));
    assert_eq!(server.connections(), 20 + 1);
    assert_eq!(report.connect_seconds.as_ref().unwrap().count, 20);
}

#[test]
fn a_server_that_closes_is_connected_again() {
    let server = Server::http(|_| {
        Answer::SendAndClose(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end".to_vec())
    });
    let report = report(&server.url(), requests(9, 2));
    assert_eq!((report.requests.succeeded, server.requests()), (9, 9), "{report}");
}

#[test]
fn bodies_large_and_small_arrive_whole() {
    let body = vec![b'x'; 3 << 20];
    let expected = body.clone();
    let server = Server::http(move |request| {
        assert!(request.body == expected, "{} bytes", request.body.len());
        let chunk = "x".repeat(200_000);
        let chunks = format!("{:x}\r\n{chunk}\r\n", chunk.len()).repeat(5);
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        Answer::Send(format!("{head}{chunks}5\r\nbingo\r\n0\r\n\r\n").into_bytes())
    });
    let mut options = requests(6, 2);
    options.http.body = Some(body);
    options.http.expect_body = Some("xbingo".into());
    let report = report(&server.url(), options);
    assert_eq!(report.requests.succeeded, 6, "{report}");
    assert!(report.bytes.sent_bytes > 6 * (3 << 20));
}

#[test]
fn a_schedule_is_kept_to_the_request() {
    let server = ok_server();
    let options = Options {
        duration: Some(Duration::from_millis(600)),
        rate: Rate::ramp(100.0, 500.0),
        threads: Some(2),
        connections: 16,
        ..Options::default()
    };
    let report = report(&server.url(), options);
    // The mean of both rates, for 0.6 s.
    assert_eq!(report.requests.total, 180, "{report}");
    assert_eq!(server.requests() as u64, report.requests.succeeded);
    assert_eq!(report.asked_per_second, Some([100.0, 500.0]));
    assert_eq!(report.service_seconds.as_ref().unwrap().count, report.requests.succeeded);
}

#[test]
fn a_run_that_is_stopped_reports_what_it_has() {
    let server = ok_server();
    let options =
        Options { duration: Some(Duration::from_secs(600)), connections: 2, ..Options::default() };
    let plan = Plan::new(server.url().parse().unwrap(), options).unwrap();
    let stop = AtomicBool::new(false);
    let report = run(&plan, &stop, |progress| {
        if progress.succeeded > 10 {
            stop.store(true, Ordering::SeqCst);
        }
    });
    let report = report.unwrap();
    assert!(report.interrupted && report.requests.succeeded > 10, "{report}");
}

#[test]
fn the_report_reads_well_everywhere() {
    let server = ok_server();
    let mut options = requests(30, 3);
    options.thresholds = vec!["errors < 1".parse().unwrap()];
    let report = report(&server.url(), options);
    let text = report.to_string();
    for part in
        ["http/1.1, closed loop", "30 ok, 0 failed", "latency", "200: 30", "pass  errors < 1"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["schema"], 1);
    assert_eq!(json["loop"], "closed");
    assert_eq!(json["requests"]["succeeded"], 30);
    assert_eq!(json["statuses"]["200"], 30);
    assert!(json["latency_seconds"]["p99"].as_f64().unwrap() > 0.0);
    assert!(json["generator"]["cpu_seconds_per_request"].as_f64().unwrap() > 0.0);
    assert_eq!(json["thresholds"][0]["passed"], true);
    let csv = report.to_csv();
    assert!(csv.starts_with("at_seconds,seconds,asked_per_second,"), "{csv}");
    assert_eq!(csv.lines().count(), 1 + report.series.len());
}
