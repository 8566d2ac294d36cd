//! Cancel requests: whom a key belongs to, and passing one on to the server.
//!
//! The process id that a client is told says which shard it is on and where in that shard's
//! directory it stands; the secret is random, as a server's is.

use std::{
    cell::{Cell, RefCell},
    io,
    rc::Rc,
    sync::Arc,
};

use bs9_api::types::PoolClient;
use bs9_net::BufferPool;
use bs9_wire::startup;
use tokio::sync::{Notify, oneshot};

use crate::{
    cell,
    pool::Pool,
    roster::{ClientCard, Roll},
    server::{CancelTarget, Line, LineError, Server},
    shard::{Mail, PoolShard},
    wait::{Waiter, Waits},
};

/// Bits of the process id that number the clients of one shard.
const SLOT_BITS: u32 = 21;
const SLOTS: usize = 1 << SLOT_BITS;
/// Shards that fit above them, the sign left out.
const SHARDS: usize = 1 << (31 - SLOT_BITS);
/// Bytes of a secret in protocol 3.0, and in 3.2 as servers make them.
const SHORT_SECRET: usize = 4;
const LONG_SECRET: usize = 32;

/// The clients of one shard.
pub(crate) struct Directory {
    shard: usize,
    buffers: Rc<BufferPool>,
    slots: RefCell<Slots>,
}

#[derive(Default)]
struct Slots {
    entries: Vec<Option<Rc<Registration>>>,
    free: Vec<u32>,
}

/// A client in the directory, and in line. There is one for each: think of a box for what is
/// rare.
pub(crate) struct Registration {
    secret: Secret,
    /// The server that works for it now: since then the waiter notes.
    target: Cell<Option<Arc<CancelTarget>>>,
    /// A cancel request to that server is under way, or may yet arrive.
    cancelling: Cell<Option<Rc<Cancelling>>>,
    slot: u32,
    /// An operator wants it gone.
    killed: Cell<bool>,
    card: ClientCard,
    waiter: Waiter<Box<Server>>,
}

/// What proves that a cancel request is the client's.
enum Secret {
    Short([u8; SHORT_SECRET]),
    /// Of protocol 3.2.
    Long(Box<[u8; LONG_SECRET]>),
}

/// A cancel request on its way to a server, for what one client has it run: a client that
/// goes on with another server begins anew, and the server is not held back for that one's sake.
#[derive(Default)]
pub(crate) struct Cancelling {
    /// Those who asked meanwhile for one more, while the same server works for the client.
    again: Cell<Option<Done>>,
    under_way: Cell<bool>,
    /// Nobody saw the end of one that was sent: it may hit whatever the server runs, at any time.
    is_astray: Cell<bool>,
    settled: Notify,
}

/// What became of a cancel request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Fate {
    /// The server has acted on it, or will never see it.
    Over,
    /// It may still come to the server.
    Astray,
}

/// Keeps a client in the directory.
pub(crate) struct Registered {
    directory: Rc<Directory>,
    registration: Rc<Registration>,
}

/// Dropped when requests were passed on, or came to nothing.
type Done = Vec<oneshot::Sender<()>>;

/// A cancel request on its way to the shard of the client it is for.
pub(crate) struct CancelOrder {
    slot: usize,
    secret: Box<[u8]>,
    /// Dropped when the request was passed on, or came to nothing.
    done: oneshot::Sender<()>,
}

impl Directory {
    /// `buffers`: the shard's.
    pub(crate) fn new(shard: usize, buffers: &Rc<BufferPool>) -> Rc<Self> {
        Rc::new(Self { shard, buffers: Rc::clone(buffers), slots: RefCell::default() })
    }

    /// Enters a client. `long_secret`: it speaks protocol 3.2.
    pub(crate) fn register(self: &Rc<Self>, long_secret: bool, card: ClientCard) -> Registered {
        let mut slots = self.slots.borrow_mut();
        let slot = slots.free.pop().unwrap_or_else(|| {
            slots.entries.push(None);
            u32::try_from(slots.entries.len() - 1).expect("a process has fewer descriptors")
        });
        let registration = Rc::new(Registration {
            secret: Secret::draw(long_secret),
            target: Cell::default(),
            cancelling: Cell::default(),
            slot,
            killed: Cell::new(false),
            card,
            waiter: Waiter::new(),
        });
        slots.entries[slot as usize] = Some(Rc::clone(&registration));
        Registered { directory: Rc::clone(self), registration }
    }

