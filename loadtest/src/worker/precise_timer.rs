//! A timer as a descriptor of the event loop, precise to microseconds (timerfd_create(2)).
//!
//! The timeout of epoll_wait(2) counts milliseconds: requests of an open loop would be sent up
//! to one late, and that lateness would count as latency of the server.

use std::{
    io,
    os::fd::{AsRawFd as _, OwnedFd},
    time::Duration,
};

use mio::{Interest, Registry, unix::SourceFd};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

/// Wakes the event loop once, after a while.
#[derive(Debug)]
pub(super) struct PreciseTimer {
    descriptor: OwnedFd,
}

impl PreciseTimer {
    pub(super) fn new(registry: &Registry, token: mio::Token) -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let descriptor = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        // Registered edge-triggered, so expirations need not be read: setting it forgets them.
        registry.register(&mut SourceFd(&descriptor.as_raw_fd()), token, Interest::READABLE)?;
        Ok(Self { descriptor })
    }

    /// Wakes the loop after `wait`, which is not zero; an earlier order is forgotten.
    pub(super) fn set(&self, wait: Duration) -> io::Result<()> {
        let once = Itimerspec {
            it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: Timespec {
                tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: wait.subsec_nanos().into(),
            },
        };
        timerfd_settime(&self.descriptor, TimerfdTimerFlags::empty(), &once)?;
        Ok(())
    }
}
