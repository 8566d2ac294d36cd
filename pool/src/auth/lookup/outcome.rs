//! What became of questions to servers about users.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bs9_api::types::CountByReason;

use super::LookupError;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Found,
    Unknown,
    Failed,
}

/// Since the process was started.
#[derive(Debug, Default)]
pub(super) struct Outcomes([AtomicU64; Outcome::ALL.len()]);

impl Outcome {
    const ALL: [Self; 3] = [Self::Found, Self::Unknown, Self::Failed];

    fn name(self) -> &'static str {
        match self {
            Self::Found => "found",
            Self::Unknown => "unknown",
            Self::Failed => "failed",
        }
    }
}

impl Outcomes {
    pub(super) fn count<T>(
        &self,
        answer: &Result<T, LookupError>,
        is_found: impl FnOnce(&T) -> bool,
    ) {
        let outcome = match answer {
            Ok(answer) if is_found(answer) => Outcome::Found,
            Ok(_) => Outcome::Unknown,
            Err(_) => Outcome::Failed,
        };
        self.0[outcome as usize].fetch_add(1, Relaxed);
    }

    pub(super) fn told(&self) -> Vec<CountByReason> {
        let told = |outcome: Outcome| CountByReason {
            reason: outcome.name().to_owned(),
            count: self.0[outcome as usize].load(Relaxed),
        };
        Outcome::ALL.map(told).to_vec()
    }
}
