//! SIGUSR1: whoever rotates the files of access logs has moved them.

use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};

use super::engines::Engines;
use crate::exit::Failure;

/// Opens the files anew with every SIGUSR1, beside what the control thread does else.
///
/// # Errors
/// When the signal cannot be taken over: it would end the process then.
pub(super) fn on_signal(engines: &Arc<Engines>) -> Result<(), Failure> {
    let mut signals = signal(SignalKind::user_defined1())
        .map_err(|error| Failure::io("cannot take over SIGUSR1", error))?;
    let engines = Arc::downgrade(engines);
    tokio::task::spawn_local(async move {
        while signals.recv().await.is_some() {
            let Some(engines) = engines.upgrade() else { return };
            tracing::info!("opening the files of access logs anew, as SIGUSR1 asks for");
            engines.reopen_logs();
        }
    });
    Ok(())
}
