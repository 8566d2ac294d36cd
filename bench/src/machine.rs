//! The machine a run happens on: its cores, and what to remember about it.

use std::fs;

use anyhow::{Context, ensure};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::Serialize;

/// Which cores do what. The contender has one to itself.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Cores {
    pub(crate) contender: usize,
    /// Load generator, backends and this program.
    pub(crate) load: Vec<usize>,
}

/// What to know about the machine when reading the figures later.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) kernel: String,
    pub(crate) memory_bytes: u64,
    /// Load averages of 1, 5 and 15 minutes when the run began.
    pub(crate) load_averages: String,
}

impl Cores {
    /// Sets the last of this process's cores apart for the contender.
    pub(crate) fn divide() -> anyhow::Result<Self> {
        let allowed = sched_getaffinity(None).context("reading the cores this process may use")?;
        let mut load: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|c| allowed.is_set(*c)).collect();
        ensure!(load.len() >= 2, "two cores are needed: one for the contender, one for the load");
        let contender = load.pop().context("there are at least two cores")?;
        Ok(Self { contender, load })
    }

    /// Moves this process, and what it starts from now on, to the load's cores.
    pub(crate) fn keep_off_the_contender(&self) -> anyhow::Result<()> {
        let mut set = CpuSet::new();
        for core in &self.load {
            set.set(*core);
        }
        sched_setaffinity(None, &set).context("moving to the load's cores")
    }

    /// The load's cores as `taskset -c` reads them.
    pub(crate) fn load_list(&self) -> String {
        list(&self.load)
    }

    /// All cores as `taskset -c` reads them.
    pub(crate) fn list(&self) -> String {
        let all: Vec<usize> = self.load.iter().copied().chain([self.contender]).collect();
        list(&all)
    }
}

fn list(cores: &[usize]) -> String {
    let cores: Vec<_> = cores.iter().map(usize::to_string).collect();
    cores.join(",")
}

// === impl Machine ===

impl Machine {
    /// Reads /proc; what cannot be read stays "unknown" or zero.
    pub(crate) fn describe() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        Self {
            cpu: value_of(&cpuinfo, "model name").unwrap_or("unknown").to_owned(),
            kernel: one_line("/proc/sys/kernel/osrelease"),
            memory_bytes: value_of(&meminfo, "MemTotal").and_then(kibibytes).unwrap_or(0),
            load_averages: load_averages(),
        }
    }
}

/// The kernel's load averages of 1, 5 and 15 minutes.
pub(crate) fn load_averages() -> String {
    one_line("/proc/loadavg").split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

/// The value of `key : value`, as many files of /proc have it.
pub(crate) fn value_of<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == key).then(|| value.trim())
    })
}

/// Bytes from `123 kB`, which in /proc means kibibytes.
pub(crate) fn kibibytes(value: &str) -> Option<u64> {
    value.strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

fn one_line(path: &str) -> String {
    fs::read_to_string(path).map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_by_their_whole_key() {
        let text = "VmPeak:\t  9 kB\nVmHWM:\t   1204 kB\nmodel name\t: Some CPU @ 2:1\n";
        assert_eq!(value_of(text, "VmHWM").and_then(kibibytes), Some(1204 * 1024));
        assert_eq!(value_of(text, "model name"), Some("Some CPU @ 2:1"));
        assert_eq!(value_of(text, "VmH"), None);
        assert_eq!(kibibytes("12 MB"), None);
    }
}
