//! What can be asked of a data plane and of a manager: one table.
//!
//! An entry says the method, the path, who may call it, what goes in and what
//! comes out. The table yields the trait a program implements, the router that
//! checks and answers, the typed client, and the OpenAPI documents.

use bs9_config::{Process, Role};
use http::Method;

mod content;
mod integer;
mod table;

use crate::{
    error::ProblemCode,
    types::{
        AddEndpoint, ApplyOutcome, ApplyServices, AuditPage, AuditVerdict, AuditVerifyQuery,
        Catalog, ChangeOutcome, Clusters, CreateToken, CreatedToken, DataPlaneStatus, Dependencies,
        DependencyQuery, DeployService, DrainEndpoint, DrainOutcome, EventStreamQuery, Events,
        GenerationInForce, Health, History, HistoryQuery, HostStatus, Listeners, LogQuery,
        ManagerStatus, MetricsText, OneCluster, OneService, OneUnit, OrderPools, PageQuery,
        PoolClients, PoolServers, Pools, ReloadService, RemoveCluster, RemoveEndpoint,
        ResurrectServices, Routes, RoutesQuery, SaveServices, SavedServices, ScaleService,
        SeriesAnswer, SeriesQuery, ServiceInspection, ServiceLogs, ServiceOutcome, ServiceUsage,
        Services, SetCluster, SetWeight, SourceAudit, StartService, TokenOutcome, Tokens, Units,
    },
};
pub(crate) use content::{Answer, ContentKind, Described};
use table::endpoints;

/// What can be asked of `process`.
pub fn of(process: Process) -> &'static [&'static Endpoint] {
    match process {
        Process::DataPlane => DATA_PLANE,
        Process::Manager => MANAGER,
    }
}

/// Who may call an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// Anyone who can connect, with or without a token.
    Anyone,
    /// [`Role::Viewer`] and above.
    Viewer,
    /// [`Role::Operator`] and above.
    Operator,
    /// [`Role::Admin`].
    Admin,
}

impl Access {
    /// The least role that will do; `None` when none is needed.
    pub fn least_role(self) -> Option<Role> {
        match self {
            Self::Anyone => None,
            Self::Viewer => Some(Role::Viewer),
            Self::Operator => Some(Role::Operator),
            Self::Admin => Some(Role::Admin),
        }
    }

    /// Whether `role` (`None`: nobody known) may call.
    pub fn allows(self, role: Option<Role>) -> bool {
        self.least_role().is_none_or(|least| role >= Some(least))
    }
}

/// The word the configuration uses for a role.
pub fn role_word(role: Role) -> &'static str {
    match role {
        Role::Viewer => "viewer",
        Role::Operator => "operator",
        Role::Admin => "admin",
    }
}

/// One entry of the table.
#[derive(Debug)]
pub struct Endpoint {
    /// Who answers it.
    pub process: Process,
    /// GET reads, POST changes.
    pub method: Method,
    /// With parameters in braces: `/v1/clusters/{cluster}`.
    pub path: &'static str,
    /// Who may call it.
    pub access: Access,
    /// Its name in the client, the trait and the OpenAPI document.
    pub operation_id: &'static str,
    /// One line on what it does.
    pub summary: &'static str,
    /// Parameters after the `?`.
    pub(crate) query: Option<fn() -> Described>,
    /// The body it takes.
    pub(crate) request: Option<fn() -> Described>,
    /// What it answers.
    pub(crate) response: fn() -> Described,
}

impl Endpoint {
    /// Whether calling it changes something.
    pub fn changes(&self) -> bool {
        self.method != Method::GET
    }

    /// In which ways a call may be refused.
    pub fn refusals(&self) -> Vec<ProblemCode> {
        use ProblemCode as Code;

        let (path, query, body) =
            (self.path_parameters().next().is_some(), self.query.is_some(), self.request.is_some());
        let mut codes = vec![
            Code::BadRequest,
            Code::Unauthorized,
            Code::Forbidden,
            Code::TooManyRequests,
            Code::Internal,
            Code::Unavailable,
        ];
        if path || query || self.changes() {
            codes.extend([Code::NotFound, Code::InvalidRequest]);
        }
        if body {
            codes.extend([Code::RequestTimeout, Code::TooLarge, Code::UnsupportedMediaType]);
        }
        if self.changes() {
            codes.extend([Code::Conflict, Code::InvalidConfig]);
        }
        codes
    }

    /// Names of the parameters in the path.
    pub fn path_parameters(&self) -> impl Iterator<Item = &'static str> {
        self.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
    }
}

