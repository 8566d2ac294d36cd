//! The host: starts the shards, puts snapshots in force, drains.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use arc_swap::ArcSwap;
use bs9_config::{BindAddress, Config, Generation, Shards};
use tokio::{runtime::Handle, sync::oneshot, task::spawn_local};

use crate::{
    ControlContext, Engine, Gate, Inherited, Listener, ReloadError, SnapshotCell, StartError,
    Vitals,
    listener::ProcessLimit,
    shard::{self, Command, OpenSocket, ShardHandle, ShardMail, ShardPlan, SocketKey},
    socket::SocketFile,
    tls::ServerTls,
};

mod preparation;

use preparation::{Adopted, Opened, Preparation};

/// The running data plane. Lives on the control thread, inside its local runtime.
pub struct Host {
    engines: Arc<[Arc<dyn Engine>]>,
    shards: Vec<ShardHandle>,
    snapshots: SnapshotCell,
    listeners: BTreeMap<Arc<str>, Arc<Listener>>,
    addresses: HashMap<(Arc<str>, BindAddress), Held>,
    process: Arc<ProcessLimit>,
    next_listener: u32,
    next_socket: u64,
    inherited: Inherited,
    draining: bool,
}

/// An address in use, after its sockets went to the shards.
struct Held {
    actual: BindAddress,
    key: SocketKey,
    /// For datagrams, not connections.
    udp: bool,
    /// Removed from the file system when the address is given up.
    _file: Option<SocketFile>,
}

/// What a reload touched, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReloadSummary {
    /// The generation now in force.
    pub generation: Generation,
    /// Addresses opened.
    pub opened: Vec<String>,
    /// Addresses closed.
    pub closed: Vec<String>,
}

/// A listener, for status answers.
#[derive(Debug, Clone)]
pub struct ListenerReport {
    /// Its number and counters.
    pub listener: Arc<Listener>,
    /// `http`, `tcp`, `udp` or `postgres`.
    pub protocol: &'static str,
    /// Where it really listens.
    pub addresses: Vec<BindAddress>,
}

/// A shard, for status answers.
#[derive(Debug, Clone)]
pub struct ShardReport {
    /// From 0.
    pub shard: usize,
    /// The core it is pinned to.
    pub core: Option<usize>,
    /// Client connections open now.
    pub open_connections: u64,
    /// Client connections accepted since the start.
    pub accepted_connections: u64,
    /// Whether it goes on, now and whenever it is looked at.
    pub vitals: Vitals,
}

impl Host {
    /// Binds every address, compiles the first snapshot and starts the shards.
    /// Must run inside the control thread's local runtime.
    ///
    /// # Errors
    /// When an address cannot be had or an engine refuses; nothing runs then.
    pub fn start(config: Arc<Config>, engines: Vec<Arc<dyn Engine>>) -> Result<Self, StartError> {
        Self::start_with(config, engines, Inherited::default())
    }

    /// The same, where addresses that the service manager listens on are not bound again.
    ///
    /// # Errors
    /// Those of [`start`](Self::start).
    pub fn start_with(
        config: Arc<Config>,
        engines: Vec<Arc<dyn Engine>>,
        inherited: Inherited,
    ) -> Result<Self, StartError> {
        let engines: Arc<[Arc<dyn Engine>]> = engines.into();
        let cores = allowed_cores();
        let count = match config.runtime.shards {
            Shards::Auto => cores.len().max(1),
            Shards::Count(count) => count.get(),
        };
        let process = Arc::new(ProcessLimit::default());
        let prepared = Preparation {
            engines: &engines,
            shards: count,
            process: &process,
            previous: None,
            listeners: &BTreeMap::new(),
            addresses: &HashMap::new(),
            next_listener: 0,
            inherited: &inherited,
        }
        .prepare(&config, Generation(1))?;
        let snapshots: SnapshotCell = Arc::new(ArcSwap::from_pointee(prepared.snapshot));
        let pinned = config.runtime.pin && cores.len() >= count;
        let mail = ShardMail::new();
        let shards = (0..count)
            .map(|index| {
                shard::spawn(ShardPlan {
                    index,
                    core: pinned.then(|| cores[index]),
                    buffer_bytes: config.runtime.buffer_bytes,
                    coalesce: config.runtime.coalesce,
                    snapshots: Arc::clone(&snapshots),
                    mail: mail.clone(),
                    engines: Arc::clone(&engines),
                    control: Handle::current(),
                    vitals: Vitals::default(),
                })
            })
            .collect::<Result<Vec<_>, _>>()
            .map_err(StartError::Shard)?;
        for (number, shard) in shards.iter().enumerate() {
            spawn_local(shard.vitals.clone().watch(number, shard.commands.clone()));
        }
        mail.open(shards.iter().map(|shard| shard.commands.clone()).collect());
        let mut host = Self {
            engines,
            shards,
            snapshots,
            listeners: prepared.listeners,
            addresses: HashMap::new(),
            process,
            next_listener: prepared.next_listener,
            next_socket: 0,
            inherited,
            draining: false,
        };
        host.apply_tls(prepared.tls);
        host.apply_limits(&config);
        for (number, engine) in host.engines.iter().enumerate() {
            engine.start_control(&host.control_context(number));
        }
        host.tell_engines();
        host.hand_out(prepared.opened);
        host.warn_of_unserved();
        Ok(host)
    }

