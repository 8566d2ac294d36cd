//! What is going on, on one line.

use std::{
    io::Write as _,
    time::{Duration, Instant},
};

use bs9_api::{
    ManagerClient,
    types::{DataPlaneView, EndpointHealth},
};

use crate::{
    exit::{Exit, Failure},
    terminal,
};

/// Between two looks, for somebody who sits there.
const REFRESH: Duration = Duration::from_secs(1);
/// Between two lines in a log.
const LINE: Duration = Duration::from_secs(30);

/// A line that is written over on a terminal, and now and then a line elsewhere.
pub(super) struct Live {
    manager: ManagerClient,
    interactive: bool,
    next: Instant,
}

impl Live {
    pub(super) fn new(manager: ManagerClient) -> Self {
        Self { manager, interactive: terminal::is_interactive(), next: Instant::now() + REFRESH }
    }

    /// Shows the present state when it is time to.
    pub(super) async fn tick(&mut self) -> Result<(), Failure> {
        if Instant::now() < self.next {
            return Ok(());
        }
        self.next = Instant::now() + if self.interactive { REFRESH } else { LINE };
        let line = match self.manager.status().await {
            Ok(status) => sentence(&status.data_plane),
            Err(error) => error.to_string(),
        };
        if !self.interactive {
            return terminal::say(line);
        }
        // A line that wraps cannot be written over.
        let width = terminal::width().saturating_sub(1);
        write_over(&format!("  {line}").chars().take(width).collect::<String>())
    }

    /// Takes the line away.
    pub(super) fn clear(&self) -> Result<(), Failure> {
        if self.interactive { write_over("") } else { Ok(()) }
    }
}

/// Writes `line` over the present line.
fn write_over(line: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    write!(out, "\r\x1b[2K{line}")
        .and_then(|()| out.flush())
        .map_err(|error| Failure::new(Exit::Error, "cannot write to the terminal").because(error))
}

fn sentence(view: &DataPlaneView) -> String {
    let Some(status) = view.status.as_ref().filter(|_| view.reachable) else {
        return view.reason.clone().unwrap_or_else(|| "the data plane does not answer".to_owned());
    };
    let rates = view.rates.clone().unwrap_or_default();
    let endpoints = || status.clusters.iter().flat_map(|cluster| &cluster.endpoints);
    let healthy = endpoints().filter(|one| one.health != EndpointHealth::Unhealthy).count();
    let open: u64 = status.listeners.iter().map(|listener| listener.open_connections).sum();
    let mut parts = vec![
        format!("{healthy} of {} endpoints healthy", endpoints().count()),
        format!("{open} connections"),
        format!("{:.0} requests/s", rates.requests_per_second),
    ];
    if status.listeners.iter().any(|listener| listener.protocol == "postgres") {
        let sum = |count: fn(&bs9_api::types::PoolStatus) -> u64| {
            status.pools.iter().map(count).sum::<u64>()
        };
        parts.push(format!("{:.0} queries/s", rates.queries_per_second));
        parts.push(format!(
            "pool {} active, {} idle, {} waiting",
            sum(|pool| pool.servers_active),
            sum(|pool| pool.servers_idle),
            sum(|pool| pool.clients_waiting)
        ));
    }
    parts.push(format!("generation {}", status.generation.generation));
    parts.join(" · ")
}
