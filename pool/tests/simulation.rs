//! The engine among simulated clients and servers, in simulated time, on one shard or on two that
//! take turns ([`turns`]): everything that happens is drawn from a seed.
//!
//! The engine is the real one, on its own runtime, with real sockets in between. What is around it
//! is made up: clients ([`client`]) that query, begin, fail, copy, cancel, dawdle and vanish, and
//! servers ([`server`]) that know whose work they do, and operators ([`operator`]) who order and
//! reload in the middle of it. The clock ([`world`]) stands still while anything goes on, and then
//! jumps. Each seed draws its own limits, modes and troubles ([`scenario`]). What must hold whatever
//! happens ([`checks`], and where it is seen):
//!
//! - no reply to the wrong client, and replies in order: each client hears, message by message, what
//!   a server of its own would have told it;
//! - no server is released dirty: none hears of a client while it has a transaction or a batch open
//!   for another, and none that has somebody's session, by its mode or by what is kept in it, without
//!   having been reset;
//! - a session is in one place: what a client keeps in it, it finds again;
//! - no limit is exceeded: on the servers of a pool, of a database, and on logins at once; with a
//!   limit that shrinks, what is idle beyond it is closed;
//! - no waiter is forgotten: nobody waits beside an idle server, or where there is room for one, and
//!   everyone is served in the end;
//! - first come, first served, in each pool;
//! - a cancel request hits nobody else's query;
//! - what an operator orders is in force as soon as time passes, where it was ordered and nowhere
//!   else, and answered when it is done.
//!
//! A failing seed is printed with what happened last; `BS9_SEED=` repeats it. So is one that does
//! not end: in simulated time, because nothing is done ([`world::run`]) or because time never
//! passes, and in real time ([`PATIENCE`]), should a thread be caught in a loop.

mod checks;
mod client;
mod listening;
mod operator;
mod orders;
mod scenario;
mod server;
mod session;
mod text;
mod turns;
mod world;

use std::{
    any::Any,
    ops::Range,
    os::unix::net::UnixListener,
    path::PathBuf,
    pin::pin,
    rc::Rc,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, Sender},
    },
    thread,
    time::Duration,
};

use bs9_config::{Config, ListenerProtocol};
use bs9_net::{
    CoarseInstant, CompileContext, CompileError, ControlContext, Engine, Host, Shard, ShardEngine,
    Snapshot,
};
use bs9_pool::PoolEngine;
use tokio::sync::{
    mpsc::{UnboundedSender, unbounded_channel},
    oneshot,
};

use crate::postgres::Pooler;
use scenario::Scenario;
use turns::{Follower, Turns, turns};
use world::{Story, World};

/// Seeds of one test; there are eight of them.
const SEEDS: u64 = 250;
/// For a seed, in real time: it takes some milliseconds, on a busy machine a hundred.
const PATIENCE: Duration = Duration::from_secs(60);
/// Failing seeds that are shown.
const MOST_FAILURES: usize = 3;

/// What the first shard is given when it starts.
struct Setup {
    scenario: Scenario,
    story: Story,
    folder: PathBuf,
    servers: UnixListener,
    reloads: UnboundedSender<Reload>,
    turns: Turns,
    /// Told when the pool listens: the clock must not run before that.
    started: oneshot::Receiver<()>,
    verdict: oneshot::Sender<Result<(), String>>,
}

/// A configuration to be put in force.
struct Reload {
    config: Config,
    /// Told when the shards have been told. The one that asks waits for that and does nothing else:
    /// what comes first and what second must not depend on the threads.
    applied: Sender<()>,
}

/// The pool's engine, and the simulation on the thread of its first shard.
struct Simulated {
    pool: Arc<PoolEngine>,
    setup: Mutex<Option<Setup>>,
    /// For the other shards.
    followers: Mutex<Vec<Follower>>,
    /// What the clock shows when it begins.
    origin: CoarseInstant,
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
        bs9_net::stand_at(self.origin);
        if shard.index() > 0 {
            let served = self.pool.start_shard(shard, engine);
            let follower = self.followers.lock().unwrap_or_else(PoisonError::into_inner).pop();
            bs9_net::spawn(follower.expect("one for each").follow(self.origin));
            return served;
        }
        let setup = self.setup.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Setup { scenario, story, folder, servers, reloads, turns, started, verdict } =
            setup.expect("there is one first shard");
        let pool = Arc::clone(&self.pool);
        let world = World::begin(scenario, story, folder, pool, reloads, turns, self.origin);
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
    let config = Pooler::parse(&folder, &scenario.config(&scenario.limits, &folder));
    let servers = UnixListener::bind(folder.join(".s.PGSQL.5432")).expect("a socket");
    servers.set_nonblocking(true).expect("an option");
    let (start, started) = oneshot::channel();
    let (verdict, mut wait) = oneshot::channel();
    let (reloads, mut asked) = unbounded_channel();
    let (turns, followers, starts) = turns(scenario.shards - 1);
    let setup = Setup { scenario, story, folder, servers, reloads, turns, started, verdict };
    let engine = Arc::new(Simulated {
        pool: PoolEngine::new(),
        setup: Mutex::new(Some(setup)),
        followers: Mutex::new(followers),
        origin: world::beginning(),
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(tokio::runtime::LocalOptions::default())
        .expect("a runtime");
    runtime.block_on(async {
        let mut host = Host::start(Arc::new(config), vec![engine]).expect("the host starts");
        host.turn_of_every_shard().await;
        for (start, is_ready) in starts {
            let _panicked = start.send(()).is_ok() && is_ready.await.is_ok();
        }
        let _panicked = start.send(());
        let outcome = loop {
            tokio::select! {
                biased;
                Some(wanted) = asked.recv() => reload(&mut host, wanted).await,
                outcome = &mut wait => break outcome,
            }
        };
        // Who asks for another now does not wait for it.
        drop(asked);
        let outcome = outcome.unwrap_or_else(|_| Err("the simulation panicked".into()));
        host.drain(Duration::ZERO).await;
        outcome
    })
}

/// The shard that asks stands still until it has been told.
async fn reload(host: &mut Host, wanted: Reload) {
    let Reload { config, applied } = wanted;
    let mut reloading = pin!(host.reload(Arc::new(config)));
    let mut applied = Some(applied);
    std::future::poll_fn(|cx| {
        let reloaded = reloading.as_mut().poll(cx);
        if let Some(applied) = applied.take() {
            let _asks_no_more = applied.send(());
        }
        reloaded
    })
    .await
    .expect("the reload is accepted");
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
        let in_memory = tempfile::tempdir_in("/dev/shm");
        let folder = in_memory.or_else(|_| tempfile::tempdir()).expect("a folder");
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
