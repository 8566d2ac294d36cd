//! `bs9 loadbalancer routes`: which route a request takes, and why.

use std::path::PathBuf;

use bs9_api::types::{ListenerRoutes, RouteCheck, RouteStatus, Routes, RoutesQuery};
use bs9_proxy::{ExplainError, explain_routes};
use clap::Args;

use super::ask::client;
use crate::{
    cli::Global,
    exit::{Exit, Failure},
    runtime,
    terminal::{self, BAD, FAINT, GOOD, NOTE, STRONG},
};

const EXAMPLES: &str = "\
Examples:
  bs9 loadbalancer routes                                     every route
  bs9 loadbalancer routes https://example.com/v1/users?beta=1
  bs9 loadbalancer routes /v1/users --method POST --header 'Host: api.example.com'
  bs9 loadbalancer routes /v1/users --header 'Cookie: session=7' --json
  bs9 loadbalancer routes /v1/users --config bs9.toml         before it is in force

The most specific match wins, wherever it stands: exact hosts before wildcards before any host;
then exact paths, paths with parameters and prefixes from the longest, regular expressions in the
order of the file, any path; then the route that asks for more of method, headers, cookies, query.
A route that does not match gives way to the next. Exit code 3 when no route takes the request.";

/// Which request.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct RoutesArguments {
    /// What is asked for: a URL, or a path; absent: show every route.
    url: Option<String>,
    /// The method [default: GET].
    #[arg(long, short = 'X', value_name = "METHOD", requires = "url")]
    method: Option<String>,
    /// A header field, as often as needed.
    #[arg(long = "header", short = 'H', value_name = "NAME: VALUE", requires = "url")]
    headers: Vec<String>,
    /// Only this listener.
    #[arg(long, value_name = "NAME")]
    listener: Option<String>,
    /// Ask this configuration instead of the running data plane: a file, or a folder of *.toml.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(super) fn run(arguments: RoutesArguments, global: &Global) -> Result<(), Failure> {
    let RoutesArguments { url, method, headers, listener, config } = arguments;
    let asked = url.is_some();
    let headers = (!headers.is_empty()).then(|| headers.join("\n"));
    let query = RoutesQuery { listener, url, method, headers };
    let routes = match config {
        Some(path) => {
            let config = bs9_config::load(&path).map_err(Failure::report)?;
            explain_routes(&config, &query).map_err(|error| {
                let exit = match error {
                    ExplainError::UnknownListener(_) => Exit::NotFound,
                    _ => Exit::Usage,
                };
                Failure::new(exit, error.to_string())
            })?
        }
        None => {
            let client = client(global);
            runtime::block_on(async { Ok(client.routes(&query).await?) })?
        }
    };
    let taken = routes.listeners.iter().any(|listener| listener.taken.is_some());
    if global.json {
        terminal::json(&routes)?;
    } else {
        show(&routes, asked)?;
    }
    if asked && !taken {
        return Err(Failure::silent(Exit::NotFound));
    }
    Ok(())
}

fn show(routes: &Routes, asked: bool) -> Result<(), Failure> {
    if routes.listeners.is_empty() {
        return terminal::say("there is no HTTP listener");
    }
    for listener in &routes.listeners {
        terminal::say(format_args!("{STRONG}listener {}{STRONG:#}", listener.listener))?;
        if asked { show_met(listener)? } else { show_all(&listener.routes)? }
    }
    Ok(())
}

fn show_all(routes: &[RouteStatus]) -> Result<(), Failure> {
    let mut table = terminal::table(["ROUTE", "MATCHES", "ACTION"]);
    for route in routes {
        let asks: Vec<_> = route
            .checks
            .iter()
            .map(|check| format!("{} {}", check.subject, check.wanted))
            .collect();
        let asks = if asks.is_empty() { "every request".to_owned() } else { asks.join("\n") };
        let action = match &route.clients {
            Some(clients) => format!("{}\n{clients}", route.action),
            None => route.action.clone(),
        };
        table.add_row([route.number.to_string(), asks, action]);
    }
    terminal::say(terminal::text(&table))
}

fn show_met(listener: &ListenerRoutes) -> Result<(), Failure> {
    if let Some(why) = &listener.refused {
        return terminal::say(format_args!("  {BAD}refused{BAD:#} with 400: {why}"));
    }
    if let Some(path) = &listener.normalized_path {
        terminal::say(format_args!("  routes look at the path {path}"))?;
    }
    let (matching, near): (Vec<_>, Vec<_>) =
        listener.routes.iter().partition(|route| route.matches == Some(true));
    let mut matching = matching.into_iter();
    match matching.next() {
        Some(taken) => {
            terminal::say(format_args!(
                "  {GOOD}takes{GOOD:#} routes[{}] → {}",
                taken.number, taken.action
            ))?;
            show_checks(taken)?;
            if let Some(clients) = &taken.clients {
                terminal::say(format_args!(
                    "      {NOTE}for clients {clients}; others are answered 403{NOTE:#}"
                ))?;
            }
            if let Some(outcome) = &listener.outcome {
                terminal::say(format_args!("      {NOTE}{outcome}{NOTE:#}"))?;
            }
        }
        None => terminal::say(format_args!("  {BAD}no route{BAD:#} takes it: answered 404"))?,
    }
    for route in matching {
        terminal::say(format_args!(
            "  matches too, less specific: routes[{}] → {}",
            route.number, route.action
        ))?;
        show_checks(route)?;
    }
    for route in near {
        terminal::say(format_args!("  nearly: routes[{}] → {}", route.number, route.action))?;
        show_checks(route)?;
    }
    Ok(())
}

fn show_checks(route: &RouteStatus) -> Result<(), Failure> {
    if route.checks.is_empty() {
        return terminal::say(format_args!("      {FAINT}it takes every request{FAINT:#}"));
    }
    route.checks.iter().try_for_each(show_check)
}

fn show_check(check: &RouteCheck) -> Result<(), Failure> {
    let RouteCheck { subject, wanted, found, holds } = check;
    let found = found.as_deref().map_or("not there".to_owned(), |found| format!("`{found}`"));
    match holds {
        Some(false) => terminal::say(format_args!(
            "      {BAD}✗{BAD:#} {subject}: wants `{wanted}`, is {found}"
        )),
        _ => terminal::say(format_args!("      {GOOD}✓{GOOD:#} {subject}: `{wanted}`")),
    }
}
