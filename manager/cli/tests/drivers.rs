//! Clients that people use, through the pool in transaction and in session mode, with
//! SCRAM towards clients and towards the server: no error, and no wrong row.
//!
//! A driver's own script is in `drivers/`; here is what runs it. tokio-postgres is used
//! by the pool's own tests.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fixture;

use std::{
    fmt::Write as _,
    io::{BufRead as _, BufReader, Write as _},
    process::{Command, Stdio},
    thread,
};

use fixture::{
    DataPlane, Outcome,
    postgres::{Cluster, PASSWORD, client_environment, pooler},
    tool::{Tool, dependency, pgbench_processed, source_root},
};

/// Databases of the fixture's configuration, called like their modes.
const MODES: [&str; 2] = ["transaction", "session"];

/// A command that finds its pool in its environment.
fn client(program: impl AsRef<std::ffi::OsStr>, data_plane: &DataPlane, mode: &str) -> Command {
    let mut command = Command::new(program);
    command.envs(client_environment(data_plane.running.address("db"), mode));
    command
}

/// Runs a driver's script in both modes.
fn drive(interpreter: impl AsRef<std::ffi::OsStr>, script: &str, environment: &[(&str, String)]) {
    let cluster = Cluster::start();
    let data_plane = pooler(&cluster);
    for mode in MODES {
        let mut command = client(interpreter.as_ref(), &data_plane, mode);
        command.arg(source_root().join("manager/cli/tests/drivers").join(script)).arg(mode);
        command.envs(environment.iter().cloned());
        let said = Tool::start(&mut command).outcome().ok();
        assert!(said.trim_end().ends_with("done"), "{said}");
        nothing_is_left_behind(&data_plane, &cluster, mode);
    }
}

/// Every client is gone, and no server connection with it in the middle of something.
fn nothing_is_left_behind(data_plane: &DataPlane, cluster: &Cluster, mode: &str) {
    let idle = format!(
        "select count(*) from pg_stat_activity where usename = 'app' and state <> 'idle' \
         and application_name <> '{mode}'"
    );
    fixture::eventually("every server connection is idle again", || {
        let status = data_plane.running.status();
        let pools = status["pools"].as_array().unwrap();
        let pool = pools.iter().find(|pool| pool["database"] == mode).unwrap();
        let busy = ["clients_active", "clients_waiting", "servers_active"];
        (busy.iter().all(|name| pool[name] == 0) && cluster.sql("app", &idle) == "0").then_some(())
    });
}

#[test]
fn psycopg() {
    drive(dependency("venv/bin/python"), "with_psycopg.py", &[]);
}

#[test]
fn asyncpg() {
    drive(dependency("venv/bin/python"), "with_asyncpg.py", &[]);
}

#[test]
fn node_postgres() {
    let modules = dependency("node/node_modules");
    dependency("node/node_modules/pg");
    drive("node", "with_pg.mjs", &[("NODE_PATH", modules.to_str().unwrap().to_owned())]);
}

/// psql without start-up files; `ON_ERROR_STOP` is the caller's choice.
fn psql(data_plane: &DataPlane, mode: &str, arguments: &[&str]) -> Outcome {
    Tool::start(client("psql", data_plane, mode).args(["-XqAt"]).args(arguments)).outcome()
}

#[test]
fn psql_runs_what_people_type() {
    let cluster = Cluster::start();
    let data_plane = pooler(&cluster);
    for mode in MODES {
        let ask = |sql| psql(&data_plane, mode, &["-c", sql]);
        assert_eq!(ask("select 40 + 2; select 'two'").ok(), "42\ntwo\n");
        copies(&data_plane, mode);

        assert!(ask("select 1 / 0").fails(1).contains("division by zero"));
        let on = psql(&data_plane, mode, &["-c", "select 1 / 0", "-c", "select 'went on'"]);
        assert_eq!((on.code, on.stdout.as_str()), (Some(0), "went on\n"));

        ask("drop table if exists t").ok();
        ask("create table t (n int)").ok();
        let each = |statements: &[&str]| {
            let arguments: Vec<_> = statements.iter().flat_map(|one| ["-c", one]).collect();
            psql(&data_plane, mode, &arguments)
        };
        each(&["begin", "insert into t values (1)", "rollback"]).ok();
        each(&["begin", "insert into t values (2)", "commit"]).ok();
        let failed = each(&[
            "begin",
            "insert into t values (3)",
            "selekt",
            "select 1",
            "rollback",
            "select 'after'",
        ]);
        assert!(failed.stderr.contains("syntax error at or near \"selekt\""), "{failed:?}");
        assert!(failed.stderr.contains("current transaction is aborted"), "{failed:?}");
        assert_eq!(failed.ok(), "after\n");
        assert_eq!(ask("select n from t").ok(), "2\n");
        // Begun, and left open when psql goes: nothing of it stays.
        each(&["begin", "insert into t values (4)"]).ok();
        assert_eq!(ask("select n from t").ok(), "2\n");
        nothing_is_left_behind(&data_plane, &cluster, mode);
    }
}

