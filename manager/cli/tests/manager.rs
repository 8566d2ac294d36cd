//! The manager beside the data plane: it sees everything and matters to no traffic.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fixture;

use fixture::{DataPlane, Running, eventually, get, origin::Origin, program, write};
use rustix::process::Signal;

fn data_plane(origin: &Origin) -> DataPlane {
    DataPlane::serve(&format!(
        "[listeners.web]\nbind = [\"127.0.0.1:0\"]\nprotocol = \"http\"\n[[listeners.web.routes]]\ncluster = \"api\"\n\
         [clusters.api]\nendpoints = [\"{}\"]\n",
        origin.address
    ))
}

fn manager(data_plane: &DataPlane) -> Running {
    let folder = data_plane.folder.path();
    let file = folder.join("manager.toml");
    write(
        &file,
        "state_folder = \"state\"\n[admin]\nsocket = \"manager.sock\"\n[dataplane]\nsocket = \"dataplane.sock\"\npoll_interval = \"100ms\"\n",
    );
    let mut command = program();
    command.args(["manager", "--config"]).arg(&file);
    let running = Running::start(command, &folder.join("manager.log"), folder.join("manager.sock"));
    eventually("the manager has seen the data plane", || {
        let answer = running.ask(&["status", "--json"]);
        (answer.code == Some(0) && answer.json()["data_plane"]["reachable"] == true).then_some(())
    });
    running
}

#[test]
fn one_status_for_both() {
    let origin = Origin::start("one");
    let data_plane = data_plane(&origin);
    let manager = manager(&data_plane);
    get(data_plane.running.address("web"), "/");
    let answer = eventually("the request shows", || {
        let answer = manager.ask(&["status", "--json"]).json();
        let requests = &answer["data_plane"]["status"]["listeners"][0]["http"]["requests_total"];
        (*requests == 1).then(|| answer.clone())
    });
    assert_eq!(answer["answered_by"], "manager");
    assert_eq!(answer["manager"]["pid"], manager.pid());
    let table = manager.ask(&["status"]).ok();
    assert!(table.contains("manager") && table.contains("serving"), "{table}");
}

#[test]
fn killing_the_manager_disturbs_nothing() {
    let origin = Origin::start("one");
    let data_plane = data_plane(&origin);
    let mut manager = manager(&data_plane);
    let web = data_plane.running.address("web");
    manager.signal(Signal::KILL);
    manager.ended();
    for _ in 0..20 {
        assert_eq!(get(web, "/").status, 200);
    }
    // A manager that comes back takes the place of the one that was killed.
    let again = self::manager(&data_plane);
    again.ask(&["status"]).ok();
}

#[test]
fn killing_the_data_plane_is_noticed() {
    let origin = Origin::start("one");
    let mut data_plane = data_plane(&origin);
    let manager = manager(&data_plane);
    data_plane.running.signal(Signal::KILL);
    data_plane.running.ended();
    let answer = eventually("it is noticed", || {
        let answer = manager.ask(&["status", "--json"]).json();
        (answer["data_plane"]["reachable"] == false).then(|| answer.clone())
    });
    assert!(answer["data_plane"]["reason"].is_string(), "{answer}");
    assert!(answer["data_plane"]["status"].is_object(), "the last status is kept");
    assert!(manager.ask(&["status"]).ok().contains("unreachable"));
}

#[test]
fn sigterm_ends_it() {
    let origin = Origin::start("one");
    let data_plane = data_plane(&origin);
    let mut manager = manager(&data_plane);
    manager.signal(Signal::TERM);
    assert_eq!(manager.ended().code(), Some(0));
    assert!(!data_plane.folder.path().join("manager.sock").exists());
}
