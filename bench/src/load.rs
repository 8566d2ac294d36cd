//! Load generators: how to run them, and how to read what they print.

pub(crate) mod pgbench;
pub(crate) mod wrk;

use std::time::Duration;

/// How much longer than asked a load generator may take before it is stuck.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a load generator did and saw.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Load {
    /// Requests or queries answered.
    pub(crate) units: u64,
    pub(crate) seconds: f64,
    /// Failed requests, refused connections, wrong answers: anything.
    pub(crate) errors: u64,
    pub(crate) p50_seconds: f64,
    pub(crate) p99_seconds: f64,
}
