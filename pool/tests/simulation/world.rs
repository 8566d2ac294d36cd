//! Time, and what everybody knows: who waits, who works for whom, and what has gone wrong.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    fmt, io,
    os::unix::net::{UnixListener, UnixStream},
    path::PathBuf,
    rc::Rc,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bs9_net::{Buffer, BufferPool, CoarseInstant, Stream};
use bs9_pool::PoolEngine;
use rustix::event::{PollFd, PollFlags, Timespec};
use tokio::sync::{Notify, mpsc};

use super::{
    Reload, client,
    listening::Notice,
    operator,
    orders::{History, Orders},
    scenario::{Dice, Pool, Scenario},
    server::{self, Server},
    text::Sender,
    turns::Turns,
};

/// Rounds through the sockets after which nothing goes on any more, and how many more it takes when
/// things go from shard to shard.
const QUIET_ROUNDS: u32 = 5;
const MORE_ROUNDS: u32 = 3;
/// Rounds in which something goes on at one and the same time: more are a loop without end.
const MOST_ROUNDS: u32 = 20_000;
/// By how much the clock jumps, milliseconds: little after something has happened, then more.
const LEAST_JUMP: u64 = 16;
const MOST_JUMP: u64 = 256;
/// By then everybody has been served.
const END: u64 = 400_000;
/// Lines of what happened that are shown.
const MOST_LINES: usize = 60;

/// What happened last, to be told from any thread.
#[derive(Clone, Default)]
pub(super) struct Story(Arc<Mutex<VecDeque<String>>>);

impl Story {
    fn add(&self, line: String) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == MOST_LINES {
            lines.pop_front();
        }
        lines.push_back(line);
    }
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().try_for_each(|line| write!(f, "\n{line}"))
    }
}

/// A client as others see it.
#[derive(Default)]
pub(super) struct Standing {
    pub(super) pool: Pool,
    /// The number of its session, or of the last.
    session: Cell<u64>,
    /// When that began; `None`: it is over.
    on: Cell<Option<u64>>,
    /// It was told that it may begin.
    pub(super) logged_in: Cell<bool>,
    /// When an operator ordered that it go.
    killed: Cell<Option<u64>>,
    /// When it last began to say something outside of a transaction.
    pub(super) since: Cell<u64>,
    /// Which shard serves it.
    pub(super) shard: Cell<usize>,
    /// When it had sent a request that needs a server and tells whose it is, until that begins.
    pub(super) asked: Cell<Option<u64>>,
    /// In the middle of a message.
    pub(super) dawdles: Cell<bool>,
    /// It has asked for a cancel since its last request.
    pub(super) cancels: Cell<bool>,
    pub(super) done: Cell<bool>,
}

impl Standing {
    pub(super) fn enter(&self, session: u64, now: u64) {
        self.session.set(session);
        self.on.set(Some(now));
        self.logged_in.set(false);
        self.killed.set(None);
    }

    pub(super) fn leave(&self) {
        self.on.set(None);
        self.asked.set(None);
        self.dawdles.set(false);
    }

    /// When its session began, if that is this one and goes on.
    pub(super) fn began(&self, sender: Sender) -> Option<u64> {
        self.on.get().filter(|_| self.session.get() == sender.session)
    }

    /// An operator orders that it go.
    pub(super) fn kill(&self, now: u64) {
        if self.on.get().is_some() && self.logged_in.get() {
            self.killed.set(self.killed.get().or(Some(now)));
        }
    }

    /// Whether that was ordered, and time has passed since.
    pub(super) fn was_killed_before(&self, sender: Sender, now: u64) -> bool {
        self.began(sender).is_some() && self.killed.get().is_some_and(|at| at < now)
    }
}

