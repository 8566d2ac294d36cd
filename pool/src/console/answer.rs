//! What the console says.

use bs9_wire::{
    encode::backend::{self, ErrorReport, Severity},
    sqlstate::SqlState,
};

use super::table::{self, Column};

/// A value; `None` is NULL.
pub(super) type Value = Option<String>;

/// The answer to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    Rows {
        columns: &'static [Column],
        rows: Vec<Vec<Value>>,
    },
    /// Something was done.
    Done {
        tag: &'static str,
    },
    /// Text for people.
    Notice {
        message: String,
        tag: &'static str,
    },
}

/// A command that cannot be carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) sqlstate: SqlState,
    pub(super) message: String,
    pub(super) hint: Option<&'static str>,
}

impl Answer {
    /// Says what columns there are.
    pub(super) fn describe(&self, out: &mut Vec<u8>) {
        if let Self::Rows { columns, .. } = self {
            table::describe(out, columns);
        }
    }

    /// Says the rest.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Rows { rows, .. } => {
                for row in rows {
                    backend::data_row(out, row.iter().map(Option::as_deref));
                }
                backend::command_complete(out, "SHOW");
            }
            Self::Done { tag } => backend::command_complete(out, tag),
            Self::Notice { message, tag } => {
                let report = ErrorReport {
                    severity: Severity::Notice,
                    ..ErrorReport::error(SqlState::SUCCESS, message)
                };
                backend::notice_response(out, &report);
                backend::command_complete(out, tag);
            }
        }
    }
}

impl Fault {
    pub(super) fn new(sqlstate: SqlState, message: impl Into<String>) -> Self {
        Self { sqlstate, message: message.into(), hint: None }
    }

    pub(super) fn hint(mut self, hint: &'static str) -> Self {
        self.hint = Some(hint);
        self
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let report =
            ErrorReport { hint: self.hint, ..ErrorReport::error(self.sqlstate, &self.message) };
        backend::error_response(out, &report);
    }
}
