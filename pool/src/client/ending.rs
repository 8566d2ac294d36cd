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
    Setting(Rc<LoginFailure>),
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
    /// The SQLSTATE that the client is told; `None`: it is told nothing.
    pub(super) fn sqlstate(&self) -> Option<SqlState> {
        use SqlState as S;
        Some(match self {
            Self::Gone | Self::Terminated | Self::Aborted | Self::ServerSaidGoodbye => return None,
            Self::Draining | Self::Killed | Self::Removed => S::ADMIN_SHUTDOWN,
            Self::LoginTimeout(_) | Self::WaitTimeout(_) | Self::QueryTimeout => S::QUERY_CANCELED,
            Self::NotificationsMissed => S::CONFIGURATION_LIMIT,
            Self::IdleTimeout => S::IDLE_SESSION_TIMEOUT,
            Self::IdleInTransaction => S::IDLE_IN_TRANSACTION_TIMEOUT,
            Self::TransactionTimeout => S::TRANSACTION_TIMEOUT,
            Self::TooManyWaiting(_) => S::TOO_MANY_CONNECTIONS,
            Self::LoginFailed(failure) | Self::Setting(failure) => failure.sqlstate,
            Self::ServerLost(_) => S::CONNECTION_FAILURE,
            Self::Protocol(_) => S::PROTOCOL_VIOLATION,
            Self::TransactionRefused => S::FEATURE_NOT_SUPPORTED,
        })
    }

    /// Writes what the client is told, if anything.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let Some(sqlstate) = self.sqlstate() else { return };
        let mut tell = |message: &str, detail: Option<&str>, hint: Option<&str>| {
            let report = ErrorReport { detail, hint, ..ErrorReport::fatal(sqlstate, message) };
            error_response(out, &report);
        };
        let mut say = |message: &str| tell(message, None, None);
        match self {
            // They have no SQLSTATE.
            Self::Gone | Self::Terminated | Self::Aborted | Self::ServerSaidGoodbye => {}
            Self::Draining | Self::Killed => {
                say("terminating connection due to administrator command");
            }
            Self::LoginTimeout(trouble) => {
                let detail = trouble.as_deref().map(detail_of);
                tell("canceling authentication due to timeout", detail.as_deref(), None);
            }
            Self::WaitTimeout(trouble) => {
                let detail = trouble.as_deref().map(detail_of);
                tell("no server connection became free in time", detail.as_deref(), None);
            }
            Self::NotificationsMissed => {
                let message = "terminating connection because notifications for it were lost";
                let hint =
                    "When many come, take them more often, or raise postgres.notification_queue.";
                tell(message, None, Some(hint));
            }
            Self::IdleTimeout => say("terminating connection due to idle-session timeout"),
            Self::IdleInTransaction => {
                say("terminating connection due to idle-in-transaction timeout");
            }
            Self::QueryTimeout => say("terminating connection due to query timeout"),
            Self::TransactionTimeout => say("terminating connection due to transaction timeout"),
            Self::TooManyWaiting(limit) => {
                say(&format!("{limit} clients wait for a server connection already"));
            }
            Self::Removed => say("this database is no longer served; connect again"),
            Self::LoginFailed(failure) | Self::Setting(failure) => {
                tell(&failure.message, failure.detail.as_deref(), failure.hint.as_deref());
            }
            Self::ServerLost(why) => tell("the server connection was lost", Some(why), None),
            Self::Protocol(what) => say(what),
            Self::TransactionRefused => {
                say("transactions over several statements are not possible in statement mode");
            }
        }
    }
}

/// What is told of a login that failed, beside something else.
pub(super) fn detail_of(trouble: &LoginFailure) -> String {
    format!("The last login at the server failed: {trouble}")
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
