//! The proxy's part of a snapshot.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use bs9_config::{
    Config, Hsts, Http2, HttpListener, HttpsRedirect, ListenerProtocol, ListenerTls, RouteAction,
};
use bs9_net::{
    CompileContext, CompileError, ListenerId,
    tls::{ClientTls, ServerNames},
};
use rustc_hash::FxHashMap;

use crate::{
    cluster::Cluster,
    http::{HttpStats, Reply},
    http1::{HeadLimits, HeaderLine},
    route::{HostMatch, PathMatch, RouteError, RouteSpec, RouteTable},
};

/// Everything compiled from one configuration.
pub(crate) struct ProxyPart {
    /// In name order; routes know them by index.
    pub(crate) clusters: Vec<Arc<Cluster>>,
    pub(crate) by_name: BTreeMap<Arc<str>, usize>,
    pub(crate) http: FxHashMap<ListenerId, HttpSite>,
    pub(crate) tcp: FxHashMap<ListenerId, TcpSite>,
}

/// What an HTTP listener does.
pub(crate) struct HttpSite {
    pub(crate) limits: HeadLimits,
    pub(crate) max_body_bytes: u64,
    pub(crate) head_timeout: Duration,
    pub(crate) body_timeout: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) tunnel_timeout: Duration,
    pub(crate) trust_forwarded: bool,
    /// What no route takes is sent there.
    pub(crate) https_redirect: Option<HttpsRedirect>,
    /// Fields of every response.
    pub(crate) response_fields: Box<[HeaderLine]>,
    pub(crate) http2: Option<Http2>,
    pub(crate) table: RouteTable,
    /// In the order of the configuration, which is how the table knows them.
    pub(crate) routes: Vec<Route>,
    pub(crate) stats: Arc<HttpStats>,
}

/// What is done with a request that takes this route.
pub(crate) struct Route {
    pub(crate) action: Action,
    pub(crate) timeout: Duration,
    pub(crate) attempts: u32,
    pub(crate) budget: f64,
}

/// See [`Route`].
pub(crate) enum Action {
    /// Sent to one of these clusters (by index), by weight.
    Forward { targets: Box<[(usize, u32)]>, total_weight: u32 },
    /// Answered by the proxy itself.
    Reply(Reply),
}

/// What a TCP listener does.
pub(crate) struct TcpSite {
    /// Clusters by the name a client asks for; empty: nobody is asked.
    pub(crate) sni: ServerNames<usize>,
    /// Where everything else goes.
    pub(crate) cluster: Option<usize>,
    pub(crate) idle_timeout: Duration,
    pub(crate) connect_attempts: u32,
}

impl ProxyPart {
    pub(crate) fn compile(context: &CompileContext<'_>) -> Result<Self, CompileError> {
        let previous = context.previous::<Self>();
        let config = context.config;
        let mut clusters = Vec::with_capacity(config.clusters.len());
        let mut by_name = BTreeMap::new();
        for (name, wanted) in &config.clusters {
            let old = previous.as_deref().and_then(|part| part.cluster(name));
            by_name.insert(Arc::clone(name), clusters.len());
            clusters.push(match old {
                // Untouched, down to the pointer: shards keep their half as it is.
                Some(old) if old.config == *wanted => Arc::clone(old),
                old => {
                    let tls = client_tls(wanted, old)?;
                    Cluster::compile(wanted, tls, old.map(Arc::as_ref), context.shards)
                }
            });
        }
        let mut part =
            Self { clusters, by_name, http: HashMap::default(), tcp: HashMap::default() };
        for listener in context.listeners {
            let wanted = &config.listeners[&listener.name];
            match &wanted.protocol {
                ListenerProtocol::Http(http) => {
                    let old = previous.as_deref().and_then(|part| part.http.get(&listener.id));
                    let stats = old.map_or_else(
                        || Arc::new(HttpStats::new(context.shards)),
                        |site| Arc::clone(&site.stats),
                    );
                    let site =
                        part.http_site(config, &listener.name, http, wanted.tls.as_deref(), stats)?;
                    part.http.insert(listener.id, site);
                }
                ListenerProtocol::Tcp(tcp) => {
                    let key = || format!("listeners.{}.cluster", listener.name);
                    let mut sni = ServerNames::default();
                    for (number, route) in tcp.sni.iter().enumerate() {
                        let key = || format!("listeners.{}.sni[{number}].cluster", listener.name);
                        let cluster = part.index_of(&route.cluster, key)?;
                        for name in &route.names {
                            sni.entry_or(name, || cluster);
                        }
                    }
                    let site = TcpSite {
                        sni,
                        cluster: tcp
                            .cluster
                            .as_ref()
                            .map(|cluster| part.index_of(cluster, key))
                            .transpose()?,
                        idle_timeout: tcp.idle_timeout,
                        connect_attempts: tcp.connect_attempts,
                    };
                    part.tcp.insert(listener.id, site);
                }
                ListenerProtocol::Postgres => {}
            }
        }
        Ok(part)
    }

    pub(crate) fn cluster(&self, name: &str) -> Option<&Arc<Cluster>> {
        self.by_name.get(name).map(|at| &self.clusters[*at])
    }

