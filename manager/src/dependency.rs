//! What depends on what.
//!
//! Four things say so, and each edge tells which: relations of units, sockets that are open,
//! addresses in environments, and what the data plane routes and pools. None of them is asked
//! for what it does not know: what could not be looked at is told.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use bs9_api::types::{
    ClusterStatus, Dependencies, DependencyHealth, DependencyKind, DependencyRelation,
    DependencySource, EndpointHealth, ListenerRoutes, ListenerStatus, PoolServer, PoolStatus,
    SCHEMA, ServiceState, ServiceStatus, Unavailable,
};
use jiff::Timestamp;

mod address;
mod graph;
mod socket;
mod unix;

use graph::{Graph, id};
use socket::Owner;

/// Values of environment files that are looked at, at most, in bytes of the file.
pub(crate) const MAX_ENVIRONMENT_BYTES: u64 = 1 << 20;

/// What is known of a service before anything is put together.
#[derive(Debug)]
pub(crate) struct KnownService {
    pub(crate) status: ServiceStatus,
    /// Its processes.
    pub(crate) pids: Vec<u32>,
    /// Relations of its units: the directive, and the unit it names.
    pub(crate) relations: Vec<(&'static str, String)>,
    /// Its environment; values stay in here.
    pub(crate) environment: Vec<(String, String)>,
}

/// What is known of the data plane.
#[derive(Debug, Default)]
pub(crate) struct KnownDataPlane {
    pub(crate) pid: Option<u32>,
    pub(crate) listeners: Vec<ListenerStatus>,
    pub(crate) clusters: Vec<ClusterStatus>,
    pub(crate) routes: Vec<ListenerRoutes>,
    pub(crate) pools: Vec<PoolStatus>,
    pub(crate) servers: Vec<PoolServer>,
}

/// Everything that was found out.
#[derive(Debug, Default)]
pub(crate) struct Known {
    pub(crate) services: Vec<KnownService>,
    pub(crate) data_plane: KnownDataPlane,
    pub(crate) unavailable: Vec<Unavailable>,
}

/// Puts it together, around one service or as a whole. Reads `/proc`: not for the runtime's
/// thread.
pub(crate) fn resolve(known: Known, center: Option<&str>, proc: &Path) -> Dependencies {
    let mut whole = Whole { graph: Graph::default(), places: Places::default() };
    let mut unavailable = known.unavailable;
    whole.add_services(&known.services);
    whole.add_data_plane(&known.data_plane);
    whole.add_relations(&known.services);
    let reasons = whole.add_sockets(&known.services, &known.data_plane, proc);
    unavailable.extend(
        reasons.into_iter().map(|reason| Unavailable { what: "sockets".to_owned(), reason }),
    );
    whole.add_environments(&known.services);
    let mut graph = whole.graph;
    if let Some(center) = center {
        graph.around(&id(DependencyKind::Service, center));
    }
    let cycles = graph.cycles();
    let (nodes, edges) = graph.into_parts();
    Dependencies { schema: SCHEMA, at: Timestamp::now(), nodes, edges, cycles, unavailable }
}

/// Who is where: addresses and ports of this machine, and names.
#[derive(Debug, Default)]
struct Places {
    /// Of services and listeners, by port; the addresses are this machine's.
    ports: BTreeMap<u16, String>,
    /// Of listeners at Unix sockets, by path.
    paths: BTreeMap<String, String>,
    names: BTreeMap<String, String>,
}

struct Whole {
    graph: Graph,
    places: Places,
}

impl Whole {
    fn add_services(&mut self, services: &[KnownService]) {
        for KnownService { status, .. } in services {
            let node = self.graph.node(DependencyKind::Service, &status.name);
            node.health = health(status.state);
            node.state = Some(status.state.as_str().to_owned());
            node.reason = status.reason.clone();
            let ports: Vec<u16> = status.instances.iter().filter_map(|one| one.port).collect();
            let ports = if ports.is_empty() { status.port.into_iter().collect() } else { ports };
            node.addresses = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
            let id = node.id.clone();
            self.places.names.insert(status.name.to_ascii_lowercase(), id.clone());
            self.places.ports.extend(ports.into_iter().map(|port| (port, id.clone())));
        }
    }

