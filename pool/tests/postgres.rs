//! What the tests run against: a private PostgreSQL cluster, and the engine in this process.

mod batch;
mod certificates;
mod cluster;
mod dialogue;
mod fake;
mod host;
mod pair;
mod secured;

pub(crate) use batch::{Batch, Value, batch};
pub(crate) use certificates::Certificates;
pub(crate) use cluster::Cluster;
pub(crate) use dialogue::{Dialogue, Reply, run};
pub(crate) use fake::{Fake, Manner};
pub(crate) use host::Pooler;
pub(crate) use pair::Pair;
pub(crate) use secured::{Secured, Wire};

use std::time::{Duration, Instant};

/// Longest that any condition is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `condition` holds.
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "never came about: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Likewise, inside a runtime.
pub(crate) async fn eventually_async(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition().await {
        assert!(Instant::now() < deadline, "never came about: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
