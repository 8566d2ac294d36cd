//! What an HTTP listener counts.

use bs9_api::types::{CountByReason, HttpListenerStatus};
use bs9_net::{Counter, PerShard};

use super::failure::{Failure, REASONS};
use crate::http2::{self, Http2Cell};

/// Counters of one listener; they outlive reloads.
#[derive(Debug)]
pub(crate) struct HttpStats(PerShard<HttpCell>);

/// One shard's share.
#[derive(Debug, Default)]
pub(crate) struct HttpCell {
    pub(crate) requests: Counter,
    pub(crate) responses: [Counter; 5],
    pub(crate) failures: [Counter; REASONS],
    pub(crate) received_bytes: Counter,
    pub(crate) sent_bytes: Counter,
    pub(crate) http2: Http2Cell,
}

impl HttpCell {
    /// Counts a response by its class.
    pub(crate) fn count_response(&self, status: u16) {
        let class = usize::from(status / 100).clamp(1, 5);
        self.responses[class - 1].increment();
    }
}

impl HttpStats {
    pub(crate) fn new(shards: usize) -> Self {
        Self(PerShard::new(shards))
    }

    pub(crate) fn cell(&self, shard: usize) -> &HttpCell {
        &self.0[shard]
    }

    pub(crate) fn status(&self) -> HttpListenerStatus {
        let failures = Failure::REASON_NAMES.iter().enumerate().map(|(at, reason)| CountByReason {
            reason: (*reason).to_owned(),
            count: self.0.sum(|cell| cell.failures[at].get()),
        });
        HttpListenerStatus {
            requests_total: self.0.sum(|cell| cell.requests.get()),
            responses_total: std::array::from_fn(|class| {
                self.0.sum(|cell| cell.responses[class].get())
            }),
            failures_total: failures.filter(|failure| failure.count > 0).collect(),
            received_bytes_total: self.0.sum(|cell| cell.received_bytes.get()),
            sent_bytes_total: self.0.sum(|cell| cell.sent_bytes.get()),
            http2: http2::status(&self.0, |cell| &cell.http2),
        }
    }
}
