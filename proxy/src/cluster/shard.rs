//! One shard's half of a cluster: picking, connecting, keeping connections.

use std::{
    cell::Cell,
    io,
    rc::Rc,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use bs9_config::EndpointAddress;
use bs9_net::{
    Stream, Transport,
    tls::{self, ClientTls, HandshakeFailure, TlsStream},
};

use super::{
    Cluster, Endpoint, Member,
    balance::{Balancer, Candidate},
    idle::IdleConnections,
};

/// A shard's half of a [`Cluster`].
#[derive(Debug)]
pub struct ShardCluster {
    /// The compiled half.
    pub cluster: Arc<Cluster>,
    shard: usize,
    balancer: Balancer,
    idle: Box<[Rc<IdleConnections>]>,
    /// Retries that may still be made, in hundredths of a retry.
    retry_credit: Cell<u32>,
}

/// Most retries that can be saved up, in hundredths: a burst of 10.
const MAX_RETRY_CREDIT: u32 = 1_000;
const ONE_RETRY: u32 = 100;

/// Members that failed for this request already.
#[derive(Debug, Default, Clone, Copy)]
pub struct Tried {
    members: [u32; Self::MOST],
    count: usize,
}

impl Tried {
    /// Tries of one request; the configuration allows no more.
    const MOST: usize = 12;

    /// Remembers `member`.
    pub fn add(&mut self, member: usize) {
        if self.count < Self::MOST {
            self.members[self.count] = member as u32;
            self.count += 1;
        }
    }

    fn has(&self, member: usize) -> bool {
        self.members[..self.count].contains(&(member as u32))
    }
}

struct Eligible<'a> {
    member: &'a Member,
    limit: usize,
    tried: bool,
}

impl Candidate for Eligible<'_> {
    fn is_eligible(&self) -> bool {
        let endpoint = &self.member.endpoint;
        self.member.weight > 0
            && !self.tried
            && endpoint.takes_traffic()
            && (self.limit == usize::MAX || endpoint.active.load(Relaxed) < self.limit)
    }

    fn weight(&self) -> u64 {
        u64::from(self.member.weight).max(1)
    }

    fn active(&self) -> u64 {
        self.member.endpoint.active.load(Relaxed) as u64
    }
}

/// Why no connection to an endpoint could be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectFailure {
    #[error("its name does not resolve")]
    Unresolved,
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("TLS: {0}")]
    Tls(#[from] HandshakeFailure),
}

impl ShardCluster {
    /// A shard's half of `cluster`; idle connections of endpoints that `previous` has too are kept.
    pub fn new(cluster: &Arc<Cluster>, shard: usize, previous: Option<&Self>) -> Rc<Self> {
        let keep = |endpoint: &Arc<Endpoint>| {
            // Connections that were made otherwise are not what is wanted now.
            let previous = previous.filter(|previous| same_tls(&previous.cluster, cluster))?;
            let same = |member: &Member| Arc::ptr_eq(&member.endpoint, endpoint);
            previous.cluster.members.iter().position(same).map(|at| Rc::clone(&previous.idle[at]))
        };
        let idle = cluster.members.iter().map(|member| {
            let fresh = || Rc::new(IdleConnections::new(Arc::clone(&member.endpoint), shard));
            keep(&member.endpoint).unwrap_or_else(fresh)
        });
        let seed = (shard as u64 + 1).wrapping_mul(0xD134_2543_DE82_EF95);
        Rc::new(Self {
            idle: idle.collect(),
            balancer: Balancer::new(cluster.config.balance, cluster.members.len(), seed),
            cluster: Arc::clone(cluster),
            shard,
            retry_credit: Cell::new(MAX_RETRY_CREDIT),
        })
    }

    /// Picks an endpoint that may take a request and counts it as in flight, or
    /// `None` when there is none besides those in `tried`.
    pub fn lease(self: &Rc<Self>, tried: &Tried) -> Option<Lease> {
        let limit = self.cluster.config.max_connections.unwrap_or(usize::MAX);
        let members = &self.cluster.members;
        let candidate = |at: usize| Eligible { member: &members[at], limit, tried: tried.has(at) };
        for _ in 0..members.len() {
            let member = self.balancer.pick(candidate, members.len())?;
            let endpoint = &members[member].endpoint;
            let counted = self.cluster.counts_active;
            if counted && endpoint.active.fetch_add(1, Relaxed) >= limit {
                // Another shard was faster.
                endpoint.active.fetch_sub(1, Relaxed);
                continue;
            }
            endpoint.cells[self.shard].active.increment();
            endpoint.cells[self.shard].requests.increment();
            return Some(Lease { cluster: Rc::clone(self), member, counted });
        }
        None
    }

