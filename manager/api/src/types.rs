//! What travels over the admin API.
//!
//! Every answer carries `schema`, the version of its shape. Numbers are numbers
//! with their unit in the name; times are RFC 3339.

mod answer;
mod change;
mod dataplane;
mod manager;
mod pool;
mod proxy;

pub use answer::*;
pub use change::*;
pub use dataplane::*;
pub use manager::*;
pub use pool::*;
pub use proxy::*;

/// The version of every shape in this module; raised when a field changes its
/// meaning or goes away, not when one is added.
pub const SCHEMA: u32 = 1;
