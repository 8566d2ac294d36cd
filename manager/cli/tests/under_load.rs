//! What may happen to a data plane under load, and costs nobody anything: reloads, a
//! manager that is killed, and its own orderly end.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fixture;

#[path = "under_load/http_client.rs"]
mod http_client;
#[path = "under_load/ledger.rs"]
mod ledger;

use std::{
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread,
};

use bs9_api::{
    client::{ClientError, DataPlaneClient},
    types::{DataPlaneState, DataPlaneStatus, GenerationStatus},
};
use fixture::{
    ADMIN, DataPlane, Running, eventually,
    load_origin::{LARGE_BYTES, LoadOrigin, large_body},
    postgres::{Cluster, client_environment},
    program, run,
    tool::{Tool, pgbench_processed},
    write,
};
use http_client::{Crowd, Habit};
use ledger::Ledger;
use rustix::process::Signal;

/// The admin API, without a process for each question.
struct Admin {
    client: DataPlaneClient,
    runtime: tokio::runtime::Runtime,
}

impl Admin {
    fn of(data_plane: &DataPlane) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { client: DataPlaneClient::unix(&data_plane.running.socket), runtime }
    }

    fn status(&self) -> DataPlaneStatus {
        self.runtime.block_on(self.client.status()).unwrap()
    }

    fn generation(&self) -> GenerationStatus {
        self.runtime.block_on(self.client.generation()).unwrap().status
    }

    fn reload(&self) -> Result<u64, ClientError> {
        self.runtime.block_on(self.client.reload()).map(|outcome| outcome.generation)
    }

    /// Waits until the listener `web` has read so many more requests.
    #[track_caller]
    fn wait_for_requests(&self, more: u64) {
        let count = || {
            let status = self.status();
            let web = status.listeners.iter().find(|one| one.name == "web").unwrap();
            web.http.as_ref().unwrap().requests_total
        };
        let wanted = count() + more;
        eventually("requests go through", || (count() >= wanted).then_some(()));
    }
}

/// A listener `web` in front of a cluster with these lines.
fn web(cluster: &str) -> String {
    format!(
        "[listeners.web]\nbind = [\"127.0.0.1:0\"]\nprotocol = \"http\"\n\
         [[listeners.web.routes]]\ncluster = \"api\"\n[clusters.api]\n{cluster}\n"
    )
}

fn web_in_front_of(origins: &[&LoadOrigin]) -> String {
    let addresses: Vec<_> = origins.iter().map(|one| format!("\"{}\"", one.address)).collect();
    web(&format!("endpoints = [{}]", addresses.join(", ")))
}

// === reloads ===

/// The configuration of a turn: other endpoints, other weights, another pool size.
struct Turns {
    origins: [LoadOrigin; 4],
    cluster: Cluster,
}

impl Turns {
    /// Address and weight of each endpoint of a turn; the first has some weight.
    fn endpoints(&self, turn: usize) -> Vec<(String, u16)> {
        let subset = turn % 15 + 1;
        let mut chosen: Vec<_> = (0..self.origins.len())
            .filter(|at| subset & (1 << at) != 0)
            .map(|at| (self.origins[at].address.to_string(), ((turn + at) % 5) as u16))
            .collect();
        chosen[0].1 += 1;
        chosen
    }

    fn config(&self, turn: usize) -> String {
        let endpoints: Vec<_> = self
            .endpoints(turn)
            .iter()
            .map(|(address, weight)| format!("{{ address = \"{address}\", weight = {weight} }}"))
            .collect();
        let balance = ["weighted-round-robin", "p2c", "least-connections"][turn / 40];
        let web = web(&format!(
            "balance = \"{balance}\"\nhealth_check = {{ path = \"/healthz\", interval = \"500ms\", timeout = \"500ms\" }}\n\
             endpoints = [{}]",
            endpoints.join(", ")
        ));
        format!("watch = false\n{web}{}", self.cluster.pools(8 + turn % 3))
    }
}

