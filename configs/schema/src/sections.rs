//! Every key of the configuration: what it is called, means, looks like and
//! defaults to. One function a table; see [`crate::read`] for how they work.

use std::time::Duration;

mod access_log;
mod admin;
mod admission;
mod agreement;
mod balancing;
mod cluster;
mod config;
mod endpoint;
mod forwarding;
mod health_check;
mod history;
mod listener;
mod manager;
mod name;
mod pattern;
mod postgres;
mod request_identity;
mod retries;
mod route;
mod route_action;
mod route_conflict;
mod route_match;
mod route_policy;
mod runtime;
mod service;
mod service_sandbox;
mod service_source;
mod tls;
mod upstream;

pub(crate) use config::{config, sections as config_sections};
pub(crate) use manager::manager;
pub(crate) use service::{check_service_name, service};

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);
