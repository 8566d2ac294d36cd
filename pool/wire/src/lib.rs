//! PostgreSQL frontend/backend protocol, version 3: bytes in, messages out.
//!
//! No sockets, no clock, no runtime. Whoever owns the socket hands bytes in and acts on what
//! comes out, so every path here is driven by tables, properties and fuzzers without a server.
//! References such as "Message Formats" or "53.2.3" are to the PostgreSQL manual, chapter
//! "Frontend/Backend Protocol".
//!
//! - [`startup`]: the untyped first packets: TLS and GSS requests, cancel, `StartupMessage`.
//! - [`tag`], [`frame`]: message headers on a stream, without assembling messages.
//! - [`message`]: borrowed views of the message bodies a pool has to understand.
//! - [`encode`]: the messages a pool itself sends.
//! - [`ledger`]: which replies a server still owes, and whether it is provably clean.
//! - [`auth`]: md5 and SCRAM-SHA-256, both sides, and stored verifiers.
//! - [`sqlstate`]: the error codes a pool reports.

pub mod auth;
pub mod encode;
pub mod frame;
pub mod ledger;
pub mod message;
pub mod sqlstate;
pub mod startup;
pub mod tag;
