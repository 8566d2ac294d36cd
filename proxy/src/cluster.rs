//! Clusters: endpoints that serve the same thing, and how one of them is picked.
//!
//! What is compiled ([`Cluster`]) is shared by all shards and never changes; what
//! lasts from one snapshot to the next ([`Endpoint`]: health, counters) hangs off
//! it. [`ShardCluster`] is a shard's own half: turns and idle connections.

mod affinity;
mod balance;
mod commons;
mod consistent;
mod endpoint;
mod handover;
mod health;
mod idle;
mod latency;
mod lease;
mod names;
mod outlier;
mod racing;
mod roster;
mod selection;
mod shard;

pub use affinity::Affinity;
pub use endpoint::{Endpoint, Health};
pub use lease::Lease;
pub use shard::{ShardCluster, Shortage, Tried};

pub(crate) use consistent::hash as stable_hash;
pub(crate) use handover::Asked;
pub(crate) use health::Prober;
pub(crate) use lease::ConnectFailure;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use affinity::Cookies;
use bs9_api::types::ClusterStatus;
use bs9_config::{Balance, UpstreamProtocol};
use bs9_net::tls::ClientTls;
use commons::Commons;
use consistent::Consistent;
use endpoint::Block;
use rustc_hash::FxHashMap;
use selection::Selection;

use crate::{
    http::Failure,
    retry::{RetryBudget, RetryPolicy, Spent},
};

/// A cluster as compiled from one configuration.
#[derive(Debug)]
pub struct Cluster {
    /// Its settings.
    pub config: bs9_config::Cluster,
    /// In configuration order.
    pub members: Box<[Member]>,
    /// How many shards pick from it.
    shards: usize,
    /// Whether picking needs to know how busy each endpoint is over all shards.
    counts_active: bool,
    /// Whether anything follows from how requests fare.
    observes: bool,
    /// Requests that an endpoint may have in flight.
    limit: usize,
    consistent: Option<Consistent>,
    sticky: Option<Cookies>,
    commons: Arc<Commons>,
    /// What connections to its endpoints shake hands with; `None`: plaintext.
    pub(crate) tls: Option<Arc<ClientTls>>,
}

/// An endpoint's place in a cluster.
#[derive(Debug, Clone)]
pub struct Member {
    /// What lasts.
    pub endpoint: Arc<Endpoint>,
    /// As configured; 0 takes nothing new.
    pub weight: u16,
    /// As configured; 0 is used first.
    pub priority: u8,
    /// Where it stands.
    pub zone: Option<Arc<str>>,
    /// As configured; whether it takes nothing new now is the endpoint's to say, as operators
    /// have the last word.
    pub disabled: bool,
}

impl Cluster {
    /// Compiles one, keeping the endpoints of `previous` that are still wanted, in the state they
    /// are in (see [`follow`](Self::follow)). `tls` is what its `tls` compiled to.
    pub fn compile(
        config: &bs9_config::Cluster,
        tls: Option<Arc<ClientTls>>,
        previous: Option<&Self>,
        shards: usize,
    ) -> Arc<Self> {
        let commons = previous.map_or_else(Arc::default, |cluster| Arc::clone(&cluster.commons));
        let mut known: BTreeMap<_, _> = previous
            .into_iter()
            .flat_map(|cluster| cluster.members.iter())
            .map(|member| (&member.endpoint.address, &member.endpoint))
            .collect();
        let unprobed = config.health_check.as_ref().is_some_and(|check| !check.initially_healthy);
        let fresh = |wanted: &bs9_config::Endpoint| {
            let endpoint = Endpoint::new(wanted.address.clone(), shards, &commons);
            if unprobed {
                endpoint.block(Block::Unprobed);
            }
            endpoint.set_draining(wanted.disabled);
            if previous.is_some() {
                endpoint.arrive();
            }
            Arc::new(endpoint)
        };
        let members: Box<[Member]> = config
            .endpoints
            .iter()
            .map(|wanted| Member {
                endpoint: known.remove(&wanted.address).map_or_else(|| fresh(wanted), Arc::clone),
                weight: wanted.weight,
                priority: wanted.priority,
                zone: wanted.zone.clone(),
                disabled: wanted.disabled,
            })
            .collect();
        let compares =
            matches!(config.balance, Balance::LeastConnections | Balance::P2c | Balance::PeakEwma);
        Arc::new(Self {
            shards,
            counts_active: config.max_connections.is_some() || (compares && members.len() > 1),
            observes: config.outliers.is_some() || config.balance == Balance::PeakEwma,
            limit: config.max_connections.unwrap_or(usize::MAX),
            consistent: Consistent::compile(config.balance, &members),
            sticky: Cookies::compile(config, &members),
            config: config.clone(),
            members,
            commons,
            tls,
        })
    }

