//! Moving a body from one side to the other, in the buffer it was read into.

use std::{
    io,
    task::{Context, Poll, ready},
};

use bs9_net::Buffer;

use crate::{
    duplex::Duplex,
    http1::{BodyError, BodyReader},
};

/// Reads taken before others get their turn.
const BURST: usize = 16;

/// A body under way. The buffer it works on may hold bytes of the next message
/// behind the body; they are left alone.
#[derive(Debug)]
pub(super) struct Pump {
    body: BodyReader,
    /// Bytes at the front of the buffer that are known to belong to the body.
    ready: usize,
    /// Body bytes seen so far, without their framing.
    pub(super) seen: u64,
    /// Bytes written so far.
    pub(super) moved: u64,
}

/// Why a body did not get across.
#[derive(Debug, thiserror::Error)]
pub(super) enum PumpError {
    /// The source failed.
    #[error("reading the body failed: {0}")]
    Read(#[source] io::Error),
    /// The source ended too early.
    #[error("the body was cut off")]
    CutOff,
    /// The source broke the framing.
    #[error(transparent)]
    Framing(#[from] BodyError),
    /// The other side takes no more.
    #[error("writing the body failed: {0}")]
    Write(#[source] io::Error),
}

impl Pump {
    pub(super) fn new(body: impl Into<BodyReader>) -> Self {
        Self { body: body.into(), ready: 0, seen: 0, moved: 0 }
    }

    /// Whether every byte has been written.
    pub(super) fn is_done(&self) -> bool {
        self.ready == 0 && self.body.is_done()
    }

    /// Looks at what the buffer holds; gives the number of bytes at its front that
    /// can be written now.
    pub(super) fn admit(&mut self, buffer: &Buffer) -> Result<usize, BodyError> {
        if self.ready == 0 && !self.body.is_done() && !buffer.is_empty() {
            let mut payload = 0;
            let add = |span: &[u8]| payload += span.len() as u64;
            (self.ready, _) = self.body.advance_decoding(buffer.filled(), add)?;
            self.seen += payload;
        }
        Ok(self.ready)
    }

    /// `count` admitted bytes have been written (by the caller, along with a head).
    pub(super) fn written(&mut self, buffer: &mut Buffer, count: usize) {
        buffer.consume(count);
        self.ready -= count;
        self.moved += count as u64;
    }

    /// Moves what can be moved. Ready when the whole body has been written.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &impl Duplex,
        buffer: &mut Buffer,
        to: &impl Duplex,
    ) -> Poll<Result<(), PumpError>> {
        for _ in 0..BURST {
            let ready = self.admit(buffer)?;
            if ready > 0 {
                let count = ready!(to.poll_write(cx, &buffer.filled()[..ready]))
                    .map_err(PumpError::Write)?;
                if count == 0 {
                    return Poll::Ready(Err(PumpError::Write(io::ErrorKind::WriteZero.into())));
                }
                self.written(buffer, count);
                continue;
            }
            if self.body.is_done() {
                return Poll::Ready(Ok(()));
            }
            if ready!(from.poll_read(cx, buffer)).map_err(PumpError::Read)? == 0 {
                let whole = self.body.may_end_here();
                self.body = BodyReader::None;
                return Poll::Ready(if whole { Ok(()) } else { Err(PumpError::CutOff) });
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
