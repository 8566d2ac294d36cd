//! One stream of a connection, made to look like a connection of HTTP/1.1 that carries one
//! request.

use std::{
    cell::RefCell,
    future::poll_fn,
    io::{self, Write as _},
    rc::Rc,
    task::{Context, Poll, ready},
};

use bs9_net::{Buffer, BufferPool};
use bytes::{Buf, Bytes};
use h2::{Reason, RecvStream, SendStream, server::SendResponse};
use http::HeaderMap;

use super::head::{self, Shape};
use crate::{
    duplex::Duplex,
    http::Fate,
    http1::{
        BodyReader, HeadLimits, HeaderStorage, MAX_HEADERS, Parsed, ResponseFraming, ResponseHead,
        ResponseTo, parse_response,
    },
};

/// Bytes that framing adds to a chunk at most: the digits of a `u32`, and two line ends.
const CHUNK_FRAMING_BYTES: usize = 12;

/// The response's head is our own: what its maker let pass is within limits.
const LIMITS: HeadLimits =
    HeadLimits { max_head_bytes: usize::MAX, max_headers: MAX_HEADERS, max_uri_bytes: 0 };

/// A stream. Reading gives the body of the request, framed as its head (which came before the
/// stream was there) says; written is the response, interim ones included.
pub(super) struct Lane {
    upload: RefCell<Upload>,
    answer: RefCell<Answer>,
}

/// The request's body.
struct Upload {
    body: RecvStream,
    shape: Shape,
    /// Arrived, and not handed out.
    arrived: Bytes,
    /// What frames it at its end, to be handed out as it is.
    tail: Bytes,
    ended: bool,
    error: Option<io::Error>,
}

/// The response.
struct Answer {
    respond: SendResponse<Bytes>,
    /// Once its head has been sent.
    body: Option<SendStream<Bytes>>,
    phase: Phase,
    response_to: ResponseTo,
    /// The trailer section, as far as it has come.
    trailer: Vec<u8>,
}

/// What is to be written next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Head,
    Body(BodyReader),
    /// Nothing: the client has been told that this was all.
    Ended,
}

impl Lane {
    pub(super) fn new(
        body: RecvStream,
        shape: Shape,
        respond: SendResponse<Bytes>,
        response_to: ResponseTo,
    ) -> Self {
        let upload = Upload {
            body,
            shape,
            arrived: Bytes::new(),
            tail: Bytes::new(),
            ended: false,
            error: None,
        };
        let answer =
            Answer { respond, body: None, phase: Phase::Head, response_to, trailer: Vec::new() };
        Self { upload: RefCell::new(upload), answer: RefCell::new(answer) }
    }

    /// Ready when the client gave the request up, or is gone.
    pub(super) fn poll_reset(&self, cx: &mut Context<'_>) -> Poll<()> {
        let answer = &mut *self.answer.borrow_mut();
        let polled = match &mut answer.body {
            Some(body) => body.poll_reset(cx),
            None => answer.respond.poll_reset(cx),
        };
        polled.map(|_reason| ())
    }

    /// Ends the stream as `fate` has it for a connection.
    pub(super) fn end(&self, fate: Fate) {
        if fate != Fate::Abort {
            // Of a response whose length nobody knew, this was the end.
            let _told = self.shutdown_write();
        }
        let answer = &mut *self.answer.borrow_mut();
        if answer.phase != Phase::Ended {
            answer.reset(Reason::INTERNAL_ERROR);
        }
    }
}

impl Duplex for Lane {
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.upload.borrow_mut().poll_arrival(cx)
    }

    fn poll_read(&self, cx: &mut Context<'_>, into: &mut Buffer) -> Poll<io::Result<usize>> {
        let upload = &mut *self.upload.borrow_mut();
        ready!(upload.poll_arrival(cx));
        Poll::Ready(upload.take(into))
    }

    fn poll_read_pooled(
        &self,
        cx: &mut Context<'_>,
        into: &mut Option<Buffer>,
        buffers: &Rc<BufferPool>,
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_read_ready(cx));
        self.poll_read(cx, into.get_or_insert_with(|| buffers.take()))
    }

    fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let answer = &mut *self.answer.borrow_mut();
        let mut taken = 0;
        while taken < bytes.len() {
            match answer.poll_write(cx, &bytes[taken..]) {
                Poll::Ready(Ok(count)) => taken += count,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending if taken == 0 => return Poll::Pending,
                Poll::Pending => break,
            }
        }
        Poll::Ready(Ok(taken))
    }

    async fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        let mut taken = 0;
        poll_fn(|cx| {
            while taken < bytes.len() {
                taken += ready!(self.poll_write(cx, &bytes[taken..]))?;
            }
            Poll::Ready(Ok(()))
        })
        .await
    }

    fn shutdown_write(&self) -> io::Result<()> {
        let answer = &mut *self.answer.borrow_mut();
        match (answer.phase, &mut answer.body) {
            (Phase::Body(BodyReader::UntilClose), Some(body)) => {
                answer.phase = Phase::Ended;
                body.send_data(Bytes::new(), true).map_err(gone)
            }
            _ => Ok(()),
        }
    }

    fn reset_on_close(&self) {
        self.answer.borrow_mut().reset(Reason::INTERNAL_ERROR);
    }
}

