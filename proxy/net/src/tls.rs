//! TLS: rustls shakes hands, our own record layer carries the bytes.
//!
//! [`ServerTls`] and [`ClientTls`] are compiled from a listener's and a cluster's
//! configuration; their handshakes end in a [`TlsStream`]. [`peek_hello`] reads the name in a
//! client's first message without answering it.

mod alert;
mod client;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod handshake;
mod hello;
mod names;
mod pool;
mod reader;
mod record;
mod server;
mod session;
mod stream;
mod writer;

pub use client::{ClientTls, Endpoint};
pub use handshake::{FailureKind, HandshakeFailure, Shown};
pub use hello::{Hello, HelloError, MAX_HELLO_BYTES, peek_hello};
pub use names::ServerNames;
pub use server::ServerTls;
pub use stream::{Agreed, DetachedTls, TlsStream};
