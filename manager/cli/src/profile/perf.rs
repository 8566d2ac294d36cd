//! Stacks by perf(1), where it is installed and may be used.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Command,
};

use super::stacks::Stacks;
use crate::{
    child::Child,
    exit::{Exit, Failure},
    runtime::Stop,
    tether,
};

/// Of capabilities(7): either lets a process look at others with perf.
const CAPABILITIES: [u32; 2] = [38 /* CAP_PERFMON */, 21 /* CAP_SYS_ADMIN */];
const PARANOID: &str = "/proc/sys/kernel/perf_event_paranoid";
const MAX_RATE: &str = "/proc/sys/kernel/perf_event_max_sample_rate";
/// Up to here somebody without privileges may look at what is their own
/// (perf-security; Debian and Ubuntu know 3 and 4, which allow nothing).
const MOST_PARANOID: i64 = 2;
/// What a recording may take on disk.
const MAX_SIZE: &str = "512M";
/// How long perf may take to write its file.
const STOP_LIMIT: Duration = Duration::from_secs(20);
/// How long perf may take to find the names of functions.
const NAMES_LIMIT: Duration = Duration::from_secs(180);

/// perf, which may be used.
#[derive(Debug)]
pub(super) struct Perf {
    program: PathBuf,
}

/// Why there can be no flame graph, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Missing {
    pub(super) exit: Exit,
    pub(super) reason: String,
    pub(super) remedy: String,
}

/// perf at work.
#[derive(Debug)]
pub(super) struct Recording {
    program: PathBuf,
    folder: TempDir,
    child: Child,
}

impl Missing {
    /// As an error, for somebody who asked for a flame graph.
    pub(super) fn failure(self) -> Failure {
        Failure::new(self.exit, format!("no flame graph: {}", self.reason)).hint(self.remedy)
    }
}

impl Perf {
    /// Looks whether perf is there, and whether it may look at others.
    pub(super) fn find(frequency: u32) -> Result<Self, Missing> {
        let path = env::var_os("PATH").unwrap_or_default();
        let program = env::split_paths(&path)
            .map(|folder| folder.join("perf"))
            .find(|program| program.is_file())
            .ok_or_else(|| Missing {
                exit: Exit::Dependency,
                reason: "perf is not installed".to_owned(),
                remedy: "install it: `apt install linux-perf` (Debian), `apt install \
                         linux-tools-$(uname -r)` (Ubuntu), `dnf install perf` (Fedora)"
                    .to_owned(),
            })?;
        let read = |path: &str| fs::read_to_string(path).ok();
        let number = |path: &str| read(path).and_then(|text| text.trim().parse().ok());
        let privileged = read("/proc/self/status").is_some_and(|text| is_privileged(&text));
        may_record(privileged, number(PARANOID), number(MAX_RATE), frequency)?;
        Ok(Self { program })
    }

    /// Begins to record the stacks of processes, and of those that they start.
    ///
    /// # Errors
    /// There is nowhere to write, or perf cannot be started.
    pub(super) fn record(self, pids: &[u32], frequency: u32) -> Result<Recording, Failure> {
        let failed = |error| Failure::io("cannot start perf", error);
        let folder = tempfile::tempdir().map_err(failed)?;
        let list: Vec<String> = pids.iter().map(u32::to_string).collect();
        let mut command = tether::command(&self.program, Signal::INT, None).map_err(failed)?;
        command
            .args(["record", "--quiet", "-g", "--freq", &frequency.to_string()])
            .args(["--max-size", MAX_SIZE, "--pid", &list.join(","), "--output"])
            .arg(folder.path().join("perf.data"));
        let child = Child::start("perf", command, &folder.path().join("log"), Signal::INT);
        Ok(Recording { program: self.program, child: child.map_err(failed)?, folder })
    }
}

impl Recording {
    /// Why it does not record, when it has given up.
    pub(super) fn fault(&mut self) -> Option<Failure> {
        // It ends well when the processes that it looks at have ended.
        let ended = self.child.has_ended() && self.child.exit_code() != Some(0);
        ended.then(|| self.complaint("perf cannot record"))
    }

    fn complaint(&self, what: &str) -> Failure {
        let said = self.child.last_lines(4).join(" ");
        let said = said.trim();
        let text = if said.is_empty() { what.to_owned() } else { format!("{what}: {said}") };
        Failure::new(Exit::System, text)
            .hint("in a container it also needs the system call perf_event_open (seccomp)")
    }

    /// Ends it, and folds what was recorded.
    ///
    /// # Errors
    /// Nothing was recorded, or it cannot be read.
    pub(super) async fn finish(mut self, stop: &mut Stop) -> Result<Stacks, Failure> {
        self.child.stop(STOP_LIMIT).await;
        let recorded = self.folder.path().join("perf.data");
        if !fs::metadata(&recorded).is_ok_and(|file| file.len() > 0) {
            return Err(self.complaint("perf has recorded nothing"));
        }
        let folding = tokio::time::timeout(NAMES_LIMIT, self.fold(&recorded));
        tokio::select! {
            folded = folding => folded.unwrap_or_else(|_| {
                Err(Failure::new(Exit::System, "perf takes too long to find names of functions"))
            }),
            signal = stop.wait() => {
                Err(Failure::new(Exit::Error, format!("{signal} while perf found names")))
            }
        }
    }

