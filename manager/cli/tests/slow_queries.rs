//! The log of slow queries, as it is read.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fixture;

use fixture::{
    DataPlane, Outcome, eventually,
    postgres::{Cluster, client_environment},
    tool::Tool,
};

/// A data plane with these keys of `[postgres]`.
fn logging(cluster: &Cluster, keys: &str) -> DataPlane {
    let pools = cluster.pools(3);
    DataPlane::serve(&pools.replacen("[postgres]\n", &format!("[postgres]\n{keys}\n"), 1))
}

/// Runs statements over one connection.
fn psql(data_plane: &DataPlane, statements: &[&str]) {
    let mut command = std::process::Command::new("psql");
    command.envs(client_environment(data_plane.running.address("db"), "transaction"));
    command.args(["-XqAt", "-v", "ON_ERROR_STOP=1"]);
    command.args(statements.iter().flat_map(|statement| ["-c", statement]));
    let outcome: Outcome = Tool::start(&mut command).outcome();
    outcome.ok();
}

/// The lines of the log that tell of slow queries.
fn told(data_plane: &DataPlane) -> Vec<String> {
    let log = data_plane.running.log();
    log.lines().filter(|line| line.contains("slow query")).map(str::to_owned).collect()
}

/// What is logged of one slow query, after a quick one.
fn line(cluster: &Cluster, keys: &str, query: &str) -> String {
    let data_plane = logging(cluster, &format!("slow_query_time = \"100ms\"\n{keys}"));
    psql(&data_plane, &["select 'quick as lightning'", query]);
    let told = eventually("it is logged", || Some(told(&data_plane)).filter(|all| !all.is_empty()));
    assert!(!told.iter().any(|line| line.contains("lightning")), "{told:?}");
    let [line] = &told[..] else { panic!("one was slow: {told:?}") };
    line.clone()
}

#[test]
fn a_slow_query_is_logged_without_what_may_be_private() {
    const SLOW: &str = "select  'top secret',\n 4711 /* whispered */ from pg_sleep(0.15)";
    let cluster = Cluster::start();
    let hidden = line(&cluster, "", SLOW);
    assert!(hidden.contains("select ?, ? from pg_sleep(?)"), "{hidden}");
    let shown = line(&cluster, "slow_query_literals = true", SLOW);
    assert!(shown.contains("select 'top secret', 4711 from pg_sleep(0.15)"), "{shown}");
    assert!(!shown.contains("whispered"), "{shown}");
    let cut = line(&cluster, "slow_query_length = \"20B\"", SLOW);
    assert!(cut.contains("select ?, ? from pg_…") && !cut.contains("pg_s"), "{cut}");
}

#[test]
fn a_sample_of_the_slow_queries_is_logged() {
    const QUERIES: usize = 80;
    let cluster = Cluster::start();
    for (sample, wanted) in [(0.0, 0..=0), (0.5, 1..=QUERIES - 1), (1.0, QUERIES..=QUERIES)] {
        let keys = format!("slow_query_time = \"1ms\"\nslow_query_sample = {sample:?}");
        let data_plane = logging(&cluster, &keys);
        psql(&data_plane, &["select 'slow' from pg_sleep(0.002)"; QUERIES]);
        let counted = || {
            let status = data_plane.running.status();
            let pools = status["pools"].as_array().unwrap();
            pools.iter().map(|pool| pool["slow_queries_total"].as_u64().unwrap()).sum::<u64>()
        };
        // Each that is logged is counted, and the last has been answered.
        let count = usize::try_from(counted()).unwrap();
        assert!(wanted.contains(&count), "{sample}: {count}");
        eventually("they are in the log", || (told(&data_plane).len() == count).then_some(()));
    }
}
