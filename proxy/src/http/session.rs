//! A client's connection: one request after the other.

use std::{future::poll_fn, rc::Rc, time::Duration};

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
pub(crate) async fn serve(worker: Rc<Worker>, connection: Connection) {
    let (origin, stream) = Origin::new(&worker, connection);
    let agreed = stream.agreed().map(|agreed| match agreed.alpn.as_deref() {
        Some(b"h2") => Opening::Http2,
        _ => Opening::Other,
    });
    let timer = worker.shard.timer();
    Session { worker, stream, timer, origin, opening: agreed }.run(None).await;
}

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
    async fn run(mut self, mut ahead: Option<Buffer>) {
        loop {
            let mut buffer = match ahead.take() {
                Some(buffer) => buffer,
                None => match self.first_bytes(Wait::Nap).await {
                    First::Bytes(buffer) => buffer,
                    First::Quiet => return bs9_net::spawn(self.sleep()),
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

    /// Waits for the next request in a task that has room for nothing else: a request's way is
    /// some kilobytes long, and most connections are idle most of the time.
    async fn sleep(self) {
        match self.first_bytes(Wait::Sleep).await {
            First::Bytes(buffer) => bs9_net::spawn(self.run(Some(buffer))),
            First::Quiet | First::End => self.stream.finish(),
        }
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

    /// Waits, without a buffer, for a request to begin.
    async fn first_bytes(&self, wait: Wait) -> First {
        let timer = &self.timer;
        let view = self.worker.view();
        let Some(site) = view.part.http.get(&self.origin.listener()) else { return First::End };
        let allowed = site.idle_timeout;
        timer.set(match wait {
            Wait::Nap => allowed.min(NAP),
            Wait::Sleep => allowed.saturating_sub(NAP),
        });
        drop(view);
        let removals = self.worker.removals();
        let wanted = || removals == self.worker.removals() || self.origin.is_served(&self.worker);
        let buffers = self.worker.shard.buffers();
        let mut first = None;
        let read = poll_fn(|cx| self.stream.poll_read_pooled(cx, &mut first, buffers));
        let read = match timer.guard_idle_while(read, wanted).await {
            Ok(read) => read,
            Err(Interrupted::Elapsed) if wait == Wait::Nap && allowed > NAP => return First::Quiet,
            // Its listener is gone from the configuration.
            Err(Interrupted::Draining) if !self.worker.shard.is_draining() => return First::End,
            Err(Interrupted::Draining) => {
                // The next request may be under way already: answer it, and say that it
                // was the last one, instead of resetting it.
                timer.set(DRAIN_GRACE);
                let read = poll_fn(|cx| self.stream.poll_read_pooled(cx, &mut first, buffers));
                match timer.guard(read).await {
                    Ok(read) => read,
                    Err(_) => return First::End,
                }
            }
            Err(Interrupted::Elapsed | Interrupted::Aborted) => return First::End,
        };
        first.filter(|_| matches!(read, Ok(count) if count > 0)).map_or(First::End, First::Bytes)
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
