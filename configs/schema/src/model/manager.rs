//! `manager.toml`: what `bs9 manager` runs on.

use std::{path::PathBuf, sync::Arc, time::Duration};

use super::{Admin, History};

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
    /// What of the machine and its units is measured.
    pub collect: Collect,
    /// What is remembered.
    pub history: History,
    /// What has happened.
    pub events: Events,
    /// The log of changes.
    pub audit: Audit,
    /// Where the services it keeps running are described.
    pub services: ServicesPlace,
    /// Where history, events, the audit log and tokens are kept. `None`: the
    /// default place, [`crate::default_state_folder`].
    pub state_folder: Option<PathBuf>,
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

/// `[collect]`: what is measured, and how often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collect {
    /// Between the starts of two samples. Default 1 s.
    pub interval: Duration,
    /// Which units, by name; `*` stands for any characters, `?` for one.
    /// Default `["*.service"]`; empty: none.
    pub units: Vec<Arc<str>>,
    /// Units measured at most. Default 500.
    pub max_units: usize,
    /// Where the control groups are mounted. Default `/sys/fs/cgroup`.
    pub cgroups: PathBuf,
    /// Where the kernel tells about processes. Default `/proc`.
    pub proc: PathBuf,
}

/// `[events]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Events {
    /// Events kept on disk; the newest 1,024 are in memory as well. Default 10,000.
    pub keep: usize,
}

/// `[audit]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Audit {
    /// Bytes of the log at most; its oldest file is given up first. Default 1 GiB.
    pub size_limit_bytes: u64,
}

/// `[services]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServicesPlace {
    /// The folder of `NAME.toml`. `None`: `services` beside `manager.toml`, else in
    /// the first folder a configuration is looked for in.
    pub folder: Option<PathBuf>,
}
