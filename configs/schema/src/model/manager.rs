//! `manager.toml`: what `bs9 manager` runs on.

use std::{path::PathBuf, time::Duration};

use super::Admin;

/// Everything `bs9 manager` runs on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManagerConfig {
    /// Files this was read from, in merge order; what a watcher watches. Empty
    /// for a configuration built in memory.
    pub sources: Vec<PathBuf>,
    /// Where the manager answers its admin API. `socket: None` is the default
    /// place, [`crate::default_socket`].
    pub admin: Admin,
    /// How the data plane is reached and watched.
    pub dataplane: DataPlaneLink,
    /// What is remembered of it.
    pub history: History,
}

/// `[dataplane]` of the manager.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataPlaneLink {
    /// The data plane's admin socket. `None`: its default place,
    /// [`crate::default_socket`].
    pub socket: Option<PathBuf>,
    /// Between the starts of two polls. Default 1 s.
    pub poll_interval: Duration,
    /// Limit of one call to the data plane's admin API. Default 2 s.
    pub timeout: Duration,
}

/// `[history]` of the manager: statistics kept in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// How far back. Default 15 min.
    pub keep: Duration,
    /// Between two kept samples. Default 1 s; `keep` is at most 100,000 of them.
    pub resolution: Duration,
}