/// pgbench, again and again until it is stopped.
struct Banking<'a> {
    stop: &'a AtomicBool,
    environment: [(&'static str, String); 5],
}

impl Banking<'_> {
    /// Transactions done, all of them well.
    fn run(&self) -> u64 {
        let mut processed = 0;
        for protocol in ["simple", "extended"].iter().cycle() {
            let mut command = Command::new("pgbench");
            command.envs(self.environment.clone());
            command.args(["-n", "-c", "20", "-T", "2", "-M", protocol]);
            processed += pgbench_processed(Tool::start(&mut command).outcome());
            if self.stop.load(SeqCst) {
                break;
            }
        }
        processed
    }
}

#[test]
fn a_hundred_reloads_fail_no_request_and_no_query() {
    let turns = Turns {
        origins: ["one", "two", "three", "four"].map(LoadOrigin::start),
        cluster: Cluster::start(),
    };
    let data_plane = DataPlane::serve(&turns.config(0));
    let admin = Admin::of(&data_plane);
    let environment = client_environment(data_plane.running.address("db"), "transaction");
    let mut make = Command::new("pgbench");
    Tool::start(make.envs(environment.clone()).args(["-i", "-q", "-s", "4"])).outcome().ok();

    let wrk = Tool::wrk(data_plane.running.address("web"), 64);
    let stop = AtomicBool::new(false);
    let banking = Banking { stop: &stop, environment };
    let processed = thread::scope(|scope| {
        let banking = scope.spawn(|| banking.run());
        admin.wait_for_requests(100);
        let reloading = scope.spawn(|| reload_a_hundred_times(&turns, &data_plane));
        let reloaded = reloading.join();
        stop.store(true, SeqCst);
        let processed = banking.join().expect("pgbench succeeds");
        reloaded.expect("the reloads succeed");
        processed
    });
    wrk.wrk_clean();
    let books = "select count(*) from pgbench_history";
    assert_eq!(turns.cluster.sql("app", books), processed.to_string());

    let status = admin.status();
    assert_eq!(status.generation.generation, 101);
    assert_eq!(status.generation.last_failure, None);
    let endpoints = status.clusters[0].endpoints.iter();
    let in_force: Vec<_> = endpoints.map(|one| (one.address.clone(), one.weight)).collect();
    assert_eq!(in_force, turns.endpoints(100));
    let web = status.listeners.iter().find(|one| one.name == "web").unwrap();
    let http = web.http.as_ref().unwrap();
    assert_eq!((http.responses_total[3], http.responses_total[4]), (0, 0), "{http:?}");
    assert!(turns.origins.iter().all(|origin| origin.requests() > 0), "all had their turn");
}

/// By signal and through the API in turn, with an invalid file in the middle.
fn reload_a_hundred_times(turns: &Turns, data_plane: &DataPlane) {
    let admin = Admin::of(data_plane);
    for turn in 1..=100 {
        if turn == 50 {
            an_invalid_file_is_refused(turns, data_plane, &admin);
        }
        data_plane.replace(&turns.config(turn));
        let wanted = turn as u64 + 1;
        if turn % 2 == 0 {
            data_plane.running.signal(Signal::HUP);
            eventually("SIGHUP reloads", || {
                (admin.generation().generation == wanted).then_some(())
            });
        } else {
            assert_eq!(admin.reload().unwrap(), wanted);
        }
        admin.wait_for_requests(1);
    }
}

fn an_invalid_file_is_refused(turns: &Turns, data_plane: &DataPlane, admin: &Admin) {
    let before = admin.generation().generation;
    let invalid = turns.config(50).replace("[clusters.api]\n", "[clusters.api]\n  balanse = 1\n");
    let whole = format!("{ADMIN}{invalid}");
    let line = whole.lines().position(|line| line.contains("balanse")).unwrap() as u32 + 1;
    data_plane.replace(&invalid);
    data_plane.running.signal(Signal::HUP);
    let failure = eventually("the refusal is in the status", || admin.generation().last_failure);
    let check = |errors: &[bs9_api::types::ConfigError]| {
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert_eq!((errors[0].line, errors[0].column), (Some(line), Some(3)), "{errors:?}");
        assert_eq!(errors[0].key.as_deref(), Some("clusters.api.balanse"));
    };
    check(&failure.errors);
    let Err(ClientError::Problem { problem, .. }) = admin.reload() else {
        panic!("an invalid file was accepted")
    };
    assert_eq!(problem.code, "invalid_config");
    check(&problem.errors);
    assert_eq!(admin.generation().generation, before);
    admin.wait_for_requests(50);
}

