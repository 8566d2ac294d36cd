//! The manager: the sidecar that watches the data plane.
//!
//! [`Manager`] binds its own admin API and polls the data plane's. What it sees
//! becomes a view (`view`), rates (`rates`) and a bounded history (`history`),
//! which it answers from memory. It only ever asks: killing it disturbs no
//! traffic.

mod answers;
mod history;
mod manager;
mod memory;
mod metrics;
mod rates;
mod view;
mod watch;

pub use manager::{Manager, ManagerError};
