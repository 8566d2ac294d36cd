//! The file as a whole.

use std::{path::Path, time::Duration};

use super::{
    Content, Fault, MAX_REQUESTS, MixRequest, Scenario, Scope, call, feeds,
    load::{self, Loads},
    scope::Given,
};
use crate::{
    feed::Feed,
    mix::{Entry, Pause},
    plan::{MAX_CONNECTIONS, MAX_DURATION, MAX_PAYLOAD_BYTES, MAX_STREAMS, MAX_THREADS, Options},
    quantity::parse_size,
    target::{Service, Target},
    threshold::Threshold,
};

/// What is known before the file is read.
pub(super) struct Root<'r> {
    /// What its paths are relative to.
    pub(super) folder: &'r Path,
    /// Given on the command line instead.
    pub(super) target: Option<Target>,
    /// Whether all of it could be parsed; else what seems to be missing may be there.
    pub(super) whole: bool,
}

impl Root<'_> {
    pub(super) fn read(self, scope: &Scope<'_>) -> Option<Scenario> {
        let target = self.target(scope);
        let mut options = options(scope);
        let (feeds, feeds_known) = feeds::read(scope, self.folder);
        let loads = load::read(scope, &mut options);
        let headers = scope.get("headers").map(|given| call::headers(&given)).unwrap_or_default();
        let requests =
            self.requests(scope, target.as_ref(), headers.clone(), &feeds, feeds_known, &loads);
        let target = target?;
        match target.service {
            // Its handshake has them; requests of HTTP have theirs already.
            Service::WebSocket { .. } => {
                no_places(scope, &headers);
                options.http.headers = headers;
            }
            Service::Tcp | Service::Postgres { .. } => {
                foreign(scope, "headers", "http:// or ws://");
            }
            Service::Http { .. } => {}
        }
        let echoes = matches!(target.service, Service::Tcp | Service::WebSocket { .. });
        if !echoes && options.payload_bytes.is_some() {
            foreign(scope, "payload_size", "tcp://");
        }
        if !matches!(target.service, Service::Http { .. }) && options.http2 {
            foreign(scope, "http2", "http://");
        }
        if !options.http2
            && let Some(given) = scope.get("streams")
        {
            let fault = Fault::new("only HTTP/2 has several requests on a connection");
            given.fault(fault.hint("write http2 = true"));
        }
        if !matches!(target.service, Service::Postgres { .. }) && options.query_mode.is_some() {
            foreign(scope, "mode", "postgres://");
        }
        let Loads { load, stages } = loads?;
        Some(Scenario { target, options, load, stages, requests: requests?, feeds: feeds.into() })
    }

    fn target(&self, scope: &Scope<'_>) -> Option<Target> {
        let own = match (&self.target, self.whole) {
            (None, true) => scope.required("target", "write target = \"http://127.0.0.1:8080\""),
            _ => scope.get("target"),
        };
        let own = own.and_then(|given| given.parsed(str::parse::<Target>));
        self.target.clone().or(own)
    }

    fn requests(
        &self,
        scope: &Scope<'_>,
        target: Option<&Target>,
        headers: Vec<(String, String)>,
        feeds: &[Feed],
        feeds_known: bool,
        loads: &Option<Loads>,
    ) -> Option<Vec<MixRequest>> {
        let open = loads.as_ref().is_some_and(|loads| loads.load.is_open());
        let common = call::Common {
            folder: self.folder,
            feeds,
            feeds_known,
            service: target.map(|target| &target.service),
            headers,
            think_time: think_time(scope, open),
            open,
        };
        let Some(given) = scope.get("requests") else {
            return Some(common.lone());
        };
        let list = given.list()?;
        if list.is_empty() {
            given.fault(Fault::new("there has to be a request"));
            return None;
        }
        if list.len() > MAX_REQUESTS {
            let fault = format!("{} requests are more than {MAX_REQUESTS}", list.len());
            given.fault(Fault::new(fault));
            return None;
        }
        if let Some(Service::Http { path }) = common.service
            && path != "/"
        {
            let fault =
                Fault::new(format!("the target has a path, `{path}`, and so have requests"));
            given.fault(fault.hint("leave it out of the target"));
        }
        let requests: Vec<_> =
            list.iter().enumerate().map(|(index, given)| common.read(index, given)).collect();
        let requests: Option<Vec<_>> = requests.into_iter().collect();
        let requests = requests?;
        named_once(&list, &requests);
        if requests.iter().all(|request| request.entry.weight == 0) {
            given.fault(Fault::new("all requests have weight 0").hint("give one of them a weight"));
            return None;
        }
        Some(requests)
    }
}

fn foreign(scope: &Scope<'_>, key: &'static str, scheme: &str) {
    if let Some(given) = scope.get(key) {
        given.fault(Fault::new(format!("`{key}` is for {scheme} targets")));
    }
}