endpoints! {
    /// What a data plane answers. An `async fn` will do for each method, as long
    /// as its future can be sent between threads.
    api DataPlaneApi;
    /// A typed client of a data plane.
    client DataPlaneClient;
    /// Everything that can be asked of a data plane.
    table DATA_PLANE in data_plane for DataPlane;
    /// Routes every endpoint of a data plane to `api`, behind its access check.
    router data_plane_router;

    /// Everything the data plane knows of itself.
    status: GET "/v1/status" by Viewer => DataPlaneStatus;
    /// Every listener.
    listeners: GET "/v1/listeners" by Viewer => Listeners;
    /// Every cluster with its endpoints.
    clusters: GET "/v1/clusters" by Viewer => Clusters;
    /// One cluster with its endpoints.
    cluster: GET "/v1/clusters/{cluster}" by Viewer, path cluster => OneCluster;
    /// Every route, or the one that a request takes, and why.
    routes: GET "/v1/routes" by Viewer, query query: RoutesQuery => Routes;
    /// Every PostgreSQL pool.
    pools: GET "/v1/pools" by Viewer => Pools;
    /// Every client of the PostgreSQL pools.
    pool_clients: GET "/v1/pools/clients" by Viewer => PoolClients;
    /// Every server connection of the PostgreSQL pools.
    pool_servers: GET "/v1/pools/servers" by Viewer => PoolServers;
    /// Pause, resume, reconnect, disable, enable or kill the pools of a database, or of all.
    order_pools: POST "/v1/pools/orders" by Operator, body order: OrderPools => ChangeOutcome;
    /// The configuration in force.
    generation: GET "/v1/generation" by Viewer => GenerationInForce;
    /// Read the configuration files again and put them in force.
    reload: POST "/v1/reload" by Operator => ChangeOutcome;
    /// Drain the whole process, which then ends.
    drain: POST "/v1/drain" by Admin => DrainOutcome;
    /// Add an endpoint to a cluster.
    add_endpoint: POST "/v1/clusters/{cluster}/endpoints" by Operator,
        path cluster, body change: AddEndpoint => ChangeOutcome;
    /// Remove an endpoint from a cluster.
    remove_endpoint: POST "/v1/clusters/{cluster}/endpoints/remove" by Operator,
        path cluster, body change: RemoveEndpoint => ChangeOutcome;
    /// Set the weight of an endpoint.
    set_weight: POST "/v1/clusters/{cluster}/endpoints/weight" by Operator,
        path cluster, body change: SetWeight => ChangeOutcome;
    /// Drain an endpoint, or undo that.
    drain_endpoint: POST "/v1/clusters/{cluster}/endpoints/drain" by Operator,
        path cluster, body change: DrainEndpoint => ChangeOutcome;
    /// Make a cluster, or bring it to this.
    set_cluster: POST "/v1/clusters/{cluster}" by Operator,
        path cluster, body change: SetCluster => ChangeOutcome;
    /// Take a cluster away, and the routes to it alone.
    remove_cluster: POST "/v1/clusters/{cluster}/remove" by Operator,
        path cluster, body change: RemoveCluster => ChangeOutcome;
    /// Metrics in Prometheus' text format.
    metrics: GET "/metrics" by Anyone => MetricsText;
    /// Whether the process is alive at all.
    health_live: GET "/health/live" by Anyone => Health;
    /// Whether it takes traffic.
    health_ready: GET "/health/ready" by Anyone => Health;
}