    fn add_data_plane(&mut self, data_plane: &KnownDataPlane) {
        for listener in &data_plane.listeners {
            let node = self.graph.node(DependencyKind::Listener, &listener.name);
            node.health = DependencyHealth::Good;
            node.state = Some(listener.protocol.clone());
            node.addresses.clone_from(&listener.addresses);
            let id = node.id.clone();
            for address in &listener.addresses {
                if let Ok(address) = address.parse::<SocketAddr>() {
                    self.places.ports.insert(address.port(), id.clone());
                } else if let Some(path) = address.strip_prefix("unix:") {
                    self.places.paths.insert(path.to_owned(), id.clone());
                }
            }
        }
        for routes in &data_plane.routes {
            let from = id(DependencyKind::Listener, &routes.listener);
            for route in &routes.routes {
                // `cluster api`, or several with their weights.
                let asks: Vec<String> = route
                    .checks
                    .iter()
                    .map(|check| format!("{} {}", check.subject, check.wanted))
                    .collect();
                let asks =
                    if asks.is_empty() { "every request".to_owned() } else { asks.join(", ") };
                for cluster in clusters_of(&route.action, &data_plane.clusters) {
                    let detail = format!("routes[{}]: {asks}", route.number);
                    self.route(&from, cluster, &detail);
                }
            }
        }
        self.add_pools(data_plane);
    }

    /// From a listener to whoever is behind a cluster.
    fn route(&mut self, from: &str, cluster: &ClusterStatus, detail: &str) {
        for endpoint in &cluster.endpoints {
            let port = endpoint.address.parse::<SocketAddr>().ok().map(|address| address.port());
            let to = match port.and_then(|port| self.places.ports.get(&port)).cloned() {
                Some(to) => to,
                None => self.outside(&endpoint.address),
            };
            let detail = format!("{detail} → cluster {}", cluster.name);
            let (kind, source) = (DependencyRelation::Routes, DependencySource::Proxy);
            self.graph.edge(from, &to, kind, source, detail);
            self.note_health(&to, endpoint.health, endpoint.health_reason.as_deref());
        }
    }

    /// What the data plane's probes say about a node.
    fn note_health(&mut self, node: &str, health: EndpointHealth, reason: Option<&str>) {
        let Some((kind, name)) = node.split_once(':') else { return };
        let kind = match kind {
            "service" => DependencyKind::Service,
            "outside" => DependencyKind::Outside,
            _ => return,
        };
        let node = self.graph.node(kind, name);
        match (health, node.health) {
            (EndpointHealth::Unhealthy, _) => {
                node.health = match kind {
                    DependencyKind::Outside => DependencyHealth::Bad,
                    _ => DependencyHealth::Degraded,
                };
                node.reason = Some(format!(
                    "the data plane finds an endpoint unhealthy{}",
                    reason.map(|reason| format!(": {reason}")).unwrap_or_default()
                ));
            }
            (EndpointHealth::Healthy, DependencyHealth::Unknown)
                if kind == DependencyKind::Outside =>
            {
                node.health = DependencyHealth::Good;
            }
            _ => {}
        }
    }

    fn add_pools(&mut self, data_plane: &KnownDataPlane) {
        let doors: Vec<String> = data_plane
            .listeners
            .iter()
            .filter(|listener| listener.protocol == "postgres")
            .map(|listener| id(DependencyKind::Listener, &listener.name))
            .collect();
        for pool in &data_plane.pools {
            let node = self.graph.node(DependencyKind::Database, &pool.database);
            node.health = match (pool.paused || pool.disabled, pool.clients_waiting) {
                (true, _) => DependencyHealth::Bad,
                (false, 0) => DependencyHealth::Good,
                (false, _) => DependencyHealth::Degraded,
            };
            if pool.clients_waiting > 0 {
                node.reason = Some(format!("{} clients wait for a server", pool.clients_waiting));
            }
            let id = node.id.clone();
            for door in &doors {
                let detail = format!("pool {}/{}", pool.database, pool.user);
                let (kind, source) = (DependencyRelation::Routes, DependencySource::Pool);
                self.graph.edge(door, &id, kind, source, detail);
            }
        }
        for server in &data_plane.servers {
            let from = self.graph.node(DependencyKind::Database, &server.database).id.clone();
            let to = self.outside(&server.address);
            self.graph.edge(
                &from,
                &to,
                DependencyRelation::Connects,
                DependencySource::Pool,
                format!("server connections as {}", server.user),
            );
        }
    }

    fn add_relations(&mut self, services: &[KnownService]) {
        let own = |unit: &str| {
            let unit = unit.strip_suffix(".service")?;
            let service = unit.rsplit_once('@').map_or(unit, |(service, _)| service);
            services.iter().find(|known| known.status.name == service)
        };
        for known in services {
            let from = id(DependencyKind::Service, &known.status.name);
            for (directive, unit) in &known.relations {
                let kind = match *directive {
                    "Requires" | "BindsTo" | "Requisite" => DependencyRelation::Requires,
                    "Wants" => DependencyRelation::Wants,
                    _ => DependencyRelation::After,
                };
                let to = match own(unit) {
                    Some(other) => id(DependencyKind::Service, &other.status.name),
                    None if is_ordinary(unit) || kind == DependencyRelation::After => continue,
                    None => self.graph.node(DependencyKind::Unit, unit).id.clone(),
                };
                let detail = format!("{directive}={unit}");
                self.graph.edge(&from, &to, kind, DependencySource::Systemd, detail);
            }
        }
    }

