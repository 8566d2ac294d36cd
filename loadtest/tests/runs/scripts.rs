//! Scripts for wrk and k6, and scenarios, work as they are.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
};

use bs9_loadtest::Scenario;

use crate::server::{Answer, Server, response};

fn scripts(folder: &str, ending: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let scripts: Vec<_> = paths.filter(|path| path.extension().unwrap() == ending).collect();
    assert!(scripts.len() >= 3, "{scripts:?}");
    scripts
}

/// Runs a script for a second; the requests it sent, each once.
fn wrk(script: &str, arguments: &[&str]) -> BTreeSet<String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("wrk").join(script);
    let seen = Arc::new(Mutex::new(BTreeSet::new()));
    let own = Arc::clone(&seen);
    let server = Server::http(move |request| {
        let line = request.head.lines().next().unwrap();
        let body = String::from_utf8_lossy(&request.body);
        own.lock().unwrap().insert(format!("{line} {body}"));
        Answer::Send(response(200, "hello"))
    });
    let output = Command::new("wrk")
        .args(["-t1", "-c2", "-d1s", "-s"])
        .arg(&script)
        .arg(server.url())
        .args(arguments)
        .output()
        .expect("wrk is installed: make deps");
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("Requests/sec"), "{script:?}: {text}");
    assert!(!text.contains("Non-2xx") && !text.contains("Socket errors"), "{script:?}: {text}");
    drop(server);
    std::mem::take(&mut seen.lock().unwrap())
}

#[test]
fn wrk_gets_a_mix() {
    let seen: Vec<_> = wrk("get-mix.lua", &[]).into_iter().collect();
    let paths = ["/", "/healthz", "/items/1", "/search?q=bs9"];
    assert_eq!(seen, paths.map(|path| format!("GET {path} HTTP/1.1 ")));
}

#[test]
fn wrk_posts_a_body() {
    let seen: Vec<_> = wrk("post.lua", &[]).into_iter().collect();
    assert_eq!(seen, ["POST / HTTP/1.1 {\"item\": 1, \"count\": 2, \"note\": \"from wrk\"}"]);
}

#[test]
fn wrk_pipelines() {
    let expected = |depth: u32| (1..=depth).map(|n| format!("GET /items/{n} HTTP/1.1 ")).collect();
    assert_eq!(wrk("pipeline.lua", &[]), expected(8));
    assert_eq!(wrk("pipeline.lua", &["--", "3"]), expected(3));
}

#[test]
fn k6_scripts_can_be_parsed() {
    let folder = tempfile::tempdir().unwrap();
    for script in scripts("k6", "js") {
        // k6 takes scripts for modules; node goes by the name.
        let module = folder.path().join("script.mjs");
        fs::copy(&script, &module).unwrap();
        let output = Command::new("node").arg("--check").arg(&module).output();
        let output = output.expect("node is installed: make deps");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{script:?}: {text}");
        let source = fs::read_to_string(&script).unwrap();
        assert!(source.contains("k6 run loadtest/k6/"), "{script:?} says how it is run");
        for part in ["export const options", "thresholds", "export default function"] {
            assert!(source.contains(part), "{script:?}: {part}");
        }
    }
}

#[test]
fn scenarios_make_sense() {
    for file in scripts("scenarios", "toml") {
        let scenario = Scenario::read(&file, None);
        let scenario = scenario.unwrap_or_else(|error| panic!("{}", error.render(false)));
        scenario.plan().unwrap_or_else(|error| panic!("{file:?}: {error}"));
    }
}
