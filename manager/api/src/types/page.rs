//! Some of what is kept in order.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What to ask of `GET /v1/events` and `GET /v1/audit`, where everything has a number
/// that grows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PageQuery {
    /// Only what comes after the one with this number (an event's `id`, a record's
    /// `sequence`); absent: the newest ones.
    #[serde(default)]
    pub after: Option<u64>,
    /// As many at most; absent: 100; 1,000 is the most there is.
    #[serde(default)]
    pub limit: Option<u32>,
}
