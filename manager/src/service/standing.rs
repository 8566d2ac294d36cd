//! How a service stands, for the record of a change: what describes it and what
//! systemd makes of it, without figures that change by themselves.

use std::collections::BTreeMap;

use bs9_api::types::ServiceState;
use serde::Serialize;

use super::{Services, status};

/// See the module.
#[derive(Debug, Serialize)]
pub(crate) struct Standing {
    /// Text of its file; absent when there is none. Secrets in it are the audit log's
    /// to take out.
    definition: Option<String>,
    state: ServiceState,
    enabled: bool,
    instances: Vec<InstanceStanding>,
}

#[derive(Debug, Serialize)]
struct InstanceStanding {
    unit: String,
    /// systemd's word; absent when it could not be asked.
    active_state: Option<String>,
    pid: Option<u32>,
}

impl Services {
    /// How these services stand, or all of them when none is named; `None` is one that
    /// is not there.
    pub(crate) async fn standings(&self, names: &[String]) -> BTreeMap<String, Option<Standing>> {
        let names = match names.is_empty() {
            true => self.names().unwrap_or_default(),
            false => names.iter().cloned().collect(),
        };
        let mut standings = BTreeMap::new();
        for name in names {
            let standing = self.standing(&name).await;
            standings.insert(name, standing);
        }
        standings
    }

    async fn standing(&self, name: &str) -> Option<Standing> {
        let definition = self.book.text(name).ok().flatten();
        let glance = self.glance(name).await.ok().flatten();
        if definition.is_none() && glance.is_none() {
            return None;
        }
        let Some(status::Glance { state, enabled, units, .. }) = glance else {
            let (state, instances) = (ServiceState::Unknown, Vec::new());
            return Some(Standing { definition, state, enabled: false, instances });
        };
        let instances = units.into_iter().map(|(unit, state)| InstanceStanding {
            unit,
            active_state: state.as_ref().map(|state| state.active().to_owned()),
            pid: state.as_ref().and_then(|state| state.main_pid()),
        });
        Some(Standing { definition, state, enabled, instances: instances.collect() })
    }
}
