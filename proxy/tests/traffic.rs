//! The proxy from the outside: real sockets, endpoints that answer to the byte what a test says, and clients that look at
//! the bytes they get.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../net/tests/tls/authority.rs"]
#[allow(dead_code, reason = "shared with the tests of the host")]
mod authority;
#[path = "traffic/fixture.rs"]
mod fixture;
#[path = "traffic/origin.rs"]
mod origin;
#[path = "traffic/python.rs"]
mod python;
#[path = "traffic/wire.rs"]
mod wire;

#[path = "traffic/access_log.rs"]
mod access_log;
#[path = "traffic/admission.rs"]
mod admission;
#[path = "traffic/balance.rs"]
mod balance;
#[path = "traffic/bodies.rs"]
mod bodies;
#[path = "traffic/departures.rs"]
mod departures;
#[path = "traffic/drain.rs"]
mod drain;
#[path = "traffic/expect.rs"]
mod expect;
#[path = "traffic/failures.rs"]
mod failures;
#[path = "traffic/forwarded.rs"]
mod forwarded;
#[path = "traffic/grpc.rs"]
mod grpc;
#[path = "traffic/h2_upstream.rs"]
mod h2_upstream;
#[path = "traffic/h2_websocket.rs"]
mod h2_websocket;
#[path = "traffic/handover.rs"]
mod handover;
#[path = "traffic/health.rs"]
mod health;
#[path = "traffic/http2.rs"]
mod http2;
#[path = "traffic/keep_alive.rs"]
mod keep_alive;
#[path = "traffic/keys.rs"]
mod keys;
#[path = "traffic/listeners.rs"]
mod listeners;
#[path = "traffic/mayhem.rs"]
mod mayhem;
#[path = "traffic/mixture.rs"]
mod mixture;
#[path = "traffic/old_clients.rs"]
mod old_clients;
#[path = "traffic/outliers.rs"]
mod outliers;
#[path = "traffic/picking.rs"]
mod picking;
#[path = "traffic/policies.rs"]
mod policies;
#[path = "traffic/probes.rs"]
mod probes;
#[path = "traffic/queue.rs"]
mod queue;
#[path = "traffic/reload.rs"]
mod reload;
#[path = "traffic/retries.rs"]
mod retries;
#[path = "traffic/routes.rs"]
mod routes;
#[path = "traffic/tcp.rs"]
mod tcp;
#[path = "traffic/tls.rs"]
mod tls;
#[path = "traffic/udp.rs"]
mod udp;
#[path = "traffic/upgrade.rs"]
mod upgrade;
#[path = "traffic/upstream_tls.rs"]
mod upstream_tls;
