//! What each command shows, for people and for programs, of a machine with a data plane,
//! a manager and a service: the words of the tables, the fields and types of the JSON.
//!
//! Numbers, addresses and times are another each time, so they are left out; `doctor` and
//! `inspect` depend on the machine, so their tables are looked at by their words only.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fixture;

use std::collections::BTreeMap;

use fixture::{eventually, sandbox::Sandbox};
use regex::Regex;
use serde_json::{Map, Value};

const DATA_PLANE: &str = "[runtime]\nshards = 1\n\
    [listeners.web]\nbind = [\"127.0.0.1:8000\"]\nprotocol = \"http\"\n\
    [[listeners.web.routes]]\npath = \"/api/\"\ncluster = \"api\"\n\
    [clusters.api]\nendpoints = [\"127.0.0.1:3900\"]\n\
    [listeners.db]\nbind = [\"127.0.0.1:6432\"]\nprotocol = \"postgres\"\n\
    [postgres.databases.app]\nhost = \"127.0.0.1\"\nport = 1\n\
    [postgres.users.app]\npassword = \"x\"\n";

const APP: &str = "import http.server, os\n\
    address = (\"127.0.0.1\", int(os.environ[\"PORT\"]))\n\
    http.server.HTTPServer(address, http.server.SimpleHTTPRequestHandler).serve_forever()\n";

/// Commands that show something and end.
const COMMANDS: [&[&str]; 18] = [
    &["status"],
    &["status", "web"],
    &["list"],
    &["loadbalancer", "status"],
    &["loadbalancer", "config"],
    &["loadbalancer", "routes"],
    &["loadbalancer", "routes", "/api/x"],
    &["loadbalancer", "weight", "127.0.0.1:3900", "5", "--cluster", "api"],
    &["dbpool", "stats"],
    &["dbpool", "clients"],
    &["dbpool", "servers"],
    &["scale", "web", "1"],
    &["save"],
    &["apply", "--dry-run"],
    &["audit", "list", "-n", "1"],
    &["audit", "verify"],
    &["token", "create", "grafana", "--role", "viewer"],
    &["token", "list"],
];

/// Those whose tables depend on the machine, and words they have anywhere.
const OF_THE_MACHINE: [(&[&str], &[&str]); 3] = [
    (&["inspect", "web"], &["security", "NoNewPrivileges", "ProtectSystem"]),
    (&["doctor"], &["WHAT", "FOUND", "systemd"]),
    (&["metrics", "host", "--since", "1m"], &["memory", "cpu"]),
];

/// Words without what is another each time, and without what a column's width depends on.
fn words(text: &str) -> String {
    let replace = [
        // That happens on a busy machine.
        (r"(?m)^ *shard \d+ (stood|stands) still.*\n", ""),
        (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[^\s]*", "TIME"),
        (r"bs9_[0-9a-f]{64}", "TOKEN"),
        (r"\b[0-9a-f]{8,64}\b", "HASH"),
        (r"\d+(\.\d+)? ?(µs|ms|s|B|KiB|MiB|GiB|%|m \d+s)(\b|$|\s)", "N "),
        (r"\d+(\.\d+)?", "N"),
        (r"[ \t]+", " "),
    ];
    let plain = replace.iter().fold(text.to_owned(), |text, (pattern, with)| {
        Regex::new(pattern).unwrap().replace_all(&text, *with).into_owned()
    });
    plain.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

/// The fields and types of an answer. What a map's keys are is data where they name
/// things, and elements of an array are taken together.
fn shape(value: &Value) -> Value {
    match value {
        Value::Null => "null".into(),
        Value::Bool(_) => "boolean".into(),
        Value::Number(_) => "number".into(),
        Value::String(_) => "string".into(),
        Value::Array(items) => {
            Value::Array(items.iter().map(shape).reduce(together).into_iter().collect())
        }
        Value::Object(fields) => {
            // Not every machine lets a shard be pinned.
            let known = |name: &str| (name == "core").then(|| "number or null".into());
            let shape = |(name, value): (&String, &Value)| {
                (name.clone(), known(name).unwrap_or_else(|| shape(value)))
            };
            // A busy machine may have held a shard up.
            fields.iter().filter(|(name, _)| *name != "last_stall").map(shape).collect()
        }
    }
}

/// What either has.
fn together(one: Value, other: Value) -> Value {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            let mut all: BTreeMap<String, Value> = one.into_iter().collect();
            for (name, value) in other {
                let merged = match all.remove(&name) {
                    Some(known) => together(known, value),
                    None => value,
                };
                all.insert(name, merged);
            }
            Value::Object(all.into_iter().collect::<Map<_, _>>())
        }
        (Value::Array(one), Value::Array(other)) => {
            Value::Array(one.into_iter().chain(other).reduce(together).into_iter().collect())
        }
        (one, other) if one == other || other == "null" => one,
        (one, other) if one == "null" => other,
        (one, _) => one,
    }
}

#[test]
fn each_command_shows_a_table_and_json() {
    let sandbox = Sandbox::start();
    let _data_plane = sandbox.data_plane(DATA_PLANE);
    let _manager = sandbox.manager();
    sandbox.write("app/web.py", APP);
    sandbox.bs9(&["start", "app/web.py", "-n", "web", "-p", "3000"]).ok();
    eventually("the manager has seen the data plane", || {
        let status = sandbox.bs9(&["status", "--json"]).json();
        let (seen, rates) = (&status["data_plane"]["status"], &status["data_plane"]["rates"]);
        // The service is a cluster beside the one of the file.
        let all = seen["clusters"].as_array().is_some_and(|clusters| clusters.len() == 2);
        (all && rates.is_object()).then_some(())
    });
    // What is a rate takes two looks.
    for what in ["host", "web"] {
        eventually("it is measured", || {
            let said = sandbox.bs9(&["metrics", what, "--since", "1m"]);
            let all = ["memory", "cpu"].iter().all(|word| said.stdout.contains(word));
            (said.code == Some(0) && all).then_some(())
        });
    }
    for command in COMMANDS {
        let name = command.join("_").replace(['/', ':', '.'], "_");
        // Of what changes something, JSON is asked for with another name.
        let renamed: Vec<_> = command
            .iter()
            .map(|word| if *word == "grafana" { "prometheus" } else { *word })
            .collect();
        let text = sandbox.bs9(command);
        assert!(matches!(text.code, Some(0 | 1)), "{command:?}: {text:#?}");
        insta::assert_snapshot!(format!("table_{name}"), words(&text.stdout));
        let json = sandbox.bs9(&[&renamed[..], &["--json"]].concat());
        // Some write a document a line.
        let documents = serde_json::Deserializer::from_str(&json.stdout).into_iter::<Value>();
        let shapes: Vec<_> = documents
            .map(|document| shape(&document.unwrap_or_else(|error| panic!("{error}: {json:#?}"))))
            .collect();
        assert!(!shapes.is_empty(), "{command:?} --json: {json:#?}");
        let merged = shapes.into_iter().reduce(together).unwrap();
        insta::assert_snapshot!(
            format!("json_{name}"),
            serde_json::to_string_pretty(&merged).unwrap()
        );
    }
    for (command, words) in OF_THE_MACHINE {
        let text = sandbox.bs9(command);
        for word in words {
            assert!(text.stdout.contains(word), "{command:?} says {word}: {text:#?}");
        }
        let json = sandbox.bs9(&[command, &["--json"]].concat());
        let document: Value = serde_json::from_str(&json.stdout).unwrap();
        assert_eq!(document["schema"], 1, "{command:?}");
    }
}
