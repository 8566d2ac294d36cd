//! `bs9 dbpool test`: what a pool is worth, measured.

use std::{net::SocketAddr, path::Path, time::Duration};

use bs9_api::{DataPlaneClient, types::SCHEMA};
use clap::Args;
use comfy_table::Cell;
use rustix::process::Signal;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::{
    Server,
    measure::{self, Connections, Load, Measurement},
};
use crate::{
    child::{self, Child},
    cli::Global,
    exit::{Exit, Failure},
    runtime::{self, Stop},
    terminal::{self, BAD, FAINT, number},
};

/// How long a pool of its own may take to start, and to end.
const PATIENCE: Duration = Duration::from_secs(10);

const EXAMPLES: &str = "\
Examples:
  PGPASSWORD=secret bs9 dbpool test --host db.internal --database app --username app
  bs9 dbpool test --concurrency 50 --iterations 5000 --max-connections 20
  bs9 dbpool test --pool 127.0.0.1:6432             a pool that runs already

Measured are a connection for each query (what an application without a pool does) and kept
connections (a pool inside the application), each directly and through bs9. Without --pool a data
plane is started for the measurement and ended after it.";

/// What is measured.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(flatten)]
    server: Server,
    /// A bs9 pool that runs already, in front of the same server.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pool: Option<SocketAddr>,
    /// Clients at once.
    #[arg(long, default_value_t = 10, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    concurrency: u16,
    /// Queries of each measurement, over all clients.
    #[arg(long, default_value_t = 100, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    iterations: u64,
    /// The query.
    #[arg(long, default_value = "SELECT 1", value_name = "SQL")]
    query: String,
}

/// All measurements.
#[derive(Debug, Serialize)]
struct Results {
    schema: u32,
    server: String,
    pool: String,
    query: String,
    concurrency: u16,
    iterations: u64,
    max_connections: u16,
    measurements: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    path: Route,
    connections: Connections,
    #[serde(flatten)]
    measured: Measurement,
}

/// How the queries travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Route {
    Direct,
    Pooled,
}

pub(super) fn run(arguments: &Arguments, global: &Global) -> Result<(), Failure> {
    let results = runtime::block_on(async {
        let mut stop = Stop::new()?;
        tokio::select! {
            results = measure_all(arguments) => results,
            signal = stop.wait() => Err(Failure::new(Exit::Error, format!("ended by {signal}"))),
        }
    })?;
    if global.json {
        terminal::json(&results)?;
    } else {
        show(&results)?;
    }
    let errors: u64 = results.measurements.iter().map(|row| row.measured.errors).sum();
    if errors > 0 { Err(Failure::silent(Exit::Error)) } else { Ok(()) }
}

async fn measure_all(arguments: &Arguments) -> Result<Results, Failure> {
    let server = &arguments.server;
    let direct = server.client_config();
    // Fails early, with the server's own words.
    measure::connect(&direct).await.map_err(|error| unusable(server, &error))?;
    let own = match arguments.pool {
        Some(_) => None,
        None => Some(OwnPool::start(server).await?),
    };
    let pool = match (&own, arguments.pool) {
        (Some(own), _) => own.address,
        (None, Some(address)) => address,
        (None, None) => unreachable!("one of the two was just made sure of"),
    };
    let pooled = server.pooled_config(&pool);
    let load = Load {
        query: arguments.query.clone(),
        concurrency: arguments.concurrency,
        iterations: arguments.iterations,
        max_connections: server.max_connections,
    };
    let mut measurements = Vec::new();
    for connections in [Connections::PerQuery, Connections::Kept] {
        for (path, config) in [(Route::Direct, &direct), (Route::Pooled, &pooled)] {
            let measured = measure::measure(config, connections, &load).await;
            measurements.push(Row { path, connections, measured });
        }
    }
    if let Some(own) = own {
        own.stop().await;
    }
    Ok(Results {
        schema: SCHEMA,
        server: format!("{}:{}", server.host, server.port),
        pool: pool.to_string(),
        query: load.query,
        concurrency: load.concurrency,
        iterations: load.iterations,
        max_connections: load.max_connections,
        measurements,
    })
}

