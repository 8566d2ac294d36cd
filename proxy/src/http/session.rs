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

/// Carries a client's connection to its end.
pub(crate) async fn serve(worker: Rc<Worker>, connection: Connection) {
    let (origin, stream) = Origin::new(&worker, connection);
    let agreed = stream.agreed().map(|agreed| match agreed.alpn.as_deref() {
        Some(b"h2") => Opening::Http2,
        _ => Opening::Other,
    });
    let timer = worker.shard.timer();
    Session { worker, stream, timer, origin, agreed }.run().await;
}

struct Session<D> {
    worker: Rc<Worker>,
    stream: D,
    timer: Timer,
    origin: Origin,
    /// The protocol that TLS agreed on, where there is TLS.
    agreed: Option<Opening>,
}

impl<D: Duplex + 'static> Session<D> {
    async fn run(self) {
        let Some(mut first) = self.first_bytes(None).await else { return self.stream.finish() };
        if self.opening(&mut first).await == Opening::Http2 {
            let Self { worker, stream, timer, origin, .. } = self;
            // A task of its own: those of HTTP/1.x need not be as large.
            return bs9_net::spawn(http2::serve(worker, stream, timer, origin, first));
        }
        let mut ahead = Some(first);
        loop {
            let Some(mut buffer) = self.first_bytes(ahead.take()).await else {
                return self.stream.finish();
            };
            match self.request(&mut buffer).await {
                // An empty buffer goes back to its pool: idle connections hold none.
                Fate::KeepAlive => ahead = (!buffer.is_empty()).then_some(buffer),
                Fate::Close => return linger(&self.stream, &self.timer, buffer).await,
                Fate::Done => return self.stream.finish(),
                Fate::Abort => return,
            }
        }
    }

    /// Which protocol the connection begins with; reads on while that is open.
    async fn opening(&self, first: &mut Buffer) -> Opening {
        if let Some(agreed) = self.agreed {
            return agreed;
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
    async fn first_bytes(&self, ahead: Option<Buffer>) -> Option<Buffer> {
        if ahead.is_some() {
            return ahead;
        }
        let timer = &self.timer;
        let view = self.worker.view();
        timer.set(view.part.http.get(&self.origin.listener())?.idle_timeout);
        drop(view);
        let removals = self.worker.removals();
        let wanted = || removals == self.worker.removals() || self.origin.is_served(&self.worker);
        let buffers = self.worker.shard.buffers();
        let mut first = None;
        let read = poll_fn(|cx| self.stream.poll_read_pooled(cx, &mut first, buffers));
        let read = match timer.guard_idle_while(read, wanted).await {
            Ok(read) => read,
            // Its listener is gone from the configuration.
            Err(Interrupted::Draining) if !self.worker.shard.is_draining() => return None,
            Err(Interrupted::Draining) => {
                // The next request may be under way already: answer it, and say that it
                // was the last one, instead of resetting it.
                timer.set(DRAIN_GRACE);
                let read = poll_fn(|cx| self.stream.poll_read_pooled(cx, &mut first, buffers));
                timer.guard(read).await.ok()?
            }
            Err(Interrupted::Elapsed | Interrupted::Aborted) => return None,
        };
        first.filter(|_| matches!(read, Ok(count) if count > 0))
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
