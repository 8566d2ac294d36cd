//! A profile as a whole: what `--json` writes.

use jiff::Timestamp;
use serde::Serialize;

use super::{
    advice::Advice,
    figure::Figure,
    perf::Missing,
    stacks::Hot,
    traffic::Traffic,
    window::{InstanceFigures, Limits},
};

/// What was seen of a service, and what follows from it.
#[derive(Debug, Serialize)]
pub(super) struct Profile {
    /// Version of this shape.
    pub(super) schema: u32,
    pub(super) service: String,
    /// In one word, as it was at the beginning.
    pub(super) state: String,
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
    pub(super) interval_seconds: f64,
    /// How often it was looked at.
    pub(super) looks: usize,
    pub(super) figures: Vec<Figure>,
    pub(super) limits: Limits,
    pub(super) oom_kills: f64,
    pub(super) instances: Vec<InstanceFigures>,
    /// What its cluster did.
    pub(super) traffic: Told<Traffic>,
    pub(super) flame: Flame,
    /// The most urgent first; empty: nothing.
    pub(super) recommendations: Vec<Advice>,
    /// What went wrong while it was looked at.
    pub(super) remarks: Vec<String>,
}

/// Something, or why it is not there.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Told<T> {
    There(T),
    Not { reason: String },
}

impl<T> Told<T> {
    pub(super) fn there(&self) -> Option<&T> {
        match self {
            Self::There(it) => Some(it),
            Self::Not { .. } => None,
        }
    }
}

/// Where its time went.
#[derive(Debug, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub(super) enum Flame {
    /// It was drawn.
    Drawn {
        file: String,
        samples: u64,
        /// Samples in functions that have no name.
        nameless_ratio: f64,
        hottest: Vec<Hot>,
    },
    /// Nobody asked for it.
    NotAsked,
    /// Nobody asked for it, and it could not be drawn.
    NotPossible { reason: String, remedy: String },
}

impl From<Missing> for Flame {
    fn from(missing: Missing) -> Self {
        Self::NotPossible { reason: missing.reason, remedy: missing.remedy }
    }
}
