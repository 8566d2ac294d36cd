//! One stream of a connection, made to look like a connection of HTTP/1.1 that carries one
//! request.

use std::{
    cell::RefCell,
    io,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bs9_net::{Buffer, BufferPool};
use bytes::Bytes;
use h2::{Reason, RecvStream, server::SendResponse};

use super::{
    head::{self, Shape},
    inflow::{Inflow, gone},
    outflow::{Outflow, poll_write_pieces},
};
use crate::{
    duplex::Duplex,
    http::Fate,
    http1::{
        BodyReader, HeadLimits, HeaderStorage, MAX_HEADERS, Parsed, ResponseFraming, ResponseHead,
        ResponseTo, parse_response,
    },
};

/// The response's head is our own: what its maker let pass is within limits.
const LIMITS: HeadLimits =
    HeadLimits { max_head_bytes: usize::MAX, max_headers: MAX_HEADERS, max_uri_bytes: 0 };

/// A stream. Reading gives the body of the request, framed as its head (which came before the
/// stream was there) says; written is the response, interim ones included.
pub(super) struct Lane {
    upload: RefCell<Inflow>,
    answer: RefCell<Answer>,
}

/// The response.
struct Answer {
    respond: SendResponse<Bytes>,
    response_to: ResponseTo,
    phase: Phase,
}

/// What is to be written next.
enum Phase {
    Head,
    Body(Outflow),
    /// Nothing: the client has been told that nothing comes.
    Ended,
}

impl Lane {
    pub(super) fn new(
        body: RecvStream,
        shape: Shape,
        respond: SendResponse<Bytes>,
        response_to: ResponseTo,
    ) -> Self {
        let answer = Answer { respond, response_to, phase: Phase::Head };
        Self { upload: RefCell::new(Inflow::new(body, shape)), answer: RefCell::new(answer) }
    }

    /// Ready when the client gave the request up, or is gone.
    pub(super) fn poll_reset(&self, cx: &mut Context<'_>) -> Poll<()> {
        let Answer { respond, phase, .. } = &mut *self.answer.borrow_mut();
        match phase {
            Phase::Body(body) => body.poll_reset(cx),
            Phase::Head | Phase::Ended => respond.poll_reset(cx).map(|_reason| ()),
        }
    }

    /// Ends the stream as `fate` has it for a connection.
    pub(super) fn end(&self, fate: Fate) {
        if fate != Fate::Abort {
            // Of a response whose length nobody knew, this was the end.
            let _told = self.shutdown_write();
        }
        self.answer.borrow_mut().reset(Reason::INTERNAL_ERROR);
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
        poll_write_pieces(bytes, |piece| answer.poll_write(cx, piece))
    }

    fn shutdown_write(&self) -> io::Result<()> {
        match &mut self.answer.borrow_mut().phase {
            Phase::Body(body) => body.end(),
            Phase::Head | Phase::Ended => Ok(()),
        }
    }

    fn reset_on_close(&self) {
        self.answer.borrow_mut().reset(Reason::INTERNAL_ERROR);
    }
}

impl Answer {
    /// Takes one piece of the response, at the start of `bytes`.
    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.phase {
            Phase::Head => Poll::Ready(self.write_head(bytes)),
            Phase::Body(body) => body.poll_write(cx, bytes),
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
        let stream = self.respond.send_response(response, reader.is_done()).map_err(gone)?;
        self.phase = Phase::Body(Outflow::new(stream, reader));
        Ok(())
    }

    /// Unless all has been said: says that nothing more comes.
    fn reset(&mut self, reason: Reason) {
        match &mut self.phase {
            Phase::Body(body) if body.has_ended() => {}
            Phase::Body(body) => body.reset(reason),
            Phase::Head => {
                self.phase = Phase::Ended;
                self.respond.send_reset(reason);
            }
            Phase::Ended => {}
        }
    }
}
