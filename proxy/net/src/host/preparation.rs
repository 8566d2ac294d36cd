//! What a reload, or the start, prepares beside the snapshot in force: nothing here is
//! seen by anybody until it is put in force, and a failure leaves no trace.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, atomic::AtomicUsize},
};

use arc_swap::ArcSwapOption;
use bs9_config::{BindAddress, Config, Generation};

use super::Held;
use crate::{
    CompileContext, CompileError, Engine, Inherited, Listener, ListenerId, PerShard, PrepareError,
    Snapshot,
    listener::ProcessLimit,
    socket::{self, BoundAddress, is_udp},
    tls::ServerTls,
};

/// Everything the next snapshot is prepared from.
pub(super) struct Preparation<'a> {
    pub(super) engines: &'a [Arc<dyn Engine>],
    pub(super) shards: usize,
    pub(super) process: &'a Arc<ProcessLimit>,
    pub(super) previous: Option<&'a Arc<Snapshot>>,
    pub(super) listeners: &'a BTreeMap<Arc<str>, Arc<Listener>>,
    pub(super) addresses: &'a HashMap<(Arc<str>, BindAddress), Held>,
    pub(super) next_listener: u32,
    pub(super) inherited: &'a Inherited,
}

/// What has been prepared beside the snapshot in force.
pub(super) struct Prepared {
    pub(super) snapshot: Snapshot,
    pub(super) listeners: BTreeMap<Arc<str>, Arc<Listener>>,
    /// In the order of `listeners`.
    pub(super) tls: Vec<Option<Arc<ServerTls>>>,
    pub(super) opened: Vec<Opened>,
    pub(super) adopted: Vec<Adopted>,
    pub(super) next_listener: u32,
}

/// An address that was bound, and whose.
pub(super) struct Opened {
    pub(super) listener: Arc<Listener>,
    /// As configured.
    pub(super) address: BindAddress,
    pub(super) bound: BoundAddress,
    /// For datagrams, not connections.
    pub(super) udp: bool,
}

/// An address that passes from one listener to another, sockets and all, so that no client
/// notices.
pub(super) struct Adopted {
    pub(super) by: Arc<Listener>,
    pub(super) address: BindAddress,
    /// The name of the listener that has it now.
    pub(super) from: Arc<str>,
}

