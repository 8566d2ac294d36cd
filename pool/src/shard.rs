//! The engine's half on one shard.

use std::{any::Any, cell::RefCell, rc::Rc, sync::Arc};

use bs9_net::{Connection, Shard, ShardEngine, SnapshotReader};
use rustc_hash::FxHashMap;

use crate::{
    cancel::{CancelOrder, Directory},
    client,
    local::LocalPool,
    part::Part,
    pool::{Pool, PoolKey},
    registry::Registry,
    roster::{Roll, RollCall},
    server::SentServer,
};

pub(crate) struct PoolShard {
    pub(crate) shard: Rc<Shard>,
    /// The engine's number, for mail.
    pub(crate) engine: usize,
    pub(crate) registry: Arc<Registry>,
    /// The clients of this shard, by cancel key.
    pub(crate) directory: Rc<Directory>,
    snapshots: SnapshotReader<Arc<Part>>,
    pools: RefCell<FxHashMap<PoolKey, Rc<LocalPool>>>,
}

/// What halves of the engine send each other.
pub(crate) enum Mail {
    /// A server connection, for whoever waits there.
    Server(Box<SentServer>),
    /// Clients of this pool wait, and the limit is reached: idle servers are wanted.
    Wanted(Arc<Pool>),
    /// This pool may connect again.
    Room(Arc<Pool>),
    /// A cancel request for one of that shard's clients.
    Cancel(CancelOrder),
    /// The plan of this pool was changed.
    Plan(Arc<Pool>),
    /// Other pools want what this one has idle.
    Spare(Arc<Pool>),
    /// Clients of this database, or of any, are to be disconnected.
    Kill(Option<Arc<str>>),
    /// Somebody asks who is there.
    Roll(RollCall),
}

/// What the shard hands out; the engine's own handle keeps the other one.
pub(crate) struct PoolShardHandle(pub(crate) Rc<PoolShard>);

impl PoolShard {
    pub(crate) fn new(shard: &Rc<Shard>, engine: usize, registry: Arc<Registry>) -> Rc<Self> {
        let snapshots = SnapshotReader::new(shard.snapshots(), |snapshot| snapshot.part(engine));
        Rc::new(Self {
            shard: Rc::clone(shard),
            engine,
            registry,
            directory: Directory::new(shard.index(), shard.buffers()),
            snapshots,
            pools: RefCell::default(),
        })
    }

    /// The part in force.
    pub(crate) fn part(&self) -> Arc<Part> {
        let engine = self.engine;
        Arc::clone(&self.snapshots.load(|snapshot, _| snapshot.part(engine)))
    }

    /// This shard's half of a pool that it may not know yet.
    pub(crate) fn local(self: &Rc<Self>, pool: &Arc<Pool>) -> Rc<LocalPool> {
        let mut pools = self.pools.borrow_mut();
        if let Some(known) = pools.get(&pool.key).filter(|known| Arc::ptr_eq(&known.pool, pool)) {
            return Rc::clone(known);
        }
        let local = LocalPool::start(Arc::clone(pool), self);
        pools.insert(pool.key.clone(), Rc::clone(&local));
        local
    }

    /// This shard's half of the pool of that name.
    pub(crate) fn find(&self, key: &PoolKey) -> Option<Rc<LocalPool>> {
        self.pools.borrow().get(key).cloned()
    }

    /// Starts the pools that are kept up without clients and were there before this shard.
    pub(crate) fn keep_up(self: &Rc<Self>) {
        for pool in self.registry.pools() {
            self.local(&pool).wake();
        }
    }

    /// Lets go of a pool that nobody uses.
    pub(crate) fn forget(&self, local: &Rc<LocalPool>) {
        let mut pools = self.pools.borrow_mut();
        if pools.get(&local.pool.key).is_some_and(|known| Rc::ptr_eq(known, local)) {
            pools.remove(&local.pool.key);
        }
    }

    /// Says who is there.
    fn answer(&self, call: &RollCall) {
        let mut roll = Roll::default();
        self.directory.call_roll(self.shard.index(), &mut roll);
        for local in self.locals() {
            local.call_roll(&mut roll);
        }
        let _gave_up = call.answer.send(roll);
    }

    fn locals(&self) -> Vec<Rc<LocalPool>> {
        self.pools.borrow().values().cloned().collect()
    }
}

impl ShardEngine for PoolShardHandle {
    /// Clients of PostgreSQL ask for TLS in words of their own.
    fn starts_tls(&self) -> bool {
        true
    }

    fn serve(&self, connection: Connection) {
        bs9_net::spawn(client::serve(Rc::clone(&self.0), connection));
    }

    fn snapshot_changed(&self) {
        for local in self.0.locals() {
            local.plan_changed();
        }
    }

    fn drain(&self) {
        for local in self.0.locals() {
            local.drain();
        }
    }

    fn mail(&self, message: Box<dyn Any + Send>) {
        let Ok(mail) = message.downcast::<Mail>() else { return };
        match *mail {
            Mail::Server(sent) => {
                let local = self.0.local(&Arc::clone(&sent.pool));
                local.arrive(*sent);
            }
            Mail::Wanted(pool) => self.0.local(&pool).share_idle(),
            Mail::Room(pool) => self.0.local(&pool).wake(),
            Mail::Cancel(order) => self.0.directory.carry_out(order),
            Mail::Plan(pool) => self.0.local(&pool).plan_changed(),
            Mail::Spare(pool) => self.0.local(&pool).spare_idle(),
            Mail::Kill(database) => {
                self.0.directory.kill(|pool| {
                    database.as_ref().is_none_or(|database| pool.key.database == *database)
                });
                self.0.shard.look_again();
            }
            Mail::Roll(call) => self.0.answer(&call),
        }
    }
}
