//! Test suites of drivers, run by the drivers' own tests: against the server, and against pools in
//! session and in transaction mode. A test that passes there and not here has to be explained in
//! `docs/POOL-COMPATIBILITY.md`, which is read for that.
//!
//! `make test` runs some of their files, `make drivers` (`BS9_DEEP=1`) all of them, and those that
//! have to be compiled or come from a checkout.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and tells what it compared"
)]

#[path = "suites/explained.rs"]
mod explained;
mod fixture;
#[path = "suites/results.rs"]
mod results;
#[path = "suites/side.rs"]
mod side;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use explained::Explained;
use fixture::{
    relay::Relay,
    run,
    tool::{dependency, source_root},
};
use results::Results;
use side::{DATABASE, Side};

/// A suite that pytest runs.
struct Suite<'a> {
    name: &'static str,
    folder: PathBuf,
    /// Where in it the tests are.
    tests: &'static str,
    /// Files, without which all there are.
    some: &'a [&'a str],
    /// Never run: they test no server, or not this one.
    without: &'a [&'a str],
    arguments: &'a [&'a str],
}

fn is_deep() -> bool {
    std::env::var_os("BS9_DEEP").is_some()
}

impl Suite<'_> {
    /// Runs it against a server of its own.
    fn run(&self, side: &Side) -> Results {
        let mut pytest = Command::new(dependency("suites/venv/bin/python"));
        pytest.args(["-m", "pytest", "-q", "-rA", "--tb=no", "--timeout=180", "-o", "addopts="]);
        pytest.args(["-p", "no:randomly", "-o"]);
        pytest.arg(format!("cache_dir={}", side.folder().join("cache").display()));
        pytest.args(self.arguments);
        for left_out in self.without {
            pytest.args(["--ignore", &format!("{}/{left_out}", self.tests)]);
        }
        match is_deep() || self.some.is_empty() {
            true => _ = pytest.arg(self.tests),
            false => {
                _ = pytest.args(self.some.iter().map(|file| format!("{}/{file}", self.tests)));
            }
        }
        pytest.current_dir(&self.folder).envs(side.environment());
        pytest.env("PYTHONDONTWRITEBYTECODE", "1");
        let output = pytest.output().unwrap_or_else(|error| panic!("python: {error}; make deps"));
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let results = Results::of_pytest(&said);
        assert!(results.passed() > 0, "{said}\n{}", String::from_utf8_lossy(&output.stderr));
        results
    }

    fn compare(&self) {
        compare(self.name, |side| self.run(side));
    }
}

/// Runs a suite on each side; what fails in a pool alone has to be explained.
fn compare(suite: &'static str, run: impl Fn(&Side) -> Results + Sync) {
    let explained = Explained::read(&source_root().join("docs/POOL-COMPATIBILITY.md"));
    let [direct, session, transaction] = thread::scope(|scope| {
        let run = &run;
        [None, Some("session"), Some("transaction")]
            .map(|mode| scope.spawn(move || run(&Side::start(mode))))
            .map(|thread| thread.join().unwrap())
    });
    assert!(direct.passed() * 10 >= direct.count() * 8, "{suite} fails without a pool: {direct}");
    println!("{suite} at a server fails {:?}", direct.failed());
    println!("{suite}: direct {direct}; session {session}; transaction {transaction}");
    let mut unexplained = Vec::new();
    for (mode, pooled) in [("session", session), ("transaction", transaction)] {
        for test in direct.passed_only_in(&pooled) {
            match explained.why(suite, mode, &test) {
                Some(why) => println!("{mode} {test}: {why}"),
                None => unexplained.push(format!("{mode} {test}")),
            }
        }
    }
    assert!(unexplained.is_empty(), "{suite}, in a pool alone:\n{}", unexplained.join("\n"));
}

#[test]
fn psycopg2() {
    Suite {
        name: "psycopg2",
        folder: dependency("suites/psycopg2"),
        tests: "tests",
        some: &[
            "test_connection.py",
            "test_copy.py",
            "test_cursor.py",
            "test_lobject.py",
            "test_transaction.py",
        ],
        without: &[],
        arguments: &[],
    }
    .compare();
}

#[test]
fn asyncpg() {
    // Beside asyncpg's sources the tests would find those, not compiled.
    let folder = tempfile::tempdir().unwrap();
    let tests = dependency("suites/asyncpg/tests");
    run("cp", &["-r", tests.to_str().unwrap(), folder.path().to_str().unwrap()]).ok();
    Suite {
        name: "asyncpg",
        folder: folder.path().to_owned(),
        tests: "tests",
        some: &["test_cache_invalidation.py", "test_prepare.py", "test_transaction.py"],
        // They start servers of their own, or look at asyncpg's sources.
        without: &[
            "test__sourcecode.py",
            "test_adversity.py",
            "test_connect.py",
            "test_subinterpreters.py",
        ],
        arguments: &[],
    }
    .compare();
}

#[test]
fn pg8000() {
    Suite {
        name: "pg8000",
        folder: dependency("suites/pg8000"),
        tests: "test",
        some: &[
            "dbapi/test_copy.py",
            "dbapi/test_dbapi.py",
            "native/test_core.py",
            "native/test_prepared_statement.py",
            "native/test_query.py",
        ],
        // They set up a server's ways to log in, or tell how fast it is, or read documentation.
        without: &[
            "dbapi/auth",
            "legacy/auth",
            "native/auth",
            "dbapi/test_benchmarks.py",
            "legacy/test_benchmarks.py",
            "native/test_benchmarks.py",
            "test_readme.py",
        ],
        arguments: &[],
    }
    .compare();
}

