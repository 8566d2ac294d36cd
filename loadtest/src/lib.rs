//! Load generator: HTTP/1.1 and HTTP/2, WebSocket and TCP echo, plain and over TLS; PostgreSQL.
//!
//! A [`Target`] says where and what; [`Options`] how much and how. Together they make a checked
//! [`Plan`], which [`run()`] carries out: a thread per core, each with an event loop and
//! connections of its own, nothing shared between them but a flag to stop. What it found is a
//! [`Report`], for people, JSON or CSV.
//!
//! Two ways to put load on a server:
//! - *closed loop* (the default): each connection sends its next request when the response to the
//!   one before is in. It finds the most a server can do, but when the server stalls, the load
//!   stops too, and the stall is seen by one request a connection.
//! - *open loop* ([`Rate`]): requests are due at times of a schedule, whatever the server does.
//!   Latency counts from when a request was due, not from when a connection was free to send it,
//!   so a stall is seen by every request that would have met it (no "coordinated omission").
//!
//! Latencies are of requests that were answered as expected; everything else is an error of one
//! [`FailureKind`].
//!
//! - [`quantity`]: durations and sizes as they are typed.
//! - [`target`], [`rate`], [`threshold`]: the words of the command line.
//! - [`checks`]: what has to come back; [`feed`]: values from files that take their places.
//! - [`scenario`]: all of it in a file.
//! - [`plan`]: what is asked for, checked.
//! - [`failure`]: what can go wrong, told apart.
//! - [`mod@run`]: carrying it out; [`progress`]: showing how far it is.
//! - [`report`]: what came of it.

mod address;
pub mod checks;
mod coarse;
mod course;
mod echo;
pub mod failure;
pub mod feed;
mod http;
mod http2;
mod measure;
mod mix;
mod over_time;
mod payload;
pub mod plan;
mod postgres;
pub mod progress;
mod protocol;
pub mod quantity;
pub mod rate;
pub mod report;
pub mod run;
pub mod scenario;
pub mod script;
mod tally;
pub mod target;
mod template;
mod thread_time;
pub mod threshold;
mod tls;
mod websocket;
mod worker;
mod workload;

pub use checks::{StatusError, StatusSet};
pub use failure::{Failure, FailureKind};
pub use http::RequestError;
pub use plan::{Options, Plan, PlanError};
pub use postgres::{QueryMode, QueryModeError};
pub use progress::ProgressLine;
pub use rate::Rate;
pub use report::Report;
pub use run::{RunError, run};
pub use scenario::{Scenario, ScenarioError};
pub use script::{Script, ScriptError};
pub use target::Target;
pub use template::PlaceError;
pub use threshold::Threshold;
pub use tls::{TlsError, TlsOptions};
