//! A whole cluster, and the route to it, put into a configuration or taken out.
//!
//! What a cluster or a route may be is said in one place only, the sections. So a
//! change is written as the few lines of TOML it stands for, and read by them.

use std::{sync::Arc, time::Duration};

use toml_edit::{Array, ArrayOfTables, DocumentMut, InlineTable, Item, Table, Value, value};

use crate::{
    change::{ChangeError, unknown_cluster},
    load::parse_str,
    model::{Cluster, Config, Endpoint, HttpListener, ListenerProtocol, Route, RouteAction},
    unit::format_duration,
};

/// The listener of the lines a change stands for.
const ANY_LISTENER: &str = "any";

/// A cluster as it is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterChange {
    /// Its name.
    pub cluster: String,
    /// All of its endpoints.
    pub endpoints: Vec<Endpoint>,
    /// Probing; `None` leaves a cluster that is there as it is.
    pub probe: Option<ClusterProbe>,
    /// A route to it, which is made unless it is there.
    pub route: Option<ClusterRoute>,
    /// A route that is taken away, if it is there.
    pub former_route: Option<ClusterRoute>,
}

/// How its endpoints are probed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterProbe {
    /// `GET` of this path; `None`: a connection has to be accepted.
    pub path: Option<String>,
    /// Between the starts of two probes.
    pub interval: Duration,
}

/// A route by host and path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterRoute {
    /// The HTTP listener; `None`: the only one.
    pub listener: Option<String>,
    /// As in a route of the configuration.
    pub host: Option<String>,
    /// As in a route of the configuration.
    pub path: Option<String>,
}

impl ClusterChange {
    /// The same change, yet of endpoints that `config` has already all but the weight stays:
    /// whoever changes the cluster knows nothing of the rest.
    pub fn keeping(mut self, config: &Config) -> Self {
        let present = config.clusters.get(self.cluster.as_str());
        for endpoint in &mut self.endpoints {
            let known = present.and_then(|cluster| {
                cluster.endpoints.iter().find(|known| known.address == endpoint.address)
            });
            if let Some(known) = known {
                *endpoint = Endpoint { weight: endpoint.weight, ..known.clone() };
            }
        }
        self
    }

    /// The lines of `[clusters.NAME]` that it sets.
    pub(crate) fn settings(&self) -> Vec<(&'static str, Item)> {
        let endpoints: Array = self.endpoints.iter().map(endpoint).collect();
        let mut settings = vec![("endpoints", value(endpoints))];
        if let Some(probe) = &self.probe {
            settings.push(("health_check", value(probe.to_toml())));
        }
        settings
    }

    /// What it stands for, read as a configuration is.
    fn read(&self) -> Result<Config, ChangeError> {
        let mut document = DocumentMut::new();
        let mut cluster = Table::new();
        for (name, item) in self.settings() {
            cluster.insert(name, item);
        }
        document.insert("clusters", Item::Table(Table::from_iter([(&self.cluster, cluster)])));
        let mut routes = ArrayOfTables::new();
        for route in self.route.iter().chain(&self.former_route) {
            routes.push(route.to_toml(&self.cluster));
        }
        if !routes.is_empty() && self.route != self.former_route {
            let mut listener = Table::new();
            listener.insert("bind", value(Array::from_iter(["127.0.0.1:1"])));
            listener.insert("protocol", value("http"));
            listener.insert("routes", Item::ArrayOfTables(routes));
            document.insert("listeners", Item::Table(Table::from_iter([(ANY_LISTENER, listener)])));
        }
        parse_str("the change", &document.to_string()).map_err(|report| {
            let first = report.diagnostics().first();
            let reason = first.map_or_else(|| report.to_string(), |found| found.message.clone());
            ChangeError::NotACluster { reason }
        })
    }
}

impl ClusterProbe {
    fn to_toml(&self) -> InlineTable {
        let mut table = InlineTable::new();
        if let Some(path) = &self.path {
            table.insert("path", Value::from(path.as_str()));
        }
        table.insert("interval", Value::from(format_duration(self.interval)));
        table
    }
}

impl ClusterRoute {
    /// The lines of the route to `cluster`.
    pub(crate) fn to_toml(&self, cluster: &str) -> Table {
        let mut table = Table::new();
        if let Some(host) = &self.host {
            table.insert("host", value(host));
        }
        if let Some(path) = &self.path {
            table.insert("path", value(path));
        }
        table.insert("cluster", value(cluster));
        table
    }

    /// The route as it is read; `None` when it is not one.
    fn read(&self, cluster: &str) -> Result<Route, ChangeError> {
        let change = ClusterChange {
            cluster: cluster.to_owned(),
            endpoints: Vec::new(),
            probe: None,
            route: Some(self.clone()),
            former_route: None,
        };
        let mut config = change.read()?;
        let listener = config.listeners.get_mut(ANY_LISTENER).map(|found| &mut found.protocol);
        match listener {
            Some(ListenerProtocol::Http(http)) if !http.routes.is_empty() => {
                Ok(http.routes.swap_remove(0))
            }
            _ => Err(ChangeError::NotACluster { reason: "the route cannot be read".to_owned() }),
        }
    }
}