impl Upload {
    /// Ready when [`take`](Self::take) has something to say.
    fn poll_arrival(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.arrived.is_empty() && self.tail.is_empty() && !self.ended {
            match ready!(self.body.poll_data(cx)) {
                Some(Ok(data)) => self.arrived = data,
                Some(Err(error)) => return self.fail(error),
                None => match ready!(self.body.poll_trailers(cx)) {
                    Ok(trailers) => self.end(&trailers.unwrap_or_default()),
                    Err(error) => return self.fail(error),
                },
            }
        }
        Poll::Ready(())
    }

    fn fail(&mut self, error: h2::Error) -> Poll<()> {
        self.ended = true;
        self.error = Some(gone(error));
        Poll::Ready(())
    }

    fn end(&mut self, trailers: &HeaderMap) {
        self.ended = true;
        if self.shape == Shape::Chunked {
            self.tail = head::last_chunk(trailers);
        }
    }

    /// Moves what is there into the buffer, as much as fits; 0 is the end.
    fn take(&mut self, into: &mut Buffer) -> io::Result<usize> {
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        if self.arrived.is_empty() {
            let room = into.spare();
            let count = self.tail.len().min(room.len());
            self.tail.copy_to_slice(&mut room[..count]);
            into.commit(count);
            return Ok(count);
        }
        into.compact();
        let framing = if self.shape == Shape::Chunked { CHUNK_FRAMING_BYTES } else { 0 };
        let mut room = into.spare();
        let offered = room.len();
        let count = self.arrived.len().min(offered.saturating_sub(framing));
        if count == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if self.shape == Shape::Chunked {
            write!(room, "{count:x}\r\n")?;
        }
        room.write_all(&self.arrived[..count])?;
        if self.shape == Shape::Chunked {
            room.write_all(b"\r\n")?;
        }
        let left = room.len();
        into.commit(offered - left);
        self.arrived.advance(count);
        // What has been handed out makes room for more: the client goes on as the endpoint takes.
        self.body.flow_control().release_capacity(count).map_err(gone)?;
        Ok(offered - left)
    }
}

impl Answer {
    /// Takes one piece of the response, at the start of `bytes`.
    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.phase {
            Phase::Head => Poll::Ready(self.write_head(bytes)),
            Phase::Body(reader) => self.poll_write_body(cx, reader, bytes),
            // The body that does not follow in the answer to a HEAD.
            Phase::Ended => Poll::Ready(Ok(bytes.len())),
        }
    }

    fn write_head(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut storage = HeaderStorage::new();
        match parse_response(bytes, &LIMITS, self.response_to, &mut storage) {
            Ok(Parsed::Complete(head)) => self.send_head(&head).map(|()| head.head_len),
            Ok(Parsed::Partial) | Err(_) => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    fn send_head(&mut self, head: &ResponseHead<'_>) -> io::Result<()> {
        let response = head::response(head).ok_or(io::ErrorKind::InvalidData)?;
        if head.is_interim() {
            return self.respond.send_informational(response).map_err(gone);
        }
        let reader = match head.framing {
            ResponseFraming::Tunnel => BodyReader::UntilClose,
            framing => framing.into(),
        };
        let ended = reader.is_done();
        self.body = Some(self.respond.send_response(response, ended).map_err(gone)?);
        self.phase = if ended { Phase::Ended } else { Phase::Body(reader) };
        Ok(())
    }

    fn poll_write_body(
        &mut self,
        cx: &mut Context<'_>,
        mut reader: BodyReader,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        };
        let capacity = ready!(poll_capacity(cx, body, bytes.len()))?;
        let offered = &bytes[..bytes.len().min(capacity)];
        let mut payload = Vec::with_capacity(offered.len());
        let trailer = &mut self.trailer;
        let advanced = reader.advance_dividing(
            offered,
            |span| payload.extend_from_slice(span),
            |byte| trailer.push(byte),
        );
        let Ok((count, ended)) = advanced else {
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        };
        // Beside the fields there is the empty line that ends them.
        let trails = ended && trailer.len() > 2;
        if !payload.is_empty() || (ended && !trails) {
            body.send_data(payload.into(), ended && !trails).map_err(gone)?;
        }
        if trails {
            let fields = trailer_fields(trailer).ok_or(io::ErrorKind::InvalidData)?;
            body.send_trailers(fields).map_err(gone)?;
        }
        self.phase = if ended { Phase::Ended } else { Phase::Body(reader) };
        Poll::Ready(Ok(count))
    }

    fn reset(&mut self, reason: Reason) {
        self.phase = Phase::Ended;
        match &mut self.body {
            Some(body) => body.send_reset(reason),
            None => self.respond.send_reset(reason),
        }
    }
}

/// How many bytes the client's windows and our own limit take now, up to `wanted`.
fn poll_capacity(
    cx: &mut Context<'_>,
    body: &mut SendStream<Bytes>,
    wanted: usize,
) -> Poll<io::Result<usize>> {
    if body.capacity() < wanted {
        body.reserve_capacity(wanted);
    }
    loop {
        match body.capacity() {
            0 => match ready!(body.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(gone(error))),
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            },
            capacity => return Poll::Ready(Ok(capacity)),
        }
    }
}

/// The fields of a whole trailer section.
fn trailer_fields(section: &[u8]) -> Option<HeaderMap> {
    let mut slots = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let (_, lines) = httparse::parse_headers(section, &mut slots).ok()?.unwrap();
    head::fields(lines.iter().map(|line| (line.name, line.value)))
}

/// A stream, or its connection, that has ended before its time.
fn gone(error: h2::Error) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, error)
}
