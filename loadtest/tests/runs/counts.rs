//! What is counted is what happened.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use bs9_loadtest::{Options, Plan, Rate, Report, run};
use serde_json::Value;

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
}

/// Where a column of the CSV is in an entry of the series in JSON, and to how many decimals.
const COLUMNS: [(&str, &str, i32); 12] = [
    ("at_seconds", "/at_seconds", 3),
    ("seconds", "/seconds", 3),
    ("asked_per_second", "/asked_per_second", 3),
    ("connections", "/connections", 1),
    ("succeeded", "/succeeded", 0),
    ("failed", "/failed", 0),
    ("received_bytes", "/received_bytes", 0),
    ("p50_seconds", "/latency_seconds/p50", 9),
    ("p90_seconds", "/latency_seconds/p90", 9),
    ("p99_seconds", "/latency_seconds/p99", 9),
    ("max_seconds", "/latency_seconds/max", 9),
    ("generator_busy_ratio", "/generator_busy_ratio", 3),
];

/// Every value of the CSV is the one in JSON, and is empty where JSON has none.
fn csv_is_json(report: &Report) {
    let json = serde_json::to_value(report).unwrap();
    let series = json["series"].as_array().unwrap();
    let text = report.to_csv();
    let mut csv = csv::Reader::from_reader(text.as_bytes());
    assert!(csv.headers().unwrap().iter().eq(COLUMNS.map(|(name, ..)| name)), "{text}");
    let rows: Vec<_> = csv.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), series.len(), "{text}");
    for (row, second) in rows.iter().zip(series) {
        for ((name, pointer, decimals), shown) in COLUMNS.into_iter().zip(row) {
            let expected = second.pointer(pointer).and_then(Value::as_f64);
            let shown = (!shown.is_empty()).then(|| shown.parse::<f64>().unwrap());
            let half = 0.501 * 10f64.powi(-decimals);
            let same = match (shown, expected) {
                (Some(shown), Some(expected)) => (shown - expected).abs() <= half,
                (shown, expected) => shown == expected,
            };
            assert!(same, "{name}: {shown:?} for {expected:?} in\n{text}\n{second:#}");
        }
    }
    let sum = |column: usize| rows.iter().map(|row| row[column].parse::<u64>().unwrap()).sum();
    let sums: [u64; 3] = [sum(4), sum(5), sum(6)];
    let Report { requests, bytes, .. } = report;
    assert_eq!(sums, [requests.succeeded, requests.failed, bytes.received_bytes], "{text}");
}

#[test]
fn the_series_is_the_same_for_spreadsheets_and_for_programs() {
    let server = Server::http(|request| match request.index % 10 {
        7 => Answer::Send(response(500, "busy")),
        _ => Answer::Send(response(200, "hello")),
    });
    let duration = Some(Duration::from_millis(2_200));
    let open =
        Options { duration, rate: Rate::ramp(50.0, 150.0), connections: 4, ..Options::default() };
    let open = report(&server.url(), open);
    assert!(open.requests.failed > 0 && open.series.len() > 1, "{open}");
    csv_is_json(&open);
    let closed = report(&server.url(), requests(200, 3));
    assert!(closed.series[0].connections == Some(3.0), "{closed}");
    csv_is_json(&closed);
    // Nothing succeeds, so there is no latency to show.
    let broken = Server::http(|_| Answer::Send(response(500, "")));
    let failed = report(&broken.url(), requests(20, 2));
    assert!(failed.series[0].latency_seconds.is_none(), "{failed}");
    csv_is_json(&failed);
}
