//! The machine itself.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use bs9_api::types::{DiskStatus, HostStatus, NetworkStatus, SCHEMA};
use jiff::Timestamp;

use super::{
    file::{Kept, Scratch, field, lines, number, words},
    reading::{Measured, Missing, Rate, told},
    unit::pressure,
};

/// Disks and interfaces that are measured, at most each.
const MAX_DEVICES: usize = 128;
/// Of proc(5)'s `diskstats`, whatever the disk's own are.
const SECTOR_BYTES: f64 = 512.0;
/// Of proc(5)'s `stat`.
const TICKS_PER_SECOND: f64 = 100.0;

/// A meter of the machine.
#[derive(Debug)]
pub(crate) struct HostMeter {
    load: Kept,
    stat: Kept,
    memory: Kept,
    disks: Kept,
    networks: Kept,
    sockets: Kept,
    cpu_pressure: Kept,
    memory_pressure: Kept,
    io_pressure: Kept,
    block: PathBuf,
    rates: HostRates,
    pub(crate) sample: HostSample,
}

#[derive(Debug, Default)]
struct HostRates {
    cpu: Rate,
    cpu_pressure: Rate,
    memory_pressure: Rate,
    io_pressure: Rate,
    disks: BTreeMap<Vec<u8>, Option<[Rate; 3]>>,
    networks: BTreeMap<Vec<u8>, [Rate; 3]>,
}

/// The numbers of one look.
#[derive(Debug, Clone)]
pub(crate) struct HostSample {
    pub(crate) cores: Measured,
    pub(crate) cpu_ratio: Measured,
    /// Over one, five and fifteen minutes.
    pub(crate) load: [Measured; 3],
    pub(crate) memory: Measured,
    pub(crate) memory_available: Measured,
    pub(crate) swap: Measured,
    pub(crate) swap_free: Measured,
    pub(crate) cpu_pressure: Measured,
    pub(crate) memory_pressure: Measured,
    pub(crate) io_pressure: Measured,
    pub(crate) tcp_sockets: Measured,
    pub(crate) disks: Vec<DeviceSample>,
    pub(crate) networks: Vec<DeviceSample>,
}

/// A disk (read, written, busy) or an interface (received, sent, faults).
#[derive(Debug, Clone)]
pub(crate) struct DeviceSample {
    pub(crate) name: String,
    pub(crate) rates: [Measured; 3],
}

impl Default for HostSample {
    fn default() -> Self {
        let none = Err(Missing::FirstSample);
        Self {
            cores: none,
            cpu_ratio: none,
            load: [none; 3],
            memory: none,
            memory_available: none,
            swap: none,
            swap_free: none,
            cpu_pressure: none,
            memory_pressure: none,
            io_pressure: none,
            tcp_sockets: none,
            disks: Vec::new(),
            networks: Vec::new(),
        }
    }
}

impl HostMeter {
    pub(crate) fn new(proc: &Path) -> Self {
        let file = |name: &'static str, path: &str| Kept::new(name, proc.join(path));
        Self {
            load: file("/proc/loadavg", "loadavg"),
            stat: file("/proc/stat", "stat"),
            memory: file("/proc/meminfo", "meminfo"),
            disks: file("/proc/diskstats", "diskstats"),
            networks: file("/proc/net/dev", "self/net/dev"),
            sockets: file("/proc/net/sockstat", "self/net/sockstat"),
            cpu_pressure: file("/proc/pressure/cpu", "pressure/cpu"),
            memory_pressure: file("/proc/pressure/memory", "pressure/memory"),
            io_pressure: file("/proc/pressure/io", "pressure/io"),
            block: "/sys/block".into(),
            rates: HostRates::default(),
            sample: HostSample::default(),
        }
    }

    /// `seconds` have passed since the last look.
    pub(crate) fn look(&mut self, scratch: &mut Scratch, seconds: f64) {
        self.look_at_processors(scratch, seconds);
        self.look_at_memory(scratch);
        let (rates, sample) = (&mut self.rates, &mut self.sample);
        sample.cpu_pressure =
            pressure(&mut self.cpu_pressure, &mut rates.cpu_pressure, scratch, seconds);
        sample.memory_pressure =
            pressure(&mut self.memory_pressure, &mut rates.memory_pressure, scratch, seconds);
        sample.io_pressure =
            pressure(&mut self.io_pressure, &mut rates.io_pressure, scratch, seconds);
        let sockets = self.sockets.read(scratch);
        sample.tcp_sockets =
            sockets.and_then(|text| tcp_in_use(text).ok_or(Missing::NotSaid("/proc/net/sockstat")));
        sample.disks = match self.disks.read(scratch) {
            Ok(text) => disks(text, &mut rates.disks, &self.block, seconds),
            Err(_) => Vec::new(),
        };
        sample.networks = match self.networks.read(scratch) {
            Ok(text) => networks(text, &mut rates.networks, seconds),
            Err(_) => Vec::new(),
        };
    }

