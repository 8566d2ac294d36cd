//! Both APIs, asked by schemathesis for whatever their documents allow, and for what they do
//! not: nothing breaks, and nothing is answered that is not in the document.
//!
//! `BS9_DEEP` (`make deep`) asks many times more.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fixture;

use std::{path::Path, process::Command};

use fixture::{
    DataPlane, Outcome, Running, eventually,
    sandbox::{self, Sandbox},
    tool, write,
};

/// Settings that make the TCP address answer whatever comes.
const OPEN: &str = "tokens = [{ name = \"fuzz\", role = \"admin\", token = \"fuzz-fuzz-fuzz-fuzz-fuzz\" }]\n\
    rate_limit = { burst = 1_000_000, calls_per_second = 1_000_000, wrong_tokens = 1_000_000 }\n";
const AUTHORIZATION: &str = "Authorization: Bearer fuzz-fuzz-fuzz-fuzz-fuzz";
/// The same examples each time.
const SEED: &str = "20261121";
const EVERYTHING: &str = "coverage,fuzzing";
/// What fits its description may still make no sense, such as a path that does not begin with a
/// slash, and may be about what is not there. It is never called malformed.
const CHECKS: &str =
    "[checks.positive_data_acceptance]\nexpected-statuses = [\"2xx\", 404, 409, 422]\n";

/// What is asked of whom.
struct Round<'a> {
    process: &'a str,
    address: &'a str,
    /// At random, for each operation.
    examples: u32,
    /// `coverage` goes through the edges of every description, `fuzzing` asks at random.
    phases: &'a str,
    /// Of schemathesis, besides [`CHECKS`].
    settings: &'a str,
    /// Which operations, in its words.
    which: &'a [&'a str],
}

impl Round<'_> {
    /// Runs `schemathesis`, a command that finds the program of that name, in `folder`.
    #[track_caller]
    fn run(&self, mut schemathesis: Command, folder: &Path) {
        let document = tool::source_root().join(format!("docs/openapi/{}.json", self.process));
        let config = folder.join("schemathesis.toml");
        write(&config, &format!("{CHECKS}{}", self.settings));
        let times = if std::env::var_os("BS9_DEEP").is_some() { 30 } else { 1 };
        let examples = (self.examples * times).to_string();
        schemathesis
            .current_dir(folder)
            .env("NO_COLOR", "1")
            .arg("--config-file")
            .arg(config)
            .arg("run")
            .arg(document)
            .args(["--url", &format!("http://{}", self.address)])
            .args(["--header", AUTHORIZATION])
            .args(["--phases", self.phases, "--max-examples", &examples, "--seed", SEED])
            .args(["--checks", "all", "--continue-on-failure", "--no-shrink"])
            .args(["--request-timeout", "60", "--max-response-time", "60", "--warnings", "off"])
            .args(self.which);
        let outcome = Outcome::of(schemathesis.output().unwrap());
        assert_eq!(outcome.code, Some(0), "{}\n{}", outcome.stdout, outcome.stderr);
        let tested = outcome.stdout.lines().find_map(|line| line.trim().strip_prefix("Tested: "));
        let tested: u32 = tested.and_then(|number| number.parse().ok()).unwrap_or_default();
        assert!(tested > 5, "{}", outcome.stdout);
    }
}

fn program() -> std::path::PathBuf {
    tool::dependency("schemathesis/bin/schemathesis")
}

/// The TCP address that a data plane says it answers on.
fn admin_address(running: &Running) -> String {
    eventually("it says where it answers", || {
        let log = running.log();
        let line = log.lines().find(|line| line.contains("answering the admin API"))?;
        Some(line.split("tcp=\"").nth(1)?.split('"').next()?.to_owned())
    })
}

