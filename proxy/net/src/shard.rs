//! A shard: one thread, its runtime, and what it owns.

use std::{
    any::Any,
    cell::{Cell, RefCell},
    collections::HashMap,
    io,
    os::fd::OwnedFd,
    rc::Rc,
    sync::{Arc, OnceLock},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot},
};

use crate::{
    BufferPool, DatagramListener, DatagramSocket, Engine, Listener, PipePool, Runtime, ShardEngine,
    SnapshotCell, Timer, Vitals, clock, runtime, time,
    timer::{Phase, Wheel},
};

mod accept;

pub(crate) use accept::Owner;

/// How often a draining shard looks whether its last connection has gone.
const DRAIN_POLL: Duration = Duration::from_millis(5);
/// Unused buffers that a shard keeps: 4 MiB at 16 KiB each.
const MAX_FREE_BUFFERS: usize = 256;

/// What the connections and the engines of one thread share.
pub struct Shard {
    index: usize,
    buffers: Rc<BufferPool>,
    pipes: Rc<PipePool>,
    wheel: Rc<Wheel>,
    snapshots: SnapshotCell,
    mail: ShardMail,
    open: Cell<usize>,
}

impl Shard {
    /// Its number, from 0.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Its buffers.
    pub fn buffers(&self) -> &Rc<BufferPool> {
        &self.buffers
    }

    /// Its pipes.
    pub fn pipes(&self) -> &Rc<PipePool> {
        &self.pipes
    }

    /// A new timer; unset.
    pub fn timer(&self) -> Timer {
        Timer::new(&self.wheel)
    }

    /// Where the snapshot in force is found.
    pub fn snapshots(&self) -> &SnapshotCell {
        &self.snapshots
    }

    /// The way to the other shards.
    pub fn mail(&self) -> &ShardMail {
        &self.mail
    }

    /// Whether it takes nothing new and waits for what is open.
    pub fn is_draining(&self) -> bool {
        self.wheel.phase() != Phase::Serving
    }

    /// Has every idle wait ask again whether it is still wanted
    /// ([`Timer::guard_idle_while`]).
    pub fn look_again(&self) {
        self.wheel.wake_all();
    }

    /// Keeps the shard from ending a drain until the guard is dropped. Accepted
    /// connections hold one; so must work that outlives its connection.
    pub fn keep_open(self: &Rc<Self>) -> OpenGuard {
        self.open.set(self.open.get() + 1);
        OpenGuard(Rc::clone(self))
    }
}

/// See [`Shard::keep_open`].
pub struct OpenGuard(Rc<Shard>);

impl Drop for OpenGuard {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
    }
}

/// Sends messages between the shards of one engine: a connection handed over, a
/// client that starves. Rare by design.
#[derive(Clone)]
pub struct ShardMail {
    /// Filled in once every shard runs.
    boxes: Arc<OnceLock<Vec<mpsc::UnboundedSender<Command>>>>,
}

impl ShardMail {
    pub(crate) fn new() -> Self {
        Self { boxes: Arc::new(OnceLock::new()) }
    }

    pub(crate) fn open(&self, boxes: Vec<mpsc::UnboundedSender<Command>>) {
        let _opened_once = self.boxes.set(boxes);
    }

    /// How many shards there are.
    pub fn shards(&self) -> usize {
        self.boxes.get().map_or(0, Vec::len)
    }

    /// Hands `message` to engine number `engine` on `shard`.
    ///
    /// # Errors
    /// Gives the message back when that shard has ended.
    pub fn send(
        &self,
        shard: usize,
        engine: usize,
        message: Box<dyn Any + Send>,
    ) -> Result<(), Box<dyn Any + Send>> {
        let Some(sender) = self.boxes.get().and_then(|boxes| boxes.get(shard)) else {
            return Err(message);
        };
        sender.send(Command::Mail { engine, message }).map_err(|refused| match refused.0 {
            Command::Mail { message, .. } => message,
            _ => unreachable!("what comes back is what was sent"),
        })
    }
}

/// What the control thread, or another shard, asks of a shard.
pub(crate) enum Command {
    /// Accept from these sockets.
    Listen(Vec<(SocketKey, Arc<Listener>, OpenSocket)>),
    /// What these sockets accept belongs to other listeners from now on.
    Assign(Vec<(SocketKey, Arc<Listener>)>),
    /// Accept what is queued, then close these sockets.
    Unlisten(Vec<SocketKey>),
    /// Look at the snapshot in force; answer when done.
    SnapshotChanged(oneshot::Sender<()>),
    /// Answer, to show that the loop turns.
    Turn(oneshot::Sender<()>),
    /// Stop accepting, finish what is open, by the deadline.
    Drain {
        deadline: Duration,
    },
    Mail {
        engine: usize,
        message: Box<dyn Any + Send>,
    },
}

