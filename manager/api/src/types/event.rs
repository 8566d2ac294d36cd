//! What has happened.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{DataPlaneState, EndpointHealth};

/// Something that has happened, once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// Grows with every event, over restarts of the manager too; not without gaps.
    pub id: u64,
    /// When it was noticed.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// What, with its `kind`.
    #[serde(flatten)]
    pub what: Happening,
}

/// What can happen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Happening {
    /// The manager started.
    ManagerStarted {
        /// Its version.
        version: String,
        /// Its process.
        pid: u32,
    },
    /// The data plane answers, and did not before.
    DataPlaneFound {
        /// Its process.
        pid: u32,
        /// Its version.
        version: String,
    },
    /// The data plane does not answer any more.
    DataPlaneLost {
        /// Why.
        reason: String,
    },
    /// What answers is another process than before.
    DataPlaneRestarted {
        /// The process.
        pid: u32,
        /// The one before.
        previous_pid: u32,
    },
    /// The data plane does something else than before.
    DataPlaneState {
        /// Before.
        from: DataPlaneState,
        /// Now.
        to: DataPlaneState,
    },
    /// The data plane has a new configuration in force.
    Generation {
        /// Before.
        from: u64,
        /// Now.
        to: u64,
    },
    /// The data plane refused a reload.
    ReloadRefused {
        /// How many errors the configuration has.
        errors: u64,
    },
    /// An endpoint became healthy or unhealthy.
    EndpointHealth {
        /// Its cluster.
        cluster: String,
        /// Its address.
        endpoint: String,
        /// Before.
        from: EndpointHealth,
        /// Now.
        to: EndpointHealth,
        /// Why, when it is unhealthy.
        reason: Option<String>,
    },
    /// An endpoint drains, or does not any more.
    EndpointDraining {
        /// Its cluster.
        cluster: String,
        /// Its address.
        endpoint: String,
        /// Whether it drains now.
        draining: bool,
    },
    /// A unit runs that did not before.
    UnitAppeared {
        /// Its name.
        unit: String,
    },
    /// A unit does not run any more.
    UnitGone {
        /// Its name.
        unit: String,
    },
    /// A unit has a control group made anew: it was restarted.
    UnitRestarted {
        /// Its name.
        unit: String,
        /// How often this was seen since the manager started.
        restarts: u64,
    },
    /// The kernel killed processes of a unit for want of memory.
    UnitOutOfMemory {
        /// Its name.
        unit: String,
        /// How many, since the event before.
        kills: u64,
    },
    /// A service changed its state.
    ServiceState {
        /// Its name.
        service: String,
        /// Before.
        from: String,
        /// Now.
        to: String,
        /// Why, when it is known.
        reason: Option<String>,
    },
    /// A service was given a description to run by, or one that failed.
    ServiceDeploy {
        /// Its name.
        service: String,
        /// Whether it runs as described.
        ok: bool,
        /// What was done, or why it was not, for a person.
        message: String,
    },
    /// An instance of a service was restarted, by systemd or because somebody asked.
    ServiceRestart {
        /// Its name.
        service: String,
        /// The instance's unit.
        unit: String,
        /// Restarts by systemd since it was last started by hand.
        restarts: u32,
        /// Why, when it is known.
        reason: Option<String>,
    },
    /// A service was reloaded, or a reload was undone.
    ServiceReload {
        /// Its name.
        service: String,
        /// Whether the new instances serve.
        ok: bool,
        /// What happened, for a person.
        message: String,
    },
    /// Somebody changed something through the manager's admin API.
    Change {
        /// What was called.
        operation: String,
        /// Who called.
        who: String,
        /// Whether it was done.
        ok: bool,
        /// The record in the audit log.
        audit_sequence: u64,
    },
    /// A file of the manager's was damaged and set aside.
    SetAside {
        /// Where it is now.
        path: String,
        /// What was wrong.
        reason: String,
    },
}

impl Happening {
    /// The word in `kind`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::ManagerStarted { .. } => "manager_started",
            Self::DataPlaneFound { .. } => "data_plane_found",
            Self::DataPlaneLost { .. } => "data_plane_lost",
            Self::DataPlaneRestarted { .. } => "data_plane_restarted",
            Self::DataPlaneState { .. } => "data_plane_state",
            Self::Generation { .. } => "generation",
            Self::ReloadRefused { .. } => "reload_refused",
            Self::EndpointHealth { .. } => "endpoint_health",
            Self::EndpointDraining { .. } => "endpoint_draining",
            Self::UnitAppeared { .. } => "unit_appeared",
            Self::UnitGone { .. } => "unit_gone",
            Self::UnitRestarted { .. } => "unit_restarted",
            Self::UnitOutOfMemory { .. } => "unit_out_of_memory",
            Self::ServiceState { .. } => "service_state",
            Self::ServiceDeploy { .. } => "service_deploy",
            Self::ServiceRestart { .. } => "service_restart",
            Self::ServiceReload { .. } => "service_reload",
            Self::Change { .. } => "change",
            Self::SetAside { .. } => "set_aside",
        }
    }
}

/// `GET /v1/events`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Events {
    /// Version of this shape.
    pub schema: u32,
    /// Oldest first.
    pub events: Vec<Event>,
}

/// What to ask of `GET /v1/events/stream`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EventStreamQuery {
    /// Begin after the event with this id; absent: with what happens from now on.
    /// A `Last-Event-ID` header, which browsers send when they reconnect, comes first.
    #[serde(default)]
    pub after: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_in_the_answer_is_the_kind() {
        let happenings = [
            Happening::DataPlaneLost { reason: "gone".to_owned() },
            Happening::UnitOutOfMemory { unit: "web.service".to_owned(), kills: 1 },
            Happening::ServiceDeploy { service: "x".into(), ok: true, message: "y".into() },
            Happening::ServiceRestart {
                service: "x".into(),
                unit: "x@1.service".into(),
                restarts: 1,
                reason: None,
            },
            Happening::SetAside { path: "x".to_owned(), reason: "y".to_owned() },
        ];
        for what in happenings {
            let kind = what.kind();
            let event = Event { id: 1, at: Timestamp::UNIX_EPOCH, what };
            let value = serde_json::to_value(&event).unwrap();
            assert_eq!(value["kind"], kind);
            assert_eq!(serde_json::from_value::<Event>(value).unwrap(), event);
        }
    }
}