    /// Earns credit for retries with every request.
    pub fn earn_retry(&self, budget: f64) {
        let earned = (budget * f64::from(ONE_RETRY)) as u32;
        self.retry_credit.set((self.retry_credit.get() + earned).min(MAX_RETRY_CREDIT));
    }

    /// Whether the budget allows one more retry; spends it.
    pub fn spend_retry(&self) -> bool {
        match self.retry_credit.get().checked_sub(ONE_RETRY) {
            Some(left) => {
                self.retry_credit.set(left);
                true
            }
            None => false,
        }
    }

    /// Closes idle connections that are too old or were closed at the other end.
    pub fn sweep(&self) {
        self.idle.iter().for_each(|idle| idle.sweep(self.cluster.config.idle_timeout));
    }
}

/// An endpoint in use by one request or connection; counted until dropped.
#[derive(Debug)]
pub struct Lease {
    cluster: Rc<ShardCluster>,
    member: usize,
    counted: bool,
}

impl Lease {
    /// Its place in the cluster.
    pub fn member(&self) -> usize {
        self.member
    }

    /// The endpoint.
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.cluster.cluster.members[self.member].endpoint
    }

    /// The cluster.
    pub fn cluster(&self) -> &Rc<ShardCluster> {
        &self.cluster
    }

    pub(crate) fn cell(&self) -> &super::endpoint::EndpointCell {
        &self.endpoint().cells[self.cluster.shard]
    }

    /// A connection kept from before.
    pub fn reuse(&self) -> Option<Transport> {
        self.cluster.idle[self.member].take(self.cluster.cluster.config.idle_timeout)
    }

    /// A new connection. Bounded by the caller's timer.
    pub(crate) async fn connect(&self) -> Result<Transport, ConnectFailure> {
        match &self.cluster.cluster.tls {
            None => Ok(self.dial().await?.into()),
            // Apart, so that plain connections need not be as large.
            Some(tls) => Ok(Box::pin(self.shake_hands(tls)).await?.into()),
        }
    }

    async fn shake_hands(&self, tls: &ClientTls) -> Result<TlsStream, ConnectFailure> {
        let socket = self.dial().await?;
        Ok(tls.connect(socket, called(&self.endpoint().address)).await?)
    }

    async fn dial(&self) -> Result<Stream, ConnectFailure> {
        let endpoint = self.endpoint();
        let connected = match &endpoint.address {
            EndpointAddress::Unix(path) => Stream::connect_unix(path).await,
            EndpointAddress::Tcp(address) => Stream::connect_tcp(*address).await,
            // Apart, so that connections to plain addresses need not be as large.
            EndpointAddress::Name { .. } => return Box::pin(connect_named(endpoint)).await,
        };
        Ok(connected?)
    }

    /// Gives a connection back that is provably clean.
    pub fn keep(&self, stream: Transport) {
        self.cluster.idle[self.member]
            .put(stream, self.cluster.cluster.config.max_idle_connections);
    }
}

/// What the certificate of an endpoint is for, unless the configuration says otherwise.
pub(super) fn called(address: &EndpointAddress) -> tls::Endpoint<'_> {
    match address {
        EndpointAddress::Tcp(address) => tls::Endpoint::Address(address.ip()),
        EndpointAddress::Name { host, .. } => tls::Endpoint::Name(host),
        EndpointAddress::Unix(_) => tls::Endpoint::Name("localhost"),
    }
}

fn same_tls(one: &Cluster, other: &Cluster) -> bool {
    match (&one.tls, &other.tls) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        (None, None) => true,
        _ => false,
    }
}

/// Tries each address that the endpoint's name leads to.
async fn connect_named(endpoint: &Endpoint) -> Result<Stream, ConnectFailure> {
    let mut failure = ConnectFailure::Unresolved;
    for address in endpoint.looked_up().await.iter() {
        match Stream::connect_tcp(*address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = error.into(),
        }
    }
    Err(failure)
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.cell().active.decrement();
        if self.counted {
            self.endpoint().active.fetch_sub(1, Relaxed);
        }
    }
}