    fn index_of(&self, name: &str, key: impl Fn() -> String) -> Result<usize, CompileError> {
        let known = self.by_name.get(name).copied();
        known.ok_or_else(|| CompileError { key: key(), message: format!("no cluster {name:?}") })
    }

    fn http_site(
        &self,
        config: &Config,
        listener: &str,
        http: &HttpListener,
        tls: Option<&ListenerTls>,
        stats: Arc<HttpStats>,
    ) -> Result<HttpSite, CompileError> {
        let table = RouteTable::compile(http.routes.iter().map(|route| spec(&route.matches)))
            .map_err(|errors| route_error(listener, &errors))?;
        let routes = http
            .routes
            .iter()
            .enumerate()
            .map(|(number, route)| {
                Ok(Route {
                    action: self.action(listener, number, &route.action)?,
                    timeout: route.timeout,
                    attempts: route.retries.attempts,
                    budget: route.retries.budget,
                })
            })
            .collect::<Result<_, CompileError>>()?;
        // A head has to fit the buffer it is read into.
        let max_head_bytes = http.max_head_bytes.min(config.runtime.buffer_bytes);
        let limits = HeadLimits {
            max_head_bytes,
            max_headers: http.max_headers,
            max_uri_bytes: HeadLimits::default().max_uri_bytes.min(max_head_bytes),
        };
        Ok(HttpSite {
            limits,
            max_body_bytes: http.max_body_bytes.unwrap_or(u64::MAX),
            head_timeout: http.head_timeout,
            body_timeout: http.body_timeout,
            idle_timeout: http.idle_timeout,
            tunnel_timeout: http.tunnel_timeout,
            trust_forwarded: http.trust_forwarded,
            https_redirect: http.https_redirect,
            response_fields: tls.and_then(|tls| tls.hsts).map(hsts).into_iter().collect(),
            http2: http.http2,
            table,
            routes,
            stats,
        })
    }

    fn action(
        &self,
        listener: &str,
        number: usize,
        action: &RouteAction,
    ) -> Result<Action, CompileError> {
        Ok(match action {
            RouteAction::Forward(wanted) => {
                let key = || format!("listeners.{listener}.routes[{number}].cluster");
                let targets = wanted
                    .iter()
                    .map(|one| Ok((self.index_of(&one.cluster, key)?, u32::from(one.weight))))
                    .collect::<Result<Box<[_]>, CompileError>>()?;
                let total_weight = targets.iter().map(|(_, weight)| weight).sum();
                Action::Forward { targets, total_weight }
            }
            RouteAction::Redirect { location, status } => {
                Action::Reply(Reply::redirect(*status, Arc::clone(location)))
            }
            RouteAction::Respond { status, body, content_type } => {
                Action::Reply(Reply::fixed(*status, Arc::clone(body), Arc::clone(content_type)))
            }
        })
    }
}

/// `Strict-Transport-Security` (RFC 6797 section 6.1).
fn hsts(wanted: Hsts) -> HeaderLine {
    let mut value = format!("max-age={}", wanted.max_age.as_secs());
    if wanted.include_subdomains {
        value.push_str("; includeSubDomains");
    }
    if wanted.preload {
        value.push_str("; preload");
    }
    HeaderLine::new("Strict-Transport-Security", &value).expect("made of plain ASCII")
}

fn client_tls(
    wanted: &bs9_config::Cluster,
    old: Option<&Arc<Cluster>>,
) -> Result<Option<Arc<ClientTls>>, CompileError> {
    let previous = old.and_then(|cluster| cluster.tls.as_ref());
    let compiled = wanted.tls.as_ref().map(|tls| ClientTls::compile(tls, previous)).transpose();
    compiled.map_err(|error| CompileError {
        key: format!("clusters.{}.tls", wanted.name),
        message: error.to_string(),
    })
}

fn route_error(listener: &str, errors: &[RouteError]) -> CompileError {
    let number = errors.first().map_or(0, RouteError::index);
    let message = errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    CompileError { key: format!("listeners.{listener}.routes[{number}]"), message }
}

fn spec(matches: &bs9_config::RouteMatch) -> RouteSpec {
    RouteSpec {
        host: match &matches.host {
            bs9_config::HostMatch::Any => HostMatch::Any,
            bs9_config::HostMatch::Exact(name) => HostMatch::Exact(name.to_string()),
            bs9_config::HostMatch::Wildcard(name) => HostMatch::Wildcard(name.to_string()),
        },
        path: match &matches.path {
            bs9_config::PathMatch::Any => PathMatch::Any,
            bs9_config::PathMatch::Prefix(path) => PathMatch::Prefix(path.to_string()),
            bs9_config::PathMatch::Exact(path) => PathMatch::Exact(path.to_string()),
            bs9_config::PathMatch::Regex(regex) => PathMatch::Regex(regex.to_string()),
        },
        methods: matches.methods.iter().map(ToString::to_string).collect(),
        headers: matches
            .headers
            .iter()
            .map(|one| (one.name.to_string(), one.value.to_string()))
            .collect(),
        query: matches
            .query
            .iter()
            .map(|one| (one.name.to_string(), one.value.to_string()))
            .collect(),
    }
}
