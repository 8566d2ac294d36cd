//! The manager: the sidecar that watches the data plane.
//!
//! [`Manager`] binds its own admin API and polls the data plane's. What it sees
//! becomes a view (`view`), rates (`rates`) and a bounded history (`history`),
//! which it answers from memory. It only ever asks: killing it disturbs no
//! traffic.

mod access;
mod answers;
mod archive;
mod audit;
mod build;
mod collect;
mod dependency;
pub mod doctor;
mod event;
mod history;
mod manager;
mod memory;
mod metrics;
mod pattern;
mod rates;
mod service;
mod source;
mod state;
mod store;
mod systemd;
mod unit;
mod view;
mod watch;
mod whole;

pub use archive::Archive;
pub use audit::{read_log, verify_log};
pub use manager::{Manager, ManagerError};
pub use source::examine_text as audit_source;
