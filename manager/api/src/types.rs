//! What travels over the admin API.
//!
//! Every answer carries `schema`, the version of its shape. Numbers are numbers
//! with their unit in the name; times are RFC 3339.

mod answer;
mod audit;
mod change;
mod cluster;
mod dataplane;
mod dependency;
mod event;
mod manager;
mod page;
mod pool;
mod proxy;
mod route;
mod series;
mod service;
mod source;
mod token;
mod unit;
mod usage;

pub use answer::*;
pub use audit::*;
pub use change::*;
pub use cluster::*;
pub use dataplane::*;
pub use dependency::*;
pub use event::*;
pub use manager::*;
pub use page::*;
pub use pool::*;
pub use proxy::*;
pub use route::*;
pub use series::*;
pub use service::*;
pub use source::*;
pub use token::*;
pub use unit::*;
pub use usage::*;

/// The version of every shape in this module; raised when a field changes its
/// meaning or goes away, not when one is added.
pub const SCHEMA: u32 = 1;
