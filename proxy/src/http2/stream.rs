//! One stream of a connection, made to look like a connection of HTTP/1.1 that carries one
//! request.

use std::{
    cell::RefCell,
    io,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bs9_net::{Buffer, BufferPool};

use super::{mux::Mux, response};
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
    mux: Rc<RefCell<Mux>>,
    /// Its place there.
    at: usize,
    response_to: ResponseTo,
    phase: RefCell<Phase>,
}

/// What is to be written next.
enum Phase {
    Head,
    Body(Body),
    /// Nothing: the client has been told that nothing comes.
    Ended,
}

/// The body of the response, as HTTP/1.1 frames it.
struct Body {
    reader: BodyReader,
    /// The payload of the chunks that are written together.
    payload: Vec<u8>,
    /// The trailer section, as far as it has come.
    trailer: Vec<u8>,
}

impl Lane {
    pub(super) fn new(mux: Rc<RefCell<Mux>>, at: usize, response_to: ResponseTo) -> Self {
        Self { mux, at, response_to, phase: RefCell::new(Phase::Head) }
    }

    /// Ready when the client gave the request up, or is gone.
    pub(super) fn poll_reset(&self, cx: &Context<'_>) -> Poll<()> {
        self.mux.borrow_mut().poll_reset(self.at, cx)
    }

    /// Nothing was done for the request.
    pub(super) fn refuse(&self) {
        self.mux.borrow_mut().refuse(self.at);
    }

    /// Ends the stream as `fate` has it for a connection.
    pub(super) fn end(&self, fate: Fate) {
        if fate != Fate::Abort {
            // Of a response whose length nobody knew, this was the end.
            let _told = self.shutdown_write();
        }
        self.reset_on_close();
    }

    /// Takes one piece of the response, at the start of `bytes`.
    fn poll_write_piece(&self, cx: &Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let phase = &mut *self.phase.borrow_mut();
        let mux = &mut *self.mux.borrow_mut();
        let (count, ended) = match phase {
            Phase::Head => return Poll::Ready(self.write_head(bytes, mux, phase)),
            Phase::Body(body) => ready!(body.poll_write(cx, bytes, mux, self.at))?,
            Phase::Ended => return Poll::Ready(Ok(bytes.len())),
        };
        if ended {
            *phase = Phase::Ended;
        }
        Poll::Ready(Ok(count))
    }

    fn write_head(&self, bytes: &[u8], mux: &mut Mux, phase: &mut Phase) -> io::Result<usize> {
        let mut storage = HeaderStorage::new();
        let Ok(Parsed::Complete(head)) =
            parse_response(bytes, &LIMITS, self.response_to, &mut storage)
        else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let next = next_after(&head);
        let ended = matches!(next, Phase::Ended);
        mux.send_headers(self.at, ended, |encoder, block| {
            response::write_head(&head, encoder, block);
        })?;
        *phase = next;
        Ok(head.head_len)
    }
}

fn next_after(head: &ResponseHead<'_>) -> Phase {
    if head.is_interim() {
        return Phase::Head;
    }
    let reader = match head.framing {
        ResponseFraming::Tunnel => BodyReader::UntilClose,
        framing => framing.into(),
    };
    if reader.is_done() {
        return Phase::Ended;
    }
    Phase::Body(Body { reader, payload: Vec::new(), trailer: Vec::new() })
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.mux.borrow_mut().finish(self.at);
    }
}

impl Duplex for Lane {
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.mux.borrow_mut().poll_arrival(self.at, cx)
    }

    fn poll_read(&self, cx: &mut Context<'_>, into: &mut Buffer) -> Poll<io::Result<usize>> {
        let mux = &mut *self.mux.borrow_mut();
        ready!(mux.poll_arrival(self.at, cx));
        Poll::Ready(mux.take(self.at, into))
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
        let mut taken = 0;
        while taken < bytes.len() {
            match self.poll_write_piece(cx, &bytes[taken..]) {
                Poll::Ready(Ok(count)) => taken += count,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending if taken == 0 => return Poll::Pending,
                Poll::Pending => break,
            }
        }
        Poll::Ready(Ok(taken))
    }

    fn shutdown_write(&self) -> io::Result<()> {
        let phase = &mut *self.phase.borrow_mut();
        match phase {
            Phase::Body(Body { reader: BodyReader::UntilClose, .. }) => {
                *phase = Phase::Ended;
                self.mux.borrow_mut().send_data(self.at, &[], true)
            }
            _ => Ok(()),
        }
    }

    fn reset_on_close(&self) {
        let phase = self.phase.replace(Phase::Ended);
        if !matches!(phase, Phase::Ended) {
            self.mux.borrow_mut().abandon(self.at);
        }
    }
}

impl Body {
    /// Takes as many bytes as the client's windows and our own limit allow, and says whether they
    /// were the last; framing needs no room in windows, nor does the end.
    fn poll_write(
        &mut self,
        cx: &Context<'_>,
        bytes: &[u8],
        mux: &mut Mux,
        at: usize,
    ) -> Poll<io::Result<(usize, bool)>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok((0, false)));
        }
        let room = match mux.poll_room(at, cx) {
            Poll::Ready(room) => room?,
            Poll::Pending => 0,
        };
        let opaque = usize::try_from(self.reader.opaque()).unwrap_or(usize::MAX);
        if opaque > 0 {
            let count = opaque.min(bytes.len()).min(room);
            if count == 0 {
                return Poll::Pending;
            }
            self.reader.skip(count as u64);
            let ended = self.reader.is_done();
            mux.send_data(at, &bytes[..count], ended)?;
            return Poll::Ready(Ok((count, ended)));
        }
        let Self { reader, payload, trailer } = self;
        payload.clear();
        let mut advanced = *reader;
        let taken = advanced.advance_dividing(
            bytes,
            room,
            |span| payload.extend_from_slice(span),
            |byte| trailer.push(byte),
        );
        let (count, ended) = taken.map_err(|_| io::ErrorKind::InvalidData)?;
        if count == 0 && !ended {
            // Payload comes next.
            return Poll::Pending;
        }
        *reader = advanced;
        // Beside the fields there is the empty line that ends them.
        let trails = ended && trailer.len() > 2;
        if !payload.is_empty() || (ended && !trails) {
            mux.send_data(at, payload, ended && !trails)?;
        }
        if trails {
            let mut storage = response::trailer_storage();
            let fields = response::trailer_fields(trailer, &mut storage);
            let fields = fields.ok_or(io::ErrorKind::InvalidData)?;
            mux.send_headers(at, true, |encoder, block| {
                for field in fields {
                    encoder.field(field.name.as_bytes(), field.value, block);
                }
            })?;
        }
        Poll::Ready(Ok((count, ended)))
    }
}
