//! What is known of an endpoint for as long as a configuration names it.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering::Relaxed},
    },
    time::SystemTime,
};

use arc_swap::ArcSwapOption;
use bs9_api::types::{EndpointHealth, EndpointStatus};
use bs9_config::EndpointAddress;
use bs9_net::{Counter, Gauge, PerShard};
use tokio::sync::Notify;

/// Health as the active checks see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Health {
    /// Not probed, or not yet often enough: takes traffic.
    Unknown,
    /// Takes traffic.
    Healthy,
    /// Takes none.
    Unhealthy,
}

/// One endpoint of one cluster: health, addresses, counters.
#[derive(Debug)]
pub struct Endpoint {
    /// As configured.
    pub address: EndpointAddress,
    health: AtomicU8,
    draining: AtomicBool,
    /// In flight over all shards; counted only where picking needs it.
    pub(crate) active: AtomicUsize,
    /// Where a host name last led, in the resolver's order; empty when it never led anywhere,
    /// absent until it was looked up. Written by the control thread.
    resolved: ArcSwapOption<Vec<SocketAddr>>,
    /// Tells those who wait for the first look-up.
    resolving: Notify,
    pub(crate) cells: PerShard<EndpointCell>,
    /// For people only; the data path never looks at it.
    verdict: Mutex<Verdict>,
}

#[derive(Debug, Default)]
struct Verdict {
    reason: Option<String>,
    since: Option<SystemTime>,
}

/// What one shard counts of an endpoint.
#[derive(Debug, Default)]
pub(crate) struct EndpointCell {
    pub(crate) active: Gauge,
    pub(crate) idle: Gauge,
    pub(crate) requests: Counter,
    pub(crate) failures: Counter,
    pub(crate) connects: Counter,
    pub(crate) connect_failures: Counter,
    /// Responses whose head arrived, and the time they took.
    pub(crate) responses: Counter,
    pub(crate) response_nanoseconds: Counter,
}

impl Endpoint {
    pub(crate) fn new(address: EndpointAddress, shards: usize) -> Self {
        Self {
            address,
            health: AtomicU8::new(Health::Unknown as u8),
            draining: AtomicBool::new(false),
            active: AtomicUsize::new(0),
            resolved: ArcSwapOption::empty(),
            resolving: Notify::new(),
            cells: PerShard::new(shards),
            verdict: Mutex::default(),
        }
    }

    /// Health now.
    pub fn health(&self) -> Health {
        match self.health.load(Relaxed) {
            1 => Health::Healthy,
            2 => Health::Unhealthy,
            _ => Health::Unknown,
        }
    }

    /// Sets health; `reason` says why it is unhealthy.
    pub(crate) fn set_health(&self, health: Health, reason: Option<String>) {
        let before = self.health.swap(health as u8, Relaxed);
        let mut verdict = self.verdict.lock().unwrap_or_else(PoisonError::into_inner);
        verdict.reason = reason;
        if before != health as u8 || verdict.since.is_none() {
            verdict.since = Some(SystemTime::now());
        }
    }

    /// Forgets what probes found: they have stopped.
    pub(crate) fn forget_health(&self) {
        self.health.store(Health::Unknown as u8, Relaxed);
        *self.verdict.lock().unwrap_or_else(PoisonError::into_inner) = Verdict::default();
    }

    /// Whether it takes nothing new by an operator's word.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Relaxed)
    }

    /// Takes nothing new, or does again.
    pub fn set_draining(&self, draining: bool) {
        self.draining.store(draining, Relaxed);
    }

    /// Whether health and operator let it take traffic.
    pub(crate) fn takes_traffic(&self) -> bool {
        self.health.load(Relaxed) != Health::Unhealthy as u8 && !self.draining.load(Relaxed)
    }

    /// The address as people write it.
    pub fn name(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn status(&self, weight: u16) -> EndpointStatus {
        let verdict = self.verdict.lock().unwrap_or_else(PoisonError::into_inner);
        let responses = self.cells.sum(|cell| cell.responses.get());
        let seconds = self.cells.sum(|cell| cell.response_nanoseconds.get()) as f64 / 1e9;
        EndpointStatus {
            address: self.name(),
            weight,
            health: match self.health() {
                Health::Unknown => EndpointHealth::Unknown,
                Health::Healthy => EndpointHealth::Healthy,
                Health::Unhealthy => EndpointHealth::Unhealthy,
            },
            health_reason: verdict.reason.clone(),
            health_since: verdict.since.and_then(|since| since.try_into().ok()),
            draining: self.is_draining(),
            active: self.cells.sum(|cell| cell.active.get()),
            requests_total: self.cells.sum(|cell| cell.requests.get()),
            failures_total: self.cells.sum(|cell| cell.failures.get()),
            connects_total: self.cells.sum(|cell| cell.connects.get()),
            connect_failures_total: self.cells.sum(|cell| cell.connect_failures.get()),
            idle_connections: self.cells.sum(|cell| cell.idle.get()),
            mean_response_seconds: (responses > 0).then(|| seconds / responses as f64),
        }
    }

    /// Where the endpoint's host name leads. Waits only for a name that was never looked up,
    /// which is so for a moment after a configuration first named it.
    pub(crate) async fn looked_up(&self) -> Arc<Vec<SocketAddr>> {
        loop {
            let resolving = self.resolving.notified();
            if let Some(addresses) = self.resolved.load_full() {
                return addresses;
            }
            resolving.await;
        }
    }

    /// A name was looked up. One that led nowhere keeps the addresses it had. Gives whether
    /// the addresses are others than before.
    pub(crate) fn set_resolved(&self, addresses: Vec<SocketAddr>) -> bool {
        let known = self.resolved.load();
        let changed = match known.as_deref() {
            // Resolvers rotate the order; that is no news.
            Some(known) => {
                let same = known.len() == addresses.len()
                    && addresses.iter().all(|address| known.contains(address));
                !addresses.is_empty() && !same
            }
            None => true,
        };
        if changed {
            self.resolved.store(Some(Arc::new(addresses)));
            self.resolving.notify_waiters();
        }
        changed
    }
}
