//! What depends on what, on a real systemd with real connections.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fixture;

use fixture::{
    eventually,
    sandbox::{DATA_PLANE, Sandbox},
};
use serde_json::Value;

/// Answers; with `PEER` it keeps a connection to that port open, with `REMOTE` one to that Unix
/// socket, which another has as `LOCAL`.
const APP: &str = r#"
import http.server, os, socket

peer = os.environ.get("PEER")
kept = peer and socket.create_connection(("127.0.0.1", int(peer)))
# The names of Unix sockets that are in no file system begin with a null byte.
local, remote = os.environ.get("LOCAL"), os.environ.get("REMOTE")
here, there = (socket.socket(socket.AF_UNIX) for _ in range(2))
if local:
    here.bind("\0" + local)
    here.listen()
if remote:
    there.connect("\0" + remote)

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(204)
        self.end_headers()
    def log_message(self, *_):
        pass

http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"#;

#[test]
fn unix_sockets_that_are_open_say_who_needs_whom() {
    let sandbox = Sandbox::start();
    let data_plane = format!(
        "{DATA_PLANE}[listeners.local]\nbind = [\"unix:/run/front.sock\"]\nprotocol = \"http\"\n\
         [[listeners.local.routes]]\nrespond = {{ status = 204 }}\n"
    );
    let _data_plane = sandbox.data_plane(&data_plane);
    let _manager = sandbox.manager();
    sandbox.write("app/server.py", APP);
    let front = "import socket, time\nkept = socket.socket(socket.AF_UNIX)\n\
                 kept.connect(\"/run/front.sock\")\ntime.sleep(3600)\n";
    sandbox.write("app/front.py", front);
    let start = |arguments: &[&str]| sandbox.bs9(&[&["start"], arguments].concat()).ok();
    start(&["app/server.py", "-n", "store", "-p", "3200", "-e", "LOCAL=store"]);
    start(&["app/server.py", "-n", "api", "-p", "3100", "-e", "REMOTE=store"]);
    start(&["app/front.py", "-n", "client"]);
    let found = eventually("the connections are seen", || {
        let found = sandbox.bs9(&["deps", "--json"]).json();
        let rows = edges(&found);
        ["service:api → service:store by socket", "service:client → listener:local by socket"]
            .iter()
            .all(|wanted| rows.iter().any(|row| row == wanted))
            .then_some(found)
    });
    let all = found["edges"].as_array().unwrap();
    let store = all.iter().find(|edge| edge["to"] == "service:store").unwrap();
    assert_eq!(store["detail"], "unix:@store");
    let nodes = found["nodes"].as_array().unwrap();
    let store = nodes.iter().find(|node| node["id"] == "service:store").unwrap();
    assert_eq!(store["health"], "good");
    assert!(!found.to_string().contains("journal"), "{found:#}");
    assert_eq!(found["unavailable"], serde_json::json!([]), "{found:#}");
}

fn edges(found: &Value) -> Vec<String> {
    let word = |edge: &Value, name: &str| edge[name].as_str().unwrap().to_owned();
    let row = |edge: &Value| {
        format!("{} → {} by {}", word(edge, "from"), word(edge, "to"), word(edge, "source"))
    };
    found["edges"].as_array().unwrap().iter().map(row).collect()
}

#[test]
fn who_needs_whom_and_what_says_so() {
    let sandbox = Sandbox::start();
    let _data_plane = sandbox.data_plane(DATA_PLANE);
    let _manager = sandbox.manager();
    sandbox.write("app/server.py", APP);
    let secret = ["hunter", "2"].concat();
    let database = format!("DATABASE_URL=postgres://app:{secret}@db.internal/app");
    let start = |name: &str, port: &str, more: &[&str]| {
        let mut arguments = vec!["start", "app/server.py", "-n", name, "-p", port];
        arguments.extend(more);
        sandbox.bs9(&arguments).ok();
    };
    start("store", "3200", &[]);
    start("api", "3100", &["-e", "PEER=3200", "-e", &database]);
    start("web", "3000", &["--route", "/", "-e", "API_URL=http://localhost:3100/v1"]);

    let found = eventually("the connection is seen", || {
        let found = sandbox.bs9(&["deps", "--json"]).json();
        let connected = "service:api → service:store by socket".to_owned();
        edges(&found).contains(&connected).then_some(found)
    });
    let rows = edges(&found);
    for wanted in [
        "listener:web → service:web by proxy",
        "service:web → service:api by environment",
        "service:api → outside:db.internal:5432 by environment",
    ] {
        assert!(rows.iter().any(|row| row == wanted), "{wanted}: {rows:#?}");
    }
    let nodes = found["nodes"].as_array().unwrap();
    let health = |id: &str| nodes.iter().find(|node| node["id"] == id).unwrap()["health"].clone();
    assert_eq!((health("service:store"), health("listener:web")), ("good".into(), "good".into()));
    assert_eq!(found["cycles"], serde_json::json!([]));

    let around = sandbox.bs9(&["deps", "store", "--json"]).json();
    assert!(!edges(&around).iter().any(|row| row.contains("db.internal")), "{around:#}");
    let tree = sandbox.bs9(&["deps"]).ok();
    let [web, api, store] = ["● web service", "● api service", "● store service"]
        .map(|line| tree.find(line).unwrap_or_else(|| panic!("{line}: {tree}")));
    assert!(web < api && api < store, "{tree}");
    assert!(sandbox.bs9(&["deps", "-f", "dot"]).ok().starts_with("digraph"));
    sandbox.bs9(&["deps", "-f", "svg", "-o", "deps.svg"]).ok();
    let picture = std::fs::read_to_string(sandbox.home().join("deps.svg")).unwrap();
    assert!(picture.starts_with("<svg") && picture.contains("db.internal"), "{picture}");
    for text in [&found.to_string(), &tree, &picture] {
        assert!(!text.contains(&secret), "{text}");
    }

    // What needs each other is told, and what is down is seen.
    sandbox.bs9(&["stop", "store"]).ok();
    start("a", "3300", &["-e", "B=http://127.0.0.1:3400"]);
    start("b", "3400", &["-e", "A=127.0.0.1:3300"]);
    let found = sandbox.bs9(&["deps", "--json"]).json();
    assert_eq!(found["cycles"], serde_json::json!([["service:a", "service:b"]]));
    let nodes = found["nodes"].as_array().unwrap();
    assert!(nodes.iter().any(|node| node["id"] == "service:store" && node["health"] == "bad"));
    let told = sandbox.bs9(&["deps"]);
    assert!(told.stderr.contains("need each other"), "{told:#?}");
    sandbox.bs9(&["deps", "nobody"]).fails(3);
}
