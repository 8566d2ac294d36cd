//! From the start of the program to its first right answer.

use std::time::{Duration, Instant};

use anyhow::Context;

use super::{Row, Stage};
use crate::bench::Bench;
use crate::contender::{Contender, Installed};
use crate::http_client::HttpClient;
use crate::http_service::{Carry, HttpService};
use crate::load::wrk::{Reuse, Wrk};
use crate::measure::{Measure, Unit};
use crate::origin;
use crate::rounds::Figures;
use crate::statistics::Spread;
use crate::under_load::Service;

/// Starts of one turn; the figure is their median.
const STARTS: usize = 5;
const LIMIT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_micros(500);

#[derive(Debug)]
pub(crate) struct Start;

#[derive(Debug)]
struct Starts {
    service: HttpService,
}

impl Row for Start {
    fn name(&self) -> &'static str {
        "start"
    }

    fn about(&self) -> &'static str {
        "from the start of bs9 serve (one listener, one cluster) to its first right answer; median of 5"
    }

    fn unit(&self) -> Unit {
        Unit::START
    }

    fn measure(&self) -> Measure {
        Measure::Time
    }

    fn contenders(&self) -> &'static [Contender] {
        &[Contender::Bs9]
    }

    fn limit(&self) -> Option<f64> {
        Some(0.050)
    }

    fn stage(&self, bench: &Bench) -> anyhow::Result<Box<dyn Stage>> {
        let load = Wrk { connections: 1, reuse: Reuse::KeepAlive };
        let service = HttpService::start(bench, Carry::SmallHttp, origin::SMALL_BODY_BYTES, load)?;
        Ok(Box::new(Starts { service }))
    }
}

impl Stage for Starts {
    fn versions(&self) -> Vec<(&'static str, String)> {
        Vec::new()
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
