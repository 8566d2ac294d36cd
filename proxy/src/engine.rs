//! The proxy as the host sees it: one per process.

use std::{
    any::Any,
    rc::Rc,
    sync::{Arc, Mutex, PoisonError},
};

use bs9_api::types::{ClusterStatus, HttpListenerStatus};
use bs9_config::ListenerProtocol;
use bs9_net::{
    CompileContext, CompileError, ControlContext, Engine, ListenerId, Shard, ShardEngine, Snapshot,
};
use thiserror::Error;

use crate::{
    access_log::{LogReport, Writers},
    cluster::{Cluster, Endpoint, Member, Prober},
    http::RouteReport,
    part::ProxyPart,
    response_times::TimesReport,
    udp::UdpReport,
    worker::{ProxyShard, Worker},
};

thread_local! {
    /// Lives on the control thread, whose local runtime carries the probes.
    static PROBER: Prober = Prober::default();
}

/// The engine behind `protocol = "http"`, `"tcp"` and `"udp"`.
#[derive(Default)]
pub struct ProxyEngine {
    /// The part in force, for status answers on the control thread.
    part: Mutex<Option<Arc<ProxyPart>>>,
    /// Dropped last: what waits to be written still is.
    writers: Writers,
}

/// How long the endpoints of a cluster took to answer.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterTimes {
    /// The cluster's name.
    pub name: Arc<str>,
    /// All of them together.
    pub times: TimesReport,
    /// Each, by its address.
    pub endpoints: Vec<(String, TimesReport)>,
}

/// No endpoint of this address in a cluster of this name.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("cluster {cluster:?} has no endpoint {address:?}")]
pub struct UnknownEndpoint {
    /// The cluster that was asked for.
    pub cluster: String,
    /// The address that was asked for.
    pub address: String,
}

impl ProxyEngine {
    /// An engine that has compiled nothing yet.
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    fn part(&self) -> Option<Arc<ProxyPart>> {
        self.part.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Every cluster with its endpoints, in name order.
    pub fn cluster_statuses(&self) -> Vec<ClusterStatus> {
        let part = self.part();
        part.iter().flat_map(|part| &part.clusters).map(|cluster| cluster.status()).collect()
    }

    /// What an HTTP listener has counted; `None` when it is not one.
    pub fn http_status(&self, listener: ListenerId) -> Option<HttpListenerStatus> {
        self.part()?.http.get(&listener).map(|site| site.stats.status())
    }

    /// What a UDP listener has counted; `None` when it is not one.
    pub fn udp_report(&self, listener: ListenerId) -> Option<UdpReport> {
        self.part()?.udp.get(&listener).map(|site| site.stats.report())
    }

    /// What the routes of an HTTP listener have counted; empty when it is not one.
    pub fn route_reports(&self, listener: ListenerId) -> Vec<RouteReport> {
        let part = self.part();
        let site = part.as_ref().and_then(|part| part.http.get(&listener));
        site.map(|site| site.route_counts.reports().collect()).unwrap_or_default()
    }

    /// How long the endpoints of each cluster took, in name order.
    pub fn cluster_times(&self) -> Vec<ClusterTimes> {
        let part = self.part();
        let report = |cluster: &Arc<Cluster>| {
            let mut times = TimesReport::default();
            let endpoints = cluster.members.iter().map(|Member { endpoint, .. }| {
                let mut own = TimesReport::default();
                endpoint.cells.iter().for_each(|cell| cell.times.report(&mut own));
                endpoint.cells.iter().for_each(|cell| cell.times.report(&mut times));
                (endpoint.name(), own)
            });
            let endpoints = endpoints.collect();
            ClusterTimes { name: Arc::clone(&cluster.config.name), endpoints, times }
        };
        part.iter().flat_map(|part| &part.clusters).map(report).collect()
    }

    /// What the access logs have been given.
    pub fn log_reports(&self) -> Vec<LogReport> {
        self.writers.reports()
    }

    /// Opens the files of access logs anew: somebody has moved them.
    pub fn reopen_logs(&self) {
        self.writers.reopen();
    }

    /// Takes an endpoint out for new traffic, or lets it back in. What is in flight finishes.
    ///
    /// # Errors
    /// When there is no such endpoint.
    pub fn drain_endpoint(
        &self,
        cluster: &str,
        address: &str,
        drain: bool,
    ) -> Result<(), UnknownEndpoint> {
        let endpoint = self.endpoint(cluster, address).ok_or_else(|| UnknownEndpoint {
            cluster: cluster.to_owned(),
            address: address.to_owned(),
        })?;
        endpoint.set_draining(drain);
        Ok(())
    }

    /// Whether an endpoint takes nothing new; `None` when there is no such endpoint.
    pub fn is_draining(&self, cluster: &str, address: &str) -> Option<bool> {
        self.endpoint(cluster, address).map(|endpoint| endpoint.is_draining())
    }

    fn endpoint(&self, cluster: &str, address: &str) -> Option<Arc<Endpoint>> {
        let part = self.part()?;
        let members = &part.cluster(cluster)?.members;
        let found = members.iter().find(|member| member.endpoint.name() == address)?;
        Some(Arc::clone(&found.endpoint))
    }
}

impl Engine for ProxyEngine {
    fn name(&self) -> &'static str {
        "proxy"
    }

    fn serves(&self, protocol: &ListenerProtocol) -> bool {
        !matches!(protocol, ListenerProtocol::Postgres)
    }

    fn compile(
        &self,
        context: &CompileContext<'_>,
    ) -> Result<Arc<dyn Any + Send + Sync>, CompileError> {
        Ok(Arc::new(ProxyPart::compile(context, &self.writers)?))
    }

    fn start_shard(&self, shard: &Rc<Shard>, engine: usize) -> Rc<dyn ShardEngine> {
        Rc::new(ProxyShard(Worker::start(shard, engine)))
    }

    fn start_control(&self, _context: &ControlContext) {}

    fn snapshot_changed(&self, context: &ControlContext, snapshot: &Arc<Snapshot>) {
        let part: Arc<ProxyPart> = snapshot.part(context.engine);
        if let Some(previous) = self.part() {
            part.follow(&previous);
        }
        PROBER.with(|prober| prober.watch(part.clusters.iter()));
        *self.part.lock().unwrap_or_else(PoisonError::into_inner) = Some(part);
    }
}