    /// Passes a request on, if it is for a client of this shard that a server works for.
    pub(crate) fn carry_out(&self, order: CancelOrder) {
        let found = self.slots.borrow().entries.get(order.slot).cloned().flatten();
        let Some(client) = found.filter(|client| client.knows(&order.secret)) else {
            tracing::debug!("a cancel request with a key that nobody has");
            return;
        };
        client.cancel(self, Some(order.done));
    }

    fn registrations(&self) -> Vec<Rc<Registration>> {
        self.slots.borrow().entries.iter().flatten().cloned().collect()
    }

    /// Marks the clients of these pools as to be disconnected.
    pub(crate) fn kill(&self, of: impl Fn(&Pool) -> bool) {
        for registration in self.registrations() {
            if of(&registration.card.pool) {
                registration.killed.set(true);
            }
        }
    }

    /// Adds every client to the answer.
    pub(crate) fn call_roll(&self, shard: usize, roll: &mut Roll) {
        roll.clients.extend(self.registrations().iter().map(|client| client.tell(shard)));
    }
}

impl Registration {
    fn secret(&self) -> &[u8] {
        match &self.secret {
            Secret::Short(bytes) => bytes,
            Secret::Long(bytes) => &**bytes,
        }
    }

    /// Has the server that works for it cancel what it runs. One request is under way at a time;
    /// those that come meanwhile are one more behind it: what it cancels may have ended, and
    /// something else begun.
    fn cancel(self: &Rc<Self>, directory: &Directory, done: Option<oneshot::Sender<()>>) {
        let Some(target) = kept_in(&self.target) else { return };
        let cancelling = kept_in(&self.cancelling).unwrap_or_default();
        if cancelling.under_way.replace(true) {
            let mut again = cancelling.again.take().unwrap_or_default();
            again.extend(done);
            cancelling.again.set(Some(again));
            return;
        }
        self.cancelling.set(Some(Rc::clone(&cancelling)));
        let (client, mut told) = (Rc::clone(self), Vec::from_iter(done));
        let (shard, buffers) = (directory.shard, Rc::clone(&directory.buffers));
        bs9_net::spawn(async move {
            loop {
                client.cell(shard).cancels.increment();
                if target.cancel(&buffers).await == Fate::Astray {
                    cancelling.is_astray.set(true);
                }
                told.clear();
                let Some(again) = cancelling.again.take() else { break };
                told = again;
            }
            cancelling.under_way.set(false);
            let still_linked =
                kept_in(&client.cancelling).is_some_and(|now| Rc::ptr_eq(&now, &cancelling));
            if still_linked && !cancelling.is_astray.get() {
                client.cancelling.take();
            }
            cancelling.settled.notify_waiters();
        });
    }

    /// Where its pool counts on its shard.
    fn cell(&self, shard: usize) -> &cell::Cell {
        &self.card.pool.cells[shard]
    }

    fn tell(&self, shard: usize) -> PoolClient {
        let now = bs9_net::now();
        let target = kept_in(&self.target);
        let waiting = self.waiter.is_queued();
        let since = (target.is_some() || waiting).then(|| self.waiter.since());
        let state = match (&target, waiting) {
            (Some(_), _) => "active",
            (None, true) => "waiting",
            (None, false) => "idle",
        };
        PoolClient {
            database: self.card.pool.key.database.to_string(),
            user: self.card.user.to_string(),
            pool_user: self.card.pool.key.user.to_string(),
            state: state.to_owned(),
            address: self.card.peer.to_string(),
            shard,
            connected_seconds: now.since(self.card.connected).as_secs_f64(),
            state_seconds: since.map(|since| now.since(since).as_secs_f64()),
            server_process_id: target.map(|target| target.process_id),
        }
    }

    fn knows(&self, secret: &[u8]) -> bool {
        let own = self.secret();
        // As long for a wrong first byte as for a wrong last one.
        let differing = own.iter().zip(secret).fold(0, |sum, (one, other)| sum | (one ^ other));
        own.len() == secret.len() && differing == 0
    }
}

impl Cancelling {
    /// Waits until the request is not under way any more. A server that it may hit even then is
    /// not to serve anyone else.
    pub(crate) async fn settle(&self, server: &mut Server) {
        while self.under_way.get() {
            self.settled.notified().await;
        }
        server.state.unfit |= self.is_astray.get();
    }
}

impl Waits for Registration {
    type For = Box<Server>;

