//! How often an address may call.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Instant,
};

use bs9_config::RateLimit;

use crate::error::{ApiError, ProblemCode};

/// Addresses remembered at once; beyond that, those that have been quiet go.
const MAX_ADDRESSES: usize = 4_096;
/// After an address has used up its wrong tokens, the time until another one.
const SECONDS_PER_FAILURE: f64 = 6.0;

/// A bucket of calls and one of wrong tokens for each address.
#[derive(Debug)]
pub(super) struct Limiter {
    limit: RateLimit,
    addresses: Mutex<HashMap<IpAddr, Buckets>>,
}

#[derive(Debug, Clone, Copy)]
struct Buckets {
    calls: f64,
    failures: f64,
    at: Instant,
}

impl Limiter {
    pub(super) fn new(limit: RateLimit) -> Self {
        Self { limit, addresses: Mutex::default() }
    }

    /// Takes one call out of the bucket of `address`.
    pub(super) fn take_call(&self, address: IpAddr) -> Result<(), ApiError> {
        self.take_call_at(address, Instant::now())
    }

    fn take_call_at(&self, address: IpAddr, now: Instant) -> Result<(), ApiError> {
        self.with(address, now, |buckets| {
            if buckets.failures < 1.0 {
                return Err(ApiError::too_many(
                    SECONDS_PER_FAILURE * (1.0 - buckets.failures),
                    "too many wrong tokens came from this address",
                ));
            }
            if buckets.calls < 1.0 {
                let rate = f64::from(self.limit.calls_per_second.get());
                return Err(ApiError::too_many(
                    (1.0 - buckets.calls) / rate,
                    "this address calls more often than admin.rate_limit allows",
                ));
            }
            buckets.calls -= 1.0;
            Ok(())
        })
    }

    /// A wrong token came from `address`.
    pub(super) fn note_failure(&self, address: IpAddr) {
        self.note_failure_at(address, Instant::now());
    }

    fn note_failure_at(&self, address: IpAddr, now: Instant) {
        self.with(address, now, |buckets| buckets.failures = (buckets.failures - 1.0).max(0.0));
    }

    fn with<T>(&self, address: IpAddr, now: Instant, act: impl FnOnce(&mut Buckets) -> T) -> T {
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        if addresses.len() >= MAX_ADDRESSES && !addresses.contains_key(&address) {
            self.forget_the_quiet(&mut addresses, now);
        }
        let full = Buckets { calls: self.burst(), failures: self.failures(), at: now };
        let buckets = addresses.entry(address).or_insert(full);
        self.refill(buckets, now);
        act(buckets)
    }

    fn burst(&self) -> f64 {
        f64::from(self.limit.burst.get())
    }

    fn failures(&self) -> f64 {
        f64::from(self.limit.wrong_tokens.get())
    }

    fn refill(&self, buckets: &mut Buckets, now: Instant) {
        let passed = now.saturating_duration_since(buckets.at).as_secs_f64();
        let calls = buckets.calls + passed * f64::from(self.limit.calls_per_second.get());
        buckets.calls = calls.min(self.burst());
        let failures = buckets.failures + passed / SECONDS_PER_FAILURE;
        buckets.failures = failures.min(self.failures());
        buckets.at = buckets.at.max(now);
    }

    /// Full buckets say nothing; if none is, all are emptied of memory: many
    /// addresses at once cost them their history, never this process its memory.
    fn forget_the_quiet(&self, addresses: &mut HashMap<IpAddr, Buckets>, now: Instant) {
        addresses.retain(|_, buckets| {
            self.refill(buckets, now);
            buckets.calls < self.burst() || buckets.failures < self.failures()
        });
        if addresses.len() >= MAX_ADDRESSES {
            addresses.clear();
        }
    }
}

impl ApiError {
    /// Not so often; `seconds` until another call has a chance.
    fn too_many(seconds: f64, reason: &str) -> Self {
        let wait = seconds.ceil().max(1.0);
        Self::new(ProblemCode::TooManyRequests, format!("{reason}; try again in {wait} s"))
    }
}

#[cfg(test)]
mod tests {
    use std::{num::NonZeroU32, time::Duration};

    use super::*;

    fn limiter(calls_per_second: u32, burst: u32) -> Limiter {
        let number = |n| NonZeroU32::new(n).unwrap();
        Limiter::new(RateLimit {
            calls_per_second: number(calls_per_second),
            burst: number(burst),
            ..RateLimit::default()
        })
    }

    fn address(n: u32) -> IpAddr {
        IpAddr::from(n.to_be_bytes())
    }

    #[test]
    fn a_burst_then_the_rate() {
        let (limiter, begin) = (limiter(2, 3), Instant::now());
        let taken = |millis: u64| {
            let now = begin + Duration::from_millis(millis);
            std::iter::repeat_with(|| limiter.take_call_at(address(1), now))
                .take_while(Result::is_ok)
                .count()
        };
        assert_eq!(taken(0), 3);
        assert_eq!(taken(400), 0);
        assert_eq!(taken(500), 1);
        assert_eq!(taken(60_000), 3);
        assert!(limiter.take_call_at(address(2), begin).is_ok(), "each address has its own");
    }

    #[test]
    fn wrong_tokens_close_the_door_for_a_while() {
        let (limiter, begin) = (limiter(100, 100), Instant::now());
        for _ in 0..10 {
            assert!(limiter.take_call_at(address(1), begin).is_ok());
            limiter.note_failure_at(address(1), begin);
        }
        let refused = limiter.take_call_at(address(1), begin).unwrap_err();
        assert_eq!(refused.code, ProblemCode::TooManyRequests);
        let later = begin + Duration::from_secs(7);
        assert!(limiter.take_call_at(address(1), later).is_ok());
    }

    #[test]
    fn many_addresses_cost_bounded_memory() {
        let (limiter, begin) = (limiter(1, 5), Instant::now());
        for n in 0..10_000 {
            assert!(limiter.take_call_at(address(n), begin).is_ok());
        }
        assert!(limiter.addresses.lock().unwrap().len() <= MAX_ADDRESSES);
    }
}