    fn look_at_processors(&mut self, scratch: &mut Scratch, seconds: f64) {
        let sample = &mut self.sample;
        match self.load.read(scratch) {
            Ok(text) => {
                let mut words = words(text);
                sample.load = std::array::from_fn(|_| {
                    words.next().and_then(number).ok_or(Missing::NotSaid("/proc/loadavg"))
                });
            }
            Err(missing) => sample.load = [Err(missing); 3],
        }
        let (busy, cores) = match self.stat.read(scratch) {
            Ok(text) => (
                busy_seconds(text).ok_or(Missing::NotSaid("/proc/stat")),
                Ok(cores(text)).filter_some(),
            ),
            Err(missing) => (Err(missing), Err(missing)),
        };
        sample.cpu_ratio = self.rates.cpu.next(busy, seconds);
        sample.cores = cores;
    }

    fn look_at_memory(&mut self, scratch: &mut Scratch) {
        let sample = &mut self.sample;
        match self.memory.read(scratch) {
            Ok(text) => {
                let bytes = |key: &[u8]| {
                    let kib = field(text, key).ok_or(Missing::NotSaid("/proc/meminfo"))?;
                    Ok(kib * 1024.0)
                };
                sample.memory = bytes(b"MemTotal");
                sample.memory_available = bytes(b"MemAvailable");
                sample.swap = bytes(b"SwapTotal");
                sample.swap_free = bytes(b"SwapFree");
            }
            Err(missing) => {
                let none = Err(missing);
                sample.memory = none;
                sample.memory_available = none;
                sample.swap = none;
                sample.swap_free = none;
            }
        }
    }

    pub(crate) fn status(&self, at: Option<Timestamp>) -> HostStatus {
        let sample = &self.sample;
        let [load_1m, load_5m, load_15m] = sample.load.map(told);
        HostStatus {
            schema: SCHEMA,
            at,
            cores: told(sample.cores),
            cpu_ratio: told(sample.cpu_ratio),
            load_1m,
            load_5m,
            load_15m,
            memory_bytes: told(sample.memory),
            memory_available_bytes: told(sample.memory_available),
            swap_bytes: told(sample.swap),
            swap_free_bytes: told(sample.swap_free),
            cpu_pressure_ratio: told(sample.cpu_pressure),
            memory_pressure_ratio: told(sample.memory_pressure),
            io_pressure_ratio: told(sample.io_pressure),
            tcp_sockets: told(sample.tcp_sockets),
            disks: sample.disks.iter().map(disk_status).collect(),
            networks: sample.networks.iter().map(network_status).collect(),
        }
    }
}

fn disk_status(disk: &DeviceSample) -> DiskStatus {
    let [read, written, busy] = disk.rates.map(told);
    DiskStatus {
        device: disk.name.clone(),
        read_bytes_per_second: read,
        written_bytes_per_second: written,
        busy_ratio: busy,
    }
}

fn network_status(network: &DeviceSample) -> NetworkStatus {
    let [received, sent, faults] = network.rates.map(told);
    NetworkStatus {
        interface: network.name.clone(),
        received_bytes_per_second: received,
        sent_bytes_per_second: sent,
        faults_per_second: faults,
    }
}

/// A count of 0 that cannot be true.
trait FilterSome {
    fn filter_some(self) -> Measured;
}

impl FilterSome for Result<usize, Missing> {
    fn filter_some(self) -> Measured {
        match self? {
            0 => Err(Missing::NotSaid("/proc/stat")),
            many => Ok(many as f64),
        }
    }
}

/// Seconds in which cores were not idle: user, nice, system, irq, softirq, steal.
fn busy_seconds(text: &[u8]) -> Option<f64> {
    let line = lines(text).find(|line| line.starts_with(b"cpu "))?;
    let ticks: Vec<f64> = words(line).skip(1).take(8).filter_map(number).collect();
    if ticks.len() < 4 {
        return None;
    }
    // The fourth and fifth are idle and waiting for I/O.
    let idle: f64 = ticks.iter().skip(3).take(2).sum();
    Some((ticks.iter().sum::<f64>() - idle) / TICKS_PER_SECOND)
}

fn cores(text: &[u8]) -> usize {
    lines(text)
        .filter(|line| {
            line.strip_prefix(b"cpu").and_then(<[u8]>::first).is_some_and(u8::is_ascii_digit)
        })
        .count()
}

fn tcp_in_use(text: &[u8]) -> Option<f64> {
    let line = lines(text).find(|line| line.starts_with(b"TCP:"))?;
    number(words(line).nth(2)?)
}

