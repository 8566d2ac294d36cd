//! The L4/L7 proxy engine: routes, clusters, balancing, health, HTTP/1.1 and TCP.

pub mod http1;
pub mod route;