    fn waiter(&self) -> &Waiter<Box<Server>> {
        &self.waiter
    }
}

impl Secret {
    fn draw(long: bool) -> Self {
        if long { Self::Long(Box::new(rand::random())) } else { Self::Short(rand::random()) }
    }
}

/// Another of what is in there, which stays.
fn kept_in<T: Clone>(place: &Cell<Option<T>>) -> Option<T> {
    let kept = place.take();
    place.set(kept.clone());
    kept
}

impl Registered {
    /// What the client is told as its process id.
    pub(crate) fn process_id(&self) -> i32 {
        let number = (self.directory.shard % SHARDS) << SLOT_BITS
            | (self.registration.slot as usize % SLOTS);
        // Never 0: some drivers take that for "none".
        (number as i32).wrapping_add(1) & i32::MAX
    }

    /// What the client is told as its secret.
    pub(crate) fn secret(&self) -> &[u8] {
        self.registration.secret()
    }

    /// A server works for the client from now on.
    #[inline]
    pub(crate) fn link(&self, target: &Arc<CancelTarget>) {
        self.registration.waiter.note_use(bs9_net::now());
        self.registration.target.set(Some(Arc::clone(target)));
    }

    /// As who it waits in line.
    #[inline]
    pub(crate) fn waits_as(&self) -> &Rc<Registration> {
        &self.registration
    }

    /// Whether an operator wants it gone.
    #[inline]
    pub(crate) fn is_killed(&self) -> bool {
        self.registration.killed.get()
    }

    /// Has the server cancel what it runs for it.
    pub(crate) fn cancel(&self) {
        self.registration.cancel(&self.directory, None);
    }

    /// It does no longer. The server must be held back until what is returned is settled with it.
    #[must_use]
    pub(crate) fn unlink(&self) -> Option<Rc<Cancelling>> {
        self.registration.target.set(None);
        let cancelling = self.registration.cancelling.take()?;
        // What it ran has ended: there is nothing more to cancel.
        cancelling.again.take();
        Some(cancelling)
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut slots = self.directory.slots.borrow_mut();
        let slot = self.registration.slot;
        slots.entries[slot as usize] = None;
        slots.free.push(slot);
    }
}

impl CancelTarget {
    /// Asks the server to cancel what it runs. Returns when the server has acted on it, or when it
    /// has taken too long.
    pub(crate) async fn cancel(&self, buffers: &Rc<BufferPool>) -> Fate {
        let fate = Cell::new(Fate::Over);
        let work = async {
            let line = match &self.encryption {
                None => Line::open(&self.address).await?,
                Some(encryption) => {
                    Line::open_encrypted(&self.address, encryption, false, buffers).await?
                }
            };
            let mut request = Vec::with_capacity(16);
            startup::cancel_request(&mut request, self.process_id, &self.secret);
            fate.set(Fate::Astray);
            line.stream.write_all(&request).await.map_err(LineError::Broke)?;
            // The server closes once the signal is sent. It says nothing before.
            let mut buffer = buffers.take();
            loop {
                match line.stream.read(&mut buffer).await {
                    Ok(0) => break,
                    Ok(_) => buffer.consume(buffer.len()),
                    // With TLS, a server may end without saying so.
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                    Err(error) => return Err(LineError::Broke(error)),
                }
            }
            fate.set(Fate::Over);
            Ok::<_, LineError>(())
        };
        match bs9_net::time::timeout(self.timeout, work).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "a cancel request could not be passed on"),
            Err(_) => tracing::warn!("a cancel request was not taken in time"),
        }
        fate.get()
    }
}

/// A client asks to cancel what another connection runs. Returns when that has been done, so
/// that closing the client's connection tells it so.
pub(crate) async fn request(home: &Rc<PoolShard>, process_id: i32, secret: &[u8]) {
    let Ok(number) = usize::try_from(process_id.wrapping_sub(1) & i32::MAX) else { return };
    let (shard, slot) = (number >> SLOT_BITS, number % SLOTS);
    let (done, wait) = oneshot::channel();
    let order = CancelOrder { slot, secret: secret.into(), done };
    if shard == home.shard.index() {
        home.directory.carry_out(order);
    } else {
        let mail = Box::new(Mail::Cancel(order));
        let _no_such_shard = home.shard.mail().send(shard, home.engine, mail);
    }
    let _done_when_dropped = wait.await;
}

#[cfg(test)]
mod tests;