    /// Where the snapshot in force is found.
    pub fn snapshots(&self) -> &SnapshotCell {
        &self.snapshots
    }

    /// Puts `config` in force, or changes nothing. What it leaves as it was
    /// (addresses, clusters, connections) is not touched. Returns when every shard
    /// works by it.
    ///
    /// # Errors
    /// When an address cannot be had or an engine refuses.
    pub async fn reload(&mut self, config: Arc<Config>) -> Result<ReloadSummary, ReloadError> {
        if self.draining {
            return Err(ReloadError::Draining);
        }
        let current = self.snapshots.load_full();
        let generation = Generation(current.generation.0 + 1);
        let prepared = Preparation {
            engines: &self.engines,
            shards: self.shards.len(),
            process: &self.process,
            previous: Some(&current),
            listeners: &self.listeners,
            addresses: &self.addresses,
            next_listener: self.next_listener,
            inherited: &self.inherited,
        }
        .prepare(&config, generation)?;
        self.next_listener = prepared.next_listener;
        self.listeners = prepared.listeners;
        self.snapshots.store(Arc::new(prepared.snapshot));
        self.apply_tls(prepared.tls);
        self.apply_limits(&config);
        self.tell_engines();
        self.wait_for_shards().await;
        self.hand_over(prepared.adopted);
        let opened = prepared.opened.iter().map(|opened| opened.bound.actual.to_string()).collect();
        self.hand_out(prepared.opened);
        let closed = self.close_unwanted(&config);
        if !closed.is_empty() {
            self.warn_of_unserved();
        }
        Ok(ReloadSummary { generation, opened, closed })
    }

