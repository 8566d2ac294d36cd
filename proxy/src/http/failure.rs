//! Every way in which bs9 itself has to answer a request, or to give it up.

use std::io;

use crate::{
    http1::{BodyError, HeadFault, RequestError, ResponseError},
    http2::{self, StreamFault},
};

/// Why a request was not answered by an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    /// What the client sent is not a request we forward.
    #[error("bad request: {0}")]
    Request(RequestError),
    /// The client's body is not what its framing says.
    #[error("bad request body: {0}")]
    RequestBody(BodyError),
    /// A reverse proxy opens no tunnels to places of the client's choosing.
    #[error("CONNECT is not served here")]
    Connect,
    /// `allow` and `deny` have it so.
    #[error("this address is not allowed here")]
    AddressDenied,
    /// `allow` and `deny` of the route have it so.
    #[error("this address is not allowed on this route")]
    RouteDenied,
    /// No route matches.
    #[error("no route matches")]
    NoRoute,
    /// The head did not arrive in time.
    #[error("the request head did not arrive in time")]
    HeadTimeout,
    /// The body did not arrive in time.
    #[error("the request body did not arrive in time")]
    BodyTimeout,
    /// The body is larger than the listener allows.
    #[error("the request body is larger than max_body_bytes")]
    BodyTooLarge,
    /// The cluster has no endpoints at all.
    #[error("the cluster has no endpoints")]
    NoEndpoints,
    /// Every endpoint is unhealthy, taken out, draining, or was tried in vain.
    #[error("no endpoint of the cluster takes traffic")]
    NoHealthyEndpoint,
    /// Every endpoint is at its limit, and nobody may wait, or too many do.
    #[error("every endpoint of the cluster is at its limit")]
    EndpointsFull,
    /// Every endpoint stayed at its limit.
    #[error("no endpoint of the cluster fell below its limit in time")]
    QueueTimeout,
    /// No endpoint accepted a connection.
    #[error("no endpoint accepted a connection")]
    ConnectFailed,
    /// No endpoint accepted a connection in time.
    #[error("no endpoint accepted a connection in time")]
    ConnectTimeout,
    /// The endpoint closed the connection before its response.
    #[error("the endpoint closed the connection before its response")]
    UpstreamClosed,
    /// What the endpoint sent is not a response.
    #[error("bad response: {0}")]
    Response(ResponseError),
    /// The endpoint sent something that only an answer to another request would be.
    #[error("the endpoint sent bytes nobody asked for")]
    UpstreamExcess,
    /// The response did not begin in time.
    #[error("the response did not begin in time")]
    ResponseTimeout,
    /// The endpoint refused the stream.
    #[error("the endpoint refused the stream")]
    StreamRefused,
    /// The endpoint reset the stream before its response.
    #[error("the endpoint reset the stream before its response")]
    StreamReset,
    /// The endpoint is leaving, and has not looked at the request.
    #[error("the endpoint is leaving, and has not looked at the request")]
    UpstreamGoneAway,
    /// The endpoint does not speak HTTP/2 as it should.
    #[error("the endpoint does not speak HTTP/2 as it should")]
    UpstreamProtocol,
    /// The endpoint did not answer a PING.
    #[error("the endpoint did not answer a PING")]
    UpstreamUnresponsive,
    /// The client went away before there was a response.
    #[error("the client went away")]
    ClientGone,
}

/// How many reasons there are: [`Failure::index`] is below it.
pub(crate) const REASONS: usize = Failure::REASON_NAMES.len();

impl Failure {
    /// The names of all reasons, by [`Failure::index`]; the codec's own reasons are told
    /// apart in logs.
    pub(crate) const REASON_NAMES: [&'static str; 27] = [
        "bad_request",
        "bad_request_body",
        "connect_method",
        "no_route",
        "head_timeout",
        "body_timeout",
        "body_too_large",
        "no_endpoints",
        "no_healthy_endpoint",
        "connect_failed",
        "connect_timeout",
        "upstream_closed",
        "bad_response",
        "upstream_excess",
        "response_timeout",
        "head_too_large",
        "uri_too_long",
        "endpoints_full",
        "queue_timeout",
        "client_gone",
        "address_denied",
        "stream_refused",
        "stream_reset",
        "upstream_goaway",
        "upstream_http2_error",
        "upstream_ping_timeout",
        "route_denied",
    ];

