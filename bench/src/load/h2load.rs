//! h2load: HTTP/2 over TLS with many requests at once on few connections, or plain HTTP/1.1 with one
//! on each.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, ensure};

use super::{Generator, Latency, Load, Totals};
use crate::bench::Bench;
use crate::contender::{find_program, version_of};
use crate::process::Launch;

/// How h2load works.
#[derive(Debug, Clone, Copy)]
pub(crate) struct H2load {
    pub(crate) connections: u32,
    /// Requests that each connection has under way; `None`: it speaks HTTP/1.1.
    pub(crate) streams: Option<u32>,
}

impl Generator for H2load {
    fn version(&self) -> anyhow::Result<(&'static str, String)> {
        Ok(("h2load", version_of(&find_program("h2load")?, "--version")?))
    }

    fn launch(
        &self,
        bench: &Bench,
        address: SocketAddr,
        length: Duration,
    ) -> anyhow::Result<Launch> {
        let log = latencies(bench);
        // It appends to what there is.
        if log.exists() {
            fs::remove_file(&log)?;
        }
        let launch = Launch::load(bench, "h2load", &find_program("h2load")?)
            .argument("--threads=1")
            .argument(format!("--clients={}", self.connections))
            .argument(format!("--duration={}", length.as_secs().max(1)))
            .argument(format!("--log-file={}", log.display()));
        Ok(match self.streams {
            Some(streams) => launch
                .argument(format!("--max-concurrent-streams={streams}"))
                .argument(format!("https://{address}/")),
            None => launch.argument("--h1").argument(format!("http://{address}/")),
        })
    }

    fn read(&self, bench: &Bench, printed: &str) -> anyhow::Result<Load> {
        let negotiated = printed.contains("Application protocol: h2\n");
        ensure!(self.streams.is_none() || negotiated, "HTTP/2 was not negotiated (ALPN)");
        let mut micros: Vec<u64> =
            fs::read_to_string(latencies(bench))?.lines().filter_map(parse_request).collect();
        micros.sort_unstable();
        let latency = Latency::of_sorted_micros(&micros).context("not one request was answered")?;
        let Totals { units, seconds, errors } = Totals::find(printed).context("no totals")?;
        Ok(Load { units, seconds, errors, latency })
    }
}

/// Where h2load writes a line for each request.
fn latencies(bench: &Bench) -> PathBuf {
    bench.dir.path().join("h2load-latencies")
}

/// How many microseconds an answered request took, from `start TAB status TAB micros`.
fn parse_request(line: &str) -> Option<u64> {
    let mut fields = line.split('\t').skip(1);
    let answered = fields.next()?.parse::<u16>().is_ok();
    let micros = fields.next()?.parse().ok()?;
    answered.then_some(micros)
}

/// Of its summary.
impl Totals {
    /// Reads the summary of h2load.
    pub(crate) fn find(printed: &str) -> Option<Self> {
        let seconds = printed.lines().find_map(|line| {
            let time = line.strip_prefix("finished in ")?.split(',').next()?;
            let digits = time.find(|c: char| c.is_ascii_alphabetic())?;
            let (number, unit) = time.split_at(digits);
            let scale = match unit {
                "us" => 1e-6,
                "ms" => 1e-3,
                "s" => 1.0,
                _ => return None,
            };
            Some(number.parse::<f64>().ok()? * scale)
        })?;
        let counts = printed.lines().find_map(|line| line.strip_prefix("requests: "))?;
        let count = |kind: &str| -> Option<u64> {
            counts.split(',').find_map(|part| part.trim().strip_suffix(kind)?.trim().parse().ok())
        };
        // One that is late is counted as errored as well.
        let errors = count("failed")?.max(count("errored")?);
        Some(Self { units: count("succeeded")?, seconds, errors })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CLEAN: &str = "finished in 2.50s, 48234.20 req/s, 9.15MB/s
requests: 96468 total, 96868 started, 96468 done, 96460 succeeded, 8 failed, 3 errored, 0 timeout
status codes: 96460 2xx, 0 3xx, 0 4xx, 8 5xx
";

    #[test]
    fn a_report_is_read() {
        let load = Totals::find(CLEAN).unwrap();
        assert_eq!((load.units, load.errors), (96_460, 8));
        assert!((load.seconds - 2.5).abs() < 1e-9);
        assert_eq!(Totals::find("could not connect\n"), None);
    }

    #[test]
    fn requests_without_an_answer_have_no_latency() {
        assert_eq!(parse_request("1790000000\t200\t1234"), Some(1234));
        assert_eq!(parse_request("1790000000\t-1\t1234"), None);
        assert_eq!(parse_request(""), None);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(?s)(finished in |requests: )?.{0,200}") {
            let _ = (Totals::find(&text), parse_request(&text));
        }
    }
}
