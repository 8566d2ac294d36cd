//! UDP listeners: the datagrams of one client go to one endpoint, and what it answers goes back.
//!
//! A client is known by its address; as long as datagrams pass there is a [`Session`], with a
//! socket of its own towards the endpoint. Nothing waits: what a socket does not take at once is
//! lost, as it may be on any wire.

mod session;
mod stats;

pub use stats::UdpReport;
pub(crate) use stats::UdpStats;

use std::{cell::RefCell, future::poll_fn, net::SocketAddr, rc::Rc, task::Poll};

use bs9_net::{DatagramListener, DatagramSocket, MAX_DATAGRAM_BYTES};
use rustc_hash::FxHashMap;

use crate::{cluster::Tried, worker::Worker};
use session::Session;

/// Where datagrams come in on one shard, and whose they are.
struct Station {
    worker: Rc<Worker>,
    socket: Rc<DatagramSocket>,
    sessions: RefCell<FxHashMap<SocketAddr, Rc<Session>>>,
    /// What endpoints answer passes through here.
    room: RefCell<Box<[u8]>>,
}

/// Serves a socket until its address is given up.
pub(crate) async fn serve(worker: Rc<Worker>, mut listener: DatagramListener) {
    let station = Rc::new(Station {
        worker,
        socket: Rc::clone(&listener.socket),
        sessions: RefCell::default(),
        room: RefCell::new(room()),
    });
    let mut room = room();
    loop {
        let received = poll_fn(|cx| {
            if listener.poll_stopped(cx).is_ready() {
                return Poll::Ready(None);
            }
            listener.socket.poll_receive_from(cx, &mut room).map(Some)
        });
        match received.await {
            Some(Ok((count, client))) => station.take(&listener, client, &room[..count]),
            // Of a datagram that was sent: its client is not there any more, and will be idle.
            Some(Err(error)) => tracing::trace!(%error, "a datagram did not arrive"),
            None => break,
        }
    }
    station.sessions.borrow().values().for_each(|session| session.end());
}

fn room() -> Box<[u8]> {
    vec![0; MAX_DATAGRAM_BYTES].into_boxed_slice()
}

impl Station {
    /// A client sent something.
    fn take(self: &Rc<Self>, listener: &DatagramListener, client: SocketAddr, datagram: &[u8]) {
        let known = self.sessions.borrow().get(&client).map(Rc::clone);
        if let Some(session) = known.or_else(|| self.begin(listener, client)) {
            session.forward(datagram);
        }
    }

    /// Begins a session; `None`: this client's datagrams are not taken.
    fn begin(
        self: &Rc<Self>,
        listener: &DatagramListener,
        client: SocketAddr,
    ) -> Option<Rc<Session>> {
        let shard = &self.worker.shard;
        let listener = listener.listener();
        let view = self.worker.view();
        let site = view.part.udp.get(&listener.id)?;
        let cell = site.stats.cell(shard.index());
        if shard.is_draining() {
            cell.refused.increment();
            return None;
        }
        let Some(slot) = listener.admit_session(client, shard.index()) else {
            cell.refused.increment();
            return None;
        };
        let cluster = &view.clusters[site.cluster];
        let affinity = cluster.cluster.affinity_of_client(Some(client.ip()));
        let Ok(lease) = cluster.lease_for(&Tried::default(), affinity) else {
            cell.refused.increment();
            if let Some(suppressed) = self.worker.may_log() {
                tracing::warn!(
                    cluster = &*cluster.cluster.config.name, %client, suppressed,
                    "datagrams are dropped: no endpoint of their cluster takes traffic"
                );
            }
            return None;
        };
        let session = Session::new(self, site, client, slot, lease);
        self.sessions.borrow_mut().insert(client, Rc::clone(&session));
        bs9_net::spawn(session::carry(Rc::clone(self), Rc::clone(&session)));
        Some(session)
    }
}
