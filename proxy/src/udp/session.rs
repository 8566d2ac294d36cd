//! A client's datagrams, and the endpoint they go to.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    io,
    net::SocketAddr,
    num::NonZeroU32,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use bs9_config::EndpointAddress;
use bs9_net::{
    Batch, CoarseInstant, ConnectionSlot, DatagramSocket, OpenGuard, PeerAddress, Timer, now,
};
use smallvec::SmallVec;

use super::{Station, UdpStats};
use crate::{
    access_log::{AccessLog, Captured, Entry},
    cluster::Lease,
    part::UdpSite,
};

/// Datagrams that wait for the endpoint's name to be looked up.
const MAX_EARLY: usize = 8;
/// Batches taken from an endpoint before others get their turn.
const BURST: usize = 2;

/// See the module.
pub(super) struct Session {
    client: SocketAddr,
    lease: Lease,
    timer: Timer,
    idle_timeout: Duration,
    max_responses: Option<NonZeroU32>,
    stats: Arc<UdpStats>,
    shard: usize,
    log: Option<Arc<AccessLog>>,
    started: CoarseInstant,
    /// Towards the endpoint, once its address is known.
    upstream: RefCell<Option<DatagramSocket>>,
    early: RefCell<Vec<Box<[u8]>>>,
    received_bytes: Cell<u64>,
    sent_bytes: Cell<u64>,
    responses: Cell<u32>,
    /// Why it is to end, when that was not its own idea.
    ending: Cell<Option<&'static str>>,
    waiting: Cell<Option<Waker>>,
    slot: ConnectionSlot,
    _open: OpenGuard,
}

impl Session {
    pub(super) fn new(
        station: &Station,
        site: &UdpSite,
        client: SocketAddr,
        slot: ConnectionSlot,
        lease: Lease,
    ) -> Rc<Self> {
        let shard = &station.worker.shard;
        let timer = shard.timer();
        timer.set(site.idle_timeout);
        Rc::new(Self {
            client,
            lease,
            timer,
            idle_timeout: site.idle_timeout,
            max_responses: site.max_responses,
            stats: Arc::clone(&site.stats),
            shard: shard.index(),
            log: site.access_log.clone(),
            started: now(),
            upstream: RefCell::default(),
            early: RefCell::default(),
            received_bytes: Cell::new(0),
            sent_bytes: Cell::new(0),
            responses: Cell::new(0),
            ending: Cell::new(None),
            waiting: Cell::new(None),
            slot,
            _open: shard.keep_open(),
        })
    }

    /// Passes on what the client sent.
    pub(super) fn forward(&self, datagrams: &[&[u8]]) {
        self.timer.set(self.idle_timeout);
        self.received_bytes.set(self.received_bytes.get() + bytes(datagrams));
        let cell = self.stats.cell(self.shard);
        cell.received.add(datagrams.len() as u64);
        let upstream = self.upstream.borrow();
        let Some(upstream) = &*upstream else {
            let mut early = self.early.borrow_mut();
            let room = MAX_EARLY.saturating_sub(early.len()).min(datagrams.len());
            early.extend(datagrams[..room].iter().map(|datagram| Box::from(*datagram)));
            cell.lost.add((datagrams.len() - room) as u64);
            return;
        };
        self.send(upstream, datagrams);
    }

    fn send(&self, upstream: &DatagramSocket, datagrams: &[&[u8]]) {
        let lost = upstream.send(datagrams);
        self.stats.cell(self.shard).lost.add(lost.count as u64);
        // What is full now may not be next time.
        if lost.refused {
            self.end_because("connect_failed");
        }
    }

    /// Ends it soon.
    pub(super) fn end(&self) {
        self.end_because("");
    }

    fn end_because(&self, reason: &'static str) {
        self.ending.set(Some(reason));
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }

    /// Finds the endpoint, and sends it what waits.
    async fn connect(&self) -> io::Result<()> {
        let address = match &self.lease.endpoint().address {
            EndpointAddress::Tcp(address) => *address,
            EndpointAddress::Name { .. } => {
                let addresses = self.lease.endpoint().addresses().await;
                addresses.first().copied().ok_or(io::ErrorKind::NotFound)?
            }
            // The configuration lets none of these through.
            EndpointAddress::Unix(_) => return Err(io::ErrorKind::Unsupported.into()),
        };
        let upstream = DatagramSocket::connect(address)?;
        self.lease.cell().connects.increment();
        let early = self.early.take();
        self.send(&upstream, &early.iter().map(|datagram| &**datagram).collect::<Vec<_>>());
        *self.upstream.borrow_mut() = Some(upstream);
        Ok(())
    }

