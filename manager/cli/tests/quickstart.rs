//! `bs9 quickstart`, as a newcomer meets it: every command it prints works, and
//! nothing of it stays.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fixture;

use std::{collections::HashSet, fs, net::TcpListener, path::PathBuf, process::Command};

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
    const USUAL: [u16; 4] = [8080, 6380, 6432, 9901];
    // Taken by this test, or by somebody else for long: no other test runs meanwhile (nextest.toml).
    let _taken = USUAL.map(|port| TcpListener::bind(("127.0.0.1", port)));
    let mut sample = Quickstart::start(&["--keep"]);
    let others: HashSet<u16> = USUAL
        .iter()
        .map(|port| {
            let said = sample.line(&format!("port {port} is taken; "));
            said.split_whitespace().rev().nth(1).unwrap().parse().unwrap()
        })
        .collect();
    assert_eq!(others.len(), USUAL.len(), "each has another one: {others:?}");
    assert!(others.is_disjoint(&USUAL.into()), "{others:?}");
    shell(&format!("{} -sS --fail", sample.line("curl "))).ok();
    shell(&sample.line("psql ")).ok();
    run("curl", &["-sS", "--fail", &format!("http://{}/", sample.word("tcp"))]).ok();
    run("curl", &["-sS", "--fail", &sample.word("metrics")]).ok();
    shell(&sample.log_line_with(" status --socket ")).ok();
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
fn a_killed_quickstart_takes_its_programs_with_it_and_the_next_one_its_folder() {
    let place = Quickstart::place();
    let kept = place.path().join("bs9-somebody-elses");
    fs::create_dir(&kept).unwrap();
    let first = killed(Quickstart::start_in(&place, &[]));
    assert!(first.exists());
    let mut second = Quickstart::start_in(&place, &[]);
    let said = second.line("removed ");
    assert!(said.contains(first.to_str().unwrap()), "{said}");
    assert!(!first.exists() && kept.exists());
    // What lives is left alone.
    let mut third = Quickstart::start_in(&place, &[]);
    assert!(!third.running.log().contains("removed /"), "{}", third.running.log());
    shell(&second.line("psql ")).ok();
    for sample in [&mut third, &mut second] {
        sample.running.signal(Signal::HUP);
        assert_eq!(sample.running.ended().code(), Some(0));
        assert!(!sample.home.exists());
    }
}

#[test]
fn a_folder_left_by_a_killed_quickstart_is_used_again_unless_it_was_to_stay() {
    let place = Quickstart::place();
    let home = place.path().join("home");
    let folder = ["--folder", home.to_str().unwrap()];
    killed(Quickstart::start_in(&place, &folder));
    let again = Quickstart::start_in(&place, &[&folder[..], &["--keep"]].concat());
    shell(&again.line("psql ")).ok();
    killed(again);
    bs9(["quickstart"].into_iter().chain(folder)).fails(2);
    assert!(home.join("postgres").exists());
}

/// Kills it as nobody can prevent, and waits for the end of everything it started;
/// returns its folder.
fn killed(mut sample: Quickstart) -> PathBuf {
    let children = sample.children();
    assert_eq!(children.len(), 3, "PostgreSQL, the data plane and the manager");
    sample.running.signal(Signal::KILL);
    sample.running.ended();
    for pid in children {
        eventually("it ends with its parent", || (!runs(pid)).then_some(()));
    }
    sample.home
}

#[test]
fn a_tether_holds_only_between_parent_and_child() {
    let own = std::process::id();
    let tethered = |parent: u32| {
        let parent = parent.to_string();
        bs9(["tethered", "--parent", &parent, "--signal", "15", "--", "sh", "-c", "echo here"])
    };
    assert_eq!(tethered(own).ok(), "here\n");
    let said = tethered(own + 1).fails(1);
    assert!(said.contains("the process that started this one has ended"), "{said}");
    bs9(["tethered", "--parent", &own.to_string(), "--signal", "15", "--", "/no/such/program"])
        .fails(3);
}
