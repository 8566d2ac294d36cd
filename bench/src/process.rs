//! One pinned child process, from its start to its certain end.

mod accounting;

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

pub(crate) use accounting::ended_children_time;

use crate::bench::Bench;
use crate::interrupt::Interrupt;

/// How long a program may take to accept its first connection.
const READY_LIMIT: Duration = Duration::from_secs(15);
/// How long a program may take to end when asked.
const STOP_LIMIT: Duration = Duration::from_secs(3);
/// How much of a log an error shows.
const LOG_TAIL_BYTES: usize = 2000;

/// How to start a program.
#[derive(Debug)]
pub(crate) struct Launch {
    name: String,
    program: PathBuf,
    arguments: Vec<OsString>,
    cores: String,
    account: Option<Account>,
    stop: Signal,
}

/// An account to run a program as, because the program refuses to be root.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// A running child. Dropping it ends it: first asked, then killed.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    stop: Signal,
    interrupt: Interrupt,
}

// === impl Launch ===

impl Launch {
    /// A program under test: pinned on the contender's core.
    pub(crate) fn contender(bench: &Bench, name: &str, program: &Path) -> Self {
        Self::on(bench.cores.contender_list(1), name, program)
    }

    /// A program under test with so many cores; some may be the load's as well.
    pub(crate) fn contender_with_cores(
        bench: &Bench,
        count: usize,
        name: &str,
        program: &Path,
    ) -> Self {
        Self::on(bench.cores.contender_list(count), name, program)
    }

    /// A load generator or backend: pinned on all the other cores.
    pub(crate) fn load(bench: &Bench, name: &str, program: &Path) -> Self {
        Self::on(bench.cores.load_list(), name, program)
    }

    /// A backend that may run wherever there is room, the contender's core included.
    pub(crate) fn anywhere(bench: &Bench, name: &str, program: &Path) -> Self {
        Self::on(bench.cores.list(), name, program)
    }

    fn on(cores: String, name: &str, program: &Path) -> Self {
        Self {
            name: name.to_owned(),
            program: program.to_owned(),
            arguments: Vec::new(),
            cores,
            account: None,
            stop: Signal::TERM,
        }
    }

    pub(crate) fn argument(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    pub(crate) fn arguments<A: AsRef<OsStr>>(self, list: impl IntoIterator<Item = A>) -> Self {
        list.into_iter().fold(self, Self::argument)
    }

    /// Pinned on the contender's core, where a load generator is what is measured.
    pub(crate) fn in_contenders_place(self, bench: &Bench) -> Self {
        Self { cores: bench.cores.contender_list(1), ..self }
    }

    /// As the manager, with the configuration at `config`.
    pub(crate) fn args_of_manager(self, config: &Path) -> Self {
        self.arguments(["--log", "warn", "manager", "--config"]).argument(config)
    }

    /// Runs the program as this account, if one is given.
    pub(crate) fn account(mut self, account: Option<&Account>) -> Self {
        self.account = account.cloned();
        self
    }

    /// The signal that ends the program quickly, where it is not SIGTERM.
    pub(crate) fn stop_with(mut self, signal: Signal) -> Self {
        self.stop = signal;
        self
    }

    /// Starts the program with its output in the log `NAME.log` of the run's folder.
    pub(crate) fn start(self, bench: &Bench) -> anyhow::Result<Process> {
        let log = bench.dir.path().join(format!("{}.log", self.name));
        let output = File::create(&log).with_context(|| format!("making {}", log.display()))?;
        // taskset and setpriv replace themselves by the program, so the child's
        // pid is the program's. The parent-death signal covers an end of this
        // process that leaves no time to clean up.
        let mut command = Command::new("taskset");
        command.args(["-c", &self.cores, "setpriv", "--pdeathsig", "KILL"]);
        if let Some(account) = &self.account {
            let (uid, gid) = (account.uid.to_string(), account.gid.to_string());
            command.args(["--reuid", &uid, "--regid", &gid, "--init-groups"]);
        }
        command.arg("--").arg(&self.program).args(&self.arguments);
        let child = command
            .current_dir(bench.dir.path())
            // Ctrl-C in the terminal goes to this process only; it stops the others in order.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("starting {} through taskset", self.program.display()))?;
        Ok(Process {
            name: self.name,
            child,
            log,
            stop: self.stop,
            interrupt: bench.interrupt.clone(),
        })
    }
}

// === impl Account ===

impl Account {
    /// Looks an account up in /etc/passwd.
    pub(crate) fn find(name: &str) -> anyhow::Result<Self> {
        let passwd = fs::read_to_string("/etc/passwd").context("reading /etc/passwd")?;
        passwd
            .lines()
            .find_map(|line| {
                let mut fields = line.split(':');
                (fields.next()? == name).then_some(())?;
                let uid = fields.nth(1)?.parse().ok()?;
                let gid = fields.next()?.parse().ok()?;
                Some(Self { uid, gid })
            })
            .with_context(|| format!("there is no account {name:?}"))
    }
}

// === impl Process ===

impl Process {
    /// Waits until the program accepts connections at `address`.
    pub(crate) fn wait_until_it_accepts(&mut self, address: SocketAddr) -> anyhow::Result<()> {
        let interrupt = self.interrupt.clone();
        let accepted = interrupt.wait_for(READY_LIMIT, || {
            self.still_running()?;
            Ok(TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok())
        })?;
        if accepted.is_none() {
            let limit = READY_LIMIT.as_secs();
            bail!(
                "{} accepts nothing at {address} after {limit} s:\n{}",
                self.name,
                self.log_tail()
            );
        }
        Ok(())
    }

