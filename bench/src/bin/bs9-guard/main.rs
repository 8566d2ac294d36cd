//! Guards the hot paths by instruction counts, which repeat exactly where times
//! do not: runs each case under callgrind, and compares what one operation
//! costs with the committed baseline.
//!
//! - [`case`]: the operations that are counted.
//! - [`callgrind`]: runs this program itself under valgrind and reads the count.
//! - [`baseline`]: the committed counts, and what they are compared with.

mod baseline;
mod callgrind;
mod case;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};

use crate::baseline::{Baseline, Change};
use crate::case::Case;

/// Compares the instruction counts of the hot paths with a baseline.
///
/// Exits with 1 when an operation costs over 3 % more than the baseline says.
#[derive(Debug, Parser)]
#[command(name = "bs9-guard", version)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,

    /// Where the baseline is.
    #[arg(long, value_name = "FILE", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/baseline.json"))]
    baseline: PathBuf,

    /// Write what is counted to the baseline instead of comparing.
    #[arg(long)]
    update: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Do the work of one case, for callgrind to count.
    #[command(hide = true)]
    Run {
        /// Its name.
        case: String,
    },
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(code) => code,
        Err(e) => {
            // Nothing is left to report to when stderr itself is gone.
            let _ = writeln!(std::io::stderr(), "bs9-guard: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    if let Some(Command::Run { case }) = &arguments.command {
        Case::named(case)?.run();
        return Ok(ExitCode::SUCCESS);
    }
    let mut counted = Baseline::of_this_machine()?;
    for case in Case::all() {
        let instructions = callgrind::count(case.name)
            .with_context(|| format!("counting the instructions of {}", case.name))?;
        counted.set(case.name, instructions as f64 / f64::from(case::TIMES));
    }
    if arguments.update {
        counted.write(&arguments.baseline)?;
        writeln!(std::io::stdout(), "{counted}")?;
        return Ok(ExitCode::SUCCESS);
    }
    compare(&Baseline::read(&arguments.baseline)?, &counted)
}

fn compare(baseline: &Baseline, counted: &Baseline) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout();
    let changes = baseline.compare(counted);
    for change in &changes {
        writeln!(out, "{change}")?;
    }
    if let Some(difference) = baseline.made_elsewhere(counted) {
        writeln!(out, "the baseline was made with {difference}")?;
    }
    if changes.iter().any(Change::is_worse) {
        writeln!(out, "worse than the baseline; if that is wanted: make guard GUARD=--update")?;
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}
