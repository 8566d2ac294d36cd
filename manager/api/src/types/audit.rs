//! The log of changes.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// What a record tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AuditPhase {
    /// A call is about to be carried out. Without a later `ended`, nobody knows
    /// what became of it: the manager was killed in the middle.
    Begun,
    /// The call that began with record `begun` has ended.
    Ended,
    /// A known caller was refused.
    Refused,
    /// The log itself was seen to: a torn line set aside, an old file given up.
    Upkeep,
}

/// A record of the audit log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AuditRecord {
    /// From 1, without gaps.
    pub sequence: u64,
    /// When it was written.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// What it tells.
    pub phase: AuditPhase,
    /// With `ended`: the record it began with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begun: Option<u64>,
    /// Who called, such as `uid 1000 pid 4711` or `token deploy`.
    pub who: String,
    /// In what role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// From where: `unix`, or an address.
    pub from: String,
    /// What was called.
    pub operation: String,
    /// On what: the path of the call.
    pub target: String,
    /// What was asked for, without secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Value>,
    /// How things were, without secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// How things are, without secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
    /// With `ended`: whether it was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ok: Option<bool>,
    /// Why not, as a stable word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Why not, for a person; or what was seen to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Hash of the record before; 64 zeros for the first.
    pub previous: String,
}

/// A record with the hash that seals it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SealedRecord {
    /// SHA-256 over the previous hash and the record's text, hexadecimal.
    pub hash: String,
    /// What it seals.
    pub record: AuditRecord,
}

/// `GET /v1/audit`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AuditPage {
    /// Version of this shape.
    pub schema: u32,
    /// Oldest first.
    pub records: Vec<SealedRecord>,
    /// The newest record there is.
    pub head: AuditHead,
}

/// The newest record. Keep it elsewhere: a log that ends before it was cut off.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditHead {
    /// Its sequence; 0 when there is none yet.
    pub sequence: u64,
    /// Its hash; 64 zeros when there is none yet.
    pub hash: String,
    /// When it was written.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub at: Option<Timestamp>,
}

/// What to ask of `GET /v1/audit/verify`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AuditVerifyQuery {
    /// A hash that was published earlier; the log must hold it.
    #[serde(default)]
    pub head: Option<String>,
}

/// `GET /v1/audit/verify`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AuditVerdict {
    /// Version of this shape.
    pub schema: u32,
    /// Whether every record is there and as it was written.
    pub intact: bool,
    /// Records read.
    pub records: u64,
    /// The first record read; later than 1 when old files were given up.
    pub first_sequence: Option<u64>,
    /// The last one.
    pub head: AuditHead,
    /// What is wrong; at most 100.
    pub problems: Vec<AuditProblem>,
}

/// Something wrong in the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditProblem {
    /// The file.
    pub file: String,
    /// From 1; absent when it is about the file or the log as a whole.
    pub line: Option<u64>,
    /// What is wrong.
    pub message: String,
}
