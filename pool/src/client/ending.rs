//! Why a client connection ends, and the last words to it.

use std::{rc::Rc, time::Duration};

use bs9_net::Transport;
use bs9_wire::{
    encode::backend::{ErrorReport, error_response},
    sqlstate::SqlState,
};

use super::Client;
use crate::failure::LoginFailure;

/// For the last words to reach a client that does not read.
const FAREWELL_LIMIT: Duration = Duration::from_secs(2);

/// Why it ends.
#[derive(Debug)]
pub(super) enum End {
    /// The client closed the connection, or it broke.
    Gone,
    /// The client said goodbye.
    Terminated,
    /// The shard drains, and the client was idle.
    Draining,
    /// The drain's deadline passed.
    Aborted,
    /// And why there was no server yet, as far as that is known.
    LoginTimeout(Option<Rc<LoginFailure>>),
    IdleTimeout,
    IdleInTransaction,
    /// Likewise.
    WaitTimeout(Option<Rc<LoginFailure>>),
    QueryTimeout,
    TransactionTimeout,
    /// An operator wants it gone.
    Killed,
    /// More notifications than wait for a client, or nobody listens for it any more.
    NotificationsMissed,
    TooManyWaiting(usize),
    /// A reload took the database away.
    Removed,
    /// No server connection could be made.
    LoginFailed(Rc<LoginFailure>),
    /// The server refuses a parameter that the client asked for at login.
    Setting(Box<LoginFailure>),
    /// The server connection broke; nothing was said about it yet.
    ServerLost(String),
    /// The server closed the connection and said why.
    ServerSaidGoodbye,
    /// The client broke the protocol.
    Protocol(String),
    /// A transaction over several statements in statement mode.
    TransactionRefused,
}

impl End {
    /// Writes what the client is told, if anything.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let fatal = |sqlstate, message: &str, out: &mut Vec<u8>| {
            error_response(out, &ErrorReport::fatal(sqlstate, message));
        };
        match self {
            Self::Gone | Self::Terminated | Self::Aborted | Self::ServerSaidGoodbye => {}
            Self::Draining | Self::Killed => {
                let message = "terminating connection due to administrator command";
                fatal(SqlState::ADMIN_SHUTDOWN, message, out);
            }
            Self::LoginTimeout(trouble) => {
                let message = "canceling authentication due to timeout";
                write_timeout(message, trouble.as_deref(), out);
            }
            Self::NotificationsMissed => {
                let report = ErrorReport::fatal(
                    SqlState::CONFIGURATION_LIMIT,
                    "terminating connection because notifications for it were lost",
                );
                let hint =
                    "When many come, take them more often, or raise postgres.notification_queue.";
                error_response(out, &report.with_hint(hint));
            }
            Self::IdleTimeout => {
                let message = "terminating connection due to idle-session timeout";
                fatal(SqlState::IDLE_SESSION_TIMEOUT, message, out);
            }
            Self::IdleInTransaction => {
                let message = "terminating connection due to idle-in-transaction timeout";
                fatal(SqlState::IDLE_IN_TRANSACTION_TIMEOUT, message, out);
            }
            Self::QueryTimeout => {
                let message = "terminating connection due to query timeout";
                fatal(SqlState::QUERY_CANCELED, message, out);
            }
            Self::TransactionTimeout => {
                let message = "terminating connection due to transaction timeout";
                fatal(SqlState::TRANSACTION_TIMEOUT, message, out);
            }
            Self::WaitTimeout(trouble) => {
                let message = "no server connection became free in time";
                write_timeout(message, trouble.as_deref(), out);
            }
            Self::TooManyWaiting(limit) => {
                let message = format!("{limit} clients wait for a server connection already");
                fatal(SqlState::TOO_MANY_CONNECTIONS, &message, out);
            }
            Self::Removed => {
                let message = "this database is no longer served; connect again";
                fatal(SqlState::ADMIN_SHUTDOWN, message, out);
            }
            Self::LoginFailed(failure) => write_failure(failure, out),
            Self::Setting(failure) => write_failure(failure, out),
            Self::ServerLost(why) => {
                let report = ErrorReport::fatal(
                    SqlState::CONNECTION_FAILURE,
                    "the server connection was lost",
                );
                error_response(out, &report.with_detail(why));
            }
            Self::Protocol(what) => fatal(SqlState::PROTOCOL_VIOLATION, what, out),
            Self::TransactionRefused => {
                let message =
                    "transactions over several statements are not possible in statement mode";
                fatal(SqlState::FEATURE_NOT_SUPPORTED, message, out);
            }
        }
    }
}

/// What is told of a login that failed, beside something else.
pub(super) fn detail_of(trouble: &LoginFailure) -> String {
    format!("The last login at the server failed: {trouble}")
}

fn write_timeout(message: &str, trouble: Option<&LoginFailure>, out: &mut Vec<u8>) {
    let detail = trouble.map(detail_of);
    let report = ErrorReport::fatal(SqlState::QUERY_CANCELED, message);
    error_response(out, &ErrorReport { detail: detail.as_deref(), ..report });
}

fn write_failure(failure: &LoginFailure, out: &mut Vec<u8>) {
    let report = ErrorReport {
        detail: failure.detail.as_deref(),
        hint: failure.hint.as_deref(),
        ..ErrorReport::fatal(failure.sqlstate, &failure.message)
    };
    error_response(out, &report);
}

impl Client {
    /// Sends what the client is still owed, tells it why, and closes.
    pub(super) async fn part(&mut self, end: End) {
        if let End::WaitTimeout(_) = end {
            self.local.cell().wait_timeouts.increment();
        }
        tracing::debug!(pool = %self.local.name(), reason = ?end, "a client connection ends");
        let silent = matches!(end, End::Gone | End::Terminated | End::Aborted);
        if silent {
            self.stream.finish();
            return;
        }
        let mut last = Vec::new();
        if !self.down.inside {
            end.write(&mut last);
        }
        let owed = std::mem::take(&mut self.down.passage).into_owed();
        self.local.cell().sent_bytes.add((owed.len() + last.len()) as u64);
        say_goodbye(&self.stream, &owed, &last).await;
    }
}

/// Sends the last bytes, bounded in time, and closes the sending side behind them.
pub(super) async fn say_goodbye(stream: &Transport, owed: &[u8], last: &[u8]) {
    let writing = stream.write_both(owed, last);
    if let Ok(Ok(())) = bs9_net::time::timeout(FAREWELL_LIMIT, writing).await {
        let _peer_may_be_gone = stream.shutdown_write();
    }
}
