//! A connection of HTTP/2: its requests run beside each other, each in a task of its own.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    pin::pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use bs9_config::Http2;
use bs9_net::{Buffer, BufferPool, CoarseInstant, Interrupted, Timer, now};

use super::{
    frame::Code,
    mux::{Begun, Broken, Mux},
    request::Asked,
    stats::Ending,
    stream::Lane,
};
use crate::{
    duplex::Duplex,
    http::{Client, DRAIN_GRACE, Failure, Handling, Notes, Origin, Record, linger, plan},
    http1::{RequestError, ResponseTo},
    part::HttpSite,
    worker::{View, Worker},
};

/// What the requests of a connection share.
struct Shared {
    worker: Rc<Worker>,
    origin: Origin,
    mux: Rc<RefCell<Mux>>,
    requests: Cell<u32>,
    /// Requests that the client gave up.
    resets: Cell<u32>,
    /// When a request last began or ended.
    used: Cell<CoarseInstant>,
}

/// Carries a client's connection, which begins with `early`, to its end.
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
    let buffers = Rc::clone(worker.shard.buffers());
    timer.set(site.head_timeout);
    let mux = Mux::new(settings, site.limits.max_head_bytes, Rc::clone(&buffers));
    let connection = Connection {
        stream: &stream,
        buffers: &buffers,
        input: Some(early),
        begun: Vec::new(),
        timer: &timer,
        max_resets: settings.max_resets,
        idle_timeout: site.idle_timeout,
        removals: worker.removals(),
        settled: false,
        leaving: None,
        shared: Rc::new(Shared {
            origin,
            mux: Rc::new(RefCell::new(mux)),
            requests: Cell::new(0),
            resets: Cell::new(0),
            used: Cell::new(now()),
            worker: Rc::clone(&worker),
        }),
    };
    let ending = connection.run().await;
    cell.endings[ending as usize].increment();
    tracing::debug!(ending = ending.name(), "a connection of HTTP/2 ended");
    drop(view);
    linger(&stream, &timer, buffers.take()).await;
}

fn site_of<'a>(view: &'a View, origin: &Origin) -> Option<(&'a HttpSite, &'a Http2)> {
    let site = view.part.http.get(&origin.listener())?;
    Some((site, site.http2.as_ref()?))
}

/// A connection at work.
struct Connection<'a, D> {
    stream: &'a D,
    buffers: &'a Rc<BufferPool>,
    /// What was read and is not understood yet: no buffer, where that is nothing.
    input: Option<Buffer>,
    /// Requests that have just come.
    begun: Vec<Begun>,
    shared: Rc<Shared>,
    timer: &'a Timer,
    max_resets: u32,
    idle_timeout: Duration,
    removals: u64,
    /// The client has begun as it has to.
    settled: bool,
    /// Why no further requests are taken.
    leaving: Option<Ending>,
}

