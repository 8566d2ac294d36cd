//! Scenario files, carried out.

use std::{
    collections::BTreeMap,
    fs,
    sync::{Arc, Mutex, atomic::AtomicBool},
};

use bs9_loadtest::{FailureKind, Report, Scenario, TlsOptions, run};
use tempfile::TempDir;

use crate::{
    postgres_real::Cluster,
    server::{Answer, Request, Server, response},
};

const USERS: &str = "id,name\n1,ann\n2,bob b\n3,zoë\n4,dan\n";

fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("users.csv"), USERS).unwrap();
    folder
}

/// Carries out a scenario, its target aside.
pub(crate) fn carry_out(url: &str, text: &str) -> Report {
    carry_out_over(TlsOptions::default(), url, text)
}

/// The same with what only the command line says: whom to trust.
pub(crate) fn carry_out_over(tls: TlsOptions, url: &str, text: &str) -> Report {
    let folder = folder();
    let file = folder.path().join("scenario.toml");
    fs::write(&file, format!("target = \"{url}\"\n{text}")).unwrap();
    let scenario = Scenario::read(&file, None);
    let mut scenario = scenario.unwrap_or_else(|error| panic!("{}", error.render(false)));
    scenario.options.tls = tls;
    run(&scenario.plan().unwrap(), &AtomicBool::new(false), |_| {}).unwrap()
}

/// What a server was asked for, and how often.
type Seen = Arc<Mutex<BTreeMap<String, u64>>>;

