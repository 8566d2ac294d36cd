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
    /// As /etc/os-release has it.
    pub(crate) system: String,
    pub(crate) memory_bytes: u64,
    /// Load averages of 1, 5 and 15 minutes when the run began.
    pub(crate) load_averages: String,
}

/// How busy cores have been so far.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CoreTimes {
    load: Ticks,
    contender: Ticks,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Ticks {
    busy: u64,
    all: u64,
}

/// The part of a time that cores were busy with anything; 1 is all of it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Busy {
    /// The load's cores, or the load generator where it alone was busier.
    pub(crate) load: f64,
    /// The contender's core.
    pub(crate) contender: f64,
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

    /// So many cores for the contender, its own first, as `taskset -c` reads them.
    pub(crate) fn contender_list(&self, count: usize) -> String {
        let own = [self.contender];
        let cores: Vec<usize> =
            own.iter().chain(self.load.iter().rev()).take(count).copied().collect();
        list(&cores)
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

// === impl CoreTimes ===

impl CoreTimes {
    pub(crate) fn read(cores: &Cores) -> anyhow::Result<Self> {
        let text = fs::read_to_string("/proc/stat").context("reading /proc/stat")?;
        let of = |core: usize| {
            core_ticks(&text, core).with_context(|| format!("/proc/stat has no core {core}"))
        };
        let mut load = Ticks::default();
        for core in &cores.load {
            let ticks = of(*core)?;
            load = Ticks { busy: load.busy + ticks.busy, all: load.all + ticks.all };
        }
        Ok(Self { load, contender: of(cores.contender)? })
    }

    /// How busy the cores were since this was read.
    pub(crate) fn busy_since(self, cores: &Cores) -> anyhow::Result<Busy> {
        let now = Self::read(cores)?;
        Ok(Busy {
            load: self.load.busy_until(now.load),
            contender: self.contender.busy_until(now.contender),
        })
    }
}

impl Ticks {
    fn busy_until(self, now: Self) -> f64 {
        let all = now.all.saturating_sub(self.all).max(1);
        now.busy.saturating_sub(self.busy) as f64 / all as f64
    }
}

/// Of `cpuN user nice system idle iowait irq softirq steal guest guest_nice`, where
/// user and nice have the guests' in them.
fn core_ticks(text: &str, core: usize) -> Option<Ticks> {
    let name = format!("cpu{core}");
    let line = text.lines().find_map(|line| line.strip_prefix(&name)?.strip_prefix(' '))?;
    let fields: Option<Vec<u64>> =
        line.split_whitespace().take(8).map(|field| field.parse().ok()).collect();
    let fields = fields?;
    let idle = fields.get(3)?.checked_add(*fields.get(4)?)?;
    let all = fields.iter().try_fold(0u64, |sum, field| sum.checked_add(*field))?;
    Some(Ticks { busy: all.checked_sub(idle)?, all })
}

impl Busy {
    /// From here on a core counts as saturated: what is missing is the beginning and the end.
    const SATURATED: f64 = 0.97;
    /// From here on a contender was at its limit, too, but for moments.
    const NEARLY: f64 = 0.90;

    /// Whether the load could not have been higher, although the contender could
    /// have taken more: what was measured is the load generator.
    pub(crate) fn is_of_the_load_only(self) -> bool {
        self.load >= Self::SATURATED && self.contender < Self::NEARLY
    }
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
            system: system(),
            memory_bytes: value_of(&meminfo, "MemTotal").and_then(kibibytes).unwrap_or(0),
            load_averages: load_averages(),
        }
    }
}

fn system() -> String {
    let text = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.unwrap_or("unknown").trim_matches('"').to_owned()
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

    #[test]
    fn the_time_of_a_core_is_busy_or_idle() {
        let text = "cpu  9 9 9 9 9 9 9 9\ncpu1 10 1 5 70 4 2 3 5 6 0\ncpu10 1 1 1 1 1 1 1 1\n";
        assert_eq!(core_ticks(text, 1), Some(Ticks { busy: 26, all: 100 }));
        assert_eq!(core_ticks(text, 10), Some(Ticks { busy: 6, all: 8 }));
        assert_eq!(core_ticks(text, 2), None);
        assert_eq!(core_ticks("cpu1 1 2\n", 1), None);
    }

    #[test]
    fn a_contender_gets_its_own_core_first() {
        let cores = Cores { contender: 3, load: vec![0, 1, 2] };
        assert_eq!(cores.contender_list(1), "3");
        assert_eq!(cores.contender_list(2), "3,2");
        assert_eq!(cores.contender_list(9), "3,2,1,0");
    }

    #[test]
    fn only_a_load_that_is_busy_alone_limits_a_run() {
        let limits = |load, contender| Busy { load, contender }.is_of_the_load_only();
        assert!(limits(0.98, 0.6));
        assert!(!limits(0.98, 0.98) && !limits(0.5, 0.6));
    }
}
