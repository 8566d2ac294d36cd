//! A service watched for a while, on a real systemd, with real load.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fixture;

use std::{fs, os::unix::fs::PermissionsExt as _};

use fixture::{
    Outcome, eventually,
    http_app::http_app,
    sandbox::{DATA_PLANE, Sandbox},
};
use serde_json::Value;

/// Answers after some work; keeps as many files open as it is told to.
fn app() -> String {
    let begin = r#"kept = [open("/dev/null") for _ in range(int(os.environ.get("FILES", "0")))]"#;
    http_app(begin, "sum(range(20000))")
}

/// It has at least 80 of the 96 files open that it may.
const SERVICE: &str = "script = \"/home/ann/app/server.py\"\nport = 3000\n\
    [environment]\nFILES = \"80\"\n[proxy]\npath = \"/\"\n[limits]\nopen_files = 96\n";

/// A perf that has seen two functions, and tells whom it looked at.
const PERF: &str = r#"#!/bin/sh
case "$1" in
record)
    while [ $# -gt 0 ]; do
        case "$1" in
        --output) output=$2 ;;
        --pid) pids=$2 ;;
        esac
        shift
    done
    echo "$pids" >"$output"
    cp "$output" /home/ann/recorded
    trap 'exit 0' INT
    while :; do sleep 0.05; done
    ;;
script)
    printf 'app\n\t1 hot_function (/app)\n\t2 main (/app)\n\n'
    printf 'app\n\t1 hot_function (/app)\n\t2 main (/app)\n\n'
    printf 'app\n\t3 <cold> (/app)\n\t2 main (/app)\n\n'
    ;;
esac
"#;

fn profile(sandbox: &Sandbox, arguments: &[&str]) -> Outcome {
    let all = [&["profile", "web", "-d", "2s", "-i", "250ms"], arguments].concat();
    sandbox.bs9(&all)
}

/// The same with another `PATH`.
fn with_path(sandbox: &Sandbox, path: &str, arguments: &[&str]) -> Outcome {
    let path = format!("PATH={path}");
    let own = [&path[..], env!("CARGO_BIN_EXE_bs9"), "profile", "web", "-d", "1s", "-i", "200ms"];
    sandbox.run("/usr/bin/env", &[&own, arguments].concat())
}

fn figure<'p>(profile: &'p Value, name: &str) -> &'p Value {
    let all = profile["figures"].as_array().unwrap();
    all.iter()
        .find(|figure| figure["name"] == name)
        .unwrap_or_else(|| panic!("{name}: {profile:#}"))
}

fn rules(profile: &Value) -> Vec<&str> {
    let all = profile["recommendations"].as_array().unwrap();
    all.iter().map(|advice| advice["rule"].as_str().unwrap()).collect()
}

