//! wrk: a fixed number of connections, each as fast as it can.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;

use super::summary::Summary;
use super::{Generator, Load};
use crate::bench::Bench;
use crate::contender::{find_program, version_of};
use crate::process::Launch;

/// How wrk works.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wrk {
    pub(crate) connections: u32,
    pub(crate) reuse: Reuse,
    pub(crate) scheme: &'static str,
    /// What each connection waits between two requests, so that neither wrk nor
    /// the origin on its core becomes the bottleneck.
    pub(crate) think: Duration,
}

/// Whether connections carry more than one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reuse {
    KeepAlive,
    /// `Connection: close` in each request; wrk opens another after the answer.
    Close,
}

impl Wrk {
    /// Kept connections without a pause, in plain text.
    pub(crate) const fn keep_alive(connections: u32) -> Self {
        Self { connections, reuse: Reuse::KeepAlive, scheme: "http", think: Duration::ZERO }
    }
}

impl Generator for Wrk {
    fn version(&self) -> anyhow::Result<(&'static str, String)> {
        Ok(("wrk", version_of(&find_program("wrk")?, "-v")?))
    }

    fn launch(
        &self,
        bench: &Bench,
        address: SocketAddr,
        length: Duration,
    ) -> anyhow::Result<Launch> {
        let mut launch = Launch::load(bench, "wrk", &find_program("wrk")?)
            .argument("--threads=1")
            .argument(format!("--connections={}", self.connections))
            .argument(format!("--duration={}s", length.as_secs().max(1)))
            .argument("--script")
            .argument(self.script(bench)?);
        if self.reuse == Reuse::Close {
            launch = launch.arguments(["--header", "Connection: close"]);
        }
        Ok(launch.argument(format!("{}://{address}/", self.scheme)))
    }

    fn read(&self, _: &Bench, printed: &str) -> anyhow::Result<Load> {
        Summary::find(printed).context("wrk's script printed no summary")
    }
}

impl Wrk {
    /// The script that makes wrk wait and tell more quantiles than it does by itself.
    fn script(&self, bench: &Bench) -> anyhow::Result<std::path::PathBuf> {
        let mut text = include_str!("wrk.lua").to_owned();
        if !self.think.is_zero() {
            // Given a `delay`, wrk sets a timer for each request, whatever it returns.
            let think = self.think.as_millis();
            text.push_str(&format!("\nfunction delay()\n  return {think}\nend\n"));
        }
        bench.dir.write("wrk.lua", &text)
    }
}
