//! Which route a request would take, and why: for people, not for traffic.

use bs9_api::types::{ListenerRoutes, RouteCheck, RouteStatus, Routes, RoutesQuery, SCHEMA};
use bs9_config::{
    BindAddress, Config, HttpListener, Listener, ListenerProtocol, Network, PathNormalization,
    RouteAction,
};
use thiserror::Error;

use crate::{
    http1::{
        HeadLimits, HeaderStorage, MAX_HEADERS, Parsed, RequestError, RequestHead, parse_request,
    },
    policy::{Draft, FieldEdits, PathParts, Policy, Redirect, RequestParts},
    route::{Check, Request, RouteSpec, RouteTable, Verdict, normalize},
};

/// Routes that nearly match are told up to this number.
const MOST_NEAR: usize = 5;
/// Things that may be missing for a route to match nearly.
const MOST_MISSING: usize = 2;
/// Bytes of a request that is asked about.
const MAX_REQUEST_BYTES: usize = 64 * 1024;

/// Why nothing can be said about a request.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ExplainError {
    /// There is no such listener, or it does not speak HTTP.
    #[error("there is no HTTP listener `{0}`")]
    UnknownListener(String),
    /// What is asked about is no URL.
    #[error("`{0}` is neither a URL such as https://example.com/path nor a path such as /path")]
    InvalidUrl(String),
    /// A line of the header fields has no name.
    #[error("`{0}` is not a header field such as `name: value`")]
    InvalidHeader(String),
    /// What is asked about is not a request.
    #[error("this is no request: {0}")]
    InvalidRequest(RequestError),
}

/// The routes of `config`: all of them, or those that a request meets.
///
/// # Errors
/// When there is no such listener, or what is asked about is not a request.
pub fn explain_routes(config: &Config, query: &RoutesQuery) -> Result<Routes, ExplainError> {
    let url = query.url.as_deref().map(Url::parse).transpose()?;
    let mut listeners: Vec<_> = config
        .listeners
        .values()
        .filter_map(|listener| match &listener.protocol {
            ListenerProtocol::Http(http) => Some((listener, http)),
            _ => None,
        })
        .filter(|(listener, _)| {
            query.listener.as_deref().is_none_or(|name| name == &*listener.name)
        })
        .collect();
    if let (Some(name), true) = (&query.listener, listeners.is_empty()) {
        return Err(ExplainError::UnknownListener(name.clone()));
    }
    let Some(url) = url else {
        let listeners = listeners.into_iter().map(|(listener, http)| listed(listener, http));
        return Ok(Routes { schema: SCHEMA, listeners: listeners.collect() });
    };
    // Who names a port means the listener there, if there is one.
    if let Some(port) = url.port()
        && listeners.iter().any(|(listener, _)| binds(listener, port))
    {
        listeners.retain(|(listener, _)| binds(listener, port));
    }
    let bytes = url.request(query)?;
    let mut storage = HeaderStorage::new();
    let limits = HeadLimits {
        max_head_bytes: MAX_REQUEST_BYTES,
        max_headers: MAX_HEADERS,
        max_uri_bytes: MAX_REQUEST_BYTES,
    };
    let head = match parse_request(&bytes, &limits, &mut storage) {
        Ok(Parsed::Complete(head)) if head.head_len == bytes.len() => head,
        Ok(_) => return Err(ExplainError::InvalidUrl(url.text.to_owned())),
        Err(error) => return Err(ExplainError::InvalidRequest(error)),
    };
    let met = listeners.into_iter().map(|(listener, http)| met(listener, http, &url, &head));
    Ok(Routes { schema: SCHEMA, listeners: met.collect() })
}

/// What is asked about, taken apart.
struct Url<'u> {
    text: &'u str,
    scheme: Option<&'u str>,
    authority: Option<&'u str>,
    target: &'u str,
}

impl<'u> Url<'u> {
    fn parse(text: &'u str) -> Result<Self, ExplainError> {
        let whole = text.split('#').next().unwrap_or_default();
        if whole.starts_with('/') {
            return Ok(Self { text, scheme: None, authority: None, target: whole });
        }
        let (scheme, rest) = match whole.split_once("://") {
            Some((scheme @ ("http" | "https"), rest)) => (Some(scheme), rest),
            Some(_) => return Err(ExplainError::InvalidUrl(text.to_owned())),
            None => (None, whole),
        };
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        if authority.is_empty() {
            return Err(ExplainError::InvalidUrl(text.to_owned()));
        }
        Ok(Self { text, scheme, authority: Some(authority), target })
    }

