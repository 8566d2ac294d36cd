//! What is noted of a request on its way: for the counters, and for a line of the access log.

use std::{
    cell::{Cell, RefCell},
    net::IpAddr,
    ops::Deref,
    rc::Rc,
    time::Duration,
};

use bs9_net::{Buffer, CoarseInstant, Counter, now};

use super::{
    client::Origin,
    failure::Failure,
    handling::Fate,
    identity::Made,
    request::{Facts, Plan},
    stats::HttpCell,
};
use crate::{
    access_log::{AccessLog, Captured, Entry},
    cluster::{Lease, ShardCluster},
    http1::Version,
    part::HttpSite,
    worker::{Scratch, Worker},
};

/// The route number of what no route took.
const NO_ROUTE: usize = usize::MAX;

/// One request's notes. It stands before the listener's counters: what is counted through it is
/// counted twice, there and here.
pub(crate) struct Record<'a> {
    site: &'a HttpSite,
    cell: &'a HttpCell,
    pub(crate) received_bytes: Tally<'a>,
    pub(crate) sent_bytes: Tally<'a>,
    started: CoarseInstant,
    status: Cell<u16>,
    route: Cell<usize>,
    /// With an access log only.
    notes: Option<&'a Notes<'a>>,
}

/// What nobody but an access log wants to know: there is none without.
pub(crate) struct Notes<'a> {
    log: &'a AccessLog,
    reason: Cell<&'static str>,
    /// The request's head, as it came in.
    head: RefCell<Scratch>,
    made: Cell<Made>,
    client: Cell<Option<IpAddr>>,
    version: Cell<&'static str>,
    cluster: RefCell<Option<Rc<ShardCluster>>>,
    member: Cell<usize>,
    tries: Cell<u32>,
    upstream: Cell<Option<Duration>>,
}

/// A counter, and this request's share of it.
pub(crate) struct Tally<'a> {
    counter: &'a Counter,
    here: Cell<u64>,
}

impl Tally<'_> {
    /// Adds to both.
    #[inline]
    pub(crate) fn add(&self, amount: u64) {
        self.counter.add(amount);
        self.here.set(self.here.get() + amount);
    }
}

impl Deref for Record<'_> {
    type Target = HttpCell;

    fn deref(&self) -> &HttpCell {
        self.cell
    }
}

impl<'a> Notes<'a> {
    /// For a request of a listener with an access log; `protocol` is what its connection speaks.
    #[inline]
    pub(crate) fn wanted(
        worker: &Rc<Worker>,
        site: &'a HttpSite,
        protocol: &'static str,
    ) -> Option<Self> {
        let log = site.access_log.as_deref()?;
        Some(Self {
            log,
            reason: Cell::new(""),
            head: RefCell::new(worker.scratch()),
            made: Cell::default(),
            client: Cell::new(None),
            version: Cell::new(protocol),
            cluster: RefCell::new(None),
            member: Cell::new(0),
            tries: Cell::new(0),
            upstream: Cell::new(None),
        })
    }
}

impl<'a> Record<'a> {
    /// Of a request whose first bytes are there.
    #[inline]
    pub(crate) fn new(worker: &Worker, site: &'a HttpSite, notes: Option<&'a Notes<'a>>) -> Self {
        let cell = site.stats.cell(worker.shard.index());
        Self {
            site,
            cell,
            received_bytes: Tally { counter: &cell.received_bytes, here: Cell::new(0) },
            sent_bytes: Tally { counter: &cell.sent_bytes, here: Cell::new(0) },
            started: now(),
            status: Cell::new(0),
            route: Cell::new(NO_ROUTE),
            notes,
        }
    }

    /// Keeps the head of a request, as far as it has come.
    pub(crate) fn head(&self, head: &[u8]) {
        if let Some(notes) = self.notes {
            let kept = &mut notes.head.borrow_mut().bytes;
            kept.clear();
            kept.extend_from_slice(head);
        }
    }