    /// Passes on what the endpoint answers, until there is a reason to end.
    fn poll_answers(&self, cx: &mut Context<'_>, station: &Station) -> Poll<&'static str> {
        for _ in 0..BURST {
            if let Some(reason) = self.ending.get() {
                return Poll::Ready(reason);
            }
            let upstream = self.upstream.borrow();
            let Some(upstream) = &*upstream else { return Poll::Ready("connect_failed") };
            let mut batch = station.answers.borrow_mut();
            let polled = upstream.poll_receive(cx, &mut batch);
            if polled.is_pending() {
                self.waiting.set(Some(cx.waker().clone()));
            }
            match ready!(polled) {
                Ok(()) => self.answer(station, &batch),
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    return Poll::Ready("connect_failed");
                }
                // A route that is not there now may be again.
                Err(_) => self.stats.cell(self.shard).lost.increment(),
            }
            if self.max_responses.is_some_and(|most| self.responses.get() >= most.get()) {
                return Poll::Ready("");
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Passes on what the endpoint sent, as far as the client is to have it.
    fn answer(&self, station: &Station, batch: &Batch) {
        let cell = self.stats.cell(self.shard);
        if self.responses.get() == 0 {
            self.lease.succeeded(now().since(self.started));
        }
        self.timer.set(self.idle_timeout);
        let before = self.responses.get();
        let most = self.max_responses.map_or(u32::MAX, |most| most.get() - before);
        let datagrams: SmallVec<[&[u8]; 32]> =
            batch.iter().map(|(datagram, _)| datagram).take(most as usize).collect();
        self.responses.set(before.saturating_add(datagrams.len() as u32));
        let lost = station.socket.send_to(&datagrams, self.client).count;
        let sent = datagrams.len() - lost;
        // Which of several were lost is not known; that is rare, and then about as many bytes were.
        let sent_bytes = bytes(&datagrams) * sent as u64 / datagrams.len().max(1) as u64;
        self.sent_bytes.set(self.sent_bytes.get() + sent_bytes);
        cell.sent.add(sent as u64);
        cell.lost.add(lost as u64);
    }

    fn write_log(&self, station: &Station, reason: &'static str) {
        let Some(log) = &self.log else { return };
        let worker = &station.worker;
        if !log.wants(!reason.is_empty(), worker.ids.next() as u32) {
            return;
        }
        let client = self.client.ip().to_canonical().to_string();
        worker.desk.write(
            log,
            &Entry {
                started: self.started,
                duration: now().since(self.started),
                client: &client,
                peer: PeerAddress::Tcp(self.client),
                captured: Captured::default(),
                protocol: "udp",
                status: 0,
                received_bytes: self.received_bytes.get(),
                sent_bytes: self.sent_bytes.get(),
                upstream: Some(&self.lease.endpoint().address),
                upstream_duration: None,
                retries: 0,
                route: "",
                cluster: &self.lease.cluster().cluster.config.name,
                reason,
                tls_version: "",
                server_name: "",
            },
        );
    }
}

fn bytes(datagrams: &[&[u8]]) -> u64 {
    datagrams.iter().map(|datagram| datagram.len() as u64).sum()
}

/// Carries a session to its end.
pub(super) async fn carry(station: Rc<Station>, session: Rc<Session>) {
    let reason = match session.timer.guard(session.connect()).await {
        Ok(Ok(())) => {
            let answers = poll_fn(|cx| session.poll_answers(cx, &station));
            // Idle, without a reason: that is how most of them end.
            session.timer.guard(answers).await.unwrap_or_default()
        }
        Ok(Err(error)) => {
            session.lease.cell().connect_failures.increment();
            tracing::debug!(client = %session.client, %error, "an endpoint cannot be sent to");
            "connect_failed"
        }
        Err(_) => "connect_timeout",
    };
    if !reason.is_empty() {
        session.lease.cell().failures.increment();
        session.lease.failed(now().since(session.started));
    }
    station.sessions.borrow_mut().remove(&session.client);
    tracing::debug!(
        listener = &*session.slot.listener().name, client = %session.client, reason,
        "a session of datagrams ended"
    );
    session.write_log(&station, reason);
}