    async fn fold(&self, recorded: &Path) -> Result<Stacks, Failure> {
        let failed = |error: io::Error| Failure::io("cannot read what perf has recorded", error);
        let mut child = Command::new(&self.program)
            .args(["script", "--no-inline", "-F", "comm,ip,sym,dso", "--input"])
            .arg(recorded)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let output = child.stdout.take().ok_or_else(|| failed(io::ErrorKind::BrokenPipe.into()))?;
        let mut lines = BufReader::new(output).split(b'\n');
        let mut stacks = Stacks::default();
        while let Some(line) = lines.next_segment().await.map_err(failed)? {
            stacks.line(&String::from_utf8_lossy(&line));
        }
        let status = child.wait().await.map_err(failed)?;
        match status.success() {
            true => Ok(stacks.end()),
            false => Err(Failure::new(Exit::System, format!("perf script failed: {status}"))),
        }
    }
}

/// Whether a `/proc/PID/status` has one of the capabilities in effect.
fn is_privileged(status: &str) -> bool {
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let set = effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0);
    CAPABILITIES.iter().any(|capability| set >> capability & 1 == 1)
}

fn may_record(
    privileged: bool,
    paranoid: Option<i64>,
    max_rate: Option<i64>,
    frequency: u32,
) -> Result<(), Missing> {
    let Some(paranoid) = paranoid else {
        return Err(Missing {
            exit: Exit::Dependency,
            reason: format!("this kernel has no perf events (there is no {PARANOID})"),
            remedy: "a kernel with CONFIG_PERF_EVENTS has them".to_owned(),
        });
    };
    if !privileged && paranoid > MOST_PARANOID {
        return Err(Missing {
            exit: Exit::Permission,
            reason: format!("kernel.perf_event_paranoid is {paranoid}, and this user is not root"),
            remedy: "`sudo sysctl kernel.perf_event_paranoid=1` allows it for what is your own, \
                     `sudo bs9 profile …` at once"
                .to_owned(),
        });
    }
    match max_rate {
        Some(most) if i64::from(frequency) > most => Err(Missing {
            exit: Exit::System,
            reason: format!(
                "--frequency {frequency} is more than kernel.perf_event_max_sample_rate, {most}"
            ),
            remedy: "take a lower --frequency".to_owned(),
        }),
        _ => Ok(()),
    }
}

/// How a runtime tells perf what its functions are called, or what profiles it better.
pub(super) fn hint(program: &str) -> Option<&'static str> {
    let name = program.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    Some(match name {
        "node" | "MainThread" => {
            "names of JavaScript: NODE_OPTIONS=--perf-basic-prof in its environment; or its own \
             profiler: node --cpu-prof"
        }
        "python" | "gunicorn" | "uvicorn" => {
            "names of Python: PYTHONPERFSUPPORT=1 in its environment (3.12 and later); or \
             py-spy record --pid PID --output flame.svg"
        }
        "deno" => "names of JavaScript: deno run --v8-flags=--perf-basic-prof",
        "bun" => "names of JavaScript: bun --cpu-prof",
        "java" => {
            "names of Java: -XX:+PreserveFramePointer -XX:+DumpPerfMapAtExit; or async-profiler"
        }
        "ruby" | "puma" => "names of Ruby: rbspy record --pid PID",
        "php" | "php-fpm" => "names of PHP: phpspy -p PID",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_record() {
        for (privileged, paranoid, allowed) in
            [(true, 4, true), (false, 2, true), (false, -1, true), (false, 3, false)]
        {
            let said = may_record(privileged, Some(paranoid), Some(100_000), 99);
            assert_eq!(said.is_ok(), allowed, "{privileged} {paranoid}");
        }
        let refused = may_record(false, Some(4), None, 99).unwrap_err();
        assert_eq!(refused.exit, Exit::Permission);
        assert!(refused.reason.contains("perf_event_paranoid is 4"), "{refused:?}");
        assert!(refused.remedy.contains("sysctl kernel.perf_event_paranoid=1"), "{refused:?}");
        assert_eq!(may_record(true, None, None, 99).unwrap_err().exit, Exit::Dependency);
        let fast = may_record(true, Some(1), Some(1_000), 9_999).unwrap_err();
        assert!(fast.reason.contains("1000"), "{fast:?}");
    }

    #[test]
    fn capabilities_are_bits() {
        assert!(is_privileged("Name:\tx\nCapEff:\t0000004000000000\n"), "CAP_PERFMON");
        assert!(is_privileged("CapEff:\t000001ffffffffff\n"));
        assert!(!is_privileged("CapEff:\t0000000000000000\n"));
        assert!(!is_privileged("CapPrm:\t000001ffffffffff\n"));
    }

    #[test]
    fn runtimes_are_known_with_their_version() {
        assert!(hint("python3.12").unwrap().contains("PYTHONPERFSUPPORT"));
        assert!(hint("node").unwrap().contains("--perf-basic-prof"));
        assert_eq!(hint("nginx"), None);
    }
}
