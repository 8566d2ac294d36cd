//! What is spoken, ready to be spoken.

use std::sync::Arc;

use crate::{
    echo::Echo,
    feed::Feed,
    http::{Call, Http, Request},
    http2::Http2,
    payload::Payloads,
    plan::{DEFAULT_PAYLOAD_BYTES, DEFAULT_QUERY, MAX_PAYLOAD_BYTES, Options, PlanError, within},
    postgres::{Identity, Postgres},
    protocol::Protocol as _,
    target::{Encryption, Service, Target, Transport},
    template::Template,
    tls::{self, Agreement, Tls, TlsOptions},
    websocket::{Upgrade, WebSocket},
};

/// Longest query, in bytes.
const MAX_QUERY_BYTES: usize = 1 << 20;

/// A protocol, with what is sent and what has to come back.
#[derive(Debug, Clone)]
pub(crate) enum Workload {
    Http(Http),
    HttpTls(Tls<Http>),
    Http2(Http2),
    Http2Tls(Tls<Http2>),
    Echo(Echo),
    EchoTls(Tls<Echo>),
    WebSocket(WebSocket),
    WebSocketTls(Tls<WebSocket>),
    Postgres(Postgres),
    PostgresTls(Tls<Postgres>),
}

// === impl Workload ===

impl Workload {
    /// What options without a scenario ask for.
    pub(crate) fn new(target: &Target, options: &Options) -> Result<Self, PlanError> {
        Ok(match &target.service {
            Service::Http { path } => {
                let authority = target.authority();
                let request = Request::new(&authority, path, &options.http, options.keep_alive)?;
                let call = Call { request, checks: options.http.checks() };
                Self::http(target, options, vec![call], Arc::new([]))?
            }
            Service::Tcp => {
                let echo = Echo::new(payloads(options)?);
                match target.transport {
                    Transport::Plain => Self::Echo(echo),
                    Transport::Tls => {
                        let agreement = Agreement::new(&target.host, &options.tls, None)?;
                        Self::EchoTls(Tls::new(agreement, echo))
                    }
                }
            }
            Service::WebSocket { path } => {
                let upgrade = Upgrade::new(&target.authority(), path, &options.http.headers)?;
                let websocket = WebSocket::new(upgrade, payloads(options)?);
                match target.transport {
                    Transport::Plain => Self::WebSocket(websocket),
                    Transport::Tls => {
                        let protocol = Some(tls::HTTP1);
                        let agreement = Agreement::new(&target.host, &options.tls, protocol)?;
                        Self::WebSocketTls(Tls::new(agreement, websocket))
                    }
                }
            }
            Service::Postgres { user, password, database, encryption } => {
                let identity = Identity::new(user.clone(), password.clone(), database.clone());
                let postgres = if let Some(script) = &options.script {
                    Postgres::with_script(identity, script, options.query_mode.unwrap_or_default())
                } else {
                    let query = options.query.as_deref().unwrap_or(DEFAULT_QUERY);
                    check_query(query)?;
                    let query = Template::verbatim(query.as_bytes());
                    queries(identity, options, &[query], Arc::new([]))
                };
                Self::postgres(target, options, *encryption, postgres)?
            }
        })
    }

    /// PostgreSQL, over the transport that the target says.
    pub(crate) fn postgres(
        target: &Target,
        options: &Options,
        encryption: Encryption,
        postgres: Postgres,
    ) -> Result<Self, PlanError> {
        if target.transport == Transport::Plain {
            return Ok(Self::Postgres(postgres));
        }
        // As with libpq, who names an authority wants certificates checked.
        let insecure =
            options.tls.insecure || encryption.any_certificate && options.tls.ca_file.is_none();
        let trust = TlsOptions { insecure, ..options.tls.clone() };
        let protocol = encryption.direct.then_some(tls::POSTGRESQL);
        let agreement = Agreement::new(&target.host, &trust, protocol)?;
        let agreement = if encryption.direct { agreement } else { agreement.asking() };
        Ok(Self::PostgresTls(Tls::new(agreement, postgres)))
    }

    /// HTTP, in the version and over the transport that target and options say.
    pub(crate) fn http(
        target: &Target,
        options: &Options,
        calls: Vec<Call>,
        feeds: Arc<[Feed]>,
    ) -> Result<Self, PlanError> {
        let agree = |protocol| Agreement::new(&target.host, &options.tls, Some(protocol));
        let streams = options.streams.unwrap_or(1);
        Ok(match (target.transport, options.http2) {
            (Transport::Plain, false) => Self::Http(Http::new(calls, feeds)),
            (Transport::Tls, false) => {
                Self::HttpTls(Tls::new(agree(tls::HTTP1)?, Http::new(calls, feeds)))
            }
            (Transport::Plain, true) => Self::Http2(Http2::new(calls, feeds, "http", streams)?),
            (Transport::Tls, true) => {
                let http2 = Http2::new(calls, feeds, "https", streams)?;
                Self::Http2Tls(Tls::new(agree(tls::HTTP2)?, http2))
            }
        })
    }

    /// HTTP/2: requests at the same time on each connection.
    pub(crate) fn streams(&self) -> Option<usize> {
        match self {
            Self::Http2(http) => Some(http.lanes()),
            Self::Http2Tls(http) => Some(http.lanes()),
            _ => None,
        }
    }

    /// What reports call it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Http(_) => "http/1.1",
            Self::HttpTls(_) => "http/1.1 over tls",
            Self::Http2(_) => "http/2",
            Self::Http2Tls(_) => "http/2 over tls",
            Self::Echo(_) => "tcp",
            Self::EchoTls(_) => "tls",
            Self::WebSocket(_) => "websocket",
            Self::WebSocketTls(_) => "websocket over tls",
            Self::Postgres(_) => "postgresql",
            Self::PostgresTls(_) => "postgresql over tls",
        }
    }
}

/// PostgreSQL, with places in queries filled from `feeds`.
pub(crate) fn queries(
    identity: Identity,
    options: &Options,
    queries: &[Template],
    feeds: Arc<[Feed]>,
) -> Postgres {
    Postgres::new(identity, queries, options.query_mode.unwrap_or_default(), feeds)
}

fn payloads(options: &Options) -> Result<Payloads, PlanError> {
    let bytes = options.payload_bytes.unwrap_or(DEFAULT_PAYLOAD_BYTES);
    within("the payload", bytes, 1, MAX_PAYLOAD_BYTES)?;
    Ok(Payloads::new(bytes))
}

/// Whether a query can be sent.
pub(crate) fn check_query(query: &str) -> Result<(), PlanError> {
    if query.contains('\0') || query.len() > MAX_QUERY_BYTES {
        return Err(PlanError::Query);
    }
    Ok(())
}
