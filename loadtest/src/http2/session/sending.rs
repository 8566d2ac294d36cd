//! What goes to the server: requests, as far as it takes them.

use super::Session;
use crate::{
    feed::Feeder,
    http2::{
        frame::{self, HEADER_LEN, Header},
        hpack,
        request::{Exchange, Memory},
        stream::Phase,
    },
    protocol::Beginning,
};

impl Session {
    pub(in crate::http2) fn begin(
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
    pub(super) fn send_body(&mut self, exchanges: &[Exchange], lane: usize, out: &mut Vec<u8>) {
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

    pub(super) fn send_bodies(&mut self, exchanges: &[Exchange], out: &mut Vec<u8>) {
        for lane in 0..self.streams.len() {
            if self.streams[lane].is_open() && self.send_window > 0 {
                self.send_body(exchanges, lane, out);
            }
        }
    }

    /// Opens streams that waited for their turn.
    pub(super) fn start_waiting(&mut self, exchanges: &[Exchange], out: &mut Vec<u8>) {
        while self.open < self.settings.max_streams && !self.is_draining() {
            let Some(lane) = self.waiting.pop_front() else { return };
            let block = std::mem::take(&mut self.streams[lane].block);
            self.start(exchanges, lane, out, |out| out.extend_from_slice(&block));
            self.streams[lane].block = block;
        }
    }

    /// A request that has taken too long.
    pub(in crate::http2) fn abandon(
        &mut self,
        exchanges: &[Exchange],
        lane: usize,
        out: &mut Vec<u8>,
    ) {
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

    pub(super) fn close(&mut self, exchanges: &[Exchange], lane: usize, out: &mut Vec<u8>) {
        self.streams[lane].phase = Phase::Closed;
        self.open -= 1;
        self.start_waiting(exchanges, out);
    }
}
