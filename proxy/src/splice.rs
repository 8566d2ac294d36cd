//! Many bytes from one socket to another, moved by the kernel.

use std::{
    io,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bs9_net::{Pipe, PipePool, Stream};

/// From so many bytes on it pays: fewer pass sooner through a buffer.
pub(crate) const WORTHWHILE_BYTES: u64 = 64 * 1024;

/// One direction's pipe. It has one only while bytes are under way.
#[derive(Debug, Default)]
pub(crate) struct Splice(Option<Pipe>);

/// What one step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// So many bytes left for their target.
    Moved(u64),
    /// The source has ended, and nothing is under way.
    End,
    /// No pipe is to be had: the bytes have to be copied.
    NoPipe,
}

/// Which side failed.
#[derive(Debug)]
pub(crate) enum SpliceError {
    Read(io::Error),
    Write(io::Error),
}

impl Splice {
    /// Moves up to `limit` bytes one step on.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &Stream,
        to: &Stream,
        pipes: &Rc<PipePool>,
        limit: u64,
    ) -> Poll<Result<Step, SpliceError>> {
        if self.0.is_none() {
            ready!(from.poll_read_ready(cx));
            self.0 = pipes.take();
        }
        let Some(pipe) = &mut self.0 else { return Poll::Ready(Ok(Step::NoPipe)) };
        if pipe.held() == 0 {
            let limit = usize::try_from(limit).unwrap_or(usize::MAX);
            let filled = from.poll_splice_into(cx, pipe, limit);
            if !matches!(filled, Poll::Ready(Ok(1..))) {
                self.0 = None;
            }
            if ready!(filled).map_err(SpliceError::Read)? == 0 {
                return Poll::Ready(Ok(Step::End));
            }
        }
        let Some(pipe) = &mut self.0 else { return Poll::Ready(Ok(Step::NoPipe)) };
        let sent = ready!(to.poll_splice_from(cx, pipe, false)).map_err(SpliceError::Write)?;
        Poll::Ready(Ok(Step::Moved(sent as u64)))
    }

    /// Whether bytes are under way.
    pub(crate) fn is_busy(&self) -> bool {
        self.0.is_some()
    }
}
