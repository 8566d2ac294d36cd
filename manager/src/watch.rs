//! Asking the data plane again and again.

use std::{
    convert::Infallible,
    error::Error,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bs9_api::DataPlaneClient;
use jiff::Timestamp;
use tokio::time::{self, MissedTickBehavior};

use crate::{event::Events, memory::Memory, view::Change};

/// The poll loop.
#[derive(Debug)]
pub(crate) struct Watch {
    client: DataPlaneClient,
    interval: Duration,
    memory: Arc<Mutex<Memory>>,
    events: Events,
}

impl Watch {
    pub(crate) fn new(
        client: DataPlaneClient,
        interval: Duration,
        memory: Arc<Mutex<Memory>>,
        events: Events,
    ) -> Self {
        Self { client, interval, memory, events }
    }

    /// Polls for as long as it is let.
    pub(crate) async fn run(self) -> Infallible {
        let mut ticks = time::interval(self.interval);
        // After a slow answer the next poll comes an interval later, not at once.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let poll = self.client.status().await.map_err(|error| chain(&error));
            let changes = self
                .memory
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .note(Timestamp::now(), poll);
            for change in changes {
                log(&change);
                self.events.publish(change.into());
            }
        }
    }
}

/// An error with its causes, on one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

fn log(change: &Change) {
    match change {
        Change::Found { pid, version } => {
            tracing::info!(pid, version, "the data plane answers");
        }
        Change::Lost { reason } => tracing::warn!(reason, "the data plane does not answer"),
        Change::Restarted { pid, previous_pid } => {
            tracing::warn!(pid, previous_pid, "the data plane is a new process");
        }
        Change::State { from, to } => {
            tracing::info!(?from, ?to, "the data plane changed its state");
        }
        Change::Generation { from, to } => {
            tracing::info!(from, to, "the data plane has a new configuration in force");
        }
        Change::ReloadRefused { errors } => {
            tracing::warn!(
                errors,
                "the data plane refused a reload; see bs9 status for the reasons"
            );
        }
        Change::EndpointHealth { cluster, endpoint, from, to, reason } => {
            tracing::info!(cluster, endpoint, ?from, ?to, reason, "an endpoint changed its health");
        }
        Change::EndpointDraining { cluster, endpoint, draining } => {
            tracing::info!(cluster, endpoint, draining, "an endpoint drains, or does not any more");
        }
    }
}
