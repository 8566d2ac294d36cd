//! The data-plane host: everything below a protocol.
//!
//! A [`Host`] runs [`Shard`]s. A shard is one OS thread with its own
//! runtime, listening sockets, buffers, timers and counters; it
//! shares nothing with the others on the path of a byte. What is spoken on a
//! connection is an [`Engine`]'s business: this crate knows no HTTP and no
//! PostgreSQL.
//!
//! What is in force is one immutable [`Snapshot`]; a reload compiles the next one
//! beside it and swaps it whole.

mod buffer;
mod clock;
mod counter;
mod engine;
mod error;
mod host;
mod listener;
mod pipe;
mod runtime;
mod shard;
mod snapshot;
mod socket;
mod stream;
pub mod time;
mod timer;
pub mod tls;
mod transport;

pub use buffer::{Buffer, BufferPool};
pub use clock::{CoarseInstant, now, refresh as refresh_clock};
pub use counter::{Counter, Gauge, PerShard};
pub use engine::{CompileContext, CompileError, Connection, ControlContext, Engine, ShardEngine};
pub use error::{BindError, PrepareError, ReloadError, StartError};
pub use host::{Host, ListenerReport, ReloadSummary, ShardReport};
pub use listener::{ConnectionSlot, Listener, ListenerId};
pub use pipe::{Pipe, PipePool};
pub use runtime::{Runtime, coalesce::answered, spawn, yield_now};
pub use shard::{OpenGuard, Shard, ShardMail};
pub use snapshot::{Snapshot, SnapshotCell, SnapshotReader};
pub use stream::{PeerAddress, Stream};
pub use timer::{Interrupted, Timer};
pub use transport::Transport;