    fn port(&self) -> Option<u16> {
        let authority = self.authority?;
        match crate::http1::authority::split_port(authority).1 {
            Some(port) => port.parse().ok(),
            None => match self.scheme? {
                "https" => Some(443),
                _ => Some(80),
            },
        }
    }

    /// The request as a client would send it.
    fn request(&self, query: &RoutesQuery) -> Result<Vec<u8>, ExplainError> {
        let method = query.method.as_deref().unwrap_or("GET");
        let slash = if self.target.starts_with('/') { "" } else { "/" };
        let version = if self.authority.is_some() { "HTTP/1.1" } else { "HTTP/1.0" };
        let mut text = format!("{method} {slash}{} {version}\r\n", self.target);
        let lines = query.headers.iter().flat_map(|lines| lines.lines());
        let mut named = false;
        for line in lines.filter(|line| !line.trim().is_empty()) {
            let Some((name, value)) = line.split_once(':') else {
                return Err(ExplainError::InvalidHeader(line.to_owned()));
            };
            named |= name.trim().eq_ignore_ascii_case("host");
            text.push_str(&format!("{}: {}\r\n", name.trim(), value.trim()));
        }
        if let (Some(authority), false) = (self.authority, named) {
            text.push_str(&format!("Host: {authority}\r\n"));
        }
        text.push_str("\r\n");
        Ok(text.into_bytes())
    }
}

fn binds(listener: &Listener, port: u16) -> bool {
    let at = |bind: &BindAddress| matches!(bind, BindAddress::Tcp(at) if at.port() == port);
    listener.bind.iter().any(at)
}

/// Every route, without a request.
fn listed(listener: &Listener, http: &HttpListener) -> ListenerRoutes {
    // Whatever the request: what a route asks for does not depend on it.
    let request = Request { host: None, path: "/", query: None, method: "GET", fields: &() };
    let routes = http.routes.iter().enumerate().map(|(number, route)| {
        let verdict = Verdict::of(&RouteSpec::from(&route.matches), &request);
        let checks = verdict.checks.into_iter().map(|check| RouteCheck {
            found: None,
            holds: None,
            ..told(check)
        });
        RouteStatus {
            number: number as u64,
            action: action(&route.action),
            clients: clients(route),
            matches: None,
            checks: checks.collect(),
        }
    });
    ListenerRoutes { routes: routes.collect(), ..empty(listener) }
}

fn empty(listener: &Listener) -> ListenerRoutes {
    ListenerRoutes {
        listener: listener.name.to_string(),
        normalized_path: None,
        refused: None,
        taken: None,
        outcome: None,
        routes: Vec::new(),
    }
}

/// The routes that a request meets.
fn met(
    listener: &Listener,
    http: &HttpListener,
    url: &Url<'_>,
    head: &RequestHead<'_>,
) -> ListenerRoutes {
    let sent = head.target.path();
    let normal = match http.normalize_path {
        PathNormalization::Off => Ok(None),
        _ => normalize(sent),
    };
    let normal = match normal {
        Ok(normal) => normal,
        Err(error) => {
            return ListenerRoutes { refused: Some(error.to_string()), ..empty(listener) };
        }
    };
    let request = Request {
        host: head.host,
        path: normal.as_ref().map_or(sent, |normal| &normal.decided),
        query: head.target.query(),
        method: head.method,
        fields: head,
    };
    let specs: Vec<_> = http.routes.iter().map(|route| RouteSpec::from(&route.matches)).collect();
    // A configuration that was read has routes that compile.
    let matching = RouteTable::compile(specs.iter().cloned())
        .map(|table| table.all_matches(&request))
        .unwrap_or_default();
    let verdicts: Vec<_> = specs.iter().map(|spec| Verdict::of(spec, &request)).collect();
    let failures = |number: &usize| verdicts[*number].failures();
    let mut near: Vec<usize> = (0..specs.len())
        .filter(|number| (1..=MOST_MISSING).contains(&failures(number)))
        .filter(|number| failures(number) < verdicts[*number].checks.len())
        .collect();
    near.sort_by_key(|number| (failures(number), *number));
    near.truncate(MOST_NEAR);
    let shown = matching.iter().chain(&near).map(|number| RouteStatus {
        number: *number as u64,
        action: action(&http.routes[*number].action),
        clients: clients(&http.routes[*number]),
        matches: Some(verdicts[*number].holds()),
        checks: verdicts[*number].checks.iter().cloned().map(told).collect(),
    });
    let taken = matching.first().copied();
    let encrypted = match url.scheme {
        Some(scheme) => scheme == "https",
        None => listener.tls.is_some(),
    };
    let parts =
        RequestParts { encrypted, host: request.host, path: request.path, query: request.query };
    ListenerRoutes {
        normalized_path: normal.as_ref().map(|normal| normal.decided.clone()),
        taken: taken.map(|number| number as u64),
        outcome: taken.and_then(|number| outcome(&http.routes[number], &parts)),
        routes: shown.collect(),
        ..empty(listener)
    }
}

