//! `retries` of a route.

use std::{sync::Arc, time::Duration};

/// When a request is tried again, at another endpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct Retries {
    /// Tries after the first one. Default 2; 0 to 10.
    pub attempts: u32,
    /// Share of the requests in flight that may be retries. Default 0.2.
    pub budget: f64,
    /// Retries that may be under way whatever the share says. Default 3.
    pub min_concurrent: usize,
    /// What is a reason to try again. Default: `connect-failure`, `reset`, `timeout`.
    pub on: Vec<RetryReason>,
    /// Methods that may be sent twice; `None`: the idempotent ones (RFC 9110 section 9.2.2).
    pub methods: Option<Vec<Arc<str>>>,
    /// Limit for one try, to the head of its response; `None`: only the route's timeout.
    pub per_try_timeout: Option<Duration>,
    /// Bytes of a request's body that are kept to send them again. Default 16 KiB.
    pub max_replay_bytes: usize,
}

/// One entry of `on`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryReason {
    /// No connection could be made: nothing was sent.
    ConnectFailure,
    /// The connection ended before a byte of the response.
    Reset,
    /// `per_try_timeout` passed before the head of the response.
    Timeout,
    /// The endpoint answered 502, 503 or 504.
    Status(u16),
}
