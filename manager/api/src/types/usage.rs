//! What a service uses right now, process by process.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Reading;

/// `GET /v1/services/{service}/usage`: counters as they are now. Two answers make a rate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ServiceUsage {
    /// Version of this shape.
    pub schema: u32,
    /// When it was looked at.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Those that run, in order; at most 128.
    pub instances: Vec<InstanceUsage>,
    /// Instances that run and were not looked at, as there are too many.
    pub left_out: u64,
}

/// What one instance uses. Counters begin with its control group, that is with its start.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct InstanceUsage {
    /// From 1.
    pub instance: u32,
    /// systemd's name for it.
    pub unit: String,
    /// Where it listens, as the data plane knows it.
    pub endpoint: Option<String>,
    /// Restarts by systemd since it was last started by hand.
    pub restarts_total: u32,
    /// Processor time.
    pub cpu_seconds_total: Reading,
    /// Cores it may use.
    pub cpu_limit_cores: Reading,
    /// Time for which it was kept from the processor because it had used what it may.
    pub throttled_seconds_total: Reading,
    /// Memory charged to it, page cache included.
    pub memory_bytes: Reading,
    /// The most it may use.
    pub memory_limit_bytes: Reading,
    /// Processes the kernel killed for want of memory.
    pub oom_kills_total: Reading,
    /// Read from block devices.
    pub read_bytes_total: Reading,
    /// Written to block devices.
    pub written_bytes_total: Reading,
    /// Time in which some of it waited for a processor (PSI).
    pub cpu_pressure_seconds_total: Reading,
    /// Time in which some of it waited for memory (PSI).
    pub memory_pressure_seconds_total: Reading,
    /// Time in which some of it waited for I/O (PSI).
    pub io_pressure_seconds_total: Reading,
    /// Its processes; at most 1,024.
    pub processes: Vec<ProcessUsage>,
}

/// What a process uses.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ProcessUsage {
    /// Its id.
    pub pid: u32,
    /// What the kernel calls it (at most 15 bytes).
    pub name: String,
    /// Threads.
    pub threads: u64,
    /// Memory resident, shared pages included.
    pub resident_bytes: u64,
    /// Processor time.
    pub cpu_seconds_total: f64,
    /// Read from block devices.
    pub read_bytes_total: Reading,
    /// Written to block devices.
    pub written_bytes_total: Reading,
    /// Files open, sockets included; counted up to 65,536.
    pub open_files: Reading,
    /// How many it may open.
    pub open_files_limit: Reading,
}
