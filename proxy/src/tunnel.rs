//! Bytes both ways between two streams, until both directions have ended.

use std::{
    future::poll_fn,
    io,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bs9_net::{Buffer, BufferPool, CoarseInstant, Interrupted, PipePool, Shard, Timer, now};

use crate::{
    duplex::Duplex,
    splice::{Splice, SpliceError, Step},
};

/// So many bytes in a row are worth moving by the kernel, and so are those that follow: two
/// buffers' worth. It is well below what a segment on the loopback carries at most (65,483 bytes),
/// which is all there is for a shard that wakes for each of them.
const STREAK_BYTES: u64 = 32 * 1024;
/// Reads taken from one direction before others get their turn.
const BURST: usize = 16;

/// One direction. Holds a buffer only while bytes are under way.
struct Direction {
    buffer: Option<Buffer>,
    state: State,
    moved: u64,
    /// Why the target took no more.
    refused: Option<io::Error>,
    /// Bytes moved since the source was last found empty.
    streak: u64,
    /// The last streak was long enough for the kernel to move the next one.
    bulk: bool,
    splice: Splice,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// The source has ended; what is buffered still has to be written.
    Ending,
    Ended,
}

impl Direction {
    /// `early` was read before the tunnel opened.
    fn new(early: Option<Buffer>) -> Self {
        let buffer = early.filter(|buffer| !buffer.is_empty());
        Self {
            buffer,
            state: State::Open,
            moved: 0,
            refused: None,
            streak: 0,
            bulk: false,
            splice: Splice::default(),
        }
    }

    /// Moves what can be moved. Ready when the direction has ended: with an error when its
    /// source was cut off. A target that takes no more ends it as well, but may still have
    /// something to say, so that this is no error of the tunnel's.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &impl Duplex,
        to: &impl Duplex,
        (pool, pipes): (&Rc<BufferPool>, &Rc<PipePool>),
    ) -> Poll<io::Result<()>> {
        if self.state == State::Ended {
            return Poll::Ready(Ok(()));
        }
        for _ in 0..BURST {
            if let Some(buffer) = &mut self.buffer {
                let count = match ready!(to.poll_write(cx, buffer.filled())) {
                    Ok(count) => count,
                    Err(error) => return Poll::Ready(self.refuse(error)),
                };
                buffer.consume(count);
                let rest = !buffer.is_empty();
                self.count(count as u64);
                if rest {
                    continue;
                }
            }
            if self.state == State::Ending {
                self.state = State::Ended;
                // Gone already: then it needs not be told.
                let _not_connected = to.shutdown_write();
                return Poll::Ready(Ok(()));
            }
            if (self.bulk || self.splice.is_busy())
                && let (Some(from), Some(to)) = (from.plain(), to.plain())
            {
                self.buffer = None;
                let step = self.splice.poll(cx, from, to, pipes, u64::MAX);
                if step.is_pending() && !self.splice.is_busy() {
                    self.rest();
                }
                match ready!(step) {
                    Ok(Step::Moved(count)) => {
                        self.count(count);
                        continue;
                    }
                    Ok(Step::End) => {
                        self.state = State::Ending;
                        continue;
                    }
                    Ok(Step::NoPipe) => {}
                    Err(SpliceError::Write(error)) => return Poll::Ready(self.refuse(error)),
                    Err(SpliceError::Read(error)) => return Poll::Ready(Err(error)),
                }
            }
            if self.buffer.is_none() && from.poll_read_ready(cx).is_pending() {
                self.rest();
                return Poll::Pending;
            }
            let mut buffer = self.buffer.take().unwrap_or_else(|| pool.take());
            match from.poll_read(cx, &mut buffer) {
                // Nothing there: the buffer goes back while we wait.
                Poll::Pending => {
                    self.rest();
                    return Poll::Pending;
                }
                Poll::Ready(Ok(0)) => self.state = State::Ending,
                Poll::Ready(Ok(_)) => self.buffer = Some(buffer),
                // A reset after the end of the stream: it had been whole. And TLS that ends
                // without goodbye, as it does with many: what is inside has an end of its own.
                Poll::Ready(Err(error))
                    if matches!(
                        error.kind(),
                        io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof
                    ) =>
                {
                    self.state = State::Ending;
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn count(&mut self, moved: u64) {
        self.moved += moved;
        self.streak += moved;
        self.bulk |= self.streak >= STREAK_BYTES;
    }

    /// The source has nothing now; nor had it when the other direction was looked at meanwhile,
    /// which says nothing of what comes next.
    fn rest(&mut self) {
        if self.streak > 0 {
            self.bulk = self.streak >= STREAK_BYTES;
            self.streak = 0;
        }
    }

    /// The target takes no more.
    fn refuse(&mut self, error: io::Error) -> io::Result<()> {
        self.buffer = None;
        self.state = State::Ended;
        self.refused = Some(error);
        Ok(())
    }
}

/// How a tunnel ended, and what went through.
#[derive(Debug)]
pub(crate) struct Passed {
    /// Bytes from the client.
    pub(crate) upstream_bytes: u64,
    /// Bytes to the client.
    pub(crate) downstream_bytes: u64,
    /// `Ok` when both sides closed in good order.
    pub(crate) end: Result<(), TunnelEnd>,
}

/// Why a tunnel was cut.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TunnelEnd {
    #[error("idle for too long")]
    Idle,
    #[error("open for too long")]
    Lifetime,
    #[error("the data plane is ending")]
    Aborted,
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The two ends of a tunnel.
pub(crate) struct Tunnel<'a, C, E> {
    pub(crate) client: &'a C,
    pub(crate) endpoint: &'a E,
    pub(crate) shard: &'a Shard,
    pub(crate) timer: &'a Timer,
    pub(crate) idle_timeout: Duration,
    /// When it is over, however busy it is.
    pub(crate) until: CoarseInstant,
}

impl TunnelEnd {
    /// The stable word for logs.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Idle => "idle_timeout",
            Self::Lifetime => "max_lifetime",
            Self::Aborted => "shutdown",
            Self::Io(_) => "cut_off",
        }
    }
}

impl<C: Duplex, E: Duplex> Tunnel<'_, C, E> {
    /// Runs until both directions have ended, a side is cut off, or nothing moves for the idle
    /// timeout. What is cut off at one side will be reset at the other.
    pub(crate) async fn run(
        &self,
        from_client: Option<Buffer>,
        from_endpoint: Option<Buffer>,
    ) -> Passed {
        let mut up = Direction::new(from_client);
        let mut down = Direction::new(from_endpoint);
        self.postpone();
        let pools = (self.shard.buffers(), self.shard.pipes());
        let end = poll_fn(|cx| {
            let before = up.moved + down.moved;
            let up_ended = up.poll(cx, self.client, self.endpoint, pools)?;
            let down_ended = down.poll(cx, self.endpoint, self.client, pools)?;
            if up_ended.is_ready() && down_ended.is_ready() {
                return Poll::Ready(Ok(()));
            }
            if up.moved + down.moved != before {
                self.postpone();
            }
            self.timer.poll_guard(cx).map(|interrupted| {
                Err(match interrupted {
                    Interrupted::Elapsed if now() >= self.until => TunnelEnd::Lifetime,
                    Interrupted::Elapsed => TunnelEnd::Idle,
                    Interrupted::Draining | Interrupted::Aborted => TunnelEnd::Aborted,
                })
            })
        })
        .await;
        let end = end.and_then(|()| match up.refused.or(down.refused) {
            Some(error) => Err(TunnelEnd::Io(error)),
            None => Ok(()),
        });
        if matches!(&end, Err(TunnelEnd::Io(error)) if error.kind() == io::ErrorKind::ConnectionReset)
        {
            self.client.reset_on_close();
            self.endpoint.reset_on_close();
        }
        Passed { upstream_bytes: up.moved, downstream_bytes: down.moved, end }
    }

    /// Something moved.
    fn postpone(&self) {
        self.timer.set_at(now().plus(self.idle_timeout).min(self.until));
    }
}
