//! Measuring: units, the machine, and what the data plane says, each second.
//!
//! A [`Collector`] is a thread of its own, so that a slow `/proc` delays no
//! answer. Each tick it looks at every unit, leaves the numbers where
//! [`Latest`] can be asked for them, and hands the tick's points to the store.

mod cgroup;
mod file;
mod host;
mod process;
mod reading;
mod traffic;
mod unit;
mod usage;

use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use bs9_api::types::{Happening, HostStatus, OneUnit, SCHEMA, ServiceUsage, Units};
use bs9_config::Collect;
use jiff::Timestamp;

pub(crate) use cgroup::Hierarchy;
pub(crate) use process::{address, open_sockets, pids};
pub(crate) use usage::Place;

use cgroup::Group;
use file::Scratch;
use host::HostMeter;
use reading::Measured;
use traffic::Traffic;
use unit::UnitMeter;

use crate::{
    event::Events,
    memory::Memory,
    store::{Point, Rollup, Store},
};

/// In so many ticks every unit gets one closer look.
const CLOSER_EVERY: u64 = 10;

/// What was measured last; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Latest {
    meters: Arc<Mutex<Meters>>,
    proc: Arc<PathBuf>,
}

#[derive(Debug)]
struct Meters {
    hierarchy: Hierarchy,
    at: Option<Timestamp>,
    units: BTreeMap<Arc<str>, UnitMeter>,
    left_out: u64,
    host: HostMeter,
    /// How long the last tick took.
    took: Duration,
    ticks: u64,
}

impl Latest {
    fn meters(&self) -> MutexGuard<'_, Meters> {
        // A panic while measuring leaves numbers of two ticks side by side, which
        // the next tick mends.
        self.meters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every unit.
    pub(crate) fn units(&self) -> Units {
        let meters = self.meters();
        Units {
            schema: SCHEMA,
            at: meters.at,
            hierarchy: meters.hierarchy.name().to_owned(),
            units: meters.units.values().map(UnitMeter::status).collect(),
            left_out: meters.left_out,
        }
    }

    /// One unit, looked at now; its name may lack `.service`. Blocks: not for the
    /// runtime's thread.
    pub(crate) fn unit(&self, name: &str) -> Option<OneUnit> {
        let (status, group) = {
            let meters = self.meters();
            let service = format!("{name}.service");
            let meter = meters.units.get(name).or_else(|| meters.units.get(service.as_str()))?;
            (meter.status(), meters.hierarchy.tree()?.join(&meter.group.path))
        };
        let process::Inside { processes, listening, reasons } =
            process::look_inside(&group, &self.proc);
        Some(OneUnit { schema: SCHEMA, status, processes, listening, reasons })
    }

    /// What the instances at these places use, looked at now. Blocks: not for the
    /// runtime's thread.
    pub(crate) fn usage(&self, places: Vec<Place>) -> ServiceUsage {
        let hierarchy = self.meters().hierarchy.clone();
        usage::look(places, &hierarchy, &self.proc)
    }

    /// The machine.
    pub(crate) fn host(&self) -> HostStatus {
        let meters = self.meters();
        meters.host.status(meters.at)
    }

    /// How many ticks there were, and how long the last one took.
    pub(crate) fn effort(&self) -> (u64, Duration) {
        let meters = self.meters();
        (meters.ticks, meters.took)
    }
}

/// The thread that measures.
#[derive(Debug)]
pub(crate) struct Collector {
    config: Collect,
    latest: Latest,
    memory: Arc<Mutex<Memory>>,
    rollup: Rollup,
    store: Store,
    events: Events,
    traffic: Traffic,
    scratch: Scratch,
    last: Option<Instant>,
    ticks: u64,
}

