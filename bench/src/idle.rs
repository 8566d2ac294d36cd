//! Turns that measure the memory of idle clients: so many are opened, used
//! once and left alone; the growth of resident memory is theirs.

use std::net::SocketAddr;
use std::time::Duration;

use crate::bench::Bench;
use crate::contender::Installed;
use crate::rounds::Figures;
use crate::row::Stage;
use crate::under_load::{Service, ready};

/// Opened, used and closed before the first look, so that what a program sets
/// up once is not put down to the clients.
const WARMUP_CLIENTS: usize = 64;
/// Programs may give memory back a while after the last use.
const SETTLE: Duration = Duration::from_secs(2);

/// How to open a client and use it.
pub(crate) trait Idler {
    type Client;

    /// Connects.
    fn open(&self, address: SocketAddr) -> anyhow::Result<Self::Client>;

    /// Uses a client, which fails if it was thrown out meanwhile.
    fn use_once(&self, client: &mut Self::Client) -> anyhow::Result<()>;
}

/// A stage of such turns.
#[derive(Debug)]
pub(crate) struct Idle<S, I> {
    pub(crate) service: S,
    pub(crate) idler: I,
    pub(crate) count: usize,
}

impl<S: Service, I: Idler> Stage for Idle<S, I> {
    fn versions(&self) -> anyhow::Result<Vec<(&'static str, String)>> {
        Ok(self.service.backend().into_iter().collect())
    }

    /// Thousands of connections take their time.
    fn most_rounds(&self) -> Option<u32> {
        Some(3)
    }

    fn lacks(&self, bench: &Bench, contender: &Installed) -> anyhow::Result<Option<String>> {
        self.service.lacks(bench, contender)
    }

    fn turn(&self, bench: &Bench, contender: &Installed) -> anyhow::Result<Figures> {
        let running = ready(&self.service, bench, contender)?;
        drop(self.open(bench, running.address, WARMUP_CLIENTS)?);
        bench.interrupt.pause(SETTLE)?;

        let before = running.process.memory_bytes()?;
        let mut clients = self.open(bench, running.address, self.count)?;
        bench.interrupt.pause(SETTLE)?;
        let after = running.process.memory_bytes()?;

        // Memory of connections that are not there any more is no achievement.
        let mut errors = 0;
        for client in &mut clients {
            bench.interrupt.check()?;
            errors += u64::from(self.idler.use_once(client).is_err());
        }
        Ok(Figures {
            value: after.saturating_sub(before) as f64 / self.count as f64,
            memory_bytes: Some(running.process.memory_peak_bytes()?),
            errors,
            ..Figures::default()
        })
    }
}

impl<S: Service, I: Idler> Idle<S, I> {
    fn open(
        &self,
        bench: &Bench,
        address: SocketAddr,
        count: usize,
    ) -> anyhow::Result<Vec<I::Client>> {
        (0..count)
            .map(|_| {
                bench.interrupt.check()?;
                let mut client = self.idler.open(address)?;
                self.idler.use_once(&mut client)?;
                Ok(client)
            })
            .collect()
    }
}