fn recording(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> (Server, Seen) {
    let seen = Seen::default();
    let own = Arc::clone(&seen);
    let server = Server::http(move |request| {
        let line = request.head.lines().next().unwrap().trim_end_matches(" HTTP/1.1");
        let user = request.head.lines().find_map(|line| line.strip_prefix("X-User: "));
        let body = String::from_utf8_lossy(&request.body);
        let key = format!("{line} {} {body}", user.unwrap_or("-"));
        *own.lock().unwrap().entry(key).or_default() += 1;
        answer(&request)
    });
    (server, seen)
}

#[test]
fn values_take_their_places() {
    let (server, seen) = recording(|_| Answer::Send(response(200, "hello")));
    let report = carry_out(
        &server.url(),
        r#"
duration = "500ms"
rate = 40
threads = 1
[data.users]
file = "users.csv"
[[requests]]
method = "PUT"
path = "/users/{{users.id}}?name={{ users.name }}"
headers = { X-User = "{{users.name}}" }
body = '{"id": {{users.id}}}'
"#,
    );
    assert_eq!((report.requests.succeeded, report.requests.total), (20, 20), "{report}");
    let seen = seen.lock().unwrap();
    let expected = [
        ("PUT /users/1?name=ann ann {\"id\": 1}".to_owned(), 5),
        ("PUT /users/2?name=bob%20b bob b {\"id\": 2}".to_owned(), 5),
        ("PUT /users/3?name=zo%C3%AB zoë {\"id\": 3}".to_owned(), 5),
        ("PUT /users/4?name=dan dan {\"id\": 4}".to_owned(), 5),
    ];
    assert_eq!(*seen, BTreeMap::from(expected));
}

#[test]
fn each_request_of_the_mix_has_its_row() {
    let (server, seen) = recording(|request| {
        let missing = request.head.starts_with("GET /missing");
        Answer::Send(if missing { response(404, "no") } else { response(200, "hello") })
    });
    let report = carry_out(
        &server.url(),
        r#"
duration = "600ms"
connections = 4
[[requests]]
name = "home"
weight = 8
path = "/"
expect.body = { equals = "hello" }
expect.headers = { Content-Length = "5" }
thresholds = ["errors == 0", "p50 < 1us"]
[[requests]]
name = "missing"
path = "/missing"
[[requests]]
name = "expected"
path = "/missing?but=known"
expect.status = 404
expect.body = { matches = "^n.$" }
[[requests]]
name = "wrong header"
path = "/x"
expect.headers = { X-Id = {} }
[[requests]]
name = "wrong body"
path = "/y"
expect.body = ["hell", { contains = "heaven" }]
"#,
    );
    let rows: BTreeMap<_, _> = report.mix.iter().map(|row| (row.name.as_str(), row)).collect();
    let kinds = |name: &str| rows[name].errors.iter().map(|error| error.kind).collect::<Vec<_>>();
    assert_eq!(kinds("home"), []);
    assert_eq!(kinds("expected"), []);
    assert_eq!(kinds("missing"), [FailureKind::Status]);
    assert_eq!(kinds("wrong header"), [FailureKind::Header]);
    assert_eq!(kinds("wrong body"), [FailureKind::Body]);
    assert_eq!(rows["missing"].succeeded, 0);
    assert!(rows["missing"].latency_seconds.is_none());
    assert!(rows["home"].succeeded > 3 * rows["expected"].succeeded, "{report}");
    let all = report.mix.iter().map(|row| row.succeeded + row.failed).sum::<u64>();
    assert_eq!(all, report.requests.total);
    assert_eq!(seen.lock().unwrap().values().sum::<u64>(), all);
    let verdicts: Vec<_> =
        report.thresholds.iter().map(|v| (v.request.as_deref(), v.passed)).collect();
    assert_eq!(verdicts, [(Some("home"), true), (Some("home"), false)]);
    assert!(!report.passed);
    let text = report.to_string();
    for part in ["wrong header", "wrong body", "FAIL  home: p50 < 1us", "expected"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn stages_follow_each_other() {
    let (server, _) = recording(|_| Answer::Send(response(200, "hello")));
    let report = carry_out(
        &server.url(),
        r#"
connections = 8
[[stages]]
name = "slow"
duration = "500ms"
rate = 40
[[stages]]
name = "nothing"
duration = "300ms"
rate = 0
[[stages]]
name = "ramp"
duration = "400ms"
rate = "0..200"
"#,
    );
    assert_eq!(report.requests.total, 20 + 40, "{report}");
    let rows: Vec<_> = report.stages.iter().map(|row| (row.name.as_str(), row.seconds)).collect();
    assert_eq!(rows, [("slow", 0.5), ("nothing", 0.3), ("ramp", 0.4)]);
    assert_eq!(report.stages[2].asked_per_second, Some([0.0, 200.0]));
    assert_eq!(report.stages.iter().map(|row| row.succeeded).sum::<u64>(), 60);
    // The last request of a stage may end in the next one.
    assert!(report.stages[0].succeeded.abs_diff(20) <= 1, "{report}");
    assert!(report.to_string().contains("3 stages"), "{report}");
}

#[test]
fn connections_come_and_go_and_people_think() {
    let (server, _) = recording(|_| Answer::Send(response(200, "hello")));
    let report = carry_out(
        &server.url(),
        r#"
think_time = "50ms"
threads = 2
[[stages]]
duration = "400ms"
connections = "0..10"
[[stages]]
duration = "400ms"
connections = 10
[[stages]]
duration = "200ms"
connections = 2
"#,
    );
    assert_eq!(report.connections, 10);
    // At most: one request each 50 ms, of 5 connections in the mean, then 10, then 2.
    let most = 5 * 9 + 10 * 9 + 2 * 5 + 20;
    let total = report.requests.total;
    assert!(total > 20 && total <= most, "{total} of {most}: {report}");
    assert!(report.requests.failed == 0, "{report}");
    // Those that took part again were opened again; one looked whether somebody is there.
    assert!(server.connections() >= 11, "{}", server.connections());
    assert!(report.stages[1].succeeded > report.stages[2].succeeded, "{report}");
}

#[test]
fn queries_take_values_as_parameters() {
    let cluster = Cluster::start();
    for mode in ["simple", "extended", "prepared"] {
        // Only the right values in the right places come out even.
        let text = r#"
duration = "400ms"
connections = 3
mode = "MODE"
[data.users]
file = "users.csv"
order = "random"
[[requests]]
name = "both"
weight = 3
query = """
SELECT 1 / (({{users.id}}::int, {{users.name}}) IN
  ((1, 'ann'), (2, 'bob b'), (3, 'zoë'), (4, 'dan')))::int
"""
[[requests]]
name = "none"
query = "SELECT 1"
[[requests]]
name = "failing"
query = "SELECT 1 / ({{users.id}}::int - {{users.id}}::int)"
"#;
        let report = carry_out(&cluster.url("trusted", "x"), &text.replace("MODE", mode));
        let rows: Vec<_> = report
            .mix
            .iter()
            .map(|row| (row.name.as_str(), row.succeeded > 0, row.failed > 0))
            .collect();
        let expected = [("both", true, false), ("none", true, false), ("failing", false, true)];
        assert_eq!(rows, expected, "{mode}: {report}");
        assert!(report.mix[2].errors[0].example.contains("22012"), "{mode}: {report}");
    }
}
