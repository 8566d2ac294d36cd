//! Moving a body from one side to the other, in the buffer it was read into.

use std::{
    fmt, io,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bs9_net::{Buffer, PipePool};

use crate::{
    duplex::Duplex,
    http1::{BodyError, BodyReader},
    splice::{Splice, SpliceError, Step, WORTHWHILE_BYTES},
    worker::Scratch,
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
    splice: Splice,
    record: Option<Record>,
    /// Bytes went past us, from socket to socket.
    spliced: bool,
    /// Payload bytes that may pass.
    most: u64,
}

/// What has been written, should it have to be written again.
struct Record {
    bytes: Scratch,
    most: usize,
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record").field("bytes", &self.bytes.bytes.len()).finish()
    }
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
    /// More came than may pass.
    #[error("the body is larger than may pass")]
    TooLarge,
}

impl From<SpliceError> for PumpError {
    fn from(error: SpliceError) -> Self {
        match error {
            SpliceError::Read(error) => Self::Read(error),
            SpliceError::Write(error) => Self::Write(error),
        }
    }
}

impl Pump {
    pub(super) fn new(body: impl Into<BodyReader>) -> Self {
        let (body, splice) = (body.into(), Splice::default());
        let most = u64::MAX;
        Self { body, ready: 0, seen: 0, moved: 0, splice, record: None, spliced: false, most }
    }

    /// Lets so many bytes of payload pass at most: what is too large must not arrive whole, and be
    /// carried out, where the client is told that it was refused.
    pub(super) fn at_most(self, most: u64) -> Self {
        Self { most, ..self }
    }

    /// Keeps what is written, up to so many bytes, framing included.
    pub(super) fn record(&mut self, into: Scratch, most: usize) {
        self.record = Some(Record { bytes: into, most });
    }

    /// What has been written so far; `None`: it is not known any more.
    pub(super) fn recorded(&self) -> Option<&[u8]> {
        match &self.record {
            Some(record) => Some(&record.bytes.bytes),
            None => (self.moved == 0 && !self.spliced).then_some(&[]),
        }
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
        if let Some(Record { bytes, most }) = &mut self.record {
            if bytes.bytes.len() + count <= *most {
                bytes.bytes.extend_from_slice(&buffer.filled()[..count]);
            } else {
                self.record = None;
            }
        }
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
        pipes: &Rc<PipePool>,
    ) -> Poll<Result<(), PumpError>> {
        for _ in 0..BURST {
            let ready = self.admit(buffer)?;
            if self.seen > self.most {
                return Poll::Ready(Err(PumpError::TooLarge));
            }
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
            if (self.splice.is_busy() || self.body.opaque() >= WORTHWHILE_BYTES)
                && let (Some(from), Some(to)) = (from.plain(), to.plain())
            {
                self.record = None;
                self.spliced = true;
                match ready!(self.splice.poll(cx, from, to, pipes, self.body.opaque()))? {
                    Step::Moved(count) => {
                        self.body.skip(count);
                        self.seen += count;
                        self.moved += count;
                        continue;
                    }
                    Step::End => return Poll::Ready(self.ended()),
                    Step::NoPipe => {}
                }
            }
            if ready!(from.poll_read(cx, buffer)).map_err(PumpError::Read)? == 0 {
                return Poll::Ready(self.ended());
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// The source has ended.
    fn ended(&mut self) -> Result<(), PumpError> {
        let whole = self.body.may_end_here();
        self.body = BodyReader::None;
        if whole { Ok(()) } else { Err(PumpError::CutOff) }
    }
}
