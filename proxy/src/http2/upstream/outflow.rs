//! A body as HTTP/1.1 frames it, sent on in frames of HTTP/2.

use std::{
    io,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::{Reason, SendStream};

use super::{head, inflow::gone};
use crate::http1::BodyReader;

/// The sending half of a stream whose head has been sent.
pub(super) struct Outflow {
    stream: SendStream<Bytes>,
    /// `None`: the peer has been told that this was all.
    reader: Option<BodyReader>,
    /// The trailer section, as far as it has come.
    trailer: Vec<u8>,
}

impl Outflow {
    /// Of a stream that ends when `reader` is done; with a reader that is, it has ended.
    pub(super) fn new(stream: SendStream<Bytes>, reader: BodyReader) -> Self {
        let reader = (!reader.is_done()).then_some(reader);
        Self { stream, reader, trailer: Vec::new() }
    }

    /// Whether all has been sent.
    pub(super) fn has_ended(&self) -> bool {
        self.reader.is_none()
    }

    /// Takes as many of the body's bytes as the peer's windows and our own limit allow; framing
    /// needs no room in them, nor does the end. Behind that everything is taken and dropped: the
    /// body that does not follow in the answer to a HEAD.
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Some(mut reader) = self.reader else { return Poll::Ready(Ok(bytes.len())) };
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if self.stream.capacity() < bytes.len() {
            self.stream.reserve_capacity(bytes.len());
        }
        let (payload, count, ended) = loop {
            let capacity = self.stream.capacity().min(bytes.len());
            let mut payload = Vec::with_capacity(capacity);
            let trailer = &mut self.trailer;
            let advanced = reader.advance_dividing(
                bytes,
                capacity,
                |span| payload.extend_from_slice(span),
                |byte| trailer.push(byte),
            );
            match advanced {
                // Payload comes next.
                Ok((0, false)) => ready!(self.poll_capacity(cx))?,
                Ok((count, ended)) => break (payload, count, ended),
                Err(_) => return Poll::Ready(Err(io::ErrorKind::InvalidData.into())),
            }
        };
        // Beside the fields there is the empty line that ends them.
        let trails = ended && self.trailer.len() > 2;
        if !payload.is_empty() || (ended && !trails) {
            self.stream.send_data(payload.into(), ended && !trails).map_err(gone)?;
        }
        if trails {
            let fields = head::trailer_fields(&self.trailer).ok_or(io::ErrorKind::InvalidData)?;
            self.stream.send_trailers(fields).map_err(gone)?;
        }
        self.reader = (!ended).then_some(reader);
        Poll::Ready(Ok(count))
    }

    /// Ready when some bytes are taken.
    fn poll_capacity(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.stream.capacity() == 0 {
            match ready!(self.stream.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(gone(error))),
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Ends a body whose length nobody knew.
    pub(super) fn end(&mut self) -> io::Result<()> {
        if self.reader != Some(BodyReader::UntilClose) {
            return Ok(());
        }
        self.reader = None;
        self.stream.send_data(Bytes::new(), true).map_err(gone)
    }

    /// Nothing more comes, and what came was not all.
    pub(super) fn reset(&mut self, reason: Reason) {
        self.reader = None;
        self.stream.send_reset(reason);
    }
}

/// Writes piece by piece, as much as is taken now.
pub(super) fn poll_write_pieces(
    bytes: &[u8],
    mut write: impl FnMut(&[u8]) -> Poll<io::Result<usize>>,
) -> Poll<io::Result<usize>> {
    let mut taken = 0;
    while taken < bytes.len() {
        match write(&bytes[taken..]) {
            Poll::Ready(Ok(count)) => taken += count,
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending if taken == 0 => return Poll::Pending,
            Poll::Pending => break,
        }
    }
    Poll::Ready(Ok(taken))
}
