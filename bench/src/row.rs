//! The rows: one comparison each.

mod history;
mod http;
mod loadtest;
mod manager;
mod pool;
mod reload;
mod stall;
mod start;
mod tls;

use std::net::SocketAddr;

use anyhow::bail;

use crate::bench::Bench;
use crate::contender::{Contender, Installed};
use crate::measure::{Goal, Measure, Unit};
use crate::process::Process;
use crate::rounds::Figures;
use crate::syscalls::Syscalls;

/// A comparison of bs9 with peers at one kind of work.
#[derive(Debug)]
pub(crate) struct Row {
    /// A word to call it by, such as `http-keepalive`.
    pub(crate) name: &'static str,
    /// What is compared, in a line.
    pub(crate) about: &'static str,
    /// What work is counted in.
    pub(crate) unit: Unit,
    /// The figure that is compared.
    pub(crate) measure: Measure,
    /// Whom bs9 is compared with.
    pub(crate) peers: &'static [Peer],
    /// The most our figure itself should be, in seconds or bytes.
    pub(crate) limit: Option<f64>,
    /// Starts the backends.
    pub(crate) stage: fn(&Bench, &Row) -> anyhow::Result<Box<dyn Stage>>,
}

/// One of the others, and the most that our figure over its should be.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) contender: Contender,
    /// None where it is shown only.
    goal: Option<Goal>,
}

/// A row with its backends running.
pub(crate) trait Stage {
    /// Versions of the tools and backends that take part, by name, and what else
    /// is to be known about the load.
    fn versions(&self) -> anyhow::Result<Vec<(&'static str, String)>>;

    /// Why this contender, although installed, cannot do this work here.
    fn lacks(&self, bench: &Bench, contender: &Installed) -> anyhow::Result<Option<String>>;

    /// Starts a contender afresh, makes sure that it does the work right, and measures it.
    fn turn(&self, bench: &Bench, contender: &Installed) -> anyhow::Result<Figures>;

    /// Rounds that are enough, where a turn takes long and says the same each time.
    fn most_rounds(&self) -> Option<u32> {
        None
    }

    /// Counts its system calls in a turn of its own. `None` where they say nothing.
    fn syscalls(&self, _: &Bench, _: &Installed) -> anyhow::Result<Option<Syscalls>> {
        Ok(None)
    }
}

/// A contender that was started, and where it will accept connections.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
}

// === impl Row ===

impl Row {
    /// bs9 first, then its peers.
    pub(crate) fn contenders(&self) -> impl Iterator<Item = Contender> {
        [Contender::Bs9].into_iter().chain(self.peers.iter().map(|peer| peer.contender))
    }

    /// The most our figure over this peer's should be.
    pub(crate) fn goal(&self, contender: Contender) -> Option<Goal> {
        self.peers.iter().find(|peer| peer.contender == contender)?.goal
    }
}

// === impl Peer ===

impl Peer {
    const fn at_most(contender: Contender, most: f64) -> Self {
        Self { contender, goal: Some(Goal::at_most(most)) }
    }

    const fn shown(contender: Contender) -> Self {
        Self { contender, goal: None }
    }

    const fn with_milestone(self, milestone: f64) -> Self {
        match self.goal {
            Some(goal) => Self { goal: Some(goal.with_milestone(milestone)), ..self },
            None => self,
        }
    }
}

/// Every row, in the order of the table.
pub(crate) fn all() -> Vec<&'static Row> {
    vec![
        &http::KEEPALIVE,
        &http::CONNECTIONS,
        &http::OPEN,
        &http::BULK,
        &http::TUNNEL,
        &http::IDLE,
        &tls::HTTP2,
        &tls::HANDSHAKES,
        &tls::KEEPALIVE,
        &tls::IDLE,
        &pool::SIMPLE,
        &pool::ONE,
        &pool::THOUSAND,
        &pool::TLS,
        &pool::SHARED,
        &pool::EXTENDED,
        &pool::PREPARED,
        &pool::SHARDS,
        &pool::BUSY,
        &pool::IDLE,
        &reload::RELOAD,
        &start::START,
        &manager::MANAGER,
        &history::HISTORY,
        &loadtest::LOADTEST,
        &stall::STALL_ROW,
    ]
}

/// The rows with these names; all of them for none.
pub(crate) fn select(names: &[String]) -> anyhow::Result<Vec<&'static Row>> {
    let mut rows = all();
    if let Some(unknown) = names.iter().find(|name| rows.iter().all(|row| row.name != **name)) {
        let known: Vec<_> = rows.iter().map(|row| row.name).collect();
        bail!("no row {unknown:?}; there are: {}", known.join(", "));
    }
    rows.retain(|row| names.is_empty() || names.iter().any(|name| name == row.name));
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn rows_are_selected_by_name() {
        assert_eq!(select(&[]).unwrap().len(), all().len());
        assert_eq!(select(&["pool-simple".into()]).unwrap().len(), 1);
        let refused = select(&["pool".into()]).err().unwrap().to_string();
        assert!(refused.contains("http-keepalive, http-connections"), "{refused}");
    }

    #[test]
    fn names_are_unique() {
        let names: BTreeSet<_> = all().iter().map(|row| row.name).collect();
        assert_eq!(names.len(), all().len());
    }

    #[test]
    fn every_row_has_something_to_reach() {
        // A stall is to be told as it is: more or less of it would be neither better nor worse.
        for row in all().into_iter().filter(|row| row.name != stall::STALL_ROW.name) {
            assert_eq!(row.contenders().next(), Some(Contender::Bs9));
            let mut goals = row.peers.iter().filter_map(|peer| row.goal(peer.contender));
            assert!(goals.next().is_some() || row.limit.is_some(), "{}", row.name);
        }
    }

    #[test]
    fn a_newer_peer_has_a_goal_of_its_own() {
        let most = |contender| pool::SIMPLE.goal(contender).unwrap().most;
        assert_eq!(most(Contender::Pgbouncer), 0.80);
        assert_eq!(most(Contender::NewerPgbouncer), 0.65);
        assert_eq!(http::KEEPALIVE.goal(Contender::Caddy), None);
    }
}
