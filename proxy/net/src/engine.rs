//! What speaks a protocol, seen from below.

use std::{
    any::Any,
    cell::RefCell,
    future::Future,
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
};

use bs9_config::{Config, Generation, ListenerProtocol};
use thiserror::Error;
use tokio::sync::oneshot;

use crate::{
    ConnectionSlot, DatagramSocket, Listener, OpenGuard, PeerAddress, Shard, Snapshot,
    SnapshotCell, Transport, shard::Owner,
};

/// A protocol engine: one per process, seen by every thread.
pub trait Engine: Send + Sync + 'static {
    /// A word for logs.
    fn name(&self) -> &'static str;

    /// Whether listeners of this protocol are its business.
    fn serves(&self, protocol: &ListenerProtocol) -> bool;

    /// Compiles its part of the next snapshot. What the configuration did not
    /// change is taken over from `context.previous`, counters and all.
    ///
    /// # Errors
    /// When the configuration cannot be carried out; nothing has changed then.
    fn compile(
        &self,
        context: &CompileContext<'_>,
    ) -> Result<Arc<dyn Any + Send + Sync>, CompileError>;

    /// Makes the engine's half that lives on one shard. Runs on that shard's thread.
    /// `engine` is its number: what [`Snapshot::part`] and
    /// [`ShardMail::send`](crate::ShardMail::send) want.
    fn start_shard(&self, shard: &Rc<Shard>, engine: usize) -> Rc<dyn ShardEngine>;

    /// Work for the control thread that must not disturb shards (health checks,
    /// name resolution). Called once, inside the control thread's local runtime;
    /// tasks are spawned with `tokio::task::spawn_local`.
    fn start_control(&self, context: &ControlContext);

    /// A snapshot with this engine's part was put in force. Runs on the control thread.
    fn snapshot_changed(&self, context: &ControlContext, snapshot: &Arc<Snapshot>);
}

/// An engine's half on one shard.
pub trait ShardEngine {
    /// Takes over a connection that was just accepted; spawns a task for it on
    /// the shard ([`spawn`](crate::spawn)).
    fn serve(&self, connection: Connection);

    /// Takes over a socket of datagrams; spawns a task for it on the shard. A drain is not said:
    /// what is open goes on until its timers' guards are interrupted.
    fn receive(&self, socket: DatagramListener) {
        drop(socket);
    }

    /// Whether it takes up TLS itself, when a client asks for it in its own words; then
    /// connections are handed over before their handshake ([`ConnectionSlot::shake_hands`]).
    fn starts_tls(&self) -> bool {
        false
    }

    /// A snapshot was put in force: let go of what it no longer wants (idle
    /// connections of endpoints that are gone).
    fn snapshot_changed(&self);

    /// The shard drains: close what is idle; connections end by themselves, as
    /// their waits are interrupted.
    fn drain(&self);

    /// Something another shard's half of the same engine sent.
    fn mail(&self, message: Box<dyn Any + Send>);
}

/// What an engine compiles from.
pub struct CompileContext<'a> {
    /// The validated configuration.
    pub config: &'a Arc<Config>,
    /// Number of the snapshot in the making.
    pub generation: Generation,
    /// This engine's part of the snapshot in force.
    pub previous: Option<&'a Arc<dyn Any + Send + Sync>>,
    /// How many shards there are.
    pub shards: usize,
    /// The listeners of the snapshot in the making, in name order.
    pub listeners: &'a [Arc<Listener>],
}

impl CompileContext<'_> {
    /// The previous part, by its type.
    pub fn previous<P: Send + Sync + 'static>(&self) -> Option<Arc<P>> {
        self.previous.and_then(|part| Arc::clone(part).downcast().ok())
    }
}

/// An engine cannot carry the configuration out.
#[derive(Debug, Error)]
#[error("{key}: {message}")]
pub struct CompileError {
    /// Path of the key at fault, such as `clusters.api.endpoints[0]`.
    pub key: String,
    /// What is wrong with it.
    pub message: String,
}

/// What the control thread gives an engine.
#[derive(Clone)]
pub struct ControlContext {
    /// The engine's own number, for [`Snapshot::part`].
    pub engine: usize,
    /// Where the snapshot in force is found.
    pub snapshots: SnapshotCell,
}

/// Where a connection comes from when a proxy made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxied {
    /// The proxy.
    pub by: PeerAddress,
    /// Where the client connected to; `None`: the proxy speaks for itself.
    pub destination: Option<SocketAddr>,
}

/// A socket of datagrams that clients send to.
pub struct DatagramListener {
    /// Shared by its sessions, which answer from it.
    pub socket: Rc<DatagramSocket>,
    pub(crate) owner: Rc<RefCell<Owner>>,
    /// Told when the address is given up: its sessions end then.
    pub(crate) stopped: oneshot::Receiver<()>,
}

impl DatagramListener {
    /// Whose the datagrams are now.
    pub fn listener(&self) -> Arc<Listener> {
        Arc::clone(&self.owner.borrow().listener)
    }

    /// Ready when the address is given up.
    pub fn poll_stopped(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.stopped).poll(cx).map(|_| ())
    }
}

/// A connection just accepted. Dropping `slot` and `open` counts it as closed.
pub struct Connection {
    /// The socket, or the TLS on it.
    pub stream: Transport,
    /// The client: who connected, or whom a trusted proxy named.
    pub peer: PeerAddress,
    /// What the PROXY protocol said; `None`: it was not spoken.
    pub proxied: Option<Box<Proxied>>,
    /// Keeps the connection counted as open.
    pub slot: ConnectionSlot,
    /// Keeps the shard from ending a drain.
    pub open: OpenGuard,
}
