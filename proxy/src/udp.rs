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

use bs9_net::{Batch, DatagramListener, DatagramSocket};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use crate::{cluster::Tried, worker::Worker};
use session::Session;

/// Where datagrams come in on one shard, and whose they are.
struct Station {
    worker: Rc<Worker>,
    socket: Rc<DatagramSocket>,
    sessions: RefCell<FxHashMap<SocketAddr, Rc<Session>>>,
    /// What endpoints answer passes through here.
    answers: RefCell<Batch>,
}

/// Serves a socket until its address is given up.
pub(crate) async fn serve(worker: Rc<Worker>, mut listener: DatagramListener) {
    let station = Rc::new(Station {
        worker,
        socket: Rc::clone(&listener.socket),
        sessions: RefCell::default(),
        answers: RefCell::default(),
    });
    let mut batch = Batch::default();
    loop {
        let received = poll_fn(|cx| {
            if listener.poll_stopped(cx).is_ready() {
                return Poll::Ready(None);
            }
            listener.socket.poll_receive(cx, &mut batch).map(Some)
        });
        match received.await {
            Some(Ok(())) => station.take_all(&listener, &batch),
            // Of a datagram that was sent: its client is not there any more, and will be idle.
            Some(Err(error)) => tracing::trace!(%error, "a datagram did not arrive"),
            None => break,
        }
    }
    station.sessions.borrow().values().for_each(|session| session.end());
}

impl Station {
    /// Clients sent something. What one of them sent in a row stays together.
    fn take_all(self: &Rc<Self>, listener: &DatagramListener, batch: &Batch) {
        let mut datagrams = batch.iter().peekable();
        while let Some((first, client)) = datagrams.next() {
            let mut row = SmallVec::<[&[u8]; 32]>::from_slice(&[first]);
            while let Some((next, _)) = datagrams.next_if(|(_, other)| *other == client) {
                row.push(next);
            }
            // Only IP addresses send to a bound socket of datagrams.
            if let Some(client) = client {
                self.take(listener, client, &row);
            }
        }
    }

    /// A client sent these.
    fn take(self: &Rc<Self>, listener: &DatagramListener, client: SocketAddr, row: &[&[u8]]) {
        let known = self.sessions.borrow().get(&client).map(Rc::clone);
        match known {
            Some(session) => session.forward(row),
            // Each that finds no session is refused on its own account.
            None => {
                for (at, _) in row.iter().enumerate() {
                    if let Some(session) = self.begin(listener, client) {
                        return session.forward(&row[at..]);
                    }
                }
            }
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
