//! What bs9 holds, sample by sample, and whether it grows.

use std::fmt;
use std::fs;
use std::time::Duration;

use anyhow::Context;
use serde::Serialize;

use crate::fit::Curve;
use crate::machine::{kibibytes, value_of};

/// What a process holds at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Sample {
    /// Since the beginning.
    pub(super) seconds: f64,
    resident_bytes: u64,
    descriptors: u64,
    threads: u64,
}

/// Something that is watched, and how much it may grow while it is: the part of
/// what there is, or the least that is of interest, whichever is more.
#[derive(Debug)]
struct Watched {
    name: &'static str,
    value: fn(&Sample) -> f64,
    part: f64,
    least: f64,
    /// What one of the shown is.
    shown_in: (&'static str, f64),
}

const WATCHED: [Watched; 3] = [
    Watched {
        name: "resident memory",
        value: |sample| sample.resident_bytes as f64,
        part: 0.05,
        least: 2.0 * 1024.0 * 1024.0,
        shown_in: ("MiB", 1024.0 * 1024.0),
    },
    Watched {
        name: "descriptors",
        value: |sample| sample.descriptors as f64,
        part: 0.10,
        // Kept connections to endpoints come to be as many as were ever in use at once.
        least: 16.0,
        shown_in: ("", 1.0),
    },
    Watched {
        name: "threads",
        value: |sample| sample.threads as f64,
        part: 0.0,
        least: 0.5,
        shown_in: ("", 1.0),
    },
];

/// What became of one of them.
#[derive(Debug, Serialize)]
pub(super) struct Finding {
    name: &'static str,
    /// By the straight line through all samples, from the first to the last.
    from: f64,
    to: f64,
    /// The most that `to` may be above `from`.
    allowed: f64,
    #[serde(skip)]
    shown_in: (&'static str, f64),
}

impl Sample {
    pub(super) fn take(pid: u32, at: Duration) -> anyhow::Result<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))
            .with_context(|| format!("reading the status of process {pid}"))?;
        let resident = value_of(&status, "VmRSS").and_then(kibibytes);
        let threads = value_of(&status, "Threads").and_then(|threads| threads.parse().ok());
        Ok(Self {
            seconds: at.as_secs_f64(),
            resident_bytes: resident.context("/proc/PID/status has no VmRSS")?,
            descriptors: fs::read_dir(format!("/proc/{pid}/fd"))?.count() as u64,
            threads: threads.context("/proc/PID/status has no Threads")?,
        })
    }
}

/// Fits a line through each of what is watched.
pub(super) fn findings<'a>(samples: impl Iterator<Item = &'a Sample>) -> Vec<Finding> {
    let samples: Vec<&Sample> = samples.collect();
    WATCHED.iter().map(|watched| watched.finding(&samples)).collect()
}

impl Watched {
    fn finding(&self, samples: &[&Sample]) -> Finding {
        let points: Vec<_> = samples.iter().map(|s| (s.seconds, (self.value)(s))).collect();
        let line = Curve::straight(&points);
        let end = |point: Option<&(f64, f64)>| point.map_or(f64::NAN, |(at, _)| line.at(*at));
        let (from, to) = (end(points.first()), end(points.last()));
        let allowed = (from * self.part).max(self.least);
        Finding { name: self.name, from, to, allowed, shown_in: self.shown_in }
    }
}

// === impl Finding ===

impl Finding {
    /// Without a sample nothing is known, which is not good.
    pub(super) fn is_good(&self) -> bool {
        self.to - self.from <= self.allowed
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, one) = self.shown_in;
        let shown = |value: f64| format!("{:.1}", value / one);
        let growth = format!("{:+.1}", (self.to - self.from) / one);
        let (from, to, allowed) = (shown(self.from), shown(self.to), shown(self.allowed));
        let verdict = if self.is_good() { "" } else { ": GROWS" };
        write!(
            f,
            "{:<16} {from} → {to} {unit} ({growth}, at most +{allowed} allowed){verdict}",
            self.name
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    fn verdicts(resident: fn(u64) -> u64, descriptors: fn(u64) -> u64) -> Vec<bool> {
        let samples: Vec<_> = (0..60)
            .map(|at| Sample {
                seconds: at as f64,
                resident_bytes: resident(at),
                descriptors: descriptors(at),
                threads: 4,
            })
            .collect();
        findings(samples.iter()).iter().map(Finding::is_good).collect()
    }

    #[test]
    fn what_goes_up_and_down_does_not_grow() {
        let calm = verdicts(|at| 30 * MIB + at % 7 * MIB / 10, |at| 60 + at % 5);
        assert_eq!(calm, [true, true, true]);
    }

    #[test]
    fn a_leak_is_found_among_the_noise() {
        let leaking = verdicts(|at| 30 * MIB + at % 7 * MIB / 10 + at * MIB / 20, |at| 60 + at % 5);
        assert_eq!(leaking, [false, true, true]);
        let leaking = verdicts(|_| 30 * MIB, |at| 60 + at % 5 + at / 2);
        assert_eq!(leaking, [true, false, true]);
    }

    #[test]
    fn without_samples_nothing_is_good() {
        assert!(findings([].iter()).iter().all(|finding| !finding.is_good()));
    }

    #[test]
    fn this_process_can_be_sampled() {
        let sample = Sample::take(std::process::id(), Duration::ZERO).unwrap();
        assert!(sample.resident_bytes > 0 && sample.descriptors > 0 && sample.threads > 0);
    }
}
