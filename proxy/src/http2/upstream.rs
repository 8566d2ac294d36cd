//! HTTP/2 to endpoints (RFC 9113): requests of many clients beside each other on few connections.
//!
//! It is the other way round than towards clients: a request leaves the exchange as HTTP/1.1
//! would have it, into a [`Lane`], which makes a stream of it, and gives what comes back as
//! HTTP/1.1 would have brought it. So retries, limits, edits and counters are those of every
//! request. [`Sessions`] are a shard's connections to one endpoint; each is driven by a task of
//! its own ([`driver`]), which sends PINGs and ends it when it is idle. [`head`] translates heads,
//! [`fault`] names what can go wrong with a stream.

mod driver;
mod fault;
mod head;
mod inflow;
mod lane;
mod outflow;
mod session;
mod sessions;
mod wire;

pub(crate) use fault::{StreamFault, fault_of};
pub(crate) use lane::Lane;
pub(crate) use sessions::{Seat, Sessions, Taken, Turn};

/// Bytes that wait for a connection's socket, beyond what its peer's windows allow at most: enough
/// to keep it busy.
const MAX_SEND_BUFFER_BYTES: usize = 64 * 1024;
