//! What the manager knows of the data plane, and what changes about it.
//!
//! Pure: polls and their times go in, changes come out.

use std::collections::HashMap;

use bs9_api::types::{
    DataPlaneState, DataPlaneStatus, DataPlaneView, EndpointHealth, EndpointStatus, Happening,
    ReloadFailure,
};
use jiff::Timestamp;

use crate::rates::{is_same_process, rates_between};

/// The data plane as last seen.
#[derive(Debug)]
pub(crate) struct View {
    shown: DataPlaneView,
    polled: bool,
}

/// Something an operator wants to read about once.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Change {
    /// It answers, and did not before.
    Found {
        pid: u32,
        version: String,
    },
    /// It does not answer, and did before (or never did).
    Lost {
        reason: String,
    },
    /// What answers is another process than before.
    Restarted {
        pid: u32,
        previous_pid: u32,
    },
    State {
        from: DataPlaneState,
        to: DataPlaneState,
    },
    Generation {
        from: u64,
        to: u64,
    },
    ReloadRefused {
        errors: usize,
    },
    EndpointHealth {
        cluster: String,
        endpoint: String,
        from: EndpointHealth,
        to: EndpointHealth,
        reason: Option<String>,
    },
    EndpointDraining {
        cluster: String,
        endpoint: String,
        draining: bool,
    },
}

impl From<Change> for Happening {
    fn from(change: Change) -> Self {
        match change {
            Change::Found { pid, version } => Self::DataPlaneFound { pid, version },
            Change::Lost { reason } => Self::DataPlaneLost { reason },
            Change::Restarted { pid, previous_pid } => {
                Self::DataPlaneRestarted { pid, previous_pid }
            }
            Change::State { from, to } => Self::DataPlaneState { from, to },
            Change::Generation { from, to } => Self::Generation { from, to },
            Change::ReloadRefused { errors } => Self::ReloadRefused { errors: errors as u64 },
            Change::EndpointHealth { cluster, endpoint, from, to, reason } => {
                Self::EndpointHealth { cluster, endpoint, from, to, reason }
            }
            Change::EndpointDraining { cluster, endpoint, draining } => {
                Self::EndpointDraining { cluster, endpoint, draining }
            }
        }
    }
}

impl View {
    /// Nothing is known yet.
    pub(crate) fn new(now: Timestamp) -> Self {
        Self {
            shown: DataPlaneView {
                reachable: false,
                since: now,
                reason: Some("it has not been asked yet".to_owned()),
                seen_at: None,
                status: None,
                rates: None,
            },
            polled: false,
        }
    }

    pub(crate) fn shown(&self) -> &DataPlaneView {
        &self.shown
    }

    /// Whether a poll has ended, however.
    pub(crate) fn polled(&self) -> bool {
        self.polled
    }

    /// Takes in the outcome of a poll; a failed one comes as its reason.
    pub(crate) fn note(
        &mut self,
        now: Timestamp,
        poll: Result<DataPlaneStatus, String>,
    ) -> Vec<Change> {
        let changes = match poll {
            Ok(status) => self.note_answer(now, status),
            Err(reason) => self.note_silence(now, reason),
        };
        self.polled = true;
        changes
    }

    fn note_answer(&mut self, now: Timestamp, status: DataPlaneStatus) -> Vec<Change> {
        let shown = &mut self.shown;
        let mut changes = Vec::new();
        if !shown.reachable {
            changes.push(Change::Found { pid: status.pid, version: status.version.clone() });
            shown.since = now;
        }
        let before = shown.status.as_ref();
        if let Some(before) = before {
            changes.extend(differences(before, &status));
        }
        shown.rates = before.and_then(|before| rates_between(before, &status));
        shown.reachable = true;
        shown.reason = None;
        shown.seen_at = Some(now);
        shown.status = Some(status);
        changes
    }

    fn note_silence(&mut self, now: Timestamp, reason: String) -> Vec<Change> {
        let shown = &mut self.shown;
        let lost = shown.reachable || !self.polled;
        if shown.reachable {
            shown.since = now;
        }
        shown.reachable = false;
        shown.rates = None;
        let changes = lost.then(|| Change::Lost { reason: reason.clone() });
        shown.reason = Some(reason);
        changes.into_iter().collect()
    }
}

/// What is worth a line between two answers.
fn differences(before: &DataPlaneStatus, after: &DataPlaneStatus) -> Vec<Change> {
    if !is_same_process(before, after) {
        return vec![Change::Restarted { pid: after.pid, previous_pid: before.pid }];
    }
    let mut changes = Vec::new();
    if before.state != after.state {
        changes.push(Change::State { from: before.state, to: after.state });
    }
    let (from, to) = (before.generation.generation, after.generation.generation);
    if from != to {
        changes.push(Change::Generation { from, to });
    }
    let refused_at = |failure: &ReloadFailure| failure.at;
    if let Some(failure) = &after.generation.last_failure
        && before.generation.last_failure.as_ref().map(refused_at) != Some(failure.at)
    {
        changes.push(Change::ReloadRefused { errors: failure.errors.len() });
    }
    changes.extend(endpoint_changes(before, after));
    changes
}

