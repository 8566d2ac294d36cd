//! The manager as a process: what it binds, what it runs.

use std::{
    io,
    path::Path,
    sync::{Arc, Mutex},
};

use bs9_api::{
    AdminAddress, AdminServer, BindError, Client, DataPlaneClient, endpoints::manager_router,
};
use bs9_config::{ManagerConfig, Process, default_socket};
use jiff::Timestamp;

use crate::{answers::Answers, memory::Memory, watch::Watch};

/// A manager that has bound its addresses and does not run yet.
#[derive(Debug)]
pub struct Manager {
    server: AdminServer,
    watch: Watch,
    answers: Answers,
}

/// Why the manager cannot run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManagerError {
    /// Its admin API cannot be answered where it should be.
    #[error("the manager's admin API cannot be answered")]
    Bind(#[from] BindError),
    /// The runtime does not take its sockets.
    #[error("the manager's sockets cannot be served")]
    Serve(#[source] io::Error),
}

impl Manager {
    /// Takes the addresses of the admin API. Needs no runtime; callers are
    /// answered once [`run`](Self::run) does.
    ///
    /// # Errors
    ///
    /// [`ManagerError::Bind`], such as when another manager runs.
    pub fn bind(config: &ManagerConfig) -> Result<Self, ManagerError> {
        let server = AdminServer::bind(AdminAddress::of(&config.admin, Process::Manager))?;
        let link = &config.dataplane;
        let socket = link.socket.clone().unwrap_or_else(|| default_socket(Process::DataPlane));
        let client = DataPlaneClient::new(Client::unix(socket).with_timeout(link.timeout));
        let memory = Arc::new(Mutex::new(Memory::new(
            Timestamp::now(),
            &config.history,
            link.poll_interval,
        )));
        Ok(Self {
            server,
            watch: Watch::new(client, link.poll_interval, Arc::clone(&memory)),
            answers: Answers::new(memory),
        })
    }

    /// The socket of its admin API.
    pub fn socket(&self) -> &Path {
        self.server.socket()
    }

    /// Watches and answers until `shutdown` completes. A current-thread runtime
    /// with I/O and time will do.
    ///
    /// # Errors
    ///
    /// [`ManagerError::Serve`]. A data plane that is gone is not an error.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), ManagerError> {
        tracing::info!(socket = %self.socket().display(), "the manager runs");
        let router = manager_router(Arc::new(self.answers));
        tokio::select! {
            result = self.server.serve(router, shutdown) => result.map_err(ManagerError::Serve),
            never = self.watch.run() => match never {},
        }
    }
}
