//! The command line as it is typed. What it means is each verb's business.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::{
    audit, check, completions, dbpool, deps, events, export, install, loadbalancer, loadtest,
    logging::LogFormat, man, manager, metrics, profile, quickstart, sample_endpoint, serve,
    service, status, tether, token,
};

const EXAMPLES: &str = "\
First steps:
  bs9 quickstart                        a complete sample: proxy, pool, PostgreSQL, manager
  bs9 check bs9.toml                    every error of a configuration, with line and column
  bs9 serve --config bs9.toml           carry traffic
  bs9 status                            what is going on
  bs9 start server.js -p 3000           keep a service running; asks the manager (bs9 manager)
  bs9 install                           have systemd run both, from now on

Most commands ask a running process by its admin socket: the data plane (bs9 serve) or the manager
(bs9 manager). `bs9 COMMAND --help` has examples.

Exit codes:
  0 done   1 error   2 usage   3 not found   4 permission   5 configuration
  6 network (nobody answers, address taken)   7 dependency missing   8 system

`-h` is help everywhere. Colours respect NO_COLOR and disappear in a pipe.";

/// A load balancer, reverse proxy and PostgreSQL pool, and the manager beside them.
#[derive(Debug, Parser)]
#[command(name = "bs9", version, after_help = EXAMPLES, arg_required_else_help = true, propagate_version = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// Options that every verb takes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct Global {
    /// The admin socket to ask, or to answer on for what stays running [default:
    /// $BS9_SOCKET or $BS9_MANAGER_SOCKET, then $XDG_RUNTIME_DIR/bs9/, /run/bs9/].
    #[arg(long, global = true, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
    /// Answer in JSON, with a `schema` version and units in field names.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// What is logged: a level, or target=level separated by commas.
    #[arg(long, global = true, value_name = "FILTER", env = "BS9_LOG", default_value = "info")]
    pub(crate) log: String,
    /// How it is logged.
    #[arg(long, global = true, value_name = "FORMAT", value_enum, default_value = "text")]
    pub(crate) log_format: LogFormat,
}

/// What bs9 can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Carry traffic: the data plane.
    Serve(serve::Arguments),
    /// Watch the data plane, and answer for it: the sidecar.
    Manager(manager::Arguments),
    /// Check a configuration without touching anything.
    Check(check::Arguments),
    /// Show what is going on.
    Status(status::Arguments),
    /// Run a script or command as a service, or start one that is there.
    Start(Box<service::start::Arguments>),
    /// Stop services, now and at the next boot.
    Stop(service::change::StopArguments),
    /// Restart every instance of a service at once.
    Restart(service::change::RestartArguments),
    /// Bring a service to new code or a new description, without a gap.
    Reload(service::change::ReloadArguments),
    /// Run more or fewer instances of a service.
    Scale(service::scale::Arguments),
    /// Stop services and remove them.
    Delete(service::change::DeleteArguments),
    /// List services and how they are.
    #[command(visible_aliases = ["ls", "ps"])]
    List(service::list::Arguments),
    /// Show what a service wrote.
    Logs(service::logs::Arguments),
    /// Show what a service is kept from, what of it holds, and what it costs.
    Inspect(service::inspect::Arguments),
    /// Bring services to what services/*.toml say.
    Apply(service::apply::Arguments),
    /// Remember which services there are, and which run.
    Save(service::saved::SaveArguments),
    /// Bring back what was saved.
    Resurrect(service::saved::ResurrectArguments),
    /// Look whether this machine has what services need.
    Doctor(service::doctor::Arguments),
    /// Show what services and the machine use, now and over time.
    Metrics(metrics::Arguments),
    /// Write history out for other programs.
    Export(Box<export::Arguments>),
    /// Show what has happened, and what happens.
    Events(events::Arguments),
    /// Watch a service for a while, and say what follows from the numbers.
    Profile(profile::Arguments),
    /// Show what depends on what, and what says so.
    Deps(deps::Arguments),
    /// Show and check the log of changes.
    #[command(subcommand)]
    Audit(audit::Action),
    /// Make, list and revoke tokens for the manager's TCP address.
    #[command(subcommand)]
    Token(token::Action),
    /// Run and change a load balancer.
    #[command(visible_alias = "lb", subcommand)]
    Loadbalancer(loadbalancer::Action),
    /// Run, watch and measure a PostgreSQL pool.
    #[command(subcommand)]
    Dbpool(dbpool::Action),
    /// Start a complete sample of everything, and clean up afterwards.
    Quickstart(quickstart::Arguments),
    /// Put load on a server, and see what it makes of it.
    Loadtest(Box<loadtest::Arguments>),
    /// Set up the data plane and the manager with systemd.
    Install(install::Arguments),
    /// Take away what `install` made.
    Uninstall(install::UninstallArguments),
    /// Print the completions of a shell.
    Completions(completions::Arguments),
    /// Print or write manual pages.
    Man(man::Arguments),
    /// A small HTTP server that says who it is; what `quickstart` balances over.
    #[command(hide = true)]
    SampleEndpoint(sample_endpoint::Arguments),
    /// Become another program that ends when the process that started this one does.
    #[command(hide = true)]
    Tethered(tether::Arguments),
}
