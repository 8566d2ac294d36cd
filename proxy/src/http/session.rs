//! A client's connection: one request after the other.

use std::{
    future::poll_fn,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bs9_net::{Buffer, Connection, Interrupted, Timer};

use super::{
    client::{Client, Origin, linger},
    failure::Failure,
    handling::{Fate, Handling},
    record::{Notes, Record},
    request::{self, Facts, Plan},
};
use crate::{
    duplex::Duplex,
    http2::{self, Opening},
    part::HttpSite,
    worker::{Scratch, View, Worker},
};

/// How long a kept connection may still bring a request when a drain begins.
pub(crate) const DRAIN_GRACE: Duration = Duration::from_secs(1);

/// How long a connection waits for its next request in the task that carried the last one. After
/// that it goes to a smaller one, and from there to a new one: 2 allocations for a pause.
const NAP: Duration = Duration::from_secs(1);

/// Carries a client's connection to its end.
pub(crate) fn serve(worker: Rc<Worker>, connection: Connection) -> impl Future<Output = ()> {
    let (origin, stream) = Origin::new(&worker, connection);
    let agreed = stream.agreed().map(|agreed| match agreed.alpn.as_deref() {
        Some(b"h2") => Opening::Http2,
        _ => Opening::Other,
    });
    let timer = worker.shard.timer();
    Session { worker, stream, timer, origin, opening: agreed }.run(None)
}

/// A connection.
struct Session<D> {
    worker: Rc<Worker>,
    stream: D,
    timer: Timer,
    origin: Origin,
    /// The protocol, once it is known: where there is TLS, from the start.
    opening: Option<Opening>,
}

/// Where a request is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
    /// In the task that carried the last one, for [`NAP`] at most.
    Nap,
    /// After that, in one that has room for nothing else.
    Sleep,
}

/// A wait for a request.
struct Waiting {
    /// [`Worker::removals`] when it began.
    removals: u64,
    /// Whether it is not over when its time is.
    naps: bool,
    /// Whether it is the last one: a request may be under way already.
    last: bool,
}

/// What a wait for a request ended with.
enum First {
    Bytes(Buffer),
    /// Nothing, for a while.
    Quiet,
    /// There is nothing more to wait for.
    End,
}

