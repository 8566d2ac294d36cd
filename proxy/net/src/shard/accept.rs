//! Accepting connections on one socket of one shard.

use std::{
    cell::RefCell, io, net::SocketAddr, os::fd::OwnedFd, rc::Rc, sync::Arc, task::Poll,
    time::Duration,
};

use mio::Interest;
use rustix::{io::Errno, net::SocketFlags};
use tokio::sync::oneshot;

use super::Shard;
use crate::{
    Connection, ConnectionSlot, Listener, OpenGuard, PeerAddress, Proxied, ShardEngine, Stream,
    Transport,
    proxy_header::{self, HeaderProgress, MAX_HEADER_BYTES, ProxyHeader},
    runtime::{self, Direction, Registered},
    time,
    tls::{HandshakeFailure, ServerTls},
};

/// Connections accepted in one go before others get their turn.
const ACCEPT_BURST: usize = 64;
/// Pause when the process is out of descriptors or memory: trying again at once
/// would only spin.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(50);

/// Whose the connections are that a socket accepts.
pub(crate) struct Owner {
    pub(crate) listener: Arc<Listener>,
    pub(crate) engine: Rc<dyn ShardEngine>,
}

/// Accepts until told to stop; then takes what the kernel has queued already, so
/// that no client that was told "connected" is cut off.
pub(super) async fn run(
    shard: Rc<Shard>,
    owner: Rc<RefCell<Owner>>,
    socket: OwnedFd,
    mut stopped: oneshot::Receiver<()>,
) {
    let registered = match Registered::new(&socket, Interest::READABLE) {
        Ok(registered) => registered,
        Err(error) => {
            let listener = &*owner.borrow().listener.name;
            tracing::error!(listener, %error, "a listening socket could not be polled");
            return;
        }
    };
    let acceptor = Acceptor { shard, owner };
    loop {
        let readable = std::future::poll_fn(|cx| registered.poll_ready(cx, Direction::Read));
        tokio::select! {
            biased;
            _ = &mut stopped => break,
            () = readable => match acceptor.accept_some(&socket) {
                Round::Emptied => registered.clear(Direction::Read),
                Round::More => runtime::yield_now().await,
                Round::Exhausted => time::sleep(EXHAUSTED_PAUSE).await,
            }
        }
    }
    while let Round::More = acceptor.accept_some(&socket) {}
    // The host has a descriptor of this socket too.
    registered.deregister(&socket);
}

enum Round {
    Emptied,
    More,
    Exhausted,
}

struct Acceptor {
    shard: Rc<Shard>,
    owner: Rc<RefCell<Owner>>,
}

impl Acceptor {
    fn accept_some(&self, socket: &OwnedFd) -> Round {
        for _ in 0..ACCEPT_BURST {
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            match rustix::net::acceptfrom_with(socket, flags) {
                Ok((accepted, address)) => {
                    let peer = address
                        .and_then(|any| SocketAddr::try_from(any).ok())
                        .map_or(PeerAddress::Unix, PeerAddress::Tcp);
                    self.hand_over(accepted, peer);
                }
                Err(Errno::AGAIN) => return Round::Emptied,
                Err(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
                    tracing::warn!(
                        listener = &*self.owner.borrow().listener.name,
                        "out of file descriptors or memory: raise LimitNOFILE"
                    );
                    return Round::Exhausted;
                }
                // The client went away while it was queued, or a network error of that
                // connection alone (accept(2)): the next one may be fine.
                Err(_) => {}
            }
        }
        Round::More
    }

    fn hand_over(&self, accepted: OwnedFd, peer: PeerAddress) {
        let Owner { listener, engine } = &*self.owner.borrow();
        let gate = listener.gate.load();
        if let Some(gate) = &*gate
            && !listener.lets_in(gate, peer, self.shard.index())
        {
            return;
        }
        let Some(slot) = listener.admit(self.shard.index()) else {
            tracing::debug!(listener = &*listener.name, %peer, "refused: connection limit");
            return;
        };
        let stream = match Stream::from_socket(accepted) {
            Ok(stream) => stream,
            Err(error) => return log_lost(&listener.name, peer, &error),
        };
        let open = self.shard.keep_open();
        let (shard, engine) = (Rc::clone(&self.shard), Rc::clone(engine));
        let arrival = Arrival { shard, engine, peer, proxied: None, slot, open };
        match gate.as_ref().and_then(|gate| gate.awaits_header(peer)) {
            None => arrival.begin(stream),
            Some(limit) => runtime::spawn(arrival.read_header(stream, limit)),
        }
    }
}

