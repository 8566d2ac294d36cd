//! `bs9 loadtest` as a crowd of PostgreSQL clients, each with one query under way at a time. pgbench
//! asks the kernel about every client whenever one has an answer (`ppoll`): with a thousand it is
//! what limits a run, whatever is between it and the server.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::pgbench::LEAD;
use super::{Generator, Load, open_loop};
use crate::bench::Bench;
use crate::contender::version_of;
use crate::postgres::{DATABASE, USER};
use crate::process::Launch;

/// What pgbench runs by `--select-only`, of a database of scale 1.
const SELECT_ONLY: &str = "\\set aid random(1, 100000)\n\
    SELECT abalance FROM pgbench_accounts WHERE aid = :aid;\n";

/// How `bs9 loadtest` works.
#[derive(Debug, Clone)]
pub(crate) struct Crowd {
    /// bs9.
    pub(crate) program: PathBuf,
    pub(crate) clients: u32,
}

impl Generator for Crowd {
    fn version(&self) -> anyhow::Result<(&'static str, String)> {
        Ok(("bs9 loadtest", version_of(&self.program, "--version")?))
    }

    fn backend_may_limit(&self) -> bool {
        true
    }

    fn launch(
        &self,
        bench: &Bench,
        address: SocketAddr,
        length: Duration,
    ) -> anyhow::Result<Launch> {
        let script = bench.dir.write("select-only.sql", SELECT_ONLY)?;
        Ok(open_loop::launch(bench, &self.program, self.clients, length)
            .argument(format!("--warmup={}s", LEAD.as_secs()))
            .arguments(["--mode=simple", "--script"])
            .argument(script)
            .argument(format!("postgres://{USER}@{address}/{DATABASE}?sslmode=disable")))
    }

    fn read(&self, _: &Bench, printed: &str) -> anyhow::Result<Load> {
        open_loop::parse(printed)
    }
}