/// Runs the tests that a package of node-postgres was released with, all of them in every run:
/// they take seconds.
fn mocha(package: &'static str, without: &[&str]) {
    let folder = dependency("suites/node");
    let tests = format!("node_modules/{package}/test");
    let listed = fs::read_dir(folder.join(&tests)).unwrap();
    let mut files: Vec<String> = listed
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .filter(|file| file.ends_with(".js") && !without.contains(&file.as_str()))
        .map(|file| format!("{tests}/{file}"))
        .collect();
    files.sort_unstable();
    compare(package, |side| {
        let report = side.folder().join("report.json");
        let output = Command::new("node")
            .args(["node_modules/mocha/bin/mocha.js", "--exit", "--reporter", "json"])
            .args(["--reporter-option", &format!("output={}", report.display())])
            .args(&files)
            .current_dir(&folder)
            .envs(side.environment())
            .output()
            .unwrap_or_else(|error| panic!("node: {error}; make deps"));
        let report = fs::read_to_string(&report)
            .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
        Results::of_mocha(&report)
    });
}

#[test]
fn node_postgres_cursors() {
    mocha("pg-cursor", &[]);
}

#[test]
fn node_postgres_pool() {
    // They end the whole run: a program of its own, and what does so at a newer pg's warnings.
    mocha("pg-pool", &["idle-timeout-exit.js", "setup.js"]);
}

#[test]
#[ignore = "its package has no tests: make drivers PSYCOPG=<a checkout of psycopg 3>"]
fn checkout_of_psycopg() {
    let folder = std::env::var_os("PSYCOPG").expect("PSYCOPG= names a checkout of psycopg 3");
    Suite {
        name: "psycopg",
        folder: folder.into(),
        tests: "tests",
        some: &[],
        // psycopg_pool, which is about itself, and another database.
        without: &["pool", "crdb"],
        arguments: &["-m", "not slow and not timing and not mypy and not subprocess"],
    }
    .compare();
}

#[test]
#[ignore = "its own package has no tests: make drivers NODE_POSTGRES=<packages/pg of a checkout>"]
fn checkout_of_node_postgres() {
    let folder = std::env::var_os("NODE_POSTGRES").expect("NODE_POSTGRES= names packages/pg");
    let folder = PathBuf::from(folder);
    let listed = Command::new("find")
        .args(["test/integration", "-name", "*-tests.js"])
        .current_dir(&folder)
        .output()
        .unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    compare("node-postgres", |side| {
        let outcome = |file: &str| {
            let mut node = Command::new("timeout");
            node.args(["60", "node", file]).current_dir(&folder).envs(side.environment());
            let ended = node.env("PGTESTNOSSL", "true").output().unwrap();
            (file.to_owned(), ended.status.success())
        };
        Results::from_iter(listed.lines().map(outcome))
    });
}

#[test]
#[ignore = "compiles for minutes: make drivers"]
fn tokio_postgres() {
    let work = tempfile::tempdir().unwrap();
    let relay = Relay::start();
    let program = compile_tokio_postgres(work.path(), relay.address.port());
    // One port is compiled in: one side after the other.
    let alone = std::sync::Mutex::new(());
    compare("tokio-postgres", |side| {
        let _turn = alone.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        relay.lead_to(side.address());
        let output = Command::new(&program)
            .args(["--test-threads", "4"])
            .current_dir(work.path())
            .env("RUST_BACKTRACE", "0")
            .output()
            .unwrap();
        Results::of_libtest(&String::from_utf8_lossy(&output.stdout))
    });
}

/// The suite that tokio-postgres is released with, told where the server is. The path of the
/// program.
fn compile_tokio_postgres(work: &Path, port: u16) -> PathBuf {
    let root = source_root();
    let manifest = root.join("Cargo.toml");
    let told = run(
        env!("CARGO"),
        &[
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--manifest-path",
            manifest.to_str().unwrap(),
        ],
    );
    let packages = told.json()["packages"].take();
    let found = packages.as_array().unwrap().iter().find(|one| one["name"] == "tokio-postgres");
    let released = Path::new(found.unwrap()["manifest_path"].as_str().unwrap()).parent().unwrap();
    run("cp", &["-r", "--no-preserve=mode", released.to_str().unwrap(), work.to_str().unwrap()])
        .ok();
    let own = work.join(released.file_name().unwrap());
    for file in ["main.rs", "runtime.rs"] {
        let path = own.join("tests/test").join(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains("5433"), "the port in {file}");
        fs::write(&path, text.replace("5433", &port.to_string())).unwrap();
    }
    // No part of this workspace.
    let mut manifest = fs::read_to_string(own.join("Cargo.toml")).unwrap();
    manifest.push_str("\n[workspace]\n");
    fs::write(own.join("Cargo.toml"), manifest).unwrap();
    let built = Command::new(env!("CARGO"))
        .args(["test", "--no-run", "--test", "test", "--message-format", "json", "--quiet"])
        .current_dir(&own)
        .env("CARGO_TARGET_DIR", root.join("target/suites"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&built.stdout);
    let program = said.lines().find_map(|line| {
        let artifact: serde_json::Value = serde_json::from_str(line).ok()?;
        Some(PathBuf::from(artifact["executable"].as_str()?))
    });
    program.unwrap_or_else(|| panic!("{said}\n{}", String::from_utf8_lossy(&built.stderr)))
}

#[test]
fn what_is_explained_is_read() {
    let document = source_root().join("docs/POOL-COMPATIBILITY.md");
    let explained = Explained::read(&document);
    let test = "tests/test_connection.py::TestConnectionInfo::test_backend_pid";
    assert!(explained.why("psycopg2", "session", test).is_some());
    assert!(explained.why("psycopg2", "session", "tests/test_nothing.py::x").is_none());
    assert!(explained.why("another", "session", test).is_none());
    assert_eq!(DATABASE, "drivers");
}