/// A connection that no engine knows yet.
struct Arrival {
    shard: Rc<Shard>,
    engine: Rc<dyn ShardEngine>,
    peer: PeerAddress,
    proxied: Option<Box<Proxied>>,
    slot: ConnectionSlot,
    open: OpenGuard,
}

impl Arrival {
    /// The client's own bytes come next.
    fn begin(self, stream: Stream) {
        match &*self.slot.listener().tls.load() {
            Some(tls) if !self.engine.starts_tls() => {
                let tls = Arc::clone(tls);
                runtime::spawn(self.shake_hands(tls, stream));
            }
            _ => self.serve(stream.into()),
        }
    }

    fn serve(self, stream: Transport) {
        let Self { engine, peer, proxied, slot, open, .. } = self;
        engine.serve(Connection { stream, peer, proxied, slot, open });
    }

    async fn shake_hands(self, tls: Arc<ServerTls>, stream: Stream) {
        let timer = self.shard.timer();
        timer.set(tls.handshake_timeout());
        let shaken = match timer.guard(tls.accept(stream)).await {
            Ok(shaken) => shaken,
            Err(_) => Err(HandshakeFailure::Timeout),
        };
        drop(timer);
        self.slot.note_handshake(shaken.as_ref().map(|stream| stream.agreed()), self.peer);
        if let Ok(stream) = shaken {
            self.serve(stream.into());
        }
    }

    /// Reads what a trusted proxy says about the client, and asks again whether it may come.
    async fn read_header(mut self, stream: Stream, limit: Duration) {
        let timer = self.shard.timer();
        timer.set(limit);
        let read = timer.guard(read_header(&stream)).await;
        drop(timer);
        let listener = Arc::clone(self.slot.listener());
        let by = self.peer;
        let destination = match read {
            Ok(Ok(ProxyHeader::Local)) => None,
            Ok(Ok(ProxyHeader::Proxied { source, destination })) => {
                self.peer = PeerAddress::Tcp(source);
                Some(destination)
            }
            failed => {
                let error = failed.map_or_else(
                    |_| io::ErrorKind::TimedOut.into(),
                    |read| read.err().unwrap_or_else(|| io::ErrorKind::Other.into()),
                );
                listener.cells[self.shard.index()].bad_headers.increment();
                tracing::debug!(listener = &*listener.name, peer = %by, %error, "no PROXY header");
                return;
            }
        };
        let gate = listener.gate.load();
        if destination.is_some()
            && let Some(gate) = &*gate
            && !listener.lets_in(gate, self.peer, self.shard.index())
        {
            return;
        }
        drop(gate);
        self.proxied = Some(Box::new(Proxied { by, destination }));
        self.begin(stream);
    }
}

/// Takes a header of the PROXY protocol off the front, and not a byte more.
async fn read_header(stream: &Stream) -> io::Result<ProxyHeader> {
    let mut seen = 0;
    std::future::poll_fn(|cx| {
        loop {
            // Not kept between polls: it would make every connection that waits as large.
            let mut room = [0; MAX_HEADER_BYTES];
            let count = std::task::ready!(stream.poll_peek(cx, &mut room, seen))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            match proxy_header::parse(&room[..count]) {
                Ok(HeaderProgress::Partial) => seen = count,
                Ok(HeaderProgress::Complete { len, header }) => {
                    return Poll::Ready(stream.discard(len).map(|()| header));
                }
                Err(fault) => {
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, fault)));
                }
            }
        }
    })
    .await
}

fn log_lost(listener: &str, peer: PeerAddress, error: &io::Error) {
    tracing::warn!(listener, %peer, %error, "an accepted connection could not be polled");
}
