//! A connection and its streams, without I/O: frames in ([`receive`]), frames out.
//!
//! The connection's task brings what it read and carries off what waits in the [`Outbox`]; the
//! tasks of its streams take bodies and give answers, and are woken when they can go on.

use std::{
    collections::VecDeque,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use bs9_config::Http2;
use bs9_net::{Buffer, BufferPool};
use rustc_hash::FxHashMap;
use slab::Slab;

use super::{
    Shape,
    frame::{Code, DEFAULT_WINDOW_BYTES, MAX_PAYLOAD_BYTES, MAX_WINDOW_BYTES, setting},
    hpack::{Decoder, Encoder},
    meter::Meter,
    outbox::Outbox,
    request::{Asked, Scratch},
};
use crate::duplex::Duplex;

mod receive;
mod stream;

use stream::{Arrived, Stream};

/// Bytes that wait for the socket before streams have to: enough to keep it busy.
const MAX_WAITING_BYTES: usize = 64 * 1024;
/// Bytes that wait for the socket before nothing more is read: answers to frames come on top.
const MAX_ANSWERING_BYTES: usize = 2 * MAX_WAITING_BYTES;

/// What a PING carries that asks whether GOAWAY has arrived.
const LAST_CALL: [u8; 8] = *b"bs9 last";

/// Why a connection has to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Broken(pub(super) Code);

/// A request that has just been asked, on the stream at this place.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) at: usize,
    pub(super) asked: Asked,
}

/// How far saying goodbye has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Parting {
    No,
    /// Announced: what is on its way is still taken.
    Announced,
    /// What begins now is ignored.
    Said,
}

/// See the module.
pub(super) struct Mux {
    streams: Slab<Stream>,
    by_id: FxHashMap<u32, usize>,
    /// The latest stream that the client began.
    last_id: u32,
    reading: receive::Reading,
    decoder: Decoder,
    encoder: Encoder,
    out: Outbox,
    buffers: Rc<BufferPool>,
    meter: Meter,
    limits: Limits,
    parting: Parting,
    /// The client has said that it begins no further streams.
    client_leaves: bool,
    /// No frame of a stream is taken or given any more.
    ended: bool,
    /// What the client may still send.
    receive_window: u32,
    /// What streams took of it since it was told.
    taken: u32,
    /// What may still be sent.
    send_window: i64,
    /// With what a stream's begins.
    initial_send_window: i64,
    /// Whether the client knows of `stream_window_bytes`.
    acknowledged: bool,
    /// The connection's task.
    waker: Option<Waker>,
    /// Streams that wait for a window, or for room in the outbox.
    blocked: VecDeque<usize>,
    scratch: Scratch,
    /// A header block, or a payload, on its way out.
    block: Vec<u8>,
}

/// What the client is held to.
#[derive(Debug, Clone, Copy)]
struct Limits {
    max_concurrent_streams: usize,
    stream_window_bytes: u32,
    connection_window_bytes: u32,
    max_head_bytes: usize,
}

impl Mux {
    /// Of a connection that has just begun: it sends its SETTINGS.
    pub(super) fn new(settings: &Http2, max_head_bytes: usize, buffers: Rc<BufferPool>) -> Self {
        let mut out = Outbox::new(Rc::clone(&buffers));
        out.settings(&[
            (setting::MAX_CONCURRENT_STREAMS, settings.max_concurrent_streams),
            (setting::INITIAL_WINDOW_SIZE, settings.stream_window_bytes),
            (setting::MAX_HEADER_LIST_SIZE, u32::try_from(max_head_bytes).unwrap_or(u32::MAX)),
            // WebSockets on a stream (RFC 8441).
            (setting::ENABLE_CONNECT_PROTOCOL, 1),
        ]);
        let connection_window_bytes = settings.connection_window_bytes.max(DEFAULT_WINDOW_BYTES);
        if connection_window_bytes > DEFAULT_WINDOW_BYTES {
            out.window_update(0, connection_window_bytes - DEFAULT_WINDOW_BYTES);
        }
        Self {
            streams: Slab::new(),
            by_id: FxHashMap::default(),
            last_id: 0,
            reading: receive::Reading::default(),
            decoder: Decoder::default(),
            encoder: Encoder::default(),
            out,
            buffers,
            meter: Meter::new(),
            limits: Limits {
                max_concurrent_streams: settings.max_concurrent_streams as usize,
                stream_window_bytes: settings.stream_window_bytes,
                connection_window_bytes,
                max_head_bytes,
            },
            parting: Parting::No,
            client_leaves: false,
            ended: false,
            receive_window: connection_window_bytes,
            taken: 0,
            send_window: DEFAULT_WINDOW_BYTES.into(),
            initial_send_window: DEFAULT_WINDOW_BYTES.into(),
            acknowledged: false,
            waker: None,
            blocked: VecDeque::new(),
            scratch: Scratch::default(),
            block: Vec::new(),
        }
    }

