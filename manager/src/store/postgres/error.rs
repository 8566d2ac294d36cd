//! Why PostgreSQL could not be used.

use std::{error::Error as _, time::Duration};

use deadpool_postgres::PoolError;
use tokio_postgres::error::SqlState;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub(super) enum PostgresError {
    #[error("PostgreSQL cannot be reached: {0}")]
    Unreachable(String),
    #[error("PostgreSQL cannot be reached by TLS: {0}")]
    Tls(String),
    #[error("PostgreSQL says: {message} (SQLSTATE {code})")]
    Said { message: String, code: String },
    #[error("PostgreSQL was not done within {} s", .0.as_secs_f64())]
    Late(Duration),
    #[error("its tables are of version {found}, this bs9 knows {known}; use the newer one")]
    Newer { found: i32, known: i32 },
    /// Partitions for blocks that begin then have to be made.
    #[error("there is no partition for what is to be written")]
    NoPartition { table: &'static str, starts: Vec<i64> },
    #[error("an event cannot be written: {0}")]
    Event(#[from] serde_json::Error),
}

impl PostgresError {
    /// Whether it is what was written that is wrong (class 22, data exception), so that
    /// trying again is of no use.
    pub(super) fn is_about_content(&self) -> bool {
        matches!(self, Self::Said { code, .. } if code.starts_with("22"))
            || matches!(self, Self::Event(_))
    }
}

impl From<tokio_postgres::Error> for PostgresError {
    fn from(error: tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            Some(said) => Self::Said {
                message: said.message().to_owned(),
                code: said.code().code().to_owned(),
            },
            None => {
                let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
                Self::Unreachable(format!("{error}{cause}"))
            }
        }
    }
}

impl From<PoolError> for PostgresError {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Backend(error) => error.into(),
            other => Self::Unreachable(other.to_string()),
        }
    }
}

/// Whether a row fits into no partition that there is.
pub(super) fn fits_nowhere(error: &tokio_postgres::Error) -> bool {
    error.code() == Some(&SqlState::CHECK_VIOLATION)
}