/// Whole devices; partitions and memory disks are left out.
fn disks(
    text: &[u8],
    rates: &mut BTreeMap<Vec<u8>, Option<[Rate; 3]>>,
    block: &Path,
    seconds: f64,
) -> Vec<DeviceSample> {
    let mut found = Vec::new();
    for line in lines(text) {
        let mut fields = [0.0; 11];
        let mut words = words(line).skip(2);
        let Some(name) = words.next() else { continue };
        if name.starts_with(b"loop") || name.starts_with(b"ram") {
            continue;
        }
        for (field, word) in fields.iter_mut().zip(words) {
            *field = number(word).unwrap_or_default();
        }
        if !rates.contains_key(name) && rates.len() < MAX_DEVICES {
            let text = String::from_utf8_lossy(name);
            // Without sysfs nobody can tell partitions apart: all are shown.
            let whole = !block.is_dir() || block.join(text.replace('/', "!")).exists();
            rates.insert(name.to_owned(), whole.then(Default::default));
        }
        let Some(Some([read, written, busy])) = rates.get_mut(name) else { continue };
        found.push(DeviceSample {
            name: String::from_utf8_lossy(name).into_owned(),
            rates: [
                read.next(Ok(fields[2] * SECTOR_BYTES), seconds),
                written.next(Ok(fields[6] * SECTOR_BYTES), seconds),
                busy.next(Ok(fields[9] / 1e3), seconds).map(|ratio| ratio.min(1.0)),
            ],
        });
    }
    found
}

/// Every interface but the loop-back.
fn networks(
    text: &[u8],
    rates: &mut BTreeMap<Vec<u8>, [Rate; 3]>,
    seconds: f64,
) -> Vec<DeviceSample> {
    let mut found = Vec::new();
    for line in lines(text).skip(2) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = line[..colon].trim_ascii();
        let mut fields = [0.0; 12];
        for (field, word) in fields.iter_mut().zip(words(&line[colon + 1..])) {
            *field = number(word).unwrap_or_default();
        }
        if name == b"lo" {
            continue;
        }
        if !rates.contains_key(name) {
            if rates.len() >= MAX_DEVICES {
                // Interfaces of containers come and go.
                rates.clear();
            }
            rates.insert(name.to_owned(), Default::default());
        }
        let Some([received, sent, faults]) = rates.get_mut(name) else { continue };
        let broken = fields[2] + fields[3] + fields[10] + fields[11];
        found.push(DeviceSample {
            name: String::from_utf8_lossy(name).into_owned(),
            rates: [
                received.next(Ok(fields[0]), seconds),
                sent.next(Ok(fields[8]), seconds),
                faults.next(Ok(broken), seconds),
            ],
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors() {
        let stat = b"cpu  100 0 50 800 40 0 10 0 0 0\ncpu0 1 1 1 1\ncpu1 1 1 1 1\nintr 5\n";
        assert_eq!(busy_seconds(stat), Some(1.6));
        assert_eq!(cores(stat), 2);
        assert_eq!(busy_seconds(b"cpu  1\n"), None);
    }

    #[test]
    fn disks_are_whole_devices() {
        let block = tempfile::tempdir().unwrap();
        std::fs::create_dir(block.path().join("sda")).unwrap();
        let mut rates = BTreeMap::new();
        let text = |sectors: u32| {
            format!(
                "   8 0 sda 1 0 {sectors} 0 1 0 4 0 0 500 0\n   8 1 sda1 1 0 9 0 1 0 4 0 0 1 0\n   7 0 loop0 1 0 9 0 0 0 0 0 0 0 0\n"
            )
        };
        disks(text(8).as_bytes(), &mut rates, block.path(), 1.0);
        let found = disks(text(12).as_bytes(), &mut rates, block.path(), 2.0);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].name, "sda");
        assert_eq!(found[0].rates, [Ok(1024.0), Ok(0.0), Ok(0.0)]);
    }

    #[test]
    fn networks_but_the_loop_back() {
        let text = b"Inter-| Receive\n face |bytes\n    lo: 9 0 0 0 0 0 0 0 9 0 0 0 0 0 0 0\n  eth0:100 1 2 3 0 0 0 0 200 1 4 5 0 0 0 0\n";
        let mut rates = BTreeMap::new();
        networks(text, &mut rates, 1.0);
        let found = networks(text, &mut rates, 1.0);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].rates, [Ok(0.0); 3]);
    }

    #[test]
    fn the_machine_this_runs_on_can_be_measured() {
        let (mut host, mut scratch) = (HostMeter::new(Path::new("/proc")), Scratch::new());
        host.look(&mut scratch, 1.0);
        assert_eq!(host.sample.cpu_ratio, Err(Missing::FirstSample));
        host.look(&mut scratch, 1.0);
        assert!(host.sample.cpu_ratio.is_ok() && host.sample.cores.unwrap() >= 1.0);
        assert!(host.sample.memory.unwrap() > host.sample.memory_available.unwrap());
    }

    #[test]
    fn without_files_there_are_reasons_and_no_zeros() {
        let folder = tempfile::tempdir().unwrap();
        let (mut host, mut scratch) = (HostMeter::new(folder.path()), Scratch::new());
        host.look(&mut scratch, 1.0);
        let status = serde_json::to_value(host.status(None)).unwrap();
        for (name, reading) in status.as_object().unwrap() {
            if let Some(reading) = reading.as_object() {
                assert!(reading["reason"].is_string(), "{name} {reading:?}");
            }
        }
    }
}