impl<D: Duplex> Connection<'_, D> {
    async fn run(mut self) -> Ending {
        let ending = poll_fn(|cx| self.poll(cx)).await;
        self.shared.mux.borrow_mut().end();
        ending
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        self.look_whether_to_leave();
        loop {
            if let Some(ending) = self.read(cx) {
                return Poll::Ready(ending);
            }
            let mux = &mut *self.shared.mux.borrow_mut();
            let could_read = mux.may_read();
            let Ok(idle) = mux.flush(cx, self.stream) else {
                return Poll::Ready(self.leaving.unwrap_or(Ending::ByClient));
            };
            if mux.is_over() || (idle && self.is_broken()) {
                return Poll::Ready(self.leaving.unwrap_or(Ending::ByClient));
            }
            if could_read || !mux.may_read() {
                mux.set_waker(cx);
                break;
            }
        }
        self.poll_timer(cx)
    }

    /// Reads and takes in what there is; gives how the connection ended, if it has.
    fn read(&mut self, cx: &mut Context<'_>) -> Option<Ending> {
        loop {
            self.take_in();
            if self.is_broken() || !self.shared.mux.borrow().may_read() {
                return None;
            }
            match self.stream.poll_read_pooled(cx, &mut self.input, self.buffers) {
                Poll::Ready(Ok(count)) if count > 0 => {}
                Poll::Ready(_) => return Some(self.leaving.unwrap_or(Ending::ByClient)),
                Poll::Pending => return None,
            }
        }
    }

    fn take_in(&mut self) {
        if let Some(input) = &mut self.input {
            let worker = &self.shared.worker;
            let nonce = || std::array::from_fn(|_| worker.random_below(256) as u8);
            let mut mux = self.shared.mux.borrow_mut();
            let received = mux.receive(input, &nonce, &mut self.begun);
            let settled = mux.is_settled();
            drop(mux);
            if input.is_empty() {
                self.input = None;
            }
            if settled && !std::mem::replace(&mut self.settled, true) && self.leaving.is_none() {
                self.timer.set(self.idle_timeout);
            }
            for begun in self.begun.drain(..) {
                begin(&self.shared, begun);
            }
            match received {
                Err(Broken(Code::EnhanceYourCalm)) => {
                    self.stop(Ending::FrameFlood, Code::EnhanceYourCalm);
                }
                Err(Broken(code)) => self.stop(Ending::ProtocolError, code),
                Ok(()) => {}
            }
        }
        if !self.is_broken() && self.resets_rapidly() {
            self.stop(Ending::RapidReset, Code::EnhanceYourCalm);
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
        self.shared.mux.borrow_mut().announce_parting();
        self.timer.set(DRAIN_GRACE);
    }

    /// Ends the connection of a client that breaks the protocol, or attacks: once it has been told.
    fn stop(&mut self, why: Ending, code: Code) {
        self.leaving = Some(why);
        self.input = None;
        self.shared.mux.borrow_mut().break_off(Broken(code));
        self.timer.set(DRAIN_GRACE);
    }

    fn is_broken(&self) -> bool {
        let broken = [Ending::FrameFlood, Ending::RapidReset, Ending::ProtocolError];
        self.leaving.is_some_and(|why| broken.contains(&why))
    }

    /// Clients give some requests up; attackers most of them (CVE-2023-44487).
    fn resets_rapidly(&self) -> bool {
        let (requests, resets) = (self.shared.requests.get(), self.shared.resets.get());
        resets >= self.max_resets && resets > requests / 2
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        loop {
            let interrupted = std::task::ready!(self.timer.poll_guard(cx));
            if interrupted == Interrupted::Aborted {
                return Poll::Ready(Ending::Drained);
            }
            let idle = self.shared.mux.borrow().active() == 0;
            match self.leaving {
                Some(Ending::Idle | Ending::Drained) if !idle => self.timer.set(DRAIN_GRACE),
                // It has been told, and nothing is under way.
                Some(why) => return Poll::Ready(why),
                None if !self.settled => return Poll::Ready(Ending::HandshakeTimeout),
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

fn begin(shared: &Rc<Shared>, Begun { at, asked }: Begun) {
    shared.requests.set(shared.requests.get().saturating_add(1));
    shared.used.set(now());
    let given_up = shared.mux.borrow().is_given_up(at);
    let response_to =
        ResponseTo { head: asked.is_head, connect: false, upgrade: asked.is_tunnel() };
    let lane = Lane::new(Rc::clone(&shared.mux), at, response_to);
    if given_up {
        // In the same breath: nothing has been done for it.
        shared.give_up();
    } else {
        let job = Job { shared: Rc::clone(shared), asked, lane };
        shared.worker.carriers.take_on(job);
    }
}

impl Shared {
    /// Counts a request that the client gave up.
    fn give_up(&self) {
        self.resets.set(self.resets.get().saturating_add(1));
        let view = self.worker.view();
        if let Some(site) = view.part.http.get(&self.origin.listener()) {
            let cell = &site.stats.cell(self.worker.shard.index()).http2;
            cell.resets.increment();
        }
    }
}

/// A request that is to be carried.
pub(super) struct Job {
    shared: Rc<Shared>,
    asked: Asked,
    lane: Lane,
}

/// Carries one request.
pub(super) async fn carry(Job { shared, asked, lane }: Job) {
    let Shared { worker, origin, .. } = &*shared;
    let view = worker.view();
    let Some(site) = view.part.http.get(&origin.listener()) else {
        // The listener is gone from the configuration: nothing has been done.
        return lane.refuse();
    };
    let cell = &site.stats.cell(worker.shard.index()).http2;
    cell.requests.increment();
    let mut out = worker.scratch();
    let Asked { head, call, .. } = asked;
    let timer = worker.shard.timer();
    let notes = Notes::wanted(worker, site, "HTTP/2.0");
    let record = Record::new(worker, site, notes.as_ref());
    let client = Client { stream: &lane, timer: &timer, origin, record: &record };
    let handling = Handling::new(worker, site, client).of_call(call);
    let (mut buffer, planned) = match head {
        Ok((buffer, _)) => {
            let planned = plan(worker, &view, site, origin, buffer.filled(), &mut out.bytes);
            // One head went in: had the parser seen less of it, the rest would be a request
            // nobody sent.
            let planned = planned.and_then(|planned| {
                let whole = planned.filter(|(facts, _)| facts.head_len == buffer.len());
                whole.ok_or(Failure::Request(RequestError::InvalidTarget))
            });
            (buffer, planned)
        }
        Err(failure) => (worker.shard.buffers().take(), Err(failure)),
    };
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
        None => shared.give_up(),
    }
    shared.used.set(now());
}
