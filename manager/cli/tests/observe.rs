//! What the manager measures, remembers and records, by the command line.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fixture;

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use fixture::{Outcome, Running, bs9, eventually, program, write};
use rustix::process::Signal;
use serde_json::Value;

/// A made-up unit that uses what it is said to use.
fn unit(folder: &Path, name: &str, memory_bytes: u64) {
    let root = folder.join("cgroup");
    let group = root.join("system.slice").join(name);
    fs::create_dir_all(&group).unwrap();
    write(&root.join("cgroup.controllers"), "cpu memory\n");
    write(&group.join("cpu.stat"), "usage_usec 2000000\n");
    write(&group.join("memory.current"), &format!("{memory_bytes}\n"));
    write(&group.join("cgroup.procs"), "");
}

/// A manager of this folder, which answers.
fn manager(folder: &Path) -> Running {
    manager_with(folder, "")
}

/// The same with more settings, those of `[collect]` first.
fn manager_with(folder: &Path, more: &str) -> Running {
    let text = "state_folder = \"state\"\n[services]\nfolder = \"services\"\n\
                [admin]\nsocket = \"manager.sock\"\n[dataplane]\nsocket = \"nobody.sock\"\n\
                [collect]\ninterval = \"100ms\"\ncgroups = \"cgroup\"\n";
    let file = folder.join("manager.toml");
    write(&file, &format!("{text}{more}"));
    let mut command = program();
    command.args(["manager", "--config"]).arg(&file);
    let running = Running::start(command, &folder.join("manager.log"), folder.join("manager.sock"));
    eventually("the manager answers", || (running.ask(&["events"]).code == Some(0)).then_some(()));
    running
}

/// What `bs9 export` says of a unit once it has been measured.
fn exported(manager: &Running, arguments: &[&str]) -> Outcome {
    let all: Vec<&str> = ["export"].iter().chain(arguments).copied().collect();
    eventually("history has begun", || {
        let outcome = manager.ask(&all);
        (outcome.code == Some(0)).then_some(outcome)
    })
}

#[test]
fn services_are_shown_drawn_and_exported() {
    let folder = tempfile::tempdir().unwrap();
    unit(folder.path(), "web.service", 12_288);
    let manager = manager(folder.path());
    let table = eventually("the unit is measured", || {
        let table = manager.ask(&["metrics"]).ok();
        table.contains("12.0 KiB").then_some(table)
    });
    assert!(table.contains("web.service") && table.contains("host  "), "{table}");
    let now = manager.ask(&["metrics", "--json"]).json();
    let unit = &now["units"]["units"][0];
    assert_eq!(unit["memory_bytes"]["value"], 12_288.0);
    assert!(unit["tasks"]["reason"].as_str().unwrap().contains("pids.current"), "{unit}");

    let wanted =
        ["-f", "csv", "-s", "web", "--metric", "bs9_service_memory_bytes", "--since", "1h"];
    // A series is known a moment before its first second is over.
    let csv = eventually("a second is over", || {
        let csv = exported(&manager, &wanted).ok();
        (csv.lines().count() > 1).then_some(csv)
    });
    let mut lines = csv.lines();
    assert!(lines.next().unwrap().starts_with("timestamp,service_name,metric,"), "{csv}");
    let line = lines.next().unwrap();
    assert!(line.contains(",web.service,bs9_service_memory_bytes,"), "{line}");
    assert!(line.contains(",12288,12288,12288,"), "{line}");
    let json: Value = exported(&manager, &["-s", "web", "--resolution", "1s"]).json();
    assert_eq!(json[0]["resolution_seconds"], 1);
    assert_eq!(json[0]["subject"], "web.service");
    let text =
        exported(&manager, &["-f", "prometheus", "--metric", "bs9_service_*", "--since", "1h"])
            .ok();
    assert!(text.contains("bs9_service_memory_bytes{service=\"web.service\"} 12288 "), "{text}");
    assert!(text.ends_with("# EOF\n"), "{text}");
    let request = folder.path().join("history.rw");
    exported(&manager, &["-f", "remote-write", "--since", "1h", "-o", request.to_str().unwrap()])
        .ok();
    assert!(fs::read(request).unwrap().windows(8).any(|bytes| bytes == b"__name__"));

    let drawn = manager.ask(&["metrics", "web", "--since", "5m"]).ok();
    assert!(drawn.contains("service_memory_bytes web.service"), "{drawn}");
    assert!(drawn.contains("now 12.0 KiB") && drawn.contains('█'), "{drawn}");
    assert!(manager.ask(&["metrics", "host", "--since", "5m"]).ok().contains("host_load_1m"));
}

