//! The audit of a service's source, by itself and before a start.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fixture;

use fixture::{bs9, sandbox::Sandbox};
use serde_json::Value;

const SERVER: &str = "import http.server, os\n\
    http.server.HTTPServer(('127.0.0.1', int(os.environ['PORT'])), http.server.SimpleHTTPRequestHandler).serve_forever()\n";

/// Runs what a request says; never imported by anything but the audit.
const UNSAFE: &str = "import os, subprocess\nfrom http.server import *\n\n\
    class Handler(BaseHTTPRequestHandler):\n    def do_GET(self):\n        \
    subprocess.run('ls ' + self.path, shell=True)\n\n\
    HTTPServer(('127.0.0.1', int(os.environ['PORT'])), Handler).serve_forever()\n";

fn rules(audit: &Value, severity: &str) -> Vec<String> {
    let findings = audit["findings"].as_array().unwrap().iter();
    findings
        .filter(|finding| finding["severity"] == severity)
        .map(|finding| finding["rule"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_file_is_audited_without_anybody_to_ask() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("app.js");
    let token = ["gh", "p_aB3dE5fG7hJ9kL1mN3pQ5rS7tU9vW1xY3zA5"].concat();
    fixture::write(&file, &format!("const token = '{token}'\neval(req.body.code)\n"));
    let path = file.to_str().unwrap();
    for arguments in [vec!["doctor", path], vec!["start", path, "--check"]] {
        let said = bs9(&arguments);
        assert_eq!(said.code, Some(1), "{said:#?}");
        assert!(said.stdout.contains("app.js:2:1") && said.stdout.contains("→"), "{said:#?}");
        assert!(!said.stdout.contains(&token[4..]), "{said:#?}");
        let json = bs9(arguments.iter().copied().chain(["--json"]));
        assert!(!json.stdout.contains(&token[4..]), "{json:#?}");
        let audit = json.json();
        assert_eq!((&audit["startable"], &audit["schema"]), (&false.into(), &1.into()));
        assert_eq!(rules(&audit, "blocking"), ["secret-in-source", "eval-with-input"]);
    }
    fixture::write(&file, "console.log('eval(req.body)')\n");
    bs9(["doctor", path]).ok();
    bs9(["start", path, "--check"]).ok();
}

#[test]
fn what_is_found_keeps_a_service_from_starting_until_somebody_insists() {
    let sandbox = Sandbox::start();
    let _manager = sandbox.manager();
    sandbox.write("app/server.py", UNSAFE);
    let start = ["start", "app/server.py", "-n", "web", "-p", "3000"];
    let refused = sandbox.bs9(&start).fails(1);
    assert!(refused.contains("/home/ann/app/server.py:6:"), "{refused}");
    assert!(refused.contains("shell-with-input") && refused.contains("--force"), "{refused}");
    assert!(sandbox.bs9(&["list"]).ok().contains("no services"), "nothing was written");

    let forced: Vec<_> = start.iter().copied().chain(["--force"]).collect();
    let said = sandbox.bs9(&forced);
    assert_eq!(said.code, Some(0), "{said:#?}");
    assert!(said.stderr.contains("forced in spite of shell-with-input"), "{said:#?}");
    // It is in the audit log that somebody insisted.
    let records = sandbox.bs9(&["audit", "list", "--json"]).ok();
    assert!(records.contains("\"force\": true") || records.contains("\"force\":true"), "{records}");

    // What was accepted is accepted, and nothing else.
    let audit = sandbox.bs9(&["doctor", "web", "--json"]).json();
    assert_eq!(
        (&audit["startable"], &audit["findings"][0]["accepted"]),
        (&true.into(), &true.into())
    );
    sandbox.bs9(&["reload", "web"]).ok();
    sandbox.write("app/server.py", &UNSAFE.replace("'ls '", "'cat '"));
    let refused = sandbox.bs9(&["restart", "web"]).fails(1);
    assert!(refused.contains("shell-with-input"), "{refused}");
    assert!(sandbox.get(3000, "/").is_some() || sandbox.service("web")["state"] == "running");
    sandbox.bs9(&["doctor", "web"]).fails(1);
    sandbox.bs9(&["stop", "web"]).ok();
    sandbox.bs9(&["start", "web"]).fails(1);
    sandbox.bs9(&["start", "web", "--force"]).ok();

    // A service that is deleted is forgotten.
    sandbox.bs9(&["delete", "web"]).ok();
    sandbox.bs9(&start).fails(1);
    sandbox.write("app/server.py", SERVER);
    let said = sandbox.bs9(&start).ok();
    assert!(said.contains("started web@1.service"), "{said}");
    sandbox.run("chmod", &["666", "app/server.py"]).ok();
    let refused = sandbox.bs9(&["reload", "web"]).fails(1);
    assert!(refused.contains("everybody on this machine"), "{refused}");
    assert_eq!(sandbox.service("web")["state"], "running");
}
