//! How a query is sent.

use std::{fmt, str::FromStr};

/// Which of the protocol's ways a query takes, with pgbench's names for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum QueryMode {
    /// As text, in a Query message.
    #[default]
    Simple,
    /// Parse, Bind, Describe, Execute and Sync, every time.
    Extended,
    /// Parse once a connection, then Bind, Describe, Execute and Sync.
    Prepared,
}

/// No mode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a mode; there are simple, extended and prepared")]
pub struct QueryModeError {
    text: String,
}

impl FromStr for QueryMode {
    type Err = QueryModeError;

    fn from_str(text: &str) -> Result<Self, QueryModeError> {
        match text {
            "simple" => Ok(Self::Simple),
            "extended" => Ok(Self::Extended),
            "prepared" => Ok(Self::Prepared),
            _ => Err(QueryModeError { text: text.to_owned() }),
        }
    }
}

impl fmt::Display for QueryMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Simple => "simple",
            Self::Extended => "extended",
            Self::Prepared => "prepared",
        })
    }
}
