//! The admin API end to end: a real server on real sockets, the typed client,
//! and requests written by hand.

#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected fails")]

mod access;
mod client;
mod doors;
mod fake;
mod harness;
mod lifecycle;
mod refusals;
mod witness;
