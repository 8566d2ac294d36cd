//! One thread: an event loop and its connections.
//!
//! A request is *claimed* by a connection before it is sent, and stays with it whatever happens:
//! it ends as one success or one failure, also when the connection it needs cannot be opened. So
//! counts are exact, and nothing retries for ever.
//!
//! In steady state a request costs one `send`, one `recv` and a share of an `epoll_wait`. Sockets
//! are registered once, edge-triggered. Timeouts are deadlines in the connections, looked at when
//! the earliest that can have passed did; no timer is set for a request.

use std::{
    io,
    net::SocketAddr,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use mio::{Events, Poll, Token, event::Event};

mod account;
mod alarm;
mod connection;
mod crowd;
mod deadlines;
mod lane;
mod nap;
mod opening;
mod pace;
mod precise_timer;
mod transfer;

use alarm::Alarm;
use connection::{Connection, Stage};
use lane::{Lane, LaneState};
use pace::Pace;

pub(crate) use crowd::Members;
pub(crate) use opening::Opened;
pub(crate) use pace::Share;

use crate::{
    failure::FailureLog,
    measure::{Finished, Latencies, Measurements},
    mix::{Mix, Picker},
    protocol::Protocol,
    tally::Tally,
    thread_time::ThreadTime,
};

/// Bytes read at once; one buffer serves all connections of a thread.
const BUFFER_BYTES: usize = 64 << 10;
/// Events taken at once.
const EVENTS: usize = 1_024;
/// Longest wait, so that a request to stop is seen.
const MAX_WAIT: Duration = Duration::from_millis(100);
/// How long requests that are under way when the run is stopped may take to end.
const STOP_GRACE: Duration = Duration::from_secs(1);
/// Open loop: how long after the end requests are sent that were due before it.
const BACKLOG_GRACE: Duration = Duration::from_secs(1);
/// The tokens of timers; connections have their index.
const TIMER: Token = Token(usize::MAX);
const NAPS: Token = Token(usize::MAX - 1);

/// What a thread is told.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    /// The thread's number.
    pub(crate) index: usize,
    /// All threads.
    pub(crate) threads: usize,
    pub(crate) address: SocketAddr,
    /// Connections of this thread, at least one.
    pub(crate) connections: usize,
    /// As many of them are opened before the start.
    pub(crate) open_at_start: usize,
    pub(crate) keep_alive: bool,
    pub(crate) request_timeout: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) warm_up: Duration,
    /// How long requests are sent, warm-up not counted.
    pub(crate) duration: Option<Duration>,
    /// How many requests this thread sends, warm-up not counted.
    pub(crate) requests: Option<u64>,
    pub(crate) share: Share,
    pub(crate) mix: Mix,
    /// When each stage ends, counted from the end of the warm-up.
    pub(crate) stage_ends: Arc<[Duration]>,
}

/// An event loop and its connections.
pub(crate) struct Worker<'a, P: Protocol> {
    order: Order,
    protocol: P,
    poll: Poll,
    connections: Vec<Connection<P::Session>>,
    /// Those of the first connection, those of the second, and so on.
    lanes: Vec<Lane>,
    lanes_each: usize,
    /// Connections in line to be flushed.
    unflushed: Vec<usize>,
    buffer: Box<[u8]>,
    pace: Pace,
    /// Connections that pause within a request.
    naps: Alarm,
    picker: Picker,
    clock: Option<Clock>,
    /// Connections that are being opened before the start.
    opening: usize,
    opening_failures: FailureLog,
    /// Claimed requests.
    under_way: usize,
    /// Requests that may still be claimed.
    budget: Option<u64>,
    /// Before this no deadline can have passed.
    next_sweep: Instant,
    measured: Measurements,
    /// What the protocol stood at when the measurement began.
    statements_before: Option<u64>,
    connect: Latencies,
    warmed_up: u64,
    last_end: Instant,
    stop: &'a AtomicBool,
    tally: Arc<Tally>,
}

/// When things happen in a run.
#[derive(Debug, Clone, Copy)]
struct Clock {
    start: Instant,
    measure_from: Instant,
    end: Option<Instant>,
    /// What the thread had cost when the measurement began; `None` during warm-up.
    measuring: Option<(Instant, ThreadTime)>,
    /// When intervals and stages are to be looked at next.
    next_cut: Instant,
    /// When it was noticed that the run is to stop.
    stopped_at: Option<Instant>,
}

