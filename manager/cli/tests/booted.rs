//! What comes back when a machine is booted again: an installation for the machine with a system
//! service, and a user's own services with nobody logged in.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fixture;

use fixture::{
    eventually,
    http_app::http_app,
    machine::{Machine, PROGRAM},
    sandbox::{DATA_PLANE, INSTALLED as UNITS},
};

/// Answers with who it runs as.
fn app() -> String {
    http_app("import getpass", "getpass.getuser()")
}

/// Starts [`app`] as a system service behind the data plane; gives what was remarked.
fn start(machine: &Machine) -> String {
    machine.write("/srv/app/server.py", &app());
    let _there_already = machine.run("useradd", &["--system", "app"]);
    let start = ["start", "/srv/app/server.py", "-n", "app", "-p", "3000", "--system"];
    let more = ["--user", "app", "--health", "/", "--route", "/app/"];
    let outcome = machine.run(PROGRAM, &[&start[..], &more].concat());
    assert_eq!(outcome.code, Some(0), "{outcome:#?}");
    outcome.stderr
}

fn property(machine: &Machine, unit: &str, name: &str) -> String {
    machine.run("systemctl", &["show", "--value", "-p", name, unit]).ok().trim().to_owned()
}

#[test]
fn an_installation_for_the_machine_and_its_service_come_back() {
    let mut machine = Machine::boot();
    machine.write("/etc/bs9/bs9.d/main.toml", DATA_PLANE);
    machine.run(PROGRAM, &["install", "--system", "--program", PROGRAM]).ok();
    assert_eq!(machine.get(8000, "/own/").unwrap(), "own");
    for unit in UNITS {
        assert_eq!(property(&machine, unit, "ActiveState"), "active", "{unit}");
    }
    // What both are kept from, by systemd's own judgement of what is loaded, and they are not root.
    for unit in ["bs9.service", "bs9-manager.service"] {
        let judge = ["--no-pager", "security", "--threshold=20", unit];
        machine.run("systemd-analyze", &judge).ok();
    }
    let data_plane = property(&machine, "bs9.service", "MainPID");
    let owner = machine.run("stat", &["-c", "%U", &format!("/proc/{data_plane}")]).ok();
    assert_ne!(owner.trim(), "root");

    assert_eq!(start(&machine), "");
    assert_eq!(machine.get(3000, "/").unwrap(), "app");
    assert_eq!(machine.get(8000, "/app/").unwrap(), "app", "it is fronted");

    machine.reboot();
    eventually("everything is back", || {
        let (own, fronted) = (machine.get(8000, "/own/")?, machine.get(8000, "/app/")?);
        (own == "own" && fronted == "app").then_some(())
    });
    for unit in UNITS {
        assert_eq!(property(&machine, unit, "ActiveState"), "active", "{unit}");
    }
    let status = machine.run(PROGRAM, &["status", "app", "--json"]).json();
    assert_eq!(status["state"], "running", "{status:#}");

    machine.run(PROGRAM, &["delete", "app"]).ok();
    assert_eq!(machine.get(3000, "/"), None);
    machine.run(PROGRAM, &["uninstall", "--system", "--purge"]).ok();
    for unit in UNITS {
        assert_eq!(property(&machine, unit, "LoadState"), "not-found", "{unit}");
    }
}

#[test]
fn a_machine_without_a_configuration_and_one_with_a_file_of_roots() {
    let machine = Machine::boot();
    let install = || {
        let outcome = machine.run(PROGRAM, &["install", "--system", "--program", PROGRAM]);
        assert_eq!(outcome.code, Some(0), "{outcome:#?}");
        for unit in UNITS {
            assert_eq!(property(&machine, unit, "ActiveState"), "active", "{unit}");
        }
        outcome.stderr
    };
    assert_eq!(install(), "");
    // What it began with is the data plane's own.
    assert_eq!(start(&machine), "");
    assert_eq!(install(), "", "once more");
    machine.run(PROGRAM, &["delete", "app", "--yes"]).ok();
    machine.run(PROGRAM, &["uninstall", "--system", "--purge"]).ok();

    machine.write("/etc/bs9/bs9.toml", DATA_PLANE);
    assert!(install().contains("the data plane may not change /etc/bs9/bs9.toml"));
    assert!(start(&machine).contains("not fronted by the data plane"));
    assert_eq!(machine.get(3000, "/").unwrap(), "app", "all the same");
    assert_eq!(machine.run("cat", &["/etc/bs9/bs9.toml"]).ok(), DATA_PLANE);
}

/// What the kernel does not account for has a reason, and is not 0.
#[test]
fn control_groups_of_version_2_are_read() {
    let machine = Machine::boot_unified();
    machine.run(PROGRAM, &["install", "--system", "--program", PROGRAM]).ok();
    assert_eq!(start(&machine), "");
    let group = property(&machine, "app@1.service", "ControlGroup");
    let path = format!("/sys/fs/cgroup{group}");
    let has = |file: &str| machine.run("test", &["-e", &format!("{path}/{file}")]).code == Some(0);
    assert!(has("cgroup.events") && has("cpu.stat"), "{path}");
    // Some work, which is more than nothing.
    let usage = || {
        machine.get(3000, "/").unwrap();
        let socket = ["--silent", "--fail", "--unix-socket", "/run/bs9/manager.sock"];
        let url = "http://manager/v1/services/app/usage";
        let usage = machine.run("curl", &[&socket[..], &[url]].concat()).json();
        usage["instances"][0].clone()
    };
    let at_once = usage();
    eventually("processor time is used", || {
        let used = |usage: &serde_json::Value| usage["cpu_seconds_total"]["value"].as_f64();
        (used(&usage())? > used(&at_once)?).then_some(())
    });
    let said = |file: &str| machine.run("cat", &[&format!("{path}/{file}")]).ok();
    let accounted = said("cpu.stat").lines().next().unwrap().to_owned();
    assert!(accounted.starts_with("usage_usec "), "{accounted}");
    for (name, file) in
        [("memory_bytes", "memory.current"), ("cpu_pressure_seconds_total", "cpu.pressure")]
    {
        let reading = &usage()[name];
        match has(file) {
            true => assert!(reading["value"].is_number(), "{name}: {reading}"),
            false => assert!(reading["reason"].as_str().unwrap().contains(file), "{reading}"),
        }
    }
    let status = machine.run(PROGRAM, &["status", "app", "--json"]).json();
    assert_eq!(status["state"], "running", "{status:#}");
}

