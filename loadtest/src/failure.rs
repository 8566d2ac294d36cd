//! What can go wrong with a request, told apart.

use std::io;

use rustix::io::Errno;
use serde::Serialize;

/// The kinds errors are counted by. The names are part of the report's schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// No way to the address: no route, or a firewall says so.
    Unreachable,
    /// Nobody listens there.
    Refused,
    /// Nobody answered in time, or the login took too long.
    ConnectTimeout,
    /// This machine has no more descriptors, local ports or memory for sockets.
    LocalLimit,
    /// TLS could not be agreed on, or broke.
    Tls,
    /// The server's certificate is not to be trusted.
    Certificate,
    /// The server refused the login.
    Login,
    /// The response was not complete in time.
    RequestTimeout,
    /// The connection was reset.
    Reset,
    /// The server closed the connection before the response was complete.
    Closed,
    /// HTTP/2: the server reset the stream of the request.
    StreamReset,
    /// HTTP/2: the server went away without answering the request.
    GoAway,
    /// The response breaks the protocol.
    Protocol,
    /// The response has another status than expected.
    Status,
    /// A header field of the response is another one than expected, or missing.
    Header,
    /// The response has another body than expected.
    Body,
    /// PostgreSQL answered the query with an error.
    Query,
    /// The next statement of a script could not be made.
    Script,
    /// Open loop: due, but no connection was free to send it until the end.
    Unsent,
    /// Anything else the operating system reports.
    Other,
}

/// One thing that went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// No way to the address.
    #[error("no way to the address: {0}")]
    Unreachable(io::Error),
    /// Nobody listens there.
    #[error("connection refused: nobody listens there")]
    Refused,
    /// The connection was not ready in time.
    #[error("not connected (and logged in) in time")]
    ConnectTimeout,
    /// This machine is at a limit of its own.
    #[error("this machine has no more sockets to give: {0}")]
    LocalLimit(io::Error),
    /// TLS could not be agreed on, or broke.
    #[error("TLS failed: {0}")]
    Tls(String),
    /// The certificate is not to be trusted.
    #[error("certificate refused: {0}")]
    Certificate(String),
    /// The server refused the login, or asked for one that is not spoken here.
    #[error("login failed: {0}")]
    Login(String),
    /// The response was not complete in time.
    #[error("no complete response in time")]
    RequestTimeout,
    /// The connection was reset.
    #[error("connection reset by the server")]
    Reset,
    /// The server closed the connection too early.
    #[error("connection closed before the response was complete")]
    Closed,
    /// The server reset the stream.
    #[error("stream reset by the server: {0}")]
    StreamReset(&'static str),
    /// The server went away.
    #[error("the server went away before the request was answered: {0}")]
    GoAway(&'static str),
    /// The response breaks the protocol.
    #[error("protocol violated: {0}")]
    Protocol(&'static str),
    /// An unexpected status.
    #[error("unexpected status {0}")]
    Status(u16),
    /// An unexpected header field, or none.
    #[error("the header `{name}` is not as expected")]
    Header {
        /// Its name.
        name: String,
    },
    /// An unexpected body.
    #[error("unexpected body: {0}")]
    Body(&'static str),
    /// The query failed.
    #[error("query failed: {0}")]
    Query(String),
    /// A statement that could not be made.
    #[error("the script cannot go on: {0}")]
    Script(String),
    /// Never sent.
    #[error("due, but no connection was free to send it")]
    Unsent,
    /// Anything else.
    #[error("{0}")]
    Other(io::Error),
}

/// How often one kind of error occurred.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FailureCount {
    /// The kind.
    pub kind: FailureKind,
    /// How often.
    pub count: u64,
    /// The first one, in words.
    pub example: String,
}

/// How many kinds there are.
pub(crate) const FAILURE_KINDS: usize = FailureKind::ALL.len();

/// How often each kind occurred, in the order of [`FailureKind::ALL`].
pub(crate) type FailureCounts = [u64; FAILURE_KINDS];

/// Errors counted by kind, with the first of each in words.
#[derive(Debug, Clone, Default)]
pub(crate) struct FailureLog {
    entries: [Entry; FAILURE_KINDS],
}

#[derive(Debug, Clone, Default)]
struct Entry {
    count: u64,
    example: String,
}

// === impl FailureKind ===

impl FailureKind {
    /// Every kind, in the order of a request's life.
    pub const ALL: [Self; 20] = [
        Self::Unreachable,
        Self::Refused,
        Self::ConnectTimeout,
        Self::LocalLimit,
        Self::Tls,
        Self::Certificate,
        Self::Login,
        Self::RequestTimeout,
        Self::Reset,
        Self::Closed,
        Self::StreamReset,
        Self::GoAway,
        Self::Protocol,
        Self::Status,
        Self::Header,
        Self::Body,
        Self::Query,
        Self::Script,
        Self::Unsent,
        Self::Other,
    ];

    /// In a few words, for people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Refused => "connection refused",
            Self::ConnectTimeout => "connect timeout",
            Self::LocalLimit => "limit of this machine",
            Self::Tls => "TLS failed",
            Self::Certificate => "certificate refused",
            Self::Login => "login refused",
            Self::RequestTimeout => "request timeout",
            Self::Reset => "connection reset",
            Self::Closed => "closed too early",
            Self::StreamReset => "stream reset",
            Self::GoAway => "server went away",
            Self::Protocol => "protocol violated",
            Self::Status => "wrong status",
            Self::Header => "wrong header",
            Self::Body => "wrong body",
            Self::Query => "query failed",
            Self::Script => "script failed",
            Self::Unsent => "never sent",
            Self::Other => "other",
        }
    }
}

