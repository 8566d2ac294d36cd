//! The client's side of a request.

use std::{net::SocketAddr, time::Duration};

use bs9_config::ForwardedField;

use bs9_net::{
    Buffer, Connection, ConnectionSlot, Gate, ListenerId, OpenGuard, PeerAddress, Timer, Transport,
};

use super::record::Record;
use crate::{
    duplex::Duplex,
    forwarded::{self, Source},
    http1::RequestHead,
    part::HttpSite,
    worker::Worker,
};

/// How long, and for how many bytes, a connection that is being closed still reads, so
/// that the client gets to see the response before a reset (RFC 9112 section 9.6).
const LINGER: Duration = Duration::from_secs(2);
const MAX_LINGER_BYTES: usize = 1024 * 1024;

/// Where requests come from: the same for all of a connection's. What few connections have is
/// in a box: there may be a hundred thousand idle ones.
pub(crate) struct Origin {
    pub(crate) peer: PeerAddress,
    /// For `X-Forwarded-For`: written once, not once per request. Empty for a Unix socket.
    pub(crate) address_text: Box<str>,
    rare: Option<Box<Rare>>,
    pub(crate) slot: ConnectionSlot,
    _open: OpenGuard,
    /// Whether what the peer says of its clients is believed.
    pub(crate) trusted: bool,
    /// Whether the client speaks TLS.
    pub(crate) encrypted: bool,
}

/// What is known of some connections only.
#[derive(Default)]
struct Rare {
    /// The proxy that connected, when the peer is whom it named by the PROXY protocol.
    proxy: Option<PeerAddress>,
    /// Version of TLS and the name asked for; with an access log only.
    tls: Option<(&'static str, Box<str>)>,
    /// Where the client connected to; only when endpoints are told so.
    destination: Option<SocketAddr>,
}

impl Rare {
    fn is_empty(&self) -> bool {
        self.proxy.is_none() && self.tls.is_none() && self.destination.is_none()
    }
}

impl Origin {
    /// Of a connection, without its stream.
    pub(super) fn new(worker: &Worker, connection: Connection) -> (Self, Transport) {
        let Connection { stream, peer, proxied, slot, open } = connection;
        let view = worker.view();
        let site = view.part.http.get(&slot.listener().id);
        let gate = site.and_then(|site| site.gate.as_ref());
        let logs = site.is_some_and(|site| site.access_log.is_some());
        let rare = Rare {
            proxy: proxied.as_ref().map(|proxied| proxied.by),
            tls: stream
                .agreed()
                .filter(|_| logs)
                .map(|agreed| (agreed.version, agreed.server_name.clone().unwrap_or_default())),
            destination: match &proxied {
                _ if !view.part.introduces => None,
                Some(proxied) => proxied.destination,
                None => stream.local_address(),
            },
        };
        let address = peer.ip().map(|ip| ip.to_canonical().to_string());
        let origin = Self {
            peer,
            address_text: address.unwrap_or_default().into_boxed_str(),
            rare: (!rare.is_empty()).then(|| Box::new(rare)),
            slot,
            _open: open,
            trusted: gate.is_some_and(|gate| gate.trusts(peer)),
            encrypted: stream.agreed().is_some(),
        };
        (origin, stream)
    }

    /// Who connected: a proxy, when the peer is whom it named by the PROXY protocol.
    pub(super) fn connected_by(&self) -> PeerAddress {
        self.rare.as_ref().and_then(|rare| rare.proxy).unwrap_or(self.peer)
    }

    /// Version of TLS, and the name asked for; empty: unknown.
    pub(super) fn tls(&self) -> (&'static str, &str) {
        let known = self.rare.as_ref().and_then(|rare| rare.tls.as_ref());
        known.map_or(("", ""), |(version, name)| (version, name))
    }

    /// Where the client connected to; only when endpoints are told so.
    pub(super) fn destination(&self) -> Option<SocketAddr> {
        self.rare.as_ref().and_then(|rare| rare.destination)
    }

    /// Whose a request is: the peer's, or of whom a trusted proxy speaks.
    #[inline]
    pub(super) fn source<'h>(&self, site: &HttpSite, head: &RequestHead<'h>) -> Source<'h> {
        match &site.gate {
            Some(gate) if self.trusted => self.told_source(gate, site.forwarded_field, head),
            _ => Source { address: self.peer.ip(), proto: None, host: None },
        }
    }

    #[cold]
    fn told_source<'h>(
        &self,
        gate: &Gate,
        field: ForwardedField,
        head: &RequestHead<'h>,
    ) -> Source<'h> {
        let name = match field {
            ForwardedField::XForwardedFor => "x-forwarded-for",
            ForwardedField::Forwarded => "forwarded",
        };
        let named = head.headers().filter(|(own, _)| own.eq_ignore_ascii_case(name));
        let values: Vec<&[u8]> = named.map(|(_, value)| value).collect();
        let (peer, values) = (self.peer.ip(), values.into_iter());
        match field {
            ForwardedField::XForwardedFor => {
                let address = forwarded::by_x_forwarded_for(gate, peer, values);
                Source { address, proto: None, host: None }
            }
            ForwardedField::Forwarded => forwarded::by_forwarded(gate, peer, values),
        }
    }

    /// Where it came in.
    pub(crate) fn listener(&self) -> ListenerId {
        self.slot.listener().id
    }

    /// Whether its listener is still in the configuration.
    pub(crate) fn is_served(&self, worker: &Worker) -> bool {
        worker.view().part.http.contains_key(&self.listener())
    }
}

/// What an endpoint is told of a client.
pub(super) struct Told<'h> {
    /// Another address than the peer's.
    pub(super) client: Option<String>,
    pub(super) proto: &'h str,
    pub(super) host: Option<&'h str>,
    /// One more element of `Forwarded`.
    pub(super) element: Option<String>,
}

impl<'h> Told<'h> {
    #[inline]
    pub(super) fn new(
        site: &HttpSite,
        origin: &Origin,
        source: &Source<'h>,
        head: &RequestHead<'h>,
    ) -> Self {
        let proto = if origin.encrypted { "https" } else { "http" };
        let mut told = Self { client: None, proto, host: head.host, element: None };
        if site.forwarded_field == ForwardedField::Forwarded {
            told.element = Some(forwarded::element(origin.peer.ip(), head.host, proto));
            told.client = source.address.map(|address| address.to_canonical().to_string());
            told.proto = source.proto.unwrap_or(proto);
            told.host = source.host.or(head.host);
        }
        told
    }
}

/// The client's side of a request: what it is read from and answered to.
pub(crate) struct Client<'a, D> {
    pub(crate) stream: &'a D,
    pub(crate) timer: &'a Timer,
    pub(crate) origin: &'a Origin,
    pub(crate) record: &'a Record<'a>,
}

impl<D> Clone for Client<'_, D> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<D> Copy for Client<'_, D> {}

/// Closes in good order: says that nothing more comes, then waits a little for
/// the client to have read it.
pub(crate) async fn linger(stream: &impl Duplex, timer: &Timer, mut buffer: Buffer) {
    if stream.shutdown_write().is_err() {
        return;
    }
    timer.set(LINGER);
    let mut total = 0;
    while total < MAX_LINGER_BYTES {
        buffer.consume(buffer.len());
        match timer.guard(stream.read(&mut buffer)).await {
            Ok(Ok(count)) if count > 0 => total += count,
            _ => return,
        }
    }
}
