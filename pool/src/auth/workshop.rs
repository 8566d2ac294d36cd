//! A thread that derives keys: thousands of hash rounds each, which no shard has time for.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError},
};

use tokio::sync::oneshot;

/// Derivations that may wait. More logins than that at once are refused.
const MAX_QUEUED: usize = 10_000;

/// Whether somebody waits for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// A login does.
    Login,
    /// Nobody yet: it is done when there is nothing else to do.
    Ahead,
}

/// Why nothing was derived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WorkshopError {
    #[error("too many logins at once")]
    Crowded,
    #[error("deriving SCRAM keys was interrupted")]
    Interrupted,
}

type Job = Box<dyn FnOnce() + Send>;

/// The thread starts with the first job, and ends when this is dropped.
pub(crate) struct Workshop {
    bench: Arc<Bench>,
    started: OnceLock<bool>,
}

#[derive(Default)]
struct Bench {
    jobs: Mutex<Jobs>,
    changed: Condvar,
}

#[derive(Default)]
struct Jobs {
    urgent: VecDeque<Job>,
    ahead: VecDeque<Job>,
    closed: bool,
}

impl fmt::Debug for Workshop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workshop").finish_non_exhaustive()
    }
}

impl Workshop {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { bench: Arc::default(), started: OnceLock::new() })
    }

    /// Has `work` done there.
    pub(crate) async fn derive<T: Send + 'static>(
        &self,
        urgency: Urgency,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, WorkshopError> {
        let (done, wait) = oneshot::channel();
        self.submit(urgency, move || {
            // Whoever has gone meanwhile needs nothing.
            if urgency == Urgency::Ahead || !done.is_closed() {
                let _nobody_waits = done.send(work());
            }
        })?;
        wait.await.map_err(|_| WorkshopError::Interrupted)
    }

    /// Has `work` done there, some time.
    pub(crate) fn submit(
        &self,
        urgency: Urgency,
        work: impl FnOnce() + Send + 'static,
    ) -> Result<(), WorkshopError> {
        if !*self.started.get_or_init(|| Bench::start(&self.bench)) {
            return Err(WorkshopError::Interrupted);
        }
        let mut jobs = self.bench.jobs();
        let queue = match urgency {
            Urgency::Login => &mut jobs.urgent,
            Urgency::Ahead => &mut jobs.ahead,
        };
        if queue.len() >= MAX_QUEUED {
            return Err(WorkshopError::Crowded);
        }
        queue.push_back(Box::new(work));
        self.bench.changed.notify_one();
        Ok(())
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        self.bench.jobs().closed = true;
        self.bench.changed.notify_one();
    }
}

impl Bench {
    fn jobs(&self) -> MutexGuard<'_, Jobs> {
        // Jobs run while it is not locked.
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// False when there can be no thread.
    fn start(bench: &Arc<Self>) -> bool {
        let own = Arc::clone(bench);
        let started =
            std::thread::Builder::new().name("bs9-logins".to_owned()).spawn(move || own.work());
        if let Err(error) = &started {
            tracing::error!(%error, "no thread for deriving keys could be started");
        }
        started.is_ok()
    }

    fn work(&self) {
        loop {
            let mut jobs = self.jobs();
            let job = loop {
                if jobs.closed {
                    return;
                }
                let next = jobs.urgent.pop_front().or_else(|| jobs.ahead.pop_front());
                match next {
                    Some(job) => break job,
                    None => {
                        jobs = self.changed.wait(jobs).unwrap_or_else(PoisonError::into_inner);
                    }
                }
            };
            drop(jobs);
            job();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn logins_come_before_what_nobody_waits_for() {
        let workshop = Workshop::new();
        let (go, gate) = std::sync::mpsc::channel::<()>();
        let (tell, told) = std::sync::mpsc::channel();
        workshop.submit(Urgency::Ahead, move || gate.recv().expect("opened")).expect("taken");
        for (urgency, name) in [(Urgency::Ahead, "ahead"), (Urgency::Login, "login")] {
            let tell = tell.clone();
            workshop.submit(urgency, move || tell.send(name).expect("heard")).expect("taken");
        }
        go.send(()).expect("it waits");
        assert_eq!(workshop.derive(Urgency::Login, || 7).await, Ok(7));
        let order: Vec<_> = told.iter().take(2).collect();
        assert_eq!(order, ["login", "ahead"]);
    }

    #[tokio::test]
    async fn it_is_bounded() {
        let workshop = Workshop::new();
        let (_go, gate) = std::sync::mpsc::channel::<()>();
        workshop.submit(Urgency::Login, move || assert!(gate.recv().is_err())).expect("taken");
        let refused =
            (0..=MAX_QUEUED + 1).find_map(|_| workshop.submit(Urgency::Login, || ()).err());
        assert_eq!(refused, Some(WorkshopError::Crowded));
    }
}
