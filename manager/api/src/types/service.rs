//! Services: what systemd keeps running for bs9, and how that is going.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{BuildStatus, SCHEMA, WatchStatus};

/// `GET /v1/services`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Services {
    /// Version of this shape.
    pub schema: u32,
    /// In name order.
    pub services: Vec<ServiceStatus>,
    /// Why systemd could not be asked; the states are unknown then.
    pub unavailable: Option<String>,
}

/// `GET /v1/services/{service}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OneService {
    /// Version of this shape.
    pub schema: u32,
    /// Its fields stand beside `schema`.
    #[serde(flatten)]
    pub service: ServiceStatus,
}

impl OneService {
    /// The answer with this service.
    pub fn new(service: ServiceStatus) -> Self {
        Self { schema: SCHEMA, service }
    }
}

/// A service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ServiceStatus {
    /// Its name.
    pub name: String,
    /// For people.
    pub description: Option<String>,
    /// `user` or `system`: whose systemd runs it.
    pub scope: String,
    /// All of its instances in one word.
    pub state: ServiceState,
    /// Why it is not simply running.
    pub reason: Option<String>,
    /// Whether it comes up by itself after a reboot.
    pub enabled: bool,
    /// The first instance's port.
    pub port: Option<u16>,
    /// How many instances there should be.
    pub instances_wanted: u32,
    /// Those there are, in order.
    pub instances: Vec<InstanceStatus>,
    /// Its file differs from what runs; `bs9 apply` shows how.
    pub drifted: bool,
    /// The file that describes it; absent when it is gone.
    pub definition: Option<String>,
    /// How the data plane fronts it; absent without a port.
    pub cluster: Option<ServiceCluster>,
    /// How the watching of its source is going; absent when it is not watched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watch: Option<WatchStatus>,
    /// The build that runs; absent when it is run as it is, or was not built yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<BuildStatus>,
}

/// A service's state, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ServiceState {
    /// Every instance runs.
    Running,
    /// Some instances run, or there are more or fewer than there should be.
    Degraded,
    /// On its way up, or waiting to be restarted.
    Starting,
    /// On its way down.
    Stopping,
    /// Not running, as was asked for.
    Stopped,
    /// Not running, against what was asked for.
    Failed,
    /// Described in a file and not applied yet.
    NotApplied,
    /// systemd could not be asked.
    Unknown,
}

impl ServiceState {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Degraded => "degraded",
            Self::Starting => "starting",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
            Self::NotApplied => "not_applied",
            Self::Unknown => "unknown",
        }
    }
}

/// One instance of a service: one unit.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct InstanceStatus {
    /// From 1.
    pub instance: u32,
    /// systemd's name for it, such as `api@1.service`.
    pub unit: String,
    /// systemd's word: `active`, `inactive`, `failed`, `activating`, `deactivating`, `reloading`.
    pub active_state: String,
    /// systemd's finer word, such as `running`, `dead` or `auto-restart`.
    pub sub_state: String,
    /// How the last run ended: `success`, `exit-code`, `signal`, `oom-kill`, `timeout` …
    pub result: String,
    /// What the main process exited with, when it did not run to the end asked for.
    pub exit_status: Option<i32>,
    /// The main process.
    pub pid: Option<u32>,
    /// Where it listens.
    pub port: Option<u16>,
    /// Since when it is in this state.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
    /// Seconds it has been up.
    pub uptime_seconds: Option<f64>,
    /// Restarts by systemd since it was last started by hand.
    pub restarts_total: u32,
    /// Memory of all of its processes.
    pub memory_bytes: Option<u64>,
    /// CPU time of all of its processes since it started.
    pub cpu_seconds_total: Option<f64>,
    /// Threads and processes.
    pub tasks: Option<u64>,
    /// What it says about itself (sd_notify `STATUS=`).
    pub status_text: Option<String>,
    /// Why figures above are absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unavailable: Vec<Unavailable>,
}

/// A figure that is not there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Unavailable {
    /// The field.
    pub what: String,
    /// Why it is not there.
    pub reason: String,
}

/// How a service is fronted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ServiceCluster {
    /// The cluster of the data plane.
    pub cluster: String,
    /// Whether its endpoints are the running instances.
    pub wired: bool,
    /// Why not.
    pub reason: Option<String>,
    /// The route to it, such as `api.example.com/v1/`.
    pub route: Option<String>,
}

/// `POST /v1/services/{service}`: describe it, and run it as described.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeployService {
    /// The text of `services/NAME.toml`; replaces the one that is there.
    pub definition: String,
    /// How instances that run are brought to it.
    #[serde(default)]
    pub update: UpdateWay,
    /// Run it in spite of what the audit of its source found; what was found is accepted from
    /// then on.
    #[serde(default)]
    pub force: bool,
}

/// How running instances are brought to a new description.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum UpdateWay {
    /// One by one, when it is fronted by the data plane; else all at once.
    #[default]
    Roll,
    /// All at once.
    Restart,
}

/// `POST /v1/services/{service}/scale`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScaleService {
    /// Instances there should be, 1 to 512.
    #[schema(minimum = 1, maximum = 512)]
    pub instances: u32,
}

/// `POST /v1/services/{service}/reload`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReloadService {
    /// Go back so many generations of its description first; 0: none.
    #[serde(default)]
    pub back: u32,
}

/// `POST /v1/apply`: bring everything to what the files say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApplyServices {
    /// Only these; empty: all, and what no file describes is removed.
    #[serde(default)]
    pub services: Vec<String>,
    /// Say what would be done, and do nothing.
    #[serde(default)]
    pub dry_run: bool,
}