// === impl Failure ===

impl Failure {
    /// Which kind it counts as.
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::Unreachable(_) => FailureKind::Unreachable,
            Self::Refused => FailureKind::Refused,
            Self::ConnectTimeout => FailureKind::ConnectTimeout,
            Self::LocalLimit(_) => FailureKind::LocalLimit,
            Self::Tls(_) => FailureKind::Tls,
            Self::Certificate(_) => FailureKind::Certificate,
            Self::Login(_) => FailureKind::Login,
            Self::RequestTimeout => FailureKind::RequestTimeout,
            Self::Reset => FailureKind::Reset,
            Self::Closed => FailureKind::Closed,
            Self::StreamReset(_) => FailureKind::StreamReset,
            Self::GoAway(_) => FailureKind::GoAway,
            Self::Protocol(_) => FailureKind::Protocol,
            Self::Status(_) => FailureKind::Status,
            Self::Header { .. } => FailureKind::Header,
            Self::Body(_) => FailureKind::Body,
            Self::Query(_) => FailureKind::Query,
            Self::Script(_) => FailureKind::Script,
            Self::Unsent => FailureKind::Unsent,
            Self::Other(_) => FailureKind::Other,
        }
    }

    /// What an error while connecting means.
    pub(crate) fn of_connect(error: io::Error) -> Self {
        match Errno::from_io_error(&error) {
            Some(Errno::CONNREFUSED) => Self::Refused,
            Some(
                Errno::NETUNREACH
                | Errno::HOSTUNREACH
                | Errno::NETDOWN
                | Errno::HOSTDOWN
                | Errno::ACCESS
                | Errno::PERM
                | Errno::AFNOSUPPORT,
            ) => Self::Unreachable(error),
            Some(Errno::TIMEDOUT) => Self::ConnectTimeout,
            // Of a blocking connect with a time limit, which is no error of the system.
            None if error.kind() == io::ErrorKind::TimedOut => Self::ConnectTimeout,
            Some(
                Errno::ADDRNOTAVAIL | Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM,
            ) => Self::LocalLimit(error),
            _ => Self::of_transfer(error),
        }
    }

    /// What an error while reading or writing means.
    pub(crate) fn of_transfer(error: io::Error) -> Self {
        match Errno::from_io_error(&error) {
            Some(Errno::CONNRESET | Errno::PIPE | Errno::CONNABORTED) => Self::Reset,
            Some(Errno::NETUNREACH | Errno::HOSTUNREACH) => Self::Unreachable(error),
            // The kernel gave up sending again; the server is gone.
            Some(Errno::TIMEDOUT) => Self::RequestTimeout,
            _ => Self::Other(error),
        }
    }
}

