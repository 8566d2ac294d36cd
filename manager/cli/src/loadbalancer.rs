//! `bs9 loadbalancer`: run one from flags, and change a running one.

use clap::Subcommand;

mod ask;
mod change;
mod routes;
mod start;

pub(crate) use ask::client;

use crate::{cli::Global, exit::Failure};

/// What to do with a load balancer.
#[derive(Debug, Subcommand)]
#[command(arg_required_else_help = true)]
pub(crate) enum Action {
    /// Run a load balancer from flags, in the foreground.
    Start(start::Arguments),
    /// Show clusters and endpoints with live statistics.
    Status(ask::StatusArguments),
    /// Show what is configured, and which changes the files do not hold.
    Config,
    /// Say which route a request takes, and why; or show every route.
    Routes(routes::RoutesArguments),
    /// Add an endpoint to a cluster.
    Add(change::AddArguments),
    /// Remove an endpoint from a cluster.
    Remove(change::RemoveArguments),
    /// Let an endpoint, or the whole data plane, finish what is open and take nothing new.
    Drain(change::DrainArguments),
    /// Set the weight of an endpoint.
    Weight(change::WeightArguments),
    /// Read the configuration files again and put them in force.
    Reload,
}

pub(crate) fn run(action: Action, global: &Global) -> Result<(), Failure> {
    match action {
        Action::Start(arguments) => start::run(arguments, global),
        Action::Status(arguments) => ask::status(&arguments, global),
        Action::Config => ask::config(global),
        Action::Routes(arguments) => routes::run(arguments, global),
        Action::Add(arguments) => change::add(arguments, global),
        Action::Remove(arguments) => change::remove(arguments, global),
        Action::Drain(arguments) => change::drain(arguments, global),
        Action::Weight(arguments) => change::weight(arguments, global),
        Action::Reload => change::reload(global),
    }
}
