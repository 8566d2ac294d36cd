//! Every key of the configuration: what it is called, means, looks like and
//! defaults to. One function a table; see [`crate::read`] for how they work.

use std::time::Duration;

mod admin;
mod cluster;
mod config;
mod listener;
mod manager;
mod name;
mod postgres;
mod route;
mod route_match;
mod runtime;
mod tls;

pub(crate) use config::{config, sections as config_sections};
pub(crate) use manager::manager;

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);
