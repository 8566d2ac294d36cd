//! HTTP/2 to clients (RFC 9113): a connection's frames, and its streams made to look like
//! connections of HTTP/1.1.
//!
//! Frames, header compression and windows are the `h2` crate's business. [`connection`] drives it
//! and gives every request a task of its own. There, [`head`] writes the request as HTTP/1.1
//! would have brought it, so that it passes through the same door as any other: the same parser
//! with its checks, the same routes, retries and limits. What that door answers, in HTTP/1.1 as
//! well, [`stream`] takes apart into frames again. [`wire`] is the connection as `h2` wants it,
//! watched by [`meter`].
//!
//! [`upstream`] is HTTP/2 to endpoints: the same, the other way round.

mod connection;
mod head;
mod inflow;
mod meter;
mod outflow;
mod preface;
mod stats;
mod stream;
mod upstream;
mod wire;

pub(crate) use connection::serve;
pub(crate) use preface::Opening;
pub(crate) use stats::{Http2Cell, status};
pub(crate) use upstream::{Lane, Seat, Sessions, StreamFault, Taken, Turn, fault_of};

/// Bytes that wait for a connection's socket, beyond what its peer's windows allow at most: enough
/// to keep it busy.
const MAX_SEND_BUFFER_BYTES: usize = 64 * 1024;