/// A collector that runs; ends when told, with everything handed to the store.
#[derive(Debug)]
pub(crate) struct Running {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl Running {
    /// Ends it, and waits for that.
    pub(crate) fn stop(self) {
        drop(self.stop);
        if self.thread.join().is_err() {
            tracing::error!("the collector has panicked");
        }
    }
}

impl Collector {
    pub(crate) fn new(
        config: &Collect,
        memory: Arc<Mutex<Memory>>,
        rollup: Rollup,
        store: Store,
        events: Events,
    ) -> Self {
        let meters = Meters {
            hierarchy: Hierarchy::detect(&config.cgroups),
            at: None,
            units: BTreeMap::new(),
            left_out: 0,
            host: HostMeter::new(&config.proc),
            took: Duration::ZERO,
            ticks: 0,
        };
        let latest =
            Latest { meters: Arc::new(Mutex::new(meters)), proc: Arc::new(config.proc.clone()) };
        Self {
            config: config.clone(),
            latest,
            memory,
            rollup,
            store,
            events,
            traffic: Traffic::default(),
            scratch: Scratch::new(),
            last: None,
            ticks: 0,
        }
    }

    pub(crate) fn latest(&self) -> Latest {
        self.latest.clone()
    }

    /// Begins to measure.
    ///
    /// # Errors
    ///
    /// The system gives no thread.
    pub(crate) fn start(self) -> io::Result<Running> {
        raise_open_files();
        let (stop, stopped) = channel();
        let thread = std::thread::Builder::new()
            .name("bs9-collect".to_owned())
            .spawn(move || self.run(&stopped))?;
        Ok(Running { stop, thread })
    }

    fn run(mut self, stopped: &Receiver<()>) {
        let mut due = Instant::now();
        loop {
            self.tick(Timestamp::now());
            due += self.config.interval;
            let now = Instant::now();
            if due < now {
                // What was missed is missed.
                due = now;
            }
            match stopped.recv_timeout(due - now) {
                Err(RecvTimeoutError::Timeout) => {}
                _ => break,
            }
        }
        let batch = self.rollup.finish(Timestamp::now().as_second());
        self.store.write(batch, self.events.take_unwritten(), Vec::new());
    }

    fn tick(&mut self, now: Timestamp) {
        let begun = Instant::now();
        let seconds =
            self.last.replace(begun).map_or(0.0, |last| begun.duration_since(last).as_secs_f64());
        let at = now.as_second();
        let mut batch = self.rollup.tick(at);
        {
            let latest = self.latest.clone();
            let mut meters = latest.meters();
            meters.at = Some(now);
            meters.host.look(&mut self.scratch, seconds);
            self.look_at_units(&mut meters, seconds);
            add_host(&meters.host, at, &mut self.rollup);
            for meter in meters.units.values() {
                add_unit(meter, at, &mut self.rollup);
            }
        }
        {
            let memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
            self.traffic.add(memory.view.shown(), at, &mut self.rollup);
        }
        self.rollup.seal(&mut batch);
        self.store.note_series(self.rollup.live(), self.rollup.left_out());
        let live = self.rollup.live_ids(at);
        self.store.write(batch, self.events.take_unwritten(), live);
        self.ticks += 1;
        let mut meters = self.latest.meters();
        meters.took = begun.elapsed();
        meters.ticks = self.ticks;
    }

    fn look_at_units(&mut self, meters: &mut Meters, seconds: f64) {
        let Some(tree) = meters.hierarchy.tree().map(PathBuf::from) else {
            // A later mount is found.
            meters.hierarchy = Hierarchy::detect(&self.config.cgroups);
            return;
        };
        let mut groups = cgroup::units(&tree, &self.config.units);
        meters.left_out = groups.len().saturating_sub(self.config.max_units) as u64;
        groups.truncate(self.config.max_units);
        self.note_comings_and_goings(meters, groups);
        for (nth, meter) in meters.units.values_mut().enumerate() {
            meter.look(&mut self.scratch, seconds);
            if (nth as u64 + self.ticks).is_multiple_of(CLOSER_EVERY)
                && let Some(kills) = meter.look_closer(&tree, &self.config.proc, &mut self.scratch)
            {
                let unit = meter.group.unit.to_string();
                self.events.publish(Happening::UnitOutOfMemory { unit, kills });
            }
        }
    }