// === the manager ===

#[test]
fn killing_the_manager_fails_no_request() {
    let origin = LoadOrigin::start("one");
    let data_plane = DataPlane::serve(&web_in_front_of(&[&origin]));
    let admin = Admin::of(&data_plane);
    let wrk = Tool::wrk(data_plane.running.address("web"), 64);
    for _ in 0..3 {
        let mut manager = manager_of(&data_plane);
        admin.wait_for_requests(500);
        manager.signal(Signal::KILL);
        manager.ended();
        admin.wait_for_requests(500);
    }
    wrk.wrk_clean();
    // And one that finds everything as it was.
    manager_of(&data_plane);
}

/// A manager that has seen the data plane.
fn manager_of(data_plane: &DataPlane) -> Running {
    let folder = data_plane.folder.path();
    let file = folder.join("manager.toml");
    let text = "state_folder = \"state\"\n[admin]\nsocket = \"manager.sock\"\n\
                [dataplane]\nsocket = \"dataplane.sock\"\npoll_interval = \"100ms\"\n";
    write(&file, text);
    let mut command = program();
    command.args(["manager", "--config"]).arg(&file);
    let manager = Running::start(command, &folder.join("manager.log"), folder.join("manager.sock"));
    eventually("the manager has seen the data plane", || {
        let answer = manager.ask(&["status", "--json"]);
        (answer.code == Some(0) && answer.json()["data_plane"]["reachable"] == true).then_some(())
    });
    manager
}

// === the end ===

#[test]
fn sigterm_lets_every_request_finish() {
    const HELD: u64 = 16;
    let origin = LoadOrigin::start("one");
    let config = format!("drain_timeout = \"60s\"\n{}", web_in_front_of(&[&origin]));
    let mut data_plane = DataPlane::serve(&config);
    let address = data_plane.running.address("web");
    let admin = Admin::of(&data_plane);
    let ending = Arc::new(AtomicBool::new(false));
    let mut crowd = Crowd::new(address, &ending);
    for _ in 0..24 {
        crowd.join(Habit::KeepAlive);
    }
    for _ in 0..8 {
        crowd.join(Habit::Large);
        crowd.join(Habit::NewConnections);
    }
    crowd.wait_until_each_was_answered(20);
    for _ in 0..HELD {
        crowd.join(Habit::Held);
    }
    origin.wait_for_held(HELD);

    ending.store(true, SeqCst);
    data_plane.running.signal(Signal::TERM);
    eventually("it drains", || (admin.status().state == DataPlaneState::Draining).then_some(()));
    eventually("nothing new is taken", || {
        std::net::TcpStream::connect(address).is_err().then_some(())
    });
    assert!(data_plane.running.has_ended().is_none(), "requests are held");
    origin.release();
    let books = crowd.leave();
    assert_eq!(data_plane.running.ended().code(), Some(0));
    assert!(books.lost.is_empty(), "{} requests were lost: {:#?}", books.lost.len(), books.lost);
    assert_eq!(books.answered, origin.requests(), "every request that was taken was answered");
}