    /// Returns what could not be seen.
    fn add_sockets(
        &mut self,
        services: &[KnownService],
        data_plane: &KnownDataPlane,
        proc: &Path,
    ) -> Vec<String> {
        const DATA_PLANE: &str = "dataplane";
        let mut owners: Vec<Owner> = services
            .iter()
            .map(|known| Owner {
                node: id(DependencyKind::Service, &known.status.name),
                pids: known.pids.clone(),
            })
            .collect();
        let data_plane = data_plane.pid.map(|pid| vec![pid]).unwrap_or_default();
        owners.push(Owner { node: DATA_PLANE.to_owned(), pids: data_plane });
        let sockets = socket::look(proc, &owners);
        for (from, remote) in &sockets.open {
            // Where the data plane connects to, its routes and pools say.
            if from == DATA_PLANE {
                continue;
            }
            let to = match sockets.listener(*remote) {
                Some(DATA_PLANE) => self.places.ports.get(&remote.port()).cloned(),
                Some(owner) => Some(owner.to_owned()),
                None => None,
            };
            let to = to.unwrap_or_else(|| self.outside(&remote.to_string()));
            let (kind, source) = (DependencyRelation::Connects, DependencySource::Socket);
            self.graph.edge(from, &to, kind, source, remote.to_string());
        }
        for unix::Connection { from, to, name } in sockets.unix {
            if from == DATA_PLANE {
                continue;
            }
            let address = format!("unix:{name}");
            let to = match to.as_deref() {
                Some(DATA_PLANE) => self.places.paths.get(&name).cloned(),
                _ => to,
            };
            let to = to.unwrap_or_else(|| self.outside(&address));
            let (kind, source) = (DependencyRelation::Connects, DependencySource::Socket);
            self.graph.edge(&from, &to, kind, source, address);
        }
        sockets.reasons
    }

    fn add_environments(&mut self, services: &[KnownService]) {
        for known in services {
            let from = id(DependencyKind::Service, &known.status.name);
            for (name, value) in &known.environment {
                for address in address::in_value(value) {
                    let here = address.is_local().then(|| self.places.ports.get(&address.port));
                    let named = || self.places.names.get(&address.host);
                    let to = here.flatten().or_else(named).cloned();
                    let to = to.unwrap_or_else(|| self.outside(&address.to_string()));
                    let (kind, source) =
                        (DependencyRelation::Configured, DependencySource::Environment);
                    self.graph.edge(&from, &to, kind, source, name.clone());
                }
            }
        }
    }

    fn outside(&mut self, address: &str) -> String {
        let node = self.graph.node(DependencyKind::Outside, address);
        node.addresses = vec![address.to_owned()];
        node.id.clone()
    }
}

fn health(state: ServiceState) -> DependencyHealth {
    match state {
        ServiceState::Running => DependencyHealth::Good,
        ServiceState::Degraded | ServiceState::Starting | ServiceState::Stopping => {
            DependencyHealth::Degraded
        }
        ServiceState::Failed | ServiceState::Stopped => DependencyHealth::Bad,
        ServiceState::NotApplied | ServiceState::Unknown => DependencyHealth::Unknown,
    }
}

/// Clusters that a route's action names.
fn clusters_of<'c>(action: &str, clusters: &'c [ClusterStatus]) -> Vec<&'c ClusterStatus> {
    let words: Vec<&str> =
        action.split(|c: char| c.is_whitespace() || c == ',').filter(|w| !w.is_empty()).collect();
    match words.first() {
        Some(&("cluster" | "clusters" | "split")) => {
            clusters.iter().filter(|cluster| words[1..].contains(&cluster.name.as_str())).collect()
        }
        _ => Vec::new(),
    }
}

/// What every unit has, which says nothing about this one.
fn is_ordinary(unit: &str) -> bool {
    const TARGETS: [&str; 6] = [
        "sysinit.target",
        "basic.target",
        "shutdown.target",
        "default.target",
        "multi-user.target",
        "network-online.target",
    ];
    unit.ends_with(".slice") || unit.ends_with(".mount") || TARGETS.contains(&unit)
}

