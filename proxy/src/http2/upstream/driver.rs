//! What keeps a connection to an endpoint going until its end.

use std::{
    future::poll_fn,
    pin::Pin,
    rc::{Rc, Weak},
    task::{Context, Poll, ready},
    time::Duration,
};

use bs9_config::UpstreamHttp2;
use bs9_net::{CoarseInstant, Interrupted, Shard, Timer, Transport, now};
use bytes::Bytes;
use h2::{Ping, PingPong, client::Connection};

use super::{fault::StreamFault, session::Session, sessions::Sessions, wire::Wire};

/// How long an endpoint may take to see that it has been told goodbye.
const GOODBYE: Duration = Duration::from_secs(2);

/// A connection at work.
pub(super) struct Driver {
    connection: Connection<Wire, Bytes>,
    session: Rc<Session>,
    sessions: Weak<Sessions>,
    idle_timeout: Duration,
    pinger: Option<Pinger>,
    shard: Rc<Shard>,
    timer: Timer,
    /// The endpoint's limit of requests, as last seen.
    limit: usize,
    /// Nothing was asked for so long, or nothing will be, that it ends: at the latest then.
    retired: Option<CoarseInstant>,
}

/// Asks an endpoint that has fallen silent whether it is there.
struct Pinger {
    pings: PingPong,
    interval: Duration,
    timeout: Duration,
    /// When it was asked, unless it has said something since.
    asked: Option<CoarseInstant>,
}

/// How a connection ended.
#[derive(Debug)]
enum Ending {
    /// The endpoint closed it, or we did, in good order.
    Closed,
    Idle,
    Aborted,
    PingTimeout,
    Failed(h2::Error),
}

/// Drives a connection to its end.
pub(super) async fn drive(mut driver: Driver, stream: Rc<Transport>) {
    let ending = poll_fn(|cx| driver.poll(cx)).await;
    let Driver { connection, session, sessions, .. } = driver;
    let fault = matches!(ending, Ending::PingTimeout).then_some(StreamFault::PingTimeout);
    if let Some(sessions) = sessions.upgrade() {
        sessions.forget(&session);
    }
    session.end(fault);
    match &ending {
        Ending::Failed(error) => {
            tracing::debug!(%error, "a connection of HTTP/2 to an endpoint failed")
        }
        other => tracing::debug!(ending = ?other, "a connection of HTTP/2 to an endpoint ended"),
    }
    drop(connection);
    stream.finish();
}

impl Driver {
    pub(super) fn new(
        mut connection: Connection<Wire, Bytes>,
        session: Rc<Session>,
        sessions: Weak<Sessions>,
        settings: UpstreamHttp2,
        idle_timeout: Duration,
        shard: &Rc<Shard>,
    ) -> Self {
        let pinger = settings.ping_interval.and_then(|interval| {
            let timeout = settings.ping_timeout;
            Some(Pinger { pings: connection.ping_pong()?, interval, timeout, asked: None })
        });
        let limit = connection.max_concurrent_send_streams();
        let (shard, timer) = (Rc::clone(shard), shard.timer());
        Self {
            connection,
            session,
            sessions,
            idle_timeout,
            pinger,
            shard,
            timer,
            limit,
            retired: None,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        loop {
            match Pin::new(&mut self.connection).poll(cx) {
                Poll::Ready(Ok(())) => return Poll::Ready(Ending::Closed),
                Poll::Ready(Err(error)) => return Poll::Ready(Ending::Failed(error)),
                Poll::Pending => {}
            }
            self.session.looked_at();
            self.look_at_limit();
            let due = match self.due(cx) {
                Ok(due) => due,
                Err(ending) => return Poll::Ready(ending),
            };
            self.timer.set_at(due);
            if ready!(self.timer.poll_guard(cx)) == Interrupted::Aborted {
                return Poll::Ready(Ending::Aborted);
            }
        }
    }

    /// Tells those who wait when the endpoint allows for more requests than before.
    fn look_at_limit(&mut self) {
        let limit = self.connection.max_concurrent_send_streams();
        if std::mem::replace(&mut self.limit, limit) < limit
            && let Some(sessions) = self.sessions.upgrade()
        {
            sessions.more();
        }
    }

    /// When to look again. Does what is due.
    fn due(&mut self, cx: &mut Context<'_>) -> Result<CoarseInstant, Ending> {
        if self.session.active() > 0 {
            let Some(pinger) = &mut self.pinger else { return Ok(CoarseInstant::NEVER) };
            return pinger.due(&self.session, cx);
        }
        if let Some(pinger) = &mut self.pinger {
            pinger.asked = None;
        }
        match self.retired {
            Some(by) if by <= now() => Err(Ending::Idle),
            Some(by) => Ok(by),
            None => {
                let due = self.session.used().plus(self.idle_timeout);
                // A drain is over sooner than that.
                if due > now() && !self.shard.is_draining() {
                    return Ok(due);
                }
                // Without anybody who could ask for something more, the library says goodbye.
                if let Some(sessions) = self.sessions.upgrade() {
                    sessions.forget(&self.session);
                }
                self.retired = Some(now().plus(GOODBYE));
                cx.waker().wake_by_ref();
                Ok(now().plus(GOODBYE))
            }
        }
    }
}

impl Pinger {
    /// Asks when the endpoint has been silent for too long, while requests were under way.
    fn due(&mut self, session: &Session, cx: &mut Context<'_>) -> Result<CoarseInstant, Ending> {
        if self.asked.is_some_and(|asked| session.heard() >= asked) {
            self.asked = None;
        }
        if let Some(asked) = self.asked {
            let due = asked.plus(self.timeout);
            return if due <= now() { Err(Ending::PingTimeout) } else { Ok(due) };
        }
        let due = session.heard().max(session.busy_since()).plus(self.interval);
        if due > now() {
            return Ok(due);
        }
        // An answer to an earlier one that nobody waited for any more.
        let _answered = self.pings.poll_pong(cx).is_ready();
        if self.pings.send_ping(Ping::opaque()).is_err() {
            // The earlier one is still unanswered: that counts from now on.
            tracing::trace!("a PING is under way already");
        }
        self.asked = Some(now());
        cx.waker().wake_by_ref();
        Ok(now().plus(self.timeout))
    }
}
