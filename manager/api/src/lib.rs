//! The admin API that the data plane, the manager and the CLI share.
//!
//! [`types`] are what travels.

pub mod types;
