//! Frames on their way to the socket.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    rc::Rc,
    task::{Context, Poll, ready},
};

use bs9_net::{Buffer, BufferPool};

use super::frame::{Code, Header, MAX_PAYLOAD_BYTES, flag, kind};
use crate::duplex::Duplex;

/// What waits to be written, in pooled buffers: one for many small frames.
pub(super) struct Outbox {
    waiting: VecDeque<Buffer>,
    bytes: usize,
    buffers: Rc<BufferPool>,
}

impl Outbox {
    pub(super) fn new(buffers: Rc<BufferPool>) -> Self {
        Self { waiting: VecDeque::new(), bytes: 0, buffers }
    }

    /// How many bytes wait.
    pub(super) fn len(&self) -> usize {
        self.bytes
    }

    pub(super) fn put(&mut self, mut bytes: &[u8]) {
        self.bytes += bytes.len();
        while !bytes.is_empty() {
            let room = self.waiting.back().map_or(0, Buffer::room);
            if room == 0 {
                self.waiting.push_back(self.buffers.take());
            }
            let Some(last) = self.waiting.back_mut() else { return };
            let spare = last.spare();
            let count = spare.len().min(bytes.len());
            spare[..count].copy_from_slice(&bytes[..count]);
            last.commit(count);
            bytes = &bytes[count..];
        }
    }

    fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.put(&Header { length: payload.len(), kind, flags, stream }.bytes());
        self.put(payload);
    }

    /// No larger than [`MAX_PAYLOAD_BYTES`].
    pub(super) fn data(&mut self, stream: u32, payload: &[u8], ended: bool) {
        self.frame(kind::DATA, if ended { flag::END_STREAM } else { 0 }, stream, payload);
    }

    /// A header block, in as many frames as it takes.
    pub(super) fn headers(&mut self, stream: u32, block: &[u8], ended: bool) {
        let mut rest = block;
        let mut kind = kind::HEADERS;
        let mut flags = if ended { flag::END_STREAM } else { 0 };
        loop {
            let (fragment, behind) = rest.split_at(rest.len().min(MAX_PAYLOAD_BYTES));
            rest = behind;
            if rest.is_empty() {
                return self.frame(kind, flags | flag::END_HEADERS, stream, fragment);
            }
            self.frame(kind, flags, stream, fragment);
            (kind, flags) = (kind::CONTINUATION, 0);
        }
    }

    pub(super) fn reset(&mut self, stream: u32, code: Code) {
        self.frame(kind::RST_STREAM, 0, stream, &(code as u32).to_be_bytes());
    }

    pub(super) fn settings(&mut self, settings: &[(u16, u32)]) {
        let entry = |(id, value): &(u16, u32)| {
            let ([a, b], [c, d, e, f]) = (id.to_be_bytes(), value.to_be_bytes());
            [a, b, c, d, e, f]
        };
        let payload: Vec<u8> = settings.iter().flat_map(entry).collect();
        self.frame(kind::SETTINGS, 0, 0, &payload);
    }

    pub(super) fn settings_ack(&mut self) {
        self.frame(kind::SETTINGS, flag::ACK, 0, &[]);
    }

    pub(super) fn ping(&mut self, flags: u8, payload: [u8; 8]) {
        self.frame(kind::PING, flags, 0, &payload);
    }

    pub(super) fn goaway(&mut self, last_stream: u32, code: Code) {
        let payload = (u64::from(last_stream) << 32 | code as u64).to_be_bytes();
        self.frame(kind::GOAWAY, 0, 0, &payload);
    }

    pub(super) fn window_update(&mut self, stream: u32, bytes: u32) {
        self.frame(kind::WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes());
    }

    /// Writes, and says how much. Ready when nothing waits.
    pub(super) fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
        stream: &impl Duplex,
        mut written: impl FnMut(usize),
    ) -> Poll<io::Result<()>> {
        while let Some(first) = self.waiting.front() {
            let second = self.waiting.get(1).map_or(&[][..], Buffer::filled);
            let slices = [IoSlice::new(first.filled()), IoSlice::new(second)];
            let slices = if second.is_empty() { &slices[..1] } else { &slices[..] };
            let mut count = ready!(stream.poll_write_vectored(cx, slices))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            written(count);
            self.bytes -= count;
            while let Some(first) = self.waiting.front_mut() {
                let of_first = count.min(first.len());
                first.consume(of_first);
                count -= of_first;
                if !first.is_empty() {
                    break;
                }
                self.waiting.pop_front();
            }
        }
        Poll::Ready(Ok(()))
    }

    /// What waits.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn bytes(&self) -> Vec<u8> {
        self.waiting.iter().flat_map(|buffer| buffer.filled().iter().copied()).collect()
    }
}
