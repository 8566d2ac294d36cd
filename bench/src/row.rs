//! The rows: one comparison each.

mod http_bulk;
mod http_connections;
mod http_idle;
mod http_keepalive;
mod pool_busy;
mod pool_extended;
mod pool_idle;
mod pool_simple;
mod reload;
mod start;
mod tcp_bulk;

use std::net::SocketAddr;

use anyhow::bail;

use crate::bench::Bench;
use crate::contender::{Contender, Installed};
use crate::measure::{Goal, Measure, Unit};
use crate::process::Process;
use crate::rounds::Figures;

/// A comparison of bs9 with peers at one kind of work.
pub(crate) trait Row {
    /// A word to call it by, such as `http-keepalive`.
    fn name(&self) -> &'static str;

    /// What is compared, in a line.
    fn about(&self) -> &'static str;

    /// What work is counted in.
    fn unit(&self) -> Unit;

    /// The figure that is compared.
    fn measure(&self) -> Measure {
        Measure::Cpu
    }

    /// bs9 first, then its peers.
    fn contenders(&self) -> &'static [Contender];

    /// Why this contender, although installed, cannot do this work here.
    fn lacks(&self, _: Contender) -> Option<String> {
        None
    }

    /// The most our figure over this peer's should be.
    fn goal(&self, _: &Installed) -> Option<Goal> {
        None
    }

    /// The most our figure itself should be, in seconds or bytes.
    fn limit(&self) -> Option<f64> {
        None
    }

    /// Starts the backends.
    fn stage(&self, bench: &Bench) -> anyhow::Result<Box<dyn Stage>>;
}

/// A row with its backends running.
pub(crate) trait Stage {
    /// Versions of the tools and backends that take part, by name.
    fn versions(&self) -> Vec<(&'static str, String)>;

    /// Starts a contender afresh, makes sure that it does the work right, and measures it.
    fn turn(&self, bench: &Bench, contender: &Installed) -> anyhow::Result<Figures>;
}

/// A contender that was started, and where it will accept connections.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
}

/// Every row, in the order of the table.
pub(crate) fn all() -> Vec<Box<dyn Row>> {
    vec![
        Box::new(http_keepalive::HttpKeepalive),
        Box::new(http_connections::HttpConnections),
        Box::new(http_bulk::HttpBulk),
        Box::new(tcp_bulk::TcpBulk),
        Box::new(http_idle::HttpIdle),
        Box::new(pool_simple::PoolSimple),
        Box::new(pool_extended::PoolExtended),
        Box::new(pool_busy::PoolBusy),
        Box::new(pool_idle::PoolIdle),
        Box::new(reload::Reload),
        Box::new(start::Start),
    ]
}

/// The rows with these names; all of them for none.
pub(crate) fn select(names: &[String]) -> anyhow::Result<Vec<Box<dyn Row>>> {
    let mut rows = all();
    if let Some(unknown) = names.iter().find(|name| rows.iter().all(|row| row.name() != **name)) {
        let known: Vec<_> = rows.iter().map(|row| row.name()).collect();
        bail!("no row {unknown:?}; there are: {}", known.join(", "));
    }
    rows.retain(|row| names.is_empty() || names.iter().any(|name| name == row.name()));
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
        let names: BTreeSet<_> = all().iter().map(|row| row.name()).collect();
        assert_eq!(names.len(), all().len());
    }

    #[test]
    fn bs9_comes_first_and_every_row_has_something_to_reach() {
        for row in all() {
            let (first, peers) = row.contenders().split_first().unwrap();
            assert_eq!(*first, Contender::Bs9);
            let has_goal = peers.iter().any(|peer| {
                let installed = Installed {
                    contender: *peer,
                    program: "peer".into(),
                    version: "1.18.0".into(),
                };
                row.goal(&installed).is_some()
            });
            assert!(has_goal || row.limit().is_some(), "{}", row.name());
        }
    }
}
