//! Where the instances of a service are measured.

use std::path::PathBuf;

use super::{ServiceError, Services};
use crate::collect::Place;

impl Services {
    /// The instances of a service that run, and their control groups.
    pub(crate) async fn places(&self, service: &str) -> Result<Vec<Place>, ServiceError> {
        let units = self.deployed(service)?;
        if units.is_empty() && self.book.text(service)?.is_none() {
            return Err(self.book.unknown(service));
        }
        let mut places = Vec::with_capacity(units.len());
        for unit in units {
            let state = self.systemd(unit.scope).state(&unit.unit).await?;
            let group = state.word("ControlGroup").trim_start_matches('/');
            if !state.is_active() || group.is_empty() {
                continue;
            }
            places.push(Place {
                instance: unit.marker.instance,
                group: PathBuf::from(group),
                endpoint: unit.marker.endpoint,
                restarts: state.restarts(),
                unit: unit.unit,
            });
        }
        Ok(places)
    }
}
