//! The admin API that the data plane, the manager and the CLI share.
//!
//! [`types`] are what travels. [`endpoints`] is the one table of what can be
//! asked: the traits a [`server`] answers by, the typed [`client`], who may call
//! what, and the [`openapi`] documents all come from it. [`socket`] knows where
//! a running data plane or manager is found.

pub mod client;
pub mod endpoints;
mod error;
pub mod openapi;
pub mod server;
pub mod socket;
pub mod types;

pub use bs9_config::Process;
pub use client::{Client, ClientError, DataPlaneClient, ManagerClient};
pub use endpoints::{Access, DataPlaneApi, Endpoint, ManagerApi};
pub use error::{ApiError, ProblemCode};
pub use server::{AdminAddress, AdminServer, Attempt, BindError, Caller, EventFeed, HandedOver};
