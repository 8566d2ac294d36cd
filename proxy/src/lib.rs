//! The L4/L7 proxy engine: routes, clusters, balancing, health, HTTP/1.1, HTTP/2 and TCP.
//!
//! [`ProxyEngine`] is what the host runs. [`http1`] and [`route`] are pure: bytes
//! and matches in, verdicts out. [`cluster`] knows endpoints, `http` and `tcp` carry
//! traffic between a client and one of them.

pub mod cluster;
pub mod http1;
pub mod http2;
pub mod route;

mod access_log;
mod duplex;
mod engine;
mod explain;
mod forwarded;
mod http;

mod introduction;
mod part;
mod policy;
mod response_times;
mod retry;
mod splice;
mod tcp;
mod tunnel;
mod udp;
mod worker;

pub use access_log::LogReport;
pub use engine::{ClusterTimes, ProxyEngine, UnknownEndpoint};
pub use explain::{ExplainError, explain_routes};
pub use http::RouteReport;
pub use response_times::{BOUNDS_SECONDS, TimesReport};
pub use udp::UdpReport;
