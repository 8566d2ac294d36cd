//! `services/NAME.toml`: one service that bs9 keeps running.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    num::NonZeroU32,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use super::Secret;

/// Everything a person asks of one service.
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    /// The file's name without `.toml`.
    pub name: Arc<str>,
    /// For people; `None`: the name stands for itself.
    pub description: Option<String>,
    /// What is run.
    pub run: Run,
    /// Where it is run. Default: the script's folder, else the file's.
    pub working_folder: PathBuf,
    /// Variables of its environment, by name.
    pub environment: BTreeMap<Arc<str>, Secret>,
    /// Files of `NAME=value` lines, read by systemd at each start.
    pub environment_files: Vec<PathBuf>,
    /// The first instance's port; each further one has the next.
    pub port: Option<u16>,
    /// Told to it as `HOST`, and where its endpoints are. Default 127.0.0.1.
    pub host: IpAddr,
    /// How many run. Default 1.
    pub instances: Instances,
    /// Whose systemd runs it. Default: the user's own.
    pub scope: ServiceScope,
    /// The user a system service runs as. `None`: root.
    pub user: Option<String>,
    /// What happens when it ends by itself.
    pub restart: RestartPolicy,
    /// What it may use.
    pub limits: ServiceLimits,
    /// When it counts as ready.
    pub ready: Readiness,
    /// How it is stopped.
    pub stop: Stop,
    /// How it is fronted by the data plane. `None`: a service with a port has a
    /// cluster, and no route.
    pub proxy: ProxyWiring,
    /// What it is kept from.
    pub hardening: Hardening,
    /// Where traces go (OTLP over HTTP), told to it in the environment.
    pub otel_endpoint: Option<String>,
    /// What compiles its script first. `None`: it is run as it is.
    pub build: Option<Compiler>,
    /// What is watched, for changes to be brought in. `None`: nothing.
    pub watch: Option<SourceWatch>,
}

impl Service {
    /// How many instances run on a machine with so many `cores`.
    pub fn instance_count(&self, cores: NonZeroU32) -> u32 {
        match self.instances {
            Instances::Count(count) => count.get(),
            Instances::Max => cores.get(),
        }
    }

    /// The port of an instance, counted from 1. `None` without a port, or past 65,535.
    pub fn port_of(&self, instance: u32) -> Option<u16> {
        let offset = u16::try_from(instance.checked_sub(1)?).ok()?;
        self.port?.checked_add(offset)
    }
}

/// What is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Run {
    /// This program with these arguments; the first is looked for on the path.
    Command(Vec<String>),
    /// A script.
    Script {
        /// The file.
        script: PathBuf,
        /// The program that runs it; `None`: found by the file's ending.
        interpreter: Option<String>,
        /// What follows the script.
        arguments: Vec<String>,
    },
}

impl Run {
    /// The script, when there is one.
    pub fn script(&self) -> Option<&Path> {
        match self {
            Self::Script { script, .. } => Some(script),
            Self::Command(_) => None,
        }
    }
}

/// `instances`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instances {
    /// One for each core.
    Max,
    /// Exactly so many.
    Count(NonZeroU32),
}

/// `scope`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServiceScope {
    /// The user's systemd.
    User,
    /// The machine's.
    System,
}

/// `build`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compiler {
    /// The first that is there.
    Auto,
    /// esbuild.
    Esbuild,
    /// bun.
    Bun,
    /// TypeScript's own.
    Tsc,
    /// deno.
    Deno,
}

/// `watch`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceWatch {
    /// Files and folders, with all in them; empty: the working folder.
    pub paths: Vec<PathBuf>,
    /// Patterns of what is not looked at.
    pub ignore: Vec<String>,
    /// How long nothing may change. Default 500 ms.
    pub debounce: Duration,
}