/// A bound socket on its way to a shard.
pub(crate) enum OpenSocket {
    /// Connections are accepted from it.
    Connections(OwnedFd),
    /// It is sent to.
    Datagrams(OwnedFd),
}

/// One listening socket of a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SocketKey(pub(crate) u64);

/// A shard's thread, from outside.
pub(crate) struct ShardHandle {
    pub(crate) commands: mpsc::UnboundedSender<Command>,
    pub(crate) core: Option<usize>,
    pub(crate) vitals: Vitals,
    /// Tells when the thread has ended.
    pub(crate) ended: Option<oneshot::Receiver<()>>,
}

pub(crate) struct ShardPlan {
    pub(crate) index: usize,
    pub(crate) core: Option<usize>,
    pub(crate) buffer_bytes: usize,
    /// The longest that events may gather before a turn.
    pub(crate) coalesce: Duration,
    pub(crate) snapshots: SnapshotCell,
    pub(crate) mail: ShardMail,
    pub(crate) engines: Arc<[Arc<dyn Engine>]>,
    pub(crate) control: Handle,
    pub(crate) vitals: Vitals,
}

pub(crate) fn spawn(plan: ShardPlan) -> io::Result<ShardHandle> {
    let (commands, inbox) = mpsc::unbounded_channel();
    let (ended_sender, ended) = oneshot::channel();
    let (core, vitals) = (plan.core, plan.vitals.clone());
    std::thread::Builder::new().name(format!("bs9-shard-{}", plan.index)).spawn(move || {
        run(plan, inbox);
        let _nobody_waits = ended_sender.send(());
    })?;
    Ok(ShardHandle { commands, core, vitals, ended: Some(ended) })
}

fn pin(core: usize) {
    let mut set = rustix::thread::CpuSet::new();
    set.set(core);
    if let Err(error) = rustix::thread::sched_setaffinity(None, &set) {
        tracing::warn!(core, %error, "a shard could not be pinned to its core");
    }
}

fn run(plan: ShardPlan, inbox: mpsc::UnboundedReceiver<Command>) {
    if let Some(core) = plan.core {
        pin(core);
    }
    // What blocks (names, key derivation) is done by the control thread's runtime.
    let _reachable = plan.control.enter();
    plan.vitals.begin();
    let runtime = Runtime::with_pulse(Arc::clone(plan.vitals.pulse()))
        .expect("without a poll, which is a descriptor, no shard can work");
    runtime::coalesce::set_longest(plan.coalesce);
    runtime.block_on(async move {
        let shard = Rc::new(Shard {
            index: plan.index,
            buffers: BufferPool::new(plan.buffer_bytes, MAX_FREE_BUFFERS),
            pipes: PipePool::new(),
            wheel: runtime::current_wheel(),
            snapshots: plan.snapshots,
            mail: plan.mail,
            open: Cell::new(0),
        });
        let engines = plan
            .engines
            .iter()
            .enumerate()
            .map(|(number, engine)| engine.start_shard(&shard, number))
            .collect();
        let listening = RefCell::new(HashMap::new());
        Loop { shard, engines, listening }.run(inbox).await;
    });
}

struct Loop {
    shard: Rc<Shard>,
    engines: Vec<Rc<dyn ShardEngine>>,
    /// The service manager may have made several sockets of an address for one shard.
    listening: RefCell<HashMap<SocketKey, Vec<Listening>>>,
}

/// Hands a socket of datagrams to its engine.
fn receive(owner: Rc<RefCell<Owner>>, socket: OwnedFd, stopped: oneshot::Receiver<()>) {
    let socket = match DatagramSocket::from_socket(socket) {
        Ok(socket) => Rc::new(socket),
        Err(error) => {
            let listener = &*owner.borrow().listener.name;
            tracing::error!(listener, %error, "a socket of datagrams could not be polled");
            return;
        }
    };
    let engine = Rc::clone(&owner.borrow().engine);
    engine.receive(DatagramListener { socket, owner, stopped });
}

struct Listening {
    owner: Rc<RefCell<Owner>>,
    stop: oneshot::Sender<()>,
    /// Of those that accept; the others end by themselves.
    ended: Option<oneshot::Receiver<()>>,
}

