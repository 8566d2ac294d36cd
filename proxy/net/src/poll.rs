//! Registering a socket with the shard's poll: the one place that needs `unsafe`.
#![expect(unsafe_code, reason = "tokio asks its caller to prove that the descriptor stays open")]

use std::{io, os::fd::OwnedFd};

use tokio::io::{Interest, unix::AsyncFd};

/// Registers `socket`, which must be non-blocking, with the runtime this runs in.
pub(crate) fn register(socket: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is open and always the same descriptor until it is dropped,
    // and `AsyncFd` owns it until it is deregistered.
    let registered = unsafe { AsyncFd::register_with_interest(socket, interest) };
    Ok(registered?)
}