/// An entry of `endpoints`: the address, and what is not as usual.
fn endpoint(endpoint: &Endpoint) -> Value {
    // Taken apart so that a new field cannot be forgotten here.
    let Endpoint { address, weight, priority, zone, disabled } = endpoint;
    let mut table = InlineTable::new();
    table.insert("address", Value::from(address.to_string()));
    if *weight != 1 {
        table.insert("weight", Value::from(i64::from(*weight)));
    }
    if *priority != 0 {
        table.insert("priority", Value::from(i64::from(*priority)));
    }
    if let Some(zone) = zone {
        table.insert("zone", Value::from(&**zone));
    }
    if *disabled {
        table.insert("disabled", Value::from(true));
    }
    if table.len() == 1 { Value::from(address.to_string()) } else { Value::from(table) }
}

impl Config {
    /// The same configuration with this cluster as it is to be. Of a cluster that is
    /// there, what the change does not speak of stays.
    ///
    /// # Errors
    ///
    /// When it is no valid cluster or route, or there is no listener for the route.
    pub fn with_cluster(&self, change: &ClusterChange) -> Result<Self, ChangeError> {
        let name = change.cluster.as_str();
        let mut read = change.read()?;
        let Some(new) = read.clusters.remove(name) else {
            return Err(ChangeError::NotACluster { reason: format!("`{name}` is not a name") });
        };
        let mut config = self.clone();
        match config.clusters.get_mut(name) {
            Some(present) => renew(present, new, change.probe.is_some()),
            None => drop(config.clusters.insert(Arc::from(name), new)),
        }
        if let Some(former) =
            change.former_route.as_ref().filter(|_| change.route != change.former_route)
        {
            // Whoever removed the listener, or the route, has done this already.
            if let Ok(listener) = config.routed_by(former.listener.as_deref()) {
                let route = former.read(name)?;
                listener.routes.retain(|present| !same_place(present, &route));
            }
        }
        if let Some(wanted) = &change.route {
            let listener = config.routed_by(wanted.listener.as_deref())?;
            let route = wanted.read(name)?;
            if !listener.routes.iter().any(|present| same_place(present, &route)) {
                listener.routes.push(route);
            }
        }
        Ok(config)
    }

    /// The same configuration without a cluster and the routes that lead to it alone.
    ///
    /// # Errors
    ///
    /// When there is no such cluster.
    pub fn without_cluster(&self, cluster: &str) -> Result<Self, ChangeError> {
        let mut config = self.clone();
        if config.clusters.remove(cluster).is_none() {
            return Err(unknown_cluster(cluster, self.clusters.keys().map(Arc::as_ref)));
        }
        for listener in config.listeners.values_mut() {
            if let ListenerProtocol::Http(http) = &mut listener.protocol {
                http.routes.retain(|route| !leads_to(route, cluster));
            }
        }
        Ok(config)
    }

    /// The HTTP listener of this name, or the only one.
    fn routed_by(&mut self, name: Option<&str>) -> Result<&mut HttpListener, ChangeError> {
        let name: Arc<str> = match name {
            Some(name) => name.into(),
            None => self.only_http_listener()?,
        };
        match self.listeners.get_mut(&name).map(|listener| &mut listener.protocol) {
            Some(ListenerProtocol::Http(http)) => Ok(http),
            _ => Err(ChangeError::UnknownListener { listener: name.to_string() }),
        }
    }

    /// The name of the HTTP listener that can be meant when none is named.
    pub(crate) fn only_http_listener(&self) -> Result<Arc<str>, ChangeError> {
        let http = self
            .listeners
            .iter()
            .filter(|(_, listener)| matches!(listener.protocol, ListenerProtocol::Http(_)));
        let names: Vec<_> = http.map(|(name, _)| Arc::clone(name)).collect();
        match names.as_slice() {
            [only] => Ok(Arc::clone(only)),
            _ => Err(ChangeError::WhichListener {
                candidates: names.iter().map(ToString::to_string).collect(),
            }),
        }
    }
}

/// Endpoints anew, and probing if it was spoken of; the rest was chosen by a person.
fn renew(present: &mut Cluster, new: Cluster, probed: bool) {
    present.endpoints = new.endpoints;
    if probed {
        present.health_check = new.health_check;
    }
}

/// Whether two routes match the same and lead to the same cluster; how long a
/// request may take is for a person to change.
fn same_place(one: &Route, other: &Route) -> bool {
    one.matches == other.matches && one.action == other.action
}

/// Whether a route leads to this cluster and nowhere else.
fn leads_to(route: &Route, cluster: &str) -> bool {
    match &route.action {
        RouteAction::Forward(clusters) => {
            clusters.len() == 1 && clusters.iter().all(|share| &*share.cluster == cluster)
        }
        _ => false,
    }
}
