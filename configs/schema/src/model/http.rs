//! Settings of `protocol = "http"` listeners, and their routes.

use std::{sync::Arc, time::Duration};

use super::{
    HeaderEdits, Network, PathNormalization, Retries, Rewrite, RouteAction, RouteMatch, SplitBy,
};

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
    /// Tell in `X-Bs9-Reason` why a request was not answered by an endpoint. Default false.
    pub reason_header: bool,
    /// Which field of trusted proxies says who the client is.
    pub forwarded_field: ForwardedField,
    /// Passed on or made for each request; `None`: what clients send passes.
    pub request_id: Option<RequestId>,
    /// Likewise, W3C trace context.
    pub trace_context: Option<TraceContext>,
    /// Routes with counts of their own in the metrics; what goes by the others is counted
    /// together. Default 200.
    pub max_route_metrics: usize,
    /// What becomes of paths before routes look at them. Default: `safe`.
    pub normalize_path: PathNormalization,
    /// What no route takes is sent to the same place by https.
    pub https_redirect: Option<HttpsRedirect>,
    /// HTTP/2 beside HTTP/1.1. `None`: not spoken.
    pub http2: Option<Http2>,
}

/// `forwarded_field`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ForwardedField {
    /// `X-Forwarded-For`; `Forwarded` does not pass.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239); `X-Forwarded-For` is made from it.
    Forwarded,
}

/// `request_id`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId {
    /// Name of the field. Default `X-Request-Id`.
    pub header: Arc<str>,
    /// Whether an id that a client sent is kept. Default true.
    pub keep: bool,
}

/// `trace_context` (W3C Trace Context, level 1).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TraceContext {
    /// Whether what a client sent is kept. Default true.
    pub keep: bool,
    /// Share of the traces begun here that are marked as sampled, 0 to 1. Default 1.
    pub sample: f64,
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
    /// How its clusters share the traffic; `None`: at random.
    pub split_by: Option<SplitBy>,
    /// What the endpoint is asked for instead.
    pub rewrite: Option<Rewrite>,
    /// Changes to the fields that the endpoint gets.
    pub request_headers: HeaderEdits,
    /// Changes to the fields that the client gets.
    pub response_headers: HeaderEdits,
    /// Clients that may take it, of those that the listener lets in; `None`: all. Others are
    /// answered 403.
    pub allow: Option<Vec<Network>>,
    /// Clients that may not; they come before `allow`.
    pub deny: Vec<Network>,
    /// From the request's head to the response's head, retries included; then
    /// 504. Default 60 s.
    pub timeout: Duration,
    /// When another endpoint is tried.
    pub retries: Retries,
}