#[test]
fn sigterm_lets_every_transaction_finish() {
    let cluster = Cluster::start();
    let config = format!("drain_timeout = \"60s\"\n{}", cluster.pools(10));
    let mut data_plane = DataPlane::serve(&config);
    let address = data_plane.running.address("db");
    let admin = Admin::of(&data_plane);
    cluster.sql("app", "create table ledger (id bigint primary key)");
    cluster.sql("app", "alter table ledger owner to app");
    let mut ledger = Ledger::open(address);
    for _ in 0..12 {
        ledger.write_in_transactions("transaction");
        ledger.write_single_statements("transaction");
        ledger.write_in_transactions("session");
        ledger.write_single_statements("session");
    }
    ledger.wait_until_each_wrote(5);
    for mode in ["transaction", "session"] {
        for _ in 0..4 {
            ledger.hold_a_transaction_open(mode);
        }
    }
    ledger.wait_for_open_transactions(8);

    data_plane.running.signal(Signal::TERM);
    eventually("it drains", || (admin.status().state == DataPlaneState::Draining).then_some(()));
    ledger.wait_until_the_others_are_refused();
    assert!(data_plane.running.has_ended().is_none(), "transactions are open");
    ledger.release();
    let (mut written, unclean) = ledger.close();
    assert_eq!(data_plane.running.ended().code(), Some(0));
    assert!(unclean.is_empty(), "cut off: {unclean:#?}");
    written.sort_unstable();
    let kept = cluster.sql("app", "select id from ledger order by id");
    let kept: Vec<i64> = kept.lines().map(|id| id.parse().unwrap()).collect();
    assert!(kept == written, "{} rows kept, {} acknowledged", kept.len(), written.len());
}

// === tools ===

#[test]
fn wrk_runs_clean() {
    let origins = [LoadOrigin::start("one"), LoadOrigin::start("two")];
    let data_plane = DataPlane::serve(&web_in_front_of(&[&origins[0], &origins[1]]));
    let admin = Admin::of(&data_plane);
    let wrk = Tool::wrk(data_plane.running.address("web"), 256);
    admin.wait_for_requests(20_000);
    wrk.wrk_clean();
}

#[test]
fn h2load_runs_clean() {
    let origin = LoadOrigin::start("one");
    let data_plane = DataPlane::serve(&web_in_front_of(&[&origin]));
    let url = format!("http://{}/", data_plane.running.address("web"));
    let said = run("h2load", &["--h1", "-n", "20000", "-c", "64", &url]).ok();
    for wanted in [
        "requests: 20000 total, 20000 started, 20000 done, 20000 succeeded, 0 failed, 0 errored, 0 timeout",
        "status codes: 20000 2xx, 0 3xx, 0 4xx, 0 5xx",
    ] {
        assert!(said.contains(wanted), "{said}");
    }
    assert_eq!(origin.requests(), 20_000);
}

#[test]
fn curl_runs_clean() {
    let origin = LoadOrigin::start("one");
    let data_plane = DataPlane::serve(&web_in_front_of(&[&origin]));
    let folder = data_plane.folder.path();
    let url = format!("http://{}", data_plane.running.address("web"));
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let curl = |arguments: &[&str]| {
        run("curl", &[&["-sS", "--fail", "--max-time", "60"], arguments].concat()).ok()
    };
    assert_eq!(curl(&[&url]), "one");
    let kept = curl(&[&url, &url, "-o", "/dev/null", "-o", "/dev/null", "-w", "%{num_connects} "]);
    assert_eq!(kept, "1 0 ", "the connection is kept");
    assert_eq!(curl(&["-0", &url]), "one");
    assert!(curl(&["-I", &url]).starts_with("HTTP/1.1 200 OK\r\n"));
    curl(&[&format!("{url}/large"), "-o", &path("large")]);
    assert!(std::fs::read(path("large")).unwrap() == large_body());
    // With `Expect: 100-continue`, with a length, in chunks; sent back as it came.
    std::fs::write(path("sent"), vec![large_body(); 3].concat()).unwrap();
    let data = format!("@{}", path("sent"));
    let echo = format!("{url}/echo");
    for headers in [
        &["-H", "Expect: 100-continue"][..],
        &["-H", "Expect:"],
        &["-H", "Transfer-Encoding: chunked"],
    ] {
        let sent = ["--data-binary", &data, &echo, "-o", &path("back")];
        curl(&[&sent[..], headers].concat());
        let back = std::fs::read(path("back")).unwrap();
        assert_eq!(back.len(), 3 * LARGE_BYTES, "{headers:?}");
        assert!(back == std::fs::read(path("sent")).unwrap(), "{headers:?}");
    }
}
