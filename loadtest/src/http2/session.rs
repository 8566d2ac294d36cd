//! One connection: its streams, and what the server may do to them.

use std::collections::VecDeque;

use super::{
    frame::{self, HEADER_LEN, Header},
    hpack::{self, Decoder, Wanted},
    request::{Exchange, Memory},
    settings::{self, Settings},
    stream::{Phase, Stream},
};
use crate::{
    failure::Failure,
    feed::{Feeder, Rows},
    protocol::{Beginning, Complete, Reuse},
};

/// Longest block of header fields, in bytes.
const MAX_BLOCK_BYTES: usize = 256 << 10;
/// Interim responses (1xx) before the one that counts.
const MAX_INTERIM: u8 = 8;
/// Answers to the server's pings that may wait to be sent, in bytes.
const MAX_UNSENT_BYTES: usize = 64 << 20;
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

    // --- Requests ---

    pub(super) fn begin(
        &mut self,
        exchanges: &[Exchange],
        feeder: &Feeder,
        beginning: Beginning,
        out: &mut Vec<u8>,
    ) {
        let Beginning { lane, request } = beginning;
        let exchange = &exchanges[request];
        let stream = &mut self.streams[lane];
        (stream.exchange, stream.sent_bytes, stream.interim) = (request, 0, 0);
        stream.unannounced_bytes = 0;
        exchange.checks.begin(&mut stream.seen);
        stream.filled.clear();
        exchange.fill_body(feeder, &self.rows, &mut stream.filled);
        if self.open < self.settings.max_streams {
            let memory = self.memory;
            let rows = std::mem::take(&mut self.rows);
            self.start(exchanges, lane, out, |out| {
                exchange.fill_block(memory, feeder, &rows, out);
            });
            self.rows = rows;
            if self.memory == Memory::Blank {
                self.memory = Memory::Filled;
            }
            return;
        }
        stream.phase = Phase::Waiting;
        stream.block.clear();
        // Whenever it is sent, it does not matter what was sent before.
        exchange.fill_block(Memory::None, feeder, &self.rows, &mut stream.block);
        self.waiting.push_back(lane);
    }

    /// Opens the stream of a lane.
    fn start(
        &mut self,
        exchanges: &[Exchange],
        lane: usize,
        out: &mut Vec<u8>,
        block: impl FnOnce(&mut Vec<u8>),
    ) {
        let id = self.next_id;
        self.next_id += 2;
        self.open += 1;
        let place = self.place(id);
        self.lanes[place] = lane as u32;
        let stream = &mut self.streams[lane];
        (stream.id, stream.phase) = (id, Phase::Asked);
        stream.send_window = i64::from(self.settings.window_bytes);
        let start = out.len();
        out.extend_from_slice(&[0; HEADER_LEN]);
        if std::mem::take(&mut self.drops_table) {
            hpack::encode::no_table(out);
        }
        block(out);
        let has_body = !exchanges[stream.exchange].body(&stream.filled).is_empty();
        let end = if has_body { 0 } else { frame::END_STREAM };
        self.frame_block(out, start, end, id);
        self.send_body(exchanges, lane, out);
    }

    /// Makes frames of a block that lies in `out` behind room for a header.
    fn frame_block(&self, out: &mut Vec<u8>, start: usize, end: u8, stream: u32) {
        let most = self.settings.max_payload_bytes;
        let len = out.len() - start - HEADER_LEN;
        if len <= most {
            let flags = end | frame::END_HEADERS;
            let header = Header { len, kind: frame::HEADERS, flags, stream };
            out[start..start + HEADER_LEN].copy_from_slice(&header.to_bytes());
            return;
        }
        let block = out.split_off(start + HEADER_LEN);
        out.truncate(start);
        let last = len.div_ceil(most) - 1;
        for (index, piece) in block.chunks(most).enumerate() {
            let (kind, flags) =
                if index == 0 { (frame::HEADERS, end) } else { (frame::CONTINUATION, 0) };
            let flags = if index == last { flags | frame::END_HEADERS } else { flags };
            frame::write(out, kind, flags, stream, piece);
        }
    }

    /// Sends as much of a body as the server takes.
    fn send_body(&mut self, exchanges: &[Exchange], lane: usize, out: &mut Vec<u8>) {
        let stream = &mut self.streams[lane];
        let body = exchanges[stream.exchange].body(&stream.filled);
        while stream.sent_bytes < body.len() {
            let window = stream.send_window.min(self.send_window);
            let window = usize::try_from(window).unwrap_or(0);
            let rest = &body[stream.sent_bytes..];
            let len = rest.len().min(window).min(self.settings.max_payload_bytes);
            if len == 0 {
                return;
            }
            let flags = if len == rest.len() { frame::END_STREAM } else { 0 };
            frame::write(out, frame::DATA, flags, stream.id, &rest[..len]);
            stream.sent_bytes += len;
            stream.send_window -= len as i64;
            self.send_window -= len as i64;
        }
    }

    fn send_bodies(&mut self, exchanges: &[Exchange], out: &mut Vec<u8>) {
        for lane in 0..self.streams.len() {
            if self.streams[lane].is_open() && self.send_window > 0 {
                self.send_body(exchanges, lane, out);
            }
        }
    }

    /// Opens streams that waited for their turn.
    fn start_waiting(&mut self, exchanges: &[Exchange], out: &mut Vec<u8>) {
        while self.open < self.settings.max_streams && !self.is_draining() {
            let Some(lane) = self.waiting.pop_front() else { return };
            let block = std::mem::take(&mut self.streams[lane].block);
            self.start(exchanges, lane, out, |out| out.extend_from_slice(&block));
            self.streams[lane].block = block;
        }
    }

    /// A request that has taken too long.
    pub(super) fn abandon(&mut self, exchanges: &[Exchange], lane: usize, out: &mut Vec<u8>) {
        let stream = &mut self.streams[lane];
        if stream.is_open() {
            let id = stream.id;
            frame::write(out, frame::RST_STREAM, 0, id, &frame::CANCEL.to_be_bytes());
            self.close(exchanges, lane, out);
        } else {
            stream.phase = Phase::Closed;
            self.waiting.retain(|&waiting| waiting != lane);
        }
    }

    fn close(&mut self, exchanges: &[Exchange], lane: usize, out: &mut Vec<u8>) {
        self.streams[lane].phase = Phase::Closed;
        self.open -= 1;
        self.start_waiting(exchanges, out);
    }

    // --- Streams by their number ---

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

    // --- Frames ---

    /// Takes what has arrived.
    pub(super) fn walk(
        &mut self,
        exchanges: &[Exchange],
        mut input: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        while !input.is_empty() {
            if self.data.is_some() {
                input = self.content(exchanges, input, out)?;
            } else if !self.cut.is_empty() {
                input = self.mend(exchanges, input, out)?;
            } else if let Some(bytes) = input.first_chunk() {
                let header = Header::read(bytes);
                self.check(&header)?;
                let behind = &input[HEADER_LEN..];
                if header.kind == frame::DATA && !header.has(frame::PADDED) {
                    input = behind;
                    self.begin_data(exchanges, header, out)?;
                } else if let Some((payload, rest)) = behind.split_at_checked(header.len) {
                    input = rest;
                    self.frame(exchanges, header, payload, out)?;
                } else {
                    self.cut.extend_from_slice(input);
                    return Ok(());
                }
            } else {
                self.cut.extend_from_slice(input);
                return Ok(());
            }
        }
        Ok(())
    }

    /// Goes on with a frame that was cut, and says what is left.
    fn mend<'a>(
        &mut self,
        exchanges: &[Exchange],
        input: &'a [u8],
        out: &mut Vec<u8>,
    ) -> Result<&'a [u8], Failure> {
        let header = self.cut.first_chunk().map(Header::read);
        let wanted = HEADER_LEN + header.map_or(0, |header| header.len);
        let (piece, rest) = input.split_at(input.len().min(wanted - self.cut.len()));
        self.cut.extend_from_slice(piece);
        let Some(header) = self.cut.first_chunk().map(Header::read) else { return Ok(rest) };
        self.check(&header)?;
        if header.kind == frame::DATA && !header.has(frame::PADDED) {
            self.cut.clear();
            self.begin_data(exchanges, header, out)?;
        } else if self.cut.len() == HEADER_LEN + header.len {
            // The same memory again afterwards.
            let mut cut = std::mem::take(&mut self.cut);
            self.frame(exchanges, header, &cut[HEADER_LEN..], out)?;
            cut.clear();
            self.cut = cut;
        }
        Ok(rest)
    }

    fn check(&self, header: &Header) -> Result<(), Failure> {
        // "HTT", taken for a length.
        if !self.is_settled && header.len == 0x48_54_54 {
            return Err(Failure::Protocol("the server answers in HTTP/1.1, not in HTTP/2"));
        }
        if header.len > frame::MAX_PAYLOAD_BYTES {
            return Err(Failure::Protocol("a frame is longer than 16 KiB"));
        }
        if !self.is_settled && header.kind != frame::SETTINGS {
            return Err(Failure::Protocol("the server does not begin with its settings"));
        }
        let goes_on =
            |begun: Begun| header.kind == frame::CONTINUATION && header.stream == begun.stream;
        if !self.block.is_none_or(goes_on) {
            return Err(Failure::Protocol("a block of header fields does not go on"));
        }
        Ok(())
    }

    fn begin_data(
        &mut self,
        exchanges: &[Exchange],
        header: Header,
        out: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let lane = self.lane_of(header.stream)?;
        settings::make_room(out, &mut self.unannounced_bytes, 0, header.len);
        let ends = header.has(frame::END_STREAM);
        if let Some(lane) = lane {
            let stream = &mut self.streams[lane];
            if !matches!(stream.phase, Phase::Answered(_)) {
                return Err(Failure::Protocol("a body comes before its header fields"));
            }
            if !ends {
                let unannounced = &mut stream.unannounced_bytes;
                settings::make_room(out, unannounced, header.stream, header.len);
            }
        }
        self.data = Some(Data { lane, left: header.len, ends });
        if header.len == 0 {
            self.content(exchanges, &[], out)?;
        }
        Ok(())
    }

    /// Takes a piece of a DATA frame, and says what is left.
    fn content<'a>(
        &mut self,
        exchanges: &[Exchange],
        input: &'a [u8],
        out: &mut Vec<u8>,
    ) -> Result<&'a [u8], Failure> {
        let Some(data) = &mut self.data else { return Ok(input) };
        let (piece, rest) = input.split_at(input.len().min(data.left));
        data.left -= piece.len();
        let Data { lane, left, ends } = *data;
        if left == 0 {
            self.data = None;
        }
        if let Some(lane) = lane {
            let stream = &mut self.streams[lane];
            exchanges[stream.exchange].checks.body(&mut stream.seen, piece);
            if left == 0 && ends {
                self.finish(exchanges, lane, out);
            }
        }
        Ok(rest)
    }

    /// A frame that is all there.
    fn frame(
        &mut self,
        exchanges: &[Exchange],
        header: Header,
        payload: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        const WRONG_LENGTH: Failure = Failure::Protocol("a frame has not the length of its kind");
        const PADDING: Failure = Failure::Protocol("a frame has more padding than it holds");
        let number = || payload.first_chunk().map(|&bytes| u32::from_be_bytes(bytes));
        match header.kind {
            frame::DATA => {
                let content = frame::without_padding(&header, payload).ok_or(PADDING)?;
                let padding = header.len - content.len();
                settings::make_room(out, &mut self.unannounced_bytes, 0, padding);
                self.begin_data(exchanges, Header { len: content.len(), ..header }, out)?;
                if !content.is_empty() {
                    self.content(exchanges, content, out)?;
                }
                Ok(())
            }
            frame::HEADERS => {
                let mut block = frame::without_padding(&header, payload).ok_or(PADDING)?;
                if header.has(frame::PRIORITY) {
                    block = block.get(5..).ok_or(WRONG_LENGTH)?;
                }
                let begun = Begun { stream: header.stream, ends: header.has(frame::END_STREAM) };
                self.block(exchanges, begun, &header, block, out)
            }
            frame::CONTINUATION => {
                let begun = self.block.take();
                let begun = begun.ok_or(Failure::Protocol("nothing is there to be continued"))?;
                self.block(exchanges, begun, &header, payload, out)
            }
            frame::RST_STREAM => {
                let code = number().ok_or(WRONG_LENGTH)?;
                if let Some(lane) = self.lane_of(header.stream)? {
                    let failure = Failure::StreamReset(frame::error_name(code));
                    self.end(exchanges, lane, Err(failure), None, out);
                }
                Ok(())
            }
            frame::SETTINGS if header.has(frame::ACK) => Ok(()),
            frame::SETTINGS => self.settle(exchanges, payload, out),
            frame::PUSH_PROMISE => Err(Failure::Protocol("the server pushes, though told not to")),
            frame::PING if header.len != 8 => Err(WRONG_LENGTH),
            frame::PING if header.has(frame::ACK) => Ok(()),
            frame::PING if out.len() > MAX_UNSENT_BYTES => {
                Err(Failure::Protocol("the server asks for signs of life and does not take them"))
            }
            frame::PING => {
                frame::write(out, frame::PING, frame::ACK, 0, payload);
                Ok(())
            }
            frame::GOAWAY => {
                let code = payload.get(4..).and_then(|rest| rest.first_chunk().copied());
                let (last, code) = number().zip(code).ok_or(WRONG_LENGTH)?;
                self.go_away(last & frame::MAX_NUMBER, u32::from_be_bytes(code));
                Ok(())
            }
            frame::WINDOW_UPDATE => {
                let more = number().ok_or(WRONG_LENGTH)? & frame::MAX_NUMBER;
                self.widen(exchanges, header.stream, more, out)
            }
            // Priorities matter to servers only; unknown kinds are ignored (section 4.1).
            _ => Ok(()),
        }
    }

    fn settle(
        &mut self,
        exchanges: &[Exchange],
        payload: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let before = self.settings.window_bytes;
        self.settings.read(payload)?;
        let wider = i64::from(self.settings.window_bytes) - i64::from(before);
        for stream in self.streams.iter_mut().filter(|stream| stream.is_open()) {
            stream.send_window += wider;
        }
        let too_small = self.settings.table_bytes < hpack::DEFAULT_TABLE_BYTES as u32;
        if too_small && self.memory != Memory::None {
            (self.memory, self.drops_table) = (Memory::None, true);
        }
        self.is_settled = true;
        frame::write(out, frame::SETTINGS, frame::ACK, 0, &[]);
        self.send_bodies(exchanges, out);
        self.start_waiting(exchanges, out);
        Ok(())
    }

    /// The server takes more of a body.
    fn widen(
        &mut self,
        exchanges: &[Exchange],
        stream: u32,
        more: u32,
        out: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        const WRONG: Failure = Failure::Protocol("the server opens a window wrongly");
        let widened = |window: &mut i64| {
            *window += i64::from(more);
            *window <= i64::from(frame::MAX_NUMBER)
        };
        if more == 0 {
            return Err(WRONG);
        }
        if stream == 0 {
            if !widened(&mut self.send_window) {
                return Err(WRONG);
            }
            self.send_bodies(exchanges, out);
        } else if let Some(lane) = self.lane_of(stream)? {
            if !widened(&mut self.streams[lane].send_window) {
                return Err(WRONG);
            }
            self.send_body(exchanges, lane, out);
        }
        Ok(())
    }

    /// The server answers nothing behind the stream `last`. When it is content otherwise, what it
    /// has not looked at may be asked again elsewhere (section 6.8).
    fn go_away(&mut self, last: u32, code: u32) {
        self.goes_away = Some(code);
        for lane in 0..self.streams.len() {
            let stream = &mut self.streams[lane];
            let is_lost = stream.phase == Phase::Waiting || stream.is_open() && stream.id > last;
            if !is_lost {
                continue;
            }
            if stream.is_open() {
                self.open -= 1;
            }
            stream.phase = Phase::Closed;
            if code == frame::NO_ERROR {
                self.returned.push_back(lane);
            } else {
                let outcome = Err(Failure::GoAway(frame::error_name(code)));
                let reuse = Reuse::Close;
                self.completed.push_back(Complete { lane, outcome, status: None, reuse });
            }
        }
        self.waiting.clear();
    }

    // --- Responses ---

    /// A piece of a block of fields.
    fn block(
        &mut self,
        exchanges: &[Exchange],
        begun: Begun,
        header: &Header,
        piece: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        if header.has(frame::END_HEADERS) && self.fields.is_empty() {
            return self.fields(exchanges, begun, piece, out);
        }
        if self.fields.len() + piece.len() > MAX_BLOCK_BYTES {
            return Err(Failure::Protocol("a block of header fields is longer than 256 KiB"));
        }
        self.fields.extend_from_slice(piece);
        if !header.has(frame::END_HEADERS) {
            self.block = Some(begun);
            return Ok(());
        }
        let mut block = std::mem::take(&mut self.fields);
        self.fields(exchanges, begun, &block, out)?;
        block.clear();
        self.fields = block;
        Ok(())
    }

    /// The fields of a response, or those behind its body.
    fn fields(
        &mut self,
        exchanges: &[Exchange],
        begun: Begun,
        block: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let Some(lane) = self.lane_of(begun.stream)? else {
            // The table has to see it all the same.
            return self.decoder.decode(block, Wanted::Pseudo, |_, _| {});
        };
        let stream = &mut self.streams[lane];
        let checks = &exchanges[stream.exchange].checks;
        let wanted = if checks.wants_headers() { Wanted::All } else { Wanted::Pseudo };
        let mut status = None;
        self.decoder.decode(block, wanted, |name, value| {
            if name == b":status" {
                status = Some(status_of(value));
            } else if status >= Some(200) && wanted == Wanted::All {
                checks.header(&mut stream.seen, name, value);
            }
        })?;
        match (stream.phase, status) {
            (Phase::Answered(_), None) if begun.ends => self.finish(exchanges, lane, out),
            (Phase::Answered(_), _) => {
                return Err(Failure::Protocol("the fields behind a body are not the end"));
            }
            (_, Some(102..200 | 100)) if !begun.ends => {
                stream.interim += 1;
                if stream.interim > MAX_INTERIM {
                    return Err(Failure::Protocol("too many interim responses"));
                }
            }
            (_, Some(status @ 200..1000)) => {
                stream.phase = Phase::Answered(status);
                if begun.ends {
                    self.finish(exchanges, lane, out);
                }
            }
            _ => return Err(Failure::Protocol("a response has no status, or none that may be")),
        }
        Ok(())
    }

    /// A response is all there.
    fn finish(&mut self, exchanges: &[Exchange], lane: usize, out: &mut Vec<u8>) {
        let stream = &self.streams[lane];
        let Phase::Answered(status) = stream.phase else { return };
        let exchange = &exchanges[stream.exchange];
        let outcome = exchange.checks.verdict(&stream.seen, status);
        if stream.sent_bytes < exchange.body(&stream.filled).len() {
            // It was answered before it was all asked.
            frame::write(out, frame::RST_STREAM, 0, stream.id, &frame::CANCEL.to_be_bytes());
        }
        self.end(exchanges, lane, outcome, Some(status), out);
    }

    fn end(
        &mut self,
        exchanges: &[Exchange],
        lane: usize,
        outcome: Result<(), Failure>,
        status: Option<u16>,
        out: &mut Vec<u8>,
    ) {
        self.completed.push_back(Complete { lane, outcome, status, reuse: Reuse::Keep });
        self.close(exchanges, lane, out);
    }
}

/// Three digits; anything else is no status.
fn status_of(value: &[u8]) -> u16 {
    let digits = value.len() == 3 && value.iter().all(u8::is_ascii_digit);
    let text = str::from_utf8(value).ok().filter(|_| digits);
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}
