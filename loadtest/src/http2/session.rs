//! One connection: its streams, and what the server may do to them.

use std::collections::VecDeque;

use super::{
    frame,
    hpack::Decoder,
    request::Memory,
    settings::Settings,
    stream::{Phase, Stream},
};
use crate::{failure::Failure, feed::Rows, protocol::Complete};

mod frames;
mod responses;
mod sending;

/// The last streams of a connection are left alone: there must be one for each lane.
const LAST_STREAM: u32 = frame::MAX_NUMBER - (1 << 24);

/// What belongs to one connection.
#[derive(Debug)]
pub(crate) struct Session {
    /// The stream of each lane.
    streams: Box<[Stream]>,
    /// Which lane a stream is probably on, by the low bits of its number.
    lanes: Box<[u32]>,
    next_id: u32,
    open: u32,
    /// Lanes whose stream the server does not take yet.
    waiting: VecDeque<usize>,
    settings: Settings,
    is_settled: bool,
    memory: Memory,
    /// Whether the server is to be told that there is no table of fields any more.
    drops_table: bool,
    send_window: i64,
    unannounced_bytes: u32,
    decoder: Decoder,
    /// A frame of which only the beginning is here.
    cut: Vec<u8>,
    /// The DATA frame that is being received.
    data: Option<Data>,
    /// The block of fields that is being received, when it comes in several frames.
    block: Option<Begun>,
    fields: Vec<u8>,
    completed: VecDeque<Complete>,
    returned: VecDeque<usize>,
    /// The server goes away, and why.
    goes_away: Option<u32>,
    pub(super) rows: Rows,
}

#[derive(Debug, Clone, Copy)]
struct Data {
    /// Nobody waits for it any more when there is none.
    lane: Option<usize>,
    left: usize,
    ends: bool,
}

#[derive(Debug, Clone, Copy)]
struct Begun {
    stream: u32,
    ends: bool,
}

// === impl Session ===

impl Session {
    pub(super) fn new(lanes: usize, rows: Rows) -> Self {
        Self {
            streams: (0..lanes).map(|_| Stream::default()).collect(),
            lanes: vec![0; (2 * lanes).next_power_of_two()].into(),
            next_id: 1,
            open: 0,
            waiting: VecDeque::new(),
            settings: Settings::initial(),
            is_settled: false,
            memory: Memory::Blank,
            drops_table: false,
            send_window: frame::DEFAULT_WINDOW_BYTES,
            unannounced_bytes: 0,
            decoder: Decoder::new(),
            cut: Vec::new(),
            data: None,
            block: None,
            fields: Vec::new(),
            completed: VecDeque::new(),
            returned: VecDeque::new(),
            goes_away: None,
            rows,
        }
    }

    /// Another connection.
    pub(super) fn reset(&mut self) {
        for stream in &mut self.streams {
            stream.phase = Phase::Closed;
        }
        (self.next_id, self.open) = (1, 0);
        self.settings = Settings::initial();
        self.is_settled = false;
        (self.memory, self.drops_table) = (Memory::Blank, false);
        (self.send_window, self.unannounced_bytes) = (frame::DEFAULT_WINDOW_BYTES, 0);
        self.decoder.clear();
        self.cut.clear();
        self.fields.clear();
        (self.data, self.block, self.goes_away) = (None, None, None);
        self.waiting.clear();
        self.completed.clear();
        self.returned.clear();
    }

    /// Whether the server has said what it lets us do.
    pub(super) fn is_settled(&self) -> bool {
        self.is_settled
    }

    pub(super) fn is_draining(&self) -> bool {
        self.goes_away.is_some() || self.next_id > LAST_STREAM
    }

    /// What the server's closing means for what is under way.
    pub(super) fn closed(&self) -> Failure {
        self.goes_away.map_or(Failure::Closed, |code| Failure::GoAway(frame::error_name(code)))
    }

    pub(super) fn completed(&mut self) -> Option<Complete> {
        self.completed.pop_front()
    }

    pub(super) fn returned(&mut self) -> Option<usize> {
        self.returned.pop_front()
    }

    fn place(&self, id: u32) -> usize {
        (id >> 1) as usize & (self.lanes.len() - 1)
    }

    /// The lane of a stream that is open.
    ///
    /// # Errors
    /// When there never was such a stream.
    fn lane_of(&self, id: u32) -> Result<Option<usize>, Failure> {
        if id.is_multiple_of(2) || id >= self.next_id {
            return Err(Failure::Protocol("a frame belongs to a stream that does not exist"));
        }
        let is_it = |stream: &Stream| stream.is_open() && stream.id == id;
        let probably = self.lanes[self.place(id)] as usize;
        if is_it(&self.streams[probably]) {
            return Ok(Some(probably));
        }
        // Another stream has taken its place, or nobody waits for it any more.
        Ok(self.streams.iter().position(is_it))
    }
}