// === impl Worker ===

impl<'a, P: Protocol> Worker<'a, P> {
    /// # Errors
    /// When the system gives no event loop.
    pub(crate) fn new(
        order: Order,
        mut protocol: P,
        stop: &'a AtomicBool,
        tally: Arc<Tally>,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let now = Instant::now();
        protocol.settle(order.index, order.threads);
        let connections = (0..order.connections).map(|_| Connection::new(protocol.session(), now));
        let lanes_each = protocol.lanes();
        let lanes = vec![Lane::new(now); order.connections * lanes_each];
        Ok(Self {
            connections: connections.collect(),
            pace: Pace::new(order.share.clone(), lanes.len(), poll.registry())?,
            naps: Alarm::new(poll.registry(), NAPS)?,
            picker: Picker::new(order.mix.clone(), order.index),
            measured: Measurements::new(order.mix.entries().len(), Arc::clone(&order.stage_ends)),
            budget: order.requests,
            lanes,
            lanes_each,
            unflushed: Vec::new(),
            order,
            protocol,
            poll,
            buffer: vec![0; BUFFER_BYTES].into(),
            clock: None,
            opening: 0,
            opening_failures: FailureLog::default(),
            under_way: 0,
            next_sweep: now,
            statements_before: None,
            connect: Latencies::new(),
            warmed_up: 0,
            last_end: now,
            stop,
            tally,
        })
    }

    /// Carries the order out from `start` on.
    ///
    /// # Errors
    /// When the event loop fails; connections that fail are counted instead.
    pub(crate) fn run(mut self, start: Instant) -> io::Result<Finished> {
        let mut events = Events::with_capacity(EVENTS);
        let measure_from = start + self.order.warm_up;
        self.last_end = measure_from;
        self.clock = Some(Clock {
            start,
            measure_from,
            end: self.order.duration.map(|duration| measure_from + duration),
            measuring: None,
            next_cut: measure_from,
            stopped_at: None,
        });
        std::thread::sleep(start.saturating_duration_since(Instant::now()));
        let now = Instant::now();
        self.tick(now);
        // One lane of each connection, then another one of each.
        for own in 0..self.lanes_each {
            for slot in 0..self.connections.len() {
                self.release(self.lane(slot, own), now);
            }
        }
        self.dispatch(now);
        while !self.is_done(Instant::now()) {
            self.turn(&mut events)?;
        }
        self.say_farewell();
        Ok(self.finish())
    }

    /// Waits for something to happen, and handles it.
    fn turn(&mut self, events: &mut Events) -> io::Result<()> {
        self.flush_queued();
        let timeout = self.wait(Instant::now())?;
        match self.poll.poll(events, Some(timeout)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(error),
        }
        for event in events.iter() {
            if event.token() < NAPS {
                self.handle(event.token().0, event);
            }
        }
        let now = Instant::now();
        self.tick(now);
        self.sweep(now);
        self.end_naps(now);
        self.dispatch(now);
        self.tally.publish(self.measured.count());
        Ok(())
    }

    /// How long nothing has to be done.
    fn wait(&mut self, now: Instant) -> io::Result<Duration> {
        let until_sweep = self.next_sweep.saturating_duration_since(now);
        let until_sweep = self.naps.arm(now)?.map_or(until_sweep, |nap| nap.min(until_sweep));
        let Some(Clock { start, end, .. }) = self.clock.filter(|clock| !clock.is_over(now)) else {
            return Ok(until_sweep.min(MAX_WAIT));
        };
        let until_due = self.pace.arm(start, now)?.unwrap_or(MAX_WAIT);
        let until_end = end.map_or(MAX_WAIT, |end| end.saturating_duration_since(now));
        Ok(until_due.min(until_end).min(until_sweep).min(MAX_WAIT))
    }

    fn handle(&mut self, slot: usize, event: &Event) {
        let closing = event.is_read_closed() || event.is_error();
        match self.connections[slot].stage {
            Stage::Closed | Stage::Waiting => return,
            Stage::Connecting if event.is_error() || event.is_write_closed() => {
                return self.not_connected(slot);
            }
            Stage::Connecting if event.is_writable() => self.connected(slot),
            Stage::Connecting => return,
            Stage::LoggingIn | Stage::Open => {
                if self.connections[slot].blocked && event.is_writable() {
                    self.flush(slot);
                }
            }
        }
        if event.is_readable() || closing {
            let connection = &self.connections[slot];
            match connection.stage {
                // It failed just now; perhaps it is on its way again.
                Stage::Closed | Stage::Waiting | Stage::Connecting => {}
                Stage::Open if connection.under_way == 0 => self.read_idle(slot),
                Stage::LoggingIn | Stage::Open => self.read(slot, closing),
            }
        }
    }