#[test]
fn a_users_services_come_back_before_anybody_logs_in() {
    let mut machine = Machine::boot();
    machine.run("useradd", &["--create-home", "--uid", "4321", "ann"]).ok();
    // As if she had logged in.
    machine.run("systemctl", &["start", "user@4321.service"]).ok();
    machine.write("/home/ann/.config/bs9/bs9.toml", DATA_PLANE);
    machine.write("/home/ann/app/server.py", &app());
    machine.run("chown", &["-R", "ann:", "/home/ann"]).ok();
    machine.run_as("ann", PROGRAM, &["install", "--program", PROGRAM]).ok();

    let start = ["start", "app/server.py", "-n", "app", "-p", "3000"];
    let started = machine.run_as("ann", PROGRAM, &start);
    assert_eq!(started.code, Some(0), "{started:#?}");
    assert_eq!(machine.get(3000, "/").unwrap(), "ann");
    // Nobody on this machine decides what users may do, so root has to.
    let why = "lingering is off for ann";
    assert!(started.stderr.contains(why), "{started:#?}");
    let doctor = || machine.run_as("ann", PROGRAM, &["doctor"]).stdout;
    assert!(doctor().contains("sudo loginctl enable-linger ann"), "{}", doctor());

    machine.reboot();
    assert_eq!(property(&machine, "user@4321.service", "ActiveState"), "inactive");
    assert_eq!(machine.get(3000, "/"), None, "nobody has logged in");

    machine.run("loginctl", &["enable-linger", "ann"]).ok();
    machine.reboot();
    eventually("everything of hers is back", || {
        (machine.get(3000, "/")? == "ann" && machine.get(8000, "/own/")? == "own").then_some(())
    });
    let doctor = machine.run_as("ann", PROGRAM, &["doctor"]).stdout;
    assert!(doctor.contains("on for ann"), "{doctor}");
    let status = machine.run_as("ann", PROGRAM, &["status", "app", "--json"]).json();
    assert_eq!(status["state"], "running", "{status:#}");
    let restarted = machine.run_as("ann", PROGRAM, &["restart", "app"]);
    assert!(!restarted.stderr.contains(why), "{restarted:#?}");
}

/// Root may decide that for itself.
#[test]
fn lingering_is_turned_on_for_who_starts_a_service() {
    let mut machine = Machine::boot();
    machine.run("systemctl", &["start", "user@0.service"]).ok();
    machine.write("/srv/app/server.py", &app());
    machine.run_as("root", PROGRAM, &["install", "--program", PROGRAM]).ok();
    let doctor = || machine.run_as("root", PROGRAM, &["doctor"]).stdout;
    assert!(doctor().contains("sudo loginctl enable-linger root"), "{}", doctor());
    let start = ["start", "/srv/app/server.py", "-n", "app", "-p", "3000"];
    let started = machine.run_as("root", PROGRAM, &start);
    assert_eq!(started.code, Some(0), "{started:#?}");
    assert!(!started.stderr.contains("lingering"), "{started:#?}");
    assert!(doctor().contains("on for root"), "{}", doctor());
    machine.reboot();
    eventually("it is back", || machine.get(3000, "/").filter(|said| said == "root"));
}

/// Everybody may connect to the socket then, and who it is decides.
#[test]
fn who_is_listed_may_use_the_admin_socket_as_far_as_the_role_goes() {
    let machine = Machine::boot();
    for (user, uid) in [("ann", "4321"), ("bob", "4322"), ("eve", "4323")] {
        machine.run("useradd", &["--create-home", "--uid", uid, "--user-group", user]).ok();
    }
    let group = machine.run("id", &["-g", "bob"]).ok();
    let peers = format!(
        "[[admin.peers]]\nuid = 4321\nrole = \"viewer\"\n\
         [[admin.peers]]\ngid = {}\nrole = \"operator\"\n",
        group.trim()
    );
    machine.write("/etc/bs9/bs9.d/main.toml", &format!("{DATA_PLANE}{peers}"));
    machine.run(PROGRAM, &["install", "--system", "--program", PROGRAM]).ok();
    let reads = |user| machine.run_as(user, PROGRAM, &["lb", "status", "--json"]);
    let operates = |user| machine.run_as(user, PROGRAM, &["lb", "reload"]);

    reads("ann").ok();
    let refused = operates("ann");
    assert!(refused.code != Some(0) && refused.stderr.contains("operator"), "{refused:#?}");
    reads("bob").ok();
    operates("bob").ok();
    let stranger = reads("eve");
    assert!(stranger.code != Some(0), "{stranger:#?}");
    assert!(stranger.stderr.contains("user 4323 may not use this socket"), "{stranger:#?}");
}
