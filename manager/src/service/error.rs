//! Why a service was not changed.

use std::{io, path::PathBuf};

use bs9_api::{
    ApiError, ProblemCode,
    types::{ConfigError, SourceFinding},
};
use bs9_config::{Report, Severity, edit::EditError};

use crate::{build::BuildError, systemd::SystemdError, unit::ProgramError};

/// What went wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ServiceError {
    #[error("there is no service `{service}`{}", .near.as_ref().map(|near| format!("; did you mean `{near}`?")).unwrap_or_default())]
    Unknown { service: String, near: Option<String> },
    #[error("another change of `{service}` is under way; try again when it is done")]
    Busy { service: String },
    #[error("the description of the service is not valid")]
    Invalid(#[source] Report),
    #[error("cannot write {}: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{}", .0)]
    Program(#[from] ProgramError),
    #[error("{}", .0)]
    Build(#[from] BuildError),
    #[error("{}", .0)]
    Systemd(#[from] SystemdError),
    #[error("{unit} is not ready: {reason}")]
    NotReady { unit: String, reason: String },
    /// The audit of its source keeps it from being started.
    #[error(
        "the audit of its source keeps `{service}` from being started; `--force` starts it all the same, and is recorded"
    )]
    Unsafe { service: String, findings: Vec<SourceFinding> },
    /// What was asked for makes no sense, whatever the service is like.
    #[error("{0}")]
    Senseless(String),
    /// What would have to answer does not.
    #[error("{0}")]
    Away(String),
    /// It cannot be done as things are; the text says what to do.
    #[error("{0}")]
    Refused(String),
}

impl From<EditError> for ServiceError {
    fn from(error: EditError) -> Self {
        match error {
            EditError::Invalid(report) => Self::Invalid(report),
            EditError::Write { path, source } => Self::Write { path, source },
            EditError::Change(error) => Self::Refused(error.to_string()),
        }
    }
}

impl From<ServiceError> for ApiError {
    fn from(error: ServiceError) -> Self {
        let message = error.to_string();
        match error {
            ServiceError::Unknown { .. } => Self::not_found(message),
            ServiceError::Busy { .. } => Self::conflict(message),
            ServiceError::Invalid(report) => Self::invalid_config(message, errors(&report)),
            ServiceError::Unsafe { findings, .. } => Self {
                code: ProblemCode::Conflict,
                message,
                errors: findings.into_iter().map(place).collect(),
            },
            ServiceError::Write { .. } | ServiceError::Read { .. } => Self::internal(message),
            ServiceError::Program(_)
            | ServiceError::Build(BuildError::Missing(_))
            | ServiceError::Senseless(_) => Self::invalid_request(message),
            ServiceError::Systemd(SystemdError::Unreachable { .. }) | ServiceError::Away(_) => {
                Self::unavailable(message)
            }
            ServiceError::Systemd(_)
            | ServiceError::Build(_)
            | ServiceError::NotReady { .. }
            | ServiceError::Refused(_) => Self::new(ProblemCode::Conflict, message),
        }
    }
}

/// A finding with its place, as errors of a configuration are told.
fn place(finding: SourceFinding) -> ConfigError {
    ConfigError {
        file: Some(finding.file),
        line: finding.line,
        column: finding.column,
        key: Some(finding.rule),
        message: finding.message,
        hint: Some(finding.hint),
    }
}

/// Every error of a description, with its place.
pub(super) fn errors(report: &Report) -> Vec<ConfigError> {
    let number = |value: Option<usize>| value.and_then(|value| u32::try_from(value).ok());
    let errors = report.diagnostics().iter().filter(|found| found.severity == Severity::Error);
    let places = errors.map(|found| ConfigError {
        file: Some(found.file.display().to_string()).filter(|file| !file.is_empty()),
        line: number(found.line),
        column: number(found.column),
        key: Some(found.key.clone()).filter(|key| !key.is_empty()),
        message: found.message.clone(),
        hint: found.hint.clone(),
    });
    places.collect()
}