fn unusable(server: &Server, error: &tokio_postgres::Error) -> Failure {
    use tokio_postgres::error::SqlState;

    let exit = match error.code() {
        Some(code) if *code == SqlState::INVALID_PASSWORD => Exit::Permission,
        Some(code) if *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION => Exit::Permission,
        Some(code) if *code == SqlState::INVALID_CATALOG_NAME => Exit::NotFound,
        Some(_) => Exit::Error,
        None => Exit::Network,
    };
    let text = format!(
        "the server at {}:{} cannot be used: {}",
        server.host,
        server.port,
        measure::explain(error)
    );
    Failure::new(exit, text)
        .hint("name it with --host, --port, --database and --username; the password is $PGPASSWORD")
}

fn show(results: &Results) -> Result<(), Failure> {
    terminal::say(format_args!(
        "{FAINT}{} queries by {} clients each, at most {} server connections, pool at {}{FAINT:#}\n",
        results.iterations, results.concurrency, results.max_connections, results.pool
    ))?;
    let mut table = terminal::table([
        "CONNECTIONS",
        "PATH",
        "QUERIES/S",
        "P50",
        "P95",
        "P99",
        "MAX",
        "QUERIES",
        "ERRORS",
    ]);
    for row in &results.measurements {
        let measured = &row.measured;
        table.add_row([
            Cell::new(match row.connections {
                Connections::PerQuery => "one per query",
                Connections::Kept => "kept",
            }),
            Cell::new(match row.path {
                Route::Direct => "direct",
                Route::Pooled => "through bs9",
            }),
            number(format!("{:.0}", measured.queries_per_second)),
            number(terminal::seconds(measured.latency_p50_seconds)),
            number(terminal::seconds(measured.latency_p95_seconds)),
            number(terminal::seconds(measured.latency_p99_seconds)),
            number(terminal::seconds(measured.latency_max_seconds)),
            number(measured.queries),
            number(measured.errors),
        ]);
    }
    terminal::say(terminal::text(&table))?;
    for row in &results.measurements {
        if let Some(error) = &row.measured.error {
            terminal::remark(format_args!("{BAD}error{BAD:#}: {error}"));
        }
    }
    Ok(())
}

/// A data plane for the time of the measurement.
struct OwnPool {
    address: SocketAddr,
    child: Child,
    folder: tempfile::TempDir,
}

impl OwnPool {
    async fn start(server: &Server) -> Result<Self, Failure> {
        let folder = tempfile::Builder::new()
            .prefix("bs9-dbpool-")
            .tempdir()
            .map_err(|error| Failure::io("cannot make a folder for the pool", error))?;
        let config = folder.path().join("bs9.toml");
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        let text = format!(
            "[admin]\nsocket = \"dataplane.sock\"\n{}",
            server.pool_configuration(&any_port)
        );
        write_private(&config, &text)
            .map_err(|error| Failure::io("cannot write the pool's configuration", error))?;
        let command = child::bs9(["serve", "--config"], Some(&config))
            .map_err(|error| Failure::io("cannot find the own program", error))?;
        let log = folder.path().join("pool.log");
        let child = Child::start("pool", command, &log, Signal::TERM)
            .map_err(|error| Failure::io("cannot start a pool", error))?;
        let mut own = Self { address: any_port, child, folder };
        own.address = own.wait().await?;
        Ok(own)
    }

    /// Until it listens; returns where.
    async fn wait(&mut self) -> Result<SocketAddr, Failure> {
        let client = DataPlaneClient::unix(self.folder.path().join("dataplane.sock"));
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Ok(status) = client.status().await
                && let Some(address) =
                    status.listeners.first().and_then(|listener| listener.addresses.first())
            {
                return address.parse().map_err(|_| {
                    Failure::new(Exit::Error, format!("the pool listens on {address}"))
                });
            }
            if self.child.has_ended() || Instant::now() > deadline {
                let log = self.child.last_lines(20).join("\n  ");
                return Err(Failure::new(Exit::Error, format!("the pool did not start:\n  {log}")));
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn stop(mut self) {
        self.child.stop(PATIENCE).await;
    }
}

/// A file only this user can read: it holds a password.
fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    use std::{io::Write as _, os::unix::fs::OpenOptionsExt as _};

    let mut file =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}
