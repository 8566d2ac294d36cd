//! Carrying out a plan: threads, their start and end, and what they measured together.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread::{self, Scope, ScopedJoinHandle},
    time::{Duration, Instant},
};

use crate::{
    address,
    failure::{Failure, FailureCount, FailureLog},
    measure::Finished,
    plan::{Load, Plan},
    progress::{Progress, Speed},
    protocol::Protocol,
    rate::{Arrivals, Schedule},
    report::{Evidence, Report},
    tally::{Count, Tally},
    worker::{Members, Opened, Order, Share, Worker},
    workload::Workload,
};

/// Between telling the threads when to start and the start, so that all of them know in time.
const LEAD: Duration = Duration::from_millis(5);
/// Between two looks at how far the threads are.
const LOOK: Duration = Duration::from_millis(100);

/// A run that measured nothing.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The host has no address.
    #[error("the host `{host}` has no address")]
    Resolve {
        /// The host.
        host: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The address is another machine's, and nobody said that this is fine.
    #[error("`{host}` is not this machine (it is {address})")]
    Remote {
        /// The host.
        host: String,
        /// Its address.
        address: IpAddr,
    },
    /// Nobody answers.
    #[error("{address} cannot be reached: {failure}")]
    Unreached {
        /// The address, the first one if there are several.
        address: SocketAddr,
        /// What went wrong.
        failure: Failure,
    },
    /// Somebody answers, but not one connection could be opened and logged in.
    #[error("no connection could be made ready{}", listed(.failures))]
    NotReady {
        /// What went wrong.
        failures: Vec<FailureCount>,
    },
    /// It was told to stop before it began.
    #[error("stopped before the first request")]
    Interrupted,
    /// The system does not give what is needed.
    #[error("the system does not give what an event loop needs")]
    System {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A thread panicked, which is a defect of the load tester.
    #[error("a thread ended unexpectedly; its measurements are lost")]
    Panicked,
}

/// Carries out `plan` until it is done or `stop` is set, telling `watch` several times a second
/// how far it is.
///
/// # Errors
/// [`RunError`] when nothing was measured. Requests that fail are part of the report.
pub fn run(
    plan: &Plan,
    stop: &AtomicBool,
    mut watch: impl FnMut(&Progress),
) -> Result<Report, RunError> {
    let addresses = address::resolve(&plan.target, plan.reach)?;
    let address = address::first_answering(&addresses, plan.connect_timeout)?;
    let site = Site { plan, address, stop };
    match &plan.workload {
        Workload::Http(http) => site.drive(http, &mut watch),
        Workload::HttpTls(http) => site.drive(http, &mut watch),
        Workload::Http2(http) => site.drive(http, &mut watch),
        Workload::Http2Tls(http) => site.drive(http, &mut watch),
        Workload::Echo(echo) => site.drive(echo, &mut watch),
        Workload::EchoTls(echo) => site.drive(echo, &mut watch),
        Workload::WebSocket(websocket) => site.drive(websocket, &mut watch),
        Workload::WebSocketTls(websocket) => site.drive(websocket, &mut watch),
        Workload::Postgres(postgres) => site.drive(postgres, &mut watch),
        Workload::PostgresTls(postgres) => site.drive(postgres, &mut watch),
    }
}

/// What all threads have in common.
#[derive(Clone, Copy)]
struct Site<'a> {
    plan: &'a Plan,
    address: SocketAddr,
    stop: &'a AtomicBool,
}

/// A thread, as the one that started it sees it.
struct Crew<'scope> {
    handle: ScopedJoinHandle<'scope, io::Result<Option<Finished>>>,
    start: Sender<Instant>,
    tally: Arc<Tally>,
}

// === impl Site ===

impl<'a> Site<'a> {
    fn drive<P: Protocol>(
        self,
        protocol: &P,
        watch: &mut dyn FnMut(&Progress),
    ) -> Result<Report, RunError> {
        thread::scope(|scope| {
            let (ready, opened) = mpsc::channel();
            let crews: Result<Vec<_>, _> = (0..self.plan.threads)
                .map(|index| self.hire(scope, index, protocol.clone(), ready.clone()))
                .collect();
            // From here on only the threads hold a sender: the channel ends with them.
            drop(ready);
            let crews = crews.map_err(|source| RunError::System { source })?;
            let failures = self.wait_until_ready(&crews, &opened);
            let failures = match failures {
                Ok(failures) => failures,
                // Those that wait for the start learn that there is none.
                Err(error) => return Err(dismiss(crews).err().unwrap_or(error)),
            };
            let start = Instant::now() + LEAD;
            for crew in &crews {
                // Whoever is not there to hear it has failed, and says so when it is joined.
                let _gone = crew.start.send(start);
            }
            self.watch(&crews, &opened, start, watch);
            let finished = dismiss(crews)?;
            let evidence = Evidence { plan: self.plan, address: self.address, start, failures };
            Ok(Report::new(evidence, finished))
        })
    }

