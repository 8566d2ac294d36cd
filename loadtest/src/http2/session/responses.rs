//! Responses: their header fields, their bodies, their ends.

use super::{Begun, Data, Session};
use crate::{
    failure::Failure,
    http2::{
        frame::{self, Header},
        hpack::Wanted,
        request::Exchange,
        settings,
        stream::Phase,
    },
    protocol::{Complete, Reuse},
};

/// Longest block of header fields, in bytes.
const MAX_BLOCK_BYTES: usize = 256 << 10;
/// Interim responses (1xx) before the one that counts.
const MAX_INTERIM: u8 = 8;

impl Session {
    pub(super) fn begin_data(
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
    pub(super) fn content<'a>(
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

    /// A piece of a block of fields.
    pub(super) fn block(
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

    pub(super) fn end(
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
