//! PostgreSQL itself: every way to log in, every way to ask.

use std::{
    fs::{self, Permissions},
    io::Write as _,
    net::TcpListener,
    os::unix::{
        fs::{PermissionsExt as _, chown},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use bs9_loadtest::{FailureKind, Options, QueryMode, RunError, Script, TlsOptions};
use tempfile::TempDir;

use crate::{attempt, report, requests, tls_server::Authority};

const USERS: [&str; 4] = ["scram", "md5", "plain", "trusted"];

/// A server of this test's own.
pub(crate) struct Cluster {
    folder: TempDir,
    programs: PathBuf,
    account: Option<(u32, u32)>,
    port: u16,
}

impl Cluster {
    pub(crate) fn start() -> Self {
        Self::start_with(|_| String::new())
    }

    /// With more settings, for which `prepare` may put files into the folder of its data.
    fn start_with(prepare: impl FnOnce(&Path) -> String) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let account = account();
        if let Some((uid, gid)) = account {
            chown(folder.path(), Some(uid), Some(gid)).unwrap();
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let cluster = Self { folder, programs: programs(), account, port };
        let encoding = ["--encoding=UTF8", "--no-locale", "--no-sync", "-U", "postgres"];
        cluster.run(cluster.command("initdb").args(["-D", "data"]).args(encoding));
        cluster.furnish();
        let more = prepare(&cluster.folder.path().join("data"));
        let settings =
            format!("-p {port} -h 127.0.0.1 -k . -c fsync=off -c shared_buffers=16MB {more}");
        let start = ["-D", "data", "-w", "-t", "60", "-l", "log", "-o", &settings, "start"];
        cluster.run(cluster.command("pg_ctl").args(start));
        cluster
    }

    /// Makes the users, in single-user mode, and says how each of them logs in.
    fn furnish(&self) {
        let mut command = self.command("postgres");
        command.args(["--single", "-D", "data", "postgres"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        for user in USERS {
            let encryption = if user == "md5" { "md5" } else { "scram-sha-256" };
            writeln!(input, "SET password_encryption = '{encryption}'").unwrap();
            writeln!(input, "CREATE ROLE {user} LOGIN PASSWORD 'pa:ss@word'").unwrap();
        }
        writeln!(input, "GRANT CREATE ON SCHEMA public TO scram").unwrap();
        drop(input);
        assert!(child.wait().unwrap().success());
        let methods = ["scram-sha-256", "md5", "password", "trust"];
        let lines = USERS.iter().zip(methods);
        let lines = lines.map(|(user, method)| format!("host all {user} 127.0.0.1/32 {method}\n"));
        fs::write(self.folder.path().join("data/pg_hba.conf"), lines.collect::<String>()).unwrap();
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.current_dir(self.folder.path()).env("LC_ALL", "C").stdin(Stdio::null());
        if let Some((uid, gid)) = self.account {
            command.uid(uid).gid(gid);
        }
        command
    }

    fn run(&self, command: &mut Command) {
        // The server inherits its output from pg_ctl; a pipe would stay open with it.
        let output = self.folder.path().join("output");
        let file = fs::File::create(&output).unwrap();
        command.stdout(file.try_clone().unwrap()).stderr(file);
        let status = command.status().unwrap();
        assert!(status.success(), "{command:?}: {}", fs::read_to_string(output).unwrap());
    }

    pub(crate) fn url(&self, user: &str, password: &str) -> String {
        format!("postgres://{user}:{password}@127.0.0.1:{}/postgres", self.port)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.run(self.command("pg_ctl").args(["-D", "data", "-m", "immediate", "stop"]));
    }
}

/// The newest version installed.
fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL is installed: make deps");
    let mut versions: Vec<_> = versions.map(|entry| entry.unwrap().path().join("bin")).collect();
    versions.retain(|folder| folder.join("postgres").is_file());
    versions.sort();
    versions.pop().expect("PostgreSQL is installed: make deps")
}

/// Who runs the server: it refuses root.
fn account() -> Option<(u32, u32)> {
    use std::os::unix::fs::MetadataExt as _;
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        return None;
    }
    let users = fs::read_to_string(Path::new("/etc/passwd")).unwrap();
    let line = users.lines().find(|line| line.starts_with("postgres:")).unwrap();
    let numbers: Vec<u32> = line.split(':').skip(2).take(2).map(|n| n.parse().unwrap()).collect();
    Some((numbers[0], numbers[1]))
}

#[test]
fn a_real_server() {
    let cluster = Cluster::start();
    let right = "pa%3Ass%40word";

    // Every way to log in.
    for user in USERS {
        let report = report(&cluster.url(user, right), requests(20, 3));
        assert_eq!(report.requests.succeeded, 20, "{user}: {report}");
    }
    for user in ["scram", "md5", "plain"] {
        match attempt(&cluster.url(user, "wrong"), requests(1, 1)) {
            Err(RunError::NotReady { failures }) => {
                assert_eq!(failures[0].kind, FailureKind::Login, "{user}");
                assert!(failures[0].example.contains("28P01"), "{user}: {failures:?}");
            }
            other => panic!("{user}: {other:?}"),
        }
    }

    // Every way to ask, with replies of all sizes.
    let queries = [
        ("SELECT 1", 1),
        ("SELECT repeat('x', 100000) FROM generate_series(1, 5)", 500_000),
        ("SELECT generate_series(1, 3000)", 30_000),
        ("", 1),
    ];
    for mode in [QueryMode::Simple, QueryMode::Extended, QueryMode::Prepared] {
        for (query, least_bytes) in queries {
            let query = Some(query.to_owned());
            let options = Options { query, query_mode: Some(mode), ..requests(8, 2) };
            let report = report(&cluster.url("scram", right), options);
            assert_eq!(report.requests.succeeded, 8, "{mode}: {report}");
            assert!(report.bytes.received_bytes >= 8 * least_bytes, "{mode}: {report}");
        }
    }

    // A connection for each query: the keys are derived once.
    let options = Options { keep_alive: false, ..requests(10, 2) };
    assert_eq!(report(&cluster.url("scram", right), options).requests.succeeded, 10);

    // Queries that fail, and one that ends its connection.
    for (query, kind, example) in [
        ("SELECT nonsense", FailureKind::Query, "42703"),
        ("SELECT pg_terminate_backend(pg_backend_pid())", FailureKind::Query, "57P01"),
        ("COPY (SELECT 1) TO STDOUT; COPY pg_class FROM STDIN", FailureKind::Query, "42501"),
    ] {
        let options = Options { query: Some(query.to_owned()), ..requests(4, 1) };
        let report = report(&cluster.url("scram", right), options);
        assert_eq!((report.errors[0].kind, report.errors[0].count), (kind, 4), "{report}");
        assert!(report.errors[0].example.contains(example), "{report}");
    }
    let query = Some("CREATE TEMP TABLE IF NOT EXISTS t (x int); COPY t FROM STDIN".to_owned());
    let report = report(&cluster.url("scram", right), Options { query, ..requests(2, 1) });
    assert_eq!((report.errors[0].kind, report.errors[0].count), (FailureKind::Protocol, 2));
}

/// A server with a certificate for 127.0.0.1.
fn with_tls(authority: &Authority) -> Cluster {
    Cluster::start_with(|data| {
        let (key, certificate) = authority.pair("127.0.0.1");
        for (name, text) in [("server.key", key), ("server.crt", certificate)] {
            let file = data.join(name);
            fs::write(&file, text).unwrap();
            fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
            if let Some((uid, gid)) = account() {
                chown(&file, Some(uid), Some(gid)).unwrap();
            }
        }
        "-c ssl=on".to_owned()
    })
}

#[test]
fn over_tls() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let cluster = with_tls(&authority);
    let url = |parameters: &str| format!("{}?{parameters}", cluster.url("scram", "pa%3Ass%40word"));
    let trusting = |authority: &Authority| {
        let query = "SELECT 1 / (CASE WHEN ssl THEN 1 ELSE 0 END) FROM pg_stat_ssl \
                     WHERE pid = pg_backend_pid()";
        let tls = TlsOptions { ca_file: Some(authority.file()), ..TlsOptions::default() };
        Options { tls, query: Some(query.to_owned()), ..requests(20, 3) }
    };
    let anybody = Options { tls: TlsOptions::default(), ..trusting(&authority) };
    for (parameters, options) in [
        ("sslmode=require", anybody),
        ("sslmode=require", trusting(&authority)),
        ("sslmode=verify-full", trusting(&authority)),
    ] {
        for mode in [QueryMode::Simple, QueryMode::Prepared] {
            let options = Options { query_mode: Some(mode), ..options.clone() };
            let report = report(&url(parameters), options);
            assert_eq!(report.requests.succeeded, 20, "{parameters}: {report}");
            assert_eq!(report.protocol, "postgresql over tls");
        }
    }
    // A stranger's certificate, with whoever names an authority; and a server without TLS.
    let plain = Cluster::start();
    let plain = format!("{}?sslmode=require", plain.url("scram", "pa%3Ass%40word"));
    for (url, options, kind, example) in [
        (url("sslmode=verify-full"), trusting(&stranger), FailureKind::Certificate, "authority"),
        (url("sslmode=require"), trusting(&stranger), FailureKind::Certificate, "authority"),
        (plain, requests(1, 1), FailureKind::Tls, "does not take TLS"),
    ] {
        match attempt(&url, options) {
            Err(RunError::NotReady { failures }) => {
                assert_eq!(failures[0].kind, kind, "{url}: {failures:?}");
                assert!(failures[0].example.contains(example), "{url}: {failures:?}");
            }
            other => panic!("{url}: {other:?}"),
        }
    }
}

#[test]
fn a_script_in_every_mode() {
    let cluster = Cluster::start();
    let url = cluster.url("scram", "pa%3Ass%40word");
    let run = |text: &str, options: Options| {
        let script = Script::parse(text, &[("rows".to_owned(), 100)]).unwrap();
        report(&url, Options { script: Some(script), ..options })
    };
    let table = "BEGIN;
        CREATE TABLE accounts (id int PRIMARY KEY, balance bigint NOT NULL);
        INSERT INTO accounts SELECT id, 0 FROM generate_series(1, :rows) AS id;
        END;";
    assert_eq!(run(table, requests(1, 1)).requests.succeeded, 1);
    let transfer = "-- Money goes from one to another, so that the sum stays.
        \\set from random(1, :rows)
        \\set to :from % :rows + 1
        \\set amount random(-500, 500) * 2
        BEGIN;
        UPDATE accounts SET balance = balance - :amount WHERE id = least(:from::int, :to::int);
        UPDATE accounts SET balance = balance + :amount WHERE id = greatest(:from::int, :to::int);
        SELECT 'not :a variable', 1 / (CASE WHEN :amount % 2 = 0 THEN 1 ELSE 0 END);
        END;
    "
    .replace("        ", "");
    for mode in [QueryMode::Simple, QueryMode::Extended, QueryMode::Prepared] {
        let options = Options { query_mode: Some(mode), ..requests(60, 4) };
        let report = run(&transfer, options);
        let counts = (report.requests.succeeded, report.requests.statements);
        assert_eq!(counts, (60, Some(300)), "{mode}: {report}");
    }
    let sum = "SELECT 1 / (CASE WHEN sum(balance) = 0 AND count(*) = :rows THEN 1 ELSE 0 END) \
               FROM accounts;";
    assert_eq!(run(sum, requests(1, 1)).requests.succeeded, 1);
    let moved = "SELECT 1 / (CASE WHEN max(abs(balance)) > 0 THEN 1 ELSE 0 END) FROM accounts;";
    assert_eq!(run(moved, requests(1, 1)).requests.succeeded, 1);
    // One that fails half-way leaves nothing behind, and its connection usable.
    let failing = "BEGIN;\nUPDATE accounts SET balance = 7;\nSELECT 1 / 0;\nEND;";
    let report = run(failing, requests(4, 1));
    assert_eq!((report.errors[0].kind, report.errors[0].count), (FailureKind::Query, 4));
    assert!(report.errors[0].example.contains("22012"), "{report}");
    assert_eq!(report.connect_seconds.as_ref().unwrap().count, 1);
    assert_eq!(run(sum, requests(1, 1)).requests.succeeded, 1);
}