#[test]
fn a_young_history_is_drawn_over_any_span() {
    let folder = tempfile::tempdir().unwrap();
    unit(folder.path(), "web.service", 12_288);
    let manager = manager(folder.path());
    eventually("a second is over", || {
        let drawn = manager.ask(&["metrics", "host", "--since", "1m"]);
        drawn.stdout.contains("host_load_1m").then_some(())
    });
    // Points of ten seconds, of a minute and of an hour: none of them is over.
    for span in ["1h", "1d", "60d"] {
        let drawn = manager.ask(&["metrics", "host", "--since", span]).ok();
        assert!(drawn.contains("host_load_1m"), "{span}: {drawn}");
        let drawn = manager.ask(&["metrics", "web", "--since", span]).ok();
        assert!(drawn.contains("now 12.0 KiB"), "{span}: {drawn}");
    }
}

#[test]
fn no_more_units_are_measured_than_are_allowed() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["c.service", "a.service", "b.service"] {
        unit(folder.path(), name, 4_096);
    }
    let manager = manager_with(folder.path(), "max_units = 2\n");
    let said = eventually("units are measured", || {
        let said = manager.ask(&["metrics"]).ok();
        said.contains("collect.max_units").then_some(said)
    });
    assert!(said.contains("1 more are not measured"), "{said}");
    assert!(said.contains("a.service") && said.contains("b.service"), "{said}");
    assert!(!said.contains("c.service"), "in name order: {said}");
}

/// What the files in a folder have together.
fn bytes_in(folder: &Path) -> u64 {
    let files = fs::read_dir(folder).unwrap().flatten();
    files.map(|file| file.metadata().map_or(0, |metadata| metadata.len())).sum()
}