impl Loop {
    async fn run(self, mut inbox: mpsc::UnboundedReceiver<Command>) {
        while let Some(command) = inbox.recv().await {
            match command {
                Command::Listen(sockets) => self.listen(sockets),
                Command::Assign(sockets) => self.assign(sockets),
                Command::Unlisten(keys) => self.unlisten(keys).await,
                Command::SnapshotChanged(done) => {
                    for engine in &self.engines {
                        engine.snapshot_changed();
                    }
                    let _nobody_waits = done.send(());
                }
                Command::Turn(done) => {
                    let _nobody_waits = done.send(());
                }
                Command::Mail { engine, message } => self.engines[engine].mail(message),
                Command::Drain { deadline } => {
                    self.drain(deadline, inbox).await;
                    return;
                }
            }
        }
    }

    fn listen(&self, sockets: Vec<(SocketKey, Arc<Listener>, OpenSocket)>) {
        for (key, listener, socket) in sockets {
            let owner = Rc::new(RefCell::new(self.owner(listener)));
            let (stop, stopped) = oneshot::channel();
            let ended = match socket {
                OpenSocket::Connections(socket) => {
                    Some(self.accept(Rc::clone(&owner), socket, stopped))
                }
                OpenSocket::Datagrams(socket) => {
                    receive(Rc::clone(&owner), socket, stopped);
                    None
                }
            };
            let mut listening = self.listening.borrow_mut();
            listening.entry(key).or_default().push(Listening { owner, stop, ended });
        }
    }

    fn accept(
        &self,
        owner: Rc<RefCell<Owner>>,
        socket: OwnedFd,
        stopped: oneshot::Receiver<()>,
    ) -> oneshot::Receiver<()> {
        let accepting = accept::run(Rc::clone(&self.shard), owner, socket, stopped);
        let (ending, ended) = oneshot::channel();
        runtime::spawn(async move {
            accepting.await;
            drop(ending);
        });
        ended
    }

    fn assign(&self, sockets: Vec<(SocketKey, Arc<Listener>)>) {
        let listening = self.listening.borrow();
        for (key, listener) in sockets {
            for found in listening.get(&key).into_iter().flatten() {
                *found.owner.borrow_mut() = self.owner(Arc::clone(&listener));
            }
        }
    }

    fn owner(&self, listener: Arc<Listener>) -> Owner {
        Owner { engine: Rc::clone(&self.engines[listener.engine]), listener }
    }

    async fn unlisten(&self, keys: Vec<SocketKey>) {
        for key in keys {
            let found = self.listening.borrow_mut().remove(&key);
            for Listening { stop, ended, .. } in found.into_iter().flatten() {
                let _ended_already = stop.send(());
                if let Some(ended) = ended {
                    let _nothing_is_sent = ended.await;
                }
            }
        }
    }

    async fn drain(&self, deadline: Duration, mut inbox: mpsc::UnboundedReceiver<Command>) {
        // Sockets of datagrams stay: the sessions on them have no others to be answered from.
        let accepts = |(key, listening): (&SocketKey, &Vec<Listening>)| {
            listening.iter().any(|one| one.ended.is_some()).then_some(*key)
        };
        let keys: Vec<_> = self.listening.borrow().iter().filter_map(accepts).collect();
        self.unlisten(keys).await;
        self.shard.wheel.enter(Phase::Draining);
        for engine in &self.engines {
            engine.drain();
        }
        let until = clock::refresh().plus(deadline);
        while self.shard.open.get() > 0 && clock::refresh() < until {
            // Handovers go on: a client of this shard may wait for another one's server.
            match time::timeout(DRAIN_POLL, inbox.recv()).await {
                Ok(Some(Command::Mail { engine, message })) => self.engines[engine].mail(message),
                Ok(Some(Command::SnapshotChanged(done))) => drop(done),
                Ok(Some(Command::Turn(done))) => {
                    let _nobody_waits = done.send(());
                }
                Ok(Some(_)) | Err(_) => {}
                Ok(None) => time::sleep(DRAIN_POLL).await,
            }
        }
        let left = self.shard.open.get();
        if left > 0 {
            tracing::warn!(
                shard = self.shard.index,
                connections = left,
                "the drain's deadline passed: closing what is still open"
            );
            self.shard.wheel.enter(Phase::Aborting);
            // Tasks see it when they are next polled; one turn each is enough to close.
            let until = clock::refresh().plus(Duration::from_secs(1));
            while self.shard.open.get() > 0 && clock::refresh() < until {
                time::sleep(DRAIN_POLL).await;
            }
        }
    }
}
