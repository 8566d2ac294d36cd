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

mod address_set;
mod buffer;
mod clock;
mod counter;
mod datagram;
mod engine;
mod error;
mod gate;
mod host;
mod inherited;
mod listener;
mod pipe;
pub mod proxy_header;
mod pulse;
mod runtime;
mod shard;
mod snapshot;
mod socket;
mod stream;
pub mod time;
mod timer;
pub mod tls;
mod transport;

pub use address_set::AddressSet;
pub use buffer::{Buffer, BufferPool};
#[cfg(feature = "simulation")]
pub use clock::stand_at;
pub use clock::{CoarseInstant, now, refresh as refresh_clock};
pub use counter::{Counter, Gauge, PerShard};
pub use datagram::{Batch, DatagramSocket, Lost, MAX_DATAGRAM_BYTES};
pub use engine::{
    CompileContext, CompileError, Connection, ControlContext, DatagramListener, Engine, Proxied,
    ShardEngine,
};
pub use error::{BindError, PrepareError, ReloadError, StartError};
pub use gate::Gate;
pub use host::{Host, ListenerReport, ReloadSummary, ShardReport};
pub use inherited::Inherited;
pub use listener::{ConnectionSlot, Listener, ListenerId};
pub use pipe::{Pipe, PipePool};
pub use pulse::{Stall, Stalls, Vitals};
pub use runtime::{Runtime, coalesce::answered, spawn, yield_now};
pub use shard::{OpenGuard, Shard, ShardMail};
pub use snapshot::{Snapshot, SnapshotCell, SnapshotReader};
pub use stream::{PeerAddress, Stream};
pub use timer::{Interrupted, Timer};
pub use transport::{Detached, Transport};
