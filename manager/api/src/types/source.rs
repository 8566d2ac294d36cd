//! What an audit of a service's source found.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `GET /v1/services/{service}/source`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SourceAudit {
    /// Version of this shape.
    pub schema: u32,
    /// The service.
    pub service: String,
    /// Whether it would be started: nothing blocks, or all that does was accepted by `--force`.
    pub startable: bool,
    /// What was found, what blocks first.
    pub findings: Vec<SourceFinding>,
    /// Files that were read: the script, and what it takes in from its own folder.
    pub files: Vec<String>,
    /// What was not looked at, and why.
    pub left_out: Vec<String>,
}

/// Something found in the source of a service, or around it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SourceFinding {
    /// The rule, such as `shell-with-input`.
    pub rule: String,
    /// How bad it is.
    pub severity: SourceSeverity,
    /// The file, or the folder.
    pub file: String,
    /// From 1; absent when it is about the file as a whole.
    pub line: Option<u32>,
    /// From 1, in bytes.
    pub column: Option<u32>,
    /// What was found; never a secret itself.
    pub message: String,
    /// What to do about it.
    pub hint: String,
    /// Somebody started the service in spite of it, with `--force`.
    pub accepted: bool,
}

/// How bad a finding is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum SourceSeverity {
    /// The service is not started, unless `--force` says so.
    Blocking,
    /// It is started, and told.
    Warning,
}

impl SourceSeverity {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Blocking => "blocking",
            Self::Warning => "warning",
        }
    }
}

/// `POST /v1/services/{service}/start`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StartService {
    /// Start it in spite of what the audit of its source found; what was found is accepted from
    /// then on.
    #[serde(default)]
    pub force: bool,
}

/// How the watching of a service's source is going.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WatchStatus {
    /// What is watched.
    pub paths: Vec<String>,
    /// The kernel tells of changes; otherwise it is looked every two seconds.
    pub by_notices: bool,
    /// How often a change was brought in, or tried to be, since the manager started.
    pub reloads_total: u64,
    /// When that was last.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_at: Option<Timestamp>,
    /// What had changed then.
    pub last_change: Option<String>,
    /// Why it was not brought in; what ran before runs on.
    pub last_error: Option<String>,
    /// Files that the service seems to write itself, as they changed right after each reload;
    /// they count again after a minute of quiet.
    pub left_out: Vec<String>,
}

/// What a compiler made of a service's script.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BuildStatus {
    /// From 1; each build has the next one.
    pub number: u64,
    /// `esbuild`, `bun`, `tsc` or `deno`.
    pub compiler: String,
    /// What it says its version is.
    pub version: Option<String>,
    /// When it was made.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub at: Option<Timestamp>,
    /// How long that took.
    pub seconds: f64,
}
