//! What is measured of units and of the machine.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A number, or why there is none. Never 0 for want of a number.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Reading {
    /// The number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// Why there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Reading {
    /// This number.
    pub fn of(value: f64) -> Self {
        Self { value: Some(value), reason: None }
    }

    /// None, for this reason.
    pub fn missing(reason: impl Into<String>) -> Self {
        Self { value: None, reason: Some(reason.into()) }
    }
}

/// `GET /v1/units`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Units {
    /// Version of this shape.
    pub schema: u32,
    /// When they were measured; absent before the first time.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub at: Option<Timestamp>,
    /// How the kernel groups processes: `unified` (v2), `legacy` (v1), `hybrid` or `none`.
    pub hierarchy: String,
    /// In name order.
    pub units: Vec<UnitStatus>,
    /// Units that match and are not measured, as there are too many.
    pub left_out: u64,
}

/// A unit of systemd that runs, and what it uses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct UnitStatus {
    /// Its name.
    pub unit: String,
    /// Its control group, below the root.
    pub cgroup: String,
    /// Cores used since the sample before; 1 is one core.
    pub cpu_ratio: Reading,
    /// Processor time since its control group was made.
    pub cpu_seconds_total: Reading,
    /// Memory charged to it, page cache included.
    pub memory_bytes: Reading,
    /// The most it may use.
    pub memory_limit_bytes: Reading,
    /// Read from block devices.
    pub read_bytes_per_second: Reading,
    /// Written to block devices.
    pub written_bytes_per_second: Reading,
    /// Processes and threads.
    pub tasks: Reading,
    /// Share of the last second in which some of it waited for a processor (PSI).
    pub cpu_pressure_ratio: Reading,
    /// Share of the last second in which some of it waited for memory (PSI).
    pub memory_pressure_ratio: Reading,
    /// Share of the last second in which some of it waited for I/O (PSI).
    pub io_pressure_ratio: Reading,
    /// Processes the kernel killed for want of memory.
    pub oom_kills_total: Reading,
    /// Restarts seen since the manager started.
    pub restarts_total: Reading,
    /// Sockets open; counted every ten samples.
    pub open_sockets: Reading,
    /// Files open, sockets included; counted every ten samples.
    pub open_files: Reading,
}

/// `GET /v1/units/{unit}`: one unit, with its processes as they are now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OneUnit {
    /// Version of this shape.
    pub schema: u32,
    /// What it uses.
    pub status: UnitStatus,
    /// Its processes, parents before children; at most 1,024.
    pub processes: Vec<ProcessStatus>,
    /// Where it listens; at most 1,024.
    pub listening: Vec<String>,
    /// What could not be looked at, and why.
    pub reasons: Vec<String>,
}

/// A process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ProcessStatus {
    /// Its id.
    pub pid: u32,
    /// Its parent.
    pub parent_pid: u32,
    /// How deep it is in the unit's tree; 0 for the first ones.
    pub depth: u32,
    /// What the kernel calls it (at most 15 bytes).
    pub name: String,
    /// Its state as proc(5) has it: `R`, `S`, `D`, `Z` …
    pub state: String,
    /// Threads.
    pub threads: u64,
    /// Memory resident.
    pub resident_bytes: u64,
    /// Processor time.
    pub cpu_seconds_total: f64,
}

/// `GET /v1/host`: the machine.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HostStatus {
    /// Version of this shape.
    pub schema: u32,
    /// When it was measured; absent before the first time.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub at: Option<Timestamp>,
    /// Cores online.
    pub cores: Reading,
    /// Cores busy since the sample before.
    pub cpu_ratio: Reading,
    /// Load average over a minute.
    pub load_1m: Reading,
    /// Load average over five minutes.
    pub load_5m: Reading,
    /// Load average over fifteen minutes.
    pub load_15m: Reading,
    /// Memory there is.
    pub memory_bytes: Reading,
    /// Memory that programs could still have.
    pub memory_available_bytes: Reading,
    /// Swap there is.
    pub swap_bytes: Reading,
    /// Swap that is free.
    pub swap_free_bytes: Reading,
    /// Share of the last second in which something waited for a processor (PSI).
    pub cpu_pressure_ratio: Reading,
    /// Share of the last second in which something waited for memory (PSI).
    pub memory_pressure_ratio: Reading,
    /// Share of the last second in which something waited for I/O (PSI).
    pub io_pressure_ratio: Reading,
    /// TCP sockets in use.
    pub tcp_sockets: Reading,
    /// Block devices, in name order.
    pub disks: Vec<DiskStatus>,
    /// Network interfaces, in name order.
    pub networks: Vec<NetworkStatus>,
}

/// A block device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DiskStatus {
    /// Its name.
    pub device: String,
    /// Read.
    pub read_bytes_per_second: Reading,
    /// Written.
    pub written_bytes_per_second: Reading,
    /// Share of the time in which it had something to do.
    pub busy_ratio: Reading,
}

/// A network interface.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NetworkStatus {
    /// Its name.
    pub interface: String,
    /// Received.
    pub received_bytes_per_second: Reading,
    /// Sent.
    pub sent_bytes_per_second: Reading,
    /// Packets that were dropped or broken, either way.
    pub faults_per_second: Reading,
}
