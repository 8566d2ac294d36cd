//! A stream: what has arrived on it, and what may be sent.

use std::{
    collections::VecDeque,
    io::{self, Write as _},
    rc::Rc,
    task::{Context, Waker},
};

use bs9_net::{Buffer, BufferPool};

use crate::http2::{Shape, frame::Code};

/// Bytes that framing adds to a chunk at most: the digits of a `u32`, and two line ends.
const CHUNK_FRAMING_BYTES: usize = 12;

/// How much of a request has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http2) enum Arrived {
    Partly,
    Whole,
    /// No more of it comes, nor is anything taken.
    CutOff,
}

/// See the module.
pub(super) struct Stream {
    pub(super) id: u32,
    /// The request's task.
    waker: Option<Waker>,
    pub(super) arrived: Arrived,
    /// Its body, as far as it has come and has not been taken.
    body: VecDeque<Buffer>,
    /// What ends it, as HTTP/1.1 has it.
    tail: Vec<u8>,
    tail_taken: usize,
    in_chunks: bool,
    /// Bytes of the body that must come still; `None`: nobody knows.
    missing: Option<u64>,
    /// What the client may still send.
    receive_window: i64,
    /// What was taken of it since it was told.
    taken: u32,
    pub(super) send_window: i64,
    /// The answer is whole, or was given up.
    pub(super) has_answered: bool,
    pub(super) is_blocked: bool,
}

impl Stream {
    pub(super) fn new(id: u32, receive_window: u32, send_window: i64) -> Self {
        Self {
            id,
            waker: None,
            arrived: Arrived::Partly,
            body: VecDeque::new(),
            tail: Vec::new(),
            tail_taken: 0,
            in_chunks: false,
            missing: None,
            receive_window: receive_window.into(),
            taken: 0,
            send_window,
            has_answered: false,
            is_blocked: false,
        }
    }

    /// What comes after the head. `shape`: none where nobody will read it.
    pub(super) fn expect(&mut self, length: Option<u64>, shape: Option<Shape>, ended: bool) {
        self.in_chunks = shape == Some(Shape::Chunked);
        self.missing = if shape == Some(Shape::Plain) { length.or(Some(0)) } else { None };
        if ended {
            self.arrived = Arrived::Whole;
        }
    }

    pub(super) fn wait(&mut self, cx: &Context<'_>) {
        match &mut self.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
    }

    pub(super) fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    pub(super) fn is_cut_off(&self) -> bool {
        self.arrived == Arrived::CutOff
    }

    /// Whether more of the request is to come.
    pub(super) fn is_open(&self) -> bool {
        self.arrived == Arrived::Partly
    }

    /// Whether it is closed to the client, which may begin another in its place (section 5.1.2),
    /// though its task has not seen that yet.
    pub(super) fn is_over(&self) -> bool {
        self.is_cut_off() || self.has_answered && !self.is_open()
    }

    pub(super) fn may_answer(&self) -> bool {
        !self.is_cut_off() && !self.has_answered
    }

    /// Whether [`take`](Self::take) has something to say.
    pub(super) fn has_arrived(&self) -> bool {
        !self.body.is_empty() || self.arrived != Arrived::Partly
    }

    /// Nothing more is taken or given.
    pub(super) fn cut_off(&mut self) {
        self.arrived = Arrived::CutOff;
        self.wake();
    }

    /// Counts so many bytes of a frame of DATA, padding included.
    pub(super) fn admit(&mut self, bytes: usize) -> Result<(), Code> {
        self.receive_window -= bytes as i64;
        if self.receive_window < 0 { Err(Code::FlowControlError) } else { Ok(()) }
    }

    /// The client has learnt of another initial window.
    pub(super) fn widen(&mut self, bytes: i64) {
        self.receive_window += bytes;
    }

    /// Takes a piece of the body in.
    pub(super) fn push(&mut self, mut bytes: &[u8], buffers: &Rc<BufferPool>) -> Result<(), Code> {
        if let Some(missing) = &mut self.missing {
            *missing = missing.checked_sub(bytes.len() as u64).ok_or(Code::ProtocolError)?;
        }
        while !bytes.is_empty() {
            let room = self.body.back().map_or(0, Buffer::room);
            if room == 0 {
                self.body.push_back(buffers.take());
            }
            let Some(last) = self.body.back_mut() else { break };
            let spare = last.spare();
            let count = spare.len().min(bytes.len());
            spare[..count].copy_from_slice(&bytes[..count]);
            last.commit(count);
            bytes = &bytes[count..];
        }
        self.wake();
        Ok(())
    }

    /// The body has ended, with the lines of a trailer section.
    pub(super) fn end(&mut self, trailer: &[u8]) -> Result<(), Code> {
        if self.missing.is_some_and(|missing| missing > 0) {
            return Err(Code::ProtocolError);
        }
        self.arrived = Arrived::Whole;
        if self.in_chunks {
            self.tail = [b"0\r\n", trailer, b"\r\n"].concat();
        }
        self.wake();
        Ok(())
    }

    /// Moves what is there into the buffer, as much as fits, and says how many bytes that is, and
    /// how many of them are payload; 0 is the end.
    pub(super) fn take(&mut self, into: &mut Buffer) -> io::Result<(usize, u32)> {
        if self.is_cut_off() {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let Some(first) = self.body.front_mut() else {
            let rest = &self.tail[self.tail_taken..];
            let room = into.spare();
            let count = rest.len().min(room.len());
            room[..count].copy_from_slice(&rest[..count]);
            into.commit(count);
            self.tail_taken += count;
            return Ok((count, 0));
        };
        into.compact();
        let framing = if self.in_chunks { CHUNK_FRAMING_BYTES } else { 0 };
        let mut room = into.spare();
        let offered = room.len();
        let count = first.len().min(offered.saturating_sub(framing));
        if count == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if self.in_chunks {
            write!(room, "{count:x}\r\n")?;
        }
        room.write_all(&first.filled()[..count])?;
        if self.in_chunks {
            room.write_all(b"\r\n")?;
        }
        let left = room.len();
        into.commit(offered - left);
        first.consume(count);
        if first.is_empty() {
            self.body.pop_front();
        }
        Ok((offered - left, count as u32))
    }

    /// Payload is not in memory any more: gives how much more the client is to be told it may
    /// send, when that is worth a frame.
    pub(super) fn release(&mut self, bytes: u32, window: u32) -> Option<u32> {
        self.taken += bytes;
        let worthwhile = self.arrived == Arrived::Partly && self.taken >= (window / 2).max(1);
        worthwhile.then(|| {
            self.receive_window += i64::from(self.taken);
            std::mem::take(&mut self.taken)
        })
    }

    /// Lets go of what has arrived, and says how much payload that was.
    pub(super) fn drop_rest(&mut self) -> u32 {
        self.body.drain(..).map(|buffer| buffer.len() as u32).sum()
    }
}
