//! HTTP/2 (RFC 9113): to clients here, to endpoints in [`upstream`].
//!
//! A client's connection is a task ([`connection`]), which reads and writes; what the frames mean
//! is in [`mux`], which does no I/O, and in [`hpack`]. Every request is carried by a task of
//! its own ([`carriers`]). There its head is what [`request`] wrote as HTTP/1.1 would have brought
//! it, straight from the header block, so that it passes through the same door as any other: the
//! same parser with its checks, the same routes, retries and limits. What that door answers, in
//! HTTP/1.1 as well, [`stream`] and [`response`] take apart into frames again. [`meter`] watches
//! for floods.
//!
//! Towards endpoints the `h2` crate speaks, the other way round.

pub mod hpack;

#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;

mod carriers;
mod connection;
mod frame;
mod meter;
mod mux;
mod outbox;
mod preface;
mod request;
mod response;
mod stats;
mod stream;
mod upstream;

pub(crate) use carriers::Carriers;
pub(crate) use connection::serve;
pub(crate) use preface::Opening;
pub(crate) use stats::{Http2Cell, status};
pub(crate) use upstream::{Lane, Seat, Sessions, StreamFault, Taken, Turn, fault_of};

/// How a body is put after its head of HTTP/1.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// As it is: its length was stated, or there is none.
    Plain,
    /// In chunks, which can end in trailers.
    Chunked,
    /// Bytes of another protocol (RFC 8441).
    Tunnel,
}
