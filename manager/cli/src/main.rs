//! bs9: one binary, two long-running roles, and the verbs to handle them.
//!
//! Each verb is a file. This one parses the command line, picks the verb, and
//! turns its end into an exit code.

mod audit;
mod check;
mod child;
mod cli;
mod completions;
mod configuration_path;
mod dataplane;
mod dbpool;
mod deps;
mod events;
mod exit;
mod export;
mod from_flags;
mod history;
mod install;
mod interval;
mod limits;
mod loadbalancer;
mod loadtest;
mod logging;
mod man;
mod manager;
mod metrics;
mod profile;
mod quickstart;
mod runtime;
mod sample_endpoint;
mod serve;
mod service;
mod span;
mod status;
mod systemd;
mod terminal;
mod tether;
mod token;
mod top;

use std::process::ExitCode;

use clap::Parser as _;
use cli::{Cli, Verb};
use exit::{Exit, Failure};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if let Some(text) = failure.render() {
                terminal::remark(text);
            }
            failure.exit().code()
        }
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    let global = &cli.global;
    match cli.verb {
        Verb::Serve(arguments) => serve::run(arguments, global),
        Verb::Manager(arguments) => manager::run(arguments, global),
        Verb::Check(arguments) => check::run(arguments, global),
        Verb::Status(arguments) => status::run(arguments, global),
        Verb::Start(arguments) => service::start::run(*arguments, global),
        Verb::Stop(arguments) => service::change::stop(&arguments, global),
        Verb::Restart(arguments) => service::change::restart(&arguments, global),
        Verb::Reload(arguments) => service::change::reload(&arguments, global),
        Verb::Scale(arguments) => service::scale::run(&arguments, global),
        Verb::Delete(arguments) => service::change::delete(&arguments, global),
        Verb::List(arguments) => service::list::run(&arguments, global),
        Verb::Logs(arguments) => service::logs::run(&arguments, global),
        Verb::Inspect(arguments) => service::inspect::run(&arguments, global),
        Verb::Apply(arguments) => service::apply::run(arguments, global),
        Verb::Save(arguments) => service::saved::save(arguments, global),
        Verb::Resurrect(arguments) => service::saved::resurrect(arguments, global),
        Verb::Doctor(arguments) => service::doctor::run(&arguments, global),
        Verb::Metrics(arguments) => metrics::run(&arguments, global),
        Verb::Export(arguments) => export::run(&arguments, global),
        Verb::Events(arguments) => events::run(&arguments, global),
        Verb::Profile(arguments) => profile::run(&arguments, global),
        Verb::Deps(arguments) => deps::run(&arguments, global),
        Verb::Audit(action) => audit::run(&action, global),
        Verb::Token(action) => token::run(action, global),
        Verb::Loadbalancer(action) => loadbalancer::run(action, global),
        Verb::Dbpool(action) => dbpool::run(action, global),
        Verb::Quickstart(arguments) => quickstart::run(arguments, global),
        Verb::Loadtest(arguments) => loadtest::run(*arguments, global),
        Verb::Install(arguments) => install::run(arguments, global),
        Verb::Uninstall(arguments) => install::uninstall(arguments, global),
        Verb::Completions(arguments) => completions::run(arguments),
        Verb::Man(arguments) => man::run(&arguments, global),
        Verb::SampleEndpoint(arguments) => sample_endpoint::run(arguments, global),
        Verb::Tethered(arguments) => tether::run(arguments),
    }
}

/// Help and version are not errors; anything else the parser says is a usage error.
fn refuse(error: &clap::Error) -> ExitCode {
    let _nobody_left_to_tell = error.print();
    if error.use_stderr()
        && error.kind() != clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    {
        return Exit::Usage.code();
    }
    match error.kind() {
        clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => Exit::Usage.code(),
        _ => ExitCode::SUCCESS,
    }
}
