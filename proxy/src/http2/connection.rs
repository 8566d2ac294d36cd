//! A connection of HTTP/2: its requests run beside each other, each in a task of its own.

use std::{
    cell::Cell,
    future::poll_fn,
    pin::pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use bs9_config::Http2;
use bs9_net::{Buffer, CoarseInstant, Interrupted, Timer, now};
use bytes::Bytes;
use h2::{
    Reason, RecvStream,
    server::{self, SendResponse},
};
use http::{Method, Request};

use super::{
    MAX_SEND_BUFFER_BYTES,
    head::{self, Shape},
    meter::Meter,
    stats::Ending,
    stream::Lane,
    wire::Wire,
};
use crate::{
    duplex::Duplex,
    http::{Call, Client, DRAIN_GRACE, Failure, Handling, Notes, Origin, Record, linger, plan},
    http1::{RequestError, ResponseTo},
    part::HttpSite,
    worker::{View, Worker},
};

/// What the requests of a connection share.
struct Shared {
    worker: Rc<Worker>,
    origin: Origin,
    /// Requests under way.
    active: Cell<usize>,
    requests: Cell<u32>,
    /// Requests that the client gave up.
    resets: Cell<u32>,
    /// When a request last began or ended.
    used: Cell<CoarseInstant>,
}

/// Carries a client's connection, whose preface is in `early`, to its end.
pub(crate) async fn serve<D: Duplex>(
    worker: Rc<Worker>,
    stream: D,
    timer: Timer,
    origin: Origin,
    early: Buffer,
) {
    let view = worker.view();
    let Some((site, settings)) = site_of(&view, &origin) else { return };
    let cell = &site.stats.cell(worker.shard.index()).http2;
    cell.connections.increment();
    let stream = Rc::new(stream);
    let buffers = Rc::clone(worker.shard.buffers());
    let meter = Rc::new(Meter::new());
    let wire = Wire::new(Rc::clone(&stream), Rc::clone(&buffers), Some(early), Rc::clone(&meter));
    timer.set(site.head_timeout);
    let handshake = builder(site, settings).handshake::<_, Bytes>(wire);
    let ending = match timer.guard(handshake).await {
        Ok(Ok(connection)) => {
            let shared = Rc::new(Shared {
                origin,
                active: Cell::new(0),
                requests: Cell::new(0),
                resets: Cell::new(0),
                used: Cell::new(now()),
                worker: Rc::clone(&worker),
            });
            timer.set(site.idle_timeout);
            let connection = Connection {
                connection,
                timer: &timer,
                meter: &meter,
                max_resets: settings.max_resets,
                idle_timeout: site.idle_timeout,
                removals: worker.removals(),
                leaving: None,
                shared,
            };
            connection.run().await
        }
        Ok(Err(error)) => Ending::of(&error),
        Err(Interrupted::Elapsed) => Ending::HandshakeTimeout,
        Err(_) => Ending::Drained,
    };
    cell.endings[ending as usize].increment();
    tracing::debug!(ending = ending.name(), "a connection of HTTP/2 ended");
    drop(view);
    linger(&*stream, &timer, buffers.take()).await;
}

fn site_of<'a>(view: &'a View, origin: &Origin) -> Option<(&'a HttpSite, &'a Http2)> {
    let site = view.part.http.get(&origin.listener())?;
    Some((site, site.http2.as_ref()?))
}

fn builder(site: &HttpSite, settings: &Http2) -> server::Builder {
    let mut builder = server::Builder::new();
    builder
        .max_concurrent_streams(settings.max_concurrent_streams)
        .initial_window_size(settings.stream_window_bytes)
        .initial_connection_window_size(settings.connection_window_bytes)
        .max_header_list_size(u32::try_from(site.limits.max_head_bytes).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(settings.max_resets as usize)
        .max_send_buffer_size(MAX_SEND_BUFFER_BYTES)
        // WebSockets on a stream (RFC 8441).
        .enable_connect_protocol();
    builder
}

impl Ending {
    fn of(error: &h2::Error) -> Self {
        match error.reason() {
            // What the library calls a flood: of CONTINUATION, resets, empty frames.
            Some(Reason::ENHANCE_YOUR_CALM) if !error.is_remote() => Self::FrameFlood,
            Some(_) if !error.is_remote() => Self::ProtocolError,
            _ => Self::ByClient,
        }
    }
}

/// A connection at work.
struct Connection<'a, D> {
    connection: server::Connection<Wire<D, Meter>, Bytes>,
    shared: Rc<Shared>,
    timer: &'a Timer,
    meter: &'a Meter,
    max_resets: u32,
    idle_timeout: Duration,
    removals: u64,
    /// Why no further requests are taken.
    leaving: Option<Ending>,
}

