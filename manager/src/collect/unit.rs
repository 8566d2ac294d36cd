//! What one unit uses.

use std::path::Path;

use bs9_api::types::UnitStatus;

use super::{
    cgroup::{Group, Hierarchy},
    file::{Kept, Scratch, field, lines, number, pressure_total, words},
    process::{self, Counted},
    reading::{Measured, Missing, Rate, told},
};

/// v1 writes "no limit" as the largest multiple of a page.
const NO_LIMIT_FROM: f64 = 9.0e18;

/// A unit that is measured.
#[derive(Debug)]
pub(crate) struct UnitMeter {
    pub(crate) group: Group,
    files: Files,
    rates: Rates,
    restarts: u64,
    pub(crate) sample: UnitSample,
}

#[derive(Debug)]
pub(super) struct Files {
    cpu: Kept,
    pub(super) memory: Kept,
    memory_limit: Kept,
    oom: Kept,
    io: Kept,
    tasks: Kept,
    pub(super) cpu_pressure: Kept,
    pub(super) memory_pressure: Kept,
    pub(super) io_pressure: Kept,
    layout: Layout,
}

#[derive(Debug, Clone, Copy)]
enum Layout {
    Unified,
    Legacy,
}

#[derive(Debug, Default)]
struct Rates {
    cpu: Rate,
    read: Rate,
    written: Rate,
    cpu_pressure: Rate,
    memory_pressure: Rate,
    io_pressure: Rate,
}

/// The numbers of one look.
#[derive(Debug, Clone)]
pub(crate) struct UnitSample {
    pub(crate) cpu_ratio: Measured,
    pub(crate) cpu_seconds: Measured,
    pub(crate) memory: Measured,
    pub(crate) memory_limit: Measured,
    pub(crate) read: Measured,
    pub(crate) written: Measured,
    pub(crate) tasks: Measured,
    pub(crate) cpu_pressure: Measured,
    pub(crate) memory_pressure: Measured,
    pub(crate) io_pressure: Measured,
    pub(crate) oom_kills: Measured,
    pub(crate) restarts: Measured,
    pub(crate) open_sockets: Measured,
    pub(crate) open_files: Measured,
}

impl Default for UnitSample {
    fn default() -> Self {
        let first = Err(Missing::FirstSample);
        let not_yet = Err(Missing::NotYet);
        Self {
            cpu_ratio: first,
            cpu_seconds: not_yet,
            memory: not_yet,
            memory_limit: not_yet,
            read: first,
            written: first,
            tasks: not_yet,
            cpu_pressure: first,
            memory_pressure: first,
            io_pressure: first,
            oom_kills: not_yet,
            restarts: Ok(0.0),
            open_sockets: not_yet,
            open_files: not_yet,
        }
    }
}

impl UnitMeter {
    pub(crate) fn new(group: Group, hierarchy: &Hierarchy) -> Self {
        let files = Files::of(&group.path, hierarchy);
        Self { group, files, rates: Rates::default(), restarts: 0, sample: UnitSample::default() }
    }

    /// Goes on with the group that a restart made.
    pub(crate) fn restarted(&mut self, group: Group, hierarchy: &Hierarchy) -> u64 {
        self.files = Files::of(&group.path, hierarchy);
        self.group = group;
        self.rates = Rates::default();
        self.restarts += 1;
        self.sample.restarts = Ok(self.restarts as f64);
        self.restarts
    }

    /// What changes all the time. `seconds` have passed since the last look.
    pub(crate) fn look(&mut self, scratch: &mut Scratch, seconds: f64) {
        let (files, rates, sample) = (&mut self.files, &mut self.rates, &mut self.sample);
        sample.cpu_seconds = files.cpu_seconds(scratch);
        sample.cpu_ratio = rates.cpu.next(sample.cpu_seconds, seconds);
        sample.memory = files.memory.number(scratch);
        let (read, written) = files.io_bytes(scratch);
        sample.read = rates.read.next(read, seconds);
        sample.written = rates.written.next(written, seconds);
        sample.tasks = files.tasks.number(scratch);
        sample.cpu_pressure =
            pressure(&mut files.cpu_pressure, &mut rates.cpu_pressure, scratch, seconds);
        sample.memory_pressure =
            pressure(&mut files.memory_pressure, &mut rates.memory_pressure, scratch, seconds);
        sample.io_pressure =
            pressure(&mut files.io_pressure, &mut rates.io_pressure, scratch, seconds);
    }

    /// What changes now and then, and costs more. Returns how many processes were
    /// killed for want of memory since the last time.
    pub(crate) fn look_closer(
        &mut self,
        tree: &Path,
        proc: &Path,
        scratch: &mut Scratch,
    ) -> Option<u64> {
        let before = self.sample.oom_kills;
        self.sample.memory_limit = self.files.memory_limit(scratch);
        self.sample.oom_kills = self.files.oom_kills(scratch);
        let Counted { files, sockets } = process::count(&tree.join(&self.group.path), proc);
        self.sample.open_files = files;
        self.sample.open_sockets = sockets;
        match (before, self.sample.oom_kills) {
            (Ok(before), Ok(now)) if now > before => Some((now - before) as u64),
            _ => None,
        }
    }

    pub(crate) fn status(&self) -> UnitStatus {
        let sample = &self.sample;
        UnitStatus {
            unit: self.group.unit.to_string(),
            cgroup: format!("/{}", self.group.path.display()),
            cpu_ratio: told(sample.cpu_ratio),
            cpu_seconds_total: told(sample.cpu_seconds),
            memory_bytes: told(sample.memory),
            memory_limit_bytes: told(sample.memory_limit),
            read_bytes_per_second: told(sample.read),
            written_bytes_per_second: told(sample.written),
            tasks: told(sample.tasks),
            cpu_pressure_ratio: told(sample.cpu_pressure),
            memory_pressure_ratio: told(sample.memory_pressure),
            io_pressure_ratio: told(sample.io_pressure),
            oom_kills_total: told(sample.oom_kills),
            restarts_total: told(sample.restarts),
            open_sockets: told(sample.open_sockets),
            open_files: told(sample.open_files),
        }
    }
}

