//! The typed client.
//!
//! [`DataPlaneClient`] and [`ManagerClient`] have a method per endpoint; a
//! [`Client`] is how they get there. Every call has a connection of its own: on
//! a Unix socket that costs microseconds, and no call can fail because a kept
//! connection was closed meanwhile.

use std::{fmt, io, net::SocketAddr, path::PathBuf, time::Duration};

use bs9_config::Secret;

mod call;
mod exchange;
mod follow;

pub(crate) use call::Call;

pub use follow::EventFollower;

pub use crate::endpoints::{DataPlaneClient, ManagerClient};
use crate::{endpoints::Answer, types::Problem};

/// Limit of one call, connecting included, unless
/// [`with_timeout`](Client::with_timeout) says otherwise.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of an answer that are read at most.
pub const ANSWER_LIMIT_BYTES: usize = 64 * 1024 * 1024;

/// Where a program answers, and how long to wait for it.
#[derive(Debug, Clone)]
pub struct Client {
    address: ServerAddress,
    timeout: Duration,
}

#[derive(Debug, Clone)]
pub(crate) enum ServerAddress {
    Unix(PathBuf),
    Tcp { address: SocketAddr, token: Option<Secret> },
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => path.display().fmt(f),
            Self::Tcp { address, .. } => address.fmt(f),
        }
    }
}

impl Client {
    /// Over the Unix socket at `path`.
    pub fn unix(path: impl Into<PathBuf>) -> Self {
        Self { address: ServerAddress::Unix(path.into()), timeout: DEFAULT_TIMEOUT }
    }

    /// Over TCP; without a token only metrics and health are answered.
    pub fn tcp(address: SocketAddr, token: Option<Secret>) -> Self {
        Self { address: ServerAddress::Tcp { address, token }, timeout: DEFAULT_TIMEOUT }
    }

    /// With another limit for each call.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    pub(crate) async fn call<T: Answer>(&self, call: Call) -> Result<T, ClientError> {
        let exchange = exchange::exchange(&self.address, call);
        let body = tokio::time::timeout(self.timeout, exchange).await.unwrap_or_else(|_| {
            Err(ClientError::Timeout { address: self.address.to_string(), limit: self.timeout })
        })?;
        T::decode(body).map_err(|error| ClientError::protocol("the answer makes no sense", error))
    }
}

impl Client {
    /// Begins to follow what happens. The limit holds until the answer begins.
    pub(crate) async fn follow(&self, call: Call) -> Result<EventFollower, ClientError> {
        let opening = exchange::open(&self.address, call);
        tokio::time::timeout(self.timeout, opening).await.unwrap_or_else(|_| {
            Err(ClientError::Timeout { address: self.address.to_string(), limit: self.timeout })
        })
    }
}

/// Why a call brought no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Nobody listens there.
    #[error("nothing is running at {address}")]
    NotRunning {
        /// The socket or address.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// The caller may not: 401, 403, or the socket's permissions.
    #[error("not allowed: {message}")]
    Denied {
        /// The server's reason.
        message: String,
    },
    /// No such cluster, endpoint or path.
    #[error("{message}")]
    NotFound {
        /// The server's reason.
        message: String,
    },
    /// Any other refusal.
    #[error("{}", problem.message)]
    Problem {
        /// The HTTP status.
        status: u16,
        /// What the server said.
        problem: Problem,
    },
    /// No answer in time.
    #[error("no answer from {address} within {} s", limit.as_secs_f64())]
    Timeout {
        /// The socket or address.
        address: String,
        /// How long it was waited for.
        limit: Duration,
    },
    /// Whatever answers there does not speak this API, or hung up.
    #[error("{what}")]
    Protocol {
        /// What went wrong.
        what: String,
        /// The reason, when there is one.
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
}

impl ClientError {
    pub(crate) fn protocol(
        what: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Protocol { what: what.into(), source: Some(source.into()) }
    }
}
