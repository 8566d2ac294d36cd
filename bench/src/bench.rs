//! What every row of a run shares.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::arguments::Arguments;
use crate::contender::{Contender, Installed};
use crate::interrupt::Interrupt;
use crate::machine::{Cores, Machine};
use crate::run_dir::RunDir;

/// A run: where, for how long, with which programs.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) cores: Cores,
    pub(crate) dir: RunDir,
    pub(crate) interrupt: Interrupt,
    pub(crate) installed: Vec<Installed>,
    /// Why each contender that is not installed is not.
    pub(crate) missing: Vec<(Contender, String)>,
    pub(crate) machine: Machine,
    pub(crate) rounds: u32,
    /// How often all rows are gone through; each time with its share of the rounds.
    pub(crate) sweeps: u32,
    /// The measured part of a turn.
    pub(crate) measured: Duration,
    /// The part of a turn before the measured one.
    pub(crate) warmup: Duration,
}

impl Bench {
    /// Finds cores, contenders and tools, and makes the run's folder.
    ///
    /// # Errors
    /// When a core for the contender cannot be set apart, or bs9 is not built.
    pub(crate) fn set_up(arguments: &Arguments) -> anyhow::Result<Self> {
        let interrupt = Interrupt::watch()?;
        let cores = Cores::divide()?;
        cores.keep_off_the_contender()?;
        raise_open_files()?;
        let (mut installed, mut missing) = (Vec::new(), Vec::new());
        for contender in Contender::ALL {
            let ours = matches!(contender, Contender::Bs9 | Contender::Bs9OneShard);
            if ours && arguments.peers_only {
                continue;
            }
            // Both of ours are one program.
            let called = if ours { Contender::Bs9 } else { contender };
            let chosen = arguments.binary.iter().rev().find(|(c, _)| *c == called);
            match Installed::find(contender, chosen.map(|(_, path)| path.as_path())) {
                Ok(found) => installed.push(found),
                Err(e) if ours => {
                    return Err(e).context(
                        "bs9 itself (build it: cargo build --release --bin bs9; or give --peers-only)",
                    );
                }
                Err(e) => missing.push((contender, format!("{e:#}"))),
            }
        }
        let bench = Self {
            dir: RunDir::create(arguments.keep)?,
            machine: Machine::describe(),
            cores,
            interrupt,
            installed,
            missing,
            rounds: arguments.rounds,
            sweeps: arguments.sweeps,
            measured: Duration::from_secs(arguments.seconds.into()),
            warmup: Duration::from_secs(arguments.warmup_seconds.into()),
        };
        if arguments.keep {
            writeln!(std::io::stderr(), "keeping {}", bench.dir.path().display())?;
        }
        Ok(bench)
    }

    /// The contender, if it can run here.
    pub(crate) fn installed(&self, contender: Contender) -> Option<&Installed> {
        self.installed.iter().find(|installed| installed.contender == contender)
    }

    /// bs9, as a tool: also where it takes no part.
    pub(crate) fn own_bs9(&self) -> anyhow::Result<PathBuf> {
        match self.installed(Contender::Bs9) {
            Some(installed) => Ok(installed.program.clone()),
            None => Ok(Installed::find(Contender::Bs9, None)?.program),
        }
    }

    /// Names on stderr who takes no part.
    pub(crate) fn say_who_is_missing(&self) -> anyhow::Result<()> {
        for (contender, why) in &self.missing {
            writeln!(std::io::stderr(), "missing: {}: {why}", contender.name())?;
        }
        Ok(())
    }
}

/// Lets this process and what it starts have as many files open as may be: rows
/// open thousands of connections.
fn raise_open_files() -> anyhow::Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).context("raising the limit of open files")
}