    /// Why reading from an endpoint failed.
    pub(crate) fn of_upstream(error: &io::Error) -> Self {
        match http2::fault_of(error) {
            None | Some(StreamFault::Closed) => Self::UpstreamClosed,
            Some(StreamFault::Refused) => Self::StreamRefused,
            Some(StreamFault::GoneAway) => Self::UpstreamGoneAway,
            Some(StreamFault::Reset(_)) => Self::StreamReset,
            Some(StreamFault::Protocol(_)) => Self::UpstreamProtocol,
            Some(StreamFault::PingTimeout) => Self::UpstreamUnresponsive,
            Some(StreamFault::Unsayable) => Self::Request(RequestError::InvalidTarget),
            Some(StreamFault::HeadTooLarge) => Self::Response(HeadFault::TooLarge.into()),
        }
    }

    /// Its place among [`Self::REASON_NAMES`].
    pub(crate) fn index(self) -> usize {
        match self {
            Self::Request(error) => match error.status() {
                431 => 15,
                414 => 16,
                _ => 0,
            },
            Self::RequestBody(_) => 1,
            Self::Connect => 2,
            Self::NoRoute => 3,
            Self::HeadTimeout => 4,
            Self::BodyTimeout => 5,
            Self::BodyTooLarge => 6,
            Self::NoEndpoints => 7,
            Self::NoHealthyEndpoint => 8,
            Self::ConnectFailed => 9,
            Self::ConnectTimeout => 10,
            Self::UpstreamClosed => 11,
            Self::Response(_) => 12,
            Self::UpstreamExcess => 13,
            Self::ResponseTimeout => 14,
            Self::EndpointsFull => 17,
            Self::QueueTimeout => 18,
            Self::ClientGone => 19,
            Self::AddressDenied => 20,
            Self::StreamRefused => 21,
            Self::StreamReset => 22,
            Self::UpstreamGoneAway => 23,
            Self::UpstreamProtocol => 24,
            Self::UpstreamUnresponsive => 25,
            Self::RouteDenied => 26,
        }
    }

    /// The stable word for metrics and logs.
    pub(crate) fn reason(self) -> &'static str {
        Self::REASON_NAMES[self.index()]
    }

    /// The codec's own word, where it is more precise.
    pub(crate) fn detail(self) -> &'static str {
        match self {
            Self::Request(error) => error.reason(),
            Self::RequestBody(error) => error.reason(),
            Self::Response(error) => error.reason(),
            other => other.reason(),
        }
    }

    /// What the client is told (RFC 9110 section 15).
    pub(crate) fn status(self) -> u16 {
        match self {
            Self::Request(error) => error.status(),
            Self::RequestBody(_) => 400,
            Self::Connect => 405,
            Self::AddressDenied | Self::RouteDenied => 403,
            Self::NoRoute => 404,
            Self::HeadTimeout | Self::BodyTimeout => 408,
            Self::BodyTooLarge => 413,
            // Not that anybody would read it; the number is nginx's.
            Self::ClientGone => 499,
            Self::NoEndpoints
            | Self::NoHealthyEndpoint
            | Self::EndpointsFull
            | Self::QueueTimeout => 503,
            Self::ConnectFailed
            | Self::UpstreamClosed
            | Self::Response(_)
            | Self::UpstreamExcess
            | Self::StreamRefused
            | Self::StreamReset
            | Self::UpstreamGoneAway
            | Self::UpstreamProtocol => 502,
            Self::ConnectTimeout | Self::ResponseTimeout | Self::UpstreamUnresponsive => 504,
        }
    }

    /// Whether the client's connection can carry another request: only when its
    /// request was read to the end.
    pub(crate) fn leaves_connection_usable(self) -> bool {
        matches!(
            self,
            Self::NoRoute
                | Self::RouteDenied
                | Self::NoEndpoints
                | Self::NoHealthyEndpoint
                | Self::EndpointsFull
                | Self::QueueTimeout
                | Self::ConnectFailed
                | Self::ConnectTimeout
                | Self::UpstreamClosed
                | Self::Response(_)
                | Self::UpstreamExcess
                | Self::StreamRefused
                | Self::StreamReset
                | Self::UpstreamGoneAway
                | Self::UpstreamProtocol
                | Self::UpstreamUnresponsive
                | Self::ResponseTimeout
        )
    }
}

/// The reason phrase of a status that bs9 itself answers with.
pub(crate) fn phrase(status: u16) -> &'static str {
    http::StatusCode::from_u16(status).ok().and_then(|code| code.canonical_reason()).unwrap_or("")
}