fn told(check: Check) -> RouteCheck {
    RouteCheck {
        subject: check.subject.to_string(),
        wanted: check.wanted,
        found: check.found,
        holds: Some(check.holds),
    }
}

fn action(action: &RouteAction) -> String {
    match action {
        RouteAction::Forward(shares) => match shares.as_slice() {
            [only] => format!("cluster {}", only.cluster),
            shares => {
                let shares = shares.iter().map(|one| format!("{} ({})", one.cluster, one.weight));
                format!("clusters {}", shares.collect::<Vec<_>>().join(", "))
            }
        },
        RouteAction::Redirect { status, .. } => format!("redirect {status}"),
        RouteAction::Respond { status, .. } => format!("respond {status}"),
    }
}

/// Whose requests it is for, when not everybody's.
fn clients(route: &bs9_config::Route) -> Option<String> {
    let from = |networks: &[Network]| {
        let names: Vec<_> = networks.iter().map(ToString::to_string).collect();
        format!("from {}", names.join(", "))
    };
    match (&route.allow, &*route.deny) {
        (None, []) => None,
        (Some(allow), []) => Some(from(allow)),
        (None, deny) => Some(format!("not {}", from(deny))),
        (Some(allow), deny) => Some(format!("{}, but not {}", from(allow), from(deny))),
    }
}

