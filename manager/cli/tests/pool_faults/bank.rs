//! pgbench, over and over: what it was told is done has to be in its books, and those balance.

use std::{
    net::SocketAddr,
    process::Command,
    sync::atomic::{AtomicBool, Ordering::SeqCst},
};

use crate::fixture::{
    Outcome,
    postgres::{Cluster, client_environment},
    tool::Tool,
};

pub(crate) struct Bank {
    address: SocketAddr,
    closed: AtomicBool,
}

impl Bank {
    pub(crate) fn open(address: SocketAddr) -> Self {
        let this = Self { address, closed: AtomicBool::new(false) };
        this.pgbench(&["-i", "-q", "-s", "2"]).ok();
        this
    }

    fn pgbench(&self, arguments: &[&str]) -> Outcome {
        let mut command = Command::new("pgbench");
        command.envs(client_environment(self.address, "transaction"));
        Tool::start(command.args(arguments)).outcome()
    }

    /// Until it is closed. Returns how many transactions were done, as far as is known.
    pub(crate) fn work(&self) -> u64 {
        let mut processed = 0;
        for protocol in ["simple", "extended", "prepared"].iter().cycle() {
            // A client of pgbench that is cut off stays away until the next run. Each has a thread:
            // one that waits would keep others from ending what it waits for.
            let outcome = self.pgbench(&["-n", "-c", "6", "-j", "6", "-T", "1", "-M", protocol]);
            let line = "number of transactions actually processed: ";
            let count = outcome.stdout.lines().find_map(|said| said.strip_prefix(line));
            processed += count.map_or(0, |count| count.trim().parse::<u64>().unwrap());
            if self.closed.load(SeqCst) {
                break;
            }
        }
        processed
    }

    pub(crate) fn close(&self) {
        self.closed.store(true, SeqCst);
    }

    /// Each transaction is in the books four times, or not at all.
    pub(crate) fn check(&self, cluster: &Cluster, processed: u64) {
        let books = "select count(*), coalesce(sum(delta), 0), \
                     (select sum(abalance) from pgbench_accounts), \
                     (select sum(tbalance) from pgbench_tellers), \
                     (select sum(bbalance) from pgbench_branches) from pgbench_history";
        let books = cluster.sql("app", books);
        let books: Vec<i64> = books.split('|').map(|number| number.parse().unwrap()).collect();
        assert!(books[2..].iter().all(|sum| *sum == books[1]), "{books:?}");
        let kept = u64::try_from(books[0]).unwrap();
        assert!(kept >= processed && processed > 0, "{kept} kept of {processed}");
    }
}
