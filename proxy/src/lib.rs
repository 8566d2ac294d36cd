//! The L4/L7 proxy engine: routes, clusters, balancing, health, HTTP/1.1, HTTP/2 and TCP.
//!
//! [`ProxyEngine`] is what the host runs. [`http1`] and [`route`] are pure: bytes
//! and matches in, verdicts out. [`cluster`] knows endpoints, `http` and `tcp` carry
//! traffic between a client and one of them.

pub mod cluster;
pub mod http1;
pub mod route;

mod duplex;
mod engine;
mod http;
mod http2;
mod part;
mod splice;
mod tcp;
mod tunnel;
mod worker;

pub use engine::{ProxyEngine, UnknownEndpoint};