/// The environment of files, `NAME=value` by line as systemd reads it (systemd.exec(5)).
pub(crate) fn environment_of(files: &[PathBuf]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for file in files {
        let small = file.metadata().is_ok_and(|meta| meta.len() <= MAX_ENVIRONMENT_BYTES);
        if !small {
            continue;
        }
        let text = std::fs::read_to_string(file).unwrap_or_default();
        for line in text.lines().map(str::trim) {
            if let Some((name, value)) = line.split_once('=')
                && !line.starts_with(['#', ';'])
            {
                let value = value.trim().trim_matches(['"', '\'']);
                found.push((name.trim().to_owned(), value.to_owned()));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use bs9_api::types::{DependencyEdge, EndpointStatus, InstanceStatus, RouteStatus};

    use super::*;

    fn service(name: &str, port: u16, environment: &[(&str, &str)]) -> KnownService {
        let instance =
            InstanceStatus { instance: 1, port: Some(port), ..InstanceStatus::default() };
        let status = serde_json::json!({
            "name": name, "scope": "user", "state": "running", "enabled": true,
            "instances_wanted": 1, "instances": [instance], "drifted": false,
        });
        KnownService {
            status: serde_json::from_value(status).unwrap(),
            pids: Vec::new(),
            relations: Vec::new(),
            environment: environment.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect(),
        }
    }

    fn endpoint(address: &str, health: &str) -> EndpointStatus {
        serde_json::from_value(serde_json::json!({
            "address": address, "weight": 1, "health": health, "health_reason": "no answer",
            "draining": false, "active": 0, "requests_total": 0, "failures_total": 0,
            "connects_total": 0, "connect_failures_total": 0, "idle_connections": 0,
        }))
        .unwrap()
    }

    #[test]
    fn each_edge_says_where_it_comes_from_and_no_secret_is_in_any() {
        let secret = "hJ9kL1mN3p";
        let database = format!("postgres://app:{secret}@db.internal/app");
        let mut api = service("api", 3000, &[("DATABASE_URL", &database), ("LEVEL", "info")]);
        api.relations =
            vec![("Wants", "cache@1.service".into()), ("Requires", "basic.target".into())];
        api.relations.push(("Requires", "redis.service".into()));
        let web = service("web", 3100, &[("API", "http://localhost:3000"), ("C", "cache:6379")]);
        let cluster: ClusterStatus = serde_json::from_value(serde_json::json!({
            "name": "web", "balance": "p2c", "health_checked": true,
            "endpoints": [endpoint("127.0.0.1:3100", "unhealthy"), endpoint("10.0.0.9:80", "healthy")],
        }))
        .unwrap();
        let route = RouteStatus {
            number: 0,
            action: "cluster web".into(),
            clients: None,
            matches: None,
            checks: Vec::new(),
        };
        let known = Known {
            services: vec![api, web, service("cache", 6379, &[])],
            data_plane: KnownDataPlane {
                clusters: vec![cluster],
                routes: vec![ListenerRoutes {
                    listener: "front".into(),
                    normalized_path: None,
                    refused: None,
                    taken: None,
                    outcome: None,
                    routes: vec![route],
                }],
                ..KnownDataPlane::default()
            },
            unavailable: Vec::new(),
        };
        let found = resolve(known, None, Path::new("/proc"));
        let rows: Vec<_> = found
            .edges
            .iter()
            .map(|DependencyEdge { from, to, kind, source, detail }| {
                format!("{from} {} {to} by {} {detail}", kind.as_str(), source.as_str())
            })
            .collect();
        assert_eq!(
            rows,
            [
                "listener:front routes outside:10.0.0.9:80 by proxy routes[0]: every request → cluster web",
                "listener:front routes service:web by proxy routes[0]: every request → cluster web",
                "service:api configured outside:db.internal:5432 by environment DATABASE_URL",
                "service:api wants service:cache by systemd Wants=cache@1.service",
                "service:api requires unit:redis.service by systemd Requires=redis.service",
                "service:web configured service:api by environment API",
                "service:web configured service:cache by environment C",
            ]
        );
        let health = |id: &str| found.nodes.iter().find(|node| node.id == id).unwrap().health;
        assert_eq!(health("service:web"), DependencyHealth::Degraded);
        assert_eq!(health("service:api"), DependencyHealth::Good);
        assert_eq!(health("outside:10.0.0.9:80"), DependencyHealth::Good);
        assert!(!serde_json::to_string(&found).unwrap().contains(secret));
    }

    #[test]
    fn services_that_need_each_other_are_told() {
        let known = Known {
            services: vec![
                service("a", 3000, &[("B", "http://127.0.0.1:3100")]),
                service("b", 3100, &[("A", "localhost:3000")]),
                service("c", 3200, &[]),
            ],
            ..Known::default()
        };
        let found = resolve(known, Some("a"), Path::new("/proc"));
        assert_eq!(found.cycles, [["service:a", "service:b"]]);
        assert_eq!(found.nodes.len(), 2);
    }
}
