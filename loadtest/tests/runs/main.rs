//! Whole runs, through the public door, against servers that do as they are told.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod counts;
mod echo;
mod errors;
mod html;
mod http2;
mod http2_server;
mod open_loop;
mod pace;
mod postgres_real;
mod postgres_scripted;
mod scenario;
mod scenario_protocols;
mod scripts;
mod server;
mod thresholds;
mod tls;
mod tls_server;
mod websocket;

use std::sync::atomic::AtomicBool;

use bs9_loadtest::{Options, Plan, Report, RunError, run};

/// Carries out a plan.
fn attempt(url: &str, options: Options) -> Result<Report, RunError> {
    let plan = Plan::new(url.parse().unwrap(), options).unwrap();
    run(&plan, &AtomicBool::new(false), |_| {})
}

/// Carries out a plan that measures something.
fn report(url: &str, options: Options) -> Report {
    attempt(url, options).unwrap()
}

/// So many requests on so many connections.
fn requests(requests: u64, connections: usize) -> Options {
    Options { requests: Some(requests), connections, ..Options::default() }
}