/// Where the request leads, when that is not where it asked for.
fn outcome(route: &bs9_config::Route, parts: &RequestParts<'_>) -> Option<String> {
    match &route.action {
        RouteAction::Respond { .. } => None,
        RouteAction::Redirect { to, status } => {
            let path = PathParts::of(&route.matches.path).ok()?;
            let mut location = Vec::new();
            match Redirect::compile(*status, to, &path).ok()?.write(parts, &mut location) {
                Ok(()) => Some(format!("Location: {}", String::from_utf8_lossy(&location))),
                Err(error) => Some(format!("answered 400: {error}")),
            }
        }
        RouteAction::Forward(_) => {
            let policy = Policy::compile(route, &FieldEdits::default()).ok()?;
            let mut text = Vec::new();
            let mut draft = Draft::new(&mut text);
            if let Err(error) = policy.apply(parts, &mut draft) {
                return Some(format!("answered 400: {error}"));
            }
            let path = draft.path().map(|path| format!("path {path}"));
            let host = draft.host().map(|host| format!("host {host}"));
            let changed: Vec<_> = path.into_iter().chain(host).collect();
            (!changed.is_empty()).then(|| format!("the endpoint gets {}", changed.join(", ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = "
        [listeners.web]
        bind = [\"127.0.0.1:8080\"]
        protocol = \"http\"
        [[listeners.web.routes]]
        host = \"api.test\"
        path = \"/v1/\"
        cluster = \"api\"
        rewrite = { prefix = \"/\", host = \"api.internal\" }
        [[listeners.web.routes]]
        host = \"api.test\"
        path = \"/v1/\"
        headers = { x-canary = \"1\" }
        methods = [\"GET\", \"HEAD\"]
        cluster = \"canary\"
        allow = [\"10.0.0.0/8\", \"::1\"]
        deny = [\"10.6.0.0/16\"]
        [[listeners.web.routes]]
        deny = [\"192.0.2.0/24\"]
        redirect = \"https://example.test{path}\"
        [listeners.other]
        bind = [\"127.0.0.1:8081\"]
        protocol = \"http\"
        [[listeners.other.routes]]
        respond = {}
        [clusters.api]
        [clusters.canary]
        ";

    fn explain(query: &RoutesQuery) -> Result<Routes, ExplainError> {
        let config = bs9_config::parse_str("test.toml", CONFIG).unwrap_or_else(|e| panic!("{e}"));
        explain_routes(&config, query)
    }

    fn about(url: &str) -> RoutesQuery {
        RoutesQuery { url: Some(url.to_owned()), ..RoutesQuery::default() }
    }

    #[test]
    fn every_route_is_told_without_a_request() {
        let told = explain(&RoutesQuery::default()).unwrap();
        assert_eq!(told.listeners.len(), 2);
        let [other, web] = &told.listeners[..] else { panic!() };
        assert_eq!((&*other.listener, other.routes.len()), ("other", 1));
        let actions: Vec<_> = web.routes.iter().map(|route| &*route.action).collect();
        assert_eq!(actions, ["cluster api", "cluster canary", "redirect 308"]);
        assert_eq!(web.routes[0].checks[1].wanted, "/v1/");
        let clients: Vec<_> = web.routes.iter().map(|route| route.clients.as_deref()).collect();
        let both = "from 10.0.0.0/8, ::1/128, but not from 10.6.0.0/16";
        assert_eq!(clients, [None, Some(both), Some("not from 192.0.2.0/24")]);
        assert!(web.routes.iter().all(|route| route.matches.is_none()));
    }

    #[test]
    fn a_request_takes_the_most_specific_and_the_next_ones_are_told() {
        let told = explain(&about("http://api.test:8080/v1/x?q=1")).unwrap();
        let [web] = &told.listeners[..] else { panic!("{told:?}") };
        assert_eq!((&*web.listener, web.taken), ("web", Some(0)));
        assert_eq!(
            web.outcome.as_deref(),
            Some("the endpoint gets path /x?q=1, host api.internal")
        );
        let shown: Vec<_> = web.routes.iter().map(|one| (one.number, one.matches)).collect();
        assert_eq!(shown, [(0, Some(true)), (2, Some(true)), (1, Some(false))]);
        let missing: Vec<_> =
            web.routes[2].checks.iter().filter(|check| check.holds == Some(false)).collect();
        assert_eq!((missing.len(), &*missing[0].subject), (1, "header x-canary"));

        let query =
            RoutesQuery { headers: Some("X-Canary: 1".into()), ..about("api.test:8080/v1/") };
        assert_eq!(explain(&query).unwrap().listeners[0].taken, Some(1));
        let query = RoutesQuery { method: Some("PUT".into()), ..query };
        assert_eq!(explain(&query).unwrap().listeners[0].taken, Some(0));
    }

    #[test]
    fn what_is_normalized_refused_or_redirected_is_said() {
        let query = RoutesQuery { listener: Some("web".into()), ..about("/a/../b") };
        let told = explain(&query).unwrap();
        assert_eq!(told.listeners[0].normalized_path.as_deref(), Some("/b"));
        assert_eq!(told.listeners[0].outcome.as_deref(), Some("Location: https://example.test/b"));
        let told = explain(&about("http://a.test:8080/a/..%2fb")).unwrap();
        assert!(told.listeners[0].refused.is_some() && told.listeners[0].taken.is_none());
    }

    #[test]
    fn what_is_no_request_is_said() {
        let unknown = RoutesQuery { listener: Some("x".into()), ..RoutesQuery::default() };
        assert_eq!(explain(&unknown), Err(ExplainError::UnknownListener("x".into())));
        for url in ["ftp://a/", "", "http://", "http:///x"] {
            assert!(matches!(explain(&about(url)), Err(ExplainError::InvalidUrl(_))), "{url}");
        }
        for url in ["http://a/ b", "http://a b/", "/x y"] {
            assert!(explain(&about(url)).is_err(), "{url}");
        }
        let broken = RoutesQuery { headers: Some("x".into()), ..about("/") };
        assert_eq!(explain(&broken), Err(ExplainError::InvalidHeader("x".into())));
        let method = RoutesQuery { method: Some("G T".into()), ..about("/") };
        assert!(explain(&method).is_err());
    }
}