    /// For whoever polls a program that starts.
    ///
    /// # Errors
    /// When it has ended, or is not up by `deadline`.
    pub(crate) fn still_starting(&mut self, deadline: Instant) -> anyhow::Result<()> {
        self.still_running()?;
        ensure!(Instant::now() < deadline, "{} is not up:\n{}", self.name, self.log_tail());
        Ok(())
    }

    /// # Errors
    /// When the program has ended.
    pub(crate) fn still_running(&mut self) -> anyhow::Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("{} has ended ({status}):\n{}", self.name, self.log_tail());
        }
        Ok(())
    }

    /// Waits for the program to end by itself, and returns what it printed.
    pub(crate) fn finish(mut self, limit: Duration) -> anyhow::Result<String> {
        let interrupt = self.interrupt.clone();
        match interrupt.wait_for(limit, || Ok(self.child.try_wait()?))? {
            Some(status) if status.success() => Ok(fs::read_to_string(&self.log)?),
            Some(status) => bail!("{} failed ({status}):\n{}", self.name, self.log_tail()),
            None => bail!("{} did not end within {} s", self.name, limit.as_secs()),
        }
    }

    /// CPU time of the program and all its descendants so far, user and system.
    pub(crate) fn cpu_time(&self) -> anyhow::Result<Duration> {
        accounting::cpu_time(self.child.id())
            .with_context(|| format!("reading the CPU time of {}:\n{}", self.name, self.log_tail()))
    }

    /// The most memory the program and its descendants had resident, in bytes.
    pub(crate) fn memory_peak_bytes(&self) -> anyhow::Result<u64> {
        accounting::memory_peak_bytes(self.child.id())
            .with_context(|| format!("reading the memory of {}", self.name))
    }

    /// The memory that the program and its descendants have resident now, in bytes.
    pub(crate) fn memory_bytes(&self) -> anyhow::Result<u64> {
        accounting::memory_bytes(self.child.id())
            .with_context(|| format!("reading the memory of {}", self.name))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The program and its descendants.
    pub(crate) fn pids(&self) -> anyhow::Result<Vec<u32>> {
        accounting::family_pids(self.child.id())
    }

    /// What the program has printed so far.
    pub(crate) fn printed(&self) -> anyhow::Result<String> {
        Ok(String::from_utf8_lossy(&fs::read(&self.log)?).into_owned())
    }

    fn log_tail(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        let tail = &log[log.len().saturating_sub(LOG_TAIL_BYTES)..];
        String::from_utf8_lossy(tail).trim().to_owned()
    }

    fn ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended() {
            return;
        }
        // An unreaped child keeps its pid, so these can reach nobody else. A
        // failure means that it ended in this moment, which is what is wanted.
        let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) else { return };
        let _ = kill_process(pid, self.stop);
        let deadline = Instant::now() + STOP_LIMIT;
        while !self.ended() {
            if Instant::now() >= deadline {
                let _ = kill_process_group(pid, Signal::KILL);
                let _ = self.child.wait();
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