/// psql shows what it is told behind the answer to its next command.
#[test]
fn psql_listens_in_either_mode() {
    let cluster = Cluster::start();
    let data_plane = pooler(&cluster);
    for mode in MODES {
        let mut listener = client("psql", &data_plane, mode);
        listener.args(["-XqAt", "-v", "ON_ERROR_STOP=1"]);
        let mut listener = listener
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut commands = listener.stdin.take().unwrap();
        let mut answers = BufReader::new(listener.stdout.take().unwrap()).lines();
        let mut ask = |command: &str| {
            writeln!(commands, "{command}").unwrap();
        };
        ask("listen news; select 'listens';");
        assert_eq!(answers.next().unwrap().unwrap(), "listens");
        let notify = "notify news, 'hello'; notify other, 'not for everybody'";
        psql(&data_plane, mode, &["-c", notify]).ok();
        fixture::eventually("psql shows it", || {
            ask("select 'nothing new';");
            let line = answers.next().unwrap().unwrap();
            assert!(!line.contains("not for everybody"), "{line}");
            line.starts_with("Asynchronous notification \"news\" with payload \"hello\"")
                .then_some(())
        });
        drop(commands);
        assert!(answers.all(|line| line.unwrap() == "nothing new"), "once is enough");
        assert!(listener.wait().unwrap().success());
        nothing_is_left_behind(&data_plane, &cluster, mode);
    }
}

/// 20,000 rows in with `\copy`, and the same ones out again.
fn copies(data_plane: &DataPlane, mode: &str) {
    let mut rows = String::new();
    for n in 0..20_000 {
        writeln!(rows, "{n}\tline {n} with \\\\ and \\t, é").unwrap();
    }
    let folder = data_plane.folder.path();
    let (file, back) = (folder.join("rows"), folder.join("back"));
    fixture::write(&file, &rows);
    let copy = format!("\\copy copied from '{}'", file.display());
    let out = format!("\\copy (select * from copied order by id) to '{}'", back.display());
    psql(
        data_plane,
        mode,
        &[
            "-v",
            "ON_ERROR_STOP=1",
            "-c",
            "drop table if exists copied",
            "-c",
            "create table copied (id int, line text)",
            "-c",
            &copy,
            "-c",
            &out,
        ],
    )
    .ok();
    assert!(std::fs::read_to_string(back).unwrap() == rows, "the rows came back changed");
    let bad = format!("\\copy copied (line, id) from '{}'", file.display());
    let refused = psql(data_plane, mode, &["-c", &bad, "-c", "select count(*) from copied"]);
    assert!(refused.stderr.contains("invalid input syntax for type integer"), "{refused:?}");
    assert_eq!(refused.ok(), "20000\n");
}

#[test]
fn many_psql_get_their_own_rows() {
    let cluster = Cluster::start();
    let data_plane = pooler(&cluster);
    for mode in MODES {
        thread::scope(|scope| {
            for client in 0..12 {
                let data_plane = &data_plane;
                scope.spawn(move || {
                    let (mut script, mut wanted) = (String::new(), String::new());
                    for turn in 0..400 {
                        writeln!(script, "select {client}, {turn}, 'row {client} {turn}';")
                            .unwrap();
                        writeln!(wanted, "{client}|{turn}|row {client} {turn}").unwrap();
                    }
                    let file = data_plane.folder.path().join(format!("{mode}-{client}.sql"));
                    fixture::write(&file, &script);
                    let said = psql(data_plane, mode, &["-f", file.to_str().unwrap()]).ok();
                    assert!(said == wanted, "client {client} got other rows than it asked for");
                });
            }
        });
    }
}

#[test]
fn a_wrong_password_is_refused() {
    let cluster = Cluster::start();
    let data_plane = pooler(&cluster);
    for (name, value) in [("PGPASSWORD", "wrong"), ("PGUSER", "nobody_known")] {
        let mut command = client("psql", &data_plane, "transaction");
        let said = Tool::start(command.env(name, value).args(["-XAtc", "select 1"])).outcome();
        let said = said.fails(2);
        assert!(said.contains("password authentication failed"), "{said}");
        assert!(!said.contains(PASSWORD), "{said}");
    }
}

#[test]
fn pgbench_keeps_the_books_balanced() {
    const CLIENTS: u64 = 100;
    const EACH: u64 = 15;
    let cluster = Cluster::start();
    let data_plane = pooler(&cluster);
    let pgbench = |mode: &str, arguments: &[&str]| {
        let mut command = client("pgbench", &data_plane, mode);
        Tool::start(command.arg("-n").args(arguments)).outcome()
    };
    pgbench("session", &["-i", "-s", "4", "-q"]).ok();
    let (clients, each) = (CLIENTS.to_string(), EACH.to_string());
    let mut done = 0;
    for (mode, protocol) in [
        ("transaction", "simple"),
        ("transaction", "extended"),
        ("session", "simple"),
        ("session", "extended"),
        ("session", "prepared"),
    ] {
        let outcome = pgbench(mode, &["-c", &clients, "-j", "2", "-t", &each, "-M", protocol]);
        assert_eq!(pgbench_processed(outcome), CLIENTS * EACH, "{mode} {protocol}");
        done += CLIENTS * EACH;
        let books = "select count(*), sum(delta), (select sum(abalance) from pgbench_accounts), \
                     (select sum(tbalance) from pgbench_tellers), \
                     (select sum(bbalance) from pgbench_branches) from pgbench_history";
        let books = cluster.sql("app", books);
        let books: Vec<i64> = books.split('|').map(|number| number.parse().unwrap()).collect();
        assert_eq!(books[0], i64::try_from(done).unwrap(), "{mode} {protocol}: transactions kept");
        assert!(books[2..].iter().all(|sum| *sum == books[1]), "{mode} {protocol}: {books:?}");
        nothing_is_left_behind(&data_plane, &cluster, mode);
    }
}
