//! The proxy's part of a snapshot.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use bs9_config::{
    Admission, Config, ForwardedField, HeaderEdits, Hsts, Http2, HttpListener, HttpsRedirect,
    ListenerProtocol, ListenerTls, PathNormalization, RouteAction,
};
use bs9_net::{CompileContext, CompileError, Gate, ListenerId, tls::ClientTls};
use rustc_hash::FxHashMap;

use crate::{
    access_log::{AccessLog, Writers},
    cluster::Cluster,
    http::{HttpStats, Identities, Reply, RouteCounts},
    http1::{HeadLimits, HeaderLine},
    policy::{FieldEdits, PathParts, Policy, Redirect, Split},
    retry::RetryPolicy,
    route::{RouteError, RouteSpec, RouteTable},
    udp::UdpStats,
};

mod forwarding;

pub(crate) use forwarding::{TcpSite, UdpSite};

/// Everything compiled from one configuration.
pub(crate) struct ProxyPart {
    /// In name order; routes know them by index.
    pub(crate) clusters: Vec<Arc<Cluster>>,
    pub(crate) by_name: BTreeMap<Arc<str>, usize>,
    pub(crate) http: FxHashMap<ListenerId, HttpSite>,
    pub(crate) tcp: FxHashMap<ListenerId, TcpSite>,
    pub(crate) udp: FxHashMap<ListenerId, UdpSite>,
    /// Whether any endpoint is told of its clients by the PROXY protocol.
    pub(crate) introduces: bool,
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
    /// Clients are told why they are not answered by an endpoint.
    pub(crate) reason_header: bool,
    /// What no route takes is sent there.
    pub(crate) https_redirect: Option<HttpsRedirect>,
    /// Fields of every response.
    pub(crate) response_fields: FieldEdits,
    pub(crate) http2: Option<Http2>,
    pub(crate) normalization: PathNormalization,
    pub(crate) table: RouteTable,
    /// In the order of the configuration, which is how the table knows them.
    pub(crate) routes: Vec<Route>,
    pub(crate) stats: Arc<HttpStats>,
    pub(crate) route_counts: RouteCounts,
    /// Asked about the clients of trusted proxies.
    pub(crate) gate: Option<Gate>,
    pub(crate) forwarded_field: ForwardedField,
    pub(crate) identities: Option<Identities>,
    pub(crate) access_log: Option<Arc<AccessLog>>,
}

/// What is done with a request that takes this route.
pub(crate) struct Route {
    pub(crate) action: Action,
    /// Asked whose requests may take it; `None`: everybody's.
    pub(crate) gate: Option<Box<Gate>>,
    pub(crate) timeout: Duration,
    pub(crate) retry: RetryPolicy,
    /// What is done besides.
    pub(crate) policy: Policy,
}

/// See [`Route`].
pub(crate) enum Action {
    /// Sent to one of these clusters.
    Forward(Split),
    /// Sent to a place that depends on the request.
    Redirect(Redirect),
    /// Answered by the proxy itself.
    Reply(Reply),
}

impl ProxyPart {
    pub(crate) fn compile(
        context: &CompileContext<'_>,
        writers: &Writers,
    ) -> Result<Self, CompileError> {
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
        let introduces = config.clusters.values().any(|one| one.proxy_protocol.is_some());
        let mut part = Self {
            introduces,
            clusters,
            by_name,
            http: HashMap::default(),
            tcp: HashMap::default(),
            udp: HashMap::default(),
        };
        for listener in context.listeners {
            let wanted = &config.listeners[&listener.name];
            let access_log = access_log(wanted, writers)?;
            match &wanted.protocol {
                ListenerProtocol::Http(http) => {
                    let old = previous.as_deref().and_then(|part| part.http.get(&listener.id));
                    let stats = old.map_or_else(
                        || Arc::new(HttpStats::new(context.shards)),
                        |site| Arc::clone(&site.stats),
                    );
                    let counts = old.map(|site| &site.route_counts);
                    let counts = RouteCounts::new(http, counts, context.shards);
                    let mut site =
                        part.http_site(config, &listener.name, http, wanted.tls.as_deref(), stats)?;
                    site.route_counts = counts;
                    site.gate = Gate::compile(&wanted.admission);
                    site.access_log = access_log;
                    part.http.insert(listener.id, site);
                }
                ListenerProtocol::Tcp(tcp) => {
                    let site = part.tcp_site(&listener.name, tcp, access_log)?;
                    part.tcp.insert(listener.id, site);
                }
                ListenerProtocol::Udp(udp) => {
                    let old = previous.as_deref().and_then(|part| part.udp.get(&listener.id));
                    let stats = old.map_or_else(
                        || Arc::new(UdpStats::new(context.shards)),
                        |site| Arc::clone(&site.stats),
                    );
                    let site = part.udp_site(&listener.name, udp, access_log, stats)?;
                    part.udp.insert(listener.id, site);
                }
                ListenerProtocol::Postgres => {}
            }
        }
        Ok(part)
    }

