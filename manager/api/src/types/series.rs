//! History on disk: series of measurements at four resolutions.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `GET /v1/catalog`: which series there are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Catalog {
    /// Version of this shape.
    pub schema: u32,
    /// In order of name and subject.
    pub series: Vec<SeriesName>,
}

/// What a series is of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
pub struct SeriesName {
    /// The metric, such as `bs9_service_memory_bytes`.
    pub name: String,
    /// What it was measured of: a unit, `cluster/endpoint`, `database/user`, a
    /// device; empty for what there is one of.
    pub subject: String,
}

impl SeriesName {
    /// What kind of thing the subject is, as a label: `service`, `endpoint`,
    /// `pool`, `listener`, `device`, `interface`. `None` when there is no subject.
    pub fn label(&self) -> Option<&'static str> {
        const KINDS: [(&str, &str); 6] = [
            ("bs9_service_", "service"),
            ("bs9_endpoint_", "endpoint"),
            ("bs9_pool_", "pool"),
            ("bs9_listener_", "listener"),
            ("bs9_disk_", "device"),
            ("bs9_network_", "interface"),
        ];
        let kind = KINDS.iter().find(|(prefix, _)| self.name.starts_with(prefix));
        (!self.subject.is_empty()).then_some(kind.map_or("subject", |(_, label)| label))
    }
}

/// What to ask of `GET /v1/series`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SeriesQuery {
    /// Only this metric; a `*` at its end stands for any rest.
    #[serde(default)]
    pub name: Option<String>,
    /// Only of this; a unit also without its `.service`.
    #[serde(default)]
    pub subject: Option<String>,
    /// Points from here on; absent: `seconds` before `to`.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub from: Option<Timestamp>,
    /// Points before this; absent: now.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub to: Option<Timestamp>,
    /// How far back without `from`; absent: 900.
    #[serde(default)]
    pub seconds: Option<u64>,
    /// Between two points: 1, 10, 60 or 3600; absent: the finest that is kept
    /// for the range and gives at most 1,000 points a series. Then the newest point may
    /// still grow; otherwise there are only points whose time is over.
    #[serde(default)]
    pub resolution_seconds: Option<u32>,
    /// Points in the answer at most, over all series; absent: 100,000, which is
    /// also the most.
    #[serde(default)]
    pub limit: Option<u32>,
}

/// `GET /v1/series`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SeriesAnswer {
    /// Version of this shape.
    pub schema: u32,
    /// Between two points.
    pub resolution_seconds: u32,
    /// Where the range begins.
    #[schema(value_type = String, format = DateTime)]
    pub from: Timestamp,
    /// Where it ends.
    #[schema(value_type = String, format = DateTime)]
    pub to: Timestamp,
    /// Whether points are missing because there are more than the limit.
    pub truncated: bool,
    /// In order of name and subject.
    pub series: Vec<SeriesPoints>,
}

/// A series within a range.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SeriesPoints {
    /// What it is of.
    #[serde(flatten)]
    pub of: SeriesName,
    /// Oldest first; what was not measured is not there.
    pub points: Vec<SeriesPoint>,
}

/// What was measured from `at` on, for as long as the resolution is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SeriesPoint {
    /// Its beginning.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The smallest value.
    pub min: f64,
    /// The largest value.
    pub max: f64,
    /// All values added up.
    pub sum: f64,
    /// How many values.
    pub count: u64,
    /// Of latencies only: half of the values are at most this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p50: Option<f64>,
    /// Of latencies only: 95 of 100 values are at most this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p95: Option<f64>,
    /// Of latencies only: 99 of 100 values are at most this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99: Option<f64>,
}

impl SeriesPoint {
    /// The mean value.
    pub fn mean(&self) -> f64 {
        self.sum / self.count.max(1) as f64
    }
}

/// How history on disk fares.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StoreStatus {
    /// `sqlite` or `postgresql`; empty when nothing is kept.
    pub kind: String,
    /// Whether it is written.
    pub working: bool,
    /// Why not.
    pub reason: Option<String>,
    /// Series kept.
    pub series: u64,
    /// Series that are not kept, as there are too many.
    pub series_left_out: u64,
    /// Bytes of the database.
    pub size_bytes: u64,
    /// The most it may have.
    pub size_limit_bytes: u64,
    /// Batches written.
    pub batches_total: u64,
    /// Batches that were not written: the disk was too slow, or refused.
    pub batches_lost_total: u64,
    /// Batches that wait in memory because the database is away.
    pub batches_spooled: u64,
    /// Bytes of those, of `history.store.postgres.spool` at most.
    pub spooled_bytes: u64,
    /// Whether this manager was the last to make and drop partitions for everybody.
    pub maintains: bool,
    /// Parts found damaged, which queries leave out.
    pub damaged_parts_total: u64,
    /// Where damaged databases were set aside, newest last.
    pub set_aside: Vec<String>,
}
