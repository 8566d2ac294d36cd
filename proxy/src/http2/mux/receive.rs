//! Frames of the client, taken in as they come: a payload need not be there as a whole.

use bs9_net::Buffer;

use super::{Begun, Broken, LAST_CALL, Limits, Mux, Parting};
use crate::http2::{
    frame::{
        Code, DEFAULT_WINDOW_BYTES, HEADER_BYTES, Header, MAX_PAYLOAD_BYTES, MAX_WINDOW_BYTES,
        flag, kind, setting,
    },
    preface::PREFACE,
    request::{HeadWriter, TrailerWriter},
};

/// Bytes of a header block beyond those of the largest head: compression makes blocks smaller but
/// for what it needs itself.
const BLOCK_FRAMING_BYTES: usize = 4096;

/// How far reading has come.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// SETTINGS have come, which come first (RFC 9113 section 3.4).
    settled: bool,
    stage: Stage,
    /// Where CONTINUATION must follow: the fragments so far.
    block: Vec<u8>,
    /// What the block begins or ends.
    opening: Opening,
}

/// What comes next.
#[derive(Debug, Clone, Copy, Default)]
enum Stage {
    /// What a connection begins with (RFC 9113 section 3.4).
    #[default]
    Preface,
    /// A frame's header.
    Header,
    /// The payload of DATA: so many bytes of body, and behind them padding.
    Data { stream: u32, left: usize, padding: usize, ended: bool },
    /// A fragment of a header block, and behind it padding.
    Fragment { left: usize, padding: usize, ended: bool },
    /// Settings.
    Settings { left: usize },
    /// Bytes of no interest.
    Skip { left: usize },
}

/// A header block's stream.
#[derive(Debug, Clone, Copy, Default)]
struct Opening {
    stream: u32,
    ended: bool,
    /// Whether CONTINUATION must follow.
    unfinished: bool,
}

impl Reading {
    pub(super) fn is_settled(&self) -> bool {
        self.settled
    }
}

type Nonce<'n> = &'n dyn Fn() -> [u8; 16];

impl Mux {
    /// Takes in what was read, as far as it can be understood yet. Requests that begin are
    /// appended to `begun`; each of them has to be [finished](Mux::finish).
    ///
    /// # Errors
    /// When the client breaks the protocol such that the connection cannot go on.
    pub(in crate::http2) fn receive(
        &mut self,
        input: &mut Buffer,
        nonce: Nonce<'_>,
        begun: &mut Vec<Begun>,
    ) -> Result<(), Broken> {
        loop {
            if self.meter.is_flooded() {
                return Err(Broken(Code::EnhanceYourCalm));
            }
            match self.reading.stage {
                Stage::Preface => {
                    let known = PREFACE.len().min(input.len());
                    if input.filled()[..known] != PREFACE[..known] {
                        return Err(Broken(Code::ProtocolError));
                    }
                    if known < PREFACE.len() {
                        return Ok(());
                    }
                    input.consume(known);
                    self.reading.stage = Stage::Header;
                }
                Stage::Header => {
                    let Some(header) = input.filled().first_chunk() else { return Ok(()) };
                    let header = Header::read(header);
                    if !self.begin_frame(header, input)? {
                        return Ok(());
                    }
                }
                Stage::Data { stream, left, padding, ended } => {
                    let here = left.min(input.len());
                    self.data(stream, &input.filled()[..here]);
                    input.consume(here);
                    if here < left {
                        let left = left - here;
                        self.reading.stage = Stage::Data { stream, left, padding, ended };
                        return Ok(());
                    }
                    if ended {
                        self.end_of_body(stream, &[]);
                    }
                    self.reading.stage = Stage::Skip { left: padding };
                }
                Stage::Fragment { left, padding, ended } => {
                    let here = left.min(input.len());
                    let fragment = &input.filled()[..here];
                    if ended && here == left && self.reading.block.is_empty() {
                        // All of it is here, as it nearly always is.
                        self.block(fragment, nonce, begun)?;
                    } else {
                        self.gather(fragment)?;
                        if ended && here == left {
                            let block = std::mem::take(&mut self.reading.block);
                            self.block(&block, nonce, begun)?;
                        }
                    }
                    input.consume(here);
                    if here < left {
                        let left = left - here;
                        self.reading.stage = Stage::Fragment { left, padding, ended };
                        return Ok(());
                    }
                    self.reading.opening.unfinished = !ended;
                    self.reading.stage = Stage::Skip { left: padding };
                }
                Stage::Settings { left: 0 } => {
                    self.out.settings_ack();
                    self.reading.settled = true;
                    self.reading.stage = Stage::Header;
                }
                Stage::Settings { left } => {
                    let Some(entry) = input.filled().first_chunk::<6>() else { return Ok(()) };
                    let [a, b, value @ ..] = *entry;
                    self.setting(u16::from_be_bytes([a, b]), u32::from_be_bytes(value))?;
                    input.consume(6);
                    self.reading.stage = Stage::Settings { left: left - 6 };
                }
                Stage::Skip { left } => {
                    let here = left.min(input.len());
                    input.consume(here);
                    if here < left {
                        self.reading.stage = Stage::Skip { left: left - here };
                        return Ok(());
                    }
                    self.reading.stage = Stage::Header;
                }
            }
        }
    }