impl<D: Duplex> Connection<'_, D> {
    async fn run(mut self) -> Ending {
        poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        loop {
            self.look_whether_to_leave();
            match self.connection.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => self.begin(request, respond),
                Poll::Ready(Some(Err(error))) => {
                    return Poll::Ready(self.leaving.unwrap_or_else(|| Ending::of(&error)));
                }
                Poll::Ready(None) => return Poll::Ready(self.leaving.unwrap_or(Ending::ByClient)),
                Poll::Pending if self.must_stop() => {}
                Poll::Pending => return self.poll_timer(cx),
            }
        }
    }

    /// Says in good order that this was the last request when nobody serves the next one.
    fn look_whether_to_leave(&mut self) {
        let worker = &self.shared.worker;
        let gone = || worker.removals() != self.removals && !self.shared.origin.is_served(worker);
        if self.leaving.is_none() && (worker.shard.is_draining() || gone()) {
            self.leave(Ending::Drained);
        }
    }

    fn leave(&mut self, why: Ending) {
        self.leaving = Some(why);
        self.connection.graceful_shutdown();
        self.timer.set(DRAIN_GRACE);
    }

    /// Ends the connection of a client that attacks; it has to be polled once more then.
    fn must_stop(&mut self) -> bool {
        let why = if self.meter.is_flooded() {
            Ending::FrameFlood
        } else if self.resets_rapidly() {
            Ending::RapidReset
        } else {
            return false;
        };
        let stopped = matches!(self.leaving, Some(Ending::FrameFlood | Ending::RapidReset));
        if !stopped {
            self.leaving = Some(why);
            self.connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
            self.timer.set(DRAIN_GRACE);
        }
        !stopped
    }

    /// Clients give some requests up; attackers most of them (CVE-2023-44487).
    fn resets_rapidly(&self) -> bool {
        let (requests, resets) = (self.shared.requests.get(), self.shared.resets.get());
        resets >= self.max_resets && resets > requests / 2
    }

    fn begin(&self, request: Request<RecvStream>, respond: SendResponse<Bytes>) {
        let shared = &self.shared;
        shared.requests.set(shared.requests.get().saturating_add(1));
        shared.active.set(shared.active.get() + 1);
        shared.used.set(now());
        bs9_net::spawn(carry(Active(Rc::clone(shared)), request, respond));
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        loop {
            let interrupted = std::task::ready!(self.timer.poll_guard(cx));
            if interrupted == Interrupted::Aborted {
                return Poll::Ready(Ending::Drained);
            }
            let idle = self.shared.active.get() == 0;
            match self.leaving {
                Some(Ending::Idle | Ending::Drained) if !idle => self.timer.set(DRAIN_GRACE),
                // It has been told, and nothing is under way.
                Some(why) => return Poll::Ready(why),
                None => {
                    let since = if idle { self.shared.used.get() } else { now() };
                    let due = since.plus(self.idle_timeout);
                    if due <= now() {
                        self.leave(Ending::Idle);
                        cx.waker().wake_by_ref();
                    } else {
                        self.timer.set_at(due);
                    }
                }
            }
        }
    }
}

/// One more request under way, until it is dropped.
struct Active(Rc<Shared>);

impl Drop for Active {
    fn drop(&mut self) {
        self.0.active.set(self.0.active.get() - 1);
        self.0.used.set(now());
    }
}

/// Carries one request.
async fn carry(active: Active, request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
    let Shared { worker, origin, resets, .. } = &*active.0;
    let view = worker.view();
    let Some(site) = view.part.http.get(&origin.listener()) else {
        // The listener is gone from the configuration: nothing has been done.
        return respond.send_reset(Reason::REFUSED_STREAM);
    };
    let cell = &site.stats.cell(worker.shard.index()).http2;
    cell.requests.increment();
    let mut buffer = worker.shard.buffers().take();
    let mut out = worker.scratch();
    let (parts, body) = request.into_parts();
    let request = Request::from_parts(parts, ());
    let nonce = || std::array::from_fn(|_| worker.random_below(256) as u8);
    let written = head::write_request(&request, body.is_end_stream(), nonce, &mut buffer);
    let shape = *written.as_ref().unwrap_or(&Shape::Plain);
    let response_to = ResponseTo {
        head: request.method() == Method::HEAD,
        connect: false,
        upgrade: shape == Shape::Tunnel,
    };
    let lane = Lane::new(body, shape, respond, response_to);
    let timer = worker.shard.timer();
    let notes = Notes::wanted(worker, site, "HTTP/2.0");
    let record = Record::new(worker, site, notes.as_ref());
    let client = Client { stream: &lane, timer: &timer, origin, record: &record };
    let handling = Handling::new(worker, site, client).of_call(Call::of(request.headers()));
    let planned = written
        .and_then(|_| plan(worker, &view, site, origin, buffer.filled(), &mut out.bytes))
        .and_then(|planned| {
            // One head went in: had the parser seen less of it, the rest would be a request
            // nobody sent.
            let whole = planned.filter(|(facts, _)| facts.head_len == buffer.len());
            whole.ok_or(Failure::Request(RequestError::InvalidTarget))
        });
    let mut handled = pin!(async {
        match planned {
            Ok(planned) => {
                record.plan(worker, &planned, &buffer, &mut out);
                handling.carry(planned, &mut buffer, &mut out).await
            }
            Err(failure) => {
                record.head(buffer.filled());
                handling.refuse_head(failure, &buffer, &mut out).await
            }
        }
    });
    let fate = poll_fn(|cx| match handled.as_mut().poll(cx) {
        Poll::Ready(fate) => Poll::Ready(Some(fate)),
        Poll::Pending => lane.poll_reset(cx).map(|()| None),
    });
    let fate = fate.await;
    record.finish(worker, origin, fate);
    match fate {
        Some(fate) => lane.end(fate),
        None => {
            cell.resets.increment();
            resets.set(resets.get().saturating_add(1));
        }
    }
}
