//! The pool engine between real clients and a real PostgreSQL server.

mod authentication;
mod basics;
mod cancel;
mod load;
mod modes;
mod postgres;
mod reload;
mod wire;
