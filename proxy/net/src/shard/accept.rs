//! Accepting connections on one socket of one shard.

use std::{cell::RefCell, io, net::SocketAddr, os::fd::OwnedFd, rc::Rc, sync::Arc, time::Duration};

use mio::Interest;
use rustix::{io::Errno, net::SocketFlags};
use tokio::sync::oneshot;

use super::Shard;
use crate::{
    Connection, ConnectionSlot, Listener, OpenGuard, PeerAddress, ShardEngine, Stream,
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
pub(super) struct Owner {
    pub(super) listener: Arc<Listener>,
    pub(super) engine: Rc<dyn ShardEngine>,
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
        let Some(slot) = listener.admit(self.shard.index()) else {
            tracing::debug!(listener = &*listener.name, %peer, "refused: connection limit");
            return;
        };
        let stream = match Stream::from_socket(accepted) {
            Ok(stream) => stream,
            Err(error) => return log_lost(&listener.name, peer, &error),
        };
        let open = self.shard.keep_open();
        match &*listener.tls.load() {
            None => engine.serve(Connection { stream: stream.into(), peer, slot, open }),
            Some(tls) => {
                let engine = Rc::clone(engine);
                let arrival = Arrival { shard: Rc::clone(&self.shard), peer, slot, open };
                runtime::spawn(arrival.shake_hands(Arc::clone(tls), stream, engine));
            }
        }
    }
}

/// A connection that no engine knows yet.
struct Arrival {
    shard: Rc<Shard>,
    peer: PeerAddress,
    slot: ConnectionSlot,
    open: OpenGuard,
}

impl Arrival {
    async fn shake_hands(self, tls: Arc<ServerTls>, stream: Stream, engine: Rc<dyn ShardEngine>) {
        let timer = self.shard.timer();
        timer.set(tls.handshake_timeout());
        let shaken = match timer.guard(tls.accept(stream)).await {
            Ok(shaken) => shaken,
            Err(_) => Err(HandshakeFailure::Timeout),
        };
        drop(timer);
        let Self { shard, peer, slot, open } = self;
        let listener = slot.listener();
        let cell = &listener.cells[shard.index()];
        match shaken {
            Ok(stream) => {
                cell.handshakes.increment();
                if stream.agreed().resumed {
                    cell.resumptions.increment();
                }
                engine.serve(Connection { stream: stream.into(), peer, slot, open });
            }
            Err(failure) => {
                let kind = failure.kind();
                cell.handshake_failures[kind as usize].increment();
                tracing::debug!(
                    listener = &*listener.name, %peer, kind = kind.name(), error = %failure,
                    "a TLS handshake failed"
                );
            }
        }
    }
}

fn log_lost(listener: &str, peer: PeerAddress, error: &io::Error) {
    tracing::warn!(listener, %peer, %error, "an accepted connection could not be polled");
}
