//! What the owner of the host is asked to do.

use bs9_api::{
    ApiError,
    types::{ChangeOutcome, DrainOutcome},
};
use tokio::sync::oneshot;

use super::change::Change;

/// Where an answer goes; nobody may be waiting for it any more.
pub(super) type Reply<T> = oneshot::Sender<Result<T, ApiError>>;

/// An order to the owner, with the way back.
pub(super) enum Command {
    /// Read the files again and put them in force.
    Reload(Reply<ChangeOutcome>),
    /// Change the clusters, or their endpoints.
    Change { change: Change, durability: Durability, reply: Reply<ChangeOutcome> },
    /// Finish what is open, then end.
    Drain(Reply<DrainOutcome>),
}

/// How long a change lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Durability {
    /// Until the files are read again.
    InMemory,
    /// It is written to the files too.
    Persisted,
}

impl From<bool> for Durability {
    fn from(persist: bool) -> Self {
        if persist { Self::Persisted } else { Self::InMemory }
    }
}

impl Command {
    /// Answers that it is too late.
    pub(super) fn refuse(self) {
        let refusal = || ApiError::unavailable("the data plane is draining and takes no changes");
        match self {
            Self::Reload(reply) | Self::Change { reply, .. } => {
                let _nobody_waits = reply.send(Err(refusal()));
            }
            Self::Drain(reply) => {
                let _nobody_waits = reply.send(Err(refusal()));
            }
        }
    }
}
