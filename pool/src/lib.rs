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
//! - [`listen`]: LISTEN without a server connection of one's own.
//! - [`session`], [`sql`]: what a text changes in a session, and what becomes of it.
//! - [`auth`], [`tls`]: who may log in, and by which certificates.
//! - [`login_queue`], [`logins`]: taking turns to log in at servers; how logins of clients ended.
//! - [`cancel`]: cancel keys, and who they belong to.
//! - [`budget`], [`census`]: limits that pools share, on servers and on clients.
//! - [`orders`], [`roster`], [`post`]: what operators order and ask, and the way to the shards.
//! - [`histogram`], [`errors`], [`watch`]: what is measured, and slow queries.
//! - [`console`]: the database `pgbouncer`, for psql.

mod auth;
mod budget;
mod cancel;
mod cell;
mod census;
mod client;
mod console;
mod engine;
mod errors;
mod failure;
mod histogram;
mod listen;
mod local;
mod login_queue;
mod logins;
mod orders;
mod part;
mod plan;
mod pool;
mod post;
mod prepared;
mod registry;
mod roster;
mod seat;
mod server;
mod session;
mod settings;
mod shard;
mod sql;
mod tls;
mod wait;
mod watch;

pub use engine::{PoolEngine, Reload};
pub use logins::LoginReport;
pub use orders::OrderError;