    /// Takes a frame's header, and the payload where it is small. `false`: not all of that is
    /// there yet.
    fn begin_frame(&mut self, header: Header, input: &mut Buffer) -> Result<bool, Broken> {
        let Header { length, kind: of, stream, .. } = header;
        if length > MAX_PAYLOAD_BYTES {
            return Err(Broken(Code::FrameSizeError));
        }
        // Between HEADERS and the end of the block, nothing but the rest of it.
        let continues = self.reading.opening.unfinished;
        let expected = if continues {
            of == kind::CONTINUATION && stream == self.reading.opening.stream
        } else {
            of != kind::CONTINUATION
        };
        if !expected || (!self.reading.settled && (of != kind::SETTINGS || header.has(flag::ACK))) {
            return Err(Broken(Code::ProtocolError));
        }
        let payload = &input.filled()[HEADER_BYTES..];
        match of {
            kind::DATA => {
                let Some((offset, padding)) = padding(header, payload, 0)? else {
                    return Ok(false);
                };
                if length == 0 {
                    self.meter.spend();
                }
                self.begin_data(header, offset + padding)?;
                input.consume(HEADER_BYTES + offset);
                let left = length - offset - padding;
                let ended = header.has(flag::END_STREAM);
                self.reading.stage = Stage::Data { stream, left, padding, ended };
            }
            kind::HEADERS => {
                let priority = if header.has(flag::PRIORITY) { 5 } else { 0 };
                let Some((offset, padding)) = padding(header, payload, priority)? else {
                    return Ok(false);
                };
                self.begin_headers(header)?;
                input.consume(HEADER_BYTES + offset);
                self.reading.stage = Stage::Fragment {
                    left: length - offset - padding,
                    padding,
                    ended: header.has(flag::END_HEADERS),
                };
            }
            kind::CONTINUATION => {
                self.meter.spend();
                input.consume(HEADER_BYTES);
                let ended = header.has(flag::END_HEADERS);
                self.reading.stage = Stage::Fragment { left: length, padding: 0, ended };
            }
            kind::SETTINGS => {
                if stream != 0 {
                    return Err(Broken(Code::ProtocolError));
                }
                if !length.is_multiple_of(6) || (header.has(flag::ACK) && length > 0) {
                    return Err(Broken(Code::FrameSizeError));
                }
                self.meter.spend();
                input.consume(HEADER_BYTES);
                if header.has(flag::ACK) {
                    self.acknowledged();
                } else {
                    self.reading.stage = Stage::Settings { left: length };
                }
            }
            kind::PING | kind::WINDOW_UPDATE | kind::RST_STREAM | kind::PRIORITY => {
                return self.small_frame(header, input);
            }
            kind::PUSH_PROMISE => return Err(Broken(Code::ProtocolError)),
            _ => {
                if of == kind::GOAWAY {
                    if stream != 0 {
                        return Err(Broken(Code::ProtocolError));
                    }
                    self.client_leaves = true;
                }
                self.meter.spend();
                input.consume(HEADER_BYTES);
                self.reading.stage = Stage::Skip { left: length };
            }
        }
        Ok(true)
    }

    fn small_frame(&mut self, header: Header, input: &mut Buffer) -> Result<bool, Broken> {
        let Header { length, kind: of, stream, .. } = header;
        let right = match of {
            kind::PING => 8,
            kind::PRIORITY => 5,
            _ => 4,
        };
        if length != right {
            // Of PRIORITY this would be an error of the stream alone, of which there need not be
            // one (section 6.3).
            return Err(Broken(Code::FrameSizeError));
        }
        let Some(payload) = input.filled().get(HEADER_BYTES..HEADER_BYTES + length) else {
            return Ok(false);
        };
        let mut bytes = [0; 8];
        bytes[..length].copy_from_slice(payload);
        let number = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        input.consume(HEADER_BYTES + length);
        self.meter.spend();
        match of {
            kind::PING if stream != 0 => return Err(Broken(Code::ProtocolError)),
            kind::PING if !header.has(flag::ACK) => self.out.ping(flag::ACK, bytes),
            kind::PING if bytes == LAST_CALL => self.part(),
            kind::PING => {}
            kind::WINDOW_UPDATE => self.widen(stream, number & MAX_WINDOW_BYTES)?,
            kind::RST_STREAM => {
                if self.is_idle(stream) {
                    return Err(Broken(Code::ProtocolError));
                }
                if let Some(at) = self.by_id.get(&stream)
                    && let Some(stream) = self.streams.get_mut(*at)
                {
                    stream.cut_off();
                }
            }
            // PRIORITY says nothing any more (section 5.3.2).
            _ if stream == 0 => return Err(Broken(Code::ProtocolError)),
            _ => {}
        }
        Ok(true)
    }

