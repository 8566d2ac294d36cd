//! A month of a thousand series, and a question about one of them.

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};
use bs9_api::types::SeriesName;
use bs9_config::{HistoryStore, Retention};
use bs9_manager::Archive;

use super::{Row, Stage};
use crate::bench::Bench;
use crate::contender::Installed;
use crate::http_client::HttpClient;
use crate::measure::{Measure, Unit};
use crate::process::Launch;
use crate::rounds::Figures;
use crate::statistics::Spread;

const SERIES: usize = 1_000;
const MONTH_SECONDS: i64 = 30 * 86_400;
/// What the database may have by default.
const SIZE_LIMIT_BYTES: u64 = 2 << 30;
/// Questions of one turn; the figure is their median.
const QUESTIONS: usize = 9;
const READY_LIMIT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);

pub(super) static HISTORY: Row = Row {
    name: "history",
    about: "GET /v1/series: 30 days of one of 1,000 series, 43,200 points of a minute, in JSON; median of 9",
    unit: Unit::QUESTION,
    measure: Measure::Time,
    peers: &[],
    limit: Some(0.200),
    stage: |bench, _| Ok(Box::new(Month::write(bench)?)),
};

#[derive(Debug)]
struct Month {
    state: PathBuf,
    end: i64,
    size_bytes: u64,
}

impl Month {
    fn write(bench: &Bench) -> anyhow::Result<Self> {
        let state = bench.dir.path().join("month");
        std::fs::create_dir_all(&state)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() as i64;
        let end = now - now.rem_euclid(60);
        let days = |days: u64| Duration::from_secs(days * 86_400);
        let settings = HistoryStore {
            size_limit_bytes: SIZE_LIMIT_BYTES,
            max_series: SERIES,
            keep: Retention {
                second: days(1),
                ten_seconds: days(2),
                minute: days(31),
                hour: days(730),
            },
            postgres: None,
        };
        let series = (0..SERIES).map(|number| SeriesName {
            name: if number % 2 == 0 {
                "bs9_service_cpu_ratio"
            } else {
                "bs9_service_memory_bytes"
            }
            .to_owned(),
            subject: format!("unit-{:03}.service", number / 2),
        });
        let mut archive = Archive::create(&state, &settings, series.collect())?;
        for at in (end - MONTH_SECONDS..end).step_by(60) {
            bench.interrupt.check()?;
            archive.add_minute(at, |number| value(at, number))?;
        }
        let size_bytes = archive.size_bytes()?;
        ensure!(
            size_bytes <= SIZE_LIMIT_BYTES,
            "a month of {SERIES} series takes {size_bytes} bytes; {SIZE_LIMIT_BYTES} are the most"
        );
        Ok(Self { state, end, size_bytes })
    }
}

/// Every other one a share of a core that is never the same twice, the others whole
/// pages of memory.
fn value(at: i64, number: usize) -> (f64, f64) {
    let mut noise = (at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (number as u64) << 32;
    noise ^= noise >> 29;
    noise = noise.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let share = (noise >> 11) as f64 / (1_u64 << 53) as f64;
    if number.is_multiple_of(2) {
        (share / 3.0, share)
    } else {
        let pages = 20_000 + (noise >> 52);
        (pages as f64 * 4_096.0, (pages + 16) as f64 * 4_096.0)
    }
}

impl Stage for Month {
    fn versions(&self) -> anyhow::Result<Vec<(&'static str, String)>> {
        let size = self.size_bytes as f64 / (1_u64 << 20) as f64;
        Ok(vec![("database", format!("{size:.0} MiB of {} MiB allowed", SIZE_LIMIT_BYTES >> 20))])
    }

    fn most_rounds(&self) -> Option<u32> {
        Some(3)
    }

    fn lacks(&self, _: &Bench, _: &Installed) -> anyhow::Result<Option<String>> {
        Ok(None)
    }

    fn turn(&self, bench: &Bench, contender: &Installed) -> anyhow::Result<Figures> {
        let socket = bench.dir.path().join("history.sock");
        let text = format!(
            "state_folder = {:?}\n[services]\nfolder = {:?}\n[admin]\nsocket = {socket:?}\n\
             [dataplane]\nsocket = {:?}\n[collect]\nunits = []\n[history.store]\nminute = \"31d\"\n",
            self.state,
            bench.dir.path().join("services"),
            bench.dir.path().join("nobody.sock"),
        );
        let config = bench.dir.write("history.toml", &text)?;
        let mut process = Launch::contender(bench, contender.contender.name(), &contender.program)
            .args_of_manager(&config)
            .start(bench)?;
        let deadline = Instant::now() + READY_LIMIT;
        let answers = || HttpClient::connect_unix(&socket)?.get("/health/live").map(drop);
        while answers().is_err() {
            bench.interrupt.check()?;
            process.still_starting(deadline)?;
            std::thread::sleep(POLL);
        }
        let mut seconds = Vec::with_capacity(QUESTIONS);
        for number in 0..QUESTIONS {
            seconds.push(self.ask(&socket, number * 50)?.as_secs_f64());
        }
        let spread = Spread::of(seconds).context("questions take finite times")?;
        Ok(Figures {
            value: spread.median,
            memory_bytes: Some(process.memory_peak_bytes()?),
            ..Figures::default()
        })
    }
}

impl Month {
    fn ask(&self, socket: &std::path::Path, unit: usize) -> anyhow::Result<Duration> {
        let time = |seconds: i64| -> anyhow::Result<String> {
            Ok(jiff::Timestamp::from_second(seconds)?.to_string().replace(':', "%3A"))
        };
        let path = format!(
            "/v1/series?name=bs9_service_cpu_ratio&subject=unit-{unit:03}.service&from={}&to={}&resolution_seconds=60",
            time(self.end - MONTH_SECONDS)?,
            time(self.end)?
        );
        let mut client = HttpClient::connect_unix(socket)?;
        let begun = Instant::now();
        let answer = client.get(&path)?;
        let took = begun.elapsed();
        let answer: serde_json::Value = serde_json::from_slice(&answer.body)?;
        let points = answer["series"][0]["points"].as_array().map_or(0, Vec::len);
        ensure!(points == 43_200, "{points} points came back, not 43,200");
        Ok(took)
    }
}
