//! `bs9 quickstart`, as a newcomer meets it: every command it prints works, and
//! nothing of it stays.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fixture;

use std::{net::TcpListener, process::Command};

use fixture::{
    Outcome, bs9, eventually,
    quickstart::{Quickstart, runs},
    run,
};
use rustix::process::Signal;

/// Runs a line of what quickstart said through a shell.
fn shell(line: &str) -> Outcome {
    Outcome::of(Command::new("sh").args(["-c", line]).output().unwrap())
}

#[test]
fn what_it_prints_works_and_nothing_stays() {
    let mut sample = Quickstart::start(&[]);
    let curl = shell(&format!("{} -sS --fail", sample.line("curl "))).ok();
    assert!(
        curl.contains("\"endpoint\":\"one\"") || curl.contains("\"endpoint\":\"two\""),
        "{curl}"
    );
    let through_tcp =
        run("curl", &["-sS", "--fail", &format!("http://{}/", sample.word("tcp"))]).ok();
    assert!(through_tcp.contains("\"endpoint\""), "{through_tcp}");
    let psql = shell(&sample.line("psql ")).ok();
    assert!(psql.contains("PostgreSQL"), "{psql}");
    let metrics = run("curl", &["-sS", "--fail", &sample.word("metrics")]).ok();
    assert!(metrics.contains("bs9_pool_queries_total"), "{metrics}");

    let command = sample.log_line_with(" status --socket ");
    let (_, arguments) = command.split_once(" status ").unwrap();
    // The manager looks once a second, so the pool shows a little later.
    eventually("the status shows everything", || {
        let status = bs9(["status"].into_iter().chain(arguments.split_whitespace())).ok();
        let words = ["answered by the manager", "LISTENERS", "CLUSTERS", "POOLS", "healthy"];
        words.iter().all(|word| status.contains(word)).then_some(())
    });

    let children = sample.children();
    assert_eq!(children.len(), 3, "PostgreSQL, the data plane and the manager");
    sample.running.signal(Signal::INT);
    assert_eq!(sample.running.ended().code(), Some(0));
    assert!(!sample.home.exists(), "the folder is removed");
    for pid in children {
        assert!(!runs(pid), "process {pid} still runs");
    }
}

#[test]
fn taken_ports_are_replaced_and_the_folder_may_stay() {
    // Taken by this test, or by somebody else: either way quickstart cannot have it.
    let _taken = TcpListener::bind("127.0.0.1:8080");
    let mut sample = Quickstart::start(&["--keep"]);
    assert!(sample.running.log().contains("port 8080 is taken"), "{}", sample.running.log());
    shell(&format!("{} -sS --fail", sample.line("curl "))).ok();
    sample.running.signal(Signal::TERM);
    assert_eq!(sample.running.ended().code(), Some(0));
    for file in ["bs9.toml", "manager.toml", "dataplane.log", "password", "postgres"] {
        assert!(sample.home.join(file).exists(), "{file} is kept");
    }
    bs9(["check", sample.home.join("bs9.toml").to_str().unwrap()]).ok();
    // It is not empty any more, so it is not taken again.
    bs9(["quickstart", "--folder", sample.home.to_str().unwrap()]).fails(2);
}

#[test]
fn a_child_that_dies_ends_it_with_its_last_words() {
    let mut sample = Quickstart::start(&[]);
    let children = sample.children();
    let status = sample.running.ask(&["status", "--json"]).json();
    let data_plane = status["data_plane"]["status"]["pid"].as_i64().unwrap();
    let pid = rustix::process::Pid::from_raw(i32::try_from(data_plane).unwrap()).unwrap();
    rustix::process::kill_process(pid, Signal::KILL).unwrap();
    assert_eq!(sample.running.ended().code(), Some(1));
    let log = sample.running.log();
    assert!(log.contains("the data plane ended") && log.contains("listening"), "{log}");
    assert!(!sample.home.exists());
    for pid in children {
        assert!(!runs(pid), "process {pid} still runs");
    }
}

#[test]
fn a_killed_quickstart_takes_its_programs_with_it() {
    let mut sample = Quickstart::start(&[]);
    let status = sample.running.ask(&["status", "--json"]).json();
    let pids = [&status["manager"]["pid"], &status["data_plane"]["status"]["pid"]];
    let pids = pids.map(|pid| u32::try_from(pid.as_u64().unwrap()).unwrap());
    let all = sample.children();
    sample.running.signal(Signal::KILL);
    sample.running.ended();
    for pid in pids {
        eventually("it ends with its parent", || (!runs(pid)).then_some(()));
    }
    // PostgreSQL drops privileges, so the kernel does not tie it to its parent: end it here.
    for pid in all.into_iter().filter(|pid| !pids.contains(pid) && runs(*pid)) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
        rustix::process::kill_process(pid, Signal::INT).unwrap();
        eventually("PostgreSQL ends", || {
            (!runs(u32::try_from(pid.as_raw_nonzero().get()).unwrap())).then_some(())
        });
    }
}