#[test]
fn the_data_plane_answers_as_its_document_says() {
    let folder = tempfile::tempdir().unwrap();
    let config = format!(
        "[admin]\nsocket = \"dataplane.sock\"\nlisten = \"127.0.0.1:0\"\n{OPEN}\
         [runtime]\nshards = 1\n\
         [listeners.web]\nbind = [\"127.0.0.1:0\"]\nprotocol = \"http\"\n\
         [[listeners.web.routes]]\npath = \"/api/\"\ncluster = \"api\"\n\
         [clusters.api]\nendpoints = [\"127.0.0.1:1\"]\n\
         [listeners.db]\nbind = [\"127.0.0.1:0\"]\nprotocol = \"postgres\"\n\
         [postgres.databases.app]\nhost = \"127.0.0.1\"\nport = 1\n\
         [postgres.users.app]\npassword = \"x\"\n"
    );
    write(&folder.path().join("bs9.toml"), &config);
    let data_plane = DataPlane::serve_in(folder, "bs9.toml");
    let address = admin_address(&data_plane.running);
    let folder = tempfile::tempdir().unwrap();
    // A drain ends the process; it has tests of its own.
    let everything = ["--exclude-operation-id", "drain"];
    Round {
        process: "dataplane",
        address: &address,
        phases: EVERYTHING,
        examples: 10,
        settings: "",
        which: &everything,
    }
    .run(Command::new(program()), folder.path());
    // Clusters that are there.
    Round {
        process: "dataplane",
        address: &address,
        phases: "fuzzing",
        examples: 10,
        settings: "[parameters]\n\"path.cluster\" = \"api\"\n",
        which: &["--include-path-regex", "^/v1/clusters/"],
    }
    .run(Command::new(program()), folder.path());
    assert_eq!(data_plane.running.ask(&["status"]).code, Some(0), "it runs as before");
}

/// Answers at its port with anything.
const APP: &str = "import http.server, os\n\
    http.server.ThreadingHTTPServer((\"127.0.0.1\", int(os.environ[\"PORT\"])), \
    http.server.SimpleHTTPRequestHandler).serve_forever()\n";

/// In the sandbox, where a real systemd carries out what is asked for at random.
#[test]
fn the_manager_answers_as_its_document_says() {
    let sandbox = Sandbox::start();
    let _data_plane = sandbox.data_plane(sandbox::DATA_PLANE);
    let address = "127.0.0.1:9902";
    sandbox.write("manager.toml", &format!("[admin]\nlisten = \"{address}\"\n{OPEN}"));
    let _manager = sandbox.spawn("manager.log", &["manager", "--config", "/home/ann/manager.toml"]);
    eventually("the manager answers", || {
        (sandbox.bs9(&["list", "--json"]).code == Some(0)).then_some(())
    });
    sandbox.write("app/server.py", APP);
    let started =
        ["start", "app/server.py", "-n", "web", "-p", "3000", "--health", "/", "--route", "/"];
    sandbox.bs9(&started).ok();

    let folder = tempfile::tempdir().unwrap();
    // A service that is there. It is not deleted, as nothing would be there then; nor scaled,
    // which at its limit starts 512 processes.
    Round {
        process: "manager",
        address,
        phases: "fuzzing",
        examples: 4,
        settings: "[parameters]\n\"path.service\" = \"web\"\n",
        which: &[
            "--include-path-regex",
            "^/v1/services/",
            "--exclude-operation-id",
            "delete_service",
            "--exclude-operation-id",
            "scale_service",
        ],
    }
    .run(sandbox.beside(&program()), folder.path());
    sandbox.bs9(&["start", "web"]).ok();
    assert_eq!(sandbox.service("web")["state"], "running", "it runs as before");

    // Everything; names that were answered are asked about, so that service may be gone after
    // it. The answer to `event_stream` has no end; it has tests of its own.
    let everything = ["--exclude-operation-id", "event_stream"];
    Round {
        process: "manager",
        address,
        phases: EVERYTHING,
        examples: 10,
        settings: "",
        which: &everything,
    }
    .run(sandbox.beside(&program()), folder.path());
    sandbox.bs9(&["audit", "verify"]).ok();
}
