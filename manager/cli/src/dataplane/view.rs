//! What the owner publishes for those who only read.
//!
//! Listeners are shared, so their counters in a view are always the present ones;
//! what is published anew is which listeners there are, and the books.

use std::sync::Arc;

use arc_swap::ArcSwap;
use bs9_api::types::{
    CountByReason, DataPlaneState, DataPlaneStatus, ListenerStatus, SCHEMA, ShardStall,
    ShardStatus, TlsListenerStatus,
};
use bs9_config::Config;
use bs9_net::{Host, Listener, ListenerReport, Stall, Vitals, tls::FailureKind};
use jiff::Timestamp;

use super::{engines::Engines, generation::Generations};

/// Where the view is found.
pub(super) type ViewCell = ArcSwap<View>;

/// The data plane as its owner last described it.
#[derive(Clone)]
pub(super) struct View {
    pub(super) state: DataPlaneState,
    pub(super) generations: Generations,
    started_at: Timestamp,
    listeners: Vec<ListenerReport>,
    /// The core of each shard, and whether it goes on.
    shards: Vec<(Option<usize>, Vitals)>,
}

impl View {
    /// Right after the start.
    pub(super) fn first(host: &Host, config: &Arc<Config>) -> Self {
        Self {
            state: DataPlaneState::Serving,
            generations: Generations::new(config),
            started_at: Timestamp::now(),
            listeners: host.listener_reports(),
            shards: host.shard_reports().into_iter().map(|one| (one.core, one.vitals)).collect(),
        }
    }

    /// The same, with what the host and the books say now.
    pub(super) fn next(&self, host: &Host, generations: &Generations) -> Self {
        Self {
            generations: generations.clone(),
            listeners: host.listener_reports(),
            ..self.clone()
        }
    }

    /// The same, in another state.
    pub(super) fn in_state(&self, state: DataPlaneState) -> Self {
        Self { state, ..self.clone() }
    }

    /// Every address by listener, port 0 resolved.
    pub(super) fn addresses(&self) -> Vec<(String, String)> {
        let of = |report: &ListenerReport| -> Vec<_> {
            let name = report.listener.name.to_string();
            report.addresses.iter().map(|address| (name.clone(), address.to_string())).collect()
        };
        self.listeners.iter().flat_map(of).collect()
    }

    /// Seconds since the start.
    pub(super) fn uptime_seconds(&self) -> f64 {
        Timestamp::now().duration_since(self.started_at).as_secs_f64()
    }

    /// When it started, seconds since the epoch.
    pub(super) fn started_at_seconds(&self) -> f64 {
        self.started_at.as_millisecond() as f64 / 1e3
    }

    /// Client connections open now.
    pub(super) fn open_connections(&self) -> u64 {
        self.listeners.iter().map(|report| report.listener.open_connections()).sum()
    }

    /// Every listener with its own counters, in name order.
    pub(super) fn listener_reports(&self) -> &[ListenerReport] {
        &self.listeners
    }

    /// Every listener, in name order.
    pub(super) fn listeners(&self, engines: &Engines) -> Vec<ListenerStatus> {
        let status = |report: &ListenerReport| ListenerStatus {
            name: report.listener.name.to_string(),
            protocol: report.protocol.to_owned(),
            addresses: report.addresses.iter().map(ToString::to_string).collect(),
            open_connections: report.listener.open_connections(),
            accepted_connections_total: report.listener.accepted_connections(),
            refused_connections_total: report.listener.refused_connections(),
            tls: report.listener.speaks_tls().then(|| tls(&report.listener)),
            http: (report.protocol == "http").then(|| engines.http(report.listener.id)).flatten(),
        };
        self.listeners.iter().map(status).collect()
    }

    /// Every shard, in order.
    pub(super) fn shards(&self) -> Vec<ShardStatus> {
        let listeners = || self.listeners.iter().map(|report| &report.listener);
        let status = |(shard, (core, vitals)): (usize, &(Option<usize>, Vitals))| {
            let stalls = vitals.stalls();
            ShardStatus {
                shard,
                core: *core,
                open_connections: listeners()
                    .map(|l| l.open_connections_on(shard))
                    .fold(0, u64::wrapping_add),
                accepted_connections_total: listeners()
                    .map(|l| l.accepted_connections_on(shard))
                    .sum(),
                stalled: vitals.is_stalled(),
                stalls_total: stalls.total,
                last_stall: stalls.last.map(stall),
            }
        };
        self.shards.iter().enumerate().map(status).collect()
    }

    /// All of it.
    pub(super) fn status(&self, engines: &Engines) -> DataPlaneStatus {
        DataPlaneStatus {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            state: self.state,
            started_at: self.started_at,
            uptime_seconds: self.uptime_seconds(),
            generation: self.generations.status(),
            shards: self.shards(),
            listeners: self.listeners(engines),
            clusters: engines.clusters(),
            pools: engines.pools(),
        }
    }
}

fn stall(stall: Stall) -> ShardStall {
    ShardStall {
        place: stall.place.to_owned(),
        thread: stall.thread,
        lasted_seconds: stall.lasted.map(|lasted| lasted.as_secs_f64()),
    }
}

fn tls(listener: &Listener) -> TlsListenerStatus {
    let failures = FailureKind::NAMES.iter().zip(listener.handshake_failures());
    let failures = failures.filter(|(_, count)| *count > 0);
    TlsListenerStatus {
        handshakes_total: listener.handshakes(),
        resumptions_total: listener.resumptions(),
        failures_total: failures
            .map(|(kind, count)| CountByReason { reason: (*kind).to_owned(), count })
            .collect(),
    }
}
