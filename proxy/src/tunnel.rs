//! Bytes both ways between two streams, until both directions have ended.

use std::{
    future::poll_fn,
    io,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bs9_net::{Buffer, BufferPool, Interrupted, Timer};

use crate::duplex::Duplex;

/// Reads taken from one direction before others get their turn.
const BURST: usize = 16;

/// One direction. Holds a buffer only while bytes are under way.
struct Direction {
    buffer: Option<Buffer>,
    state: State,
    moved: u64,
    /// Why the target took no more.
    refused: Option<io::Error>,
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
        Self { buffer, state: State::Open, moved: 0, refused: None }
    }

    /// Moves what can be moved. Ready when the direction has ended: with an error when its
    /// source was cut off. A target that takes no more ends it as well, but may still have
    /// something to say, so that this is no error of the tunnel's.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &impl Duplex,
        to: &impl Duplex,
        pool: &Rc<BufferPool>,
    ) -> Poll<io::Result<()>> {
        if self.state == State::Ended {
            return Poll::Ready(Ok(()));
        }
        for _ in 0..BURST {
            if let Some(buffer) = &mut self.buffer {
                let count = match ready!(to.poll_write(cx, buffer.filled())) {
                    Ok(count) => count,
                    Err(error) => {
                        self.buffer = None;
                        self.state = State::Ended;
                        self.refused = Some(error);
                        return Poll::Ready(Ok(()));
                    }
                };
                self.moved += count as u64;
                buffer.consume(count);
                if !buffer.is_empty() {
                    continue;
                }
            }
            if self.state == State::Ending {
                self.state = State::Ended;
                // Gone already: then it needs not be told.
                let _not_connected = to.shutdown_write();
                return Poll::Ready(Ok(()));
            }
            if self.buffer.is_none() {
                ready!(from.poll_read_ready(cx));
            }
            let mut buffer = self.buffer.take().unwrap_or_else(|| pool.take());
            match from.poll_read(cx, &mut buffer) {
                // Nothing there: the buffer goes back while we wait.
                Poll::Pending => return Poll::Pending,
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
    #[error("the data plane is ending")]
    Aborted,
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The two ends of a tunnel.
pub(crate) struct Tunnel<'a, C, E> {
    pub(crate) client: &'a C,
    pub(crate) endpoint: &'a E,
    pub(crate) pool: &'a Rc<BufferPool>,
    pub(crate) timer: &'a Timer,
    pub(crate) idle_timeout: Duration,
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
        self.timer.set(self.idle_timeout);
        let end = poll_fn(|cx| {
            let before = up.moved + down.moved;
            let up_ended = up.poll(cx, self.client, self.endpoint, self.pool)?;
            let down_ended = down.poll(cx, self.endpoint, self.client, self.pool)?;
            if up_ended.is_ready() && down_ended.is_ready() {
                return Poll::Ready(Ok(()));
            }
            if up.moved + down.moved != before {
                self.timer.set(self.idle_timeout);
            }
            self.timer.poll_guard(cx).map(|interrupted| {
                Err(match interrupted {
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
}
