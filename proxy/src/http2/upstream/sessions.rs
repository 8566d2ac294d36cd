//! The connections of HTTP/2 to one endpoint: one shard's.

use std::{
    cell::{Cell, RefCell},
    pin::pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bs9_config::UpstreamHttp2;
use bs9_net::{Shard, Transport};
use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use tokio::sync::Notify;

use super::{
    MAX_SEND_BUFFER_BYTES,
    driver::{Driver, drive},
    session::Session,
    wire::Wire,
};
use crate::cluster::Endpoint;

/// The largest window there is (RFC 9113 section 6.9.1).
const MAX_WINDOW_BYTES: u32 = (1 << 31) - 1;

/// Connections to an endpoint, and who waits for one of them.
#[derive(Debug)]
pub(crate) struct Sessions {
    endpoint: Arc<Endpoint>,
    shard: usize,
    settings: UpstreamHttp2,
    idle_timeout: Duration,
    kept: RefCell<Vec<Kept>>,
    /// One more is being made: who has no room waits whether it becomes of use.
    opening: Cell<bool>,
    /// The endpoint chose HTTP/1.1 when it was last asked.
    http1: Cell<bool>,
    freed: Rc<Notify>,
}

#[derive(Debug)]
struct Kept {
    session: Rc<Session>,
    requests: SendRequest<Bytes>,
}

/// What [`Sessions::take`] has.
pub(crate) enum Taken {
    /// Room for a request.
    Seat(Seat),
    /// The caller's turn to make a connection.
    Turn(Turn),
}

/// Room for one request on a connection.
pub(crate) struct Seat {
    pub(super) session: Rc<Session>,
    pub(super) requests: SendRequest<Bytes>,
    /// Whether other requests have come before.
    pub(crate) kept: bool,
    /// Held for as long as the request takes.
    pub(super) active: Active,
}

/// A request under way, until it is dropped.
pub(super) struct Active(Rc<Session>);

/// A connection that is being made.
pub(crate) struct Turn {
    sessions: Rc<Sessions>,
    alone: bool,
}

impl Sessions {
    pub(crate) fn new(
        endpoint: &Arc<Endpoint>,
        shard: usize,
        settings: UpstreamHttp2,
        idle_timeout: Duration,
    ) -> Rc<Self> {
        Rc::new(Self {
            endpoint: Arc::clone(endpoint),
            shard,
            settings,
            idle_timeout,
            kept: RefCell::default(),
            opening: Cell::new(false),
            http1: Cell::new(false),
            freed: Rc::default(),
        })
    }

    /// Waits for room on a connection, or for the turn to make one.
    pub(crate) async fn take(self: &Rc<Self>) -> Taken {
        let mut freed = pin!(self.freed.notified());
        loop {
            // Whatever is freed from here on is not missed.
            freed.as_mut().enable();
            if let Some(seat) = self.seat() {
                return Taken::Seat(seat);
            }
            if self.http1.get() {
                return Taken::Turn(Turn { sessions: Rc::clone(self), alone: false });
            }
            let room = self.kept.borrow().len() < self.settings.connections;
            if room && !self.is_opening() {
                self.opening.set(true);
                return Taken::Turn(Turn { sessions: Rc::clone(self), alone: true });
            }
            freed.as_mut().await;
            freed.set(self.freed.notified());
        }
    }

    /// Room on the first connection that has some, so that the last ones become idle. Those that
    /// take no more requests are forgotten.
    fn seat(&self) -> Option<Seat> {
        let mut kept = self.kept.borrow_mut();
        // Without a request that waits to be sent, the answer is known at once.
        let mut cx = Context::from_waker(Waker::noop());
        kept.retain_mut(|kept| !matches!(kept.requests.poll_ready(&mut cx), Poll::Ready(Err(_))));
        let most = self.settings.max_concurrent_streams;
        // Whoever made the connection does not wait for the endpoint's limit; all others do.
        let has_room = |kept: &&Kept| {
            kept.session.is_settled()
                && kept.session.active() < most.min(kept.requests.current_max_send_streams())
        };
        let Kept { session, requests } = kept.iter().find(has_room)?;
        Some(Seat::new(session, requests.clone(), true))
    }

    /// Whether a connection is being made, or has yet to tell what the endpoint can do.
    pub(crate) fn is_opening(&self) -> bool {
        self.opening.get() || self.kept.borrow().iter().any(|kept| !kept.session.is_settled())
    }

    /// The endpoint allows for more requests than before.
    pub(super) fn more(&self) {
        self.freed.notify_waiters();
    }

    /// Takes a connection out of use; it ends when nothing is under way on it.
    pub(super) fn forget(&self, session: &Rc<Session>) {
        self.kept.borrow_mut().retain(|kept| !Rc::ptr_eq(&kept.session, session));
    }
}

impl Seat {
    fn new(session: &Rc<Session>, requests: SendRequest<Bytes>, kept: bool) -> Self {
        session.begin();
        let active = Active(Rc::clone(session));
        Self { session: Rc::clone(session), requests, kept, active }
    }

    /// Waits until the endpoint has said what it can do.
    pub(crate) async fn settled(&self) {
        self.session.settled().await;
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.release();
    }
}

impl Turn {
    /// The endpoint chose HTTP/1.1.
    pub(crate) fn settle_for_http1(self) {
        self.sessions.http1.set(true);
    }

    /// Begins HTTP/2 on a new connection, with room for a request.
    ///
    /// # Errors
    /// When the connection ends meanwhile.
    pub(crate) async fn begin(
        self,
        stream: Transport,
        shard: &Rc<Shard>,
    ) -> Result<Seat, h2::Error> {
        let sessions = &self.sessions;
        let settings = sessions.settings;
        let session = Session::new(&sessions.endpoint, sessions.shard, &sessions.freed);
        let stream = Rc::new(stream);
        let buffers = Rc::clone(shard.buffers());
        let head_bytes = u32::try_from(buffers.buffer_bytes()).unwrap_or(u32::MAX);
        let wire = Wire::new(Rc::clone(&stream), buffers, Rc::clone(&session));
        let handshake = builder(settings, head_bytes).handshake(wire).await;
        let (requests, connection) = handshake.inspect_err(|_| session.end(None))?;
        let seat = Seat::new(&session, requests.clone(), false);
        sessions.kept.borrow_mut().push(Kept { session: Rc::clone(&session), requests });
        sessions.http1.set(false);
        let driver = Driver::new(
            connection,
            session,
            Rc::downgrade(sessions),
            settings,
            sessions.idle_timeout,
            shard,
        );
        bs9_net::spawn(drive(driver, stream));
        Ok(seat)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.alone {
            self.sessions.opening.set(false);
        }
        self.sessions.freed.notify_waiters();
    }
}

fn builder(settings: UpstreamHttp2, head_bytes: u32) -> Builder {
    // No response waits for another client to take its own.
    let streams = u32::try_from(settings.max_concurrent_streams).unwrap_or(u32::MAX);
    let all = settings.stream_window_bytes.saturating_mul(streams).min(MAX_WINDOW_BYTES);
    let mut builder = Builder::new();
    builder
        .enable_push(false)
        .initial_window_size(settings.stream_window_bytes)
        .initial_connection_window_size(all)
        .initial_max_send_streams(settings.max_concurrent_streams)
        .max_header_list_size(head_bytes)
        .max_send_buffer_size(MAX_SEND_BUFFER_BYTES);
    builder
}
