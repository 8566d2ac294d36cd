//! Processes that belong to this one and end with it.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{process::Command, time::timeout};

use crate::tether;

/// What is read of a log's end.
const TAIL_BYTES: u64 = 16 * 1024;

/// This program with these arguments, ending when this process does.
///
/// # Errors
/// The own program cannot be found.
pub(crate) fn bs9<const N: usize>(
    arguments: [&str; N],
    path: Option<&Path>,
) -> io::Result<Command> {
    let mut command = tether::command(std::env::current_exe()?, Signal::TERM, None)?;
    command.args(arguments).args(path);
    Ok(command)
}

/// A process that was started, and where it writes its log.
#[derive(Debug)]
pub(crate) struct Child {
    name: &'static str,
    process: tokio::process::Child,
    log: PathBuf,
    stop_signal: Signal,
}

impl Child {
    /// Starts `command` in a process group of its own, so that Ctrl-C reaches only
    /// who started it. Its output goes to `log`.
    pub(crate) fn start(
        name: &'static str,
        mut command: Command,
        log: &Path,
        stop_signal: Signal,
    ) -> io::Result<Self> {
        let output = File::create(log)?;
        let process = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        Ok(Self { name, process, log: log.to_owned(), stop_signal })
    }

    /// What it is, for people.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.process.try_wait(), Ok(None))
    }

    /// What it exited with, once it has.
    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        self.process.try_wait().ok().flatten()?.code()
    }

    /// Asks it to end; kills it when it has not by `limit`.
    pub(crate) async fn stop(&mut self, limit: Duration) {
        let id = self.process.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let Some(id) = id.filter(|_| !self.has_ended()) else { return };
        if let Err(error) = kill_process(id, self.stop_signal) {
            tracing::debug!(name = self.name, %error, "cannot be told to end");
        }
        if timeout(limit, self.process.wait()).await.is_err() {
            tracing::warn!(name = self.name, "did not end in time and is killed");
            if let Err(error) = self.process.kill().await {
                tracing::warn!(name = self.name, %error, "cannot be killed");
            }
        }
    }

    /// The last lines of its log.
    pub(crate) fn last_lines(&self, count: usize) -> Vec<String> {
        tail(&self.log, count).unwrap_or_default()
    }
}

fn tail(path: &Path, count: usize) -> io::Result<Vec<String>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<_> = text.lines().collect();
    Ok(lines[lines.len().saturating_sub(count)..].iter().map(|line| (*line).to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_child_that_does_not_listen_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' TERM; echo one; echo two; while :; do sleep 0.05; done"]);
        let log = folder.path().join("log");
        let mut child = Child::start("stubborn", command, &log, Signal::TERM).unwrap();
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        while child.last_lines(1) != ["two"] {
            assert!(std::time::Instant::now() < deadline, "the child writes its log");
            tokio::task::yield_now().await;
        }
        assert!(!child.has_ended());
        child.stop(Duration::from_millis(100)).await;
        assert!(child.has_ended());
        assert_eq!(child.last_lines(9), ["one", "two"]);
    }
}