/// `restart`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestartPolicy {
    /// When it is started again. Default: on failure.
    pub policy: RestartWhen,
    /// Before the first restart. Default 1 s.
    pub delay: Duration,
    /// Each failure in a row doubles the delay, up to this. Default 1 min.
    pub max_delay: Duration,
    /// Running this long forgets the failures before. Default 1 min.
    pub reset_after: Duration,
    /// Restarts in a row before it is given up. `None`: never.
    pub attempts: Option<NonZeroU32>,
}

/// `restart.policy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestartWhen {
    /// Never.
    No,
    /// After a crash, a signal, a timeout or an exit code other than 0.
    OnFailure,
    /// Whenever it ends.
    Always,
}

/// `limits`; what is absent is not limited beyond systemd's own defaults.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ServiceLimits {
    /// Bytes from which on the kernel reclaims and slows it down.
    pub memory_high: Option<u64>,
    /// Bytes at which it is killed.
    pub memory_max: Option<u64>,
    /// Cores it may use: 1.5 is one and a half.
    pub cpu: Option<f64>,
    /// Threads and processes.
    pub tasks: Option<u32>,
    /// Open files. Default 65,536.
    pub open_files: u32,
}

/// `ready`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readiness {
    /// How it shows. Default: its port accepts; without a port, it stays up.
    pub sign: ReadySign,
    /// How long it may take. Default 15 s.
    pub timeout: Duration,
}

/// How a service shows that it is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadySign {
    /// It tells systemd (sd_notify).
    Notify,
    /// `GET` of this path on its port is answered 2xx or 3xx.
    Http(String),
    /// Its port accepts connections.
    Port,
    /// It is still up after this long.
    Up(Duration),
}

/// `stop`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// Sent first, such as `SIGTERM`.
    pub signal: String,
    /// Then it is killed. Default 30 s.
    pub timeout: Duration,
}

/// `proxy`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyWiring {
    /// Whether its instances are endpoints of a cluster at all. Default true.
    pub enabled: bool,
    /// The cluster. `None`: named as the service.
    pub cluster: Option<Arc<str>>,
    /// The listener that gets its route. `None`: the only HTTP listener.
    pub listener: Option<Arc<str>>,
    /// Requests for this host; `*.example.com` too.
    pub host: Option<String>,
    /// Requests with this path.
    pub path: Option<String>,
    /// Active probing by the data plane.
    pub health_check: Option<ServiceHealthCheck>,
    /// How long a drained instance may finish what it has. Default 30 s.
    pub drain_timeout: Duration,
}

impl ProxyWiring {
    /// Whether requests are routed to it.
    pub fn is_routed(&self) -> bool {
        self.listener.is_some() || self.host.is_some() || self.path.is_some()
    }
}

/// `proxy.health_check`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceHealthCheck {
    /// `GET` of this path; `None`: a connection has to be accepted.
    pub path: Option<String>,
    /// Between two probes.
    pub interval: Duration,
}

/// `hardening`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hardening {
    /// What it is not kept from.
    pub relax: Vec<Relaxation>,
    /// Files and folders it may write.
    pub writable: Vec<PathBuf>,
    /// Files and folders below a home folder that it may read.
    pub readable: Vec<PathBuf>,
}

/// Something a service is not kept from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Relaxation {
    /// Memory that is written and executed.
    Jit,
    /// Reading all of the home folders.
    Home,
    /// Writing its working folder.
    WorkingFolder,
    /// The machine's devices.
    Devices,
    /// `/tmp` shared with everybody.
    Tmp,
    /// System calls a service rarely needs.
    SystemCalls,
    /// Namespaces of its own.
    Namespaces,
    /// Talking to the kernel over netlink, and raw packets.
    Netlink,
    /// Gaining privileges, as `sudo` and setuid programs do.
    Privileges,
    /// Seeing the processes of others.
    Processes,
    /// Ports below 1024.
    LowPorts,
    /// Everything: no sandbox at all.
    Everything,
}