#[test]
fn figures_recommendations_and_a_flame_graph_of_a_service_under_load() {
    let sandbox = Sandbox::start();
    let _data_plane = sandbox.data_plane(DATA_PLANE);
    let _manager = sandbox.manager();
    sandbox.write("app/server.py", &app());
    sandbox.write(".config/bs9/services/web.toml", SERVICE);
    sandbox.bs9(&["apply", "--yes"]).ok();
    let url = "http://127.0.0.1:8000/";
    let _load =
        sandbox.spawn("load.log", &["loadtest", url, "-c", "2", "--rate", "100", "-d", "10m"]);
    eventually("there is load", || {
        let status = sandbox.bs9(&["lb", "status", "--json"]).json().to_string();
        (!status.contains("\"requests_total\":0,")).then_some(())
    });

    let told = profile(&sandbox, &["--json"]);
    assert_eq!(told.code, Some(0), "{told:#?}");
    assert!(told.stderr.contains("profiling web for 2.0 s"), "{}", told.stderr);
    let seen = told.json();
    assert!(seen["looks"].as_u64().unwrap() >= 2, "{seen:#}");
    // A figure has numbers, or it says why it has none.
    for figure in seen["figures"].as_array().unwrap() {
        let numbers = figure["mean"].as_f64();
        assert!(numbers.is_some() || figure["reason"].is_string(), "{figure:#}");
        if let Some(mean) = numbers {
            let of = |name: &str| figure[name].as_f64().unwrap();
            assert!(of("min") <= mean && mean <= of("max") && of("p95") <= of("max"), "{figure:#}");
        }
    }
    let mean = |name: &str| figure(&seen, name)["mean"].as_f64().unwrap();
    assert!(mean("cpu_cores") > 0.0, "{seen:#}");
    assert!(mean("memory_bytes") > 1e6 && mean("memory_bytes") < 1e9, "{seen:#}");
    assert!(mean("threads") >= 1.0 && mean("open_files") >= 80.0, "{seen:#}");
    assert!(mean("requests_per_second") > 0.0, "{seen:#}");

    let traffic = &seen["traffic"];
    assert_eq!(traffic["cluster"], "web", "{traffic:#}");
    assert!(traffic["requests"].as_u64().unwrap() > 0, "{traffic:#}");
    let time = |name: &str| traffic[name].as_f64().unwrap_or_else(|| panic!("{name}: {traffic:#}"));
    assert!(time("p50_seconds") > 0.0, "{traffic:#}");
    assert!(time("p50_seconds") <= time("p95_seconds"), "{traffic:#}");
    assert!(time("p95_seconds") <= time("p99_seconds"), "{traffic:#}");
    assert_eq!(traffic["server_errors"], 0, "its route counts classes: {traffic:#}");
    assert_eq!(traffic["endpoints"][0]["share_ratio"], 1.0, "{traffic:#}");
    assert_eq!(seen["instances"][0]["unit"], "web@1.service", "{seen:#}");

    assert!(rules(&seen).contains(&"open_files_near_limit"), "{seen:#}");
    let advice = seen["recommendations"].as_array().unwrap();
    let files = advice.iter().find(|one| one["rule"] == "open_files_near_limit").unwrap();
    assert_eq!(files["numbers"]["open_files_limit"], 96.0, "{files:#}");
    assert!(files["text"].as_str().unwrap().contains("of 96"), "{files:#}");

    let text = profile(&sandbox, &[]).ok();
    for part in ["FIGURES", "INSTANCES", "TRAFFIC cluster web", "p99", "RECOMMENDATIONS", "of 96"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    flame_graphs(&sandbox);

    sandbox.bs9(&["profile", "nobody", "-d", "1s"]).fails(3);
    sandbox.bs9(&["profile", "web", "-d", "1s", "-i", "2s"]).fails(2);
    sandbox.bs9(&["profile"]).fails(2);
    sandbox.bs9(&["stop", "web"]).ok();
    let said = profile(&sandbox, &[]).fails(1);
    assert!(said.contains("no instance of web runs"), "{said}");
}

fn flame_graphs(sandbox: &Sandbox) {
    // Without perf there is a profile all the same, unless a flame graph was asked for.
    let without = with_path(sandbox, "/nowhere", &["--json"]);
    assert_eq!(without.code, Some(0), "{without:#?}");
    let flame = &without.json()["flame"];
    assert_eq!(flame["state"], "not_possible", "{flame:#}");
    assert_eq!(flame["reason"], "perf is not installed");
    assert!(flame["remedy"].as_str().unwrap().contains("apt install linux-perf"), "{flame:#}");
    let said = with_path(sandbox, "/nowhere", &["--flame", "out.svg"]).fails(7);
    assert!(said.contains("perf is not installed") && said.contains("linux-perf"), "{said}");
    assert!(!sandbox.home().join("out.svg").exists());

    sandbox.write("bin/perf", PERF);
    let program = sandbox.home().join("bin/perf");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let path = "/home/ann/bin:/usr/bin:/bin";
    let seen = with_path(sandbox, path, &["--json", "--flame", "out.svg", "--top", "1"]);
    assert_eq!(seen.code, Some(0), "{seen:#?}");
    let flame = &seen.json()["flame"];
    assert_eq!((&flame["state"], &flame["samples"]), (&"drawn".into(), &3.into()), "{flame:#}");
    let hottest = flame["hottest"].as_array().unwrap();
    assert_eq!(hottest.len(), 1, "{flame:#}");
    assert_eq!(hottest[0]["function"], "hot_function");
    let picture = fs::read_to_string(sandbox.home().join("out.svg")).unwrap();
    assert!(
        picture.starts_with("<svg") && picture.contains("hot_function (2 samples"),
        "{picture}"
    );
    assert!(picture.contains("&lt;cold&gt;") && !picture.contains("<cold>"), "{picture}");
    let recorded = fs::read_to_string(sandbox.home().join("recorded")).unwrap();
    let pid = sandbox.property("web@1.service", "MainPID");
    assert!(recorded.trim().split(',').any(|one| one == pid), "{recorded} {pid}");

    // One that gives up is told in its own words.
    sandbox.write("bin/perf", "#!/bin/sh\necho no such event >&2\nexit 1\n");
    let said = with_path(sandbox, path, &["--flame", "again.svg"]).fails(8);
    assert!(said.contains("no such event"), "{said}");
    assert!(!sandbox.home().join("again.svg").exists());
}

/// Limits of control groups, by a made-up tree: the machine of the test may have another layout.
#[test]
fn what_a_control_group_limits_is_recommended_about() {
    let sandbox = Sandbox::start();
    let config = "[collect]\ninterval = \"100ms\"\ncgroups = \"/home/ann/cgroup\"\n";
    sandbox.write(".config/bs9/manager.toml", config);
    sandbox.write("cgroup/cgroup.controllers", "cpu memory\n");
    let _manager = sandbox.manager();
    sandbox.bs9(&["start", "-n", "web", "--", "sleep", "1000"]).ok();
    let group = sandbox.property("web@1.service", "ControlGroup");
    let pid = sandbox.property("web@1.service", "MainPID");
    let file = |name: &str| format!("cgroup{group}/{name}");
    sandbox.write(&file("memory.current"), "95000000\n");
    sandbox.write(&file("memory.max"), "100000000\n");
    sandbox.write(&file("cpu.stat"), "usage_usec 1000000\nthrottled_usec 0\n");
    sandbox.write(&file("cpu.max"), "max 100000\n");
    sandbox.write(&file("cgroup.procs"), &format!("{pid}\n"));

    let seen = profile(&sandbox, &["--json"]).json();
    let memory = figure(&seen, "memory_limit_ratio");
    assert_eq!((&memory["p95"], &memory["source"]), (&0.95.into(), &"control_group".into()));
    assert_eq!(figure(&seen, "cpu_cores")["max"], 0.0, "it sleeps, which is measured: {seen:#}");
    for (name, reason) in [
        ("cpu_limit_ratio", "there is no limit"),
        ("cpu_pressure_ratio", "cpu.pressure"),
        ("requests_per_second", "no port"),
    ] {
        let figure = figure(&seen, name);
        assert!(figure.get("mean").is_none(), "{figure:#}");
        assert!(figure["reason"].as_str().unwrap().contains(reason), "{figure:#}");
    }
    assert!(seen["traffic"]["reason"].as_str().unwrap().contains("no port"), "{seen:#}");
    assert_eq!(rules(&seen), ["memory_near_limit"], "{seen:#}");
    let text = seen["recommendations"][0]["text"].as_str().unwrap();
    assert!(text.contains("95.0 % of limits.memory_max"), "{text}");

    sandbox.write(&file("memory.current"), "40000000\n");
    let said = profile(&sandbox, &[]).ok();
    assert!(said.contains("nothing: no figure is near a limit"), "{said}");
    assert!(said.contains("cpu pressure: there is no cpu.pressure here"), "{said}");
}
