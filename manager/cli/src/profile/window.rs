//! The window: looks at a service turned into figures as they come in.

use std::collections::BTreeMap;

use bs9_api::types::{InstanceUsage, ProcessUsage, Reading, ServiceUsage};
use serde::Serialize;

use super::figure::{Figure, Unit, Values};

/// Every figure, in the order in which they are shown.
const FIGURES: [(&str, Unit); 15] = [
    ("cpu_cores", Unit::Cores),
    ("cpu_limit_ratio", Unit::Ratio),
    ("throttled_ratio", Unit::Ratio),
    ("memory_bytes", Unit::Bytes),
    ("memory_limit_ratio", Unit::Ratio),
    ("threads", Unit::Count),
    ("processes", Unit::Count),
    ("open_files", Unit::Count),
    ("open_files_limit_ratio", Unit::Ratio),
    ("read_bytes_per_second", Unit::BytesPerSecond),
    ("written_bytes_per_second", Unit::BytesPerSecond),
    ("cpu_pressure_ratio", Unit::Ratio),
    ("memory_pressure_ratio", Unit::Ratio),
    ("io_pressure_ratio", Unit::Ratio),
    ("requests_per_second", Unit::PerSecond),
];

const GROUP: &str = "control_group";
const PROCESSES: &str = "processes";
const DATA_PLANE: &str = "data_plane";

/// An instance at one look and at the next.
type Pair<'u> = (&'u InstanceUsage, &'u InstanceUsage);

/// A counter of an instance.
type Counter = fn(&InstanceUsage) -> &Reading;

/// A number and who counted it, or why there is none.
type Counted = Result<(f64, &'static str), String>;

/// What has been seen of a service since it is looked at.
#[derive(Debug, Default)]
pub(super) struct Window {
    before: Option<Look>,
    series: BTreeMap<&'static str, Series>,
    instances: BTreeMap<u32, Instance>,
    pub(super) looks: usize,
    pub(super) oom_kills: f64,
    /// Instances beyond those that the manager looks at.
    pub(super) left_out: u64,
    pub(super) limits: Limits,
}

#[derive(Debug)]
struct Look {
    at: f64,
    usage: ServiceUsage,
    requests: Option<u64>,
}

#[derive(Debug, Default)]
struct Series {
    points: Vec<(f64, f64)>,
    source: Option<&'static str>,
    reason: Option<String>,
}

/// What one instance, or one process of it, may use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(super) struct Limits {
    pub(super) cpu_cores: Option<f64>,
    pub(super) memory_bytes: Option<f64>,
    pub(super) open_files: Option<f64>,
}

/// What is remembered of an instance.
#[derive(Debug, Default)]
struct Instance {
    unit: String,
    endpoint: Option<String>,
    cpu_seconds: f64,
    cpu_over_seconds: f64,
    memory_max: Option<f64>,
    threads_max: u64,
    open_files_max: Option<f64>,
    /// At the first look and at the last.
    restarts: Option<(u32, u32)>,
}

/// An instance over the window.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct InstanceFigures {
    pub(super) instance: u32,
    pub(super) unit: String,
    pub(super) endpoint: Option<String>,
    pub(super) cpu_cores_mean: Option<f64>,
    pub(super) memory_bytes_max: Option<f64>,
    pub(super) threads_max: u64,
    pub(super) open_files_max: Option<f64>,
    pub(super) restarts: u32,
}

impl Window {
    /// Adds what was seen `at` seconds after the beginning. `requests` is what the
    /// endpoints of its cluster have taken altogether.
    pub(super) fn add(&mut self, at: f64, usage: ServiceUsage, requests: Result<u64, String>) {
        self.looks += 1;
        self.left_out = self.left_out.max(usage.left_out);
        self.gauges(at, &usage);
        let now = Look { at, usage, requests: requests.as_ref().ok().copied() };
        if let Some(before) = self.before.take() {
            self.rates(&before, &now);
        }
        if let Err(reason) = requests {
            self.note("requests_per_second", at, Err(reason));
        }
        self.before = Some(now);
    }

    fn note(&mut self, name: &'static str, at: f64, counted: Counted) {
        let series = self.series.entry(name).or_default();
        match counted {
            Ok((value, source)) => {
                series.points.push((at, value));
                series.source = Some(source);
            }
            Err(reason) => series.reason = Some(reason),
        }
    }

