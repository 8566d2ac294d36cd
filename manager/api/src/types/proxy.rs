//! Listeners, clusters and endpoints.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A listener.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ListenerStatus {
    /// Its name.
    pub name: String,
    /// `http`, `tcp` or `postgres`.
    pub protocol: String,
    /// Where it really listens (port 0 resolved).
    pub addresses: Vec<String>,
    /// Client connections open now.
    pub open_connections: u64,
    /// Accepted since it was created.
    pub accepted_connections_total: u64,
    /// Closed at accept because a limit was reached.
    pub refused_connections_total: u64,
    /// With TLS only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsListenerStatus>,
    /// HTTP only.
    pub http: Option<HttpListenerStatus>,
}

/// What a listener with TLS counts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TlsListenerStatus {
    /// Handshakes that succeeded.
    pub handshakes_total: u64,
    /// Those of them that took up an earlier session.
    pub resumptions_total: u64,
    /// Handshakes that failed, by kind.
    pub failures_total: Vec<CountByReason>,
}

/// What an HTTP listener counts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HttpListenerStatus {
    /// Requests whose head was read.
    pub requests_total: u64,
    /// Responses by class: 1xx, 2xx, 3xx, 4xx, 5xx.
    pub responses_total: [u64; 5],
    /// Answers bs9 itself gave instead of an endpoint, by reason.
    pub failures_total: Vec<CountByReason>,
    /// Received from clients.
    pub received_bytes_total: u64,
    /// Sent to clients.
    pub sent_bytes_total: u64,
    /// What of it came by HTTP/2; absent until a client speaks it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http2: Option<Http2Status>,
}

/// What an HTTP listener counts of HTTP/2.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Http2Status {
    /// Connections that spoke it.
    pub connections_total: u64,
    /// Requests on them.
    pub requests_total: u64,
    /// Requests that the client gave up.
    pub resets_total: u64,
    /// Connections that have ended, by reason.
    pub endings_total: Vec<CountByReason>,
}

/// A count with the reason it stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CountByReason {
    /// A stable word, such as `no_healthy_endpoint`.
    pub reason: String,
    /// How often.
    pub count: u64,
}

/// A cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ClusterStatus {
    /// Its name.
    pub name: String,
    /// The algorithm that picks an endpoint.
    pub balance: String,
    /// Whether it is probed.
    pub health_checked: bool,
    /// Too few endpoints are available: health is disregarded.
    #[serde(default)]
    pub panicking: bool,
    /// Requests that wait for an endpoint below its limit of connections.
    #[serde(default)]
    pub waiting: u64,
    /// Requests that were tried again.
    #[serde(default)]
    pub retries_total: u64,
    /// Requests that would have been, had the budget allowed it.
    #[serde(default)]
    pub retries_refused_total: u64,
    /// Retries under way: what of its budget is used now.
    #[serde(default)]
    pub retries_under_way: u64,
    /// How many there might be when one was last asked for; absent before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries_allowed: Option<u64>,
    /// In configuration order.
    pub endpoints: Vec<EndpointStatus>,
}

/// An endpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EndpointStatus {
    /// `host:port` or `unix:/path`.
    pub address: String,
    /// 0 takes no new traffic.
    pub weight: u16,
    /// 0 is used first.
    #[serde(default)]
    pub priority: u8,
    /// Where it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// The configuration says that it takes nothing new; `draining` is whether that is so now.
    #[serde(default)]
    pub disabled: bool,
    /// Health.
    pub health: EndpointHealth,
    /// Why it is unhealthy: the last probe's error.
    pub health_reason: Option<String>,
    /// When health last changed.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub health_since: Option<Timestamp>,
    /// Takes nothing new, finishes what it has.
    pub draining: bool,
    /// Taken out because live traffic failed.
    #[serde(default)]
    pub ejected: bool,
    /// It stays out until then at least; after that, until a probe succeeds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ejected_until: Option<Timestamp>,
    /// How often that has happened.
    #[serde(default)]
    pub ejections_total: u64,
    /// The share of its weight that it has while it starts slowly; absent: all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slow_start_ratio: Option<f64>,
    /// Requests (HTTP) or connections (TCP) in flight now.
    pub active: u64,
    /// Requests (HTTP) or connections (TCP) sent there.
    pub requests_total: u64,
    /// Of them, those that failed before or in the response (connect errors, resets, 5xx are not counted here).
    pub failures_total: u64,
    /// Upstream connections made.
    pub connects_total: u64,
    /// Upstream connections that could not be made.
    pub connect_failures_total: u64,
    /// Idle upstream connections handed from one shard to another, which would have made one.
    #[serde(default)]
    pub handovers_total: u64,
    /// Idle upstream connections kept for reuse.
    pub idle_connections: u64,
    /// Mean time from sending a request to the head of its response, seconds, over
    /// the life of the endpoint; HTTP only, absent before the first one.
    pub mean_response_seconds: Option<f64>,
}

/// An endpoint's health.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EndpointHealth {
    /// Not probed, or not yet.
    Unknown,
    /// Takes traffic.
    Healthy,
    /// Takes none.
    Unhealthy,
}