    fn hire<'scope, P: Protocol + 'scope>(
        self,
        scope: &'scope Scope<'scope, '_>,
        index: usize,
        protocol: P,
        ready: Sender<Opened>,
    ) -> io::Result<Crew<'scope>>
    where
        'a: 'scope,
    {
        let tally = Arc::new(Tally::default());
        let (start, wait_for_start) = mpsc::channel();
        let (order, stop, own_tally) = (self.order(index), self.stop, Arc::clone(&tally));
        let work = move || {
            let mut worker = Worker::new(order, protocol, stop, own_tally)?;
            let opened = worker.open()?;
            // `ready` stays alive until the end of the thread, which is what it tells then.
            let _nobody_waits = ready.send(opened);
            match wait_for_start.recv() {
                Ok(start) => worker.run(start).map(Some),
                Err(mpsc::RecvError) => Ok(None),
            }
        };
        let handle =
            thread::Builder::new().name(format!("load-{index}")).spawn_scoped(scope, work)?;
        Ok(Crew { handle, start, tally })
    }

    /// A thread's share of connections, requests and arrivals.
    fn order(self, index: usize) -> Order {
        let plan = self.plan;
        let threads = plan.threads;
        let connections = plan.connections / threads;
        let connections = connections + usize::from(index < plan.connections % threads);
        let requests = plan.requests.map(|requests| {
            let (each, rest) = (requests / threads as u64, requests % threads as u64);
            each + u64::from((index as u64) < rest)
        });
        let course = plan.load.course().after(plan.warm_up);
        let (share, members) = match plan.load {
            Load::Open(_) => {
                (Share::Open(Arrivals::new(Schedule::new(&course), index, threads)), connections)
            }
            Load::Closed(_) => {
                let members = Members::new(course, index, threads);
                let at_start = members.at_start(connections);
                (Share::Closed(members), at_start)
            }
        };
        Order {
            index,
            threads,
            address: self.address,
            connections,
            open_at_start: if plan.keep_alive { members } else { 0 },
            keep_alive: plan.keep_alive,
            request_timeout: plan.request_timeout,
            connect_timeout: plan.connect_timeout,
            warm_up: plan.warm_up,
            duration: plan.duration,
            requests,
            share,
            mix: plan.mix.clone(),
            stage_ends: self.stage_ends(),
        }
    }

    /// When each stage ends, counted from the end of the warm-up.
    fn stage_ends(self) -> Arc<[Duration]> {
        let ends = self.plan.stages.iter().scan(Duration::ZERO, |end, stage| {
            *end += stage.duration;
            Some(*end)
        });
        ends.collect()
    }

    /// Waits until every thread has tried to open its connections.
    fn wait_until_ready(
        self,
        crews: &[Crew<'_>],
        opened: &Receiver<Opened>,
    ) -> Result<FailureLog, RunError> {
        let mut failures = FailureLog::default();
        let mut ready = 0;
        for _ in crews {
            // A thread that fails says why when it is joined.
            let opened = opened.recv().map_err(|mpsc::RecvError| RunError::Panicked)?;
            failures.merge(opened.failures);
            ready += opened.ready;
        }
        if self.stop.load(Ordering::Relaxed) {
            return Err(RunError::Interrupted);
        }
        if ready == 0 && failures.total() > 0 {
            return Err(RunError::NotReady { failures: failures.counts() });
        }
        Ok(failures)
    }

    /// Looks on until all threads have ended.
    fn watch(
        self,
        crews: &[Crew<'_>],
        threads: &Receiver<Opened>,
        start: Instant,
        watch: &mut dyn FnMut(&Progress),
    ) {
        let measure_from = start + self.plan.warm_up;
        let mut speed = Speed::default();
        loop {
            let ended = matches!(threads.recv_timeout(LOOK), Err(RecvTimeoutError::Disconnected));
            let count: Count = crews.iter().map(|crew| crew.tally.read()).sum();
            let now = Instant::now();
            let elapsed = now.saturating_duration_since(measure_from);
            let warming_up = now < measure_from;
            if !warming_up {
                speed.look(elapsed, count);
            }
            watch(&Progress {
                elapsed: now.saturating_duration_since(start),
                warming_up,
                succeeded: count.succeeded,
                failed: count.failed,
                succeeded_per_second: speed.per_second(),
            });
            if ended {
                return;
            }
        }
    }
}

/// Waits for all threads; those that never started have measured nothing.
fn dismiss(crews: Vec<Crew<'_>>) -> Result<Vec<Finished>, RunError> {
    let handles: Vec<_> = crews.into_iter().map(|crew| crew.handle).collect();
    let mut finished = Vec::new();
    for handle in handles {
        match handle.join() {
            Ok(Ok(measured)) => finished.extend(measured),
            Ok(Err(source)) => return Err(RunError::System { source }),
            Err(_panic) => return Err(RunError::Panicked),
        }
    }
    Ok(finished)
}

fn listed(failures: &[FailureCount]) -> String {
    failures
        .iter()
        .map(|FailureCount { count, example, .. }| format!("\n  {count} × {example}"))
        .collect()
}
