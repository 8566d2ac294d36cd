//! What a thread cost, and how long it waited for a core.

use std::{fs, time::Duration};

use rustix::time::{ClockId, clock_gettime};

/// Of the calling thread, since it began.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ThreadTime {
    /// On a core: in the program and in the kernel for it.
    pub(crate) cpu: Duration,
    /// Runnable, but every core was taken.
    pub(crate) waiting: Duration,
}

impl ThreadTime {
    /// Now.
    pub(crate) fn now() -> Self {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        let cpu = Duration::try_from(time).unwrap_or_default();
        Self { cpu, waiting: waiting().unwrap_or_default() }
    }

    /// What came since `earlier`.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            cpu: self.cpu.saturating_sub(earlier.cpu),
            waiting: self.waiting.saturating_sub(earlier.waiting),
        }
    }
}

impl std::ops::Add for ThreadTime {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { cpu: self.cpu + other.cpu, waiting: self.waiting + other.waiting }
    }
}

/// The second number of schedstat: nanoseconds on the run queue (kernel documentation,
/// "Scheduler Statistics"). Kernels built without it have no such file.
fn waiting() -> Option<Duration> {
    let text = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_ascii_whitespace().nth(1)?.parse().ok().map(Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_costs_time() {
        let before = ThreadTime::now();
        let spent = || ThreadTime::now().since(before).cpu;
        // Bounded by the work itself: it ends as soon as it has cost something.
        while spent() < Duration::from_millis(2) {
            std::hint::black_box((0..1_000u64).sum::<u64>());
        }
        assert!(spent() >= Duration::from_millis(2));
    }
}
