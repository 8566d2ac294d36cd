//! Who is there: the clients and servers of a shard, for those who ask.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
};

use bs9_api::types::{PoolClient, PoolServer};
use bs9_config::ServerAddress;
use bs9_net::{CoarseInstant, PeerAddress};
use tokio::sync::mpsc;

use crate::{cell::Place, pool::Pool};

/// A server connection, as far as it is told.
pub(crate) struct ServerCard {
    pub(crate) place: Cell<Place>,
    process_id: Cell<i32>,
    connected: CoarseInstant,
    used: Cell<CoarseInstant>,
}

/// The server connections of a pool on a shard.
#[derive(Default)]
pub(crate) struct ServerRoll {
    cards: RefCell<Vec<Rc<ServerCard>>>,
}

/// A client, as far as it is told.
pub(crate) struct ClientCard {
    pub(crate) user: Arc<str>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) peer: PeerAddress,
    pub(crate) connected: CoarseInstant,
}

/// What a shard answers when it is asked who is there.
#[derive(Default)]
pub(crate) struct Roll {
    pub(crate) clients: Vec<PoolClient>,
    pub(crate) servers: Vec<PoolServer>,
}

/// Where a server listens, for people.
pub(crate) fn place_of(address: &ServerAddress) -> String {
    match address {
        ServerAddress::Tcp { host, port } if host.contains(':') => format!("[{host}]:{port}"),
        ServerAddress::Tcp { host, port } => format!("{host}:{port}"),
        ServerAddress::Unix(path) => format!("unix:{}", path.display()),
    }
}

/// The question.
pub(crate) struct RollCall {
    pub(crate) answer: mpsc::UnboundedSender<Roll>,
}

impl ServerCard {
    pub(crate) fn new(place: Place) -> Rc<Self> {
        let now = bs9_net::now();
        Rc::new(Self {
            place: Cell::new(place),
            process_id: Cell::new(0),
            connected: now,
            used: Cell::new(now),
        })
    }

    /// The login has told it.
    pub(crate) fn note_process(&self, process_id: i32) {
        self.process_id.set(process_id);
    }

    /// A client was given it.
    pub(crate) fn note_use(&self) {
        self.used.set(bs9_net::now());
    }
}

impl ServerRoll {
    pub(crate) fn enter(&self, card: &Rc<ServerCard>) {
        self.cards.borrow_mut().push(Rc::clone(card));
    }

    pub(crate) fn leave(&self, card: &Rc<ServerCard>) {
        let mut cards = self.cards.borrow_mut();
        if let Some(at) = cards.iter().position(|known| Rc::ptr_eq(known, card)) {
            cards.swap_remove(at);
        }
    }

    /// Adds everyone to the answer.
    pub(crate) fn call(&self, pool: &Pool, shard: usize, roll: &mut Roll) {
        let now = bs9_net::now();
        let plan = pool.plan.load();
        for card in &*self.cards.borrow() {
            roll.servers.push(PoolServer {
                database: pool.key.database.to_string(),
                user: pool.key.user.to_string(),
                state: card.place.get().name().to_owned(),
                address: place_of(&plan.target.address),
                process_id: card.process_id.get(),
                shard: Some(shard),
                connected_seconds: now.since(card.connected).as_secs_f64(),
                used_seconds: now.since(card.used.get()).as_secs_f64(),
            });
        }
    }
}
