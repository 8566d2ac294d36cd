//! How a verb ends: the exit code, and what is said about it.

use std::{error::Error, fmt, io, process::ExitCode};

use bs9_api::{BindError, ClientError};
use bs9_config::Report;

/// What the process exits with; the numbers are part of the public surface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Anything that has no number of its own.
    Error = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// No such cluster, endpoint or file.
    NotFound = 3,
    /// The user may not.
    Permission = 4,
    /// The configuration is invalid.
    Config = 5,
    /// An address is taken, or nobody answers.
    Network = 6,
    /// A program or server that is needed is missing.
    Dependency = 7,
    /// The operating system refused.
    System = 8,
}

impl Exit {
    /// For the operating system.
    pub(crate) fn code(self) -> ExitCode {
        ExitCode::from(self as u8)
    }

    /// Which kind an error of the system is, when it has no better one.
    pub(crate) fn of_io(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::NotFound,
            io::ErrorKind::PermissionDenied => Self::Permission,
            io::ErrorKind::AddrInUse
            | io::ErrorKind::AddrNotAvailable
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::TimedOut => Self::Network,
            _ => Self::System,
        }
    }
}

/// Why a verb did not do what it was asked.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    said: Said,
    hint: Option<String>,
}

#[derive(Debug)]
enum Said {
    /// One line, and what lies behind it.
    Message { text: String, source: Option<anyhow::Error> },
    /// Every error of a configuration, shown in place.
    Report(Box<Report>),
    /// It was already said where it belongs (a machine-readable answer).
    Already,
}