    /// The connection of a lane.
    #[inline]
    fn slot(&self, lane: usize) -> usize {
        if P::MULTIPLEXED { lane / self.lanes_each } else { lane }
    }

    /// A lane of a connection.
    #[inline]
    fn lane(&self, slot: usize, own: usize) -> usize {
        if P::MULTIPLEXED { slot * self.lanes_each + own } else { slot }
    }

    /// The lanes of a connection.
    #[inline]
    fn lanes_of(&self, slot: usize) -> Range<usize> {
        let first = self.lane(slot, 0);
        first..first + self.lanes_each
    }

    /// What time alone brings about.
    fn tick(&mut self, now: Instant) {
        let stop = self.stop.load(Ordering::Relaxed);
        let Some(clock) = &mut self.clock else { return };
        if stop && clock.stopped_at.is_none() {
            clock.stopped_at = Some(now);
        }
        if now < clock.next_cut {
            return;
        }
        let time = ThreadTime::now();
        if clock.measuring.is_none() {
            clock.measuring = Some((now, time));
            // Everything else is only counted from here on; bytes were all along.
            (self.measured.sent_bytes, self.measured.received_bytes) = (0, 0);
            self.statements_before = self.protocol.statements();
            self.measured.over_time.begin(self.measured.standing(time));
        } else {
            let standing = self.measured.standing(time);
            self.measured.over_time.cut(now - clock.measure_from, standing);
        }
        clock.next_cut = clock.measure_from + self.measured.over_time.next_cut();
    }

    /// Whether no request may be claimed any more.
    fn is_over(&self, now: Instant) -> bool {
        self.budget == Some(0) || self.clock.is_none_or(|clock| clock.is_over(now))
    }

    fn is_done(&self, now: Instant) -> bool {
        let Some(clock) = &self.clock else { return true };
        let over = self.is_over(now) && !self.has_backlog(now, clock);
        let given_up = clock.stopped_at.is_some_and(|stopped| now >= stopped + STOP_GRACE);
        (over && self.under_way == 0) || given_up
    }

    /// Open loop: whether requests that were due before the end may still be sent.
    fn has_backlog(&self, now: Instant, clock: &Clock) -> bool {
        let Some(end) = clock.end else { return false };
        let in_time = clock.stopped_at.is_none() && now < end + BACKLOG_GRACE;
        in_time && self.budget != Some(0) && self.pace.is_due_before(clock.start, end)
    }

    fn finish(mut self) -> Finished {
        let now = Instant::now();
        let clock = self.clock.expect("a run begins with its clock");
        let interrupted = clock.stopped_at.is_some();
        if let (Some(end), false) = (clock.end, interrupted || self.budget == Some(0)) {
            let unsent = self.pace.left_between(clock.start, clock.measure_from, end);
            self.measured.leave_unsent(unsent.min(self.budget.unwrap_or(u64::MAX)));
        }
        let ended_at = match clock.end {
            _ if interrupted => now,
            Some(end) if self.budget != Some(0) => end.max(self.last_end),
            _ => self.last_end,
        };
        self.tally.publish(self.measured.count());
        let time = ThreadTime::now();
        let (began, before) = clock.measuring.unwrap_or((now, time));
        let standing = self.measured.standing(time);
        self.measured.over_time.cut(now.saturating_duration_since(clock.measure_from), standing);
        let statements = self.protocol.statements().zip(self.statements_before);
        Finished {
            statements: statements.map(|(after, before)| after - before),
            measured: self.measured,
            connect: self.connect,
            warmed_up: self.warmed_up,
            ended_at,
            wall: now.saturating_duration_since(began),
            time: time.since(before),
            interrupted,
        }
    }
}

// === impl Clock ===

impl Clock {
    fn is_over(&self, now: Instant) -> bool {
        self.stopped_at.is_some() || self.end.is_some_and(|end| now >= end)
    }
}
