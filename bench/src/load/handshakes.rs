//! TLS handshakes: a new connection and a full TLS 1.3 handshake for each request.
//!
//! wrk takes sessions up again and checks certificates with the library that two
//! of the contenders use; this generator does neither, and so costs less than
//! what it measures.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use rustls::ClientConfig;

use super::summary::Summary;
use super::{Generator, Load};
use crate::bench::Bench;
use crate::contender::version_of;
use crate::http_client::HttpClient;
use crate::process::Launch;
use crate::tls_client;

/// How this generator works.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Handshakes {
    pub(crate) connections: usize,
}

impl Generator for Handshakes {
    fn version(&self) -> anyhow::Result<(&'static str, String)> {
        Ok(("bs9-bench", version_of(&std::env::current_exe()?, "--version")?))
    }

    fn launch(
        &self,
        bench: &Bench,
        address: SocketAddr,
        length: Duration,
    ) -> anyhow::Result<Launch> {
        let own = std::env::current_exe().context("finding the path of this program")?;
        Ok(Launch::load(bench, "handshakes", &own)
            .arguments(["handshakes", "--target", &address.to_string()])
            .arguments(["--connections", &self.connections.to_string()])
            .arguments(["--seconds", &length.as_secs().max(1).to_string()]))
    }

    fn read(&self, _: &Bench, printed: &str) -> anyhow::Result<Load> {
        Summary::find(printed).context("no summary")
    }
}

/// What one connection after the other came to.
#[derive(Debug, Default)]
struct Tally {
    micros: Vec<u64>,
    errors: u64,
}

/// Is the generator: prints its summary at the end.
pub(crate) fn work(target: SocketAddr, connections: usize, length: Duration) -> anyhow::Result<()> {
    let config = tls_client::config()?;
    let begun = Instant::now();
    let deadline = begun + length;
    let threads: Vec<_> = (0..connections)
        .map(|_| {
            let config = config.clone();
            thread::spawn(move || one_after_the_other(target, &config, deadline))
        })
        .collect();
    let mut all = Tally::default();
    for thread in threads {
        let tally = thread.join().map_err(|_| anyhow!("a thread panicked"))?;
        all.micros.extend(tally.micros);
        all.errors += tally.errors;
    }
    let elapsed = begun.elapsed();
    all.micros.sort_unstable();
    Ok(writeln!(std::io::stdout(), "{}", serde_json::to_string(&all.summary(elapsed))?)?)
}

fn one_after_the_other(target: SocketAddr, config: &Arc<ClientConfig>, deadline: Instant) -> Tally {
    let mut tally = Tally::default();
    loop {
        let begun = Instant::now();
        if begun >= deadline {
            return tally;
        }
        match one(target, config) {
            Ok(()) => tally.micros.push(begun.elapsed().as_micros() as u64),
            Err(_) => tally.errors += 1,
        }
    }
}

fn one(target: SocketAddr, config: &Arc<ClientConfig>) -> anyhow::Result<()> {
    let mut client = HttpClient::connect_tls(target, config)?;
    let answer = client.get("/")?;
    anyhow::ensure!(answer.status == 200, "status {}", answer.status);
    Ok(client.close_tls()?)
}

impl Tally {
    fn summary(&self, elapsed: Duration) -> Summary {
        let last = self.micros.len().saturating_sub(1) as f64;
        let quantile = |part: f64| {
            self.micros.get((last * part).round() as usize).copied().unwrap_or_default()
        };
        Summary {
            units: self.micros.len() as u64,
            errors: self.errors,
            elapsed: elapsed.as_micros() as u64,
            p50: quantile(0.50),
            p90: quantile(0.90),
            p99: quantile(0.99),
            p99_9: quantile(0.999),
        }
    }
}