    /// Whether nobody has begun this stream, or ever will.
    fn is_idle(&self, stream: u32) -> bool {
        stream.is_multiple_of(2) || stream > self.last_id
    }

    fn widen(&mut self, stream: u32, by: u32) -> Result<(), Broken> {
        let most = i64::from(MAX_WINDOW_BYTES);
        if stream == 0 {
            self.send_window += i64::from(by);
            if by == 0 {
                return Err(Broken(Code::ProtocolError));
            }
            if self.send_window > most {
                return Err(Broken(Code::FlowControlError));
            }
            self.unblock();
        } else if self.is_idle(stream) {
            return Err(Broken(Code::ProtocolError));
        } else if let Some(at) = self.by_id.get(&stream).copied()
            && let Some(stream) = self.streams.get_mut(at)
        {
            stream.send_window += i64::from(by);
            stream.wake();
            if by == 0 {
                self.reset(at, Code::ProtocolError);
            } else if stream.send_window > most {
                self.reset(at, Code::FlowControlError);
            }
        }
        Ok(())
    }

    fn setting(&mut self, id: u16, value: u32) -> Result<(), Broken> {
        match id {
            setting::HEADER_TABLE_SIZE => self.encoder.set_limit(value as usize),
            setting::ENABLE_PUSH | setting::ENABLE_CONNECT_PROTOCOL if value > 1 => {
                return Err(Broken(Code::ProtocolError));
            }
            setting::INITIAL_WINDOW_SIZE => {
                if value > MAX_WINDOW_BYTES {
                    return Err(Broken(Code::FlowControlError));
                }
                let by = i64::from(value) - self.initial_send_window;
                self.initial_send_window = value.into();
                for (_, stream) in &mut self.streams {
                    stream.send_window += by;
                    if stream.send_window > MAX_WINDOW_BYTES.into() {
                        return Err(Broken(Code::FlowControlError));
                    }
                    stream.wake();
                }
            }
            setting::MAX_FRAME_SIZE if !(1 << 14..1 << 24).contains(&value) => {
                return Err(Broken(Code::ProtocolError));
            }
            _ => {}
        }
        Ok(())
    }

    /// The client knows our settings: from here on it keeps to them.
    fn acknowledged(&mut self) {
        if !std::mem::replace(&mut self.acknowledged, true) {
            let by = i64::from(self.limits.stream_window_bytes) - i64::from(DEFAULT_WINDOW_BYTES);
            for (_, stream) in &mut self.streams {
                stream.widen(by);
            }
        }
    }

    /// DATA begin, of whose payload so many bytes are padding.
    fn begin_data(&mut self, header: Header, padding: usize) -> Result<(), Broken> {
        let Header { length, stream: id, .. } = header;
        if self.is_idle(id) {
            return Err(Broken(Code::ProtocolError));
        }
        let bytes = length as u32;
        let left = self.receive_window.checked_sub(bytes);
        self.receive_window = left.ok_or(Broken(Code::FlowControlError))?;
        let Limits { stream_window_bytes, .. } = self.limits;
        let at = self.by_id.get(&id).copied();
        let known = at.and_then(|at| Some((at, self.streams.get_mut(at)?)));
        let Some((at, stream)) = known.filter(|(_, stream)| !stream.is_cut_off()) else {
            // It was on its way when the stream was ended.
            self.meter.spend();
            self.release(padding as u32);
            return Ok(());
        };
        if !stream.is_open() {
            self.reset(at, Code::StreamClosed);
        } else if let Err(code) = stream.admit(length) {
            self.reset(at, code);
        } else if let Some(update) = stream.release(padding as u32, stream_window_bytes) {
            self.out.window_update(id, update);
        }
        self.release(padding as u32);
        Ok(())
    }

