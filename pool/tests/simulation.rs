//! The engine among simulated clients and servers, in simulated time: one shard, one thread, and
//! everything that happens drawn from a seed.
//!
//! The engine is the real one, on its own runtime, with real sockets in between. What is around it
//! is made up: clients ([`client`]) that query, begin, fail, copy, cancel, dawdle and vanish, and
//! servers ([`server`]) that know whose work they do. The clock ([`world`]) stands still while
//! anything goes on, and then jumps. Each seed draws its own limits, modes and troubles
//! ([`scenario`]). What must hold whatever happens:
//!
//! - no reply to the wrong client, and replies in order: each client hears, message by message, what
//!   a server of its own would have told it;
//! - no server is released dirty: none hears of a client while it has a transaction or a batch open
//!   for another, or in session mode without having been reset;
//! - no limit is exceeded: on the servers of a pool, of a database, and on logins at once;
//! - no waiter is forgotten: nobody waits beside an idle server, and everyone is served in the end;
//! - first come, first served, in each pool;
//! - a cancel request hits nobody else's query.
//!
//! A failing seed is printed with what happened last; `BS9_SEED=` repeats it.

mod client;
mod scenario;
mod server;
mod session;
mod world;

use std::{
    any::Any,
    os::unix::net::UnixListener,
    path::PathBuf,
    rc::Rc,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bs9_config::ListenerProtocol;
use bs9_net::{
    CompileContext, CompileError, ControlContext, Engine, Host, Shard, ShardEngine, Snapshot,
};
use bs9_pool::PoolEngine;
use tokio::sync::oneshot;

use crate::postgres::Pooler;
use scenario::Scenario;
use world::World;

/// Seeds of one test.
const SEEDS: u64 = 500;

/// What a shard is given when it starts.
struct Setup {
    scenario: Scenario,
    folder: PathBuf,
    servers: UnixListener,
    verdict: oneshot::Sender<Result<(), String>>,
}

/// The pool's engine, and the simulation on the same thread.
struct Simulated {
    pool: Arc<PoolEngine>,
    setup: Mutex<Option<Setup>>,
}

impl Engine for Simulated {
    fn name(&self) -> &'static str {
        self.pool.name()
    }

    fn serves(&self, protocol: &ListenerProtocol) -> bool {
        self.pool.serves(protocol)
    }

    fn compile(
        &self,
        context: &CompileContext<'_>,
    ) -> Result<Arc<dyn Any + Send + Sync>, CompileError> {
        self.pool.compile(context)
    }

    fn start_shard(&self, shard: &Rc<Shard>, engine: usize) -> Rc<dyn ShardEngine> {
        // Before anything takes note of the time.
        let setup = self.setup.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Setup { scenario, folder, servers, verdict } = setup.expect("there is one shard");
        let world = World::begin(scenario, folder, Arc::clone(&self.pool));
        let served = self.pool.start_shard(shard, engine);
        bs9_net::spawn(async move {
            let _given_up = verdict.send(world::run(&world, servers).await);
            // For the drain.
            world.let_time_pass().await;
        });
        served
    }

    fn start_control(&self, context: &ControlContext) {
        self.pool.start_control(context);
    }

    fn snapshot_changed(&self, context: &ControlContext, snapshot: &Arc<Snapshot>) {
        self.pool.snapshot_changed(context, snapshot);
    }
}

/// What went wrong with a seed.
fn simulate(seed: u64) -> Result<(), String> {
    let folder = tempfile::tempdir().expect("a folder");
    let scenario = Scenario::draw(seed);
    let config = Pooler::parse(folder.path(), &scenario.config(folder.path()));
    let servers = UnixListener::bind(folder.path().join(".s.PGSQL.5432")).expect("a socket");
    servers.set_nonblocking(true).expect("an option");
    let (verdict, wait) = oneshot::channel();
    let setup = Setup { scenario, folder: folder.path().to_owned(), servers, verdict };
    let engine = Arc::new(Simulated { pool: PoolEngine::new(), setup: Mutex::new(Some(setup)) });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(tokio::runtime::LocalOptions::default())
        .expect("a runtime");
    runtime.block_on(async {
        let mut host = Host::start(Arc::new(config), vec![engine]).expect("the host starts");
        let outcome = wait.await.unwrap_or_else(|_| Err("the simulation panicked".into()));
        host.drain(Duration::ZERO).await;
        outcome
    })
}

fn simulate_all(seeds: impl Iterator<Item = u64>) {
    let asked = std::env::var("BS9_SEED").ok();
    let asked = asked.map(|seed| seed.parse().expect("a number"));
    let failed = |seed| simulate(seed).err().map(|what| format!("BS9_SEED={seed}: {what}"));
    let failures: Vec<String> = match asked {
        Some(seed) => failed(seed).into_iter().collect(),
        None => seeds.filter_map(failed).take(3).collect(),
    };
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn whatever_happens_the_invariants_hold() {
    simulate_all(0..SEEDS);
}

#[test]
fn whatever_else_happens_the_invariants_hold() {
    simulate_all(SEEDS..2 * SEEDS);
}

#[test]
fn and_whatever_may_happen_then() {
    simulate_all(2 * SEEDS..3 * SEEDS);
}

#[test]
fn and_at_last() {
    simulate_all(3 * SEEDS..4 * SEEDS);
}
