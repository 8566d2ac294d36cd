//! The pool engine between real clients and a real PostgreSQL server.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends there")]

mod authentication;
mod basics;
mod cancel;
mod carried;
mod configured;
mod console;
mod dialogues;
mod hba;
mod limits;
mod listen;
mod load;
mod login;
mod lookups;
mod modes;
mod observed;
mod orders;
mod postgres;
mod prepared;
mod protocol;
mod reload;
mod session;
mod simulation;
mod tls;
mod traps;
mod wire;