pub(super) struct World {
    pub(super) scenario: Scenario,
    pub(super) folder: PathBuf,
    pub(super) buffers: Rc<BufferPool>,
    pub(super) clients: Vec<Standing>,
    pub(super) servers: RefCell<Vec<Rc<Server>>>,
    pub(super) refusals: Cell<u64>,
    /// All that was ever notified.
    pub(super) notices: RefCell<Vec<Notice>>,
    pub(super) orders: RefCell<Orders>,
    pub(super) limits: RefCell<History>,
    pub(super) engine: Arc<PoolEngine>,
    /// To the thread that reloads.
    pub(super) reloads: mpsc::UnboundedSender<Reload>,
    /// The other shards, until all has been played.
    turns: RefCell<Option<Turns>>,
    /// The first shard is to look at its sockets before it is the turn of others.
    keeps_turn: Cell<bool>,
    origin: CoarseInstant,
    now: Cell<u64>,
    /// Grows with everything that happens.
    activity: Cell<u64>,
    wrong: RefCell<Option<String>>,
    story: Story,
    /// The seed has been played.
    over: Notify,
    numbers: Cell<u64>,
}

impl World {
    /// The clock of this thread stands still at `origin`.
    pub(super) fn begin(
        scenario: Scenario,
        story: Story,
        folder: PathBuf,
        engine: Arc<PoolEngine>,
        reloads: mpsc::UnboundedSender<Reload>,
        turns: Turns,
        origin: CoarseInstant,
    ) -> Rc<Self> {
        let standing = |pool: &Pool| Standing { pool: *pool, ..Standing::default() };
        Rc::new(Self {
            clients: scenario.clients.iter().map(standing).collect(),
            refusals: Cell::new(scenario.refusals),
            notices: RefCell::default(),
            orders: RefCell::default(),
            limits: RefCell::new(History::new(scenario.limits)),
            scenario,
            folder,
            buffers: BufferPool::new(16 * 1024, 64),
            servers: RefCell::default(),
            engine,
            reloads,
            turns: RefCell::new(Some(turns)),
            keeps_turn: Cell::new(false),
            origin,
            now: Cell::new(0),
            activity: Cell::new(0),
            wrong: RefCell::default(),
            story,
            over: Notify::new(),
            numbers: Cell::new(0),
        })
    }

    /// Milliseconds since the beginning.
    pub(super) fn now(&self) -> u64 {
        self.now.get()
    }

    pub(super) fn number(&self) -> u64 {
        self.numbers.set(self.numbers.get() + 1);
        self.numbers.get()
    }

    pub(super) fn note(&self, what: impl FnOnce() -> String) {
        self.activity.set(self.activity.get() + 1);
        self.story.add(format!("{:>6} ms  {}", self.now(), what()));
    }

    /// An invariant does not hold.
    pub(super) fn violated(&self, what: String) {
        self.note(|| format!("WRONG: {what}"));
        self.wrong.borrow_mut().get_or_insert(what);
    }

    /// The other shards do what there is to do.
    pub(super) fn pass_turns(&self) {
        if let Some(turns) = &*self.turns.borrow() {
            turns.pass(self.now());
        }
    }

    /// A client has connected: this shard is to be the one that sees it first.
    pub(super) fn comes_to(&self, shard: u64) {
        if shard == 0 {
            self.keeps_turn.set(true);
        } else {
            self.pass_turns();
        }
    }

    fn pass(&self, milliseconds: u64) {
        self.now.set(self.now() + milliseconds);
        bs9_net::stand_at(self.origin.plus(Duration::from_millis(self.now())));
    }

    /// For good, once the seed has been played: whoever waits for time to pass is served.
    pub(super) async fn let_time_pass_when_over(&self) {
        self.over.notified().await;
        loop {
            bs9_net::yield_now().await;
            self.pass(LEAST_JUMP);
        }
    }

    fn verdict(&self) -> Result<(), String> {
        self.wrong.take().map_or(Ok(()), Err)
    }
}

/// When the clock shows a multiple of two seconds: when timers fall due depends on what it shows,
/// and a seed is to be the same whenever it is played.
pub(super) fn beginning() -> CoarseInstant {
    const MULTIPLE: u64 = 2_000_000_000;
    let now = bs9_net::refresh_clock();
    now.plus(Duration::from_nanos(MULTIPLE - now.nanoseconds() % MULTIPLE))
}

/// Tells that the seed has been played, also when that was cut short by a panic.
struct Play<'a>(&'a World);

impl Drop for Play<'_> {
    fn drop(&mut self) {
        self.0.turns.take();
        self.0.over.notify_one();
    }
}