    /// Resolves when every shard has taken a turn of its loop; false when one has ended.
    pub fn turn_of_every_shard(&self) -> impl Future<Output = bool> + 'static {
        let turns: Vec<_> = self
            .shards
            .iter()
            .map(|shard| {
                let (done, turn) = oneshot::channel();
                let _ended_already = shard.commands.send(Command::Turn(done));
                turn
            })
            .collect();
        async move {
            for turn in turns {
                if turn.await.is_err() {
                    return false;
                }
            }
            true
        }
    }

    /// Stops accepting, lets what is open finish until `deadline` has passed, then
    /// closes the rest. Returns when every shard has ended.
    pub async fn drain(&mut self, deadline: Duration) {
        self.draining = true;
        for shard in &self.shards {
            let _ended_already = shard.commands.send(Command::Drain { deadline });
        }
        for shard in &mut self.shards {
            if let Some(ended) = shard.ended.take() {
                let _ended_or_panicked = ended.await;
            }
        }
        self.addresses.clear();
    }

    /// Whether [`drain`](Self::drain) has begun.
    pub fn is_draining(&self) -> bool {
        self.draining
    }

    /// The listeners of the snapshot in force, in name order.
    pub fn listener_reports(&self) -> Vec<ListenerReport> {
        let snapshot = self.snapshots.load();
        let config = &snapshot.config;
        self.listeners
            .values()
            .map(|listener| {
                let wanted = &config.listeners[&listener.name];
                let held = |bind: &BindAddress| {
                    let key = (Arc::clone(&listener.name), bind.clone());
                    self.addresses.get(&key).map(|held| held.actual.clone())
                };
                ListenerReport {
                    listener: Arc::clone(listener),
                    protocol: wanted.protocol.name(),
                    addresses: wanted.bind.iter().filter_map(held).collect(),
                }
            })
            .collect()
    }

    /// The shards, in order.
    pub fn shard_reports(&self) -> Vec<ShardReport> {
        let report = |(shard, handle): (usize, &ShardHandle)| ShardReport {
            shard,
            core: handle.core,
            open_connections: self.listeners.values().map(|l| l.cells[shard].open.get()).sum(),
            accepted_connections: self
                .listeners
                .values()
                .map(|l| l.cells[shard].accepted.get())
                .sum(),
            vitals: handle.vitals.clone(),
        };
        self.shards.iter().enumerate().map(report).collect()
    }

    fn control_context(&self, engine: usize) -> ControlContext {
        ControlContext { engine, snapshots: Arc::clone(&self.snapshots) }
    }

    fn tell_engines(&self) {
        let snapshot = self.snapshots.load_full();
        for (number, engine) in self.engines.iter().enumerate() {
            engine.snapshot_changed(&self.control_context(number), &snapshot);
        }
    }

    async fn wait_for_shards(&self) {
        let mut waits = Vec::with_capacity(self.shards.len());
        for shard in &self.shards {
            let (done, wait) = oneshot::channel();
            let _ended_already = shard.commands.send(Command::SnapshotChanged(done));
            waits.push(wait);
        }
        for wait in waits {
            let _ended_already = wait.await;
        }
    }

    /// What is accepted from now on shakes hands by these; in the order of the listeners.
    fn apply_tls(&self, tls: Vec<Option<Arc<ServerTls>>>) {
        for (listener, tls) in self.listeners.values().zip(tls) {
            listener.tls.store(tls);
        }
    }

    fn apply_limits(&self, config: &Config) {
        self.process.limit.store(config.runtime.max_connections, Relaxed);
        for listener in self.listeners.values() {
            let limit = config.listeners[&listener.name].max_connections.unwrap_or(usize::MAX);
            listener.limit.store(limit, Relaxed);
            let gate = Gate::compile(&config.listeners[&listener.name].admission);
            listener.gate.store(gate.map(Arc::new));
        }
    }

    /// Gives each shard its socket of every address just bound.
    fn hand_out(&mut self, opened: Vec<Opened>) {
        let mut replaced = Vec::new();
        let mut for_shards: Vec<Vec<_>> = self.shards.iter().map(|_| Vec::new()).collect();
        for Opened { listener, address, bound, udp } in opened {
            let key = SocketKey(self.next_socket);
            self.next_socket += 1;
            for (number, socket) in bound.sockets.into_iter().enumerate() {
                let shard = &mut for_shards[number % self.shards.len()];
                let socket = match udp {
                    true => OpenSocket::Datagrams(socket),
                    false => OpenSocket::Connections(socket),
                };
                shard.push((key, Arc::clone(&listener), socket));
            }
            let held = Held { actual: bound.actual, key, udp, _file: bound.file };
            // A listener may have the same address for something else now.
            let before = self.addresses.insert((Arc::clone(&listener.name), address), held);
            replaced.extend(before.map(|held| held.key));
        }
        self.unlisten(replaced);
        for (shard, sockets) in self.shards.iter().zip(for_shards) {
            let _ended_already = shard.commands.send(Command::Listen(sockets));
        }
    }

    /// Tells the shards whose the connections on adopted addresses are from now on.
    fn hand_over(&mut self, adopted: Vec<Adopted>) {
        // All of them leave before the first one arrives: two listeners may have swapped.
        let moved: Vec<_> = adopted
            .into_iter()
            .filter_map(|Adopted { by, address, from }| {
                let held = self.addresses.remove(&(from, address.clone()))?;
                Some((by, address, held))
            })
            .collect();
        let assigned: Vec<_> =
            moved.iter().map(|(by, _, held)| (held.key, Arc::clone(by))).collect();
        for shard in self.shards.iter().filter(|_| !assigned.is_empty()) {
            let _ended_already = shard.commands.send(Command::Assign(assigned.clone()));
        }
        let moved = moved.into_iter().map(|(by, address, held)| {
            let key = (Arc::clone(&by.name), address);
            (key, held)
        });
        self.addresses.extend(moved);
    }

    fn close_unwanted(&mut self, config: &Config) -> Vec<String> {
        let wanted: BTreeSet<_> = config
            .listeners
            .values()
            .flat_map(|listener| listener.bind.iter().map(|bind| (&listener.name, bind)))
            .collect();
        let mut closed = Vec::new();
        let mut keys = Vec::new();
        self.addresses.retain(|(name, bind), held| {
            let keep = wanted.contains(&(name, bind));
            if !keep {
                closed.push(held.actual.to_string());
                keys.push(held.key);
            }
            keep
        });
        self.unlisten(keys);
        closed
    }

    /// Whoever connects to an address that only the service manager listens on waits for nobody.
    fn warn_of_unserved(&self) {
        for (address, datagrams) in self.inherited.addresses() {
            let served = self
                .addresses
                .iter()
                .any(|((_, bind), held)| bind == address && held.udp == datagrams);
            if !served {
                tracing::warn!(
                    %address,
                    "systemd listens on an address that no listener serves; `bs9 install` brings \
                     its sockets up to the configuration"
                );
            }
        }
    }

    fn unlisten(&self, keys: Vec<SocketKey>) {
        for shard in self.shards.iter().filter(|_| !keys.is_empty()) {
            let _ended_already = shard.commands.send(Command::Unlisten(keys.clone()));
        }
    }
}

/// The cores this process may run on.
fn allowed_cores() -> Vec<usize> {
    match rustix::thread::sched_getaffinity(None) {
        Ok(set) => (0..rustix::thread::CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect(),
        Err(_) => (0..std::thread::available_parallelism().map_or(1, usize::from)).collect(),
    }
}
