//! The manager as a process: what it binds, what it runs.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use bs9_api::{
    AdminAddress, AdminServer, BindError, Client, DataPlaneClient, HandedOver,
    endpoints::manager_router,
};
use bs9_config::{ManagerConfig, Process, ServiceScope, default_socket, default_state_folder};
use jiff::Timestamp;

use crate::{
    answers::Answers,
    memory::Memory,
    service::{Backoff, Observer, Services},
    state::{self, Keeper},
    watch::Watch,
};

/// A manager that has bound its addresses and does not run yet.
#[derive(Debug)]
pub struct Manager {
    server: AdminServer,
    watch: Watch,
    services: Arc<Services>,
    answers: Answers,
    keeper: Keeper,
}

/// Why the manager cannot run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManagerError {
    /// Its admin API cannot be answered where it should be.
    #[error("the manager's admin API cannot be answered")]
    Bind(#[from] BindError),
    /// What has to outlive it cannot be kept.
    #[error("the manager cannot keep its state in {}", folder.display())]
    State {
        /// The folder.
        folder: PathBuf,
        /// The reason.
        source: io::Error,
    },
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
    /// [`ManagerError::Bind`], such as when another manager runs;
    /// [`ManagerError::State`].
    pub fn bind(config: &ManagerConfig) -> Result<Self, ManagerError> {
        Self::bind_with(config, HandedOver::default())
    }

    /// The same, with sockets that the service manager made.
    ///
    /// # Errors
    ///
    /// Those of [`bind`](Self::bind).
    pub fn bind_with(config: &ManagerConfig, handed: HandedOver) -> Result<Self, ManagerError> {
        let address = AdminAddress::of(&config.admin, Process::Manager);
        let server = AdminServer::bind_with(address, handed)?;
        let link = &config.dataplane;
        let socket = link.socket.clone().unwrap_or_else(|| default_socket(Process::DataPlane));
        let client = DataPlaneClient::new(Client::unix(&socket).with_timeout(link.timeout));
        let memory = Arc::new(Mutex::new(Memory::new(
            Timestamp::now(),
            &config.history,
            link.poll_interval,
        )));
        let folder = config.state_folder.clone().unwrap_or_else(default_state_folder);
        // Changes may take longer than a poll of the status.
        let changes = DataPlaneClient::unix(socket);
        let (state, keeper) = state::open(config, &folder, &memory)
            .map_err(|source| ManagerError::State { folder: folder.clone(), source })?;
        let services =
            Services::new(config, folder.join("services"), changes, state.events.clone());
        let server = server
            .with_keyring(Arc::new(state.tokens.clone()))
            .with_witness(Arc::new(state.audit.clone()));
        Ok(Self {
            server,
            watch: Watch::new(
                client,
                link.poll_interval,
                Arc::clone(&memory),
                state.events.clone(),
            ),
            answers: Answers::new(memory, Arc::clone(&services), state),
            services,
            keeper,
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
        tracing::info!(
            socket = %self.socket().display(),
            tcp = self.server.tcp_address().map(|address| address.to_string()),
            "the manager runs"
        );
        let router = manager_router(Arc::new(self.answers));
        let user = Backoff::new(Arc::clone(&self.services), ServiceScope::User);
        let system = Backoff::new(Arc::clone(&self.services), ServiceScope::System);
        let keeping = self.keeper.start().map_err(ManagerError::Serve)?;
        let result = tokio::select! {
            result = self.server.serve(router, shutdown) => result.map_err(ManagerError::Serve),
            never = self.watch.run() => match never {},
            never = Arc::clone(&self.services).tend() => match never {},
            never = Arc::clone(&self.services).watch_sources() => match never {},
            never = Observer::new(Arc::clone(&self.services)).run() => match never {},
            never = user.run() => match never {},
            never = system.run() => match never {},
        };
        keeping.stop();
        result
    }
}
