//! What a service uses, looked at when somebody asks.

use std::{
    fs,
    path::{Path, PathBuf},
};

use bs9_api::types::{InstanceUsage, ProcessUsage, Reading, SCHEMA, ServiceUsage};
use jiff::Timestamp;

use super::{
    cgroup::Hierarchy,
    file::{Scratch, field, lines, number, pressure_total, words},
    process::{pids, process},
    reading::{Measured, Missing, told},
    unit::Files,
};

/// Instances that are looked at, at most.
const MAX_INSTANCES: usize = 128;
/// Open files of a process that are counted, at most.
const MAX_FILES: usize = 65_536;

/// An instance that runs.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) instance: u32,
    pub(crate) unit: String,
    /// Its control group, below the root.
    pub(crate) group: PathBuf,
    pub(crate) endpoint: Option<String>,
    pub(crate) restarts: u32,
}

pub(super) fn look(mut places: Vec<Place>, hierarchy: &Hierarchy, proc: &Path) -> ServiceUsage {
    let left_out = places.len().saturating_sub(MAX_INSTANCES) as u64;
    places.truncate(MAX_INSTANCES);
    let mut scratch = Scratch::new();
    let at = Timestamp::now();
    let instances =
        places.into_iter().map(|place| instance(place, hierarchy, proc, &mut scratch)).collect();
    ServiceUsage { schema: SCHEMA, at, instances, left_out }
}

fn instance(
    place: Place,
    hierarchy: &Hierarchy,
    proc: &Path,
    scratch: &mut Scratch,
) -> InstanceUsage {
    let mut files = Files::of(&place.group, hierarchy);
    let (read, written) = files.io_bytes(scratch);
    let mut waited = |file: &mut super::file::Kept| {
        let text = file.read(scratch);
        told(
            text.and_then(|text| pressure_total(text).ok_or(Missing::NotSaid("pressure")))
                .map(|micros| micros / 1e6),
        )
    };
    let (cpu_wait, memory_wait, io_wait) = (
        waited(&mut files.cpu_pressure),
        waited(&mut files.memory_pressure),
        waited(&mut files.io_pressure),
    );
    let Quota { cores, throttled } = Quota::of(&place.group, hierarchy, scratch);
    let inside = hierarchy.tree().map(|tree| pids(&tree.join(&place.group))).unwrap_or_default();
    InstanceUsage {
        instance: place.instance,
        unit: place.unit,
        endpoint: place.endpoint,
        restarts_total: place.restarts,
        cpu_seconds_total: told(files.cpu_seconds(scratch)),
        cpu_limit_cores: told(cores),
        throttled_seconds_total: told(throttled),
        memory_bytes: told(files.memory.number(scratch)),
        memory_limit_bytes: told(files.memory_limit(scratch)),
        oom_kills_total: told(files.oom_kills(scratch)),
        read_bytes_total: told(read),
        written_bytes_total: told(written),
        cpu_pressure_seconds_total: cpu_wait,
        memory_pressure_seconds_total: memory_wait,
        io_pressure_seconds_total: io_wait,
        // One that ended meanwhile is not there.
        processes: inside.into_iter().filter_map(|pid| of_process(pid, proc, scratch)).collect(),
    }
}

/// How much of the processor a group may have, and how often it wanted more.
struct Quota {
    cores: Measured,
    throttled: Measured,
}

impl Quota {
    fn of(group: &Path, hierarchy: &Hierarchy, scratch: &mut Scratch) -> Self {
        match hierarchy {
            Hierarchy::Unified { root } => {
                let group = root.join(group);
                let cores = text(&group.join("cpu.max"), "cpu.max", scratch).and_then(quota);
                let throttled = text(&group.join("cpu.stat"), "cpu.stat", scratch).and_then(|t| {
                    let micros = field(t, b"throttled_usec").ok_or(Missing::NotSaid("cpu.stat"))?;
                    Ok(micros / 1e6)
                });
                Self { cores, throttled }
            }
            Hierarchy::Legacy { controllers, .. } => {
                let Some(group) = controllers.cpu.as_ref().map(|tree| tree.join(group)) else {
                    return Self::none("cpu controller");
                };
                let mut one = |name| {
                    let file = text(&group.join(name), name, scratch)?;
                    number(file).ok_or(Missing::NotSaid(name))
                };
                let cores = match (one("cpu.cfs_quota_us"), one("cpu.cfs_period_us")) {
                    (Ok(quota), Ok(period)) if quota > 0.0 && period > 0.0 => Ok(quota / period),
                    (Err(missing), _) | (_, Err(missing)) => Err(missing),
                    _ => Err(Missing::NoLimit),
                };
                let throttled = text(&group.join("cpu.stat"), "cpu.stat", scratch).and_then(|t| {
                    let nanos = field(t, b"throttled_time").ok_or(Missing::NotSaid("cpu.stat"))?;
                    Ok(nanos / 1e9)
                });
                Self { cores, throttled }
            }
            Hierarchy::None => Self::none("control group"),
        }
    }

    fn none(what: &'static str) -> Self {
        Self { cores: Err(Missing::NoFile(what)), throttled: Err(Missing::NoFile(what)) }
    }
}

