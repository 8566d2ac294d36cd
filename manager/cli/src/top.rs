//! Live views (`top`): what went on between two looks, again and again.

use std::time::{Duration, Instant};

use bs9_api::ClientError;
use clap::Args;
use comfy_table::Table;
use serde::Serialize;

use crate::{
    cli::Global,
    exit::Failure,
    interval::Interval,
    runtime::{self, Stop},
    terminal,
};

/// How often, how many times, and how much of it.
#[derive(Debug, Args)]
pub(crate) struct Pace {
    /// What is measured over, and how often it is shown.
    #[arg(long, short, value_name = "DURATION", default_value = "2s")]
    interval: Interval,
    /// Show it so many times, then end. Left out: until interrupted.
    #[arg(long, short = 'n', value_name = "COUNT")]
    count: Option<u32>,
    /// Lines that are shown.
    #[arg(long, value_name = "COUNT", default_value_t = 20)]
    limit: usize,
}

/// Shows what `compare` makes of every two looks in a row, the busiest first.
pub(crate) fn watch<S, A: Serialize>(
    pace: &Pace,
    global: &Global,
    look: impl AsyncFn() -> Result<S, ClientError>,
    compare: impl Fn(&S, &S, Duration) -> Vec<A>,
    table: impl Fn(&[A]) -> Table,
) -> Result<(), Failure> {
    runtime::block_on(async {
        let mut stop = Stop::new()?;
        let mut before = (look().await?, Instant::now());
        let mut left = pace.count;
        while left != Some(0) {
            tokio::select! {
                _ = stop.wait() => return Ok(()),
                () = tokio::time::sleep(pace.interval.0) => {}
            }
            let now = (look().await?, Instant::now());
            let mut activity = compare(&before.0, &now.0, now.1 - before.1);
            activity.truncate(pace.limit);
            if global.json {
                terminal::json(&activity)?;
            } else {
                if terminal::is_interactive() {
                    terminal::say("\x1b[H\x1b[J")?;
                }
                terminal::say(terminal::text(&table(&activity)))?;
            }
            before = now;
            left = left.map(|left| left - 1);
        }
        Ok(())
    })
}

/// What a counter grew by, a second.
pub(crate) fn rate(before: u64, now: u64, elapsed: Duration) -> f64 {
    now.saturating_sub(before) as f64 / elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
}
