//! `bs9 export`: history for other programs.

mod exposition;
mod remote_write;
mod tables;

use std::{
    fs::File,
    io::{self, BufWriter, IsTerminal, Write},
    path::PathBuf,
};

use bs9_api::types::{SeriesName, SeriesPoints};
use clap::{Args, ValueEnum};
use jiff::{SignedDuration, Timestamp};

use crate::{
    cli::Global,
    exit::{Exit, Failure},
    history::{self, Range, is_called},
    runtime,
    span::Span,
};

const EXAMPLES: &str = "\
Examples:
  bs9 export -s web --hours 24 -o web.json
  bs9 export -f csv --metric bs9_service_memory_bytes --since 30d --resolution 1h
  bs9 export -f prometheus --since 7d -o history.om
      then: promtool tsdb create-blocks-from openmetrics history.om DIR
  bs9 export -f remote-write --since 1h -o history.rw
      then: curl -X POST --data-binary @history.rw -H 'Content-Encoding: snappy' \\
            -H 'Content-Type: application/x-protobuf' \\
            -H 'X-Prometheus-Remote-Write-Version: 0.1.0' http://prometheus:9090/api/v1/write

Kept are 1s for 2 hours, 10s for 2 days, 1m for 30 days and 1h for 2 years, unless manager.toml
says otherwise. `-h` is help; hours are --hours.";

/// What is exported, and how.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// How it is written.
    #[arg(long, short, value_enum, default_value = "json")]
    format: Format,
    /// Only of this service, unit, cluster, database or device.
    #[arg(long, short, value_name = "NAME")]
    service: Option<String>,
    /// Only this metric; a `*` at its end stands for any rest.
    #[arg(long, value_name = "METRIC")]
    metric: Option<String>,
    /// How far back: so many hours [default: 24].
    #[arg(long, value_name = "HOURS", conflicts_with_all = ["since", "from"])]
    hours: Option<f64>,
    /// How far back: 30s, 15m, 2h, 7d.
    #[arg(long, value_name = "SPAN", conflicts_with = "from")]
    since: Option<Span>,
    /// From this moment on (RFC 3339).
    #[arg(long, value_name = "TIME")]
    from: Option<Timestamp>,
    /// Until this moment [default: now].
    #[arg(long, value_name = "TIME")]
    to: Option<Timestamp>,
    /// Between two points [default: 1s for the last 2 hours, 10s for 2 days, 1m for 30
    /// days, else 1h].
    #[arg(long, value_enum, value_name = "RESOLUTION")]
    resolution: Option<Resolution>,
    /// Write to this file instead of standard output.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// How history is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One object a series, in an array.
    Json,
    /// One line a point.
    Csv,
    /// OpenMetrics text with times, for promtool.
    Prometheus,
    /// A request of Prometheus' remote write protocol 1.0.
    RemoteWrite,
}

/// What is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Resolution {
    #[value(name = "1s")]
    Second,
    #[value(name = "10s")]
    TenSeconds,
    #[value(name = "1m")]
    Minute,
    #[value(name = "1h")]
    Hour,
}

impl Resolution {
    /// The finest that is kept so long, unless manager.toml says otherwise.
    fn kept_since(from: Timestamp) -> Self {
        let age = Timestamp::now().duration_since(from).as_hours();
        match age {
            ..2 => Self::Second,
            2..48 => Self::TenSeconds,
            48..720 => Self::Minute,
            _ => Self::Hour,
        }
    }

    fn seconds(self) -> u32 {
        match self {
            Self::Second => 1,
            Self::TenSeconds => 10,
            Self::Minute => 60,
            Self::Hour => 3_600,
        }
    }
}

/// Takes series one by one.
trait Writer {
    fn series(&mut self, series: &SeriesPoints, resolution_seconds: u32) -> io::Result<()>;

    /// After the last one.
    fn finish(&mut self) -> io::Result<()>;
}

pub(crate) fn run(arguments: &Arguments, global: &Global) -> Result<(), Failure> {
    let range = range(arguments)?;
    if arguments.format == Format::RemoteWrite
        && arguments.output.is_none()
        && io::stdout().is_terminal()
    {
        return Err(Failure::new(Exit::Usage, "a remote write request is binary")
            .hint("give it a file with -o FILE, or pipe it on"));
    }
    runtime::block_on(async {
        let client = history::manager(global);
        let wanted: Vec<SeriesName> = client
            .catalog()
            .await?
            .series
            .into_iter()
            .filter(|series| {
                let name = arguments.service.as_deref();
                name.is_none_or(|name| is_called(&series.subject, name))
            })
            .filter(|series| is_metric(arguments.metric.as_deref(), &series.name))
            .collect();
        if wanted.is_empty() {
            return Err(Failure::new(Exit::NotFound, "nothing that fits is remembered")
                .hint("`bs9 metrics` lists what is measured"));
        }
        let out: Box<dyn Write> =
            match &arguments.output {
                None => Box::new(io::stdout().lock()),
                Some(path) => Box::new(File::create(path).map_err(|error| {
                    Failure::io(format!("cannot write {}", path.display()), error)
                })?),
            };
        let out = BufWriter::new(out);
        let mut writer: Box<dyn Writer> = match arguments.format {
            Format::Json => Box::new(tables::Json::new(out)),
            Format::Csv => Box::new(tables::Csv::new(out)),
            Format::Prometheus => Box::new(exposition::OpenMetrics::new(out)),
            Format::RemoteWrite => Box::new(remote_write::RemoteWrite::new(out)),
        };
        for of in wanted {
            let (resolution, points) = history::points(&client, &of, range).await?;
            if !points.is_empty() {
                writer.series(&SeriesPoints { of, points }, resolution).map_err(unwritten)?;
            }
        }
        writer.finish().map_err(unwritten)
    })
}

/// A reader that went away (`bs9 export | head -1`) is no error worth a word.
fn unwritten(error: io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Failure::silent(Exit::Error);
    }
    Failure::io("the export cannot be written", error)
}

fn is_metric(pattern: Option<&str>, name: &str) -> bool {
    pattern.is_none_or(|pattern| match pattern.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => name == pattern,
    })
}

fn range(arguments: &Arguments) -> Result<Range, Failure> {
    let usage = |message: &str| Failure::new(Exit::Usage, message);
    let to = arguments.to.unwrap_or_else(Timestamp::now);
    let back = match (arguments.hours, arguments.since) {
        (Some(hours), _) if !(hours > 0.0 && hours <= 24.0 * 3_660.0) => {
            return Err(usage("--hours is more than 0 and at most ten years"));
        }
        (Some(hours), _) => (hours * 3_600.0) as i64,
        (None, Some(Span(seconds))) => i64::try_from(seconds).unwrap_or(i64::MAX),
        (None, None) => 24 * 3_600,
    };
    let from = match arguments.from {
        Some(from) => from,
        None => to
            .checked_sub(SignedDuration::from_secs(back))
            .map_err(|_| usage("that is too far back"))?,
    };
    if from >= to {
        return Err(usage("the range is empty: it begins after it ends"));
    }
    let resolution = arguments.resolution.unwrap_or_else(|| Resolution::kept_since(from));
    Ok(Range { from, to, resolution_seconds: Some(resolution.seconds()) })
}
