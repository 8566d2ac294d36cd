//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::contender::Contender;
use crate::scale::Dimension;

/// Measures bs9 beside its peers and prints ratios of CPU time per unit of work.
///
/// Absolute figures depend on the machine and on who else is using it; compare
/// ratios, and only within one run.
#[derive(Debug, Parser)]
#[command(name = "bs9-bench", version)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    /// Run only this row (may be given more than once; `bs9-bench rows` lists them).
    #[arg(long, value_name = "ROW")]
    pub(crate) only: Vec<String>,

    /// Rounds; every contender has one turn in each.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) rounds: u32,

    /// Go through all rows so many times, each time with a part of the rounds: a range then holds
    /// what differs from one quarter of an hour to the next.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) sweeps: u32,

    /// Measured seconds of load in a turn; rows that compare a p99 or load generators take at
    /// least 3 or 4.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=600))]
    pub(crate) seconds: u32,

    /// Seconds of load before the measured ones.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=600))]
    pub(crate) warmup_seconds: u32,

    /// Seconds that a run may take longer because the machine stands still: turns in which it did
    /// so for over a twentieth of the time are done again once it goes on.
    #[arg(long, default_value_t = 240, value_name = "SECONDS")]
    pub(crate) patience: u32,

    /// Also write every figure of every round to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// Also write the tables as Markdown to this file: between its lines
    /// `<!-- results: begin -->` and `<!-- results: end -->` where it has them.
    #[arg(long, value_name = "FILE")]
    pub(crate) markdown: Option<PathBuf>,

    /// Leave bs9 out: compare nothing, show what the peers need.
    #[arg(long)]
    pub(crate) peers_only: bool,

    /// Use another program for a contender, such as `nginx=/opt/nginx/sbin/nginx`.
    ///
    /// `pgbouncer-newer` is measured beside Debian's, and only where it is named here.
    #[arg(long, global = true, value_name = "NAME=PATH", value_parser = parse_binary)]
    pub(crate) binary: Vec<(Contender, PathBuf)>,

    /// Keep the folder with configurations and logs, and say where it is.
    #[arg(long, global = true)]
    pub(crate) keep: bool,
}

/// What else the program can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the rows.
    Rows,
    /// Draw the ratios of a run as SVG.
    Chart {
        /// What --json wrote.
        figures: PathBuf,

        /// Where the picture goes; absent: to standard output.
        #[arg(long, value_name = "FILE")]
        svg: Option<PathBuf>,
    },
    /// Tell whether the ratios of a run lie in the ranges of an earlier one.
    ///
    /// Exits with 1 when a median lies outside.
    Repeats {
        /// What --json wrote in the earlier run.
        earlier: PathBuf,

        /// What it wrote in the later one.
        later: PathBuf,

        /// Also write the comparison as Markdown to this file: between its lines
        /// `<!-- repetition: begin -->` and `<!-- repetition: end -->` where it has them.
        #[arg(long, value_name = "FILE")]
        markdown: Option<PathBuf>,
    },
    /// Compare instructions and allocations of the hot paths with a baseline.
    ///
    /// Exits with 1 when an operation takes over 3 % more instructions than the baseline
    /// says, or allocates once more.
    Guard(GuardArguments),
    /// Find out what a request costs as routes, clusters, endpoints, connections and shards grow.
    Scale(ScaleArguments),
    /// Do everything at once for a while, and watch that nothing grows.
    ///
    /// Exits with 1 when memory, descriptors or threads grow beyond what is allowed, or a
    /// request failed that nothing excuses.
    Soak(SoakArguments),
    /// Do the work of one of the guard's cases, for callgrind to count.
    #[command(hide = true)]
    GuardCase {
        /// Its name.
        case: String,
        /// How often its operation is done.
        times: u32,
    },
    /// Answer every HTTP request with the same body (the backend of the HTTP rows).
    Origin {
        /// Where to listen.
        #[arg(long)]
        listen: SocketAddr,

        /// Size of the body; at most 1 GiB.
        #[arg(long, value_parser = clap::value_parser!(u32).range(..=1 << 30))]
        body_bytes: u32,
    },
    /// Say how late this process is woken (whether the machine stands still).
    #[command(hide = true)]
    Stillness,
    /// Open TLS connections one after the other (the load of tls-handshakes).
    Handshakes {
        /// Where to.
        #[arg(long)]
        target: SocketAddr,

        /// How many at once.
        #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
        connections: u16,

        /// For how long.
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..=600))]
        seconds: u32,
    },
}

/// What is guarded.
#[derive(Debug, Args)]
pub(crate) struct GuardArguments {
    /// Where the baseline is.
    #[arg(long, value_name = "FILE", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/baseline.json"))]
    pub(crate) baseline: PathBuf,

    /// Write what is counted to the baseline instead of comparing.
    #[arg(long)]
    pub(crate) update: bool,
}

/// How far a study goes, and where it goes to.
#[derive(Debug, Args)]
pub(crate) struct ScaleArguments {
    /// Let only this grow (may be given more than once).
    #[arg(long = "grow", value_name = "WHAT")]
    pub(crate) dimensions: Vec<Dimension>,

    /// The most of anything.
    #[arg(long, default_value_t = 10_000)]
    pub(crate) most: usize,

    /// Also write every point to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// Also write table and conclusions as Markdown to this file: between its lines
    /// `<!-- scale: begin -->` and `<!-- scale: end -->` where it has them.
    #[arg(long, value_name = "FILE")]
    pub(crate) markdown: Option<PathBuf>,

    /// Also draw it to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
}

/// How long, and where it goes to.
#[derive(Debug, Args)]
pub(crate) struct SoakArguments {
    /// Seconds of work; at most a day.
    #[arg(long, default_value_t = 180, value_parser = clap::value_parser!(u32).range(4..=86_400))]
    pub(crate) seconds: u32,

    /// Also write every sample to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

fn parse_binary(text: &str) -> Result<(Contender, PathBuf), String> {
    let (name, path) = text.split_once('=').ok_or("expected NAME=PATH")?;
    let contender = Contender::from_name(name).ok_or_else(|| {
        let known: Vec<_> = Contender::ALL.iter().map(|c| c.name()).collect();
        format!("no contender {name:?}; known: {}", known.join(", "))
    })?;
    // It is started in a folder of its own.
    let path = std::path::absolute(path).map_err(|e| format!("{path:?}: {e}"))?;
    Ok((contender, path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_binary_names_a_known_contender() {
        assert_eq!(parse_binary("nginx=/x/nginx"), Ok((Contender::Nginx, "/x/nginx".into())));
        let (_, near) = parse_binary("nginx=build/nginx").unwrap();
        assert!(near.is_absolute() && near.ends_with("build/nginx"));
        assert!(parse_binary("nginx").is_err());
        assert!(parse_binary("nginx=").is_err());
        assert!(parse_binary("apache=/x").unwrap_err().contains("haproxy"));
    }
}
