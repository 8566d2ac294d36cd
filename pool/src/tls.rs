//! TLS as PostgreSQL has it: what a certificate says, and how servers are reached with it.

mod certificate;
mod encryption;

pub(crate) use certificate::{common_name, end_point};
pub(crate) use encryption::{Encryption, endpoint, named};

/// The protocol's name in a handshake (PostgreSQL 17).
pub(crate) const ALPN: &[u8] = b"postgresql";

/// Most bytes of text in a record to a client: what libpq reads at once. When it is polled for
/// by an event loop, it leaves the rest of a longer one unseen until more comes.
pub(crate) const CLIENT_RECORD_BYTES: usize = 8192;
