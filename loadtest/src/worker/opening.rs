//! Before the start: connections are opened and logged in, so that the measurement does not
//! begin with that.

use std::{io, sync::atomic::Ordering, time::Instant};

use mio::Events;

use super::{EVENTS, Worker};
use crate::{failure::FailureLog, protocol::Protocol};

/// Connections that are opened at the same time by one thread. More would overflow the queue of
/// most listeners, and wait for a SYN sent again.
const AT_ONCE: usize = 64;

/// What came of it.
#[derive(Debug)]
pub(crate) struct Opened {
    /// Connections that are ready, or will be opened with their requests.
    pub(crate) ready: usize,
    /// Why others are not. They are tried again with their requests.
    pub(crate) failures: FailureLog,
}

impl<P: Protocol> Worker<'_, P> {
    /// Opens all connections, unless each request is to have its own.
    ///
    /// # Errors
    /// When the event loop fails; connections that fail are counted instead.
    pub(crate) fn open(&mut self) -> io::Result<Opened> {
        let total = self.order.open_at_start;
        if total > 0 {
            let mut events = Events::with_capacity(EVENTS);
            let mut next = 0;
            loop {
                let stopped = self.stop.load(Ordering::Relaxed);
                while next < total && self.opening < AT_ONCE && !stopped {
                    self.opening += 1;
                    self.connect(next, Instant::now());
                    next += 1;
                }
                if self.opening == 0 || stopped {
                    break;
                }
                self.turn(&mut events)?;
            }
        }
        let failures = std::mem::take(&mut self.opening_failures);
        let failed = usize::try_from(failures.total()).unwrap_or(usize::MAX);
        Ok(Opened { ready: total.saturating_sub(failed), failures })
    }
}
