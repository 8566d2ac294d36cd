//! Logs go to standard error, as text for people or JSON for programs.

use std::io::{self, IsTerminal as _};

use clap::ValueEnum;
use tracing_subscriber::{EnvFilter, fmt};

use crate::exit::{Exit, Failure};

/// `--log-format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// A line for people.
    Text,
    /// A JSON object a line.
    Json,
}

/// Starts writing what `filter` lets through, such as `info` or `warn,bs9_proxy=debug`.
///
/// # Errors
/// When the filter makes no sense.
pub(crate) fn start(filter: &str, format: LogFormat) -> Result<(), Failure> {
    let filter = EnvFilter::builder().parse(filter).map_err(|error| {
        Failure::new(Exit::Usage, format!("`{filter}` is not a log filter")).because(error).hint(
            "write a level (error, warn, info, debug, trace), or target=level, separated by commas",
        )
    })?;
    let builder = fmt().with_env_filter(filter).with_writer(io::stderr);
    match format {
        LogFormat::Json => builder.json().flatten_event(true).init(),
        LogFormat::Text => builder.with_ansi(colored()).init(),
    }
    Ok(())
}

fn colored() -> bool {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stderr().is_terminal() && !unwanted
}
