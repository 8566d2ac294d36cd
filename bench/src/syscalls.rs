//! System calls of a contender while it works, counted by strace.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, ensure};
use rustix::process::Signal;
use serde::Serialize;

use crate::bench::Bench;
use crate::contender::find_program;
use crate::process::{Launch, Process};

/// How long strace may take to stop every thread for the first time.
const ATTACH_LIMIT: Duration = Duration::from_secs(5);
/// What makes less than this part of all calls is not worth a name.
const WORTH_NAMING: f64 = 0.02;

/// strace, attached to a program.
#[derive(Debug)]
pub(crate) struct Tracer {
    strace: Process,
    counts: PathBuf,
}

/// Calls by name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Counts(BTreeMap<String, u64>);

/// System calls of one unit of work.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Syscalls {
    pub(crate) per_unit: f64,
    /// Those that make at least a fiftieth of all.
    by_name: BTreeMap<String, f64>,
}

impl Tracer {
    /// Counts what `process` and its descendants do from now on.
    pub(crate) fn attach(bench: &Bench, process: &Process) -> anyhow::Result<Self> {
        let counts = bench.dir.path().join("syscalls");
        let mut launch = Launch::load(bench, "strace", &find_program("strace")?)
            .arguments(["-f", "-c", "-U", "calls,name", "-o"])
            .argument(&counts)
            .stop_with(Signal::INT);
        for pid in process.pids()? {
            launch = launch.arguments(["-p", &pid.to_string()]);
        }
        let mut strace = launch.start(bench)?;
        let attached = bench.interrupt.wait_for(ATTACH_LIMIT, || {
            strace.still_running()?;
            Ok(strace.printed()?.contains(" attached").then_some(()))
        })?;
        ensure!(attached.is_some(), "strace did not attach");
        Ok(Self { strace, counts })
    }

    /// Detaches and reads the counts.
    pub(crate) fn finish(self) -> anyhow::Result<Counts> {
        drop(self.strace);
        let table = fs::read_to_string(&self.counts).context("reading what strace counted")?;
        Ok(Counts::parse(&table))
    }
}

impl Counts {
    /// From a table with the columns `calls` and `syscall`.
    fn parse(table: &str) -> Self {
        let line = |line: &str| {
            let (calls, name) = line.trim().split_once(char::is_whitespace)?;
            Some((name.trim().to_owned(), calls.parse().ok()?))
        };
        let counts = table.lines().filter_map(line);
        Self(counts.filter(|(name, _)| name != "total").collect())
    }

    /// Of each of so many units.
    ///
    /// # Errors
    /// When there is nothing to divide: the program was not traced, or did nothing.
    pub(crate) fn over(&self, units: f64) -> anyhow::Result<Syscalls> {
        let all: u64 = self.0.values().sum();
        ensure!(all > 0 && units > 0.0, "strace counted {all} calls for {units} units");
        let worth = |calls: &u64| *calls as f64 / all as f64 >= WORTH_NAMING;
        let by_name = self.0.iter().filter(|(_, calls)| worth(calls));
        Ok(Syscalls {
            per_unit: all as f64 / units,
            by_name: by_name.map(|(name, calls)| (name.clone(), *calls as f64 / units)).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "    calls syscall
--------- ----------------
      600 epoll_wait
     1000 recvfrom
     1000 sendto
        3 getpid
--------- ----------------
     2603 total
";

    #[test]
    fn calls_are_divided_by_the_work() {
        let syscalls = Counts::parse(TABLE).over(500.0).unwrap();
        assert!((syscalls.per_unit - 5.206).abs() < 1e-9);
        let names: Vec<_> = syscalls.by_name.keys().map(String::as_str).collect();
        assert_eq!(names, ["epoll_wait", "recvfrom", "sendto"]);
        assert!((syscalls.by_name["epoll_wait"] - 1.2).abs() < 1e-9);
    }

    #[test]
    fn nothing_counted_is_no_figure() {
        assert!(Counts::parse("").over(500.0).is_err());
        assert!(Counts::parse(TABLE).over(0.0).is_err());
    }
}
