//! The line that says how far a run is: for people at a terminal, and for nobody else.

use std::{fs, process::Command};

use regex::Regex;

use crate::fixture::{Outcome, bs9, sample_endpoint::SampleEndpoint};

/// What `bs9 loadtest` is called with: a warm-up, and then a while.
const FLAGS: [&str; 7] = ["-c", "2", "--warmup", "400ms", "-d", "1500ms", "--json"];

/// Counts so far, as the line shows them.
fn counts() -> Regex {
    Regex::new(r"\d+/s   (\d+) ok   0 failed").unwrap()
}

#[test]
fn at_a_terminal_a_line_moves_on_until_the_run_is_over() {
    let endpoint = SampleEndpoint::start();
    let folder = tempfile::tempdir().unwrap();
    let line = format!(
        "stty cols 100; {} loadtest {} {} > report.json",
        env!("CARGO_BIN_EXE_bs9"),
        endpoint.url,
        FLAGS.join(" ")
    );
    // Standard error is a terminal, standard output a file.
    let mut terminal = Command::new("script");
    terminal.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    terminal.current_dir(folder.path()).env("TERM", "xterm").env("SHELL", "/bin/sh");
    let shown = Outcome::of(terminal.stdin(std::process::Stdio::null()).output().unwrap()).ok();
    assert!(shown.contains('━') || shown.contains('─'), "a bar: {shown:?}");
    let warming_up = shown.find("warming up").unwrap_or_else(|| panic!("{shown:?}"));
    let seen: Vec<_> = counts().captures_iter(&shown).collect();
    let counted: Vec<u64> = seen.iter().map(|found| found[1].parse().unwrap()).collect();
    assert!(counted.len() > 1 && counted.is_sorted(), "{shown:?}");
    assert!(counted.first() < counted.last(), "it moves on: {shown:?}");
    assert!(warming_up < seen[0].get(0).unwrap().start(), "{shown:?}");
    // It is taken away: what comes last clears the line, and nothing is written behind it.
    let behind = &shown[seen.last().unwrap().get(0).unwrap().end()..];
    assert!(behind.contains("\u{1b}[2K"), "{shown:?}");

    let report = fs::read_to_string(folder.path().join("report.json")).unwrap();
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert!(report["requests"]["succeeded"].as_u64() >= counted.last().copied(), "{counted:?}");
}

#[test]
fn where_there_is_no_terminal_nothing_is_shown() {
    let endpoint = SampleEndpoint::start();
    let outcome = bs9(["loadtest", &endpoint.url].into_iter().chain(FLAGS));
    assert_eq!((outcome.code, &*outcome.stderr), (Some(0), ""), "{outcome:#?}");
    assert!(outcome.json()["requests"]["succeeded"].as_u64() > Some(0));
}