/// Plays the seed.
pub(super) async fn run(world: &Rc<World>, servers: UnixListener) -> Result<(), String> {
    let _play = Play(world);
    for number in 0..world.clients.len() {
        bs9_net::spawn(client::live(Rc::clone(world), number));
    }
    if world.scenario.kills {
        bs9_net::spawn(server::kill(Rc::clone(world)));
    }
    if world.scenario.orders || world.scenario.reloads {
        bs9_net::spawn(operator::operate(Rc::clone(world)));
    }
    let pulse = Pulse::new(&world.buffers).expect("a pair of sockets");
    let everyone_is_done = || world.clients.iter().all(|client| client.done.get());
    settle(world, &pulse, &servers, everyone_is_done).await;
    if world.wrong.borrow().is_none() && !everyone_is_done() {
        let left: Vec<_> = world.clients.iter().map(|client| client.asked.get()).collect();
        world.violated(format!("not everybody was served: {left:?}"));
    }
    // What is left to do is done, and nothing is kept.
    let soon = world.now() + 3000;
    settle(world, &pulse, &servers, || world.now() >= soon).await;
    for pool in world.engine.statuses() {
        let (active, waiting) = (pool.servers_active, pool.clients_waiting);
        if (pool.clients_active, active, waiting) != (0, 0, 0) {
            world.violated(format!("somebody is left: {pool:?}"));
        }
    }
    world.verdict()
}

/// Lets things happen until `done`.
async fn settle(world: &Rc<World>, pulse: &Pulse, servers: &UnixListener, done: impl Fn() -> bool) {
    let enough = QUIET_ROUNDS + if world.scenario.shards > 1 { MORE_ROUNDS } else { 0 };
    let (mut seen, mut quiet, mut jump) = (world.activity.get(), 0, LEAST_JUMP);
    let mut rounds = 0;
    while world.wrong.borrow().is_none() {
        while somebody_knocks(servers)
            && let Ok((socket, _)) = servers.accept()
        {
            socket.set_nonblocking(true).expect("an option");
            let stream = Stream::from_socket(socket.into()).expect("a socket");
            bs9_net::spawn(server::serve(Rc::clone(world), stream));
        }
        pulse.beat().await;
        if world.keeps_turn.take() {
            pulse.beat().await;
        }
        world.pass_turns();
        rounds += 1;
        if rounds > MOST_ROUNDS {
            world.violated("something goes on and on, and no time passes".into());
        }
        if world.activity.get() != seen {
            (seen, quiet, jump) = (world.activity.get(), 0, LEAST_JUMP);
            continue;
        }
        quiet += 1;
        if quiet < enough {
            continue;
        }
        world.look_around();
        if done() || world.now() > END {
            return;
        }
        (quiet, rounds) = (0, 0);
        world.pass(jump);
        jump = (jump * 2).min(MOST_JUMP);
    }
}

/// Asked first: an accept that finds nobody costs as much as one that does.
fn somebody_knocks(servers: &UnixListener) -> bool {
    let mut asked = [PollFd::new(servers, PollFlags::IN)];
    rustix::event::poll(&mut asked, Some(&Timespec::default())) == Ok(1)
}

/// A byte to oneself: when it arrives, all sockets have been looked at.
pub(super) struct Pulse {
    out: UnixStream,
    back: Stream,
    buffer: RefCell<Buffer>,
}

impl Pulse {
    pub(super) fn new(buffers: &Rc<BufferPool>) -> io::Result<Self> {
        let (out, back) = UnixStream::pair()?;
        back.set_nonblocking(true)?;
        let back = Stream::from_socket(back.into())?;
        Ok(Self { out, back, buffer: RefCell::new(buffers.take()) })
    }

    #[expect(clippy::await_holding_refcell_ref, reason = "one beat at a time")]
    pub(super) async fn beat(&self) {
        use std::io::Write as _;
        (&self.out).write_all(&[0]).expect("the pair is whole");
        let mut buffer = self.buffer.borrow_mut();
        self.back.read(&mut buffer).await.expect("the pair is whole");
        let count = buffer.len();
        buffer.consume(count);
    }
}

/// Waits.
pub(super) async fn sleep(milliseconds: u64) {
    if milliseconds > 0 {
        bs9_net::time::sleep(Duration::from_millis(milliseconds)).await;
    }
}

/// Of a seed, for one of those who act in it.
pub(super) fn dice(world: &World, stream: u64) -> Dice {
    Dice::new(world.scenario.seed, stream)
}
