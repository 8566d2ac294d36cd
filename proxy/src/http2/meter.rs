//! Floods: frames that cost the client nothing and us something.
//!
//! Windows and limits bound the memory that frames can take. The meter bounds how many a client
//! may send that ask for work and bring no request: PING, SETTINGS, PRIORITY, RST_STREAM, frames
//! of unknown types, empty DATA, CONTINUATION, WINDOW_UPDATE that no data needed.

use bs9_net::{CoarseInstant, now};

/// Such frames that a connection may send in one go.
const BURST: u32 = 1_000;
/// Such frames that it may send per second in the long run.
const PER_SECOND: u32 = 100;
/// Such frames that a request allows for: the SETTINGS, PRIORITY, WINDOW_UPDATE and PING of
/// well-behaved clients.
const PER_REQUEST: u32 = 8;
/// Bytes of DATA sent to a client that justify one more WINDOW_UPDATE.
const BYTES_PER_UPDATE: u32 = 1024;

/// Counts what a client sends.
#[derive(Debug)]
pub(super) struct Meter {
    /// Frames it may send before it is one too many.
    credit: u32,
    counted_from: CoarseInstant,
    /// Bytes sent that have not become credit yet.
    sent: u32,
    flooded: bool,
}

impl Meter {
    pub(super) fn new() -> Self {
        Self { credit: BURST, counted_from: now(), sent: 0, flooded: false }
    }

    /// Whether the client has sent too much of the kind. Once it has, it stays so.
    pub(super) fn is_flooded(&self) -> bool {
        self.flooded
    }

    fn earn(&mut self, frames: u32) {
        self.credit = (self.credit + frames).min(BURST);
    }

    /// A request came.
    pub(super) fn earn_request(&mut self) {
        self.earn(PER_REQUEST);
    }

    /// A frame of the kind came.
    pub(super) fn spend(&mut self) {
        if self.credit == 0 {
            let elapsed = now().since(self.counted_from).as_millis();
            let earned = elapsed.saturating_mul(PER_SECOND.into()) / 1000;
            self.earn(u32::try_from(earned).unwrap_or(BURST));
            self.counted_from = now();
        }
        match self.credit.checked_sub(1) {
            Some(left) => self.credit = left,
            None => self.flooded = true,
        }
    }

    /// `count` bytes went to the client, which it may acknowledge by WINDOW_UPDATE.
    pub(super) fn sent(&mut self, count: usize) {
        let sent = self.sent.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
        if sent >= BYTES_PER_UPDATE {
            self.earn((sent / BYTES_PER_UPDATE).min(BURST));
        }
        self.sent = sent % BYTES_PER_UPDATE;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_without_a_request_are_a_flood_in_the_end() {
        let mut meter = Meter::new();
        let mut sent = 0;
        while !meter.is_flooded() {
            meter.spend();
            sent += 1;
        }
        assert!((BURST..BURST + PER_SECOND).contains(&sent), "{sent}");
        meter.earn_request();
        assert!(meter.is_flooded(), "it stays one");
    }

    #[test]
    fn requests_and_the_data_they_ask_for_allow_for_frames() {
        let mut meter = Meter::new();
        for _ in 0..10 * BURST {
            meter.earn_request();
            meter.spend();
            meter.sent(2 * BYTES_PER_UPDATE as usize);
            meter.spend();
            meter.spend();
        }
        assert!(!meter.is_flooded());
    }
}
