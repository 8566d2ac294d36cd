//! What is asked for, and the same checked.

use std::{sync::Arc, time::Duration};

use crate::{
    address::Reach,
    checks::{BodyCheck, Checks, StatusSet},
    course::Course,
    http::RequestError,
    mix::Mix,
    postgres::QueryMode,
    rate::Rate,
    script::Script,
    target::{Service, Target, Transport},
    threshold::Threshold,
    tls::{TlsError, TlsOptions},
    workload::Workload,
};

/// Most connections of a run.
pub const MAX_CONNECTIONS: usize = 100_000;
/// Most streams of a connection.
pub const MAX_STREAMS: usize = 1_000;
/// Most streams of all connections together.
pub const MAX_LANES: usize = 1_000_000;
/// Most threads of a run.
pub const MAX_THREADS: usize = 1_024;
/// Longest run, warm-up or timeout: a week.
pub const MAX_DURATION: Duration = Duration::from_secs(7 * 24 * 3_600);
/// Largest payload of an echo, in bytes.
pub const MAX_PAYLOAD_BYTES: usize = 16 << 20;
/// How long a run takes when neither duration nor number of requests is given.
pub const DEFAULT_DURATION: Duration = Duration::from_secs(10);
/// The payload of an echo unless told otherwise, in bytes.
pub const DEFAULT_PAYLOAD_BYTES: usize = 64;
/// The query unless told otherwise.
pub const DEFAULT_QUERY: &str = "SELECT 1";

/// How much load, how, and what counts as good. `Options::default()` is a closed loop of 64
/// connections for ten seconds.
#[derive(Debug, Clone)]
pub struct Options {
    /// Connections, over all threads.
    pub connections: usize,
    /// Threads; as many as there are cores unless given, and never more than connections.
    pub threads: Option<usize>,
    /// How long requests are sent, warm-up not counted.
    pub duration: Option<Duration>,
    /// How many requests are sent, warm-up not counted.
    pub requests: Option<u64>,
    /// Open loop at this rate; closed loop without.
    pub rate: Option<Rate>,
    /// Load before anything is measured.
    pub warm_up: Duration,
    /// Whether connections are used again; otherwise each request has its own.
    pub keep_alive: bool,
    /// From sending a request to the end of its response.
    pub request_timeout: Duration,
    /// From connecting until the first request can be sent, login included.
    pub connect_timeout: Duration,
    /// Whether other machines may be put under load.
    pub allow_remote: bool,
    /// What the run has to keep to pass.
    pub thresholds: Vec<Threshold>,
    /// For `http://` targets.
    pub http: HttpOptions,
    /// For `https://` targets.
    pub tls: TlsOptions,
    /// For `http://` and `https://` targets: HTTP/2, without asking whether the server speaks it
    /// (`http://`) or insisting that it does (`https://`).
    pub http2: bool,
    /// For HTTP/2: requests at the same time on a connection; one unless given.
    pub streams: Option<usize>,
    /// For `tcp://` and `ws://` targets: bytes of a payload.
    pub payload_bytes: Option<usize>,
    /// For `postgres://` targets: the query.
    pub query: Option<String>,
    /// For `postgres://` targets: a transaction instead of a query.
    pub script: Option<Script>,
    /// For `postgres://` targets: how it is sent.
    pub query_mode: Option<QueryMode>,
}

/// The request of an `http://` target, and what has to come back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HttpOptions {
    /// GET unless given, POST when there is a body.
    pub method: Option<String>,
    /// Further header fields, in this order. They replace the ones sent by default.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Option<Vec<u8>>,
    /// Expected statuses; unless given, everything below 400.
    pub expect_status: Option<StatusSet>,
    /// A text that every body has to hold.
    pub expect_body: Option<String>,
}

/// Options that make no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A number outside its range.
    #[error("{what} must lie between {least} and {most}")]
    Range {
        /// Of what.
        what: &'static str,
        /// The least it may be.
        least: String,
        /// The most it may be.
        most: String,
    },
    /// A ramp that does not know how long it is.
    #[error("a ramp of rates needs a duration, not a number of requests alone")]
    RampWithoutDuration,
    /// An option of another protocol.
    #[error("{option} is for {scheme}:// targets")]
    Foreign {
        /// The option.
        option: &'static str,
        /// The scheme it is for.
        scheme: &'static str,
    },
    /// A query that cannot be sent.
    #[error("a query holds no NUL characters and is not longer than 1 MiB")]
    Query,
    /// A query and a script, which is it?
    #[error("--query and --script exclude each other")]
    QueryAndScript,
    /// Streams of a protocol that has none.
    #[error("--streams is for HTTP/2; add --http2")]
    StreamsWithoutHttp2,
    /// Requests at the same time, each on a connection of its own.
    #[error("--no-keepalive leaves no room for more than one stream on a connection")]
    StreamsWithoutKeepAlive,
    /// A server that cannot be met over TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A request that cannot be sent.
    #[error(transparent)]
    Request(#[from] RequestError),
}

