//! A private PostgreSQL cluster: made for a row, gone after it.

use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use rustix::process::{Signal, geteuid};
use tempfile::TempDir;

use crate::bench::Bench;
use crate::contender::version_of;
use crate::process::{Account, Launch, Process};
use crate::run_dir::free_address;

/// The database, and the superuser in it.
pub(crate) const DATABASE: &str = "bench";
pub(crate) const USER: &str = "bench";

/// How long making and filling the cluster may take.
const SET_UP_LIMIT: Duration = Duration::from_secs(120);

/// Durability is of no interest here, and reads must come from memory.
const SETTINGS: [&str; 6] = [
    "fsync=off",
    "autovacuum=off",
    "max_connections=200",
    "shared_buffers=128MB",
    "logging_collector=off",
    "unix_socket_directories=",
];

/// Where PostgreSQL runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// On the cores of the load: the contender has its own to itself.
    BesideLoad,
    /// Wherever there is room, the contender's core included.
    Anywhere,
}

impl Place {
    fn launch(self, bench: &Bench, name: &str, program: &Path) -> Launch {
        match self {
            Self::BesideLoad => Launch::load(bench, name, program),
            Self::Anywhere => Launch::anywhere(bench, name, program),
        }
    }
}

/// A running cluster filled by `pgbench -i`.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) address: SocketAddr,
    pub(crate) version: String,
    pub(crate) tools: Tools,
    /// Held for its end, which comes before that of the folder.
    _server: Process,
    _folder: TempDir,
}

/// PostgreSQL's programs, of one version.
#[derive(Debug, Clone)]
pub(crate) struct Tools {
    bin: PathBuf,
}

impl Cluster {
    /// Makes a cluster in the run's folder.
    ///
    /// The server may use every core. Squeezed onto the load's core, which it
    /// shares with pgbench, it answers so slowly that the pool sleeps and wakes
    /// for each message, and the figure shows the price of a wake-up instead.
    pub(crate) fn create(bench: &Bench, place: Place) -> anyhow::Result<Self> {
        let tools = Tools { bin: newest_bin(Path::new("/usr/lib/postgresql"))? };
        let version = version_of(&tools.program("postgres"), "--version")?;
        let account = account()?;
        let temporary = tempfile::Builder::new()
            .prefix("postgresql-")
            .tempdir_in(bench.dir.path())
            .context("making the folder of the PostgreSQL cluster")?;
        let folder = temporary.path();
        if let Some(account) = &account {
            chown(folder, Some(account.uid), Some(account.gid))?;
        }
        Launch::load(bench, "initdb", &tools.program("initdb"))
            .arguments(["--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C"])
            .argument(format!("--username={USER}"))
            .argument("--pgdata")
            .argument(folder)
            .account(account.as_ref())
            .start(bench)?
            .finish(SET_UP_LIMIT)?;

        let address = free_address()?;
        let mut server = place
            .launch(bench, "postgres", &tools.program("postgres"))
            .argument("-D")
            .argument(folder)
            .argument(format!("--listen_addresses={}", address.ip()))
            .argument(format!("--port={}", address.port()))
            .arguments(SETTINGS.map(|setting| format!("--{setting}")))
            .account(account.as_ref())
            // Immediate shutdown: the data is of no use to anyone.
            .stop_with(Signal::QUIT)
            .start(bench)?;
        server.wait_until_it_accepts(address)?;
        let cluster = Self { address, version, tools, _server: server, _folder: temporary };
        cluster.fill(bench)?;
        Ok(cluster)
    }

    fn fill(&self, bench: &Bench) -> anyhow::Result<()> {
        let run = |program: &str, arguments: &[&str]| {
            let mut connection = Tools::connection(self.address, false);
            // The database to connect to comes last.
            if program == "psql" {
                connection.pop();
                connection.push("postgres".into());
            }
            Launch::load(bench, program, &self.tools.program(program))
                .arguments(arguments)
                .arguments(connection)
                .start(bench)?
                .finish(SET_UP_LIMIT)
        };
        let create = format!("CREATE DATABASE {DATABASE}");
        // A port that accepts is not yet a server that is done starting.
        let created = bench.interrupt.wait_for(Duration::from_secs(30), || {
            Ok(run("psql", &["--quiet", "--command", &create]).ok())
        })?;
        ensure!(created.is_some(), "the private PostgreSQL takes no command");
        run("pgbench", &["--initialize", "--quiet", "--scale=1"]).map(drop)
    }
}

// === impl Tools ===

impl Tools {
    /// A PostgreSQL client program, of the server's version.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }

    /// Where to connect to, as psql and pgbench read it; the database comes last.
    pub(crate) fn connection(address: SocketAddr, tls: bool) -> Vec<OsString> {
        let sslmode = if tls { "require" } else { "disable" };
        [
            format!("--host={}", address.ip()),
            format!("--port={}", address.port()),
            format!("--username={USER}"),
            format!("dbname={DATABASE} sslmode={sslmode}"),
        ]
        .map(OsString::from)
        .into()
    }

    /// Asks whoever leads to the cluster at `address` one question and compares the answer.
    pub(crate) fn probe(
        &self,
        bench: &Bench,
        address: SocketAddr,
        tls: bool,
    ) -> anyhow::Result<()> {
        let answer = Launch::load(bench, "psql", &self.program("psql"))
            .arguments(["--no-psqlrc", "--tuples-only", "--no-align", "--command"])
            .argument("SELECT count(*) FROM pgbench_accounts")
            .arguments(Self::connection(address, tls))
            .start(bench)?
            .finish(SET_UP_LIMIT)?;
        ensure!(answer.trim() == "100000", "wrong answer to a query: {answer:?}");
        Ok(())
    }
}

/// Programs that refuse to run as root run as `postgres` then.
pub(crate) fn account() -> anyhow::Result<Option<Account>> {
    geteuid().is_root().then(|| Account::find("postgres")).transpose()
}

/// The programs of the newest PostgreSQL below `root`, as Debian lays them out.
fn newest_bin(root: &Path) -> anyhow::Result<PathBuf> {
    let versions = fs::read_dir(root).with_context(|| format!("no PostgreSQL in {root:?}"))?;
    versions
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let version: u32 = entry.file_name().to_str()?.parse().ok()?;
            let bin = entry.path().join("bin");
            bin.join("initdb").is_file().then_some((version, bin))
        })
        .max()
        .map(|(_, bin)| bin)
        .with_context(|| format!("no PostgreSQL server in {root:?} (make bench installs it)"))
}
