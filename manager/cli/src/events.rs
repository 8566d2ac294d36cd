//! `bs9 events`: what has happened, and what happens.

use std::time::Duration;

use bs9_api::{
    ClientError, ManagerClient,
    types::{Event, EventStreamQuery, PageQuery},
};
use clap::Args;

use crate::{
    cli::Global,
    exit::Failure,
    history,
    runtime::{self, Stop},
    terminal::{self, FAINT, STRONG, say},
};

const EXAMPLES: &str = "\
Examples:
  bs9 events                            the newest ones
  bs9 events --follow                   and those to come, until Ctrl-C
  bs9 events --after 1790000000000000   those after the one with that id
  bs9 events --follow --json            one JSON object a line, for programs

For browsers and other programs: GET /v1/events/stream (Server-Sent Events, resumed by Last-Event-ID).";

/// Before another attempt to follow, when the manager is away.
const PAUSE: Duration = Duration::from_secs(1);

/// Which events.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Show what happens as it happens. A manager that restarts is waited for, and
    /// nothing is missed.
    #[arg(long, short)]
    follow: bool,
    /// As many of the past at most, 1,000 at most.
    #[arg(long, short = 'n', value_name = "COUNT", default_value_t = 50)]
    lines: u32,
    /// Only those after the event with this id.
    #[arg(long, value_name = "ID")]
    after: Option<u64>,
}

pub(crate) fn run(arguments: &Arguments, global: &Global) -> Result<(), Failure> {
    runtime::block_on(async {
        let client = history::manager(global);
        let query = PageQuery { after: arguments.after, limit: Some(arguments.lines) };
        let past = client.events(&query).await?;
        if !arguments.follow {
            if global.json {
                return terminal::json(&past);
            }
            return past.events.iter().try_for_each(|event| show(event, global));
        }
        past.events.iter().try_for_each(|event| show(event, global))?;
        let last = past.events.last().map(|event| event.id).or(arguments.after);
        let mut stop = Stop::new()?;
        tokio::select! {
            _ = stop.wait() => Ok(()),
            ended = follow(&client, last, global) => ended,
        }
    })
}

async fn follow(
    client: &ManagerClient,
    mut last: Option<u64>,
    global: &Global,
) -> Result<(), Failure> {
    loop {
        match client.event_stream(&EventStreamQuery { after: last }).await {
            Ok(mut follower) => {
                while let Ok(Some(event)) = follower.next().await {
                    last = Some(event.id);
                    show(&event, global)?;
                }
            }
            Err(error @ ClientError::Denied { .. }) => return Err(error.into()),
            // It may come back; that is what one follows for.
            Err(error) => terminal::remark(format_args!("waiting for the manager: {error}")),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn show(event: &Event, global: &Global) -> Result<(), Failure> {
    let value = serde_json::to_value(event).unwrap_or_default();
    if global.json {
        return say(value);
    }
    let fields = value.as_object().into_iter().flatten();
    let rest: Vec<String> = fields
        .filter(|(name, value)| !["id", "at", "kind"].contains(&name.as_str()) && !value.is_null())
        .map(|(name, value)| match value.as_str() {
            Some(text) => format!("{name}={text}"),
            None => format!("{name}={value}"),
        })
        .collect();
    say(format_args!(
        "{FAINT}{}{FAINT:#}  {STRONG}{}{STRONG:#}  {}",
        event.at.strftime("%Y-%m-%d %H:%M:%S"),
        event.what.kind().replace('_', " "),
        rest.join("  ")
    ))
}