/// Options that make sense, and what is sent.
#[derive(Debug, Clone)]
pub struct Plan {
    pub(crate) target: Target,
    pub(crate) workload: Workload,
    pub(crate) connections: usize,
    pub(crate) threads: usize,
    pub(crate) duration: Option<Duration>,
    pub(crate) requests: Option<u64>,
    pub(crate) load: Load,
    pub(crate) stages: Arc<[Stage]>,
    pub(crate) mix: Mix,
    pub(crate) warm_up: Duration,
    pub(crate) keep_alive: bool,
    pub(crate) request_timeout: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) reach: Reach,
    pub(crate) thresholds: Vec<Threshold>,
}

/// Who sets the pace, and how much of it there is over time, warm-up not counted.
#[derive(Debug, Clone)]
pub(crate) enum Load {
    /// Connections, each of which sends its next request when the one before has ended.
    Closed(Course),
    /// Requests a second, whatever the server does.
    Open(Course),
}

/// A part of a run with figures of its own.
#[derive(Debug, Clone)]
pub(crate) struct Stage {
    pub(crate) name: String,
    pub(crate) duration: Duration,
}

// === impl HttpOptions ===

impl HttpOptions {
    pub(crate) fn method(&self) -> &str {
        let default = if self.body.is_some() { "POST" } else { "GET" };
        self.method.as_deref().unwrap_or(default)
    }

    /// What has to come back.
    pub(crate) fn checks(&self) -> Checks {
        let body =
            self.expect_body.as_deref().and_then(|text| BodyCheck::contains(text.as_bytes()));
        Checks {
            status: self.expect_status.clone().unwrap_or_default(),
            headers: Vec::new(),
            bodies: body.into_iter().collect(),
        }
    }
}

// === impl Options ===

impl Default for Options {
    fn default() -> Self {
        Self {
            connections: 64,
            threads: None,
            duration: None,
            requests: None,
            rate: None,
            warm_up: Duration::ZERO,
            keep_alive: true,
            request_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(5),
            allow_remote: false,
            thresholds: Vec::new(),
            http: HttpOptions::default(),
            tls: TlsOptions::default(),
            http2: false,
            streams: None,
            payload_bytes: None,
            query: None,
            script: None,
            query_mode: None,
        }
    }
}

impl Options {
    fn check(&self) -> Result<(), PlanError> {
        within("the number of connections", self.connections, 1, MAX_CONNECTIONS)?;
        if let Some(threads) = self.threads {
            within("the number of threads", threads, 1, MAX_THREADS)?;
        }
        if self.requests == Some(0) {
            within("the number of requests", 0, 1, u64::MAX)?;
        }
        self.check_streams()?;
        if self.query.is_some() && self.script.is_some() {
            return Err(PlanError::QueryAndScript);
        }
        let tick = Duration::from_millis(1);
        if let Some(duration) = self.duration {
            within_duration("the duration", duration, tick)?;
        }
        within_duration("the warm-up", self.warm_up, Duration::ZERO)?;
        within_duration("the request timeout", self.request_timeout, tick)?;
        within_duration("the connect timeout", self.connect_timeout, tick)?;
        let ramps = self.rate.is_some_and(Rate::is_ramp);
        if ramps && self.requests.is_some() && self.duration.is_none() {
            return Err(PlanError::RampWithoutDuration);
        }
        Ok(())
    }

    fn check_streams(&self) -> Result<(), PlanError> {
        let Some(streams) = self.streams else { return Ok(()) };
        if !self.http2 {
            return Err(PlanError::StreamsWithoutHttp2);
        }
        within("the number of streams", streams, 1, MAX_STREAMS)?;
        if streams > 1 && !self.keep_alive {
            return Err(PlanError::StreamsWithoutKeepAlive);
        }
        within("connections times streams", self.connections * streams, 1, MAX_LANES)
    }

    /// An option that was given, though the target's protocol has no use for it.
    fn foreign(&self, target: &Target) -> Option<PlanError> {
        let (mut http, mut websocket, mut tcp, mut postgres) = (false, false, false, false);
        match target.service {
            Service::Http { .. } => http = true,
            Service::WebSocket { .. } => websocket = true,
            Service::Tcp => tcp = true,
            Service::Postgres { .. } => postgres = true,
        }
        let tls = target.transport == Transport::Tls;
        let options = [
            (self.http.method.is_some(), "--method", "http", http),
            (!self.http.headers.is_empty(), "--header", "http", http || websocket),
            (self.http.body.is_some(), "--body", "http", http),
            (self.http.expect_status.is_some(), "--expect-status", "http", http),
            (self.http.expect_body.is_some(), "--expect-body", "http", http),
            (self.http2, "--http2", "http", http),
            (self.payload_bytes.is_some(), "--payload-size", "tcp", tcp || websocket),
            (self.query.is_some(), "--query", "postgres", postgres),
            (self.query_mode.is_some(), "--mode", "postgres", postgres),
            (self.script.is_some(), "--script", "postgres", postgres),
            (self.tls.ca_file.is_some(), "--ca", "https", tls),
            (self.tls.insecure, "--insecure", "https", tls),
            (self.tls.server_name.is_some(), "--servername", "https", tls),
            (self.tls.resume, "--tls-resume", "https", tls),
        ];
        let foreign = options.into_iter().find(|(given, _, _, known)| *given && !known);
        foreign.map(|(_, option, scheme, _)| PlanError::Foreign { option, scheme })
    }
}