// === impl FailureLog ===

impl FailureLog {
    pub(crate) fn record(&mut self, failure: &Failure) {
        self.record_many(failure, 1);
    }

    pub(crate) fn record_many(&mut self, failure: &Failure, count: u64) {
        let entry = &mut self.entries[failure.kind() as usize];
        if count > 0 && entry.count == 0 {
            entry.example = failure.to_string();
        }
        entry.count += count;
    }

    pub(crate) fn merge(&mut self, other: Self) {
        for (own, other) in self.entries.iter_mut().zip(other.entries) {
            if own.count == 0 {
                own.example = other.example;
            }
            own.count += other.count;
        }
    }

    /// All of them.
    pub(crate) fn total(&self) -> u64 {
        self.entries.iter().map(|entry| entry.count).sum()
    }

    /// Every kind, whether it occurred or not.
    pub(crate) fn totals(&self) -> FailureCounts {
        std::array::from_fn(|kind| self.entries[kind].count)
    }

    /// The kinds that occurred.
    pub(crate) fn counts(&self) -> Vec<FailureCount> {
        FailureKind::ALL
            .into_iter()
            .zip(&self.entries)
            .filter(|(_, entry)| entry.count > 0)
            .map(|(kind, Entry { count, example })| FailureCount {
                kind,
                count: *count,
                example: example.clone(),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_system_have_their_kind() {
        for (errno, connecting, transferring) in [
            (Errno::CONNREFUSED, FailureKind::Refused, FailureKind::Other),
            (Errno::NETUNREACH, FailureKind::Unreachable, FailureKind::Unreachable),
            (Errno::HOSTUNREACH, FailureKind::Unreachable, FailureKind::Unreachable),
            (Errno::TIMEDOUT, FailureKind::ConnectTimeout, FailureKind::RequestTimeout),
            (Errno::ADDRNOTAVAIL, FailureKind::LocalLimit, FailureKind::Other),
            (Errno::MFILE, FailureKind::LocalLimit, FailureKind::Other),
            (Errno::CONNRESET, FailureKind::Reset, FailureKind::Reset),
            (Errno::PIPE, FailureKind::Reset, FailureKind::Reset),
        ] {
            assert_eq!(Failure::of_connect(errno.into()).kind(), connecting, "{errno}");
            assert_eq!(Failure::of_transfer(errno.into()).kind(), transferring, "{errno}");
        }
        let limit = io::Error::from(io::ErrorKind::TimedOut);
        assert_eq!(Failure::of_connect(limit).kind(), FailureKind::ConnectTimeout);
    }

    #[test]
    fn a_log_keeps_the_first_of_a_kind() {
        assert!(FailureKind::ALL.iter().enumerate().all(|(index, &kind)| kind as usize == index));
        let mut log = FailureLog::default();
        log.record_many(&Failure::Unsent, 0);
        assert!(log.counts().is_empty());
        log.record(&Failure::Status(503));
        log.record(&Failure::Status(500));
        let mut other = FailureLog::default();
        other.record(&Failure::Closed);
        other.record(&Failure::Status(404));
        log.merge(other);
        let counts = log.counts();
        let short: Vec<_> = counts.iter().map(|c| (c.kind, c.count, &*c.example)).collect();
        assert_eq!(
            short,
            [
                (FailureKind::Closed, 1, "connection closed before the response was complete"),
                (FailureKind::Status, 3, "unexpected status 503"),
            ]
        );
        assert_eq!(log.total(), 4);
    }
}
