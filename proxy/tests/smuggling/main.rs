//! Where one message ends and the next begins: every input here has one reading that RFC 9110, 9112 or 9113 allows, and
//! bs9 has to refuse it or pass it on so that nobody behind it can read it otherwise.
//!
//! A strict origin says what it was sent, byte for byte; a panel of careless readers has to find the same messages in
//! it. `docs/SMUGGLING.md` is written from what this finds (`UPDATE=1`), with nginx and HAProxy beside.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../traffic/fixture.rs"]
#[allow(dead_code, reason = "shared with the tests of traffic")]
mod fixture;
#[path = "../traffic/http2/frames.rs"]
#[allow(dead_code, reason = "shared with the tests of traffic")]
mod frames;
#[path = "../traffic/wire.rs"]
#[allow(dead_code, reason = "shared with the tests of traffic")]
mod wire;

mod book;
mod case;
mod conversation;
mod http2;
mod peers;
mod readers;
mod requests;
mod responses;
mod strict;
mod strict_origin;