#[test]
fn the_audit_log_gives_up_its_oldest_file_at_its_limit() {
    const LIMIT: u64 = 64 << 20;

    let folder = tempfile::tempdir().unwrap();
    let manager = manager_with(folder.path(), "[audit]\nsize_limit = \"64MiB\"\n");
    let log = folder.path().join("state/audit");
    // Each call is refused, and its record holds what was asked for: 240 KiB.
    let names = vec!["x".repeat(4_000); 60];
    let body = serde_json::to_string(&serde_json::json!({ "services": names })).unwrap();
    let request = format!(
        "POST /v1/save HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let first = log.join("audit-0000000001.jsonl");
    eventually("the first file is given up", || {
        let mut socket = UnixStream::connect(&manager.socket).unwrap();
        socket.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
        (!first.exists()).then_some(())
    });
    assert!((LIMIT / 2..=LIMIT).contains(&bytes_in(&log)), "{}", bytes_in(&log));
    let verdict = manager.ask(&["audit", "verify", "--json"]).json();
    assert_eq!(verdict["intact"], true, "{verdict}");
    assert!(verdict["first_sequence"].as_u64().unwrap() > 1, "{verdict}");
    let list = manager.ask(&["audit", "list"]).ok();
    assert!(list.contains("audit.size_limit"), "{list}");
}

#[test]
fn history_gives_up_its_oldest_points_at_its_limit() {
    const LIMIT: u64 = 16 << 20;
    /// Two months of a thousand series, as they would be in the database by now.
    const FILL: &str = "import sqlite3, sys, time\n\
        db = sqlite3.connect(sys.argv[1])\n\
        day = int(time.time()) // 21600 * 72\n\
        rows = [((2 << 60) | (s << 28) | (day - 72 * (b + 1)), bytes(4000)) for s in range(1, 101) for b in range(80)]\n\
        db.executemany('INSERT OR REPLACE INTO block VALUES (?, ?)', rows)\n\
        db.commit()\n";

    let folder = tempfile::tempdir().unwrap();
    unit(folder.path(), "web.service", 12_288);
    let mut running = manager(folder.path());
    let measured = |manager: &Running| {
        let csv = ["export", "-f", "csv", "-s", "web", "--since", "1h", "--resolution", "1s"];
        eventually("a second is over", || {
            let csv = manager.ask(&csv);
            (csv.stdout.lines().count() > 1).then_some(csv.stdout)
        })
    };
    let before = measured(&running);
    running.signal(Signal::TERM);
    running.ended();
    let database = folder.path().join("state/history.db");
    fixture::run("python3", &["-c", FILL, database.to_str().unwrap()]).ok();
    assert!(fs::metadata(&database).unwrap().len() > 2 * LIMIT - (4 << 20), "it is too large");

    let running = manager_with(folder.path(), "[history.store]\nsize_limit = \"16MiB\"\n");
    eventually("there is room", || {
        let status = running.ask(&["status", "--json"]);
        // On a busy machine it may not be answered in time while much is given up.
        let status = (status.code == Some(0)).then(|| status.json())?;
        let store = &status["manager"]["store"];
        let size = store["size_bytes"].as_u64().filter(|size| *size > 0)?;
        (store["size_limit_bytes"] == LIMIT && size <= LIMIT).then_some(())
    });
    assert!(running.log().contains("its oldest points are given up"), "{}", running.log());
    let after = measured(&running);
    assert!(after.contains(before.lines().nth(1).unwrap()), "the newest stay: {after}");
}

#[test]
fn what_is_not_there_has_an_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let manager = manager(folder.path());
    manager.ask(&["metrics", "nobody"]).fails(3);
    manager.ask(&["export", "-s", "nobody"]).fails(3);
    manager.ask(&["export", "--hours", "0"]).fails(2);
    manager.ask(&["export", "--since", "2"]).fails(2);
    manager.ask(&["token", "revoke", "nobody"]).fails(3);
    manager.ask(&["token", "create", "a b", "--role", "viewer"]).fails(2);
    manager.ask(&["token", "create", "a", "--role", "king"]).fails(2);
    bs9(["audit", "verify", "--folder", "/nowhere/at/all"]).fails(3);
    bs9(["events", "--socket", "/nowhere/at/all.sock"]).fails(6);
}

