//! Queries against a PostgreSQL server, timed.

use std::{
    rc::Rc,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod};
use serde::Serialize;
use tokio::task::{JoinSet, spawn_local};
use tokio_postgres::{Client, Config, NoTls};

/// How long connections are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Connections {
    /// A connection for each query: log in, ask, leave.
    PerQuery,
    /// Connections that stay, shared by the workers.
    Kept,
}

/// What is done.
#[derive(Debug, Clone)]
pub(super) struct Load {
    pub(super) query: String,
    /// Workers at once.
    pub(super) concurrency: u16,
    /// Queries in all.
    pub(super) iterations: u64,
    /// Connections that are kept, at most.
    pub(super) max_connections: u16,
}

/// What came of it.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Measurement {
    pub(super) queries: u64,
    pub(super) errors: u64,
    /// The first error.
    pub(super) error: Option<String>,
    pub(super) elapsed_seconds: f64,
    pub(super) queries_per_second: f64,
    pub(super) latency_p50_seconds: f64,
    pub(super) latency_p95_seconds: f64,
    pub(super) latency_p99_seconds: f64,
    pub(super) latency_max_seconds: f64,
}

/// Opens so many server connections behind a pool: as many transactions at once.
///
/// # Errors
/// The server cannot be reached, or does not let the user in.
pub(super) async fn warm_up(
    config: &Config,
    connections: u16,
) -> Result<(), tokio_postgres::Error> {
    let mut open = Vec::new();
    for _ in 0..connections {
        let client = connect(config).await?;
        client.batch_execute("BEGIN").await?;
        open.push(client);
    }
    for client in open {
        client.batch_execute("ROLLBACK").await?;
    }
    Ok(())
}

/// Logs in; the connection is driven beside the caller, on its thread.
pub(super) async fn connect(config: &Config) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = config.connect(NoTls).await?;
    spawn_local(async move {
        // The client sees the same error.
        let _ended = connection.await;
    });
    Ok(client)
}

/// Runs `load` with the workers on this thread.
pub(super) async fn measure(config: &Config, connections: Connections, load: &Load) -> Measurement {
    let source = Rc::new(match connections {
        Connections::PerQuery => Source::PerQuery(Box::new(config.clone())),
        Connections::Kept => match pool(config, load) {
            Ok(pool) => Source::Kept(pool),
            Err(error) => return Measurement::failed(&error),
        },
    });
    let load = Rc::new(load.clone());
    let started_queries = Rc::new(AtomicU64::new(0));
    let mut workers = JoinSet::new();
    let start = Instant::now();
    for _ in 0..load.concurrency {
        let (source, load, begun) =
            (Rc::clone(&source), Rc::clone(&load), Rc::clone(&started_queries));
        workers.spawn_local(async move {
            let mut done = Done::default();
            while begun.fetch_add(1, Relaxed) < load.iterations {
                let begin = Instant::now();
                match source.ask(&load.query).await {
                    Ok(()) => done.latencies.push(begin.elapsed()),
                    Err(error) => done.fail(error),
                }
            }
            done
        });
    }
    let mut all = Done::default();
    while let Some(worker) = workers.join_next().await {
        match worker {
            Ok(done) => all.add(done),
            Err(error) => all.fail(error.to_string()),
        }
    }
    Measurement::of(all, start.elapsed())
}

fn pool(config: &Config, load: &Load) -> Result<Pool, String> {
    // As an application would: no query of its own before each use.
    let manager = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let manager = Manager::from_config(config.clone(), NoTls, manager);
    let size = usize::from(load.max_connections.min(load.concurrency));
    Pool::builder(manager).max_size(size).build().map_err(|error| error.to_string())
}

/// Where a worker has its connection from.
enum Source {
    PerQuery(Box<Config>),
    Kept(Pool),
}

impl Source {
    async fn ask(&self, query: &str) -> Result<(), String> {
        match self {
            Self::PerQuery(config) => {
                let client = connect(config).await.map_err(|error| explain(&error))?;
                client.simple_query(query).await.map_err(|error| explain(&error))?;
            }
            Self::Kept(pool) => {
                let client = pool.get().await.map_err(|error| explain(&error))?;
                client.simple_query(query).await.map_err(|error| explain(&error))?;
            }
        }
        Ok(())
    }
}

/// An error with its causes on one line.
pub(super) fn explain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = error.source();
    }
    text
}

#[derive(Debug, Default)]
struct Done {
    latencies: Vec<Duration>,
    errors: u64,
    error: Option<String>,
}

impl Done {
    fn fail(&mut self, error: String) {
        self.errors += 1;
        self.error.get_or_insert(error);
    }

    fn add(&mut self, other: Self) {
        self.latencies.extend(other.latencies);
        self.errors += other.errors;
        self.error = self.error.take().or(other.error);
    }
}

impl Measurement {
    fn of(mut done: Done, elapsed: Duration) -> Self {
        done.latencies.sort_unstable();
        let at = |share: f64| percentile(&done.latencies, share).as_secs_f64();
        let queries = done.latencies.len() as u64;
        let elapsed_seconds = elapsed.as_secs_f64();
        Self {
            queries,
            errors: done.errors,
            elapsed_seconds,
            queries_per_second: queries as f64 / elapsed_seconds.max(f64::MIN_POSITIVE),
            latency_p50_seconds: at(0.50),
            latency_p95_seconds: at(0.95),
            latency_p99_seconds: at(0.99),
            latency_max_seconds: at(1.0),
            error: done.error,
        }
    }

    fn failed(error: &str) -> Self {
        Self::of(
            Done { errors: 1, error: Some(error.to_owned()), ..Done::default() },
            Duration::ZERO,
        )
    }
}

/// The smallest value that `share` of all values do not exceed; of sorted values.
fn percentile(sorted: &[Duration], share: f64) -> Duration {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).or(sorted.last()).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_by_nearest_rank() {
        let sorted: Vec<_> = (1..=100).map(Duration::from_millis).collect();
        for (share, milliseconds) in [(0.0, 1), (0.5, 50), (0.95, 95), (0.99, 99), (1.0, 100)] {
            assert_eq!(percentile(&sorted, share), Duration::from_millis(milliseconds), "{share}");
        }
        assert_eq!(percentile(&[], 0.5), Duration::ZERO);
        assert_eq!(percentile(&sorted[..1], 0.99), Duration::from_millis(1));
    }
}
