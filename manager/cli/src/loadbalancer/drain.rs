//! `bs9 loadbalancer drain`: takes nothing new, and is waited for.

use std::time::{Duration, Instant};

use bs9_api::{
    ClientError, DataPlaneClient,
    types::{DrainEndpoint, DrainOutcome},
};
use bs9_config::EndpointAddress;
use clap::Args;

use super::{
    ask::client,
    change::{meant, show},
};
use crate::{
    cli::Global,
    exit::{Exit, Failure},
    interval::Interval,
    runtime,
    terminal::{self, GOOD},
};

const EXAMPLES: &str = "\
Examples:
  bs9 loadbalancer drain 10.0.0.3:3000 && bs9 loadbalancer remove 10.0.0.3:3000 --persist
  bs9 loadbalancer drain 10.0.0.3:3000 --timeout 5m   exits 1 when something is open after that
  bs9 loadbalancer drain 10.0.0.3:3000 --no-wait      the same as `disable`
  bs9 loadbalancer drain 10.0.0.3:3000 --undo         the same as `enable`
  bs9 loadbalancer drain 10.0.0.3:3000 --persist      and it is disabled after a restart, too
  bs9 loadbalancer drain --all                        the whole data plane, which then ends

Progress is shown on standard error. Interrupting the wait undoes nothing.";

/// How often it is looked at while it is waited for.
const LOOK: Duration = Duration::from_millis(200);

/// What to drain, and how long to wait for it.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The endpoint, as it stands in the configuration.
    #[arg(required_unless_present = "all")]
    address: Option<String>,
    /// The cluster; needed when there is more than one.
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// Write it to the configuration file too, as `disable` does; else a restart undoes it.
    #[arg(long)]
    persist: bool,
    /// Let the endpoint take traffic again.
    #[arg(long)]
    undo: bool,
    /// Drain the whole data plane, which then ends.
    #[arg(long, conflicts_with_all = ["address", "cluster", "persist", "undo"])]
    all: bool,
    /// Do not wait until what is open has finished.
    #[arg(long, conflicts_with = "undo")]
    no_wait: bool,
    /// Wait no longer than this. Left out: for an endpoint, as long as it takes.
    #[arg(long, value_name = "DURATION", conflicts_with_all = ["undo", "no_wait"])]
    timeout: Option<Interval>,
}

pub(super) fn run(arguments: Arguments, global: &Global) -> Result<(), Failure> {
    let client = client(global);
    let mut wait = (!arguments.no_wait && !arguments.undo).then(|| Wait::of(arguments.timeout));
    let Some(address) = arguments.address else { return all(&client, wait.as_mut(), global) };
    runtime::block_on(async {
        let cluster = meant(&client, arguments.cluster).await?;
        let (drain, persist) = (!arguments.undo, arguments.persist);
        let order = DrainEndpoint { address: address.clone(), drain, persist };
        show(&client.drain_endpoint(&cluster, &order).await?, global)?;
        let Some(wait) = &mut wait else { return Ok(()) };
        // As it is written in answers.
        let known = address.parse().map_or(address, |address: EndpointAddress| address.to_string());
        wait.until_none(async || match client.cluster(&cluster).await {
            Ok(answer) => {
                let mut endpoints = answer.cluster.endpoints.into_iter();
                Ok(endpoints.find(|one| one.address == known).map_or(0, |one| one.active))
            }
            // It was taken away meanwhile.
            Err(ClientError::NotFound { .. }) => Ok(0),
            Err(error) => Err(error),
        })
        .await?;
        if global.json { Ok(()) } else { terminal::say("nothing is under way any more") }
    })
}

fn all(client: &DataPlaneClient, wait: Option<&mut Wait>, global: &Global) -> Result<(), Failure> {
    runtime::block_on(async {
        let outcome = client.drain().await?;
        tell(&outcome, global)?;
        let Some(wait) = wait else { return Ok(()) };
        wait.until_none(async || match client.status().await {
            // It ends by itself when nothing is open; so long as it answers it has not.
            Ok(status) => {
                let open = status.listeners.iter().map(|one| one.open_connections);
                Ok(open.sum::<u64>().max(1))
            }
            Err(ClientError::NotRunning { .. } | ClientError::Protocol { .. }) => Ok(0),
            Err(error) => Err(error),
        })
        .await?;
        if global.json { Ok(()) } else { terminal::say("it has ended") }
    })
}

fn tell(outcome: &DrainOutcome, global: &Global) -> Result<(), Failure> {
    if global.json {
        return terminal::json(outcome);
    }
    terminal::say(format_args!(
        "{GOOD}draining{GOOD:#}: {} connections are open; what is left after {} is closed",
        outcome.open_connections,
        terminal::seconds(outcome.timeout_seconds)
    ))
}

/// Waiting for what is open.
struct Wait {
    until: Option<(Instant, Duration)>,
    shown: Option<u64>,
}

impl Wait {
    fn of(timeout: Option<Interval>) -> Self {
        let until = timeout.map(|Interval(length)| (Instant::now() + length, length));
        Self { until, shown: None }
    }

    /// Looks until nothing is left, and shows how much is whenever that changes.
    async fn until_none(
        &mut self,
        look: impl AsyncFn() -> Result<u64, ClientError>,
    ) -> Result<(), Failure> {
        loop {
            let left = look().await?;
            if left == 0 {
                return Ok(());
            }
            if self.shown.replace(left) != Some(left) {
                terminal::remark(format_args!("{left} under way"));
            }
            if let Some((until, length)) = self.until
                && Instant::now() >= until
            {
                let length = terminal::seconds(length.as_secs_f64());
                return Err(Failure::new(
                    Exit::Error,
                    format!("{left} still under way after {length}"),
                )
                .hint("it still takes nothing new; run it again to wait for longer"));
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}
