//! What is wrong with a configuration, as the admin API and the log say it.

use bs9_api::types::ConfigError;
use bs9_config::{Diagnostic, Report, Severity};
use bs9_net::{PrepareError, ReloadError};

/// Every error of a report; warnings refuse nothing.
pub(super) fn of_report(report: &Report) -> Vec<ConfigError> {
    let errors = report.diagnostics().iter().filter(|found| found.severity == Severity::Error);
    errors.map(of_diagnostic).collect()
}

fn of_diagnostic(found: &Diagnostic) -> ConfigError {
    let number = |value: Option<usize>| value.and_then(|value| u32::try_from(value).ok());
    ConfigError {
        file: Some(found.file.display().to_string()).filter(|file| !file.is_empty()),
        line: number(found.line),
        column: number(found.column),
        key: Some(found.key.clone()).filter(|key| !key.is_empty()),
        message: found.message.clone(),
        hint: found.hint.clone(),
    }
}

/// Why a valid configuration cannot be put in force.
pub(super) fn of_refusal(error: &ReloadError) -> ConfigError {
    let (key, message) = match error {
        ReloadError::Prepare(PrepareError::Bind(bind)) => (
            Some(format!("listeners.{}.bind", bind.listener)),
            format!("cannot listen on {}: {}", bind.address, bind.reason),
        ),
        ReloadError::Prepare(PrepareError::Compile(compile)) => {
            (Some(compile.key.clone()), compile.message.clone())
        }
        ReloadError::Prepare(PrepareError::NoEngine { listener, .. }) => {
            (Some(format!("listeners.{listener}.protocol")), error.to_string())
        }
        ReloadError::Draining => (None, error.to_string()),
    };
    ConfigError { file: None, line: None, column: None, key, message, hint: None }
}

/// One log line for each error.
pub(super) fn log(errors: &[ConfigError]) {
    for error in errors {
        tracing::error!(
            at = place(error),
            key = error.key,
            reason = error.message,
            hint = error.hint,
            "configuration refused; the one in force stays"
        );
    }
}

/// `file:line:column`, as far as it is known.
fn place(error: &ConfigError) -> Option<String> {
    let file = error.file.as_ref()?;
    Some(match (error.line, error.column) {
        (Some(line), Some(column)) => format!("{file}:{line}:{column}"),
        _ => file.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_keeps_file_line_and_column() {
        let report =
            bs9_config::parse_str("bs9.toml", "[clusters.api]\nbalanced = 1\nendpoints = []\n")
                .unwrap_err();
        let errors = of_report(&report);
        let first = errors.iter().find(|error| error.line == Some(2)).unwrap();
        assert_eq!(place(first).as_deref(), Some("bs9.toml:2:1"));
        assert!(first.key.as_deref().unwrap().starts_with("clusters.api"));
    }
}
