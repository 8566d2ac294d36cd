//! HTTP: a client's connection and the requests on it.
//!
//! [`session`] owns a connection of HTTP/1.x; [`handling`] is a request's way, whatever
//! brought it; [`exchange`] carries one request to an endpoint and its response back,
//! [`pump`] moves bodies, [`failure`] names everything that can go wrong.

mod client;
mod exchange;
mod failure;
mod grpc;
mod handling;
mod identity;
mod pump;
mod record;
mod reply;
mod request;
mod response;
mod route_counts;
mod session;
mod stats;

pub(crate) use client::{Client, Origin, linger};
pub(crate) use failure::Failure;
pub(crate) use grpc::{Call, is_call, parse_timeout};
pub(crate) use handling::{Fate, Handling};
pub(crate) use identity::{Identities, Ids, parse_traceparent};
pub(crate) use record::{Notes, Record};
pub(crate) use reply::Reply;
pub(crate) use request::plan;
pub(crate) use route_counts::RouteCounts;
pub use route_counts::RouteReport;
pub(crate) use session::{DRAIN_GRACE, serve};
pub(crate) use stats::HttpStats;