/// Microseconds waited for become the share of time that was waited.
pub(crate) fn pressure(
    file: &mut Kept,
    rate: &mut Rate,
    scratch: &mut Scratch,
    seconds: f64,
) -> Measured {
    let text = file.read(scratch);
    let total = text.and_then(|text| pressure_total(text).ok_or(Missing::NotSaid("pressure")));
    rate.next(total, seconds * 1e6).map(|ratio| ratio.min(1.0))
}

impl Files {
    pub(super) fn of(path: &Path, hierarchy: &Hierarchy) -> Self {
        match hierarchy {
            Hierarchy::Unified { root } => {
                let file = |name| Kept::new(name, root.join(path).join(name));
                Self {
                    cpu: file("cpu.stat"),
                    memory: file("memory.current"),
                    memory_limit: file("memory.max"),
                    oom: file("memory.events"),
                    io: file("io.stat"),
                    tasks: file("pids.current"),
                    cpu_pressure: file("cpu.pressure"),
                    memory_pressure: file("memory.pressure"),
                    io_pressure: file("io.pressure"),
                    layout: Layout::Unified,
                }
            }
            Hierarchy::Legacy { controllers, unified, .. } => {
                let file = |tree: &Option<std::path::PathBuf>, name| match tree {
                    Some(tree) => Kept::new(name, tree.join(path).join(name)),
                    None => Kept::absent(name),
                };
                Self {
                    cpu: file(&controllers.cpuacct, "cpuacct.usage"),
                    memory: file(&controllers.memory, "memory.usage_in_bytes"),
                    memory_limit: file(&controllers.memory, "memory.limit_in_bytes"),
                    oom: file(&controllers.memory, "memory.oom_control"),
                    io: file(&controllers.blkio, "blkio.throttle.io_service_bytes"),
                    tasks: file(&controllers.pids, "pids.current"),
                    cpu_pressure: file(unified, "cpu.pressure"),
                    memory_pressure: file(unified, "memory.pressure"),
                    io_pressure: file(unified, "io.pressure"),
                    layout: Layout::Legacy,
                }
            }
            Hierarchy::None => {
                let none = || Kept::absent("control group");
                Self {
                    cpu: none(),
                    memory: none(),
                    memory_limit: none(),
                    oom: none(),
                    io: none(),
                    tasks: none(),
                    cpu_pressure: none(),
                    memory_pressure: none(),
                    io_pressure: none(),
                    layout: Layout::Unified,
                }
            }
        }
    }

    pub(super) fn cpu_seconds(&mut self, scratch: &mut Scratch) -> Measured {
        match self.layout {
            Layout::Unified => {
                let text = self.cpu.read(scratch)?;
                field(text, b"usage_usec")
                    .map(|micros| micros / 1e6)
                    .ok_or(Missing::NotSaid("cpu.stat"))
            }
            Layout::Legacy => Ok(self.cpu.number(scratch)? / 1e9),
        }
    }

    pub(super) fn memory_limit(&mut self, scratch: &mut Scratch) -> Measured {
        let text = self.memory_limit.read(scratch)?;
        // "max" is no number.
        number(text).filter(|bytes| *bytes < NO_LIMIT_FROM).ok_or(Missing::NoLimit)
    }

    pub(super) fn oom_kills(&mut self, scratch: &mut Scratch) -> Measured {
        let text = self.oom.read(scratch)?;
        field(text, b"oom_kill").ok_or(Missing::NotSaid("the memory controller"))
    }

    /// Bytes read and written, over all devices.
    pub(super) fn io_bytes(&mut self, scratch: &mut Scratch) -> (Measured, Measured) {
        let text = match self.io.read(scratch) {
            Ok(text) => text,
            Err(missing) => return (Err(missing), Err(missing)),
        };
        let (read, written) = match self.layout {
            Layout::Unified => io_of_unified(text),
            Layout::Legacy => io_of_legacy(text),
        };
        (Ok(read), Ok(written))
    }
}

/// `8:0 rbytes=1 wbytes=2 rios=…`; a group without I/O so far has no lines.
fn io_of_unified(text: &[u8]) -> (f64, f64) {
    let sum = |key: &[u8]| -> f64 {
        lines(text).flat_map(words).filter_map(|word| number(word.strip_prefix(key)?)).sum()
    };
    (sum(b"rbytes="), sum(b"wbytes="))
}

/// `8:0 Read 1`.
fn io_of_legacy(text: &[u8]) -> (f64, f64) {
    let sum = |key: &[u8]| -> f64 {
        lines(text)
            .filter_map(|line| {
                let mut words = words(line).skip(1);
                (words.next()? == key).then(|| number(words.next()?)).flatten()
            })
            .sum()
    };
    (sum(b"Read"), sum(b"Write"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_summed_over_devices() {
        let unified = b"8:0 rbytes=10 wbytes=1 rios=1\n8:16 rbytes=5 wbytes=2 dbytes=9\n";
        assert_eq!(io_of_unified(unified), (15.0, 3.0));
        let legacy =
            b"8:0 Read 10\n8:0 Write 1\n8:0 Total 11\n8:16 Read 5\n8:16 Write 2\nTotal 18\n";
        assert_eq!(io_of_legacy(legacy), (15.0, 3.0));
        assert_eq!(io_of_unified(b""), (0.0, 0.0));
    }
}
