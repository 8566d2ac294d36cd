//! `bs9 logs`.

use bs9_api::types::{LogLine, LogQuery, ServiceLogs};
use clap::Args;
use jiff::tz::TimeZone;

use super::client;
use crate::{
    cli::Global,
    exit::Failure,
    runtime::{self, Stop},
    terminal::{self, BAD, FAINT, NOTE},
};

/// How long one question of a follower waits for a line.
const WAIT_SECONDS: u32 = 25;

const EXAMPLES: &str = "\
Examples:
  bs9 logs api                 the last 50 lines of all of its instances
  bs9 logs api -f              and what comes, until Ctrl-C
  bs9 logs api -n 500 --instance 2 --priority 4
  bs9 logs api --since '1 hour ago' --json

Lines come out of the journal; nothing has to be rotated.";

/// What is shown.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The service.
    name: String,
    /// Go on with what comes.
    #[arg(long, short)]
    follow: bool,
    /// The last so many lines.
    #[arg(long, short = 'n', default_value_t = 50)]
    lines: u32,
    /// Only this instance.
    #[arg(long, short, value_name = "N")]
    instance: Option<u32>,
    /// Only lines of this priority or a more urgent one: 3 errors, 4 warnings, 6 information.
    #[arg(long, value_name = "0-7", value_parser = clap::value_parser!(u8).range(0..=7))]
    priority: Option<u8>,
    /// Only since then, in the words of journalctl.
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
}

pub(crate) fn run(arguments: &Arguments, global: &Global) -> Result<(), Failure> {
    let client = client(global);
    let name = arguments.name.as_str();
    runtime::block_on(async {
        let mut query = LogQuery {
            lines: Some(arguments.lines),
            instance: arguments.instance,
            priority: arguments.priority,
            since: arguments.since.clone(),
            ..LogQuery::default()
        };
        let mut answer = client.service_logs(name, &query).await?;
        print(&answer, global)?;
        if !arguments.follow {
            return Ok(());
        }
        let mut stop = Stop::new()?;
        query.lines = Some(1_000);
        query.since = None;
        loop {
            // Without a line there is no cursor; the first ones are asked for again.
            query.wait_seconds = Some(WAIT_SECONDS);
            query.after = answer.cursor.clone().or(Some(String::new())).filter(|c| !c.is_empty());
            let pause = query.after.is_none();
            answer = tokio::select! {
                _ = stop.wait() => return Ok(()),
                answer = client.service_logs(name, &query) => answer?,
            };
            print(&answer, global)?;
            if pause && answer.cursor.is_none() {
                tokio::select! {
                    _ = stop.wait() => return Ok(()),
                    () = tokio::time::sleep(std::time::Duration::from_millis(500)) => {}
                }
            }
        }
    })
}

fn print(logs: &ServiceLogs, global: &Global) -> Result<(), Failure> {
    for line in &logs.lines {
        match global.json {
            // One object a line, so that a stream of them can be read.
            true => terminal::say(serde_json::to_string(line).map_err(|error| {
                Failure::new(crate::exit::Exit::Error, "a line cannot be written").because(error)
            })?)?,
            false => terminal::say(shown(line))?,
        }
    }
    Ok(())
}

fn shown(line: &LogLine) -> String {
    let at = line.at.to_zoned(TimeZone::system()).strftime("%m-%d %H:%M:%S%.3f");
    let unit = line.unit.strip_suffix(".service").unwrap_or(&line.unit);
    let style = match line.priority {
        0..=3 => BAD,
        4 => NOTE,
        _ => anstyle::Style::new(),
    };
    format!("{FAINT}{at} {unit}{FAINT:#} {style}{}{style:#}", line.message)
}
