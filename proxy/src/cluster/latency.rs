//! How long an endpoint takes to answer: a moving average in which peaks count at once and fade
//! slowly ("peak EWMA", as in Finagle).

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use bs9_net::CoarseInstant;

/// What a failure counts for at least: an endpoint that fails fast must not look fast.
pub(super) const FAILURE_PENALTY: Duration = Duration::from_secs(1);

/// A unit of time is 2²¹ ns, about 2 ms; when nothing else is seen, half of an observation has
/// faded after 1,024 of them, about 2.1 s.
const UNIT_SHIFT: u32 = 21;
const HALF_LIFE_SHIFT: u32 = 10;

/// Microseconds in the upper half (as a float), the unit of time they are from in the lower one.
/// Two shards that observe at the same moment may lose one of the two observations.
#[derive(Debug, Default)]
pub(super) struct Latency(AtomicU64);

impl Latency {
    /// Takes a response into account.
    pub(super) fn observe(&self, latency: Duration, now: CoarseInstant) {
        let latency = (latency.as_nanos() as f32 / 1000.0).max(1.0);
        let (known, unit) = unpack(self.0.load(Relaxed));
        let current = unit_of(now);
        let faded = fade(known, current.wrapping_sub(unit));
        let next = if latency >= faded || known <= 0.0 {
            latency
        } else {
            // What has faded makes room for what was seen.
            faded + latency * (1.0 - faded / known)
        };
        self.0.store(pack(next, current), Relaxed);
    }

    /// Microseconds that a response is expected to take; 0 when none was seen.
    #[inline]
    pub(super) fn expected_microseconds(&self, now: CoarseInstant) -> f32 {
        let (known, unit) = unpack(self.0.load(Relaxed));
        fade(known, unit_of(now).wrapping_sub(unit))
    }

    /// Whether a response was ever seen.
    #[inline]
    pub(super) fn is_known(&self) -> bool {
        self.0.load(Relaxed) != 0
    }
}

#[inline]
fn unit_of(now: CoarseInstant) -> u32 {
    (now.nanoseconds() >> UNIT_SHIFT) as u32
}

#[inline]
fn pack(microseconds: f32, unit: u32) -> u64 {
    u64::from(microseconds.to_bits()) << 32 | u64::from(unit)
}

#[inline]
fn unpack(packed: u64) -> (f32, u32) {
    (f32::from_bits((packed >> 32) as u32), packed as u32)
}

/// What is left of `value` after so many units: halved with each half-life, straight in between.
#[inline]
fn fade(value: f32, units: u32) -> f32 {
    let halvings = (units >> HALF_LIFE_SHIFT).min(100);
    let between = (units & ((1 << HALF_LIFE_SHIFT) - 1)) as f32;
    // 2^-halvings by its exponent alone.
    let scale = f32::from_bits((127 - halvings) << 23);
    value * scale * (1.0 - between / (2 << HALF_LIFE_SHIFT) as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> CoarseInstant {
        let origin = bs9_net::now();
        // Far enough from the origin that every instant of a test lies ahead.
        origin.plus(Duration::from_millis(milliseconds))
    }

    #[test]
    fn a_peak_counts_at_once_and_fades() {
        let latency = Latency::default();
        assert!(!latency.is_known());
        latency.observe(Duration::from_millis(1), at(0));
        latency.observe(Duration::from_millis(100), at(0));
        assert_eq!(latency.expected_microseconds(at(0)), 100_000.0);
        let later = latency.expected_microseconds(at(2_148));
        assert!((45_000.0..55_000.0).contains(&later), "{later}");
        assert!(latency.expected_microseconds(at(60_000)) < 1.0);
    }

    #[test]
    fn many_observations_lead_to_what_they_say() {
        let latency = Latency::default();
        latency.observe(Duration::from_millis(100), at(0));
        for millisecond in 0..60_000 {
            latency.observe(Duration::from_millis(2), at(millisecond));
        }
        let known = latency.expected_microseconds(at(60_000));
        assert!((1_900.0..2_100.0).contains(&known), "{known}");
    }
}