    /// Notes what the head at the front of `buffer` came to, and puts ids into the one for the
    /// endpoint.
    pub(crate) fn plan(
        &self,
        worker: &Worker,
        (facts, plan): &(Facts, Plan),
        buffer: &Buffer,
        out: &mut Scratch,
    ) {
        match plan {
            Plan::Forward { route, .. }
            | Plan::Reply { route }
            | Plan::Refuse { route }
            | Plan::Redirect { route: Some(route), .. } => self.route.set(*route),
            Plan::Redirect { route: None, .. } => {}
        }
        let head = &buffer.filled()[..facts.head_len];
        self.head(head);
        let mut made = Made::default();
        if let (Some(identities), Plan::Forward { .. }) = (&self.site.identities, plan) {
            made = identities.stamp(head, &worker.ids, &mut out.bytes);
        }
        if let Some(notes) = self.notes {
            notes.client.set(facts.client);
            notes.made.set(made);
            if facts.version == Version::Http10 {
                notes.version.set("HTTP/1.0");
            }
        }
    }

    /// An endpoint is tried.
    pub(crate) fn tries(&self, lease: &Lease) {
        if let Some(notes) = self.notes {
            notes.tries.set(notes.tries.get() + 1);
            notes.member.set(lease.member());
            *notes.cluster.borrow_mut() = Some(Rc::clone(lease.cluster()));
        }
    }

    /// The endpoint answered, so long after the request was sent to it.
    pub(crate) fn answered_after(&self, took: Duration) {
        if let Some(notes) = self.notes {
            notes.upstream.set(Some(took));
        }
    }

    /// Counts a response by its class.
    pub(crate) fn count_response(&self, status: u16) {
        self.status.set(status);
        self.cell.count_response(status);
    }

    /// Counts a failure.
    pub(crate) fn count_failure(&self, failure: Failure) {
        if let Some(notes) = self.notes {
            notes.reason.set(failure.reason());
        }
        self.cell.failures[failure.index()].increment();
    }

    /// The request has ended; `None`: the client gave it up.
    pub(crate) fn finish(&self, worker: &Worker, origin: &Origin, fate: Option<Fate>) {
        let duration = now().since(self.started);
        let status = self.status.get();
        let red = self.site.route_counts.of(self.route.get());
        red.count(worker.shard.index(), status, duration);
        if let Some(notes) = self.notes {
            if notes.reason.get().is_empty() {
                notes.reason.set(reason_of(status, fate));
            }
            let failed = status >= 500 || !notes.reason.get().is_empty();
            if notes.log.wants(failed, worker.ids.next() as u32) {
                self.write(notes, worker, origin, duration);
            }
        }
    }

    /// Apart from what every request costs.
    #[inline(never)]
    fn write(&self, notes: &Notes<'_>, worker: &Worker, origin: &Origin, duration: Duration) {
        let head = notes.head.borrow();
        let made = notes.made.get();
        let forwarded = notes.client.get().map(|address| address.to_string());
        let cluster = notes.cluster.borrow();
        let cluster = cluster.as_deref().map(|cluster| &*cluster.cluster);
        let member = cluster.and_then(|cluster| cluster.members.get(notes.member.get()));
        let (tls_version, server_name) = origin.tls();
        worker.desk.write(
            notes.log,
            &Entry {
                started: self.started,
                duration,
                client: forwarded.as_deref().unwrap_or(&origin.address_text),
                peer: origin.connected_by(),
                captured: Captured {
                    head: &head.bytes,
                    request_id: made.request_id,
                    trace_id: made.trace_id,
                },
                protocol: notes.version.get(),
                status: self.status.get(),
                received_bytes: self.received_bytes.here.get(),
                sent_bytes: self.sent_bytes.here.get(),
                upstream: member.map(|member| &member.endpoint.address),
                upstream_duration: notes.upstream.get(),
                retries: notes.tries.get().saturating_sub(1),
                route: self.site.route_counts.name(self.route.get()),
                cluster: cluster.map_or("", |cluster| &cluster.config.name),
                reason: notes.reason.get(),
                tls_version,
                server_name,
            },
        );
    }
}

/// Why a request failed whose way was not noted to have.
fn reason_of(status: u16, fate: Option<Fate>) -> &'static str {
    match (fate, status) {
        (None, _) | (Some(Fate::Abort), 0) => "client_gone",
        // A tunnel ends like this, and said so with its response.
        (Some(Fate::Abort), status) if status != 101 => "cut_off",
        _ => "",
    }
}