    fn note_comings_and_goings(&self, meters: &mut Meters, groups: Vec<Group>) {
        // What runs when the manager starts did not just appear.
        let first = self.ticks == 0;
        let mut gone: Vec<Arc<str>> = Vec::new();
        if groups.len() != meters.units.len()
            || groups.iter().any(|group| !meters.units.contains_key(&group.unit))
        {
            let there: std::collections::HashSet<&Arc<str>> =
                groups.iter().map(|group| &group.unit).collect();
            gone.extend(meters.units.keys().filter(|unit| !there.contains(unit)).cloned());
        }
        for unit in gone {
            meters.units.remove(&unit);
            self.events.publish(Happening::UnitGone { unit: unit.to_string() });
        }
        for group in groups {
            match meters.units.get_mut(&group.unit) {
                Some(meter) if meter.group.inode == group.inode => {}
                Some(meter) => {
                    let unit = group.unit.to_string();
                    let restarts = meter.restarted(group, &meters.hierarchy);
                    self.events.publish(Happening::UnitRestarted { unit, restarts });
                }
                None => {
                    if !first {
                        let unit = group.unit.to_string();
                        self.events.publish(Happening::UnitAppeared { unit });
                    }
                    let meter = UnitMeter::new(group, &meters.hierarchy);
                    meters.units.insert(Arc::clone(&meter.group.unit), meter);
                }
            }
        }
    }
}

/// A unit keeps a handful of files open; the usual soft limit is for programs that
/// use select(2), which this is not.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}

fn add_all(values: &[(&'static str, Measured)], subject: &str, at: i64, rollup: &mut Rollup) {
    for (name, value) in values {
        if let Ok(value) = value {
            rollup.add(at, name, subject, &Point::of(*value));
        }
    }
}

fn add_unit(meter: &UnitMeter, at: i64, rollup: &mut Rollup) {
    let sample = &meter.sample;
    let values = [
        ("bs9_service_cpu_ratio", sample.cpu_ratio),
        ("bs9_service_memory_bytes", sample.memory),
        ("bs9_service_read_bytes_per_second", sample.read),
        ("bs9_service_written_bytes_per_second", sample.written),
        ("bs9_service_tasks", sample.tasks),
        ("bs9_service_cpu_pressure_ratio", sample.cpu_pressure),
        ("bs9_service_memory_pressure_ratio", sample.memory_pressure),
        ("bs9_service_io_pressure_ratio", sample.io_pressure),
        ("bs9_service_oom_kills", sample.oom_kills),
        ("bs9_service_restarts", sample.restarts),
        ("bs9_service_open_sockets", sample.open_sockets),
        ("bs9_service_open_files", sample.open_files),
    ];
    add_all(&values, &meter.group.unit, at, rollup);
}

fn add_host(host: &HostMeter, at: i64, rollup: &mut Rollup) {
    let sample = &host.sample;
    let values = [
        ("bs9_host_cpu_ratio", sample.cpu_ratio),
        ("bs9_host_load_1m", sample.load[0]),
        ("bs9_host_memory_available_bytes", sample.memory_available),
        ("bs9_host_swap_free_bytes", sample.swap_free),
        ("bs9_host_cpu_pressure_ratio", sample.cpu_pressure),
        ("bs9_host_memory_pressure_ratio", sample.memory_pressure),
        ("bs9_host_io_pressure_ratio", sample.io_pressure),
        ("bs9_host_tcp_sockets", sample.tcp_sockets),
    ];
    add_all(&values, "", at, rollup);
    for disk in &sample.disks {
        let names = [
            "bs9_disk_read_bytes_per_second",
            "bs9_disk_written_bytes_per_second",
            "bs9_disk_busy_ratio",
        ];
        add_all(&pair(names, disk.rates), &disk.name, at, rollup);
    }
    for network in &sample.networks {
        let names = [
            "bs9_network_received_bytes_per_second",
            "bs9_network_sent_bytes_per_second",
            "bs9_network_faults_per_second",
        ];
        add_all(&pair(names, network.rates), &network.name, at, rollup);
    }
}

fn pair(names: [&'static str; 3], values: [Measured; 3]) -> [(&'static str, Measured); 3] {
    std::array::from_fn(|index| (names[index], values[index]))
}
