//! `--watch`: what is shown anew until somebody ends it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fixture;

use std::process::{Command, Stdio};

use fixture::{DataPlane, eventually, program};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Deserializer, Value};

const WATCHED: [(&[&str], &str); 3] = [
    (&["status"], "/data_plane/status/state"),
    (&["loadbalancer", "status"], "/clusters/0/name"),
    (&["dbpool", "stats"], "/pools"),
];

fn watch(arguments: &[&str], socket: &str) -> Command {
    let mut command = program();
    command.args(arguments).args(["--watch=100ms", "--json", "--socket", socket]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// As Ctrl-C in a terminal.
fn interrupt(pid: u32) {
    let pid = Pid::from_raw(pid.try_into().unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
}

#[test]
fn it_is_shown_again_and_again_until_interrupted() {
    let data_plane = DataPlane::serve(
        "[listeners.web]\nbind = [\"127.0.0.1:0\"]\nprotocol = \"http\"\n\
         routes = [{ cluster = \"app\" }]\n\
         [clusters.app]\nendpoints = [\"127.0.0.1:1\"]\n",
    );
    let socket = data_plane.folder.path().join("dataplane.sock");
    for (arguments, shown) in WATCHED {
        let mut child = watch(arguments, socket.to_str().unwrap()).spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        let mut documents = Deserializer::from_reader(stdout).into_iter::<Value>();
        for _ in 0..3 {
            let document = documents.next().expect("it goes on").unwrap();
            assert!(document.pointer(shown).is_some(), "{document:#}");
        }
        interrupt(child.id());
        assert_eq!(child.wait().unwrap().code(), Some(0), "{arguments:?}");
    }
}

#[test]
fn who_is_not_there_may_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("dataplane.sock");
    let mut child = watch(&["dbpool", "stats"], socket.to_str().unwrap()).spawn().unwrap();
    let mut said = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut said, &mut line).unwrap();
    assert!(line.contains("dataplane.sock"), "{line}");
    std::fs::write(folder.path().join("bs9.toml"), fixture::ADMIN).unwrap();
    let _data_plane = DataPlane::serve_in(folder, "bs9.toml");
    let stdout = child.stdout.take().unwrap();
    let document = Deserializer::from_reader(stdout).into_iter::<Value>().next().unwrap().unwrap();
    assert!(document["pools"].is_array(), "{document}");
    interrupt(child.id());
    eventually("it ends", || child.try_wait().unwrap());
}
