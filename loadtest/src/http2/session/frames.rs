//! What comes from the server, frame by frame.

use super::{Begun, Session};
use crate::{
    failure::Failure,
    http2::{
        frame::{self, HEADER_LEN, Header},
        hpack,
        request::{Exchange, Memory},
        settings,
        stream::Phase,
    },
    protocol::{Complete, Reuse},
};

/// Answers to the server's pings that may wait to be sent, in bytes.
const MAX_UNSENT_BYTES: usize = 64 << 20;

impl Session {
    /// Takes what has arrived.
    pub(in crate::http2) fn walk(
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
}