pub(crate) fn within<T: PartialOrd + ToString>(
    what: &'static str,
    value: T,
    least: T,
    most: T,
) -> Result<(), PlanError> {
    if (&least..=&most).contains(&&value) {
        return Ok(());
    }
    Err(PlanError::Range { what, least: least.to_string(), most: most.to_string() })
}

fn within_duration(what: &'static str, value: Duration, least: Duration) -> Result<(), PlanError> {
    if (least..=MAX_DURATION).contains(&value) {
        return Ok(());
    }
    Err(PlanError::Range { what, least: format!("{least:?}"), most: "a week".to_owned() })
}

// === impl Load ===

impl Load {
    pub(crate) fn is_open(&self) -> bool {
        matches!(self, Self::Open(_))
    }

    pub(crate) fn course(&self) -> &Course {
        let (Self::Closed(course) | Self::Open(course)) = self;
        course
    }
}

// === impl Plan ===

impl Plan {
    /// Checks `options` for `target` and makes what will be sent.
    ///
    /// # Errors
    /// [`PlanError`] when they make no sense, together or alone.
    pub fn new(target: Target, options: Options) -> Result<Self, PlanError> {
        options.check()?;
        if let Some(error) = options.foreign(&target) {
            return Err(error);
        }
        let workload = Workload::new(&target, &options)?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = options.threads.unwrap_or(cores.min(MAX_THREADS)).min(options.connections);
        let threads = match options.requests {
            Some(requests) => threads.min(usize::try_from(requests).unwrap_or(usize::MAX)),
            None => threads,
        };
        let duration = match options.requests {
            None => Some(options.duration.unwrap_or(DEFAULT_DURATION)),
            Some(_) => options.duration,
        };
        Ok(Self {
            target,
            workload,
            connections: options.connections,
            threads,
            duration,
            requests: options.requests,
            load: match options.rate {
                Some(rate) => Load::Open(rate.course(duration)),
                None => Load::Closed(Course::constant(options.connections as f64)),
            },
            stages: Arc::new([]),
            mix: Mix::lone(),
            warm_up: options.warm_up,
            keep_alive: options.keep_alive,
            request_timeout: options.request_timeout,
            connect_timeout: options.connect_timeout,
            reach: if options.allow_remote { Reach::Anywhere } else { Reach::Local },
            thresholds: options.thresholds,
        })
    }

    /// The same with other load over time, and other requests.
    pub(crate) fn with_load(self, load: Load, stages: Vec<Stage>, mix: Mix) -> Self {
        Self { load, stages: stages.into(), mix, ..self }
    }

    /// Where the load goes.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Connections, over all threads.
    pub fn connections(&self) -> usize {
        self.connections
    }

    /// Threads.
    pub fn threads(&self) -> usize {
        self.threads
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(url: &str, change: impl FnOnce(&mut Options)) -> Result<Plan, PlanError> {
        let mut options = Options::default();
        change(&mut options);
        Plan::new(url.parse().unwrap(), options)
    }

    #[test]
    fn a_run_ends() {
        let plan = |change: fn(&mut Options)| plan("http://localhost", change).unwrap();
        assert_eq!(plan(|_| {}).duration, Some(DEFAULT_DURATION));
        let counted = plan(|options| options.requests = Some(1));
        assert_eq!((counted.duration, counted.threads), (None, 1));
        assert_eq!(plan(|options| options.connections = 1).threads, 1);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let http = "http://localhost";
        for (url, change) in [
            (http, (|o| o.connections = 0) as fn(&mut Options)),
            (http, |o| o.connections = MAX_CONNECTIONS + 1),
            (http, |o| o.threads = Some(0)),
            (http, |o| o.requests = Some(0)),
            (http, |o| o.duration = Some(Duration::ZERO)),
            (http, |o| o.warm_up = Duration::MAX),
            (http, |o| o.request_timeout = Duration::ZERO),
            (http, |o| {
                o.rate = Rate::ramp(1.0, 2.0);
                o.requests = Some(5);
            }),
            (http, |o| o.query = Some("SELECT 1".into())),
            (http, |o| o.payload_bytes = Some(1)),
            (http, |o| o.http.method = Some("G T".into())),
            ("tcp://localhost:1", |o| o.payload_bytes = Some(0)),
            ("tcp://localhost:1", |o| o.http.expect_body = Some("x".into())),
            ("tcp://localhost:1", |o| o.query_mode = Some(QueryMode::Simple)),
            ("postgres://a@localhost", |o| o.http.body = Some(Vec::new())),
            ("postgres://a@localhost", |o| o.query = Some("\0".into())),
        ] {
            assert!(plan(url, change).is_err(), "{url}");
        }
    }
}
