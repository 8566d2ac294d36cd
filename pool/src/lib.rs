//! The PostgreSQL connection pool engine: many client connections on few server connections.
//!
//! A client connection is one task on its shard ([`client`]). When it sends something, it
//! checks a server connection out of its shard's half of the pool ([`local`]), and the same
//! task relays both directions, from read buffer to socket, until the ledger of `bs9-wire`
//! proves that the server owes nothing. Between two transactions neither side holds a buffer.
//!
//! A server connection lives on one shard. What shards share of a pool ([`pool`]) is its limit,
//! exact to the connection, and who waits where: a shard whose clients starve is handed a
//! server connection by another.
//!
//! - [`engine`]: the door: [`PoolEngine`], which `bs9-net` drives.
//! - [`part`], [`plan`]: what is compiled from the configuration; what one pool works by.
//! - [`registry`], [`pool`], [`cell`]: all pools, one pool, its counters.
//! - [`shard`], [`local`], [`wait`], [`seat`]: what one shard has of them.
//! - [`server`]: a server connection, from login to its last reply.
//! - [`client`]: a client connection, likewise.
//! - [`prepared`]: prepared statements that follow the client from server to server.
//! - [`settings`]: run-time parameters that follow the client from server to server.
//! - [`cancel`]: cancel keys, and who they belong to.

mod cancel;
mod cell;
mod client;
mod engine;
mod failure;
mod local;
mod part;
mod plan;
mod pool;
mod prepared;
mod registry;
mod seat;
mod server;
mod settings;
mod shard;
mod wait;

pub use engine::PoolEngine;
