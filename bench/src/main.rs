//! Side-by-side runs of bs9 and its peers: the same load, the same backends,
//! the same pinning, contenders interleaved, and the ratio of the CPU time
//! each spends on one unit of work.
//!
//! How a run goes, from the outside in:
//!
//! - [`arguments`]: what the user asked for.
//! - [`bench`]: what every row shares: cores, folder, interrupt, programs.
//! - [`contender`]: bs9 and its peers, where their programs are, which version.
//! - [`row`]: one comparison: contenders, goals, backends, configuration, load.
//! - [`measure`]: what a row compares, in which unit, and how good it has to be.
//! - [`rounds`]: interleaves the contenders of a row and collects figures.
//! - [`under_load`], [`idle`]: the two usual kinds of a contender's turn.
//! - [`http_service`], [`pool_service`]: what contenders are put in front of.
//! - [`load`]: the load generators and how to read what they print.
//! - [`process`]: one pinned child process, its CPU time and memory.
//! - [`syscalls`]: what it asks of the kernel, counted by strace.
//! - [`stillness`]: whether the machine itself stands still meanwhile.
//! - [`support`]: whether this build of bs9 can do a row's work at all.
//! - [`statistics`], [`report`]: medians, ratios; the tables and the JSON file.
//! - [`origin`], [`postgres`]: the backends; [`certificate`]: what TLS rows need.
//! - [`guard`], [`scale`], [`soak`]: what else is watched, each with its subcommand;
//!   [`callgrind`] counts for the first two, [`fit`] finds the curve behind points.
//! - [`document`], [`chart`], [`svg`]: where results go, and how they are drawn;
//!   [`figures`] reads them again, [`repetition`] compares two runs.
//! - [`http_client`], [`http2_client`], [`tls_client`], [`postgres_client`]: for probes and idle connections.

mod arguments;
mod bench;
mod callgrind;
mod certificate;
mod chart;
mod contender;
mod document;
mod figures;
mod fit;
mod guard;
mod http2_client;
mod http_client;
mod http_service;
mod idle;
mod interrupt;
mod load;
mod machine;
mod measure;
mod origin;
mod pool_service;
mod postgres;
mod postgres_client;
mod process;
mod repetition;
mod report;
mod rounds;
mod row;
mod run_dir;
mod scale;
mod soak;
mod statistics;
mod stillness;
mod support;
mod svg;
mod syscalls;
mod template;
mod tls_client;
mod under_load;

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use crate::arguments::{Arguments, Command};
use crate::bench::Bench;
use crate::interrupt::Interrupted;
use crate::report::Report;
use crate::rounds::Gathered;
use crate::stillness::Stillness;

/// The exit code of a program ended by SIGINT, by the shell's convention.
const EXIT_INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(code) => code,
        Err(e) if e.is::<Interrupted>() => ExitCode::from(EXIT_INTERRUPTED),
        Err(e) => {
            // Nothing is left to report to when stderr itself is gone.
            let _ = writeln!(std::io::stderr(), "bs9-bench: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout();
    match &arguments.command {
        None => return compare(&Bench::set_up(arguments)?, arguments),
        Some(Command::Guard(guard)) => return guard::run(&Bench::set_up(arguments)?, guard),
        Some(Command::Scale(scale)) => return scale::run(&Bench::set_up(arguments)?, scale),
        Some(Command::Soak(soak)) => return soak::run(&Bench::set_up(arguments)?, soak),
        Some(Command::Rows) => {
            for row in row::all() {
                writeln!(out, "{:<16} {}", row.name, row.about)?;
            }
        }
        Some(Command::Chart { figures, svg }) => match svg {
            Some(path) => document::write(path, &chart::draw(figures)?)?,
            None => write!(out, "{}", chart::draw(figures)?)?,
        },
        Some(Command::Repeats { earlier, later, markdown }) => {
            return repetition::run(&mut out, [earlier, later], markdown.as_deref());
        }
        Some(Command::GuardCase { case, times }) => guard::case::Case::named(case)?.run(*times),
        Some(Command::Origin { listen, body_bytes }) => {
            origin::serve(*listen, *body_bytes as usize)?;
        }
        Some(Command::Stillness) => stillness::work()?,
        Some(Command::Handshakes { target, connections, seconds }) => {
            let length = Duration::from_secs((*seconds).into());
            load::handshakes::work(*target, (*connections).into(), length)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Measures bs9 beside its peers, row by row.
fn compare(bench: &Bench, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    bench.say_who_is_missing()?;
    let mut out = std::io::stdout();
    let mut report = Report::begin(bench);
    let patience = Duration::from_secs(arguments.patience.into());
    let mut stillness = Stillness::watch(bench, patience)?;
    let mut rows: Vec<_> =
        row::select(&arguments.only)?.into_iter().map(Gathered::nothing_of).collect();
    for sweep in 0..bench.sweeps - 1 {
        for row in &mut rows {
            row.sweep(bench, sweep, &mut stillness)?;
        }
    }
    for mut row in rows {
        row.sweep(bench, bench.sweeps - 1, &mut stillness)?;
        let result = row.into_result();
        writeln!(out, "{}", result.table())?;
        report.rows.push(result);
    }
    report.finish();
    writeln!(out, "{}", report.footer())?;
    if let Some(path) = &arguments.json {
        document::write_json(path, &report)?;
    }
    if let Some(path) = &arguments.markdown {
        document::place(path, report::PLACE, &report.markdown())?;
    }
    Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