    pub(crate) fn cluster(&self, name: &str) -> Option<&Arc<Cluster>> {
        self.by_name.get(name).map(|at| &self.clusters[*at])
    }

    /// Takes over from `previous`, now that it is in force.
    pub(crate) fn follow(&self, previous: &Self) {
        for cluster in &self.clusters {
            if let Some(before) = previous.cluster(&cluster.config.name)
                && !Arc::ptr_eq(cluster, before)
            {
                cluster.follow(before);
            }
        }
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
        let table =
            RouteTable::compile(http.routes.iter().map(|route| RouteSpec::from(&route.matches)))
                .map_err(|errors| route_error(listener, &errors))?;
        let hsts = tls.and_then(|tls| tls.hsts).map(hsts);
        let response_fields = FieldEdits::of(hsts);
        let routes = http
            .routes
            .iter()
            .enumerate()
            .map(|(number, route)| {
                let key = |key: &str| format!("listeners.{listener}.routes[{number}].{key}");
                let policy = Policy::compile(route, &response_fields).map_err(|error| {
                    CompileError { key: key(error.key), message: error.message }
                })?;
                Ok(Route {
                    action: self.action(route, &policy, key)?,
                    gate: gate(route),
                    policy,
                    timeout: route.timeout,
                    retry: RetryPolicy::new(&route.retries),
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
            reason_header: http.reason_header,
            https_redirect: http.https_redirect,
            response_fields,
            http2: http.http2,
            normalization: http.normalize_path,
            table,
            routes,
            stats,
            route_counts: RouteCounts::new(http, None, 0),
            gate: None,
            forwarded_field: http.forwarded_field,
            identities: Identities::new(http),
            access_log: None,
        })
    }

    fn action(
        &self,
        route: &bs9_config::Route,
        policy: &Policy,
        key: impl Fn(&str) -> String,
    ) -> Result<Action, CompileError> {
        Ok(match &route.action {
            RouteAction::Forward(wanted) => {
                let targets = wanted
                    .iter()
                    .map(|one| {
                        let cluster = self.index_of(&one.cluster, || key("cluster"))?;
                        Ok((cluster, u32::from(one.weight)))
                    })
                    .collect::<Result<Box<[_]>, CompileError>>()?;
                Action::Forward(Split::new(targets, route.split_by.clone()))
            }
            RouteAction::Redirect { to, status } => match Redirect::fixed(to) {
                Some(place) => Action::Reply(Reply::redirect(*status, &place, &policy.response)),
                None => {
                    let compiled = PathParts::of(&route.matches.path)
                        .and_then(|parts| Redirect::compile(*status, to, &parts));
                    let error = |message| CompileError { key: key("redirect"), message };
                    Action::Redirect(compiled.map_err(error)?)
                }
            },
            RouteAction::Respond { status, body, content_type, headers } => {
                let set = HeaderEdits { set: headers.clone(), ..HeaderEdits::default() };
                let own = FieldEdits::compile(&set)
                    .map_err(|message| CompileError { key: key("respond.headers"), message })?;
                let edits = own.and(&policy.response);
                Action::Reply(Reply::fixed(*status, body, content_type, &edits))
            }
        })
    }
}

/// `allow` and `deny` of a route.
fn gate(route: &bs9_config::Route) -> Option<Box<Gate>> {
    let (allow, deny) = (route.allow.clone(), route.deny.clone());
    Gate::compile(&Admission { allow, deny, ..Admission::default() }).map(Box::new)
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

/// What a listener logs; its output is open when this returns.
fn access_log(
    wanted: &bs9_config::Listener,
    writers: &Writers,
) -> Result<Option<Arc<AccessLog>>, CompileError> {
    let Some(log) = &wanted.access_log else { return Ok(None) };
    let writer = writers.get(log).map_err(|error| CompileError {
        key: format!("listeners.{}.access_log.output", wanted.name),
        message: format!("cannot be opened: {error}"),
    })?;
    let request_id = match &wanted.protocol {
        ListenerProtocol::Http(http) => http.request_id.as_ref().map(|wanted| &wanted.header),
        _ => None,
    };
    Ok(Some(Arc::new(AccessLog::new(&wanted.name, request_id, log, writer))))
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