    /// What is there at one moment.
    fn gauges(&mut self, at: f64, usage: &ServiceUsage) {
        let all = &usage.instances;
        let processes = || all.iter().flat_map(|one| &one.processes);
        self.note("memory_bytes", at, sum(all, memory));
        self.note("threads", at, sum(all, |one| Ok((threads(one) as f64, PROCESSES))));
        self.note("processes", at, sum(all, |one| Ok((one.processes.len() as f64, PROCESSES))));
        self.note("open_files", at, sum(all, open_files));
        let share =
            |one: &InstanceUsage| Ok((memory(one)?.0 / value(&one.memory_limit_bytes)?, GROUP));
        self.note("memory_limit_ratio", at, worst(all, share));
        let files = |one: &ProcessUsage| {
            Ok((value(&one.open_files)? / value(&one.open_files_limit)?, PROCESSES))
        };
        self.note("open_files_limit_ratio", at, worst(processes(), files));
        let tightest = |limit: Option<f64>, reading: &Reading| match (limit, reading.value) {
            (Some(limit), Some(value)) => Some(limit.min(value)),
            (limit, value) => limit.or(value),
        };
        for one in all {
            self.limits.cpu_cores = tightest(self.limits.cpu_cores, &one.cpu_limit_cores);
            self.limits.memory_bytes = tightest(self.limits.memory_bytes, &one.memory_limit_bytes);
            let known = self.instances.entry(one.instance).or_default();
            known.unit.clone_from(&one.unit);
            known.endpoint.clone_from(&one.endpoint);
            known.threads_max = known.threads_max.max(threads(one));
            let most = |known: Option<f64>, now: Counted| match now {
                Ok((now, _)) => Some(known.map_or(now, |known| known.max(now))),
                Err(_) => known,
            };
            known.memory_max = most(known.memory_max, memory(one));
            known.open_files_max = most(known.open_files_max, open_files(one));
            let first = known.restarts.map_or(one.restarts_total, |(first, _)| first);
            known.restarts = Some((first, one.restarts_total));
        }
        for one in processes() {
            self.limits.open_files = tightest(self.limits.open_files, &one.open_files_limit);
        }
    }

    /// What has changed between two moments.
    fn rates(&mut self, before: &Look, now: &Look) {
        let seconds = now.at - before.at;
        if seconds <= 0.0 {
            return;
        }
        let at = now.at;
        let pairs: Vec<Pair<'_>> = now
            .usage
            .instances
            .iter()
            .filter_map(|one| {
                let same = |other: &&InstanceUsage| other.instance == one.instance;
                Some((before.usage.instances.iter().find(same)?, one))
            })
            .collect();
        let each = |counted: Counted| counted.map(|(grown, source)| (grown / seconds, source));
        let cpu = |(before, now): &Pair<'_>| each(cpu(before, now));
        self.note("cpu_cores", at, sum(&pairs, cpu));
        let of_limit =
            |pair: &Pair<'_>| Ok((cpu(pair)?.0 / value(&pair.1.cpu_limit_cores)?, GROUP));
        self.note("cpu_limit_ratio", at, worst(&pairs, of_limit));
        let read = |(before, now): &Pair<'_>| {
            each(io(before, now, |one| &one.read_bytes_total, |one| &one.read_bytes_total))
        };
        self.note("read_bytes_per_second", at, sum(&pairs, read));
        let written = |(before, now): &Pair<'_>| {
            each(io(before, now, |one| &one.written_bytes_total, |one| &one.written_bytes_total))
        };
        self.note("written_bytes_per_second", at, sum(&pairs, written));
        let shares: [(&'static str, Counter); 4] = [
            ("throttled_ratio", |one| &one.throttled_seconds_total),
            ("cpu_pressure_ratio", |one| &one.cpu_pressure_seconds_total),
            ("memory_pressure_ratio", |one| &one.memory_pressure_seconds_total),
            ("io_pressure_ratio", |one| &one.io_pressure_seconds_total),
        ];
        for (name, of) in shares {
            let share = |(before, now): &Pair<'_>| {
                let (share, source) = each(grown(of(before), of(now)))?;
                // Both are read a moment apart from the clock.
                Ok((share.min(1.0), source))
            };
            self.note(name, at, worst(&pairs, share));
        }
        if let (Some(before), Some(now)) = (before.requests, now.requests) {
            // Endpoints that are gone took their counts with them.
            let taken = now.saturating_sub(before) as f64 / seconds;
            self.note("requests_per_second", at, Ok((taken, DATA_PLANE)));
        }
        for (before, now) in pairs {
            if let Ok((kills, _)) = grown(&before.oom_kills_total, &now.oom_kills_total) {
                self.oom_kills += kills;
            }
            if let Ok((used, _)) = self::cpu(before, now) {
                let known = self.instances.entry(now.instance).or_default();
                known.cpu_seconds += used;
                known.cpu_over_seconds += seconds;
            }
        }
    }

    /// Every figure, also those that there are no values of.
    pub(super) fn figures(&self) -> Vec<Figure> {
        let figure = |(name, unit): &(&'static str, Unit)| {
            let series = self.series.get(name);
            let values = series.and_then(|series| Values::of(&series.points));
            let reason = series.and_then(|series| series.reason.clone());
            let never = || "a rate needs two looks".to_owned();
            Figure {
                name,
                unit: *unit,
                source: series.and_then(|series| series.source),
                values,
                reason: reason.or_else(|| values.is_none().then(never)),
            }
        };
        FIGURES.iter().map(figure).collect()
    }

    pub(super) fn instances(&self) -> Vec<InstanceFigures> {
        let figures = |(instance, known): (&u32, &Instance)| InstanceFigures {
            instance: *instance,
            unit: known.unit.clone(),
            endpoint: known.endpoint.clone(),
            cpu_cores_mean: (known.cpu_over_seconds > 0.0)
                .then(|| known.cpu_seconds / known.cpu_over_seconds),
            memory_bytes_max: known.memory_max,
            threads_max: known.threads_max,
            open_files_max: known.open_files_max,
            restarts: known.restarts.map_or(0, |(first, last)| last.saturating_sub(first)),
        };
        self.instances.iter().map(figures).collect()
    }

    /// The newest value of a figure, and its unit.
    pub(super) fn newest(&self, name: &str) -> Option<(f64, Unit)> {
        let (_, value) = self.series.get(name)?.points.last()?;
        let (_, unit) = FIGURES.iter().find(|(known, _)| *known == name)?;
        Some((*value, *unit))
    }
}

