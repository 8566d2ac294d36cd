//! `bs9 deps`: what depends on what, as a tree, a graph or a picture.

use std::{fs, path::PathBuf};

use bs9_api::types::{Dependencies, DependencyHealth, DependencyQuery};
use clap::{Args, ValueEnum};

use crate::{
    cli::Global,
    exit::{Exit, Failure},
    history, runtime,
    terminal::{self, FAINT, NOTE},
};

mod dot;
mod svg;
mod tree;

pub(crate) use svg::escaped;

const EXAMPLES: &str = "\
Examples:
  bs9 deps                     everything, from who is asked first to who is asked last
  bs9 deps api                 what api needs, and who needs it
  bs9 deps --json
  bs9 deps -f dot | dot -Tpng > deps.png
  bs9 deps -f svg -o deps.svg

Each line says what says so: systemd (Requires=, Wants=, After=), socket (a connection that is open now),
environment (a variable with an address; its value is never shown), proxy (a route of the data plane) or
pool. Exit code 3 when there is no such service.";

/// What is shown, and how.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// A service [default: all of them].
    name: Option<String>,
    /// How it is shown.
    #[arg(long, short, value_name = "FORMAT", value_enum, default_value = "text")]
    format: Format,
    /// Write it to a file.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// How dependencies are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A tree for people.
    Text,
    /// The language of Graphviz.
    Dot,
    /// All of it, for programs.
    Json,
    /// A picture.
    Svg,
}

pub(crate) fn run(arguments: &Arguments, global: &Global) -> Result<(), Failure> {
    let client = history::manager(global);
    let query = DependencyQuery { service: arguments.name.clone() };
    let found = runtime::block_on(async { Ok(client.dependencies(&query).await?) })?;
    let format = if global.json { Format::Json } else { arguments.format };
    let text = match format {
        Format::Text => tree::draw(&found, arguments.name.as_deref()),
        Format::Dot => dot::draw(&found),
        Format::Svg => svg::draw(&found),
        Format::Json => serde_json::to_string_pretty(&found).map_err(|error| {
            Failure::new(Exit::Error, "the answer cannot be written as JSON").because(error)
        })?,
    };
    match &arguments.output {
        Some(file) => {
            let plain = anstream::adapter::strip_str(&text).to_string();
            fs::write(file, plain + "\n")
                .map_err(|error| Failure::io(format!("cannot write {}", file.display()), error))?;
        }
        None => terminal::say(text.trim_end())?,
    }
    if format == Format::Text {
        notes(&found);
    }
    Ok(())
}

/// What a tree does not show.
fn notes(found: &Dependencies) {
    for cycle in &found.cycles {
        let names: Vec<_> = cycle.iter().map(|id| name(id)).collect();
        terminal::remark(format_args!(
            "{NOTE}circle{NOTE:#}: {} need each other",
            names.join(", ")
        ));
    }
    for missing in &found.unavailable {
        terminal::remark(format_args!("{FAINT}{}: {}{FAINT:#}", missing.what, missing.reason));
    }
}

/// The name in an id.
fn name(id: &str) -> &str {
    id.split_once(':').map_or(id, |(_, name)| name)
}

/// The colour of a picture for how a node is.
fn colour(health: DependencyHealth) -> &'static str {
    match health {
        DependencyHealth::Good => "#2e7d32",
        DependencyHealth::Degraded => "#ef6c00",
        DependencyHealth::Bad => "#c62828",
        DependencyHealth::Unknown => "#607d8b",
    }
}

#[cfg(test)]
pub(crate) fn sample() -> Dependencies {
    let node = |id: &str, health: &str| {
        let (kind, name) = id.split_once(':').unwrap();
        serde_json::json!({"id": id, "kind": kind, "name": name, "health": health,
            "state": "running", "reason": null, "addresses": []})
    };
    let edge = |from: &str, to: &str, kind: &str, source: &str, detail: &str| serde_json::json!({"from": from, "to": to, "kind": kind, "source": source, "detail": detail});
    serde_json::from_value(serde_json::json!({
        "schema": 1, "at": "2026-01-01T00:00:00Z",
        "nodes": [
            node("listener:web", "good"), node("outside:db:5432", "unknown"),
            node("service:a", "degraded"), node("service:b<&\"", "bad"),
        ],
        "edges": [
            edge("listener:web", "service:a", "routes", "proxy", "routes[0]"),
            edge("service:a", "service:b<&\"", "configured", "environment", "B_URL"),
            edge("service:a", "service:b<&\"", "connects", "socket", "127.0.0.1:1"),
            edge("service:b<&\"", "service:a", "wants", "systemd", "Wants=a@1.service"),
            edge("service:b<&\"", "outside:db:5432", "connects", "socket", "10.0.0.1:5432"),
        ],
        "cycles": [["service:a", "service:b<&\""]],
        "unavailable": [],
    }))
    .expect("the sample is as the type is")
}
