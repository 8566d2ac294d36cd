//! The proxy's half on one shard.

use std::{
    any::Any,
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use bs9_net::{
    CoarseInstant, Connection, DatagramListener, ListenerId, Shard, ShardEngine, Snapshot,
    SnapshotReader, now,
};

use crate::{
    access_log::Desk,
    cluster::{Asked, ShardCluster},
    http::{self, Ids},
    http2::Carriers,
    part::ProxyPart,
    tcp, udp,
};

/// How often idle upstream connections are looked through.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// Scratch buffers kept, and how large one may have become to be kept.
const MAX_SCRATCH: usize = 64;
const MAX_SCRATCH_BYTES: usize = 64 * 1024;
/// Failures logged per shard and second; the others are counted.
const LOGS_PER_SECOND: u32 = 20;

/// What a shard derives from the proxy's part of a snapshot.
pub(crate) struct View {
    pub(crate) part: Arc<ProxyPart>,
    /// As in the part.
    pub(crate) clusters: Vec<Rc<ShardCluster>>,
}

impl View {
    fn derive(part: Arc<ProxyPart>, shard: usize, previous: Option<&Self>) -> Self {
        let clusters = part.clusters.iter().map(|cluster| {
            let old = previous.and_then(|view| {
                view.part.by_name.get(&cluster.config.name).map(|at| &view.clusters[*at])
            });
            match old {
                Some(old) if Arc::ptr_eq(&old.cluster, cluster) => Rc::clone(old),
                old => ShardCluster::new(cluster, shard, old.map(Rc::as_ref)),
            }
        });
        Self { clusters: clusters.collect(), part }
    }
}

/// What the proxy's connections on one shard share.
pub(crate) struct Worker {
    pub(crate) shard: Rc<Shard>,
    /// Where lines of access logs are written.
    pub(crate) desk: Rc<Desk>,
    pub(crate) ids: Ids,
    /// What carries requests of HTTP/2.
    pub(crate) carriers: Rc<Carriers>,
    pub(crate) engine: usize,
    reader: SnapshotReader<View>,
    scratch: RefCell<Vec<Vec<u8>>>,
    random: Cell<u32>,
    /// The HTTP listeners last seen, and how often one of them has gone since.
    sites: RefCell<Vec<ListenerId>>,
    removals: Cell<u64>,
    logged: Cell<(CoarseInstant, u32)>,
    suppressed: Cell<u64>,
}

impl Worker {
    pub(crate) fn start(shard: &Rc<Shard>, engine: usize) -> Rc<Self> {
        let index = shard.index();
        let first = |snapshot: &Snapshot| View::derive(snapshot.part(engine), index, None);
        let worker = Rc::new(Self {
            shard: Rc::clone(shard),
            desk: Desk::new(shard),
            ids: Ids::new(),
            carriers: Rc::default(),
            engine,
            reader: SnapshotReader::new(shard.snapshots(), first),
            scratch: RefCell::default(),
            random: Cell::new(0x9E37_79B9 ^ (index as u32 + 1)),
            sites: RefCell::default(),
            removals: Cell::new(0),
            logged: Cell::new((now(), 0)),
            suppressed: Cell::new(0),
        });
        *worker.sites.borrow_mut() = worker.view().part.http.keys().copied().collect();
        bs9_net::spawn(Self::sweep(Rc::clone(&worker)));
        worker
    }

    /// Counts up when an HTTP listener goes: idle connections compare it.
    pub(crate) fn removals(&self) -> u64 {
        self.removals.get()
    }

    /// What is in force; a request loads it once and finishes on it.
    pub(crate) fn view(&self) -> Rc<View> {
        self.reader.load(|snapshot, previous| {
            View::derive(snapshot.part(self.engine), self.shard.index(), Some(previous))
        })
    }

    /// An empty vector with room, given back by dropping it.
    pub(crate) fn scratch(self: &Rc<Self>) -> Scratch {
        let bytes = self.scratch.borrow_mut().pop().unwrap_or_default();
        Scratch { bytes, worker: Rc::clone(self) }
    }

    /// A number below `bound`, good enough for splitting traffic (xorshift32).
    pub(crate) fn random_below(&self, bound: u32) -> u32 {
        let mut x = self.random.get();
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        self.random.set(x);
        ((u64::from(x) * u64::from(bound)) >> 32) as u32
    }

    /// Whether one more line about a failure may be logged: a flood of bad requests
    /// must not become a flood of logs. Gives the number held back before.
    pub(crate) fn may_log(&self) -> Option<u64> {
        let (since, count) = self.logged.get();
        if now().since(since) >= Duration::from_secs(1) {
            self.logged.set((now(), 1));
            return Some(self.suppressed.take());
        }
        if count >= LOGS_PER_SECOND {
            self.suppressed.set(self.suppressed.get() + 1);
            return None;
        }
        self.logged.set((since, count + 1));
        Some(self.suppressed.take())
    }

    async fn sweep(self: Rc<Self>) {
        let timer = self.shard.timer();
        loop {
            timer.set(SWEEP_INTERVAL);
            timer.elapsed().await;
            self.shard.buffers().tick();
            self.carriers.tick();
            self.view().clusters.iter().for_each(|cluster| cluster.sweep());
        }
    }
}

/// The worker as the host sees it.
pub(crate) struct ProxyShard(pub(crate) Rc<Worker>);

impl ShardEngine for ProxyShard {
    fn serve(&self, connection: Connection) {
        let worker = Rc::clone(&self.0);
        let listener = connection.slot.listener().id;
        if worker.view().part.tcp.contains_key(&listener) {
            bs9_net::spawn(tcp::serve(worker, connection));
        } else {
            bs9_net::spawn(http::serve(worker, connection));
        }
    }

    fn receive(&self, socket: DatagramListener) {
        bs9_net::spawn(udp::serve(Rc::clone(&self.0), socket));
    }

    fn snapshot_changed(&self) {
        let worker = &self.0;
        worker.desk.clear();
        // Loading drops the view before, and with it the idle connections nobody wants now.
        let view = worker.view();
        let sites: Vec<ListenerId> = view.part.http.keys().copied().collect();
        let before = worker.sites.replace(sites);
        if before.iter().any(|id| !view.part.http.contains_key(id)) {
            worker.removals.set(worker.removals.get() + 1);
            worker.shard.look_again();
        }
    }

    fn drain(&self) {}

    fn mail(&self, message: Box<dyn Any + Send>) {
        let Ok(asked) = message.downcast::<Asked>() else { return };
        let view = self.0.view();
        let place = view.part.by_name.get(&asked.cluster().config.name);
        if let Some(cluster) = place.map(|at| &view.clusters[*at]) {
            cluster.give(*asked);
        }
    }
}

/// A vector borrowed from a worker.
pub(crate) struct Scratch {
    pub(crate) bytes: Vec<u8>,
    worker: Rc<Worker>,
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let mut kept = self.worker.scratch.borrow_mut();
        if kept.len() < MAX_SCRATCH && self.bytes.capacity() <= MAX_SCRATCH_BYTES {
            self.bytes.clear();
            kept.push(std::mem::take(&mut self.bytes));
        }
    }
}