    /// Disables and enables endpoints where this configuration says otherwise than `previous`
    /// did; what an operator said of the others stays. Not while it is compiled, as it may yet be
    /// refused then.
    pub(crate) fn follow(&self, previous: &Self) {
        let before: FxHashMap<_, _> = previous
            .members
            .iter()
            .map(|member| (Arc::as_ptr(&member.endpoint), member.disabled))
            .collect();
        for member in &self.members {
            let was_disabled = before.get(&Arc::as_ptr(&member.endpoint));
            if was_disabled.is_some_and(|was| *was != member.disabled) {
                member.endpoint.set_draining(member.disabled);
            }
        }
    }

    /// Whether requests may go beside each other on a connection.
    pub(crate) fn multiplexes(&self) -> bool {
        self.config.protocol != UpstreamProtocol::Http1
    }

    /// The scheme of requests to its endpoints.
    pub(crate) fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// Takes one retry out of what the cluster can afford.
    pub(crate) fn spend_retry(&self, policy: &RetryPolicy) -> Option<Spent> {
        RetryBudget::spend(&self.commons.retries, policy, self.active())
    }

    /// After how many seconds a client may try again that no endpoint answered: about when that
    /// may be otherwise. `None`: nothing is known of it.
    pub(crate) fn retry_after_seconds(&self, failure: Failure) -> Option<u64> {
        let after = match failure {
            Failure::EndpointsFull | Failure::QueueTimeout => {
                self.config.queue.map_or(Duration::ZERO, |queue| queue.timeout)
            }
            Failure::NoHealthyEndpoint => {
                let checked = self.config.health_check.as_ref();
                let checked = checked.map(|check| check.interval * check.healthy_after);
                let let_back = self.config.outliers.map(|outliers| outliers.ejection_time);
                checked.or(let_back)?
            }
            _ => return None,
        };
        // Whole seconds (RFC 9110 section 10.2.3); 0 would be at once.
        Some((after.as_secs() + u64::from(after.subsec_nanos() > 0)).max(1))
    }

    /// Counts a retry that is made.
    pub(crate) fn count_retry(&self) {
        self.commons.retries.count();
    }

    /// Requests and connections in flight, over all shards.
    fn active(&self) -> u64 {
        let active = |member: &Member| member.endpoint.cells.sum(|cell| cell.active.get());
        self.members.iter().map(active).sum()
    }

    /// For status answers.
    pub fn status(&self) -> ClusterStatus {
        let now = bs9_net::refresh_clock();
        let endpoints = self.members.iter().map(|member| {
            member.endpoint.status(member, selection::share(member, self.config.slow_start, now))
        });
        ClusterStatus {
            name: self.config.name.to_string(),
            balance: self.config.balance.name().to_owned(),
            health_checked: self.config.health_check.is_some(),
            panicking: Selection::of(self, now).panicking,
            waiting: self.commons.waiting() as u64,
            retries_total: self.commons.retries.made(),
            retries_refused_total: self.commons.retries.refused(),
            retries_under_way: self.commons.retries.under_way(),
            retries_allowed: self.commons.retries.allowed(),
            endpoints: endpoints.collect(),
        }
    }
}
