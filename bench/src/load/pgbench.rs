//! pgbench: PostgreSQL clients, each with one query under way at a time.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};

use super::{Generator, Latency, Load};
use crate::bench::Bench;
use crate::contender::version_of;
use crate::postgres::Tools;
use crate::process::Launch;

/// The part of transactions whose latency pgbench writes down. All of them
/// would make the load generator dearer than what it measures.
const SAMPLED: &str = "0.2";

/// What a run lasts longer than asked: in this time its clients connect and rush
/// at the pool all at once. Latencies of that are left out.
pub(super) const LEAD: Duration = Duration::from_secs(1);

/// What the clients send.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Queries {
    /// pgbench's `--protocol`: simple, extended or prepared.
    pub(crate) protocol: &'static str,
    pub(crate) clients: u32,
    /// Whether they speak TLS with the pool. Behind it nobody does.
    pub(crate) tls: bool,
}

impl Queries {
    /// In plain text.
    pub(crate) const fn new(protocol: &'static str, clients: u32) -> Self {
        Self { protocol, clients, tls: false }
    }

    pub(crate) const fn over_tls(self) -> Self {
        Self { tls: true, ..self }
    }
}

/// pgbench with one thread, and where the server's programs are.
#[derive(Debug)]
pub(crate) struct Pgbench {
    pub(crate) tools: Tools,
    pub(crate) queries: Queries,
}

impl Generator for Pgbench {
    fn version(&self) -> anyhow::Result<(&'static str, String)> {
        Ok(("pgbench", version_of(&self.tools.program("pgbench"), "--version")?))
    }

    fn backend_may_limit(&self) -> bool {
        true
    }

    fn launch(
        &self,
        bench: &Bench,
        address: SocketAddr,
        length: Duration,
    ) -> anyhow::Result<Launch> {
        let latencies = latencies(bench);
        fs::create_dir_all(&latencies)?;
        Ok(Launch::load(bench, "pgbench", &self.tools.program("pgbench"))
            .argument("--select-only")
            .argument("--no-vacuum")
            .argument(format!("--protocol={}", self.queries.protocol))
            .argument(format!("--client={}", self.queries.clients))
            .argument("--jobs=1")
            .argument(format!("--time={}", (length + LEAD).as_secs()))
            .argument("--log")
            .argument(format!("--log-prefix={}", latencies.join("log").display()))
            .argument(format!("--sampling-rate={SAMPLED}"))
            .arguments(Tools::connection(address, self.queries.tls)))
    }

    fn read(&self, bench: &Bench, printed: &str) -> anyhow::Result<Load> {
        let sampled = read_latencies(&latencies(bench))?;
        fs::remove_dir_all(latencies(bench))?;
        parse(printed, &sampled).context("no totals")
    }
}

/// Where pgbench logs transactions.
fn latencies(bench: &Bench) -> PathBuf {
    bench.dir.path().join("pgbench-latencies")
}

/// Latencies in microseconds, in order, from pgbench's per-transaction log.
fn read_latencies(folder: &Path) -> anyhow::Result<Vec<u64>> {
    let mut log = String::new();
    for entry in fs::read_dir(folder)? {
        log.push_str(&fs::read_to_string(entry?.path())?);
    }
    let mut micros = after_lead(&log);
    ensure!(!micros.is_empty(), "pgbench logged no latency: it hardly got a query through");
    micros.sort_unstable();
    Ok(micros)
}

/// Latencies of what ended after the lead, which begins with the first end.
fn after_lead(log: &str) -> Vec<u64> {
    let ended: Vec<(Duration, u64)> = log.lines().filter_map(parse_transaction).collect();
    let Some(first) = ended.iter().map(|(end, _)| *end).min() else { return Vec::new() };
    ended
        .into_iter()
        .filter(|(end, _)| *end >= first.saturating_add(LEAD))
        .map(|(_, micros)| micros)
        .collect()
}

/// When a transaction ended, and how many microseconds it took, from
/// `client_id transaction_no time script_no time_epoch time_us`.
fn parse_transaction(line: &str) -> Option<(Duration, u64)> {
    let mut fields = line.split(' ');
    let micros = fields.nth(2)?.parse().ok()?;
    let seconds = fields.nth(1)?.parse().ok()?;
    let fraction = fields.next()?.parse().ok()?;
    let end = Duration::from_secs(seconds).checked_add(Duration::from_micros(fraction))?;
    Some((end, micros))
}

/// Reads pgbench's report. Clients that gave up are errors of their own.
fn parse(text: &str, sampled_micros: &[u64]) -> Option<Load> {
    let (mut units, mut failed, mut rate, mut aborted) = (None, 0u64, None, 0u64);
    for line in text.lines() {
        if let Some(count) = line.strip_prefix("number of transactions actually processed: ") {
            units = Some(count.split('/').next()?.trim().parse::<u64>().ok()?);
        } else if let Some(count) = line.strip_prefix("number of failed transactions: ") {
            failed = count.split(' ').next()?.parse().ok()?;
        } else if let Some(value) = line.strip_prefix("tps = ") {
            rate = Some(value.split(' ').next()?.parse::<f64>().ok()?);
        } else if line.contains(" aborted in ") {
            aborted += 1;
        }
    }
    let (units, rate) = (units?, rate?);
    Some(Load {
        units,
        seconds: units as f64 / rate,
        errors: failed + aborted,
        latency: Latency::of_sorted_micros(sampled_micros)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CLEAN: &str = "pgbench (15.18 (Debian 15.18-0+deb12u1))
transaction type: <builtin: select only>
scaling factor: 1
query mode: simple
number of clients: 32
number of threads: 1
maximum number of tries: 1
duration: 4 s
number of transactions actually processed: 100000
number of failed transactions: 0 (0.000%)
latency average = 1.275 ms
initial connection time = 9.613 ms
tps = 25000.000000 (without initial connection time)
";

    #[test]
    fn a_clean_report_is_read() {
        let load = parse(CLEAN, &(1..=101).collect::<Vec<_>>()).unwrap();
        assert_eq!((load.units, load.errors), (100_000, 0));
        assert!((load.seconds - 4.0).abs() < 1e-9);
        assert!((load.latency.p50_seconds - 51e-6).abs() < 1e-9);
        assert!((load.latency.p99_seconds - 100e-6).abs() < 1e-9);
    }

    #[test]
    fn failed_transactions_and_lost_clients_are_errors() {
        let failed = CLEAN.replace("transactions: 0 (", "transactions: 7 (");
        let lost =
            format!("pgbench: error: client 3 script 0 aborted in command 1 query 0\n{failed}");
        assert_eq!(parse(&lost, &[1]).unwrap().errors, 8);
    }

    #[test]
    fn an_incomplete_report_is_refused() {
        assert_eq!(parse("pgbench: error: connection refused", &[1]), None);
        assert_eq!(parse(CLEAN, &[]), None);
    }

    #[test]
    fn latencies_of_the_first_second_are_left_out() {
        let log = "0 1 900 0 1790000000 500000\n1 1 800 0 1790000001 499999\n\
                   0 2 30 0 1790000001 500000\n1 2 20 0 1790000002 0\nno line\n";
        assert_eq!(after_lead(log), [30, 20]);
        assert!(after_lead("").is_empty());
    }

    proptest! {
        #[test]
        fn any_line_is_read_or_refused(line in "([0-9]{0,20} ?){0,7}") {
            let _ = after_lead(&line);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "(?s).{0,300}") {
            let _ = parse(&text, &[1, 2, 3]);
        }
    }
}
