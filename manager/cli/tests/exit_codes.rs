//! The exit codes are part of the public surface.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fixture;

use std::net::TcpListener;

use fixture::{ADMIN, DataPlane, bs9, origin::Origin, program, write};

fn one_cluster(origin: &Origin) -> String {
    format!("[clusters.api]\nendpoints = [\"{}\"]\n", origin.address)
}

#[test]
fn a_command_line_that_makes_no_sense_is_2() {
    bs9(["frobnicate"]).fails(2);
    bs9(["status", "--no-such-flag"]).fails(2);
    bs9(["status", "--watch=1h30x"]).fails(2);
    bs9(["serve", "--log", "==="]).fails(2);
    bs9(["loadbalancer", "start", "-b", "nowhere"]).fails(2);
    bs9(["loadbalancer", "start", "-b", "a:1,a:1"]).fails(2);
    let none: [&str; 0] = [];
    bs9(none).fails(2);
}

#[test]
fn what_is_not_there_is_3() {
    let origin = Origin::start("one");
    let data_plane = DataPlane::serve(&one_cluster(&origin));
    let said = data_plane.running.ask(&["loadbalancer", "remove", "10.0.0.9:1"]).fails(3);
    assert!(said.contains("10.0.0.9:1"), "{said}");
    let said =
        data_plane.running.ask(&["loadbalancer", "add", "10.0.0.9:1", "--cluster", "apj"]).fails(3);
    assert!(said.contains("did you mean `api`?"), "{said}");

    let nowhere = tempfile::tempdir().unwrap();
    let mut command = program();
    command.args(["serve"]).env("XDG_CONFIG_HOME", nowhere.path()).env("HOME", nowhere.path());
    let said = fixture::Outcome::of(command.output().unwrap()).fails(3);
    assert!(said.contains("bs9/bs9.toml"), "{said}");
}

#[test]
fn an_endpoint_that_is_there_already_is_1() {
    let origin = Origin::start("one");
    let data_plane = DataPlane::serve(&one_cluster(&origin));
    let address = origin.address.to_string();
    data_plane.running.ask(&["loadbalancer", "add", &address]).fails(1);
}

#[test]
fn an_invalid_configuration_is_5() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bs9.toml");
    write(&file, &format!("{ADMIN}[clusters.api]\nendpoint = []\n"));
    let said = bs9(["serve", "--config", file.to_str().unwrap()]).fails(5);
    assert!(said.contains("bs9.toml:6:1") && said.contains("`endpoints`"), "{said}");
    assert!(!folder.path().join("dataplane.sock").exists());
}

#[test]
fn nobody_there_is_6() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("none.sock");
    let socket = socket.to_str().unwrap();
    for verb in [&["status"][..], &["loadbalancer", "reload"], &["dbpool", "stats"]] {
        let said = bs9(verb.iter().copied().chain(["--socket", socket])).fails(6);
        assert!(said.contains(socket) && said.contains("bs9 serve"), "{said}");
    }
    let mut command = program();
    command.arg("status").env("XDG_RUNTIME_DIR", folder.path());
    command.env("BS9_SOCKET", socket).env("BS9_MANAGER_SOCKET", socket);
    let said = fixture::Outcome::of(command.output().unwrap()).fails(6);
    assert!(said.contains("manager:") && said.contains("data plane:"), "{said}");
}

#[test]
fn a_port_that_is_taken_is_6() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bs9.toml");
    let listener =
        format!("[listeners.web]\nbind = [\"{address}\"]\nprotocol = \"tcp\"\ncluster = \"api\"\n");
    write(&file, &format!("{ADMIN}{listener}[clusters.api]\nendpoints = []\n"));
    let said = bs9(["serve", "--config", file.to_str().unwrap()]).fails(6);
    assert!(said.contains("web") && said.contains(&address.to_string()), "{said}");
}

#[test]
fn a_socket_that_is_taken_is_6() {
    let origin = Origin::start("one");
    let data_plane = DataPlane::serve(&one_cluster(&origin));
    let said = bs9(["serve", "--config", data_plane.path().to_str().unwrap()]).fails(6);
    assert!(said.contains("dataplane.sock"), "{said}");
}
