//! The way to an endpoint: a connection of HTTP/1.1, or a stream beside others.

use std::rc::Rc;

use bs9_config::UpstreamProtocol;
use bs9_net::{Buffer, CoarseInstant, Interrupted, Shard, Transport, now};

use super::{
    Exchange, Upload,
    tries::{Failed, Tries},
};
use crate::{
    cluster::Lease,
    duplex::Duplex,
    http::{failure::Failure, handling::Fate},
    http2::{Lane, Seat, Sessions, Taken, Turn},
    worker::Scratch,
};

/// What carries a request to an endpoint.
pub(super) trait Upstream: Duplex {
    /// What becomes of it after a response that was whole and provably all there was.
    fn keep(self, lease: &Lease, shard: &Rc<Shard>);
}

impl Upstream for Transport {
    #[inline]
    fn keep(self, lease: &Lease, _shard: &Rc<Shard>) {
        lease.keep(self);
    }
}

impl Upstream for Lane {
    fn keep(self, _lease: &Lease, shard: &Rc<Shard>) {
        self.finish(|| shard.timer());
    }
}

/// The way of one try.
pub(super) struct Way<'l, E> {
    pub(super) lease: &'l Lease,
    pub(super) stream: E,
    /// Whether the connection had been there before.
    pub(super) kept: bool,
    /// By when the response has to begin.
    pub(super) limit: CoarseInstant,
}

/// Where HTTP/2 may be spoken.
enum Found {
    Seat(Seat),
    /// The endpoint chose HTTP/1.1.
    Connection(Transport),
}

impl<D: Duplex> Exchange<'_, D> {
    /// A try with an endpoint that may speak HTTP/2.
    pub(super) async fn attempt_beside(
        &self,
        (lease, sessions, limit): (&Lease, &Rc<Sessions>, CoarseInstant),
        tries: &mut Tries,
        upload: &mut Upload,
        buffer: &mut Buffer,
        out: &mut Scratch,
    ) -> Result<Fate, Failed> {
        match self.find(lease, sessions, limit, upload, buffer).await? {
            Found::Seat(seat) => {
                // Sessions are shared, so there may be no other: but only once does it say nothing.
                let kept = seat.kept && !tries.afresh;
                let stream = Lane::new(seat, lease.cluster().cluster.scheme());
                self.converse(Way { lease, stream, kept, limit }, tries, upload, buffer, out).await
            }
            Found::Connection(stream) => {
                let way = Way { lease, stream, kept: false, limit };
                self.converse(way, tries, upload, buffer, out).await
            }
        }
    }

    async fn find(
        &self,
        lease: &Lease,
        sessions: &Rc<Sessions>,
        limit: CoarseInstant,
        upload: &Upload,
        buffer: &Buffer,
    ) -> Result<Found, Failed> {
        let config = &lease.cluster().cluster.config;
        let asked_all = upload.pump.is_done() && buffer.is_empty();
        self.client.timer.set_at(now().plus(config.connect_timeout).min(limit));
        let seat = match self.while_wanted(asked_all, sessions.take()).await {
            Ok(Taken::Seat(seat)) => seat,
            Ok(Taken::Turn(turn)) => {
                let stream = self.connect(lease, limit, upload, buffer).await?;
                let agreed = stream.agreed().and_then(|agreed| agreed.alpn.as_deref());
                if config.protocol == UpstreamProtocol::Auto && agreed != Some(b"h2") {
                    turn.settle_for_http1();
                    return Ok(Found::Connection(stream));
                }
                self.begin(turn, stream, asked_all).await?
            }
            Err(Interrupted::Elapsed) => {
                let opening = sessions.is_opening();
                return Err(Failed::to_connect(if opening {
                    Failure::ConnectTimeout
                } else {
                    Failure::QueueTimeout
                }));
            }
            Err(interrupted) => return Err(Failed::interrupted(interrupted)),
        };
        if self.facts.response_to.upgrade {
            // Whether it can be asked for is in the endpoint's SETTINGS.
            let settled = self.while_wanted(asked_all, seat.settled()).await;
            settled.map_err(Failed::interrupted)?;
        }
        Ok(Found::Seat(seat))
    }

    async fn begin(&self, turn: Turn, stream: Transport, asked_all: bool) -> Result<Seat, Failed> {
        let begun = turn.begin(stream, &self.worker.shard);
        match self.while_wanted(asked_all, begun).await {
            Ok(Ok(seat)) => Ok(seat),
            Ok(Err(_closed)) => Err(Failed::to_connect(Failure::ConnectFailed)),
            Err(interrupted) => Err(Failed::interrupted(interrupted)),
        }
    }
}
