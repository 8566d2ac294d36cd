//! The rows: one comparison each.

mod http_keepalive;
mod pool_simple;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::bail;

use crate::bench::Bench;
use crate::contender::{Contender, Installed};
use crate::load::Load;
use crate::process::Process;

/// A comparison of bs9 with peers at one kind of work.
pub(crate) trait Row {
    /// A word to call it by, such as `http-keepalive`.
    fn name(&self) -> &'static str;

    /// What is compared, in a line.
    fn about(&self) -> &'static str;

    /// What work is counted in: `request`, `query`.
    fn unit(&self) -> &'static str;

    /// bs9 first, then its peers.
    fn contenders(&self) -> &'static [Contender];

    /// The most our figure over this peer's should be.
    fn goal(&self, peer: &Installed) -> Option<f64>;

    /// Starts the backends.
    fn stage(&self, bench: &Bench) -> anyhow::Result<Box<dyn Stage>>;
}

/// A row with its backends running.
pub(crate) trait Stage {
    /// Versions of the tools and backends that take part, by name.
    fn versions(&self) -> Vec<(&'static str, String)>;

    /// Writes a contender's configuration and starts it. It need not be ready yet.
    fn launch(&self, bench: &Bench, contender: &Installed) -> anyhow::Result<Running>;

    /// Makes sure that what answers at `address` does the work, and does it right.
    fn probe(&self, bench: &Bench, address: SocketAddr) -> anyhow::Result<()>;

    /// Puts the row's load on `address`.
    fn load(&self, bench: &Bench, address: SocketAddr, length: Duration) -> anyhow::Result<Load>;
}

/// A contender that was started, and where it will accept connections.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
}

/// Every row, in the order of the table.
pub(crate) fn all() -> Vec<Box<dyn Row>> {
    vec![Box::new(http_keepalive::HttpKeepalive), Box::new(pool_simple::PoolSimple)]
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
    use super::*;

    #[test]
    fn rows_are_selected_by_name() {
        assert_eq!(select(&[]).unwrap().len(), all().len());
        assert_eq!(select(&["pool-simple".into()]).unwrap().len(), 1);
        let refused = select(&["pool".into()]).err().unwrap().to_string();
        assert!(refused.contains("http-keepalive, pool-simple"), "{refused}");
    }

    #[test]
    fn bs9_comes_first_and_every_peer_of_today_has_a_goal() {
        for row in all() {
            let (first, peers) = row.contenders().split_first().unwrap();
            assert_eq!(*first, Contender::Bs9);
            for peer in peers {
                let installed = Installed {
                    contender: *peer,
                    program: "peer".into(),
                    version: "1.18.0".into(),
                };
                assert!(row.goal(&installed).is_some(), "{} {peer:?}", row.name());
            }
        }
    }
}