impl Preparation<'_> {
    pub(super) fn prepare(
        mut self,
        config: &Arc<Config>,
        generation: Generation,
    ) -> Result<Prepared, PrepareError> {
        let listeners = self.listeners(config)?;
        let ordered: Vec<_> = listeners.values().cloned().collect();
        let compile = |(number, engine): (usize, &Arc<dyn Engine>)| {
            engine.compile(&CompileContext {
                config,
                generation,
                previous: self.previous.map(|snapshot| &snapshot.parts[number]),
                shards: self.shards,
                listeners: &ordered,
            })
        };
        let parts = self.engines.iter().enumerate().map(compile).collect::<Result<_, _>>()?;
        let tls = Self::tls(config, &listeners)?;
        let (opened, adopted) = self.addresses(config, &listeners)?;
        let snapshot = Snapshot { generation, config: Arc::clone(config), parts };
        let next_listener = self.next_listener;
        Ok(Prepared { snapshot, listeners, tls, opened, adopted, next_listener })
    }

    /// What each listener shakes hands with; in the order of `listeners`.
    fn tls(
        config: &Config,
        listeners: &BTreeMap<Arc<str>, Arc<Listener>>,
    ) -> Result<Vec<Option<Arc<ServerTls>>>, CompileError> {
        let compile = |listener: &Arc<Listener>| {
            let wanted = config.listeners[&listener.name].tls.as_ref();
            let previous = listener.tls.load_full();
            let compiled = wanted.map(|wanted| ServerTls::compile(wanted, previous.as_ref()));
            compiled.transpose().map_err(|error| CompileError {
                key: format!("listeners.{}.tls", listener.name),
                message: error.to_string(),
            })
        };
        listeners.values().map(compile).collect()
    }

    /// Listeners that were there keep their number and counters. One that has another name
    /// now, but an address of one that is gone, keeps the number: open connections go on.
    fn listeners(
        &mut self,
        config: &Config,
    ) -> Result<BTreeMap<Arc<str>, Arc<Listener>>, PrepareError> {
        let mut listeners = BTreeMap::new();
        let mut renamed = Vec::new();
        for wanted in config.listeners.values() {
            let Some(engine) = self.engines.iter().position(|one| one.serves(&wanted.protocol))
            else {
                return Err(PrepareError::NoEngine {
                    listener: wanted.name.to_string(),
                    protocol: wanted.protocol.name(),
                });
            };
            let known = self.listeners.get(&wanted.name).filter(|known| known.engine == engine);
            match known {
                Some(known) => listeners.insert(Arc::clone(&wanted.name), Arc::clone(known)),
                None => {
                    renamed.push((wanted, engine));
                    None
                }
            };
        }
        let mut taken: BTreeSet<_> = listeners.values().map(|listener| listener.id).collect();
        for (wanted, engine) in renamed {
            let heritage = wanted
                .bind
                .iter()
                .filter_map(|address| self.listeners.get(self.holder(address, is_udp(wanted))?))
                .find(|old| old.engine == engine && !taken.contains(&old.id))
                .map(|old| old.id);
            let id = heritage.unwrap_or_else(|| self.next_id());
            taken.insert(id);
            listeners.insert(Arc::clone(&wanted.name), self.new_listener(id, &wanted.name, engine));
        }
        Ok(listeners)
    }

    fn next_id(&mut self) -> ListenerId {
        let id = ListenerId(self.next_listener);
        self.next_listener += 1;
        id
    }

    fn new_listener(&self, id: ListenerId, name: &Arc<str>, engine: usize) -> Arc<Listener> {
        Arc::new(Listener {
            id,
            name: Arc::clone(name),
            engine,
            cells: PerShard::new(self.shards),
            limit: AtomicUsize::new(usize::MAX),
            open: AtomicUsize::new(0),
            process: Arc::clone(self.process),
            tls: ArcSwapOption::empty(),
            gate: ArcSwapOption::empty(),
        })
    }

    /// The listener that has an address now. Port 0 is another address each time.
    fn holder(&self, address: &BindAddress, udp: bool) -> Option<&Arc<str>> {
        if matches!(address, BindAddress::Tcp(tcp) if tcp.port() == 0) {
            return None;
        }
        let found =
            self.addresses.iter().find(|((_, bind), held)| bind == address && held.udp == udp);
        found.map(|((name, _), _)| name)
    }

    /// What has to be bound, and what passes from one listener to another.
    fn addresses(
        &self,
        config: &Config,
        listeners: &BTreeMap<Arc<str>, Arc<Listener>>,
    ) -> Result<(Vec<Opened>, Vec<Adopted>), PrepareError> {
        let (mut opened, mut adopted) = (Vec::new(), Vec::new());
        for wanted in config.listeners.values() {
            let listener = &listeners[&wanted.name];
            let udp = is_udp(wanted);
            let kept =
                self.listeners.get(&wanted.name).is_some_and(|old| Arc::ptr_eq(old, listener));
            for address in &wanted.bind {
                let key = (Arc::clone(&wanted.name), address.clone());
                let held = self.addresses.get(&key).is_some_and(|held| held.udp == udp);
                if held && kept {
                    continue;
                }
                let holder = if held { Some(&wanted.name) } else { self.holder(address, udp) };
                let (listener, address) = (Arc::clone(listener), address.clone());
                match holder {
                    Some(from) => {
                        adopted.push(Adopted { by: listener, address, from: Arc::clone(from) });
                    }
                    None => {
                        let bound = socket::bind(wanted, &address, self.shards, self.inherited)?;
                        opened.push(Opened { listener, address, bound, udp });
                    }
                }
            }
        }
        Ok((opened, adopted))
    }
}
