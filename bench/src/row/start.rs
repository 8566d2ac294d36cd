//! From the start of the program to its first right answer.

use std::time::{Duration, Instant};

use anyhow::Context;

use super::{Row, Stage};
use crate::bench::Bench;
use crate::contender::Installed;
use crate::http_client::HttpClient;
use crate::http_service::{Carry, HttpService};
use crate::load::wrk::Wrk;
use crate::measure::{Measure, Unit};
use crate::origin;
use crate::rounds::Figures;
use crate::statistics::Spread;
use crate::under_load::Service;

/// Starts of one turn; the figure is their median.
const STARTS: usize = 5;
const LIMIT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_micros(500);

pub(super) static START: Row = Row {
    name: "start",
    about: "from the start of bs9 serve (one listener, one cluster) to its first right answer; median of 5",
    unit: Unit::START,
    measure: Measure::Time,
    peers: &[],
    limit: Some(0.050),
    stage: |bench, _| {
        let service = HttpService::start(bench, Carry::SmallHttp, Wrk::keep_alive(1))?;
        Ok(Box::new(Starts { service }))
    },
};

#[derive(Debug)]
struct Starts {
    service: HttpService,
}

impl Stage for Starts {
    fn versions(&self) -> anyhow::Result<Vec<(&'static str, String)>> {
        Ok(Vec::new())
    }

    fn lacks(&self, _: &Bench, _: &Installed) -> anyhow::Result<Option<String>> {
        Ok(None)
    }

    fn turn(&self, bench: &Bench, contender: &Installed) -> anyhow::Result<Figures> {
        let mut seconds = Vec::with_capacity(STARTS);
        for _ in 0..STARTS {
            seconds.push(self.one_start(bench, contender)?.as_secs_f64());
        }
        let spread = Spread::of(seconds).context("starts take finite times")?;
        Ok(Figures { value: spread.median, ..Figures::default() })
    }
}

impl Starts {
    fn one_start(&self, bench: &Bench, contender: &Installed) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        let mut running = self.service.launch(bench, contender)?;
        loop {
            if let Ok(mut client) = HttpClient::connect(running.address) {
                origin::check(&client.get("/")?, origin::SMALL_BODY_BYTES)?;
                return Ok(begun.elapsed());
            }
            bench.interrupt.check()?;
            running.process.still_starting(begun + LIMIT)?;
            std::thread::sleep(POLL);
        }
    }
}