#[test]
fn changes_are_recorded_and_a_changed_record_shows() {
    let folder = tempfile::tempdir().unwrap();
    let manager = manager(folder.path());
    let made = manager
        .ask(&["token", "create", "deploy", "--role", "operator", "--expires", "90d", "--json"])
        .json();
    assert!(made["token"].as_str().unwrap().starts_with("bs9_"), "{made}");
    manager.ask(&["token", "create", "deploy", "--role", "viewer"]).fails(1);
    manager.ask(&["token", "revoke", "deploy"]).ok();
    let tokens = manager.ask(&["token", "list"]).ok();
    assert!(tokens.contains("deploy") && tokens.contains("revoked"), "{tokens}");

    let list = manager.ask(&["audit", "list"]).ok();
    assert_eq!(list.matches("create_token").count(), 2, "{list}");
    assert!(list.contains("done") && list.contains("failed: a token named deploy"), "{list}");
    let verdict = manager.ask(&["audit", "verify", "--json"]).json();
    assert_eq!((&verdict["intact"], &verdict["records"]), (&Value::from(true), &Value::from(6)));
    let head = verdict["head"]["hash"].as_str().unwrap();
    assert_eq!(manager.ask(&["status", "--json"]).code, Some(0));
    assert!(manager.log().contains(head), "the head is in the log");
    let copy = folder.path().join("audit.jsonl");
    manager.ask(&["audit", "export", "-o", copy.to_str().unwrap()]).ok();
    let lines = fs::read_to_string(copy).unwrap();
    assert_eq!(lines.lines().count(), 6);
    assert!(!lines.contains(made["token"].as_str().unwrap()));
    let events = manager.ask(&["events"]).ok();
    assert!(events.contains("operation=revoke_token"), "{events}");

    let log = folder.path().join("state/audit");
    let offline = |extra: &[&str]| {
        let log = log.to_str().unwrap();
        bs9(["audit", "verify", "--folder", log].iter().chain(extra).copied())
    };
    assert!(offline(&["--head", head]).ok().contains("intact"));
    offline(&["--head", &"0".repeat(64)]).fails(1);
    let file = log.join("audit-0000000001.jsonl");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replacen("deploy", "mallet", 1)).unwrap();
    let outcome = manager.ask(&["audit", "verify"]);
    assert_eq!(outcome.code, Some(1));
    assert!(outcome.stdout.contains("not intact"), "{outcome:?}");
}

/// Records in the audit log of a manager of this folder.
fn records(folder: &Path) -> usize {
    let files = fs::read_dir(folder.join("state/audit")).into_iter().flatten().flatten();
    let texts = files.filter_map(|file| fs::read_to_string(file.path()).ok());
    texts.map(|text| text.lines().count()).sum()
}

/// A hundred kills at any moment while tokens are made and revoked: the log verifies,
/// nothing is half written, and what was answered as done is done.
#[test]
fn kills_at_any_moment_leave_everything_whole() {
    const KILLS: u64 = 100;

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    unit(path, "web.service", 4_096);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let over = &over;
        let changer = scope.spawn(move || {
            let mut made = Vec::new();
            for number in 0_u64.. {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                let name = format!("t{number}");
                let socket = path.join("manager.sock");
                let asked = ["token", "create", &name, "--role", "viewer", "--socket"];
                let arguments = asked.iter().map(AsRef::as_ref).chain([socket.as_os_str()]);
                if bs9(arguments).code == Some(0) {
                    made.push(name);
                }
            }
            made
        });
        for number in 0..KILLS {
            let mut manager = manager(path);
            // In the middle of another change each time: two records make one.
            let enough = records(path) + (number % 5) as usize;
            eventually("changes are under way", || (records(path) >= enough).then_some(()));
            manager.signal(Signal::KILL);
            manager.ended();
            let left: Vec<_> =
                fs::read_dir(path.join("state")).unwrap().map(|e| e.unwrap().path()).collect();
            assert!(!left.iter().any(|p| p.to_string_lossy().contains("damaged")), "{left:?}");
            let document = fs::read(path.join("state/tokens.json"));
            if let Ok(document) = document {
                serde_json::from_slice::<Value>(&document).expect("a whole document");
            }
        }
        let manager = manager(path);
        over.store(true, Ordering::Relaxed);
        let made = changer.join().unwrap();
        assert!(!made.is_empty(), "something was changed meanwhile");
        let verdict = manager.ask(&["audit", "verify", "--json"]).json();
        assert_eq!(verdict["intact"], true, "{verdict}");
        let tokens = manager.ask(&["token", "list", "--json"]).json();
        let known: Vec<&str> = tokens["tokens"]
            .as_array()
            .unwrap()
            .iter()
            .map(|t| t["name"].as_str().unwrap())
            .collect();
        for name in &made {
            assert!(known.contains(&name.as_str()), "{name} was answered as made");
        }
        let store = &manager.ask(&["status", "--json"]).json()["manager"];
        assert!(store.is_object());
    });
}
