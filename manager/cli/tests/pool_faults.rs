//! Servers that are killed, terminated and restarted, networks that stall and break, pools that are
//! paused, and reloads, while pgbench and clients that keep books run: no wrong row, no
//! lost commit, nothing half done, errors only where something was cut, and everyone recovers.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and tells what it saw"
)]

#[path = "pool_faults/bank.rs"]
mod bank;
mod fixture;
#[path = "pool_faults/writers.rs"]
mod writers;

use std::{
    net::SocketAddr,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use bank::Bank;
use bs9_api::client::DataPlaneClient;
use fixture::{
    DataPlane, eventually,
    postgres::{Cluster, PASSWORD, USER},
    relay::Relay,
};
use rustix::process::{Pid, Signal, kill_process};
use writers::Writers;

/// Commits of each writer after which it has recovered.
const RECOVERED: u64 = 3;

/// A hundred with `BS9_DEEP=1` (`make deep`).
fn reloads() -> usize {
    if std::env::var_os("BS9_DEEP").is_some() { 100 } else { 30 }
}

struct House {
    cluster: Cluster,
    network: Relay,
    data_plane: DataPlane,
}

/// Both modes, through the network.
fn config(network: &Relay, size: usize) -> String {
    let database = |mode: &str, size: usize| {
        format!(
            "[postgres.databases.{mode}]\nhost = \"127.0.0.1\"\nport = {}\ndbname = \"{USER}\"\n\
             pool_mode = \"{mode}\"\npool_size = {size}\n",
            network.address.port()
        )
    };
    format!(
        "[listeners.db]\nbind = [\"127.0.0.1:0\"]\nprotocol = \"postgres\"\n\
         [postgres]\nauth = \"scram-sha-256\"\nwait_timeout = \"60s\"\n\
         [postgres.users.{USER}]\npassword = \"{PASSWORD}\"\n{}{}",
        database("transaction", size),
        database("session", 40)
    )
}

impl House {
    fn open() -> Self {
        let cluster = Cluster::start();
        let network = Relay::start();
        network.lead_to(SocketAddr::from(([127, 0, 0, 1], cluster.port())));
        let data_plane = DataPlane::serve(&format!("watch = false\n{}", config(&network, 8)));
        cluster.sql("app", "create table ledger (id bigint primary key, writer int not null)");
        cluster.sql("app", "alter table ledger owner to app");
        Self { cluster, network, data_plane }
    }

    fn address(&self) -> SocketAddr {
        self.data_plane.running.address("db")
    }

    /// Ends server processes, some at a time, as an administrator would.
    fn terminate(&self) {
        for turn in 0..4 {
            let some = format!(
                "select count(pg_terminate_backend(pid)) from pg_stat_activity \
                 where usename = 'app' and pid % 4 = {turn}"
            );
            self.cluster.sql("app", &some);
        }
    }

    /// Kills one; PostgreSQL then ends all others and recovers.
    fn kill(&self) {
        let one = "select pid from pg_stat_activity where usename = 'app' limit 1";
        let victim = self.cluster.sql("app", one).parse().unwrap();
        kill_process(Pid::from_raw(victim).unwrap(), Signal::KILL).unwrap();
        self.cluster.wait_until_ready();
    }

    fn pause(&self, writers: &Writers) {
        for _ in 0..3 {
            // Who has a session keeps its server: a pause would wait for it.
            self.data_plane.running.ask(&["dbpool", "pause", "transaction"]).ok();
            self.data_plane.running.ask(&["dbpool", "resume"]).ok();
            writers.wait_until_each_commits(1);
        }
    }

    fn reload(&self) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let admin = DataPlaneClient::unix(&self.data_plane.running.socket);
        for turn in 0..reloads() {
            self.data_plane
                .replace(&format!("watch = false\n{}", config(&self.network, 5 + turn % 4)));
            runtime.block_on(admin.reload()).unwrap();
        }
    }
}

#[test]
fn faults_lose_no_commit_and_show_nobody_a_wrong_row() {
    let mut house = House::open();
    let bank = Arc::new(Bank::open(house.address()));
    let teller = thread::spawn({
        let bank = Arc::clone(&bank);
        move || bank.work()
    });
    let mut writers = Writers::start(house.address());
    writers.wait_until_each_commits(RECOVERED);

    // What cuts nothing fails nothing.
    let began = Instant::now();
    let before = writers.errors();
    house.pause(&writers);
    house.reload();
    house.network.stall(true);
    // Nothing to wait for: that nothing happens for so long is the fault.
    thread::sleep(Duration::from_secs(1));
    house.network.stall(false);
    writers.wait_until_each_commits(RECOVERED);
    assert_eq!(writers.errors(), before, "nothing was cut");

    println!("nothing cut: no error, {:?}", began.elapsed());

    // What cuts connections cuts those, and everyone comes back.
    for (what, fault) in [
        ("terminated", House::terminate as fn(&House)),
        ("killed", House::kill),
        ("cut", |house| house.network.cut()),
        ("stalled, then cut", |house| {
            house.network.stall(true);
            // Likewise.
            thread::sleep(Duration::from_millis(300));
            house.network.cut();
            house.network.stall(false);
        }),
    ] {
        let before = writers.errors().len();
        fault(&house);
        writers.wait_until_each_commits(RECOVERED);
        println!("{what}: {} errors, {:?}", writers.errors().len() - before, began.elapsed());
    }
    let before = writers.errors().len();
    house.cluster.restart();
    writers.wait_until_each_commits(RECOVERED);
    println!("restarted: {} errors, {:?}", writers.errors().len() - before, began.elapsed());

    bank.close();
    let processed = teller.join().unwrap();
    let books = writers.close();
    println!("{books}; pgbench {processed}");
    assert_eq!(books.wrong, Vec::<String>::new());
    let kept = house.cluster.sql("app", "select id from ledger order by id");
    books.check(kept.lines().map(|id| id.parse().unwrap()));
    bank.check(&house.cluster, processed);
    nothing_is_left_behind(&house);
}

/// All clients are gone, and no server has anything open.
fn nothing_is_left_behind(house: &House) {
    let open = "select count(*) from pg_stat_activity where usename = 'app' and state <> 'idle'";
    eventually("every server connection is idle", || {
        let status = house.data_plane.running.status();
        let pools = status["pools"].as_array().unwrap();
        let idle = pools.iter().all(|pool| {
            ["clients_active", "clients_waiting", "servers_active"].iter().all(|of| pool[of] == 0)
        });
        (idle && house.cluster.sql("app", open) == "0").then_some(())
    });
}
