//! Why no server connection could be had.

use std::io;

use bs9_wire::{message::Report, sqlstate::SqlState};

/// A login at a server that failed, in words for the clients that waited for it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} (SQLSTATE {sqlstate})")]
pub(crate) struct LoginFailure {
    pub(crate) sqlstate: SqlState,
    pub(crate) message: String,
    pub(crate) detail: Option<String>,
    pub(crate) hint: Option<String>,
}

impl LoginFailure {
    pub(crate) fn new(sqlstate: SqlState, message: impl Into<String>) -> Self {
        Self { sqlstate, message: message.into(), detail: None, hint: None }
    }

    /// The network stood in the way.
    pub(crate) fn io(what: &str, error: &io::Error) -> Self {
        Self::new(SqlState::CANNOT_CONNECT, format!("{what}: {error}"))
    }

    /// The server broke the protocol.
    pub(crate) fn protocol(what: impl std::fmt::Display) -> Self {
        Self::new(SqlState::PROTOCOL_VIOLATION, format!("server broke the protocol: {what}"))
    }

    /// What the server said, word for word.
    pub(crate) fn reported(report: &Report<'_>) -> Self {
        let text =
            |code: u8| report.get(code).map(|value| String::from_utf8_lossy(value).into_owned());
        Self {
            sqlstate: report
                .sqlstate()
                .and_then(SqlState::parse)
                .unwrap_or(SqlState::CANNOT_CONNECT),
            message: text(b'M').unwrap_or_else(|| "server refused the login".to_owned()),
            detail: text(b'D'),
            hint: text(b'H'),
        }
    }

    /// Whether it passes by itself soon, so that clients had better go on waiting: the server
    /// is starting up, or has no connection left at the moment.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self.sqlstate, SqlState::CANNOT_CONNECT_NOW | SqlState::TOO_MANY_CONNECTIONS)
    }
}