    /// A piece of a body, which has been counted.
    fn data(&mut self, id: u32, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let at = self.by_id.get(&id).copied();
        let known = at.and_then(|at| Some((at, self.streams.get_mut(at)?)));
        match known.filter(|(_, stream)| stream.is_open()) {
            Some((at, stream)) => {
                if let Err(code) = stream.push(bytes, &self.buffers) {
                    self.reset(at, code);
                    self.release(bytes.len() as u32);
                }
            }
            None => self.release(bytes.len() as u32),
        }
    }

    fn end_of_body(&mut self, id: u32, trailer: &[u8]) {
        if let Some(at) = self.by_id.get(&id).copied()
            && let Some(stream) = self.streams.get_mut(at).filter(|stream| stream.is_open())
            && let Err(code) = stream.end(trailer)
        {
            self.reset(at, code);
        }
    }

    fn begin_headers(&mut self, header: Header) -> Result<(), Broken> {
        let Header { stream, .. } = header;
        if stream.is_multiple_of(2) {
            return Err(Broken(Code::ProtocolError));
        }
        if stream > self.last_id {
            self.meter.earn_request();
        } else {
            self.meter.spend();
        }
        self.reading.block.clear();
        self.reading.opening =
            Opening { stream, ended: header.has(flag::END_STREAM), unfinished: false };
        Ok(())
    }

    fn gather(&mut self, fragment: &[u8]) -> Result<(), Broken> {
        let most = self.limits.max_head_bytes + BLOCK_FRAMING_BYTES;
        if self.reading.block.len() + fragment.len() > most {
            return Err(Broken(Code::EnhanceYourCalm));
        }
        self.reading.block.extend_from_slice(fragment);
        Ok(())
    }

    /// A header block, whole.
    fn block(
        &mut self,
        block: &[u8],
        nonce: Nonce<'_>,
        begun: &mut Vec<Begun>,
    ) -> Result<(), Broken> {
        let Opening { stream: id, ended, .. } = self.reading.opening;
        let bad = |_| Broken(Code::CompressionError);
        if id <= self.last_id {
            let mut trailer = TrailerWriter::default();
            let most = self.limits.max_head_bytes;
            self.decoder
                .decode(block, |name, value| trailer.field(name, value, most))
                .map_err(bad)?;
            self.trailer(id, ended, trailer);
            return Ok(());
        }
        self.last_id = id;
        let full = self.is_full();
        if self.parting == Parting::Said || full {
            self.decoder.decode(block, |_, _| {}).map_err(bad)?;
            if full {
                self.meter.spend();
                self.out.reset(id, Code::RefusedStream);
            }
            return Ok(());
        }
        let Self { decoder, scratch, buffers, .. } = self;
        let mut head = HeadWriter::new(scratch, buffers.take());
        decoder.decode(block, |name, value| head.field(name, value)).map_err(bad)?;
        match head.finish(ended, nonce) {
            Ok(asked) => {
                let shape = asked.head.as_ref().ok().map(|(_, shape)| *shape);
                let at = self.open(id, asked.length, shape, ended);
                begun.push(Begun { at, asked });
            }
            Err(_malformed) => {
                self.meter.spend();
                self.out.reset(id, Code::ProtocolError);
            }
        }
        Ok(())
    }

    /// Whether the client has as many streams as it may. Those that are over are not counted, as
    /// long as there are no more of them than of others.
    fn is_full(&self) -> bool {
        let most = self.limits.max_concurrent_streams;
        let under_way = || self.streams.iter().filter(|(_, stream)| !stream.is_over()).count();
        self.streams.len() >= most && (self.streams.len() >= 2 * most || under_way() >= most)
    }

    fn trailer(&mut self, id: u32, ended: bool, trailer: TrailerWriter) {
        let Some(at) = self.by_id.get(&id).copied() else { return };
        let Some(stream) = self.streams.get(at) else { return };
        if stream.is_cut_off() {
            return;
        }
        if !stream.is_open() {
            return self.reset(at, Code::StreamClosed);
        }
        match trailer.finish() {
            Ok(lines) if ended => self.end_of_body(id, &lines),
            _ => self.reset(at, Code::ProtocolError),
        }
    }
}

/// Where a padded payload begins behind its own header, of so many more bytes, and how much
/// padding ends it (section 6.1). `None`: that has not arrived.
fn padding(header: Header, payload: &[u8], more: usize) -> Result<Option<(usize, usize)>, Broken> {
    let padded = header.has(flag::PADDED);
    let offset = usize::from(padded) + more;
    if payload.len() < offset.min(header.length) {
        return Ok(None);
    }
    let padding = if padded { payload.first().copied().unwrap_or(u8::MAX) } else { 0 };
    if offset > header.length {
        return Err(Broken(Code::FrameSizeError));
    }
    if offset + usize::from(padding) > header.length {
        return Err(Broken(Code::ProtocolError));
    }
    Ok(Some((offset, padding.into())))
}