impl Failure {
    /// Ends with `exit` and this message.
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, said: Said::Message { text: message.into(), source: None }, hint: None }
    }

    /// The configuration is invalid.
    pub(crate) fn report(report: Report) -> Self {
        Self { exit: Exit::Config, said: Said::Report(Box::new(report)), hint: None }
    }

    /// Ends with `exit` and says nothing more.
    pub(crate) fn silent(exit: Exit) -> Self {
        Self { exit, said: Said::Already, hint: None }
    }

    /// With what lies behind it.
    #[must_use]
    pub(crate) fn because(mut self, source: impl Into<anyhow::Error>) -> Self {
        if let Said::Message { source: place, .. } = &mut self.said {
            *place = Some(source.into());
        }
        self
    }

    /// With what to do about it.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// An error of the system while doing `what`.
    pub(crate) fn io(what: impl Into<String>, error: io::Error) -> Self {
        Self::new(Exit::of_io(&error), what).because(error)
    }

    /// What the process exits with.
    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }

    /// What goes to standard error; `None` when it was already said.
    pub(crate) fn render(&self) -> Option<String> {
        use crate::terminal::{BAD, NOTE};
        use fmt::Write as _;

        let mut out = String::new();
        match &self.said {
            Said::Already => return None,
            Said::Report(report) => out.push_str(report.render(true).trim_end()),
            Said::Message { text, source } => {
                let _infallible = write!(out, "{BAD}error{BAD:#}: {text}");
                let mut cause = source
                    .as_ref()
                    .map(AsRef::as_ref as fn(&anyhow::Error) -> &(dyn Error + 'static));
                while let Some(error) = cause {
                    let _infallible = write!(out, "\n  because: {error}");
                    cause = error.source();
                }
            }
        }
        if let Some(hint) = &self.hint {
            let _infallible = write!(out, "\n  {NOTE}hint{NOTE:#}: {hint}");
        }
        Some(out)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::new(Exit::Error, error.to_string()).caused_by(&error)
    }
}

impl Failure {
    /// Appends the causes of `error`, whose own text is the message.
    fn caused_by(mut self, error: &anyhow::Error) -> Self {
        if let Said::Message { text, .. } = &mut self.said {
            for cause in error.chain().skip(1) {
                text.push_str(": ");
                text.push_str(&cause.to_string());
            }
        }
        self
    }

    /// With what lies behind `error`, whose own text is the message.
    fn caused_by_source_of(self, error: &dyn Error) -> Self {
        match error.source() {
            Some(cause) => self.because(anyhow::anyhow!(cause.to_string())),
            None => self,
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let exit = match &error {
            ClientError::NotRunning { .. } | ClientError::Timeout { .. } => Exit::Network,
            ClientError::Protocol { .. } => Exit::Network,
            ClientError::Denied { .. } => Exit::Permission,
            ClientError::NotFound { .. } => Exit::NotFound,
            ClientError::Problem { problem, .. } => match problem.code.as_str() {
                "invalid_config" => Exit::Config,
                "invalid_request" | "bad_request" => Exit::Usage,
                _ => Exit::Error,
            },
            _ => Exit::Error,
        };
        let text = match &error {
            ClientError::Problem { problem, .. } => problem_text(problem),
            other => other.to_string(),
        };
        let hint = match &error {
            ClientError::NotRunning { .. } => Some(
                "start it (`bs9 serve --config FILE`), or name its admin socket with --socket PATH",
            ),
            ClientError::Denied { .. } => Some(
                "the admin socket answers root and the user bs9 runs as; try that user or sudo",
            ),
            _ => None,
        };
        let failure = Self::new(exit, text).caused_by_source_of(&error);
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

impl From<BindError> for Failure {
    fn from(error: BindError) -> Self {
        use BindError::{Folder, InUse, Tcp, Unix};

        let exit = match &error {
            InUse { .. } => Exit::Network,
            Folder { source, .. } | Unix { source, .. } | Tcp { source, .. } => Exit::of_io(source),
            _ => Exit::Error,
        };
        let hint = match &error {
            InUse { .. } => {
                "a bs9 is running there; ask it with `bs9 status`, or give this one its own \
                 --socket PATH"
            }
            _ => {
                "choose another place with admin.socket or --socket PATH, and another address \
                 with admin.listen"
            }
        };
        Self::new(exit, error.to_string()).caused_by_source_of(&error).hint(hint)
    }
}

/// The message, and every error of a configuration on a line of its own.
fn problem_text(problem: &bs9_api::types::Problem) -> String {
    use fmt::Write as _;

    let mut text = problem.message.clone();
    for error in &problem.errors {
        text.push_str("\n  ");
        if let Some(file) = &error.file {
            let _infallible = write!(text, "{file}:");
        }
        if let (Some(line), Some(column)) = (error.line, error.column) {
            let _infallible = write!(text, "{line}:{column}: ");
        }
        if let Some(key) = error.key.as_deref().filter(|key| !key.is_empty()) {
            let _infallible = write!(text, "{key}: ");
        }
        text.push_str(&error.message);
        if let Some(hint) = &error.hint {
            let _infallible = write!(text, " ({hint})");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use bs9_api::types::{ConfigError, Problem};

    use super::*;

    #[test]
    fn each_answer_of_the_api_has_its_exit_code() {
        let problem = |code: &str| ClientError::Problem {
            status: 422,
            problem: Problem {
                schema: 1,
                code: code.into(),
                message: "no".into(),
                errors: Vec::new(),
            },
        };
        let cases = [
            (problem("invalid_config"), Exit::Config),
            (problem("invalid_request"), Exit::Usage),
            (problem("conflict"), Exit::Error),
            (ClientError::NotFound { message: "no".into() }, Exit::NotFound),
            (ClientError::Denied { message: "no".into() }, Exit::Permission),
        ];
        for (error, expected) in cases {
            let shown = error.to_string();
            assert_eq!(Failure::from(error).exit(), expected, "{shown}");
        }
    }

    #[test]
    fn errors_of_a_configuration_keep_their_place() {
        let error = ConfigError {
            file: Some(PathBuf::from("/etc/bs9.toml").display().to_string()),
            line: Some(3),
            column: Some(7),
            key: Some("clusters.api".into()),
            message: "unknown key".into(),
            hint: Some("did you mean `balance`?".into()),
        };
        let problem = Problem {
            schema: 1,
            code: "invalid_config".into(),
            message: "refused".into(),
            errors: vec![error],
        };
        assert_eq!(
            problem_text(&problem),
            "refused\n  /etc/bs9.toml:3:7: clusters.api: unknown key (did you mean `balance`?)"
        );
    }
}
