//! What is known of an endpoint for as long as a configuration names it.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use bs9_api::types::{EndpointHealth, EndpointStatus};
use bs9_config::EndpointAddress;
use bs9_net::{CoarseInstant, Counter, Gauge, PerShard};
use tokio::sync::Notify;

use super::{Member, commons::Commons, latency::Latency, names::Resolution, outlier::Ejections};
use crate::response_times::ResponseTimes;

/// Health as the active checks see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Health {
    /// Not probed, or not yet often enough.
    Unknown,
    /// Takes traffic.
    Healthy,
    /// Takes none.
    Unhealthy,
}

/// A reason to take no traffic. Any of them is enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Block {
    /// Probes failed.
    Unhealthy = 1,
    /// It has to be probed first.
    Unprobed = 2,
    /// Live traffic failed.
    Ejected = 4,
    /// An operator said so.
    Draining = 8,
}

/// One endpoint of one cluster: health, addresses, counters.
#[derive(Debug)]
pub struct Endpoint {
    /// As configured.
    pub address: EndpointAddress,
    /// In flight over all shards; counted only where picking needs it.
    pub(crate) active: AtomicUsize,
    pub(super) latency: Latency,
    /// Each [`Block`] there is; none: it takes traffic.
    blocks: AtomicU8,
    health: AtomicU8,
    /// Failures since the last success; counted with outlier detection only.
    pub(super) failures_in_row: AtomicU32,
    /// When it came (back), by the shards' clock; 0 when it was there from the beginning.
    came_at: AtomicU64,
    pub(super) ejections: Ejections,
    /// Tells who lets it back that it was taken out.
    pub(super) ejected: Notify,
    commons: Arc<Commons>,
    /// Where its host name leads, when it has one.
    pub(super) resolution: Resolution,
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
    /// Idle connections that came from other shards.
    pub(crate) handovers: Counter,
    pub(crate) connect_failures: Counter,
    /// Responses whose head arrived, and the time they took.
    pub(crate) responses: Counter,
    pub(crate) response_nanoseconds: Counter,
    pub(crate) times: ResponseTimes,
}

impl Endpoint {
    pub(super) fn new(address: EndpointAddress, shards: usize, commons: &Arc<Commons>) -> Self {
        Self {
            address,
            active: AtomicUsize::new(0),
            latency: Latency::default(),
            blocks: AtomicU8::new(0),
            health: AtomicU8::new(Health::Unknown as u8),
            failures_in_row: AtomicU32::new(0),
            came_at: AtomicU64::new(0),
            ejections: Ejections::default(),
            ejected: Notify::new(),
            commons: Arc::clone(commons),
            resolution: Resolution::default(),
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
        drop(verdict);
        if health == Health::Unhealthy {
            self.block(Block::Unhealthy);
        } else {
            self.unblock(Block::Unhealthy);
        }
        self.unblock(Block::Unprobed);
    }

    /// Forgets what probes found: they have stopped.
    pub(crate) fn forget_health(&self) {
        self.health.store(Health::Unknown as u8, Relaxed);
        *self.verdict.lock().unwrap_or_else(PoisonError::into_inner) = Verdict::default();
        self.unblock(Block::Unhealthy);
        self.unblock(Block::Unprobed);
    }

    /// Gives a reason to take no traffic. Tells whether it is a new one.
    pub(crate) fn block(&self, reason: Block) -> bool {
        let before = self.blocks.fetch_or(reason as u8, Relaxed);
        let new = before & reason as u8 == 0;
        if new {
            self.commons.changed();
        }
        new
    }

    /// Takes a reason away. Tells whether it was there.
    pub(crate) fn unblock(&self, reason: Block) -> bool {
        let before = self.blocks.fetch_and(!(reason as u8), Relaxed);
        let was = before & reason as u8 != 0;
        if before == reason as u8 {
            self.arrive();
        }
        if was {
            self.commons.changed();
        }
        was
    }

    /// Whether this is one of the reasons.
    pub(crate) fn is_blocked_by(&self, reason: Block) -> bool {
        self.blocks.load(Relaxed) & reason as u8 != 0
    }

    /// Its share begins to grow now, where there is a slow start.
    pub(super) fn arrive(&self) {
        self.came_at.store(bs9_net::refresh_clock().nanoseconds().max(1), Relaxed);
    }

    /// How long ago it came, or came back; `None`: it was there from the beginning.
    pub(super) fn age(&self, now: CoarseInstant) -> Option<Duration> {
        let came_at = self.came_at.load(Relaxed);
        (came_at != 0).then(|| Duration::from_nanos(now.nanoseconds().saturating_sub(came_at)))
    }

    /// Whether it takes nothing new by an operator's word.
    pub fn is_draining(&self) -> bool {
        self.is_blocked_by(Block::Draining)
    }

    /// Takes nothing new, or does again.
    pub fn set_draining(&self, draining: bool) {
        if draining {
            self.block(Block::Draining);
        } else {
            self.unblock(Block::Draining);
        }
    }

    /// Whether nothing speaks against sending it traffic.
    pub(crate) fn takes_traffic(&self) -> bool {
        self.blocks.load(Relaxed) == 0
    }

    pub(super) fn commons(&self) -> &Arc<Commons> {
        &self.commons
    }

    /// The address as people write it.
    pub fn name(&self) -> String {
        self.address.to_string()
    }

    pub(super) fn status(&self, member: &Member, slow_start: Option<f64>) -> EndpointStatus {
        let verdict = self.verdict.lock().unwrap_or_else(PoisonError::into_inner);
        let responses = self.cells.sum(|cell| cell.responses.get());
        let seconds = self.cells.sum(|cell| cell.response_nanoseconds.get()) as f64 / 1e9;
        EndpointStatus {
            address: self.name(),
            weight: member.weight,
            priority: member.priority,
            zone: member.zone.as_deref().map(str::to_owned),
            disabled: member.disabled,
            health: match self.health() {
                Health::Unknown => EndpointHealth::Unknown,
                Health::Healthy => EndpointHealth::Healthy,
                Health::Unhealthy => EndpointHealth::Unhealthy,
            },
            health_reason: verdict.reason.clone(),
            health_since: verdict.since.and_then(|since| since.try_into().ok()),
            draining: self.is_draining(),
            ejected: self.is_blocked_by(Block::Ejected),
            ejected_until: self.ejections.out_until().and_then(|until| until.try_into().ok()),
            ejections_total: self.ejections.total(),
            slow_start_ratio: slow_start,
            active: self.cells.sum(|cell| cell.active.get()),
            requests_total: self.cells.sum(|cell| cell.requests.get()),
            failures_total: self.cells.sum(|cell| cell.failures.get()),
            connects_total: self.cells.sum(|cell| cell.connects.get()),
            connect_failures_total: self.cells.sum(|cell| cell.connect_failures.get()),
            handovers_total: self.cells.sum(|cell| cell.handovers.get()),
            idle_connections: self.cells.sum(|cell| cell.idle.get()),
            mean_response_seconds: (responses > 0).then(|| seconds / responses as f64),
        }
    }

    /// Where its host name leads, in the resolver's order; empty when it never led anywhere.
    /// Waits for the first look-up.
    pub(crate) async fn addresses(&self) -> Arc<Vec<SocketAddr>> {
        self.resolution.addresses().await
    }
}
