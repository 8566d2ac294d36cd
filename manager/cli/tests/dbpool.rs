//! `bs9 dbpool` against a real PostgreSQL (quickstart's).
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fixture;

use std::{net::TcpListener, time::Instant};

use fixture::{Outcome, Running, eventually, program, quickstart::Quickstart};
use rustix::process::Signal;

/// Where quickstart's PostgreSQL server is, past the pool.
struct Server {
    host: String,
    port: String,
    password: String,
}

impl Server {
    fn of(sample: &Quickstart) -> Self {
        let text = std::fs::read_to_string(sample.home.join("bs9.toml")).unwrap();
        let value = |key: &str| {
            let line = text.lines().find(|line| line.starts_with(&format!("{key} = "))).unwrap();
            line.split_once(" = ").unwrap().1.trim_matches('"').to_owned()
        };
        let password = std::fs::read_to_string(sample.home.join("password")).unwrap();
        Self { host: value("host"), port: value("port"), password }
    }

    fn flags(&self) -> [&str; 8] {
        ["--host", &self.host, "--port", &self.port, "--database", "app", "--username", "app"]
    }
}

#[test]
fn test_measures_direct_and_pooled() {
    let sample = Quickstart::start(&[]);
    let server = Server::of(&sample);
    let output = program()
        .args([
            "dbpool",
            "test",
            "--json",
            "--concurrency",
            "4",
            "--iterations",
            "40",
            "--max-connections",
            "2",
        ])
        .args(server.flags())
        .env("PGPASSWORD", &server.password)
        .output()
        .unwrap();
    let results = Outcome::of(output);
    assert_eq!(results.code, Some(0), "{results:#?}");
    let results = results.json();
    assert_eq!(results["schema"], 1);
    let rows = results["measurements"].as_array().unwrap();
    let kinds: Vec<_> = rows
        .iter()
        .map(|row| (row["path"].as_str().unwrap(), row["connections"].as_str().unwrap()))
        .collect();
    assert_eq!(
        kinds,
        [("direct", "per_query"), ("pooled", "per_query"), ("direct", "kept"), ("pooled", "kept")]
    );
    for row in rows {
        assert_eq!((&row["queries"], &row["errors"]), (&40.into(), &0.into()), "{row}");
        let number = |name: &str| row[name].as_f64().unwrap();
        assert!(number("queries_per_second") > 0.0);
        let percentiles = [
            "latency_p50_seconds",
            "latency_p95_seconds",
            "latency_p99_seconds",
            "latency_max_seconds",
        ]
        .map(number);
        assert!(percentiles.is_sorted() && percentiles[0] > 0.0, "{row}");
    }

    let mut wrong = program();
    wrong.args(["dbpool", "test"]).args(server.flags()).env("PGPASSWORD", "wrong");
    let said = Outcome::of(wrong.output().unwrap()).fails(4);
    assert!(said.contains("password"), "{said}");
}

#[test]
fn start_serves_and_stats_shows_it() {
    let sample = Quickstart::start(&[]);
    let server = Server::of(&sample);
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("pool.sock");
    let listen = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut command = program();
    command
        .args(["dbpool", "start", "--listen", &listen.to_string(), "--min-connections", "3"])
        .args(server.flags())
        .env("PGPASSWORD", &server.password)
        .arg("--socket")
        .arg(&socket);
    let mut running = Running::start(command, &folder.path().join("log"), socket);
    let pool = eventually("three server connections are made", || {
        let answer = running.ask(&["dbpool", "stats", "--json"]);
        let pools = (answer.code == Some(0)).then(|| answer.json())?;
        // One more may have been begun for a client that came meanwhile.
        let idle = pools["pools"][0]["servers_idle"].as_u64()?;
        (idle >= 3).then(|| pools["pools"][0].clone())
    });
    assert_eq!((&pool["database"], &pool["user"]), (&"app".into(), &"app".into()));
    assert_eq!(pool["pool_size"], 10);

    let before = Instant::now();
    let url = format!("postgres://app:{}@{listen}/app", server.password);
    let psql = fixture::run("psql", &[&url, "-tAc", "select 40 + 2"]).ok();
    assert_eq!(psql, "42\n");
    assert!(before.elapsed() < fixture::DEADLINE);
    operate(&running, &url);
    let table = running.ask(&["dbpool", "stats"]).ok();
    assert!(table.contains("DATABASE") && table.contains("transaction"), "{table}");
    running.signal(Signal::TERM);
    assert_eq!(running.ended().code(), Some(0));
}

/// Orders, and who is there.
fn operate(running: &Running, url: &str) {
    let servers = running.ask(&["dbpool", "servers", "--json"]).json();
    let servers = servers["servers"].as_array().unwrap();
    assert!(servers.len() >= 3 && servers.iter().all(|one| one["state"] == "idle"), "{servers:?}");
    let paused = running.ask(&["dbpool", "pause", "app"]).ok();
    assert_eq!(paused, "database app: paused\n");
    let stats = running.ask(&["dbpool", "stats", "--json"]).json();
    assert_eq!(
        (&stats["pools"][0]["paused"], &stats["pools"][0]["servers_idle"]),
        (&true.into(), &0.into())
    );
    running.ask(&["dbpool", "resume"]).ok();
    running.ask(&["dbpool", "reconnect", "app", "--json"]).ok();
    running.ask(&["dbpool", "disable", "app"]).ok();
    let refused = fixture::run("psql", &[url, "-tAc", "select 1"]).fails(2);
    assert!(refused.contains("disabled"), "{refused}");
    running.ask(&["dbpool", "enable", "app"]).ok();
    assert_eq!(fixture::run("psql", &[url, "-tAc", "select 1"]).ok(), "1\n");
    let unknown = running.ask(&["dbpool", "pause", "nowhere"]).fails(3);
    assert!(unknown.contains("nowhere"), "{unknown}");
    let top =
        running.ask(&["dbpool", "top", "--interval", "100ms", "--count", "1", "--json"]).json();
    assert_eq!(top[0]["database"], "app", "{top}");
    assert_eq!(running.ask(&["dbpool", "clients"]).ok(), "no client\n");
    running.ask(&["dbpool", "kill", "app"]).ok();
    running.ask(&["dbpool", "resume", "app"]).ok();
}