/// Endpoints of one poll of which changes are told.
const MAX_ENDPOINT_CHANGES: usize = 256;

/// What changed about endpoints that were there before.
fn endpoint_changes(before: &DataPlaneStatus, after: &DataPlaneStatus) -> Vec<Change> {
    let endpoints = |status| -> Vec<(&str, &EndpointStatus)> {
        let status: &DataPlaneStatus = status;
        let clusters = status.clusters.iter();
        clusters
            .flat_map(|cluster| cluster.endpoints.iter().map(|one| (cluster.name.as_str(), one)))
            .collect()
    };
    let known: HashMap<(&str, &str), &EndpointStatus> = endpoints(before)
        .into_iter()
        .map(|(cluster, one)| ((cluster, one.address.as_str()), one))
        .collect();
    let mut changes = Vec::new();
    for (cluster, now) in endpoints(after) {
        let Some(then) = known.get(&(cluster, now.address.as_str())) else { continue };
        let (cluster, endpoint) = (cluster.to_owned(), now.address.clone());
        if then.health != now.health {
            changes.push(Change::EndpointHealth {
                cluster: cluster.clone(),
                endpoint: endpoint.clone(),
                from: then.health,
                to: now.health,
                reason: now.health_reason.clone(),
            });
        }
        if then.draining != now.draining {
            changes.push(Change::EndpointDraining { cluster, endpoint, draining: now.draining });
        }
    }
    changes.truncate(MAX_ENDPOINT_CHANGES);
    changes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rates::tests::{at, status};

    fn silence() -> Result<DataPlaneStatus, String> {
        Err("nothing is running".to_owned())
    }

    #[test]
    fn a_data_plane_that_never_answers_is_reported_once() {
        let mut view = View::new(at(0));
        assert!(!view.polled());
        let changes = view.note(at(1), silence());
        assert_eq!(changes, [Change::Lost { reason: "nothing is running".to_owned() }]);
        assert_eq!(view.note(at(2), silence()), []);
        assert!(view.polled());
        let shown = view.shown();
        assert_eq!((shown.reachable, shown.since), (false, at(0)));
        assert_eq!(shown.reason.as_deref(), Some("nothing is running"));
    }

    #[test]
    fn it_comes_goes_and_returns() {
        let mut view = View::new(at(0));
        let found = Change::Found { pid: 1, version: "0".to_owned() };
        assert_eq!(view.note(at(1), Ok(status(1, 1.0))), std::slice::from_ref(&found));
        assert_eq!(view.note(at(2), Ok(status(1, 2.0))), []);
        assert_eq!((view.shown().reachable, view.shown().since), (true, at(1)));
        assert!(view.shown().rates.is_some());

        assert!(matches!(view.note(at(3), silence())[..], [Change::Lost { .. }]));
        assert_eq!(view.note(at(4), silence()), []);
        let shown = view.shown();
        assert_eq!((shown.reachable, shown.since), (false, at(3)));
        assert_eq!(shown.seen_at, Some(at(2)));
        assert!(shown.status.is_some(), "the last answer is kept");
        assert!(shown.rates.is_none());

        assert_eq!(view.note(at(5), Ok(status(1, 5.0))), [found]);
        assert_eq!(view.shown().since, at(5));
        assert_eq!(view.shown().reason, None);
    }

    #[test]
    fn a_restart_is_noticed_between_two_polls() {
        let mut view = View::new(at(0));
        view.note(at(1), Ok(status(1, 100.0)));
        let restarted = Change::Restarted { pid: 2, previous_pid: 1 };
        assert_eq!(view.note(at(2), Ok(status(2, 0.5))), [restarted]);
        assert!(view.shown().rates.is_none());
        assert_eq!(view.shown().since, at(1), "it never stopped answering");
    }

    #[test]
    fn the_same_pid_with_another_start_is_a_restart_too() {
        let mut view = View::new(at(0));
        view.note(at(1), Ok(status(1, 100.0)));
        let mut next = status(1, 0.5);
        next.started_at = at(1);
        assert!(matches!(view.note(at(2), Ok(next))[..], [Change::Restarted { .. }]));
    }

    #[test]
    fn state_generation_and_refused_reloads_are_reported_once() {
        let mut view = View::new(at(0));
        view.note(at(1), Ok(status(1, 1.0)));
        let mut next = status(1, 2.0);
        next.state = DataPlaneState::Draining;
        next.generation.generation += 1;
        next.generation.last_failure = Some(ReloadFailure { at: at(2), errors: Vec::new() });
        let expected = [
            Change::State { from: DataPlaneState::Serving, to: DataPlaneState::Draining },
            Change::Generation { from: 1, to: 2 },
            Change::ReloadRefused { errors: 0 },
        ];
        assert_eq!(view.note(at(2), Ok(next.clone())), expected);
        next.uptime_seconds = 3.0;
        assert_eq!(view.note(at(3), Ok(next)), []);
    }
}
