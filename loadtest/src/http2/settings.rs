//! What both sides may do, and what they say about it first.

use super::frame;
use crate::failure::Failure;

/// The window of each of our streams, in bytes: responses never wait for us.
const WINDOW_BYTES: u32 = 1 << 30;
/// What the server says when it says nothing.
const UNLIMITED_STREAMS: u32 = u32::MAX;

/// What the server lets us do (RFC 9113 section 6.5.2).
#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    pub(super) max_streams: u32,
    pub(super) window_bytes: u32,
    pub(super) max_payload_bytes: usize,
    pub(super) table_bytes: u32,
}

impl Settings {
    pub(super) fn initial() -> Self {
        Self {
            max_streams: UNLIMITED_STREAMS,
            window_bytes: frame::DEFAULT_WINDOW_BYTES as u32,
            max_payload_bytes: frame::MAX_PAYLOAD_BYTES,
            table_bytes: super::hpack::DEFAULT_TABLE_BYTES as u32,
        }
    }

    /// The payload of a frame of settings.
    pub(super) fn read(&mut self, payload: &[u8]) -> Result<(), Failure> {
        const WRONG: Failure = Failure::Protocol("the server's settings are malformed");
        let (settings, []) = payload.as_chunks::<6>() else { return Err(WRONG) };
        for &[a, b, c, d, e, f] in settings {
            let value = u32::from_be_bytes([c, d, e, f]);
            match u16::from_be_bytes([a, b]) {
                frame::SETTING_TABLE_SIZE => self.table_bytes = value,
                frame::SETTING_MAX_STREAMS => self.max_streams = value,
                frame::SETTING_WINDOW if value > frame::MAX_NUMBER => return Err(WRONG),
                frame::SETTING_WINDOW => self.window_bytes = value,
                frame::SETTING_MAX_PAYLOAD if !(16_384..1 << 24).contains(&value) => {
                    return Err(WRONG);
                }
                frame::SETTING_MAX_PAYLOAD => self.max_payload_bytes = value as usize,
                // Of no use to a client, or unknown.
                _ => {}
            }
        }
        Ok(())
    }
}

/// What we say first: no pushes, and windows that are never full.
pub(super) fn greet(out: &mut Vec<u8>) {
    out.extend_from_slice(frame::PREFACE);
    let mut payload = Vec::new();
    for (name, value) in [(frame::SETTING_ENABLE_PUSH, 0), (frame::SETTING_WINDOW, WINDOW_BYTES)] {
        payload.extend_from_slice(&name.to_be_bytes());
        payload.extend_from_slice(&value.to_be_bytes());
    }
    frame::write(out, frame::SETTINGS, 0, 0, &payload);
    let more = WINDOW_BYTES - frame::DEFAULT_WINDOW_BYTES as u32;
    frame::write(out, frame::WINDOW_UPDATE, 0, 0, &more.to_be_bytes());
}

/// Notes bytes that were received, and makes room for as many when half a window is full.
pub(super) fn make_room(out: &mut Vec<u8>, unannounced: &mut u32, stream: u32, bytes: usize) {
    *unannounced += bytes as u32;
    if *unannounced >= WINDOW_BYTES / 2 {
        frame::write(out, frame::WINDOW_UPDATE, 0, stream, &unannounced.to_be_bytes());
        *unannounced = 0;
    }
}
