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
//! A failing seed is printed with what happened last; `BS9_SEED=` repeats it. So is one that does
//! not end: in simulated time, because nothing is done ([`world::run`]) or because time never
//! passes, and in real time ([`PATIENCE`]), should a thread be caught in a loop.

mod client;
mod scenario;
mod server;
mod session;
mod world;

use std::{
    any::Any,
    ops::Range,
    os::unix::net::UnixListener,
    path::PathBuf,
    rc::Rc,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
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
use world::{Story, World};

/// Seeds of one test; there are eight of them.
const SEEDS: u64 = 250;
/// For a seed, in real time: it takes some milliseconds, on a busy machine a hundred.
const PATIENCE: Duration = Duration::from_secs(60);
/// Failing seeds that are shown.
const MOST_FAILURES: usize = 3;

/// What a shard is given when it starts.
struct Setup {
    scenario: Scenario,
    story: Story,
    folder: PathBuf,
    servers: UnixListener,
    /// Told when the pool listens: the clock must not run before that.
    started: oneshot::Receiver<()>,
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
        let Setup { scenario, story, folder, servers, started, verdict } =
            setup.expect("there is one shard");
        let world = World::begin(scenario, story, folder, Arc::clone(&self.pool));
        let served = self.pool.start_shard(shard, engine);
        let played = Rc::clone(&world);
        bs9_net::spawn(async move {
            let outcome = match started.await {
                Ok(()) => world::run(&played, servers).await,
                Err(_) => Err("the host did not start".into()),
            };
            let _given_up = verdict.send(outcome);
        });
        // For the drain, even should the seed's own task panic.
        bs9_net::spawn(async move { world.let_time_pass_when_over().await });
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
fn simulate(scenario: Scenario, story: Story, folder: PathBuf) -> Result<(), String> {
    std::fs::create_dir(&folder).expect("a folder");
    let config = Pooler::parse(&folder, &scenario.config(&folder));
    let servers = UnixListener::bind(folder.join(".s.PGSQL.5432")).expect("a socket");
    servers.set_nonblocking(true).expect("an option");
    let (start, started) = oneshot::channel();
    let (verdict, wait) = oneshot::channel();
    let setup = Setup { scenario, story, folder, servers, started, verdict };
    let engine = Arc::new(Simulated { pool: PoolEngine::new(), setup: Mutex::new(Some(setup)) });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(tokio::runtime::LocalOptions::default())
        .expect("a runtime");
    runtime.block_on(async {
        let mut host = Host::start(Arc::new(config), vec![engine]).expect("the host starts");
        host.turn_of_every_shard().await;
        let _panicked = start.send(());
        let outcome = wait.await.unwrap_or_else(|_| Err("the simulation panicked".into()));
        host.drain(Duration::ZERO).await;
        outcome
    })
}

/// Plays seeds on a thread of their own, which may be caught in one.
fn simulate_all(seeds: Range<u64>) {
    let asked = std::env::var("BS9_SEED").ok();
    let asked: Option<u64> = asked.map(|seed| seed.parse().expect("a number"));
    let seeds = asked.map_or(seeds, |seed| seed..seed + 1);
    let (begin, begun) = mpsc::channel();
    let (end, ended) = mpsc::channel();
    thread::spawn(move || {
        // One for all: to make and remove one for each costs as much as to play it.
        let folder = tempfile::tempdir().expect("a folder");
        for seed in seeds {
            let (scenario, story) = (Scenario::draw(seed), Story::default());
            let listened_to = begin.send((scenario.clone(), story.clone())).is_ok();
            let own = folder.path().join(seed.to_string());
            if !listened_to || end.send(simulate(scenario, story, own)).is_err() {
                return;
            }
        }
    });
    let mut failures = Vec::new();
    while let Ok((scenario, story)) = begun.recv()
        && failures.len() < MOST_FAILURES
    {
        let outcome = ended.recv_timeout(PATIENCE);
        let is_stuck = outcome.is_err();
        let outcome = outcome.unwrap_or_else(|error| Err(format!("it does not end: {error}")));
        if let Err(what) = outcome {
            failures.push(format!("BS9_SEED={}: {what}\n{scenario:?}{story}", scenario.seed));
        }
        if is_stuck {
            break;
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

/// Tests of [`SEEDS`] each, which run at the same time.
macro_rules! plays {
    ($($name:ident: $turn:literal,)*) => {$(
        #[test]
        fn $name() {
            simulate_all($turn * SEEDS..($turn + 1) * SEEDS);
        }
    )*};
}

plays! {
    whatever_happens_the_invariants_hold: 0,
    invariants_hold_in_the_second_part: 1,
    invariants_hold_in_the_third_part: 2,
    invariants_hold_in_the_fourth_part: 3,
    invariants_hold_in_the_fifth_part: 4,
    invariants_hold_in_the_sixth_part: 5,
    invariants_hold_in_the_seventh_part: 6,
    invariants_hold_in_the_last_part: 7,
}