    /// Requests under way.
    pub(super) fn active(&self) -> usize {
        self.streams.len()
    }

    /// Whether the client has said what it can take, as it has to at first.
    pub(super) fn is_settled(&self) -> bool {
        self.reading.is_settled()
    }

    /// Whether nothing more comes of it: goodbye has been said, and all streams are done.
    pub(super) fn is_over(&self) -> bool {
        let last = self.client_leaves || self.parting == Parting::Said;
        last && self.streams.is_empty() && self.out.len() == 0
    }

    /// Whether more is to be read: not from a client that does not take the answers.
    pub(super) fn may_read(&self) -> bool {
        !self.ended && self.out.len() < MAX_ANSWERING_BYTES
    }

    /// The connection's task is to be woken when there is something to send.
    pub(super) fn set_waker(&mut self, cx: &Context<'_>) {
        self.waker = Some(cx.waker().clone());
    }

    fn wake_connection(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Says that no further requests are taken, but for those on their way.
    pub(super) fn announce_parting(&mut self) {
        if self.parting == Parting::No {
            self.parting = Parting::Announced;
            self.out.goaway(MAX_WINDOW_BYTES, Code::NoError);
            self.out.ping(0, LAST_CALL);
        }
    }

    fn part(&mut self) {
        if self.parting == Parting::Announced {
            self.parting = Parting::Said;
            self.out.goaway(self.last_id, Code::NoError);
        }
    }

    /// Says why, and ends all streams.
    pub(super) fn break_off(&mut self, Broken(code): Broken) {
        self.parting = Parting::Said;
        self.out.goaway(self.last_id, code);
        self.end();
    }

    /// Ends all streams.
    pub(super) fn end(&mut self) {
        self.ended = true;
        for (_, stream) in &mut self.streams {
            stream.cut_off();
        }
    }

    /// Writes what waits, and says whether that was all.
    ///
    /// # Errors
    /// As `write(2)`.
    pub(super) fn flush(
        &mut self,
        cx: &mut Context<'_>,
        stream: &impl Duplex,
    ) -> std::io::Result<bool> {
        let Self { out, meter, .. } = self;
        let flushed = out.poll_flush(cx, stream, |count| meter.sent(count));
        if out.len() <= MAX_WAITING_BYTES / 2 {
            self.unblock();
        }
        match flushed {
            Poll::Ready(Ok(())) => Ok(true),
            Poll::Ready(Err(error)) => Err(error),
            Poll::Pending => Ok(false),
        }
    }

    fn unblock(&mut self) {
        for at in self.blocked.drain(..) {
            if let Some(stream) = self.streams.get_mut(at) {
                stream.is_blocked = false;
                stream.wake();
            }
        }
    }

    /// Ends a stream that the client uses wrongly.
    fn reset(&mut self, at: usize, code: Code) {
        let Some(stream) = self.streams.get_mut(at) else { return };
        self.out.reset(stream.id, code);
        stream.has_answered = true;
        stream.cut_off();
    }

    /// Takes what has arrived of a request's body, as much as fits; 0 is the end.
    pub(super) fn take(&mut self, at: usize, into: &mut Buffer) -> std::io::Result<usize> {
        let Some(stream) = self.streams.get_mut(at) else {
            return Err(std::io::ErrorKind::ConnectionReset.into());
        };
        let (count, payload) = stream.take(into)?;
        if payload > 0 {
            let (id, limit) = (stream.id, self.limits.stream_window_bytes);
            // What has been taken makes room for more: the client goes on as the other side takes.
            if let Some(update) = stream.release(payload, limit) {
                self.out.window_update(id, update);
                self.wake_connection();
            }
            self.release(payload);
        }
        Ok(count)
    }

    /// So much of a body is not in memory any more.
    fn release(&mut self, bytes: u32) {
        self.taken += bytes;
        if self.taken >= self.limits.connection_window_bytes / 2 && !self.ended {
            self.out.window_update(0, self.taken);
            self.receive_window += self.taken;
            self.taken = 0;
            self.wake_connection();
        }
    }

    /// Whether something of a request's body has arrived, or never will.
    pub(super) fn poll_arrival(&mut self, at: usize, cx: &Context<'_>) -> Poll<()> {
        match self.streams.get_mut(at) {
            Some(stream) if !stream.has_arrived() => {
                stream.wait(cx);
                Poll::Pending
            }
            _ => Poll::Ready(()),
        }
    }

    /// Ready when the client gave the request up, or is gone.
    pub(super) fn poll_reset(&mut self, at: usize, cx: &Context<'_>) -> Poll<()> {
        match self.streams.get_mut(at) {
            Some(stream) if !stream.is_cut_off() => {
                stream.wait(cx);
                Poll::Pending
            }
            _ => Poll::Ready(()),
        }
    }

    /// Whether the client gave a request up that has only just been asked.
    pub(super) fn is_given_up(&self, at: usize) -> bool {
        self.streams.get(at).is_none_or(Stream::is_cut_off)
    }

    /// Sends a header block, which `write` appends; with `ended` it is all.
    ///
    /// # Errors
    /// When the client takes no more.
    pub(super) fn send_headers(
        &mut self,
        at: usize,
        ended: bool,
        write: impl FnOnce(&mut Encoder, &mut Vec<u8>),
    ) -> std::io::Result<()> {
        let stream = self.streams.get_mut(at).filter(|stream| stream.may_answer());
        let Some(stream) = stream else { return Err(std::io::ErrorKind::ConnectionReset.into()) };
        stream.has_answered = ended;
        self.block.clear();
        self.encoder.begin(&mut self.block);
        write(&mut self.encoder, &mut self.block);
        self.out.headers(stream.id, &self.block, ended);
        self.wake_connection();
        Ok(())
    }

    /// How many bytes of a body can be sent in a frame now. Ready when there are some.
    ///
    /// # Errors
    /// When the client takes no more.
    pub(super) fn poll_room(
        &mut self,
        at: usize,
        cx: &Context<'_>,
    ) -> Poll<std::io::Result<usize>> {
        let stream = self.streams.get_mut(at).filter(|stream| stream.may_answer());
        let Some(stream) = stream else {
            return Poll::Ready(Err(std::io::ErrorKind::ConnectionReset.into()));
        };
        let window = stream.send_window.min(self.send_window);
        // A frame more than the limit is better than pieces of one.
        let most = if self.out.len() < MAX_WAITING_BYTES { MAX_PAYLOAD_BYTES } else { 0 };
        let room = usize::try_from(window).unwrap_or(0).min(most);
        if room > 0 {
            return Poll::Ready(Ok(room));
        }
        stream.wait(cx);
        if !std::mem::replace(&mut stream.is_blocked, true) {
            self.blocked.push_back(at);
        }
        Poll::Pending
    }

    /// Sends a piece of a body, for which there is [room](Self::poll_room).
    ///
    /// # Errors
    /// When the client takes no more.
    pub(super) fn send_data(
        &mut self,
        at: usize,
        payload: &[u8],
        ended: bool,
    ) -> std::io::Result<()> {
        let stream = self.streams.get_mut(at).filter(|stream| stream.may_answer());
        let Some(stream) = stream else { return Err(std::io::ErrorKind::ConnectionReset.into()) };
        stream.send_window -= payload.len() as i64;
        self.send_window -= payload.len() as i64;
        stream.has_answered = ended;
        self.out.data(stream.id, payload, ended);
        self.wake_connection();
        Ok(())
    }

    /// A request's task is done with its stream. Unless all has been said on both sides, the
    /// client is told that nothing more is.
    pub(super) fn finish(&mut self, at: usize) {
        let Some(mut stream) = self.streams.try_remove(at) else { return };
        self.by_id.remove(&stream.id);
        if !self.ended && !stream.is_cut_off() {
            if !stream.has_answered {
                self.out.reset(stream.id, Code::InternalError);
            } else if stream.arrived == Arrived::Partly {
                // The answer is whole; the rest of the question is not wanted (RFC 9113
                // section 8.1).
                self.out.reset(stream.id, Code::NoError);
            }
        }
        self.release(stream.drop_rest());
        // The connection may have waited for this.
        self.wake_connection();
    }

    /// Tells the client that nothing was done for a request.
    pub(super) fn refuse(&mut self, at: usize) {
        if !self.ended {
            self.reset(at, Code::RefusedStream);
            self.wake_connection();
        }
    }

    /// Ends the answer where it is: the client must not take it for a whole one.
    pub(super) fn abandon(&mut self, at: usize) {
        let may_answer = self.streams.get(at).is_some_and(Stream::may_answer);
        if may_answer && !self.ended {
            self.reset(at, Code::InternalError);
            self.wake_connection();
        }
    }

    /// Begins a stream.
    fn open(&mut self, id: u32, length: Option<u64>, shape: Option<Shape>, ended: bool) -> usize {
        let receive_window =
            if self.acknowledged { self.limits.stream_window_bytes } else { DEFAULT_WINDOW_BYTES };
        let stream = Stream::new(id, receive_window, self.initial_send_window);
        let at = self.streams.insert(stream);
        self.by_id.insert(id, at);
        if let Some(stream) = self.streams.get_mut(at) {
            stream.expect(length, shape, ended);
        }
        at
    }

    /// What waits to be written.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn waiting(&self) -> Vec<u8> {
        self.out.bytes()
    }
}

#[cfg(test)]
mod tests;
