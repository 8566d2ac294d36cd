//! Services on a real systemd: in a sandbox, with a real bus, journal, manager and
//! data plane.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fixture;

use fixture::{
    Outcome, eventually,
    sandbox::{DATA_PLANE, Sandbox},
};
use serde_json::Value;

/// Answers with its version and instance; can be told to crash; tries what the sandbox
/// of a service forbids.
const APP: &str = r#"
import http.server, os, signal, sys

VERSION = "one"

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        if self.path == "/crash":
            os._exit(7)
        if self.path.startswith("/write?"):
            try:
                with open(self.path[7:], "w") as file:
                    file.write("x")
                said = "written"
            except OSError as error:
                said = error.strerror
        elif self.path.startswith("/read?"):
            try:
                said = open(self.path[6:]).read()
            except OSError as error:
                said = error.strerror
        elif self.path == "/env":
            said = " ".join(os.environ.get(n, "-") for n in ("PORT", "HOST", "SERVICE_NAME", "GREETING"))
        else:
            said = VERSION + " " + os.environ["INSTANCE"]
        body = said.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass

class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 256

signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
print("listening as", VERSION, flush=True)
Server(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"#;

/// `bs9 start` of [`APP`] under this name, at this port.
fn start(sandbox: &Sandbox, name: &str, port: u16, more: &[&str]) -> Outcome {
    let port = port.to_string();
    let arguments = [&["start", "app/server.py", "-n", name, "-p", &port], more].concat();
    sandbox.bs9(&arguments)
}

/// The same of `web` at 3000, fronted by [`DATA_PLANE`].
fn start_fronted(sandbox: &Sandbox, more: &[&str]) -> Outcome {
    start(sandbox, "web", 3000, &[&["--health", "/", "--route", "/"], more].concat())
}

fn states(service: &Value) -> Vec<&str> {
    let instances = service["instances"].as_array().unwrap();
    instances.iter().map(|instance| instance["active_state"].as_str().unwrap()).collect()
}

#[test]
fn a_service_is_started_stopped_and_deleted() {
    let sandbox = Sandbox::start();
    let _manager = sandbox.manager();
    sandbox.write("app/server.py", APP);
    sandbox.write("app/.env", "GREETING=from-a-file\n");
    let said = start(&sandbox, "web", 3000, &["-e", "TOKEN=geheim", "--env-file", "app/.env"]).ok();
    assert!(said.contains("started web@1.service"), "{said}");

    let web = sandbox.service("web");
    assert_eq!(web["state"], "running", "{web:#}");
    assert_eq!(web["enabled"], true);
    let instance = &web["instances"][0];
    assert_eq!((&instance["port"], &instance["unit"]), (&3000.into(), &"web@1.service".into()));
    assert!(instance["memory_bytes"].as_u64().unwrap() > 1_000_000, "{web:#}");
    assert!(instance["cpu_seconds_total"].as_f64().unwrap() > 0.0, "{web:#}");
    assert_eq!(sandbox.get(3000, "/").unwrap(), "one 1");
    assert_eq!(sandbox.get(3000, "/env").unwrap(), "3000 127.0.0.1 web from-a-file");

    // systemd is who runs it, and the secret is in none of what others can see.
    assert_eq!(sandbox.property("web@1.service", "ActiveState"), "active");
    let unit = sandbox.run("systemctl", &["--user", "cat", "web@1.service"]).ok();
    let inspected = sandbox.bs9(&["inspect", "web", "--json"]);
    for text in [&unit, &inspected.stdout, &sandbox.bs9(&["status", "web"]).ok()] {
        assert!(!text.contains("geheim"), "{text}");
    }
    assert!(sandbox.bs9(&["list"]).ok().contains("running"));

    sandbox.bs9(&["stop", "web"]).ok();
    let web = sandbox.service("web");
    assert_eq!((&web["state"], &web["enabled"]), (&"stopped".into(), &false.into()), "{web:#}");
    assert_eq!(sandbox.get(3000, "/"), None);
    sandbox.bs9(&["start", "web"]).ok();
    assert_eq!(sandbox.get(3000, "/").unwrap(), "one 1");
    sandbox.bs9(&["restart", "web"]).ok();
    assert_eq!(sandbox.get(3000, "/").unwrap(), "one 1");

    sandbox.bs9(&["delete", "web"]).ok();
    assert_eq!(sandbox.get(3000, "/"), None);
    assert_eq!(sandbox.property("web@1.service", "LoadState"), "not-found");
    sandbox.bs9(&["status", "web"]).fails(3);
    sandbox.bs9(&["start", "web"]).fails(3);
}

#[test]
fn what_happens_to_services_is_told_and_recorded() {
    let sandbox = Sandbox::start();
    let _manager = sandbox.manager();
    sandbox.write("app/server.py", APP);
    let told = || -> Vec<Value> {
        let all = sandbox.bs9(&["events", "-n", "1000", "--json"]).json();
        let events = all["events"].as_array().unwrap().iter();
        events.filter(|event| event["service"] == "web").cloned().collect()
    };
    let until = |what: &str, holds: &dyn Fn(&Value) -> bool| -> Value {
        eventually(what, || told().into_iter().rev().find(holds))
    };
    let state = |to: &'static str| move |event: &Value| event["to"] == to;
    start(&sandbox, "web", 3000, &["-e", "TOKEN=geheim", "--restart-delay", "100ms"]).ok();
    let deploy = until("a deploy is told", &|event| event["kind"] == "service_deploy");
    assert!(deploy["ok"] == true && deploy["message"].as_str().unwrap().contains("started web@1"));
    let running = until("it runs", &state("running"));
    assert_eq!((&running["kind"], &running["reason"]), (&"service_state".into(), &Value::Null));

    sandbox.get(3000, "/crash");
    let restart = until("its restart is told", &|event| event["kind"] == "service_restart");
    // On a busy machine the first look may come behind a second restart.
    assert_eq!(restart["unit"], "web@1.service");
    assert!(restart["restarts"].as_u64() >= Some(1), "{restart:#}");
    eventually("it is back", || sandbox.get(3000, "/"));
    sandbox.bs9(&["restart", "web"]).ok();
    let asked = until("a restart by hand is told", &|event| event["restarts"] == 0);
    assert_eq!(asked["reason"], "it was asked for");
    sandbox.bs9(&["reload", "web"]).ok();
    until("a reload is told", &|event| event["kind"] == "service_reload" && event["ok"] == true);
    sandbox.write("app/server.py", "raise SystemExit('no')\n");
    sandbox.bs9(&["reload", "web"]).fails(1);
    let failed = until("a failed one too", &|event| event["ok"] == false);
    // The script itself is broken, so its earlier description does not help, and that is told.
    let message = failed["message"].as_str().unwrap();
    assert!(message.contains("has its earlier description again, and fails"), "{failed}");
    sandbox.bs9(&["stop", "web"]).ok();
    until("it is stopped", &state("stopped"));
    sandbox.bs9(&["delete", "web"]).ok();
    assert_eq!(until("it is gone", &state("deleted"))["from"], "stopped");

    // The log of changes says how things were before and after.
    let log = sandbox.bs9(&["audit", "list", "-n", "1000", "--json"]);
    assert!(!log.stdout.contains("geheim"), "{log:#?}");
    let log = log.json();
    let records: Vec<&Value> =
        log["records"].as_array().unwrap().iter().map(|sealed| &sealed["record"]).collect();
    let ended = |operation: &str, ok: bool| {
        let is_it = |record: &&&Value| {
            record["phase"] == "ended" && record["operation"] == operation && record["ok"] == ok
        };
        *records.iter().find(is_it).unwrap_or_else(|| panic!("no {operation}: {log:#}"))
    };
    let deploy = ended("deploy_service", true);
    assert_eq!(deploy["before"]["web"], Value::Null);
    let after = &deploy["after"]["web"];
    assert_eq!((&after["state"], &after["enabled"]), (&"running".into(), &true.into()));
    assert_eq!(after["definition"]["environment"]["TOKEN"], "(hidden)", "{deploy:#}");
    let restart = ended("restart_service", true);
    let pid = |side: &str| restart[side]["web"]["instances"][0]["pid"].as_u64().unwrap();
    assert_ne!(pid("before"), pid("after"));
    let reload = ended("reload_service", false);
    assert_eq!(reload["before"]["web"]["definition"], reload["after"]["web"]["definition"]);
    let stop = ended("stop_service", true);
    assert_eq!(stop["after"]["web"]["state"], "stopped");
    let delete = ended("delete_service", true);
    assert_eq!(delete["before"]["web"]["state"], "stopped");
    assert_eq!(delete["after"]["web"], Value::Null);
}

#[test]
fn what_cannot_run_is_refused_with_its_reason() {
    let sandbox = Sandbox::start();
    let _manager = sandbox.manager();
    sandbox.write("app/server.py", APP);
    sandbox.write("app/unknown.xyz", "");
    let said = |arguments: &[&str]| {
        let outcome: Outcome = sandbox.bs9(arguments);
        assert_ne!(outcome.code, Some(0), "{outcome:#?}");
        outcome.stderr
    };
    assert!(said(&["start", "app/none.py"]).contains("there is no script"));
    assert!(said(&["start", "app/unknown.xyz"]).contains("chmod +x"));
    assert!(said(&["start", "app/server.py", "--restart", "somtimes"]).contains("on-failure"));
    assert!(said(&["start", "app/server.py", "--system"]).contains("systemd"));
    assert!(said(&["stop", "nobody"]).contains("there is no service `nobody`"));
    // A command that ends at once is not ready, and what it wrote is told.
    let ended = said(&[
        "start",
        "-n",
        "short",
        "--restart",
        "no",
        "--",
        "sh",
        "-c",
        "echo good bye; exit 3",
    ]);
    assert!(ended.contains("exited with 3") && ended.contains("good bye"), "{ended}");
    assert_eq!(sandbox.service("short")["state"], "failed");
    // A port somebody has.
    start(&sandbox, "one", 3000, &[]).ok();
    assert!(said(&["start", "app/server.py", "-n", "two", "-p", "3000"]).contains("port 3000"));
}

#[test]
fn a_crash_is_followed_by_a_restart_and_many_by_longer_and_longer_delays() {
    let sandbox = Sandbox::start();
    let _manager = sandbox.manager();
    sandbox.write("app/server.py", APP);
    start(&sandbox, "web", 3000, &["--restart-delay", "100ms"]).ok();
    let before = sandbox.service("web")["instances"][0]["pid"].clone();
    sandbox.get(3000, "/crash");
    let web = eventually("it is back", || {
        sandbox.get(3000, "/")?;
        Some(sandbox.service("web"))
    });
    assert_ne!(web["instances"][0]["pid"], before);
    assert_eq!(web["instances"][0]["restarts_total"], 1, "{web:#}");

    sandbox.write(
        ".config/bs9/services/bad.toml",
        "command = [\"sh\", \"-c\", \"exit 9\"]\n[restart]\ndelay = \"100ms\"\nmax_delay = \"30s\"\n",
    );
    sandbox.bs9(&["start", "bad"]).fails(1);
    // systemd before 254 has one delay; the manager makes it longer.
    let delay = || sandbox.property("bad@1.service", "RestartUSec");
    eventually("its delay is longer than a second", || {
        let delay = delay();
        (delay.contains("s") && !delay.ends_with("ms") || delay.contains("min")).then_some(())
    });
    let bad = eventually("it waits for its next try", || {
        let bad = sandbox.service("bad");
        (bad["state"] == "starting").then_some(bad)
    });
    assert!(bad["reason"].as_str().unwrap().contains("exited with 9"), "{bad:#}");
    assert!(bad["instances"][0]["restarts_total"].as_u64().unwrap() >= 2, "{bad:#}");
    // A start by hand is not held back by the delay, nor by failures before.
    sandbox.write(".config/bs9/services/bad.toml", "command = [\"sleep\", \"1000\"]\n");
    sandbox.bs9(&["start", "bad"]).ok();
    assert_eq!(sandbox.service("bad")["state"], "running");
}

#[test]
fn it_is_kept_from_what_it_does_not_need() {
    let sandbox = Sandbox::start();
    let _manager = sandbox.manager();
    sandbox.write("app/server.py", APP);
    sandbox.write("app/uploads/keep", "");
    sandbox.write("secret", "geheim");
    start(&sandbox, "web", 3000, &["--write", "app/uploads"]).ok();
    let ask = |what: &str| sandbox.get(3000, what).unwrap();
    for path in ["/usr/x", "/etc/x", "/home/ann/app/x", "/home/bob/letter"] {
        assert_ne!(ask(&format!("/write?{path}")), "written", "{path}");
    }
    // What it can write of an empty home folder is its own, and gone with it.
    ask("/write?/home/ann/x");
    assert!(!sandbox.home().join("x").exists());
    assert_eq!(ask("/write?/home/ann/app/uploads/x"), "written");
    assert!(sandbox.home().join("app/uploads/x").exists());
    for path in ["/home/ann/secret", "/home/bob/letter"] {
        assert_eq!(ask(&format!("/read?{path}")), "No such file or directory", "{path}");
    }
    let inspected = sandbox.bs9(&["inspect", "web", "--json"]).json();
    let exposure = inspected["security"]["exposure"].as_f64().unwrap();
    assert!(exposure < 3.0, "{inspected:#}");
    for effect in inspected["effects"].as_array().unwrap() {
        assert_ne!(effect["holds"], false, "{effect:#}");
    }
    // And what is opened is opened, with its price.
    start(&sandbox, "open", 3100, &["--relax", "home,working-folder"]).ok();
    assert_eq!(sandbox.get(3100, "/read?/home/bob/letter").unwrap(), "private\n");
    assert_eq!(sandbox.get(3100, "/write?/home/ann/app/y").unwrap(), "written");
    let inspected = sandbox.bs9(&["inspect", "open"]).ok();
    assert!(inspected.contains("what breaks in once can stay"), "{inspected}");
}

#[test]
fn logs_are_the_journals_and_can_be_followed() {
    use std::{
        io::{BufRead as _, BufReader},
        process::Stdio,
    };

    let sandbox = Sandbox::start();
    let _manager = sandbox.manager();
    sandbox.write(
        "app/talk.sh",
        "while read -r line < /home/ann/app/pipe; do echo \"said $line\"; done\n",
    );
    sandbox.run("mkfifo", &["/home/ann/app/pipe"]).ok();
    sandbox
        .bs9(&[
            "start",
            "app/talk.sh",
            "-n",
            "talk",
            "--restart",
            "always",
            "--restart-delay",
            "100ms",
        ])
        .ok();
    let say =
        |word: &str| sandbox.run("sh", &["-c", &format!("echo {word} > /home/ann/app/pipe")]).ok();
    say("one");
    let lines = eventually("the line is in the journal", || {
        let logs = sandbox.bs9(&["logs", "talk"]).ok();
        logs.contains("said one").then_some(logs)
    });
    assert!(lines.contains("talk@1"), "{lines}");
    let mut follower = sandbox
        .command(env!("CARGO_BIN_EXE_bs9"))
        .args(["logs", "talk", "--follow", "-n", "1000", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    let mut until = |word: &str| {
        for line in lines.by_ref() {
            let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
            if line["message"].as_str().unwrap().contains(word) {
                return line;
            }
        }
        panic!("no `{word}`");
    };
    assert_eq!(until("said one")["unit"], "talk@1.service");
    say("two");
    until("said two");
    follower.kill().unwrap();
    follower.wait().unwrap();
}

#[test]
fn it_is_scaled_up_and_down_and_fronted() {
    let sandbox = Sandbox::start();
    let _data_plane = sandbox.data_plane(DATA_PLANE);
    let _manager = sandbox.manager();
    sandbox.write("app/server.py", APP);
    start_fronted(&sandbox, &[]).ok();
    assert_eq!(sandbox.get(8000, "/").unwrap(), "one 1");
    assert_eq!(sandbox.get(8000, "/own/").unwrap(), "own");
    let web = sandbox.service("web");
    assert_eq!(web["cluster"]["wired"], true, "{web:#}");

    sandbox.bs9(&["scale", "web", "3"]).ok();
    let web = sandbox.service("web");
    assert_eq!(states(&web), ["active", "active", "active"], "{web:#}");
    let ports: Vec<_> =
        web["instances"].as_array().unwrap().iter().map(|one| one["port"].clone()).collect();
    assert_eq!(ports, [3000, 3001, 3002]);
    for wanted in ["one 1", "one 2", "one 3"] {
        eventually("each instance gets its share", || {
            (sandbox.get(8000, "/").unwrap() == wanted).then_some(())
        });
    }
    // The files are the truth, for the data plane too.
    let text = std::fs::read_to_string(sandbox.home().join("bs9.toml")).unwrap();
    assert!(text.contains("127.0.0.1:3002") && text.contains("path = \"/own/\""), "{text}");
    let definition = sandbox.home().join(".config/bs9/services/web.toml");
    assert!(std::fs::read_to_string(definition).unwrap().contains("instances = 3"));

    sandbox.bs9(&["scale", "web", "-2"]).ok();
    let web = sandbox.service("web");
    assert_eq!((states(&web), &web["state"]), (vec!["active"], &"running".into()), "{web:#}");
    assert_eq!(sandbox.property("web@3.service", "LoadState"), "not-found");
    assert_eq!(sandbox.get(8000, "/").unwrap(), "one 1");
    sandbox.bs9(&["scale", "web", "0"]).fails(2);

    sandbox.bs9(&["delete", "web"]).ok();
    assert_eq!(sandbox.get(8000, "/"), None);
    let text = std::fs::read_to_string(sandbox.home().join("bs9.toml")).unwrap();
    assert!(!text.contains("3000") && !text.contains("cluster"), "{text}");
}

/// `wrk` in the sandbox, against the listener of the data plane.
struct Load(std::process::Child);

impl Load {
    fn start(sandbox: &Sandbox) -> Self {
        let mut wrk = sandbox.command("wrk");
        wrk.args(["-t1", "-c8", "-d120s", "--timeout", "20s", "http://127.0.0.1:8000/"])
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped());
        let load = Self(wrk.spawn().unwrap());
        eventually("load arrives", || (requests(sandbox) > 200).then_some(()));
        load
    }

    /// Fails unless every request was answered well. Returns how many.
    fn end(self, sandbox: &Sandbox) -> u64 {
        sandbox.run("pkill", &["--signal", "INT", "-x", "wrk"]).ok();
        let said = Outcome::of(self.0.wait_with_output().unwrap()).ok();
        for trouble in ["Socket errors", "Non-2xx"] {
            assert!(!said.contains(trouble), "{said}");
        }
        let line = said.lines().find(|line| line.contains("requests in")).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }
}

fn requests(sandbox: &Sandbox) -> u64 {
    let status = sandbox.bs9(&["status", "--json"]).json();
    let listener = &status["data_plane"]["status"]["listeners"][0];
    listener["http"]["requests_total"].as_u64().unwrap_or(0)
}

#[test]
fn a_rolling_reload_under_load_fails_no_request() {
    let sandbox = Sandbox::start();
    let _data_plane = sandbox.data_plane(DATA_PLANE);
    let _manager = sandbox.manager();
    sandbox.write("app/server.py", APP);
    // Long enough for Python on a busy machine; the version below that hangs takes all of it.
    start_fronted(&sandbox, &["-i", "2", "--ready-timeout", "12s"]).ok();
    let load = Load::start(&sandbox);

    sandbox.write("app/server.py", &APP.replace("\"one\"", "\"two\""));
    let said = sandbox.bs9(&["reload", "web"]).ok();
    assert!(said.contains("web@3.service stands in"), "{said}");
    for wanted in ["two 1", "two 2"] {
        eventually("both are new", || (sandbox.get(8000, "/").unwrap() == wanted).then_some(()));
    }
    let web = sandbox.service("web");
    assert_eq!((states(&web).len(), &web["state"]), (2, &"running".into()), "{web:#}");
    assert_eq!(sandbox.property("web@3.service", "LoadState"), "not-found");

    // A version that never becomes ready: nothing changes, and why is told.
    sandbox
        .write("app/server.py", "import time\nprint('thinking', flush=True)\ntime.sleep(1000)\n");
    let before: Vec<_> =
        [1, 2].map(|n| sandbox.property(&format!("web@{n}.service"), "MainPID")).into();
    let refused = sandbox.bs9(&["reload", "web"]).fails(1);
    assert!(refused.contains("goes on serving") && refused.contains("thinking"), "{refused}");
    let after: Vec<_> =
        [1, 2].map(|n| sandbox.property(&format!("web@{n}.service"), "MainPID")).into();
    assert_eq!(before, after, "what served is untouched");
    assert_eq!(sandbox.property("web@3.service", "LoadState"), "not-found");

    // One that crashes at once.
    sandbox.write("app/server.py", "raise SystemExit('no')\n");
    assert!(sandbox.bs9(&["reload", "web"]).fails(1).contains("goes on serving"));
    // And a new description, which comes and goes by its generations.
    sandbox.write("app/server.py", &APP.replace("\"one\"", "\"three\""));
    start_fronted(&sandbox, &["-i", "2", "-e", "GREETING=hello"]).ok();
    assert!(sandbox.get(3000, "/env").unwrap().contains("hello"));
    sandbox.bs9(&["reload", "web", "--back", "1"]).ok();
    assert!(!sandbox.get(3000, "/env").unwrap().contains("hello"));

    let answered = load.end(&sandbox);
    assert!(answered > 200, "{answered} requests is no load");
}

#[test]
fn files_are_applied_with_a_difference_shown_first() {
    let sandbox = Sandbox::start();
    let _manager = sandbox.manager();
    sandbox.write("app/server.py", APP);
    let file = ".config/bs9/services/web.toml";
    let text = |more: &str| format!("script = \"/home/ann/app/server.py\"\nport = 3000\n{more}");
    sandbox.write(file, &text("[environment]\nKEY = \"geheim\"\n"));
    assert_eq!(sandbox.service("web")["state"], "not_applied");
    let planned = sandbox.bs9(&["apply", "--dry-run"]).ok();
    assert!(planned.contains("create web"), "{planned}");
    assert_eq!(sandbox.get(3000, "/"), None);
    // Nobody is there to be asked.
    sandbox.bs9(&["apply"]).fails(1);
    sandbox.bs9(&["apply", "--yes"]).ok();
    assert_eq!(sandbox.get(3000, "/").unwrap(), "one 1");
    assert!(sandbox.bs9(&["apply", "--yes"]).ok().contains("nothing to do"));

    sandbox.write(
        file,
        &text("[environment]\nKEY = \"anders\"\nGREETING = \"hi\"\n[limits]\ntasks = 50\n"),
    );
    assert_eq!(sandbox.service("web")["drifted"], true);
    let planned = sandbox.bs9(&["apply", "--dry-run"]).ok();
    assert!(planned.contains("+ TasksMax=50"), "{planned}");
    assert!(!planned.contains("geheim") && !planned.contains("anders"), "{planned}");
    sandbox.bs9(&["apply", "--yes"]).ok();
    assert!(sandbox.get(3000, "/env").unwrap().ends_with("hi"));
    assert_eq!(sandbox.property("web@1.service", "TasksMax"), "50");

    sandbox.write(file, &text("prot = 1\n"));
    let refused = sandbox.bs9(&["apply", "--yes"]);
    assert_eq!(refused.code, Some(1), "{refused:#?}");
    assert!(refused.stdout.contains("prot") && sandbox.get(3000, "/").is_some(), "{refused:#?}");

    std::fs::remove_file(sandbox.home().join(file)).unwrap();
    assert!(sandbox.bs9(&["apply", "--dry-run"]).ok().contains("remove web"));
    sandbox.bs9(&["apply", "--yes"]).ok();
    assert_eq!(sandbox.property("web@1.service", "LoadState"), "not-found");
}

#[test]
fn services_come_back_by_themselves_and_by_what_was_saved() {
    let sandbox = Sandbox::start();
    let manager = sandbox.manager();
    sandbox.write("app/server.py", APP);
    for (name, port) in [("up", 3000), ("down", 3100)] {
        start(&sandbox, name, port, &[]).ok();
    }
    sandbox.bs9(&["stop", "down"]).ok();
    sandbox.bs9(&["save"]).ok();
    drop(manager);

    // The whole machine goes down and comes up: systemd starts what was enabled.
    let sandbox = Sandbox::start_in(sandbox.end());
    eventually("systemd brings it back without bs9", || sandbox.get(3000, "/"));
    assert_eq!(sandbox.get(3100, "/"), None);
    let manager = sandbox.manager();
    sandbox.bs9(&["delete", "up", "down"]).ok();
    sandbox.bs9(&["save"]).fails(1);
    drop(manager);

    // And with every description gone, what was saved brings them back.
    let sandbox = Sandbox::start_in(sandbox.end());
    let _manager = sandbox.manager();
    assert!(sandbox.bs9(&["list"]).ok().contains("no services"));
    sandbox.bs9(&["resurrect"]).ok();
    assert_eq!(sandbox.get(3000, "/").unwrap(), "one 1");
    assert_eq!(sandbox.service("down")["state"], "not_applied");
}

#[test]
fn a_manager_that_is_killed_in_the_middle_leaves_what_was_asked_for() {
    let sandbox = Sandbox::start();
    let _data_plane = sandbox.data_plane(DATA_PLANE);
    let mut manager = sandbox.manager();
    sandbox.write("app/server.py", APP);
    start_fronted(&sandbox, &["-i", "2"]).ok();
    let load = Load::start(&sandbox);
    for round in 0..6_u64 {
        let reload = sandbox
            .command(env!("CARGO_BIN_EXE_bs9"))
            .args(["reload", "web"])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn();
        let mut reload = reload.unwrap();
        // Another moment of the change each time, told by how many units there are.
        eventually("the change is under way", || {
            let units = sandbox
                .run("systemctl", &["--user", "list-units", "web@*", "--plain", "--no-legend"]);
            (round % 2 == 0 || units.stdout.contains("web@3")).then_some(())
        });
        manager.kill();
        reload.wait().unwrap();
        manager = sandbox.manager();
        sandbox.settled();
        let web = eventually("both instances run, and nothing beside them", || {
            let web = sandbox.service("web");
            let instances = web["instances"].as_array().unwrap().len();
            (instances == 2 && web["state"] == "running" && web["cluster"]["wired"] == true)
                .then_some(web)
        });
        assert_eq!(web["drifted"], false, "{web:#}");
    }
    let answered = load.end(&sandbox);
    assert!(answered > 200, "{answered} requests is no load");
}

#[test]
fn doctor_needs_no_manager() {
    let sandbox = Sandbox::start();
    let found = sandbox.bs9(&["doctor", "--json"]);
    assert_eq!(found.code, Some(7), "there is no system systemd in the sandbox: {found:#?}");
    let findings = found.json()["findings"].as_array().unwrap().clone();
    let verdict = |what: &str| {
        let finding = findings.iter().find(|finding| finding["what"] == what);
        finding.unwrap_or_else(|| panic!("no {what}: {findings:#?}"))["verdict"].clone()
    };
    assert_eq!(verdict("user systemd"), "good");
    assert_eq!(verdict("manager"), "note");
    assert_eq!(verdict("journalctl"), "good");
}