impl<D: Duplex + 'static> Session<D> {
    /// Carries requests, of which the first may have begun, until there is a pause.
    #[expect(clippy::manual_async_fn, reason = "what an async fn is given, its future has twice")]
    fn run(mut self, mut ahead: Option<Buffer>) -> impl Future<Output = ()> + 'static {
        async move {
            loop {
                let mut buffer = match ahead.take() {
                    Some(buffer) => buffer,
                    None => match self.first_bytes(Wait::Nap).await {
                        First::Bytes(buffer) => buffer,
                        First::Quiet => return self.fall_asleep(),
                        First::End => return self.stream.finish(),
                    },
                };
                if self.opening != Some(Opening::Other) {
                    let opening = self.opening(&mut buffer).await;
                    if opening == Opening::Http2 {
                        let Self { worker, stream, timer, origin, .. } = self;
                        // A task of its own: those of HTTP/1.x need not be as large.
                        return bs9_net::spawn(http2::serve(worker, stream, timer, origin, buffer));
                    }
                    self.opening = Some(Opening::Other);
                }
                match self.request(&mut buffer).await {
                    // An empty buffer goes back to its pool: idle connections hold none.
                    Fate::KeepAlive => ahead = (!buffer.is_empty()).then_some(buffer),
                    Fate::Close => return linger(&self.stream, &self.timer, buffer).await,
                    Fate::Done => return self.stream.finish(),
                    Fate::Abort => return,
                }
            }
        }
    }

    fn fall_asleep(self) {
        bs9_net::spawn(self.sleep());
    }

    /// Waits for the next request in a task that has room for nothing else: a request's way is
    /// some kilobytes long, and most connections are idle most of the time.
    #[expect(clippy::manual_async_fn, reason = "what an async fn is given, its future has twice")]
    fn sleep(self) -> impl Future<Output = ()> + 'static {
        async move {
            match self.first_bytes(Wait::Sleep).await {
                First::Bytes(buffer) => self.wake_up(buffer),
                First::Quiet | First::End => self.stream.finish(),
            }
        }
    }

    fn wake_up(self, buffer: Buffer) {
        bs9_net::spawn(self.run(Some(buffer)));
    }

    /// Which protocol the connection begins with; reads on while that is open.
    async fn opening(&self, first: &mut Buffer) -> Opening {
        if let Some(known) = self.opening {
            return known;
        }
        let mut waiting = false;
        loop {
            let opening = Opening::of(first.filled());
            if opening == Opening::Other {
                return opening;
            }
            let view = self.worker.view();
            let Some(site) = view.part.http.get(&self.origin.listener()) else {
                return Opening::Other;
            };
            match opening {
                _ if site.http2.is_none() => return Opening::Other,
                Opening::Partial if !std::mem::replace(&mut waiting, true) => {
                    self.timer.set(site.head_timeout);
                }
                Opening::Partial => {}
                known => return known,
            }
            drop(view);
            let read = self.timer.guard(self.stream.read(first)).await;
            if !matches!(read, Ok(Ok(count)) if count > 0) {
                // HTTP/1.1 has an answer to half a request.
                return Opening::Other;
            }
        }
    }

    /// Waits for a request to begin, and holds next to nothing meanwhile.
    fn first_bytes(&self, wait: Wait) -> impl Future<Output = First> {
        let mut waiting = self.begin_to_wait(wait);
        poll_fn(move |cx| match &mut waiting {
            Some(waiting) => self.poll_first(cx, waiting),
            None => Poll::Ready(First::End),
        })
    }

    /// `None`: its listener is gone from the configuration.
    fn begin_to_wait(&self, wait: Wait) -> Option<Waiting> {
        let view = self.worker.view();
        let allowed = view.part.http.get(&self.origin.listener())?.idle_timeout;
        self.timer.set(match wait {
            Wait::Nap => allowed.min(NAP),
            Wait::Sleep => allowed.saturating_sub(NAP),
        });
        let naps = wait == Wait::Nap && allowed > NAP;
        Some(Waiting { removals: self.worker.removals(), naps, last: false })
    }

    fn poll_first(&self, cx: &mut Context<'_>, waiting: &mut Waiting) -> Poll<First> {
        let Self { worker, stream, timer, .. } = self;
        let wanted = || waiting.removals == worker.removals() || self.origin.is_served(worker);
        let mut first = None;
        loop {
            let read = stream.poll_read_pooled(cx, &mut first, worker.shard.buffers());
            if let Poll::Ready(read) = read {
                let first = first.filter(|_| matches!(read, Ok(count) if count > 0));
                return Poll::Ready(first.map_or(First::End, First::Bytes));
            }
            let interrupted =
                if waiting.last { timer.poll_guard(cx) } else { timer.poll_guard_idle(cx, wanted) };
            match ready!(interrupted) {
                Interrupted::Elapsed if waiting.naps => return Poll::Ready(First::Quiet),
                Interrupted::Draining if worker.shard.is_draining() => {
                    // The next request may be under way already: answer it, and say that it
                    // was the last one, instead of resetting it.
                    (waiting.last, waiting.naps) = (true, false);
                    timer.set(DRAIN_GRACE);
                }
                // Its listener is gone from the configuration, or its time is over.
                Interrupted::Draining | Interrupted::Elapsed | Interrupted::Aborted => {
                    return Poll::Ready(First::End);
                }
            }
        }
    }

    /// Carries one request, of which `buffer` holds the first bytes at least.
    async fn request(&self, buffer: &mut Buffer) -> Fate {
        let view = self.worker.view();
        let Some(site) = view.part.http.get(&self.origin.listener()) else {
            // The listener is gone from the configuration.
            return Fate::Close;
        };
        let Self { worker, stream, timer, origin, .. } = self;
        let notes = Notes::wanted(worker, site, "HTTP/1.1");
        let record = Record::new(worker, site, notes.as_ref());
        let handling =
            Handling::new(worker, site, Client { stream, timer, origin, record: &record });
        let mut out = worker.scratch();
        let planned = self.head(&view, site, buffer, &mut out).await;
        let fate = match planned {
            Ok(Some(planned)) => {
                record.plan(worker, &planned, buffer, &mut out);
                handling.carry(planned, buffer, &mut out).await
            }
            Ok(None) => {
                record.head(buffer.filled());
                Fate::Abort
            }
            Err(failure) => {
                record.head(buffer.filled());
                handling.refuse_head(failure, buffer, &mut out).await
            }
        };
        record.finish(worker, origin, Some(fate));
        fate
    }

    /// Reads until the head is whole; `None`: the client has gone.
    async fn head(
        &self,
        view: &View,
        site: &HttpSite,
        buffer: &mut Buffer,
        out: &mut Scratch,
    ) -> Result<Option<(Facts, Plan)>, Failure> {
        let mut waiting = false;
        loop {
            let bytes = buffer.filled();
            let planned =
                request::plan(&self.worker, view, site, &self.origin, bytes, &mut out.bytes)?;
            if planned.is_some() {
                return Ok(planned);
            }
            if !std::mem::replace(&mut waiting, true) {
                self.timer.set(site.head_timeout);
            }
            match self.timer.guard(self.stream.read(buffer)).await {
                Ok(Ok(count)) if count > 0 => {}
                Ok(_) => return Ok(None),
                Err(Interrupted::Elapsed) => return Err(Failure::HeadTimeout),
                Err(_) => return Ok(None),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bs9_net::Transport;

    use super::*;

    /// The size of what `make` makes, which is not called.
    fn size_of_made<A, T>(_make: impl Fn(A) -> T) -> usize {
        size_of::<T>()
    }

    /// What an idle connection keeps allocated, besides its timer and its place in the poll. There
    /// are a hundred thousand of them: think of a box for what is rare before you raise a limit.
    #[test]
    fn an_idle_connection_is_small() {
        let session = size_of::<Session<Transport>>();
        let asleep = size_of_made(Session::<Transport>::sleep);
        assert!(session <= 152, "what is known of it: {session} bytes");
        assert!(asleep <= 192, "its task: {asleep} bytes");
    }
}