/// Fields of a handshake are made before the first connection is.
fn no_places(scope: &Scope<'_>, headers: &[(String, String)]) {
    if let Some(given) = scope.get("headers")
        && headers.iter().any(|(_, value)| value.contains("{{"))
    {
        given.fault(
            Fault::new("every handshake has the same headers, so there is nothing to fill")
                .hint("write them without {{…}}"),
        );
    }
}

fn named_once(list: &[Given<'_>], requests: &[MixRequest]) {
    for (index, (given, request)) in list.iter().zip(requests).enumerate() {
        let name = &request.entry.name;
        if requests[..index].iter().any(|other| other.entry.name == *name) {
            let name = name.as_deref().unwrap_or_default();
            given.fault(
                Fault::new(format!("two requests are called `{name}`"))
                    .hint("give each a `name` of its own"),
            );
        }
    }
}

fn options(scope: &Scope<'_>) -> Options {
    let tick = Duration::from_millis(1);
    let duration =
        |key, least| scope.get(key).and_then(|given| given.duration(least..=MAX_DURATION));
    let mut options = Options::default();
    if let Some(warm_up) = duration("warm_up", Duration::ZERO) {
        options.warm_up = warm_up;
    }
    if let Some(timeout) = duration("timeout", tick) {
        options.request_timeout = timeout;
    }
    if let Some(timeout) = duration("connect_timeout", tick) {
        options.connect_timeout = timeout;
    }
    if let Some(connections) = integer(scope, "connections", MAX_CONNECTIONS) {
        options.connections = connections;
    }
    options.threads = integer(scope, "threads", MAX_THREADS);
    if let Some(keep_alive) = scope.get("keep_alive").and_then(|given| given.boolean()) {
        options.keep_alive = keep_alive;
    }
    if let Some(http2) = scope.get("http2").and_then(|given| given.boolean()) {
        options.http2 = http2;
    }
    options.streams = integer(scope, "streams", MAX_STREAMS);
    options.thresholds = thresholds(scope);
    options.payload_bytes = scope.get("payload_size").and_then(|given| {
        let bytes = given.parsed(parse_size)?;
        let most = MAX_PAYLOAD_BYTES;
        let fault = || Fault::new("a payload has 1 byte to 16 MiB");
        given.accept(if (1..=most).contains(&bytes) { Ok(bytes) } else { Err(fault()) })
    });
    options.query_mode = scope.get("mode").and_then(|given| given.parsed(str::parse));
    options
}

fn integer(scope: &Scope<'_>, key: &'static str, most: usize) -> Option<usize> {
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let number = scope.get(key)?.integer(1..=most)?;
    usize::try_from(number).ok()
}

/// `thresholds = ["p99 < 5ms", …]`.
pub(super) fn thresholds(scope: &Scope<'_>) -> Vec<Threshold> {
    let given = scope.get("thresholds");
    let list = given.and_then(|given| given.list()).unwrap_or_default();
    list.iter().filter_map(|given| given.parsed(str::parse)).collect()
}

/// `think_time = "100ms"` or `"50ms..200ms"`.
pub(super) fn think_time(scope: &Scope<'_>, open: bool) -> Option<Pause> {
    let given = scope.get("think_time")?;
    let text = given.text()?;
    let (least, most) = text.split_once("..").unwrap_or((text, text));
    let part = |text: &str| {
        let parsed = crate::quantity::parse_duration(text.trim());
        parsed.map_err(|error| Fault::new(error.to_string()))
    };
    let (least, most) = (given.accept(part(least))?, given.accept(part(most))?);
    if least > most || most > MAX_DURATION {
        given.fault(Fault::new(format!("`{text}` is not a pause")).hint("write \"50ms..200ms\""));
        return None;
    }
    if open {
        given.fault(
            Fault::new("with a `rate` nobody waits for anybody, so nobody thinks")
                .hint("leave out `think_time`, or write `connections` instead of `rate`"),
        );
        return None;
    }
    Some(Pause { least, most })
}

impl call::Common<'_> {
    /// What is sent when no requests are given: what the target alone asks for.
    fn lone(&self) -> Vec<MixRequest> {
        let content = match self.service {
            Some(Service::Http { path }) => {
                let headers = self.headers.clone();
                let options = crate::plan::HttpOptions { headers, ..Default::default() };
                let checks = options.checks();
                Content::Http { path: path.clone(), options, checks }
            }
            _ => Content::OfTarget,
        };
        let entry = Entry {
            name: None,
            weight: 1,
            think_time: self.think_time.unwrap_or_default(),
            thresholds: Vec::new(),
        };
        vec![MixRequest { entry, content }]
    }
}
