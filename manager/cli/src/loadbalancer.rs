//! `bs9 loadbalancer`: run one from flags, and change a running one.

use clap::Subcommand;

mod ask;
mod change;
mod drain;
mod routes;
mod start;
mod top;

pub(crate) use ask::client;

use crate::{cli::Global, exit::Failure};
use change::Traffic;

/// What to do with a load balancer.
#[derive(Debug, Subcommand)]
#[command(arg_required_else_help = true)]
pub(crate) enum Action {
    /// Run a load balancer from flags, in the foreground.
    Start(start::Arguments),
    /// Show clusters and endpoints with live statistics.
    Status(ask::StatusArguments),
    /// Show the busiest endpoints, with rates, until interrupted.
    Top(top::Arguments),
    /// Show what is configured, and which changes the files do not hold.
    Config,
    /// Say which route a request takes, and why; or show every route.
    Routes(routes::RoutesArguments),
    /// Add an endpoint to a cluster.
    Add(change::AddArguments),
    /// Remove an endpoint from a cluster.
    Remove(change::RemoveArguments),
    /// Let an endpoint, or the whole data plane, take nothing new, and wait until it has finished.
    Drain(drain::Arguments),
    /// Have an endpoint take nothing new, from now on.
    Disable(change::EndpointArguments),
    /// Let an endpoint take traffic again after `disable` or `drain`.
    Enable(change::EndpointArguments),
    /// Set the weight of an endpoint.
    Weight(change::WeightArguments),
    /// Read the configuration files again and put them in force.
    Reload,
}

pub(crate) fn run(action: Action, global: &Global) -> Result<(), Failure> {
    match action {
        Action::Start(arguments) => start::run(arguments, global),
        Action::Status(arguments) => ask::status(&arguments, global),
        Action::Top(arguments) => top::run(&arguments, global),
        Action::Config => ask::config(global),
        Action::Routes(arguments) => routes::run(arguments, global),
        Action::Add(arguments) => change::add(arguments, global),
        Action::Remove(arguments) => change::remove(arguments, global),
        Action::Drain(arguments) => drain::run(arguments, global),
        Action::Disable(arguments) => change::take_traffic(arguments, Traffic::Nothing, global),
        Action::Enable(arguments) => change::take_traffic(arguments, Traffic::Again, global),
        Action::Weight(arguments) => change::weight(arguments, global),
        Action::Reload => change::reload(global),
    }
}