/// What applying does, or would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ApplyOutcome {
    /// Version of this shape.
    pub schema: u32,
    /// Whether it was only looked at.
    pub dry_run: bool,
    /// The folder of the descriptions.
    pub folder: String,
    /// In name order; empty when everything is as described.
    pub services: Vec<ServicePlan>,
}

/// What is to be done about one service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ServicePlan {
    /// The service.
    pub service: String,
    /// What is done.
    pub action: PlannedAction,
    /// How units differ, as `diff` writes it; values of the environment are never shown.
    pub difference: Vec<String>,
    /// Steps that were taken.
    pub steps: Vec<String>,
    /// Why it was not carried out.
    pub error: Option<String>,
}

/// What is done about a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PlannedAction {
    /// It is new.
    Create,
    /// It runs with another description.
    Update,
    /// No file describes it any more.
    Remove,
}

/// The answer to every change of a service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ServiceOutcome {
    /// Version of this shape.
    pub schema: u32,
    /// What was done, a line each; empty when nothing had to be.
    pub steps: Vec<String>,
    /// What a person should know.
    pub warnings: Vec<String>,
    /// How it is now; absent once deleted.
    pub service: Option<ServiceStatus>,
}

/// What to ask of `GET /v1/services/{service}/logs`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LogQuery {
    /// The last so many lines; at most 10,000. Default 50.
    #[serde(default)]
    pub lines: Option<u32>,
    /// Only what came after this cursor, which an earlier answer gave.
    #[serde(default)]
    pub after: Option<String>,
    /// With `after`: wait so long for the first line, at most 60 s.
    #[serde(default)]
    pub wait_seconds: Option<u32>,
    /// Only this instance.
    #[serde(default)]
    pub instance: Option<u32>,
    /// Only lines of this priority or a more urgent one: 0 (emergency) to 7 (debug).
    #[serde(default)]
    #[schema(maximum = 7)]
    pub priority: Option<u8>,
    /// Only since then, in the words of `journalctl --since`.
    #[serde(default)]
    pub since: Option<String>,
}

/// `GET /v1/services/{service}/logs`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ServiceLogs {
    /// Version of this shape.
    pub schema: u32,
    /// Oldest first.
    pub lines: Vec<LogLine>,
    /// Where the next question continues; absent while there is no line at all.
    pub cursor: Option<String>,
}

/// One line of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogLine {
    /// When it was written.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The unit.
    pub unit: String,
    /// 0 (emergency) to 7 (debug).
    pub priority: u8,
    /// The process.
    pub pid: Option<u32>,
    /// Without its line break.
    pub message: String,
}

/// `GET /v1/services/{service}/inspect`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ServiceInspection {
    /// Version of this shape.
    pub schema: u32,
    /// How it is.
    pub service: ServiceStatus,
    /// The unit file of the first instance.
    pub unit_file: String,
    /// Its text; values of the environment are never shown.
    pub unit_text: String,
    /// Names in its environment, and where each comes from.
    pub environment: Vec<EnvironmentEntry>,
    /// How exposed it is; absent with a reason.
    pub security: Option<SecurityScore>,
    /// Why there is no score.
    pub security_unavailable: Option<String>,
    /// What is declared beside what is really so for the running process.
    pub effects: Vec<Effect>,
    /// What it is not kept from, and what that costs.
    pub relaxations: Vec<RelaxationCost>,
    /// Earlier descriptions that can be gone back to, the latest first.
    pub generations: Vec<String>,
}

/// A variable of a service's environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EnvironmentEntry {
    /// Its name.
    pub name: String,
    /// `bs9`, `definition` or the file it comes from.
    pub source: String,
    /// Only of what bs9 sets itself; everything else is a secret.
    pub value: Option<String>,
}

/// What `systemd-analyze security` says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SecurityScore {
    /// 0 (safe) to 10 (unsafe).
    pub exposure: f64,
    /// Its word for that, such as `OK` or `EXPOSED`.
    pub verdict: String,
    /// Where the score comes from, the worst first.
    pub findings: Vec<SecurityFinding>,
}

/// One line of `systemd-analyze security`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SecurityFinding {
    /// The directive.
    pub directive: String,
    /// What it means for this unit.
    pub description: String,
    /// What it adds to the exposure.
    pub exposure: f64,
}

/// Something declared, and whether it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Effect {
    /// The directive.
    pub directive: String,
    /// What the unit says.
    pub declared: String,
    /// What the kernel says about the running process; absent when it cannot be seen.
    pub effective: Option<String>,
    /// Whether the two agree; absent when it cannot be seen.
    pub holds: Option<bool>,
}

/// Something a service is not kept from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RelaxationCost {
    /// The word in `hardening.relax`.
    pub relaxation: String,
    /// What it costs.
    pub cost: String,
    /// Why it is there when nobody wrote it.
    pub because: Option<String>,
}

/// `POST /v1/save`: remember what runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SaveServices {
    /// Only these; empty: all.
    #[serde(default)]
    pub services: Vec<String>,
}

/// `POST /v1/resurrect`: bring back what was saved.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResurrectServices {
    /// Only these; empty: all.
    #[serde(default)]
    pub services: Vec<String>,
}

/// What was saved, or brought back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SavedServices {
    /// Version of this shape.
    pub schema: u32,
    /// When it was saved.
    #[schema(value_type = String, format = DateTime)]
    pub saved_at: Timestamp,
    /// In name order.
    pub services: Vec<SavedService>,
}

/// A service as it was saved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SavedService {
    /// Its name.
    pub service: String,
    /// Whether it ran.
    pub running: bool,
    /// What was done about it when it was brought back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<String>,
    /// Why it was not brought back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}
