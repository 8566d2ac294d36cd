//! Settings of `protocol = "http"` listeners, and their routes.

use std::{sync::Arc, time::Duration};

/// The HTTP part of `[listeners.NAME]`.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpListener {
    /// In file order; empty only with `https_redirect`.
    pub routes: Vec<Route>,
    /// Bytes of a request or response head, request line included. Default
    /// 16 KiB, at most `runtime.buffer_size`.
    pub max_head_bytes: usize,
    /// Header fields of a head. Default 100, at most 128.
    pub max_headers: usize,
    /// Bytes of a request body; larger ones are answered 413. `None`: no limit
    /// (the default; bodies are streamed).
    pub max_body_bytes: Option<u64>,
    /// From the first byte of a request to the end of its head; then 408. Default 15 s.
    pub head_timeout: Duration,
    /// Between two reads of a request body, or two writes of a response. Default 30 s.
    pub body_timeout: Duration,
    /// A keep-alive connection without a request. Default 60 s.
    pub idle_timeout: Duration,
    /// An upgraded connection (WebSocket) without a byte either way. Default 1 h.
    pub tunnel_timeout: Duration,
    /// Keep the `X-Forwarded-*` fields a client sent and append to them, instead
    /// of replacing them. Default false: a client cannot spoof them.
    pub trust_forwarded: bool,
    /// What no route takes is sent to the same place by https.
    pub https_redirect: Option<HttpsRedirect>,
    /// HTTP/2 beside HTTP/1.1. `None`: not spoken.
    pub http2: Option<Http2>,
}

/// `http2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Http2 {
    /// Requests of a connection under way at once. Default 100.
    pub max_concurrent_streams: u32,
    /// Bytes of a request body that a client may send ahead of the endpoint. Default 256 KiB.
    pub stream_window_bytes: u32,
    /// Likewise of all bodies of a connection. Default 1 MiB.
    pub connection_window_bytes: u32,
    /// Requests that a client may give up before its connection is ended, when they are more than
    /// half of all. Default 100.
    pub max_resets: u32,
}

impl Default for Http2 {
    fn default() -> Self {
        Self {
            max_concurrent_streams: 100,
            stream_window_bytes: 256 << 10,
            connection_window_bytes: 1 << 20,
            max_resets: 100,
        }
    }
}

/// `https_redirect`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpsRedirect {
    /// Where https is served. Default 443.
    pub port: u16,
    /// 301, 302, 307 or 308. Default 308.
    pub status: u16,
}

/// `[[listeners.NAME.routes]]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// What it matches.
    pub matches: RouteMatch,
    /// What is done with a request that matches.
    pub action: RouteAction,
    /// From the request's head to the response's head, retries included; then
    /// 504. Default 60 s.
    pub timeout: Duration,
    /// When another endpoint is tried.
    pub retries: Retries,
}

/// When a route matches; everything given must hold.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct RouteMatch {
    /// `host`.
    pub host: HostMatch,
    /// `path`.
    pub path: PathMatch,
    /// `methods`; empty: any.
    pub methods: Vec<Arc<str>>,
    /// `headers`; all must match.
    pub headers: Vec<HeaderMatch>,
    /// `query`; all must match.
    pub query: Vec<QueryMatch>,
}

/// `host`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum HostMatch {
    /// Absent.
    #[default]
    Any,
    /// `api.example.com`, lower case, without a port.
    Exact(Arc<str>),
    /// `*.example.com`: holds `example.com`; matches any name below it.
    Wildcard(Arc<str>),
}

/// `path`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum PathMatch {
    /// Absent.
    #[default]
    Any,
    /// `/v1/`: the path starts with these bytes.
    Prefix(Arc<str>),
    /// `=/exact`.
    Exact(Arc<str>),
    /// `~^/re`; proven to compile.
    Regex(Arc<str>),
}

/// One entry of `headers`: the field is there with this value.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HeaderMatch {
    /// Lower case.
    pub name: Arc<str>,
    /// Compared byte for byte.
    pub value: Arc<str>,
}

/// One entry of `query`: the parameter is there with this value.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct QueryMatch {
    /// Compared as it is on the wire (not decoded).
    pub name: Arc<str>,
    /// Likewise.
    pub value: Arc<str>,
}

/// `cluster`, `clusters`, `redirect` or `respond`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteAction {
    /// Sent to one of these clusters by weight; at least one, all exist.
    Forward(Vec<WeightedCluster>),
    /// `redirect = "https://…"` or `{ to = "…", status = 308 }`.
    Redirect {
        /// `Location`.
        location: Arc<str>,
        /// 301, 302, 303, 307 or 308. Default 308.
        status: u16,
    },
    /// `respond = { status = 200, body = "…", content_type = "text/plain" }`.
    Respond {
        /// 200 to 599.
        status: u16,
        /// May be empty.
        body: Arc<str>,
        /// Default `text/plain; charset=utf-8`.
        content_type: Arc<str>,
    },
}

/// One entry of `clusters`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeightedCluster {
    /// Name of a cluster that exists.
    pub cluster: Arc<str>,
    /// 1 to 65,535. Default 1.
    pub weight: u16,
}

/// `retries`.
#[derive(Debug, Clone, PartialEq)]
pub struct Retries {
    /// Tries after the first one. Default 2; 0 to 10. Only what is safe is
    /// tried again: a connection that could not be made, or an idempotent
    /// request without a body on a kept connection that was closed before a byte of
    /// the response.
    pub attempts: u32,
    /// Share of requests that may be retries, over a sliding window. Default 0.2.
    pub budget: f64,
}
