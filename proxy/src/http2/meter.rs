//! Floods: frames that cost the client nothing and us something.
//!
//! `h2` bounds the memory that frames can take. It does not bound how many a client may send that
//! ask for work and bring no request: PING, SETTINGS, PRIORITY, RST_STREAM, frames of unknown
//! types, empty DATA and CONTINUATION, WINDOW_UPDATE that no data needed. The meter reads nothing
//! but frame headers (RFC 9113 section 4.1) as they come by.

use std::cell::Cell;

use bs9_net::{CoarseInstant, now};

use super::wire::Ear;

const PREFACE_BYTES: usize = 24;
const FRAME_HEADER_BYTES: usize = 9;

/// Such frames that a connection may send in one go.
const BURST: u32 = 1_000;
/// Such frames that it may send per second in the long run.
const PER_SECOND: u32 = 100;
/// Such frames that a request allows for: the SETTINGS, PRIORITY, WINDOW_UPDATE and PING of
/// well-behaved clients.
const PER_REQUEST: u32 = 8;
/// Bytes of DATA sent to a client that justify one more WINDOW_UPDATE.
const BYTES_PER_UPDATE: u32 = 1024;

/// Frame types (RFC 9113 section 6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;

/// Follows what a client sends, frame by frame.
#[derive(Debug)]
pub(super) struct Meter {
    /// Bytes until the next frame header begins.
    skip: Cell<usize>,
    /// The part of a frame header that has arrived.
    header: Cell<([u8; FRAME_HEADER_BYTES], usize)>,
    /// Frames it may send before it is one too many.
    credit: Cell<u32>,
    counted_from: Cell<CoarseInstant>,
    /// Bytes sent that have not become credit yet.
    sent: Cell<u32>,
    flooded: Cell<bool>,
}

impl Meter {
    pub(super) fn new() -> Self {
        Self {
            skip: Cell::new(PREFACE_BYTES),
            header: Cell::new(([0; FRAME_HEADER_BYTES], 0)),
            credit: Cell::new(BURST),
            counted_from: Cell::new(now()),
            sent: Cell::new(0),
            flooded: Cell::new(false),
        }
    }

    /// Whether the client has sent too much of the kind.
    pub(super) fn is_flooded(&self) -> bool {
        self.flooded.get()
    }

    fn earn(&self, frames: u32) {
        self.credit.set((self.credit.get() + frames).min(BURST));
    }

    fn spend(&self) {
        if self.credit.get() == 0 {
            let elapsed = now().since(self.counted_from.get()).as_millis();
            let earned = elapsed.saturating_mul(PER_SECOND.into()) / 1000;
            self.earn(u32::try_from(earned).unwrap_or(BURST));
            self.counted_from.set(now());
        }
        match self.credit.get().checked_sub(1) {
            Some(left) => self.credit.set(left),
            None => self.flooded.set(true),
        }
    }
}

impl Ear for Meter {
    fn is_deaf(&self) -> bool {
        self.is_flooded()
    }

    /// Takes in what the client sent. Once it [is a flood](Self::is_flooded), no more of it
    /// matters.
    fn received(&self, mut bytes: &[u8]) {
        while !self.flooded.get() {
            let skipped = self.skip.get().min(bytes.len());
            self.skip.set(self.skip.get() - skipped);
            bytes = &bytes[skipped..];
            if bytes.is_empty() {
                return;
            }
            let (mut header, have) = self.header.get();
            let taken = (FRAME_HEADER_BYTES - have).min(bytes.len());
            header[have..have + taken].copy_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            if have + taken < FRAME_HEADER_BYTES {
                self.header.set((header, have + taken));
                return;
            }
            self.header.set((header, 0));
            let length = u32::from_be_bytes([0, header[0], header[1], header[2]]);
            self.skip.set(length as usize);
            match header[3] {
                HEADERS => self.earn(PER_REQUEST),
                DATA if length > 0 => {}
                _ => self.spend(),
            }
        }
    }

    /// `count` bytes went to the client, which it may acknowledge by WINDOW_UPDATE.
    fn sent(&self, count: usize) {
        let sent = self.sent.get().saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
        if sent >= BYTES_PER_UPDATE {
            self.earn((sent / BYTES_PER_UPDATE).min(BURST));
        }
        self.sent.set(sent % BYTES_PER_UPDATE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, payload: usize) -> Vec<u8> {
        let length = u32::try_from(payload).unwrap().to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, 0, 0, 0, 0, 1];
        frame.resize(FRAME_HEADER_BYTES + payload, 7);
        frame
    }

    fn after_preface() -> Meter {
        let meter = Meter::new();
        meter.received(&[0; PREFACE_BYTES]);
        meter
    }

    #[test]
    fn frames_are_counted_wherever_reads_split_them() {
        for split in 1..40 {
            let meter = after_preface();
            let bytes = [frame(6, 8), frame(DATA, 20), frame(DATA, 0), frame(4, 6)].concat();
            bytes.chunks(split).for_each(|part| meter.received(part));
            assert_eq!(meter.credit.get(), BURST - 3, "in parts of {split} bytes");
        }
    }

    #[test]
    fn every_kind_of_frame_without_a_request_is_a_flood_in_the_end() {
        for kind in [2, 3, 4, 6, 8, 9, 0x42] {
            let meter = after_preface();
            let one = frame(kind, 8);
            let mut sent = 0;
            while !meter.is_flooded() {
                meter.received(&one);
                sent += 1;
            }
            assert!((BURST..BURST + PER_SECOND).contains(&sent), "kind {kind}: {sent}");
            meter.received(&frame(HEADERS, 1));
            assert!(meter.is_flooded(), "it stays one");
        }
    }

    #[test]
    fn requests_and_the_data_they_ask_for_allow_for_frames() {
        let meter = after_preface();
        for _ in 0..10 * BURST {
            meter.received(&frame(HEADERS, 5));
            meter.received(&frame(3, 4));
            meter.sent(2 * BYTES_PER_UPDATE as usize);
            meter.received(&frame(8, 4));
            meter.received(&frame(8, 4));
        }
        assert!(!meter.is_flooded());
    }
}
