//! Failed logins, by address.

use std::{
    net::{IpAddr, Ipv6Addr},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use bs9_config::LoginAttempts;
use rustc_hash::FxHashMap;

/// Addresses remembered; beyond that, those whose last failure is longest ago are forgotten.
const MAX_ADDRESSES: usize = 16_384;
/// The first time that an address is refused for; then twice as long for each failure.
const FIRST_REFUSAL: Duration = Duration::from_secs(1);
/// An address that has not failed for so long beyond its refusal begins anew.
const FORGIVEN_AFTER: Duration = Duration::from_secs(600);

/// Locked at a login's beginning and end; while nobody fails, not even then.
#[derive(Default)]
pub(super) struct Attempts {
    table: Mutex<FxHashMap<IpAddr, Record>>,
    /// How many it holds.
    known: AtomicUsize,
}

#[derive(Debug, Clone, Copy)]
struct Record {
    failures: u32,
    last: Instant,
    /// It is refused until then.
    until: Instant,
}

impl Attempts {
    fn table(&self) -> MutexGuard<'_, FxHashMap<IpAddr, Record>> {
        // Nothing panics while the table is half changed.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long an address is refused yet.
    pub(super) fn refused_for(
        &self,
        address: IpAddr,
        limits: LoginAttempts,
        now: Instant,
    ) -> Option<Duration> {
        if limits.free == 0 || self.known.load(Relaxed) == 0 {
            return None;
        }
        let until = self.table().get(&network(address))?.until;
        let left = until.saturating_duration_since(now);
        (!left.is_zero()).then_some(left)
    }

    /// Counts a login that was looked at, unless its address is refused by now: for how long yet.
    /// Guesses made side by side would all be free otherwise, and a right one among them tell.
    pub(super) fn judge(
        &self,
        address: IpAddr,
        limits: LoginAttempts,
        passed: bool,
        now: Instant,
    ) -> Option<Duration> {
        let refused = self.refused_for(address, limits, now);
        match (refused, passed) {
            (Some(_), _) => {}
            (None, true) => self.succeeded(address),
            (None, false) => self.failed(address, limits, now),
        }
        refused
    }

    /// Counts a failure.
    fn failed(&self, address: IpAddr, limits: LoginAttempts, now: Instant) {
        if limits.free == 0 {
            return;
        }
        let address = network(address);
        let mut table = self.table();
        if table.len() >= MAX_ADDRESSES && !table.contains_key(&address) {
            make_room(&mut table, now);
        }
        let record = table.entry(address).or_insert(Record { failures: 0, last: now, until: now });
        if record.is_forgiven(now) {
            record.failures = 0;
        }
        record.failures = record.failures.saturating_add(1);
        record.last = now;
        if let Some(beyond) = record.failures.checked_sub(limits.free).filter(|count| *count > 0) {
            let doubled = 1u32.checked_shl(beyond - 1).unwrap_or(u32::MAX);
            record.until = now + FIRST_REFUSAL.saturating_mul(doubled).min(limits.longest);
        }
        self.known.store(table.len(), Relaxed);
    }

    /// Forgets the failures of an address.
    fn succeeded(&self, address: IpAddr) {
        if self.known.load(Relaxed) == 0 {
            return;
        }
        let mut table = self.table();
        table.remove(&network(address));
        self.known.store(table.len(), Relaxed);
    }
}

impl Record {
    fn is_forgiven(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last.max(self.until)) > FORGIVEN_AFTER
    }
}

/// Forgets those that are forgiven, or else the older half.
fn make_room(table: &mut FxHashMap<IpAddr, Record>, now: Instant) {
    table.retain(|_, record| !record.is_forgiven(now));
    if table.len() >= MAX_ADDRESSES {
        let mut times: Vec<Instant> = table.values().map(|record| record.last).collect();
        let middle = times.len() / 2;
        let (_, median, _) = times.select_nth_unstable(middle);
        let median = *median;
        table.retain(|_, record| record.last > median);
    }
}

/// Whoever has one address of a /64 has all of them.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: LoginAttempts = LoginAttempts { free: 3, longest: Duration::from_secs(8) };

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn each_failure_beyond_the_free_ones_costs_twice_as_much() {
        let attempts = Attempts::default();
        let (one, now) = (address("192.0.2.1"), Instant::now());
        for _ in 0..3 {
            assert_eq!(attempts.refused_for(one, LIMITS, now), None);
            attempts.failed(one, LIMITS, now);
        }
        assert_eq!(attempts.refused_for(one, LIMITS, now), None);
        for seconds in [1, 2, 4, 8, 8] {
            attempts.failed(one, LIMITS, now);
            let left = Duration::from_secs(seconds);
            assert_eq!(attempts.refused_for(one, LIMITS, now), Some(left));
            assert_eq!(attempts.refused_for(one, LIMITS, now + left), None);
        }
        assert_eq!(attempts.refused_for(address("192.0.2.2"), LIMITS, now), None);
        let off = LoginAttempts { free: 0, ..LIMITS };
        assert_eq!(attempts.refused_for(one, off, now), None);
    }

    #[test]
    fn a_success_or_a_long_time_makes_up_for_it() {
        let attempts = Attempts::default();
        let (one, now) = (address("192.0.2.1"), Instant::now());
        let fail = |times, at| (0..times).for_each(|_| attempts.failed(one, LIMITS, at));
        fail(4, now);
        attempts.succeeded(one);
        fail(3, now);
        assert_eq!(attempts.refused_for(one, LIMITS, now), None);
        let later = now + FORGIVEN_AFTER + Duration::from_secs(1);
        fail(3, later);
        assert_eq!(attempts.refused_for(one, LIMITS, later), None);
        fail(1, later);
        assert!(attempts.refused_for(one, LIMITS, later).is_some());
    }

    #[test]
    fn while_an_address_is_refused_nothing_is_counted_for_or_against_it() {
        let attempts = Attempts::default();
        let (one, now) = (address("192.0.2.1"), Instant::now());
        for _ in 0..4 {
            assert_eq!(attempts.judge(one, LIMITS, false, now), None);
        }
        let second = Duration::from_secs(1);
        for passed in [false, true, false] {
            assert_eq!(attempts.judge(one, LIMITS, passed, now), Some(second));
        }
        assert_eq!(attempts.judge(one, LIMITS, false, now + second), None);
        assert_eq!(attempts.refused_for(one, LIMITS, now + second), Some(2 * second));
        assert_eq!(attempts.judge(one, LIMITS, true, now + 3 * second), None);
        assert_eq!(attempts.judge(one, LIMITS, false, now + 3 * second), None, "it begins anew");
        assert_eq!(attempts.refused_for(one, LIMITS, now + 3 * second), None);
    }

    #[test]
    fn a_network_of_ipv6_is_one_and_memory_is_bounded() {
        let attempts = Attempts::default();
        let now = Instant::now();
        for host in 0..4u16 {
            attempts.failed(address(&format!("2001:db8::{host}")), LIMITS, now);
        }
        assert!(attempts.refused_for(address("2001:db8::ffff"), LIMITS, now).is_some());
        assert!(attempts.refused_for(address("2001:db8:0:1::1"), LIMITS, now).is_none());
        for number in 0..3 * MAX_ADDRESSES as u32 {
            let at = now + Duration::from_micros(u64::from(number));
            attempts.failed(std::net::Ipv4Addr::from_bits(number).into(), LIMITS, at);
        }
        assert!(attempts.known.load(Relaxed) <= MAX_ADDRESSES);
    }
}
