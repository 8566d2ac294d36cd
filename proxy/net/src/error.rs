//! What can go wrong when starting and reloading.

use std::io;

use bs9_config::BindAddress;
use thiserror::Error;

use crate::CompileError;

/// A listener's address could not be had.
#[derive(Debug, Error)]
#[error("listener {listener} cannot listen on {address}: {reason}")]
pub struct BindError {
    /// The listener's name.
    pub listener: String,
    /// The address it asked for.
    pub address: BindAddress,
    /// What stood in the way, and what to do.
    pub reason: String,
    /// The system's error.
    #[source]
    pub source: io::Error,
}

/// Why a configuration cannot be put in force.
#[derive(Debug, Error)]
pub enum PrepareError {
    /// An address is taken or not ours to take.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// An engine cannot carry the configuration out.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// A listener's protocol has no engine in this program.
    #[error("listener {listener}: no engine speaks {protocol}")]
    NoEngine {
        /// The listener's name.
        listener: String,
        /// The protocol it asks for.
        protocol: &'static str,
    },
}

/// Why the data plane did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// Its configuration cannot be put in force.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// A thread could not be started.
    #[error("a shard could not be started")]
    Shard(#[source] io::Error),
}

/// Why a reload was refused; nothing has changed.
#[derive(Debug, Error)]
pub enum ReloadError {
    /// The new configuration cannot be put in force.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// The data plane is about to end.
    #[error("the data plane is draining")]
    Draining,
}
