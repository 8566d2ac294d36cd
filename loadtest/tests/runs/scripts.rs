//! The scripts for wrk and k6: wrk runs them for real. k6 itself is not run here, it is in no
//! package repository the tests install from; node says whether its scripts can be parsed.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
};

use crate::server::{Answer, Server, response};

fn scripts(folder: &str, ending: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let scripts: Vec<_> = paths.filter(|path| path.extension().unwrap() == ending).collect();
    assert!(!scripts.is_empty());
    scripts
}

#[test]
fn wrk_runs_its_scripts() {
    for script in scripts("wrk", "lua") {
        let seen = Arc::new(Mutex::new(BTreeSet::new()));
        let own = Arc::clone(&seen);
        let server = Server::http(move |request| {
            let line = request.head.lines().next().unwrap();
            let sized = if request.body.is_empty() { "empty" } else { "body" };
            own.lock().unwrap().insert(format!("{line} {sized}"));
            Answer::Send(response(200, "hello"))
        });
        let output = Command::new("wrk")
            .args(["-t1", "-c2", "-d1s", "-s"])
            .arg(&script)
            .arg(server.url())
            .output()
            .expect("wrk is installed: make deps");
        let text = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && text.contains("Requests/sec"), "{script:?}: {text}");
        assert!(!text.contains("Non-2xx"), "{script:?}: {text}");
        let seen = seen.lock().unwrap();
        if script.ends_with("post.lua") {
            assert!(seen.iter().all(|line| line.starts_with("POST /")), "{seen:?}");
            assert!(seen.iter().all(|line| line.ends_with("body")), "{seen:?}");
        } else {
            assert!(
                seen.len() > 2 && seen.iter().all(|line| line.starts_with("GET /")),
                "{seen:?}"
            );
        }
    }
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
    }
}
