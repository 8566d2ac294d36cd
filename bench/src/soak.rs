//! The soak: bs9 with HTTP and PostgreSQL clients that stay, come and go, an
//! endpoint that dies and comes back, and reloads, all at once. Nothing that it
//! holds may grow, and nothing may fail that a dead endpoint does not excuse.
//!
//! - [`house`]: what runs: PostgreSQL, two endpoints, bs9.
//! - [`crowd`]: the clients.
//! - [`watch`]: samples of what bs9 holds, and what to make of them.

mod crowd;
mod house;
mod watch;

use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::arguments::SoakArguments;
use crate::bench::Bench;
use crate::document;
use crowd::{Counts, Crowd};
use house::House;
use watch::{Finding, Sample};

/// How long an endpoint stays dead, and how long after its return errors are
/// still excused: health checks have to find it first.
const DEAD: Duration = Duration::from_millis(700);
const GRACE: Duration = Duration::from_millis(1_500);

/// The part of a run before things are watched: pools and buffers grow to their size.
const WARMUP_PART: f64 = 1.0 / 3.0;

/// What came of a soak.
#[derive(Debug, Serialize)]
struct Outcome {
    seconds: f64,
    reloads: u32,
    kills: u32,
    counts: Counts,
    findings: Vec<Finding>,
    samples: Vec<Sample>,
}

/// Works and watches for as long as asked.
pub(crate) fn run(bench: &Bench, arguments: &SoakArguments) -> anyhow::Result<ExitCode> {
    let length = Duration::from_secs(arguments.seconds.into());
    let mut house = House::open(bench)?;
    let crowd = Crowd::gather(house.web, house.db);
    let outcome = work(bench, &mut house, &crowd, length);
    // Also on the way out after an error, so that no client outlives the house.
    let counts = crowd.disperse()?;
    let (reloads, kills, samples) = outcome?;

    let warm = length.mul_f64(WARMUP_PART).as_secs_f64();
    let findings = watch::findings(samples.iter().filter(|sample| sample.seconds >= warm));
    let outcome =
        Outcome { seconds: length.as_secs_f64(), reloads, kills, counts, findings, samples };
    writeln!(std::io::stdout(), "{}", outcome.text())?;
    if let Some(path) = &arguments.json {
        document::write_json(path, &outcome)?;
    }
    Ok(if outcome.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Reloads, kills and takes samples, each in its time.
fn work(
    bench: &Bench,
    house: &mut House,
    crowd: &Crowd,
    length: Duration,
) -> anyhow::Result<(u32, u32, Vec<Sample>)> {
    let begun = Instant::now();
    let sample_every = (length / 200).clamp(Duration::from_millis(100), Duration::from_secs(30));
    let reload_every = (length / 30).clamp(Duration::from_millis(500), Duration::from_secs(10));
    let kill_every = (length / 12).clamp(DEAD + GRACE * 2, Duration::from_secs(60));
    let (mut reloads, mut kills, mut samples) = (0, 0, Vec::new());
    let (mut next_sample, mut next_reload, mut next_kill) =
        (Duration::ZERO, reload_every, kill_every / 2);
    loop {
        let now = begun.elapsed();
        if now >= length {
            return Ok((reloads, kills, samples));
        }
        if now >= next_sample {
            samples.push(Sample::take(house.bs9_pid(), now)?);
            next_sample = now + sample_every;
        }
        if now >= next_reload {
            reloads += 1;
            house.reload(bench, reloads)?;
            next_reload = now + reload_every;
        }
        if now >= next_kill {
            kills += 1;
            crowd.excuse(DEAD + GRACE);
            house.kill_endpoint();
            next_kill = now + kill_every;
        }
        if house.endpoint_is_dead_since().is_some_and(|since| since.elapsed() >= DEAD) {
            house.revive_endpoint(bench)?;
        }
        house.still_running()?;
        bench.interrupt.pause(Duration::from_millis(20))?;
    }
}

// === impl Outcome ===

impl Outcome {
    fn is_good(&self) -> bool {
        self.counts.are_good() && self.findings.iter().all(Finding::is_good)
    }

    fn text(&self) -> String {
        let Self { seconds, reloads, kills, counts, findings, samples } = self;
        let mut text = format!(
            "{seconds} s, {reloads} reloads, an endpoint killed {kills} times, {} samples\n{counts}\n",
            samples.len()
        );
        for finding in findings {
            text.push_str(&format!("{finding}\n"));
        }
        text.push_str(if self.is_good() { "nothing grows" } else { "not good" });
        text
    }
}