/// `50000 100000`, or `max 100000`.
fn quota(text: &[u8]) -> Measured {
    let mut words = words(text);
    let (quota, period) = (words.next(), words.next());
    if quota == Some(b"max".as_slice()) {
        return Err(Missing::NoLimit);
    }
    match (quota.and_then(number), period.and_then(number)) {
        (Some(quota), Some(period)) if period > 0.0 => Ok(quota / period),
        _ => Err(Missing::NotSaid("cpu.max")),
    }
}

fn text<'s>(
    path: &Path,
    name: &'static str,
    scratch: &'s mut Scratch,
) -> Result<&'s [u8], Missing> {
    scratch.read_path(path).map_err(|error| Missing::of(name, &error))
}

fn of_process(pid: u32, proc: &Path, scratch: &mut Scratch) -> Option<ProcessUsage> {
    let folder = proc.join(pid.to_string());
    let status = process(pid, scratch.read_path(&folder.join("stat")).ok()?)?;
    let io = text(&folder.join("io"), "/proc/PID/io", scratch);
    let counted = |key: &[u8]| -> Reading {
        told(io.and_then(|text| field(text, key).ok_or(Missing::NotSaid("/proc/PID/io"))))
    };
    let (read, written) = (counted(b"read_bytes"), counted(b"write_bytes"));
    let limits = text(&folder.join("limits"), "/proc/PID/limits", scratch);
    Some(ProcessUsage {
        pid,
        name: status.name,
        threads: status.threads,
        resident_bytes: status.resident_bytes,
        cpu_seconds_total: status.cpu_seconds_total,
        read_bytes_total: read,
        written_bytes_total: written,
        open_files: told(open_files(&folder.join("fd"))),
        open_files_limit: told(limits.and_then(open_files_limit)),
    })
}

fn open_files(folder: &Path) -> Measured {
    match fs::read_dir(folder) {
        Ok(entries) => Ok(entries.take(MAX_FILES).count() as f64),
        Err(error) => Err(Missing::of("/proc/PID/fd", &error)),
    }
}

/// `Max open files            1024                 524288               files`: the
/// first number is the one that holds.
fn open_files_limit(text: &[u8]) -> Measured {
    let key = b"Max open files";
    let line = lines(text).find_map(|line| line.strip_prefix(key.as_slice()));
    let word = line.and_then(|line| words(line).next());
    match word.and_then(number) {
        Some(limit) => Ok(limit),
        None if word == Some(b"unlimited".as_slice()) => Err(Missing::NoLimit),
        None => Err(Missing::NotSaid("/proc/PID/limits")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_used_is_a_number_or_no_limit() {
        assert_eq!(quota(b"50000 100000\n"), Ok(0.5));
        assert_eq!(quota(b"max 100000\n"), Err(Missing::NoLimit));
        assert_eq!(quota(b""), Err(Missing::NotSaid("cpu.max")));
        let limits = b"Limit  Soft Limit  Hard Limit  Units\nMax open files  1024  4096  files\n";
        assert_eq!(open_files_limit(limits), Ok(1024.0));
        assert_eq!(open_files_limit(b"Max open files  unlimited  1"), Err(Missing::NoLimit));
        assert!(open_files_limit(b"").is_err());
    }

    #[test]
    fn counters_of_a_group_and_its_processes() {
        let folder = tempfile::tempdir().unwrap();
        let group = folder.path().join("a.service");
        fs::create_dir(&group).unwrap();
        fs::write(folder.path().join("cgroup.controllers"), "cpu memory\n").unwrap();
        let own = std::process::id();
        for (name, text) in [
            ("cpu.stat", "usage_usec 2500000\nthrottled_usec 500000\n"),
            ("cpu.max", "150000 100000\n"),
            ("memory.current", "4096\n"),
            ("memory.max", "8192\n"),
            ("io.stat", "8:0 rbytes=10 wbytes=20\n"),
            ("cpu.pressure", "some avg10=0 avg60=0 avg300=0 total=1000000\n"),
            ("cgroup.procs", &format!("{own}\n")),
        ] {
            fs::write(group.join(name), text).unwrap();
        }
        let place = Place {
            instance: 1,
            unit: "a.service".into(),
            group: "a.service".into(),
            endpoint: None,
            restarts: 3,
        };
        let hierarchy = Hierarchy::detect(folder.path());
        let usage = look(vec![place], &hierarchy, Path::new("/proc"));
        let one = &usage.instances[0];
        assert_eq!((one.restarts_total, usage.left_out), (3, 0));
        for (reading, wanted) in [
            (&one.cpu_seconds_total, 2.5),
            (&one.throttled_seconds_total, 0.5),
            (&one.cpu_limit_cores, 1.5),
            (&one.memory_bytes, 4096.0),
            (&one.memory_limit_bytes, 8192.0),
            (&one.read_bytes_total, 10.0),
            (&one.written_bytes_total, 20.0),
            (&one.cpu_pressure_seconds_total, 1.0),
        ] {
            assert_eq!(reading.value, Some(wanted), "{one:#?}");
        }
        // What the kernel does not tell is told as that, and is no 0.
        assert!(one.io_pressure_seconds_total.reason.as_ref().unwrap().contains("io.pressure"));
        let process = &one.processes[0];
        assert_eq!(process.pid, own);
        assert!(process.threads >= 1 && process.resident_bytes > 100_000);
        assert!(process.open_files.value.unwrap() >= 3.0);
        assert!(process.open_files_limit.value.is_none_or(|limit| limit >= 3.0));
    }
}
