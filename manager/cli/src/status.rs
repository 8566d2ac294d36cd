//! `bs9 status`: what is going on, from the manager or else the data plane.

use std::path::{Path, PathBuf};

use bs9_api::{
    ClientError, DataPlaneClient, ManagerClient, Process,
    socket::find,
    types::{
        DataPlaneStatus, DataPlaneView, HistoryStatus, ManagerStatus, SCHEMA, Services, StoreStatus,
    },
};
use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

mod show;

use crate::{
    cli::Global,
    exit::{Exit, Failure},
    interval::{self, Interval},
    runtime, service, terminal,
};

pub(crate) use show::{clusters as clusters_table, conditions, pools as pools_table, standing};

const EXAMPLES: &str = "\
Examples:
  bs9 status                            asks the manager, else the data plane
  bs9 status --watch                    anew every 2 s; --watch=500ms
  bs9 status api                        one service, with all of its instances
  bs9 status --json                     for programs
  bs9 status --socket ./dataplane.sock  one in particular, whichever of the two it is";

/// What is shown, and how often.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Show these services closely: names, patterns with `*`, or `all`.
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
    /// Show it anew every so often.
    #[arg(long, short, value_name = "INTERVAL", num_args = 0..=1, require_equals = true, default_missing_value = "2s")]
    watch: Option<Interval>,
}

pub(crate) fn run(arguments: Arguments, global: &Global) -> Result<(), Failure> {
    runtime::block_on(async {
        let show = async || once(&arguments.services, global).await;
        interval::show(arguments.watch, global, show).await
    })
}

async fn once(services: &[String], global: &Global) -> Result<(), Failure> {
    match services {
        [] => print(&ask(global.socket.as_deref()).await?, global),
        services => service::list::closely(services, global).await,
    }
}

fn print(status: &Status, global: &Global) -> Result<(), Failure> {
    if global.json { terminal::json(status) } else { show::status(status) }
}

/// The answer, in the same shape whoever gave it.
#[derive(Debug, Serialize)]
pub(crate) struct Status {
    /// Version of this shape.
    schema: u32,
    /// `manager` or `data_plane`.
    answered_by: &'static str,
    /// The socket it was asked on.
    socket: PathBuf,
    /// Absent when the data plane answered.
    manager: Option<ManagerSummary>,
    /// The data plane, as the one who answered sees it.
    data_plane: DataPlaneView,
    /// What systemd keeps running for the manager; absent when the data plane answered.
    services: Option<Services>,
}

/// The manager itself.
#[derive(Debug, Serialize)]
struct ManagerSummary {
    version: String,
    pid: u32,
    started_at: Timestamp,
    history: HistoryStatus,
    store: StoreStatus,
}

impl Status {
    fn of_manager(socket: PathBuf, status: ManagerStatus, services: Option<Services>) -> Self {
        let ManagerStatus { version, pid, started_at, data_plane, history, store, .. } = status;
        let manager = Some(ManagerSummary { version, pid, started_at, history, store });
        Self { schema: SCHEMA, answered_by: "manager", socket, manager, data_plane, services }
    }

    fn of_data_plane(socket: PathBuf, status: DataPlaneStatus) -> Self {
        let data_plane = DataPlaneView {
            reachable: true,
            since: status.started_at,
            reason: None,
            seen_at: Some(Timestamp::now()),
            status: Some(status),
            rates: None,
        };
        Self {
            schema: SCHEMA,
            answered_by: "data_plane",
            socket,
            manager: None,
            data_plane,
            services: None,
        }
    }
}

/// Asks whoever there is.
async fn ask(socket: Option<&Path>) -> Result<Status, Failure> {
    if let Some(path) = socket {
        return ask_either(path).await.map_err(Failure::from);
    }
    let manager = find(Process::Manager, None);
    let first = match ask_manager(&manager).await {
        Ok(status) => return Ok(status),
        Err(error) => error,
    };
    let data_plane = find(Process::DataPlane, None);
    match DataPlaneClient::unix(&data_plane).status().await {
        Ok(status) => Ok(Status::of_data_plane(data_plane, status)),
        Err(second) => Err(nobody(&first, &second)),
    }
}

/// Asks a manager. One that cannot tell of services, because of its version or of
/// systemd, still tells the rest.
async fn ask_manager(path: &Path) -> Result<Status, ClientError> {
    let client = ManagerClient::unix(path);
    let status = client.status().await?;
    let services = client.services().await.ok();
    Ok(Status::of_manager(path.to_owned(), status, services))
}

/// Asks the one behind `path`, a manager or a data plane.
async fn ask_either(path: &Path) -> Result<Status, ClientError> {
    match ask_manager(path).await {
        Ok(status) => Ok(status),
        // The other kind: its answer has other fields.
        Err(ClientError::Protocol { .. }) => {
            let status = DataPlaneClient::unix(path).status().await?;
            Ok(Status::of_data_plane(path.to_owned(), status))
        }
        Err(error) => Err(error),
    }
}

fn nobody(manager: &ClientError, data_plane: &ClientError) -> Failure {
    let denied = |error: &ClientError| matches!(error, ClientError::Denied { .. });
    let exit = if denied(manager) || denied(data_plane) { Exit::Permission } else { Exit::Network };
    Failure::new(exit, format!("nobody answers\n  manager: {manager}\n  data plane: {data_plane}")).hint(
        "start a data plane with `bs9 serve --config FILE`, try `bs9 quickstart`, or name an admin socket with --socket PATH",
    )
}
