//! The clients of a soak, each on a thread of its own.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::anyhow;
use serde::Serialize;

use crate::http_client::HttpClient;
use crate::origin;
use crate::postgres_client::PostgresClient;

/// HTTP clients that keep their connection, and that open one for each request;
/// PostgreSQL clients that stay for some queries.
const KEEPERS: usize = 8;
const CHURNERS: usize = 4;
const QUERIERS: usize = 8;
const QUERIES_PER_VISIT: usize = 25;

/// Between two requests of a client: a soak is about hours, not about speed.
const REST: Duration = Duration::from_millis(2);

/// Requests in this part of all may fail while an endpoint is dead.
const EXCUSED_PART: f64 = 0.02;

/// Everyone, until they are sent home.
#[derive(Debug)]
pub(super) struct Crowd {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    over: AtomicBool,
    begun: Instant,
    /// Milliseconds from the beginning until which errors are excused.
    excused_until: AtomicU64,
    http: Tally,
    postgres: Tally,
}

#[derive(Debug, Default)]
struct Tally {
    done: AtomicU64,
    excused: AtomicU64,
    failed: AtomicU64,
    /// The first that nothing excuses.
    failure: Mutex<Option<String>>,
}

/// What all of them saw.
#[derive(Debug, Serialize)]
pub(super) struct Counts {
    http: Count,
    postgres: Count,
}

/// What the clients of one protocol saw.
#[derive(Debug, Serialize)]
pub(super) struct Count {
    done: u64,
    /// Failed while an endpoint was dead.
    excused: u64,
    /// Failed at any other time.
    failed: u64,
    first_failure: Option<String>,
}

impl Crowd {
    pub(super) fn gather(web: SocketAddr, db: SocketAddr) -> Self {
        let shared = Arc::new(Shared {
            over: AtomicBool::new(false),
            begun: Instant::now(),
            excused_until: AtomicU64::new(0),
            http: Tally::default(),
            postgres: Tally::default(),
        });
        let mut threads = Vec::new();
        let mut add = |count: usize, visit: Visit, at: SocketAddr| {
            for _ in 0..count {
                let shared = shared.clone();
                threads.push(thread::spawn(move || {
                    while !shared.over.load(Relaxed) {
                        visit(&shared, at);
                        thread::sleep(REST);
                    }
                }));
            }
        };
        add(KEEPERS, keep, web);
        add(CHURNERS, churn, web);
        add(QUERIERS, query, db);
        Self { shared, threads }
    }

    /// Excuses what fails from now on for so long.
    pub(super) fn excuse(&self, length: Duration) {
        let until = (self.shared.begun.elapsed() + length).as_millis() as u64;
        self.shared.excused_until.store(until, Relaxed);
    }

    /// Sends everyone home and counts.
    pub(super) fn disperse(self) -> anyhow::Result<Counts> {
        self.shared.over.store(true, Relaxed);
        for thread in self.threads {
            thread.join().map_err(|_| anyhow!("a client panicked"))?;
        }
        Ok(Counts { http: self.shared.http.count(), postgres: self.shared.postgres.count() })
    }
}

/// What a client does until it leaves or fails.
type Visit = fn(&Shared, SocketAddr);

fn keep(shared: &Shared, at: SocketAddr) {
    let mut client = None;
    while !shared.over.load(Relaxed) {
        let done = shared.attempt(&shared.http, || {
            let client = match &mut client {
                Some(client) => client,
                none => none.insert(HttpClient::connect(at)?),
            };
            origin::check(&client.get("/kept")?, origin::SMALL_BODY_BYTES)
        });
        if !done {
            return;
        }
        thread::sleep(REST);
    }
}

fn churn(shared: &Shared, at: SocketAddr) {
    shared.attempt(&shared.http, || {
        origin::check(&HttpClient::connect(at)?.get("/new")?, origin::SMALL_BODY_BYTES)
    });
}

fn query(shared: &Shared, at: SocketAddr) {
    let mut client = None;
    for _ in 0..QUERIES_PER_VISIT {
        let done = shared.attempt(&shared.postgres, || {
            let client = match &mut client {
                Some(client) => client,
                none => none.insert(PostgresClient::connect(at)?),
            };
            client.query("SELECT 1")
        });
        if !done {
            return;
        }
        thread::sleep(REST);
    }
}

impl Shared {
    /// Counts one request, and says whether it went well.
    fn attempt(&self, tally: &Tally, work: impl FnOnce() -> anyhow::Result<()>) -> bool {
        let excused_before = self.is_excused();
        let result = work();
        match &result {
            Ok(()) => tally.done.fetch_add(1, Relaxed),
            Err(_) if excused_before || self.is_excused() => tally.excused.fetch_add(1, Relaxed),
            Err(e) => {
                let mut first = tally.failure.lock().unwrap_or_else(PoisonError::into_inner);
                let at = self.begun.elapsed().as_secs_f64();
                first.get_or_insert_with(|| format!("after {at:.1} s: {e:#}"));
                tally.failed.fetch_add(1, Relaxed)
            }
        };
        result.is_ok()
    }

    fn is_excused(&self) -> bool {
        (self.begun.elapsed().as_millis() as u64) < self.excused_until.load(Relaxed)
    }
}

impl Tally {
    fn count(&self) -> Count {
        let first = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        Count {
            done: self.done.load(Relaxed),
            excused: self.excused.load(Relaxed),
            failed: self.failed.load(Relaxed),
            first_failure: first.clone(),
        }
    }
}

// === impl Counts ===

impl Counts {
    pub(super) fn are_good(&self) -> bool {
        self.http.is_good() && self.postgres.is_good()
    }
}

impl Count {
    fn is_good(&self) -> bool {
        self.done > 0 && self.failed == 0 && self.excused as f64 <= EXCUSED_PART * self.done as f64
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HTTP: {}\nPostgreSQL: {}", self.http, self.postgres)
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { done, excused, failed, first_failure } = self;
        write!(
            f,
            "{done} answered, {excused} failed while an endpoint was dead, {failed} otherwise"
        )?;
        if let Some(failure) = first_failure {
            write!(f, " (first: {failure})")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(done: u64, excused: u64, failed: u64) -> Count {
        Count { done, excused, failed, first_failure: None }
    }

    #[test]
    fn nothing_done_too_much_excused_or_anything_failed_is_not_good() {
        assert!(count(1_000, 20, 0).is_good());
        assert!(!count(1_000, 21, 0).is_good());
        assert!(!count(1_000, 0, 1).is_good());
        assert!(!count(0, 0, 0).is_good());
    }

    #[test]
    fn a_failure_is_excused_for_as_long_as_was_said() {
        let shared = Shared {
            over: AtomicBool::new(false),
            begun: Instant::now(),
            excused_until: AtomicU64::new(u64::MAX),
            http: Tally::default(),
            postgres: Tally::default(),
        };
        assert!(shared.attempt(&shared.http, || Ok(())));
        assert!(!shared.attempt(&shared.http, || Err(anyhow!("no"))));
        shared.excused_until.store(0, Relaxed);
        assert!(!shared.attempt(&shared.http, || Err(anyhow!("no"))));
        let count = shared.http.count();
        assert_eq!((count.done, count.excused, count.failed), (1, 1, 1));
        assert!(count.first_failure.unwrap().ends_with("no"));
    }
}
