//! HTTP listeners: a client's connection and the requests on it.
//!
//! [`session`] owns the client's side, [`exchange`] carries one request to an
//! endpoint and its response back, [`pump`] moves bodies, [`failure`] names
//! everything that can go wrong.

mod client;
mod exchange;
mod failure;
mod pump;
mod reply;
mod request;
mod response;
mod session;
mod stats;

pub(crate) use reply::Reply;
pub(crate) use session::serve;
pub(crate) use stats::HttpStats;
