//! Runtimes and signals, for verbs that ask somebody or stay running.

use tokio::{
    runtime::{Builder, LocalOptions},
    signal::unix::{self, SignalKind},
};

use crate::exit::Failure;

/// Drives `future` on a runtime of this thread. Its tasks may stay on the thread
/// (`spawn_local`).
///
/// # Errors
/// The future's own, or the runtime could not be made.
pub(crate) fn block_on<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())
        .map_err(|error| Failure::io("cannot start a runtime", error))?
        .block_on(future)
}

/// SIGTERM and SIGINT.
pub(crate) struct Stop {
    terminate: unix::Signal,
    interrupt: unix::Signal,
}

impl Stop {
    /// Takes the two signals over from here on.
    ///
    /// # Errors
    /// When the system does not allow it.
    pub(crate) fn new() -> Result<Self, Failure> {
        let take = |kind| {
            unix::signal(kind).map_err(|error| Failure::io("cannot take over a signal", error))
        };
        Ok(Self {
            terminate: take(SignalKind::terminate())?,
            interrupt: take(SignalKind::interrupt())?,
        })
    }

    /// The next one.
    pub(crate) async fn wait(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
