//! Pauses that a protocol makes within a request.

use std::time::Instant;

use super::Worker;
use crate::protocol::{Protocol, Receipt};

impl<P: Protocol> Worker<'_, P> {
    /// Lets a connection pause, when its protocol wants to.
    #[inline]
    pub(super) fn nap_if_asked(&mut self, slot: usize) {
        let connection = &mut self.connections[slot];
        // A pause that no clock reaches ends with the request's timeout.
        if let Some(nap) = self.protocol.nap(&mut connection.session)
            && let Some(until) = Instant::now().checked_add(nap)
        {
            connection.nap_ends = Some(until);
            self.naps.sleep(slot, until);
        }
    }

    /// Goes on where a pause is over.
    pub(super) fn end_naps(&mut self, now: Instant) {
        while let Some((slot, ended)) = self.naps.wake(now) {
            let connection = &mut self.connections[slot];
            // Its connection may have been lost meanwhile, and the pause with it.
            if connection.nap_ends != Some(ended) {
                continue;
            }
            connection.nap_ends = None;
            match self.protocol.resume(&mut connection.session, &mut connection.out) {
                Ok(Receipt::More) => {
                    self.flush(slot);
                    self.nap_if_asked(slot);
                }
                Ok(Receipt::Complete(complete)) => self.succeed(slot, complete),
                Err(failure) => self.fail(slot, &failure),
            }
        }
    }
}
