//! The engines of this program, by name: the host only knows them as a list.

use std::sync::Arc;

use bs9_api::types::{ClusterStatus, HttpListenerStatus, PoolStatus};
use bs9_net::{Engine, ListenerId};
use bs9_pool::{LoginReport, PoolEngine};
use bs9_proxy::{ClusterTimes, LogReport, ProxyEngine, RouteReport, UdpReport, UnknownEndpoint};

use super::endpoint_change::Standing;

/// What speaks the protocols.
pub(super) struct Engines {
    proxy: Arc<ProxyEngine>,
    pool: Arc<PoolEngine>,
}

impl Engines {
    pub(super) fn new() -> Self {
        Self { proxy: ProxyEngine::new(), pool: PoolEngine::new() }
    }

    /// For the host.
    pub(super) fn all(&self) -> Vec<Arc<dyn Engine>> {
        let (proxy, pool) = (Arc::clone(&self.proxy), Arc::clone(&self.pool));
        vec![proxy, pool]
    }

    /// Every cluster, in name order.
    pub(super) fn clusters(&self) -> Vec<ClusterStatus> {
        self.proxy.cluster_statuses()
    }

    /// What an HTTP listener counts.
    pub(super) fn http(&self, listener: ListenerId) -> Option<HttpListenerStatus> {
        self.proxy.http_status(listener)
    }

    /// What the routes of an HTTP listener count.
    pub(super) fn routes(&self, listener: ListenerId) -> Vec<RouteReport> {
        self.proxy.route_reports(listener)
    }

    /// How long the endpoints of each cluster took.
    pub(super) fn cluster_times(&self) -> Vec<ClusterTimes> {
        self.proxy.cluster_times()
    }

    /// What a UDP listener counts.
    pub(super) fn udp(&self, listener: ListenerId) -> Option<UdpReport> {
        self.proxy.udp_report(listener)
    }

    /// What access logs count.
    pub(super) fn logs(&self) -> Vec<LogReport> {
        self.proxy.log_reports()
    }

    /// Opens the files of access logs anew.
    pub(super) fn reopen_logs(&self) {
        self.proxy.reopen_logs();
    }

    /// The PostgreSQL engine.
    pub(super) fn pool(&self) -> &Arc<PoolEngine> {
        &self.pool
    }

    /// Every PostgreSQL pool.
    pub(super) fn pools(&self) -> Vec<PoolStatus> {
        self.pool.statuses()
    }

    /// How logins of PostgreSQL clients ended.
    pub(super) fn logins(&self) -> LoginReport {
        self.pool.login_report()
    }

    /// Has an endpoint take nothing new, or undoes that.
    pub(super) fn set_standing(&self, standing: &Standing) -> Result<(), UnknownEndpoint> {
        let Standing { cluster, address, disabled } = standing;
        self.proxy.drain_endpoint(cluster, address, *disabled)
    }

    /// How the endpoint that `wanted` is about stands now; `None`: there is no such endpoint.
    pub(super) fn standing(&self, wanted: &Standing) -> Option<Standing> {
        let disabled = self.proxy.is_draining(&wanted.cluster, &wanted.address)?;
        Some(Standing { disabled, ..wanted.clone() })
    }
}
