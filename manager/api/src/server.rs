//! The admin server: where the API is answered, and who gets in.
//!
//! [`AdminServer::bind`] takes the addresses (and fails early, before a runtime
//! exists); [`AdminServer::serve`] answers until told to stop. Routers come from
//! the endpoint table: [`data_plane_router`](crate::endpoints::data_plane_router)
//! and [`manager_router`](crate::endpoints::manager_router).

use std::{
    io,
    net::{SocketAddr, TcpListener},
    os::unix::net::UnixListener,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use axum::Router;
use bs9_config::{Admin, AdminPeer, AdminToken, Identity, Process, RateLimit, default_socket};
use tokio::sync::watch;

mod access;
mod browser;
mod caller;
mod connection;
mod feed;
mod rate;
pub(crate) mod route;
mod strict;
mod tls;
mod unix;
mod witness;

pub use access::{Keyring, KnownToken};
pub use browser::PAGE_FIELD;
pub use caller::Caller;
pub use feed::EventFeed;
pub use witness::{Asked, Attempt, Outcome, Pending, Witness};

use access::Guard;
use browser::Origins;
use rate::Limiter;
use tls::Sealing;
use unix::{BoundSocket, Visitors};

/// Connections served at once on the Unix socket, and as many on TCP; the next
/// ones wait in the accept queue.
pub const CONNECTION_LIMIT: usize = 256;
/// Bytes of a request body.
pub const BODY_LIMIT_BYTES: usize = 1024 * 1024;
/// Bytes of a request head.
pub const HEAD_LIMIT_BYTES: usize = 32 * 1024;
/// From the opening of a connection, or the end of an answer, to the end of the
/// next request head.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(15);
/// From the end of a request's head to the end of its body.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(15);
/// A connection older than this is closed after the call it is in.
pub const CONNECTION_AGE_LIMIT: Duration = Duration::from_secs(300);
/// How long a connection that is to close may still take for the call it is in.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// Where the admin API is to be answered, and to whom.
#[derive(Debug, Clone, Default)]
pub struct AdminAddress {
    /// The Unix socket. Its folder is made when it is missing.
    pub socket: PathBuf,
    /// The optional TCP address.
    pub listen: Option<SocketAddr>,
    /// TLS on it.
    pub tls: Option<Identity>,
    /// Who may do what over TCP.
    pub tokens: Vec<AdminToken>,
    /// Who may use the Unix socket besides root and the own user. With any, the
    /// socket's mode lets everybody connect, and credentials decide.
    pub peers: Vec<AdminPeer>,
    /// Where pages in a browser may come from besides this server itself.
    pub origins: Vec<Arc<str>>,
    /// How often one address may call over TCP.
    pub rate_limit: RateLimit,
}

impl AdminAddress {
    /// As the configuration says, else the default place of `process`.
    pub fn of(admin: &Admin, process: Process) -> Self {
        Self {
            socket: admin.socket.clone().unwrap_or_else(|| default_socket(process)),
            listen: admin.listen,
            tls: admin.tls.clone(),
            tokens: admin.tokens.clone(),
            peers: admin.peers.clone(),
            origins: admin.origins.clone(),
            rate_limit: admin.rate_limit,
        }
    }
}

/// Sockets that the service manager listens on already (`sd_listen_fds(3)`).
#[derive(Debug, Default)]
pub struct HandedOver {
    /// At [`AdminAddress::socket`].
    pub socket: Option<UnixListener>,
    /// At [`AdminAddress::listen`].
    pub listen: Option<TcpListener>,
}

/// Why the admin API cannot be answered where it should be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// Another process answers on the socket.
    #[error("{} is in use by a running process; stop it or choose another socket", path.display())]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// Something that is not a socket stands where the socket should be.
    #[error("{} exists and is not a socket; move it away or choose another socket", path.display())]
    NotASocket {
        /// What is in the way.
        path: PathBuf,
    },
    /// The socket's folder cannot be made or opened.
    #[error("cannot prepare the folder {} of the admin socket", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// The Unix socket cannot be bound.
    #[error("cannot listen on the admin socket {}", path.display())]
    Unix {
        /// The socket.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// The certificate cannot be served.
    #[error("the certificate of the admin address cannot be served")]
    Tls(#[source] io::Error),
    /// The TCP address cannot be bound.
    #[error("cannot listen on the admin address {address}")]
    Tcp {
        /// The address.
        address: SocketAddr,
        /// The reason.
        source: io::Error,
    },
}

/// A bound admin API that nobody answers yet. Dropping it removes the socket.
#[derive(Debug)]
pub struct AdminServer {
    unix: BoundSocket,
    tcp: Option<TcpListener>,
    tls: Option<Sealing>,
    guard: Guard,
}

impl AdminServer {
    /// Takes the addresses. Callers can connect from here on and are answered
    /// once [`serve`](Self::serve) runs. Needs no runtime.
    ///
    /// # Errors
    ///
    /// [`BindError`]; nothing stays behind.
    pub fn bind(address: AdminAddress) -> Result<Self, BindError> {
        Self::bind_with(address, HandedOver::default())
    }

    /// The same, where what was handed over is not bound again; nor is its file removed
    /// at the end.
    ///
    /// # Errors
    ///
    /// [`BindError`]; nothing stays behind.
    pub fn bind_with(address: AdminAddress, handed: HandedOver) -> Result<Self, BindError> {
        let tls = address.tls.as_ref().map(Sealing::new).transpose().map_err(BindError::Tls)?;
        let visitors = if address.peers.is_empty() { Visitors::OwnUser } else { Visitors::Listed };
        let unix = match handed.socket {
            Some(listener) => BoundSocket::adopt(listener, &address.socket, visitors)?,
            None => BoundSocket::bind(&address.socket, visitors)?,
        };
        let tcp = address
            .listen
            .map(|listen| {
                adopt_or_bind(listen, handed.listen)
                    .map_err(|source| BindError::Tcp { address: listen, source })
            })
            .transpose()?;
        let guard = Guard {
            tokens: address.tokens,
            keyring: None,
            peers: address.peers,
            origins: Origins::new(&address.origins),
            limiter: Limiter::new(address.rate_limit),
            witness: None,
        };
        Ok(Self { unix, tcp, tls, guard })
    }

    /// With tokens beside those of the configuration.
    #[must_use]
    pub fn with_keyring(mut self, keyring: Arc<dyn Keyring>) -> Self {
        self.guard.keyring = Some(keyring);
        self
    }

    /// With a record of every change.
    #[must_use]
    pub fn with_witness(mut self, witness: Arc<dyn Witness>) -> Self {
        self.guard.witness = Some(witness);
        self
    }

    /// The Unix socket.
    pub fn socket(&self) -> &Path {
        self.unix.path()
    }

    /// The TCP address, port 0 resolved.
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        self.tcp.as_ref()?.local_addr().ok()
    }

    /// Answers by `router` until `shutdown` completes; calls under way then have
    /// [`CLOSE_TIMEOUT`] to finish. The socket is removed at the end, if it is
    /// still this server's.
    ///
    /// # Errors
    ///
    /// The runtime does not take the listening sockets. Whatever goes wrong with
    /// a connection ends that connection only.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime with I/O and time.
    pub async fn serve(self, router: Router, shutdown: impl Future<Output = ()>) -> io::Result<()> {
        let (unix_listener, socket_file) = self.unix.into_parts();
        let unix = tokio::net::UnixListener::from_std(unix_listener)?;
        let tcp = self.tcp.map(tokio::net::TcpListener::from_std).transpose()?;
        let (tls, guard) = (self.tls, Arc::new(self.guard));

        let (stop, stopped) = watch::channel(false);
        let unix_loop =
            connection::accept_all(unix, Arc::clone(&guard), router.clone(), stopped.clone());
        let tcp_loop = async {
            if let Some(listener) = tcp {
                connection::accept_all((listener, tls), guard, router, stopped).await;
            }
        };
        tokio::join!(unix_loop, tcp_loop, async {
            shutdown.await;
            // The loops hold receivers; if they are gone there is nothing to stop.
            stop.send_replace(true);
        });
        drop(socket_file);
        Ok(())
    }
}

fn adopt_or_bind(address: SocketAddr, handed: Option<TcpListener>) -> io::Result<TcpListener> {
    let listener = match handed {
        Some(listener) => listener,
        None => TcpListener::bind(address)?,
    };
    listener.set_nonblocking(true)?;
    Ok(listener)
}