endpoints! {
    /// What a manager answers. An `async fn` will do for each method, as long as
    /// its future can be sent between threads.
    api ManagerApi;
    /// A typed client of a manager.
    client ManagerClient;
    /// Everything that can be asked of a manager.
    table MANAGER in manager for Manager;
    /// Routes every endpoint of a manager to `api`, behind its access check.
    router manager_router;

    /// Both roles in one: the manager, and the data plane as last seen.
    status: GET "/v1/status" by Viewer => ManagerStatus;
    /// What the manager remembers, oldest first.
    history: GET "/v1/history" by Viewer, query range: HistoryQuery => History;
    /// Every unit that is measured, and what it uses.
    units: GET "/v1/units" by Viewer => Units;
    /// One unit with its processes and where it listens.
    unit: GET "/v1/units/{unit}" by Viewer, path unit => OneUnit;
    /// The machine: load, processors, memory, disks, network.
    host: GET "/v1/host" by Viewer => HostStatus;
    /// Which series of measurements are kept.
    catalog: GET "/v1/catalog" by Viewer => Catalog;
    /// Series of measurements within a range.
    series: GET "/v1/series" by Viewer, query range: SeriesQuery => SeriesAnswer;
    /// What has happened, oldest first.
    events: GET "/v1/events" by Viewer, query range: PageQuery => Events;
    /// The log of changes, oldest first.
    audit: GET "/v1/audit" by Operator, query range: PageQuery => AuditPage;
    /// Whether the log of changes is whole and as it was written.
    audit_verify: GET "/v1/audit/verify" by Operator, query expected: AuditVerifyQuery
        => AuditVerdict;
    /// Tokens that were made while running.
    tokens: GET "/v1/tokens" by Admin => Tokens;
    /// Make a token.
    create_token: POST "/v1/tokens" by Admin, attempt attempt, body token: CreateToken
        => CreatedToken;
    /// Revoke a token.
    revoke_token: POST "/v1/tokens/{token}/revoke" by Admin, attempt attempt, path token
        => TokenOutcome;
    /// Every service, and how it is.
    services: GET "/v1/services" by Viewer => Services;
    /// One service, and how it is.
    service: GET "/v1/services/{service}" by Viewer, path service => OneService;
    /// What a service is kept from, what of it holds, and what it costs.
    inspect_service: GET "/v1/services/{service}/inspect" by Viewer,
        path service => ServiceInspection;
    /// What a service uses right now, process by process.
    service_usage: GET "/v1/services/{service}/usage" by Viewer,
        path service => ServiceUsage;
    /// What depends on what, by units, sockets, environments, routes and pools.
    dependencies: GET "/v1/dependencies" by Viewer, query asked: DependencyQuery => Dependencies;
    /// What an audit of a service's source finds.
    audit_source: GET "/v1/services/{service}/source" by Viewer,
        path service => SourceAudit;
    /// What a service wrote.
    service_logs: GET "/v1/services/{service}/logs" by Viewer,
        path service, query lines: LogQuery => ServiceLogs;
    /// Describe a service, and run it as described.
    deploy_service: POST "/v1/services/{service}" by Admin,
        attempt attempt, path service, body change: DeployService => ServiceOutcome;
    /// Start a service.
    start_service: POST "/v1/services/{service}/start" by Operator,
        attempt attempt, path service, body change: StartService => ServiceOutcome;
    /// Stop a service; it stays down after a reboot too.
    stop_service: POST "/v1/services/{service}/stop" by Operator,
        attempt attempt, path service => ServiceOutcome;
    /// Restart every instance of a service at once.
    restart_service: POST "/v1/services/{service}/restart" by Operator,
        attempt attempt, path service => ServiceOutcome;
    /// Bring a service to its description one instance at a time.
    reload_service: POST "/v1/services/{service}/reload" by Operator,
        attempt attempt, path service, body change: ReloadService => ServiceOutcome;
    /// Run more or fewer instances of a service.
    scale_service: POST "/v1/services/{service}/scale" by Operator,
        attempt attempt, path service, body change: ScaleService => ServiceOutcome;
    /// Stop a service, and remove its units and its description.
    delete_service: POST "/v1/services/{service}/delete" by Admin,
        attempt attempt, path service => ServiceOutcome;
    /// Bring every service to what its file says.
    apply_services: POST "/v1/apply" by Admin, attempt attempt, body change: ApplyServices => ApplyOutcome;
    /// Remember which services there are, and which of them run.
    save_services: POST "/v1/save" by Operator, body change: SaveServices => SavedServices;
    /// Bring back what was saved.
    resurrect_services: POST "/v1/resurrect" by Admin,
        attempt attempt, body change: ResurrectServices => SavedServices;
    /// Metrics in Prometheus' text format.
    metrics: GET "/metrics" by Anyone => MetricsText;
    /// Whether the process is alive at all.
    health_live: GET "/health/live" by Anyone => Health;
    /// Whether it watches.
    health_ready: GET "/health/ready" by Anyone => Health;

    streams {
        /// What happens, as it happens (Server-Sent Events).
        event_stream: "/v1/events/stream" by Viewer, query range: EventStreamQuery;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_entries_share_a_name_or_a_place() {
        for endpoints in [DATA_PLANE, MANAGER] {
            let names: BTreeSet<_> = endpoints.iter().map(|e| e.operation_id).collect();
            let places: BTreeSet<_> =
                endpoints.iter().map(|e| (e.method.as_str(), e.path)).collect();
            assert_eq!(names.len(), endpoints.len());
            assert_eq!(places.len(), endpoints.len());
        }
    }

    #[test]
    fn whatever_changes_something_needs_more_than_a_viewer() {
        for endpoint in DATA_PLANE.iter().chain(MANAGER) {
            let open_to_viewers = endpoint.access.allows(Some(Role::Viewer));
            assert!(!(endpoint.changes() && open_to_viewers), "{}", endpoint.operation_id);
        }
    }

    #[test]
    fn each_role_includes_the_ones_before_it() {
        let rows = [
            (Access::Anyone, [true, true, true, true]),
            (Access::Viewer, [false, true, true, true]),
            (Access::Operator, [false, false, true, true]),
            (Access::Admin, [false, false, false, true]),
        ];
        let callers = [None, Some(Role::Viewer), Some(Role::Operator), Some(Role::Admin)];
        for (access, expected) in rows {
            assert_eq!(callers.map(|role| access.allows(role)), expected);
        }
    }

    #[test]
    fn path_parameters_are_read_from_the_path() {
        let names = |endpoint: &Endpoint| endpoint.path_parameters().collect::<Vec<_>>();
        assert_eq!(names(&data_plane::set_weight), ["cluster"]);
        assert_eq!(names(&data_plane::status), [""; 0]);
    }
}
