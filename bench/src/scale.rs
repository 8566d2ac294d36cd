//! The scale study: what a request costs bs9 as a configuration, the number of
//! connections or of shards grows, in instructions of its own code.
//!
//! - [`dimension`]: what grows, and bs9 with so much of it.
//! - [`conclusion`]: the fitted curves, as a table, as words and as a picture.

mod conclusion;
mod dimension;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use anyhow::Context;
use clap::ValueEnum;
use serde::Serialize;

use crate::arguments::ScaleArguments;
use crate::bench::Bench;
use crate::document;
use crate::fit::Curve;
use crate::machine::Machine;
use crate::origin;
pub(crate) use dimension::Dimension;
use dimension::{Layout, Point};

/// Where a document has its place for the study.
const PLACE: &str = "scale";

/// All dimensions.
#[derive(Debug, Serialize)]
pub(crate) struct Study {
    machine: Machine,
    bs9: String,
    series: Vec<Series>,
}

/// One dimension: what a request cost at each size.
#[derive(Debug, Serialize)]
pub(crate) struct Series {
    name: &'static str,
    about: &'static str,
    points: Vec<Point>,
    /// Through the instructions of a request.
    curve: Curve,
}

/// Instructions of a request among so many routes over so many clusters, of which ten are
/// asked for in turn: those of the cheapest stretch, whatever the machine's pace.
pub(crate) fn request_among(bench: &Bench, routes: usize, clusters: usize) -> anyhow::Result<f64> {
    let (origin, _process) = origin::start_for_all_addresses(bench)?;
    let mut loaded = Layout::of_routes(routes, clusters).start(bench, origin, 0)?;
    Ok(loaded.request(bench)?.low)
}

/// Counts at every size of every dimension, and writes what comes of it.
pub(crate) fn run(bench: &Bench, arguments: &ScaleArguments) -> anyhow::Result<ExitCode> {
    let bs9 = bench.own_bs9()?;
    let (origin, _process) = origin::start_for_all_addresses(bench)?;
    let mut series = Vec::new();
    let chosen = |dimension: &&Dimension| {
        arguments.dimensions.is_empty() || arguments.dimensions.contains(dimension)
    };
    for dimension in Dimension::value_variants().iter().filter(chosen) {
        let mut points = Vec::new();
        for size in dimension.sizes(arguments.most) {
            if std::io::stderr().is_terminal() {
                write!(std::io::stderr(), "\r\x1b[K{}: {size}", dimension.name())?;
            }
            let point = dimension.count(bench, origin, size);
            points.push(point.with_context(|| format!("with {size} {}", dimension.name()))?);
        }
        let measured: Vec<_> = points.iter().map(|p| (p.size as f64, p.instructions)).collect();
        let curve = Curve::through(&measured).context("a study needs two sizes at least")?;
        let (name, about) = (dimension.name(), dimension.about());
        series.push(Series { name, about, points, curve });
    }
    if std::io::stderr().is_terminal() {
        write!(std::io::stderr(), "\r\x1b[K")?;
    }
    let version = crate::contender::version_of(&bs9, "--version")?;
    let study = Study { machine: bench.machine.clone(), bs9: version, series };

    writeln!(std::io::stdout(), "{}", study.table())?;
    for sentence in study.conclusions() {
        writeln!(std::io::stdout(), "{sentence}")?;
    }
    if let Some(path) = &arguments.json {
        document::write_json(path, &study)?;
    }
    if let Some(path) = &arguments.markdown {
        document::place(path, PLACE, &study.markdown())?;
    }
    if let Some(path) = &arguments.svg {
        document::write(path, &study.svg())?;
    }
    Ok(ExitCode::SUCCESS)
}
