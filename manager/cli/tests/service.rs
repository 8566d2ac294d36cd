//! What a service manager is told (`Type=notify`).
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fixture;

use std::os::unix::net::UnixDatagram;

use fixture::{ADMIN, Running, eventually, program, write};
use rustix::process::Signal;

/// A stand-in for systemd's socket, and all it was told.
struct Told {
    socket: UnixDatagram,
    lines: Vec<String>,
}

impl Told {
    fn has(&mut self, line: &str) -> Option<()> {
        let mut buffer = [0; 4096];
        while let Ok(length) = self.socket.recv(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            self.lines.extend(text.lines().map(str::to_owned));
        }
        self.lines.iter().any(|told| told.starts_with(line)).then_some(())
    }
}

#[test]
fn readiness_reloads_and_the_end_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let notify = folder.path().join("notify.sock");
    let socket = UnixDatagram::bind(&notify).unwrap();
    socket.set_nonblocking(true).unwrap();
    let mut told = Told { socket, lines: Vec::new() };
    let file = folder.path().join("bs9.toml");
    write(&file, &format!("{ADMIN}watch = false\n[clusters.api]\nendpoints = []\n"));
    let mut command = program();
    command.args(["serve", "--config"]).arg(&file).env("NOTIFY_SOCKET", &notify);
    let mut running =
        Running::start(command, &folder.path().join("log"), folder.path().join("dataplane.sock"));

    eventually("READY=1", || told.has("READY=1"));
    eventually("STATUS", || told.has("STATUS=generation 1: 0 listeners, 1 clusters"));
    write(
        &file,
        &format!(
            "{ADMIN}watch = false\n[clusters.api]\nendpoints = []\n[clusters.web]\nendpoints = []\n"
        ),
    );
    running.signal(Signal::HUP);
    eventually("RELOADING=1", || told.has("RELOADING=1"));
    eventually("MONOTONIC_USEC", || told.has("MONOTONIC_USEC="));
    eventually("STATUS", || told.has("STATUS=generation 2: 0 listeners, 2 clusters"));
    let ready = told.lines.iter().filter(|line| *line == "READY=1").count();
    assert_eq!(ready, 2, "READY=1 follows RELOADING=1: {:?}", told.lines);
    running.signal(Signal::TERM);
    eventually("STOPPING=1", || told.has("STOPPING=1"));
    assert_eq!(running.ended().code(), Some(0));
}

#[test]
fn logs_can_be_json() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bs9.toml");
    write(&file, ADMIN);
    let mut command = program();
    command.args(["serve", "--log-format", "json", "--config"]).arg(&file);
    let mut running =
        Running::start(command, &folder.path().join("log"), folder.path().join("dataplane.sock"));
    eventually("it answers", || (running.ask(&["status"]).code == Some(0)).then_some(()));
    running.signal(Signal::TERM);
    running.ended();
    for line in running.log().lines() {
        let entry: serde_json::Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(entry["level"].is_string() && entry["message"].is_string(), "{line}");
    }
    assert!(running.log().contains("drained"));
}
