//! History of several machines in one PostgreSQL, by the command line: through bs9's own
//! pool in transaction mode, past it, and with the database away for a while.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fixture;

#[path = "../../../proxy/net/tests/tls/authority.rs"]
#[allow(dead_code, reason = "shared with the tests of the host")]
mod authority;

use std::{fs, path::Path};

use authority::Authority;
use fixture::{
    ADMIN, DataPlane, Running, eventually,
    postgres::{Cluster, PASSWORD, USER},
    program, run, write,
};
use serde_json::Value;

/// A manager in a folder of its own, with one made-up unit, and its history at `link`.
fn manager(folder: &Path, unit: &str, link: &str) -> Running {
    let group = folder.join("cgroup/system.slice").join(unit);
    fs::create_dir_all(&group).unwrap();
    write(&folder.join("cgroup/cgroup.controllers"), "cpu memory\n");
    write(&group.join("memory.current"), "4096\n");
    write(&group.join("cgroup.procs"), "");
    let text = format!(
        "state_folder = \"state\"\n[services]\nfolder = \"services\"\n\
         [admin]\nsocket = \"manager.sock\"\n[dataplane]\nsocket = \"nobody.sock\"\n\
         [collect]\ninterval = \"100ms\"\ncgroups = \"cgroup\"\n\
         [history.store.postgres]\nuser = \"{USER}\"\npassword = \"{PASSWORD}\"\nhost_name = \"{unit}\"\n{link}"
    );
    let file = folder.join("manager.toml");
    write(&file, &text);
    let mut command = program();
    command.args(["manager", "--config"]).arg(&file);
    let running = Running::start(command, &folder.join("manager.log"), folder.join("manager.sock"));
    eventually("the manager answers", || (running.ask(&["events"]).code == Some(0)).then_some(()));
    running
}

fn store(manager: &Running) -> Value {
    let socket = manager.socket.to_str().unwrap();
    let asked = ["--silent", "--unix-socket", socket, "http://manager/v1/status"];
    run("curl", &asked).json()["store"].clone()
}

/// Seconds that the unit's memory was measured in; `None` while there are none.
fn seconds(manager: &Running) -> Option<Vec<Value>> {
    let asked = ["export", "--metric", "bs9_service_memory_bytes", "--resolution", "1s"];
    let outcome = manager.ask(&asked);
    if outcome.code != Some(0) {
        return None;
    }
    let all = outcome.json();
    let series = all[0]["points"].as_array().cloned().unwrap_or_default();
    (!series.is_empty()).then_some(series)
}

#[test]
fn many_machines_one_store_and_a_database_that_goes_away() {
    let cluster = Cluster::start();
    let folders: Vec<_> = (0..2).map(|_| tempfile::tempdir().unwrap()).collect();
    let pool = tempfile::tempdir().unwrap();
    let socket = format!("unix:{}/.s.PGSQL.6432", pool.path().display());
    let config = cluster.pools(5).replace("127.0.0.1:0", &socket);
    write(&pool.path().join("bs9.toml"), &format!("{ADMIN}{config}"));
    let data_plane = DataPlane::serve_in(pool, "bs9.toml");
    let through = format!(
        "host = \"{}\"\nport = 6432\ndbname = \"transaction\"\n",
        data_plane.folder.path().display()
    );
    let past = format!("port = {}\ndbname = \"{USER}\"\n", cluster.port());
    let one = manager(folders[0].path(), "one.service", &through);
    let two = manager(folders[1].path(), "two.service", &past);
    for manager in [&one, &two] {
        eventually("history has begun", || seconds(manager));
        let status = store(manager);
        assert_eq!((&status["kind"], &status["working"]), (&"postgresql".into(), &true.into()));
    }
    let own = one.ask(&["export", "--metric", "bs9_service_*", "--resolution", "1s"]).ok();
    assert!(own.contains("one.service") && !own.contains("two.service"), "{own}");
    assert_eq!(cluster.sql(USER, "select count(*) from bs9.host"), "2");

    // The way to the database is gone: what is measured waits, and nothing is lost.
    let DataPlane { running, folder } = data_plane;
    drop(running);
    let away = eventually("it is told", || {
        let status = store(&one);
        (status["working"] == false && status["batches_spooled"].as_u64()? > 20).then_some(status)
    });
    assert!(away["reason"].as_str().unwrap().contains("PostgreSQL"), "{away}");
    assert!(away["spooled_bytes"].as_u64().unwrap() > 0, "{away}");
    let _data_plane = DataPlane::serve_in(folder, "bs9.toml");
    let back = eventually("it is written after all", || {
        let status = store(&one);
        (status["working"] == true && status["batches_spooled"].as_u64()? < 5).then_some(status)
    });
    assert_eq!(back["batches_lost_total"], 0, "{back}");

    // An orderly end and another beginning: events are those of both runs.
    drop(one);
    let one = manager(folders[0].path(), "one.service", &through);
    eventually("both beginnings are there", || {
        let events = one.ask(&["events", "-n", "1000"]).ok();
        (events.matches("manager started").count() == 2).then_some(())
    });
}

#[test]
fn the_way_to_the_database_is_encrypted_and_its_certificate_is_judged() {
    let cluster = Cluster::start();
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    authority.write(folder.path());
    authority.issue(folder.path(), "server", &["db.example.com"]);
    cluster.encrypt(folder.path(), "server");
    let elsewhere = tempfile::tempdir().unwrap();
    Authority::new().write(elsewhere.path());

    let link = |tls: &str| {
        let tls = tls
            .replace("GOOD", folder.path().join("ca.pem").to_str().unwrap())
            .replace("OTHER", elsewhere.path().join("ca.pem").to_str().unwrap());
        format!("port = {}\ndbname = \"{USER}\"\n{tls}", cluster.port())
    };
    let encrypted = "select count(*) > 0 from pg_stat_activity join pg_stat_ssl using (pid) \
                     where application_name = 'bs9 manager' and ssl";
    for (number, tls) in [
        "tls = { ca = \"GOOD\", server_name = \"db.example.com\" }\n",
        "tls = { sslmode = \"verify-ca\", ca = \"GOOD\" }\n",
        "tls = { sslmode = \"require\" }\n",
    ]
    .into_iter()
    .enumerate()
    {
        let place = tempfile::tempdir().unwrap();
        let manager = manager(place.path(), &format!("good{number}.service"), &link(tls));
        eventually("history has begun", || seconds(&manager));
        assert_eq!(cluster.sql("postgres", encrypted), "t", "{tls}");
    }
    for (tls, reason) in [
        ("", "no encryption"),
        ("tls = { ca = \"GOOD\" }\n", "certificate"),
        ("tls = { ca = \"OTHER\", server_name = \"db.example.com\" }\n", "certificate"),
        ("tls = { sslmode = \"verify-ca\", ca = \"OTHER\" }\n", "certificate"),
    ] {
        let place = tempfile::tempdir().unwrap();
        let manager = manager(place.path(), "bad.service", &link(tls));
        eventually("it is told", || {
            let status = store(&manager);
            let told = status["reason"].as_str()?.contains(reason);
            (status["working"] == false && told).then_some(())
        });
        assert_eq!(
            cluster.sql(USER, "select count(*) from bs9.host where name = 'bad.service'"),
            "0"
        );
    }
}