fn value(reading: &Reading) -> Result<f64, String> {
    reading
        .value
        .ok_or_else(|| reading.reason.clone().unwrap_or_else(|| "it is not told why".to_owned()))
}

/// The sum over all; one that is missing makes it missing.
fn sum<T>(all: &[T], of: impl Fn(&T) -> Counted) -> Counted {
    let mut whole: Counted = Err("no instance runs".to_owned());
    for one in all {
        let (value, source) = of(one)?;
        whole = Ok((whole.map_or(value, |(so_far, _)| so_far + value), source));
    }
    whole
}

/// The largest of those that there are.
fn worst<'t, T: 't>(all: impl IntoIterator<Item = &'t T>, of: impl Fn(&T) -> Counted) -> Counted {
    let mut worst: Counted = Err("no instance runs".to_owned());
    for one in all {
        worst = match (worst, of(one)) {
            (Ok(before), Ok(now)) => Ok(if now.0 > before.0 { now } else { before }),
            (Err(_), now) => now,
            (before, Err(_)) => before,
        };
    }
    worst
}

fn threads(one: &InstanceUsage) -> u64 {
    one.processes.iter().map(|process| process.threads).sum()
}

fn memory(one: &InstanceUsage) -> Counted {
    match value(&one.memory_bytes) {
        Ok(bytes) => Ok((bytes, GROUP)),
        Err(reason) if one.processes.is_empty() => Err(reason),
        Err(_) => {
            let resident = one.processes.iter().map(|process| process.resident_bytes as f64);
            Ok((resident.sum(), PROCESSES))
        }
    }
}

fn open_files(one: &InstanceUsage) -> Counted {
    sum(&one.processes, |process| Ok((value(&process.open_files)?, PROCESSES)))
}

/// By how much a counter grew. One that is smaller than before began anew.
fn grown(before: &Reading, now: &Reading) -> Counted {
    let (before, now) = (value(before)?, value(now)?);
    Ok((if now >= before { now - before } else { now }, GROUP))
}

/// Processor seconds used, by the control group or else by its processes.
fn cpu(before: &InstanceUsage, now: &InstanceUsage) -> Counted {
    grown(&before.cpu_seconds_total, &now.cpu_seconds_total).or_else(|reason| {
        if now.processes.is_empty() {
            return Err(reason);
        }
        of_processes(before, now, |process| Ok(process.cpu_seconds_total))
    })
}

fn io(
    before: &InstanceUsage,
    now: &InstanceUsage,
    of_group: Counter,
    of_process: fn(&ProcessUsage) -> &Reading,
) -> Counted {
    grown(of_group(before), of_group(now)).or_else(|reason| {
        of_processes(before, now, |process| value(of_process(process))).map_err(|_| reason)
    })
}

