//! Clusters: endpoints that serve the same thing, and how one of them is picked.
//!
//! What is compiled ([`Cluster`]) is shared by all shards and never changes; what
//! lasts from one snapshot to the next ([`Endpoint`]: health, counters) hangs off
//! it. [`ShardCluster`] is a shard's own half: cursors and idle connections.

mod balance;
mod endpoint;
mod health;
mod idle;
mod shard;

pub use endpoint::{Endpoint, Health};
pub use shard::{Lease, ShardCluster, Tried};

pub(crate) use health::Prober;
pub(crate) use shard::ConnectFailure;

use std::{collections::BTreeMap, sync::Arc};

use bs9_api::types::ClusterStatus;
use bs9_config::Balance;
use bs9_net::tls::ClientTls;

/// A cluster as compiled from one configuration.
#[derive(Debug)]
pub struct Cluster {
    /// Its settings.
    pub config: bs9_config::Cluster,
    /// In configuration order.
    pub members: Box<[Member]>,
    /// Whether picking needs to know how busy each endpoint is over all shards.
    pub(crate) counts_active: bool,
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
}

impl Cluster {
    /// Compiles one, keeping the endpoints of `previous` that are still wanted. `tls` is what
    /// its `tls` compiled to.
    pub fn compile(
        config: &bs9_config::Cluster,
        tls: Option<Arc<ClientTls>>,
        previous: Option<&Self>,
        shards: usize,
    ) -> Arc<Self> {
        let mut known: BTreeMap<_, _> = previous
            .into_iter()
            .flat_map(|cluster| cluster.members.iter())
            .map(|member| (&member.endpoint.address, &member.endpoint))
            .collect();
        let members: Box<[Member]> = config
            .endpoints
            .iter()
            .map(|wanted| Member {
                endpoint: known.remove(&wanted.address).map_or_else(
                    || Arc::new(Endpoint::new(wanted.address.clone(), shards)),
                    Arc::clone,
                ),
                weight: wanted.weight,
            })
            .collect();
        let compares = matches!(config.balance, Balance::LeastConnections | Balance::P2c);
        let counts_active = config.max_connections.is_some() || (compares && members.len() > 1);
        Arc::new(Self { config: config.clone(), members, counts_active, tls })
    }

    /// For status answers.
    pub fn status(&self) -> ClusterStatus {
        ClusterStatus {
            name: self.config.name.to_string(),
            balance: self.config.balance.name().to_owned(),
            health_checked: self.config.health_check.is_some(),
            endpoints: self.members.iter().map(|one| one.endpoint.status(one.weight)).collect(),
        }
    }
}
