//! The data plane, put together: engines below, admin API above, and the
//! control thread that owns them.
//!
//! [`Owner`] is the one task that may touch the [`bs9_net::Host`]; everybody else
//! sends it a [`Command`]. What the admin API and `/metrics` read is published in
//! a [`View`], so that they answer whatever the owner is busy with.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use bs9_api::{AdminAddress, AdminServer, Process, endpoints::data_plane_router};
use bs9_config::Config;
use bs9_net::{Host, Inherited, PrepareError, StartError};
use tokio::{
    runtime::{Builder, LocalOptions},
    sync::{mpsc, oneshot},
};

use crate::{
    exit::{Exit, Failure},
    limits,
    runtime::Stop,
    systemd,
};

mod api;
mod change;
mod cluster_set;
mod command;
mod endpoint_change;
mod engines;
mod fault;
mod generation;
mod metrics;
mod owner;
mod renewal;
mod reopening;
mod summary;
mod view;
mod watch;

use api::Api;
use engines::Engines;
use owner::{Ending, Owner};
use view::{View, ViewCell};
use watch::{FileWatch, Watched};

/// Commands that wait for the owner.
const COMMAND_QUEUE: usize = 64;

/// What the data plane starts with.
pub(crate) struct Launch {
    /// The configuration.
    pub(crate) config: Config,
    /// Where it came from.
    pub(crate) origin: Origin,
    /// The admin socket, instead of the configuration's.
    pub(crate) socket: Option<PathBuf>,
}

/// Where a configuration came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// This file or folder, which can be read again.
    Files(PathBuf),
    /// The command line, which cannot.
    Flags,
}

/// What is known once the data plane serves.
#[derive(Debug)]
pub(crate) struct Ready {
    /// The admin socket.
    pub(crate) socket: PathBuf,
    /// Every address that is listened on, by listener, port 0 resolved.
    pub(crate) addresses: Vec<(String, String)>,
}

/// Serves until a signal or the admin API says to stop, and what was open is
/// finished or cut off. `when_ready` runs beside it on the control thread.
///
/// # Errors
/// An address cannot be had, an engine refuses the configuration, or the end was
/// not orderly (a second signal).
pub(crate) fn run(
    launch: Launch,
    when_ready: impl AsyncFnOnce(Ready) -> Result<(), Failure> + 'static,
) -> Result<(), Failure> {
    // Before anything else is opened.
    let inherited = Inherited::from_environment();
    limits::raise_open_files();
    let runtime =
        Builder::new_current_thread()
            .enable_all()
            .build_local(LocalOptions::default())
            .map_err(|error| Failure::io("cannot start the control thread's runtime", error))?;
    let ending = runtime.block_on(serve(launch, inherited, when_ready));
    // A blocking read of a file must not hold the process up.
    runtime.shutdown_background();
    ending
}

async fn serve(
    launch: Launch,
    mut inherited: Inherited,
    when_ready: impl AsyncFnOnce(Ready) -> Result<(), Failure> + 'static,
) -> Result<(), Failure> {
    let Launch { config, origin, socket } = launch;
    let stop = Stop::new()?;
    let mut address = AdminAddress::of(&config.admin, Process::DataPlane);
    if let Some(socket) = socket {
        address.socket = socket;
    }
    let handed = systemd::admin_sockets(&mut inherited, &address);
    let admin = AdminServer::bind_with(address, handed)?;
    let (socket, tcp) = (admin.socket().to_owned(), admin.tcp_address());
    let files = match &origin {
        Origin::Files(path) => Some(FileWatch::start(Watched::Configuration(path.clone()))),
        Origin::Flags => None,
    };

    let config = Arc::new(config);
    let engines = Arc::new(Engines::new());
    reopening::on_signal(&engines)?;
    let host =
        Host::start_with(Arc::clone(&config), engines.all(), inherited).map_err(not_started)?;
    let view = Arc::new(ViewCell::from_pointee(View::first(&host, &config)));
    log_addresses(&view.load(), &socket, tcp);

    let (commands, orders) = mpsc::channel(COMMAND_QUEUE);
    engines.pool().on_reload(reload_by(commands.downgrade()));
    let api = Arc::new(Api::new(commands, Arc::clone(&view), Arc::clone(&engines)));
    let (close, closed) = oneshot::channel::<()>();
    let answering = tokio::task::spawn_local(admin.serve(data_plane_router(api), async {
        // A dropped sender means the same.
        let _ = closed.await;
    }));
    let ready = Ready { socket, addresses: view.load().addresses() };
    let announced = tokio::task::spawn_local(async move { when_ready(ready).await });

    let owner = Owner::new(host, config, origin, view, engines);
    let ending = owner.run(orders, stop, files, announced).await;
    let _already_closed = close.send(());
    match answering.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "the admin server ended badly"),
        Err(error) => tracing::warn!(%error, "the admin server did not end"),
    }
    match ending {
        Ending::Drained => Ok(()),
        Ending::CutOff => {
            Err(Failure::new(Exit::Error, "a second signal cut off what was still open"))
        }
        Ending::NotReady(failure) => Err(failure),
    }
}

/// Lets the pool's console reload. Holds nothing that would keep the owner from ending.
fn reload_by(commands: mpsc::WeakSender<command::Command>) -> bs9_pool::Reload {
    Box::new(move || {
        let commands = commands.clone();
        Box::pin(async move {
            let ended = || "the data plane is about to end".to_owned();
            let commands = commands.upgrade().ok_or_else(ended)?;
            let (reply, answer) = oneshot::channel();
            commands.send(command::Command::Reload(reply)).await.map_err(|_| ended())?;
            let outcome = answer.await.map_err(|_| ended())?;
            outcome.map(drop).map_err(|error| error.to_string())
        })
    })
}

fn log_addresses(view: &View, socket: &std::path::Path, tcp: Option<SocketAddr>) {
    for (listener, address) in view.addresses() {
        tracing::info!(listener, address, "listening");
    }
    let tcp = tcp.map(|address| address.to_string());
    tracing::info!(socket = %socket.display(), tcp, "answering the admin API");
}

fn not_started(error: StartError) -> Failure {
    let exit = match &error {
        StartError::Prepare(PrepareError::Bind(bind)) => Exit::of_io(&bind.source),
        StartError::Prepare(PrepareError::Compile(_) | PrepareError::NoEngine { .. }) => {
            Exit::Config
        }
        StartError::Shard(_) => Exit::System,
    };
    let failure = Failure::new(exit, error.to_string());
    match error {
        StartError::Prepare(PrepareError::Bind(bind)) => failure.because(bind.source),
        StartError::Shard(cause) => failure.because(cause),
        StartError::Prepare(PrepareError::Compile(_) | PrepareError::NoEngine { .. }) => failure,
    }
}