/// What the processes that are there now have added; one that was not there before
/// has done all of its work since.
fn of_processes(
    before: &InstanceUsage,
    now: &InstanceUsage,
    of: impl Fn(&ProcessUsage) -> Result<f64, String>,
) -> Counted {
    sum(&now.processes, |process| {
        let same = |other: &&ProcessUsage| other.pid == process.pid && other.name == process.name;
        let earlier = before.processes.iter().find(same).map(&of).transpose()?.unwrap_or(0.0);
        let now = of(process)?;
        Ok((if now >= earlier { now - earlier } else { now }, PROCESSES))
    })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn usage(instances: Vec<InstanceUsage>) -> ServiceUsage {
        ServiceUsage { schema: 1, at: Timestamp::UNIX_EPOCH, instances, left_out: 0 }
    }

    fn process(pid: u32, cpu: f64, files: f64) -> ProcessUsage {
        ProcessUsage {
            pid,
            threads: 2,
            resident_bytes: 100,
            cpu_seconds_total: cpu,
            open_files: Reading::of(files),
            open_files_limit: Reading::of(10.0),
            ..ProcessUsage::default()
        }
    }

    fn figure(window: &Window, name: &str) -> Figure {
        window.figures().into_iter().find(|figure| figure.name == name).unwrap()
    }

    #[test]
    fn control_groups_count_and_what_is_missing_says_so() {
        let one = |instance: u32, cpu: f64, waited: f64| InstanceUsage {
            instance,
            cpu_seconds_total: Reading::of(cpu),
            cpu_limit_cores: Reading::of(2.0),
            memory_bytes: Reading::of(60.0),
            memory_limit_bytes: Reading::of(100.0),
            cpu_pressure_seconds_total: Reading::of(waited),
            io_pressure_seconds_total: Reading::missing("there is no io.pressure here"),
            processes: vec![process(instance, 0.0, f64::from(instance))],
            ..InstanceUsage::default()
        };
        let mut window = Window::default();
        window.add(0.0, usage(vec![one(1, 5.0, 1.0), one(2, 5.0, 1.0)]), Ok(100));
        window.add(2.0, usage(vec![one(1, 7.0, 2.0), one(2, 6.0, 1.0)]), Ok(120));
        let mean = |name: &str| figure(&window, name).values.map(|values| values.mean);
        for (name, wanted) in [
            ("cpu_cores", 1.5),
            ("cpu_limit_ratio", 0.5),
            ("memory_bytes", 120.0),
            ("memory_limit_ratio", 0.6),
            ("threads", 4.0),
            ("open_files", 3.0),
            ("open_files_limit_ratio", 0.2),
            ("cpu_pressure_ratio", 0.5),
            ("requests_per_second", 10.0),
        ] {
            assert_eq!(mean(name), Some(wanted), "{name}");
        }
        assert_eq!(figure(&window, "cpu_cores").source, Some("control_group"));
        let missing = figure(&window, "io_pressure_ratio");
        assert_eq!(missing.values, None);
        assert!(missing.reason.unwrap().contains("io.pressure"));
        assert_eq!(window.limits.memory_bytes, Some(100.0));
        assert_eq!(window.limits.open_files, Some(10.0));
        assert_eq!(window.instances()[0].cpu_cores_mean, Some(1.0));
    }

    #[test]
    fn processes_count_where_control_groups_do_not() {
        let one = |processes: Vec<ProcessUsage>| InstanceUsage {
            instance: 1,
            cpu_seconds_total: Reading::missing("no such controller"),
            memory_bytes: Reading::missing("no such controller"),
            processes,
            ..InstanceUsage::default()
        };
        let mut window = Window::default();
        window.add(0.0, usage(vec![one(vec![process(1, 5.0, 3.0)])]), Err("nobody".into()));
        // One more process, which has used half a second since.
        let now = vec![process(1, 6.0, 3.0), process(2, 0.5, 3.0)];
        window.add(1.0, usage(vec![one(now)]), Err("nobody".into()));
        let cpu = figure(&window, "cpu_cores");
        assert_eq!((cpu.values.unwrap().mean, cpu.source), (1.5, Some("processes")));
        assert_eq!(figure(&window, "memory_bytes").values.unwrap().max, 200.0);
        assert_eq!(figure(&window, "requests_per_second").reason.as_deref(), Some("nobody"));
    }

    #[test]
    fn a_restart_is_counted_and_makes_no_negative_rate() {
        let one = |restarts: u32, cpu: f64| InstanceUsage {
            instance: 1,
            restarts_total: restarts,
            cpu_seconds_total: Reading::of(cpu),
            ..InstanceUsage::default()
        };
        let mut window = Window::default();
        window.add(0.0, usage(vec![one(4, 50.0)]), Ok(0));
        window.add(1.0, usage(Vec::new()), Ok(0));
        window.add(2.0, usage(vec![one(5, 0.2)]), Ok(0));
        window.add(3.0, usage(vec![one(6, 0.1)]), Ok(0));
        assert_eq!(window.instances()[0].restarts, 2);
        let cpu = figure(&window, "cpu_cores").values.unwrap();
        assert_eq!((cpu.min, cpu.max), (0.1, 0.1));
    }
}
