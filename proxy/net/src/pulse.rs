//! Whether shards go on: each is asked to take a turn of its loop once a second, and one that
//! does not is told of, with where it was.

use std::{
    fs,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicI32, AtomicU16, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::{
    sync::{mpsc, oneshot},
    time::{sleep, timeout},
};

use crate::{runtime::Place, shard::Command};

/// How often a shard is asked.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long it may take to answer before it has stalled.
const LONGEST_TURN: Duration = Duration::from_secs(1);

/// What a shard shows of itself to the thread that watches it.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    /// The place of what runs now.
    place: AtomicU16,
    /// The kernel's number of its thread; 0 before it runs.
    thread: AtomicI32,
    stalled: AtomicBool,
    stalls: AtomicU64,
    last: Mutex<Option<Stall>>,
}

/// That a shard did not go on for longer than a second.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stall {
    /// The function whose task ran when it was noticed.
    pub place: &'static str,
    /// What the kernel said of the thread then: its state, what it waited for in the kernel.
    pub thread: String,
    /// How long it lasted; `None`: it lasts.
    pub lasted: Option<Duration>,
}

/// The stalls of a shard, for status answers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stalls {
    /// Since the start.
    pub total: u64,
    /// The last one.
    pub last: Option<Stall>,
}

/// See [`Pulse`]; shared by the shard, who watches it, and who tells of it.
#[derive(Debug, Clone, Default)]
pub struct Vitals(Arc<Pulse>);

impl Pulse {
    /// Says where the shard is from now on.
    #[inline]
    pub(crate) fn enter(&self, place: Place) {
        self.place.store(place.number(), Relaxed);
    }
}

impl Vitals {
    pub(crate) fn pulse(&self) -> &Arc<Pulse> {
        &self.0
    }

    /// This thread is the shard's.
    pub(crate) fn begin(&self) {
        let thread = rustix::thread::gettid().as_raw_nonzero().get();
        self.0.thread.store(thread, Relaxed);
    }

    /// Whether the shard stands still now.
    pub fn is_stalled(&self) -> bool {
        self.0.stalled.load(Relaxed)
    }

    /// How often it did, and what is known of the last time.
    pub fn stalls(&self) -> Stalls {
        let last = self.0.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Stalls { total: self.0.stalls.load(Relaxed), last }
    }

    /// Watches a shard until its thread has ended.
    pub(crate) async fn watch(self, shard: usize, commands: mpsc::UnboundedSender<Command>) {
        loop {
            sleep(INTERVAL).await;
            let (done, mut turned) = oneshot::channel();
            let asked = Instant::now();
            if commands.send(Command::Turn(done)).is_err() {
                return;
            }
            let answer = match timeout(LONGEST_TURN, &mut turned).await {
                Ok(answer) => answer,
                Err(_) => {
                    self.note_stall(shard);
                    let answer = turned.await;
                    self.note_end(shard, asked.elapsed());
                    answer
                }
            };
            if answer.is_err() {
                return;
            }
        }
    }

    fn note_stall(&self, shard: usize) {
        let pulse = &*self.0;
        let place = Place::from_number(pulse.place.load(Relaxed)).name();
        let thread = describe(pulse.thread.load(Relaxed));
        tracing::error!(
            shard,
            place,
            thread,
            longer_than_seconds = LONGEST_TURN.as_secs_f64(),
            "a shard does not go on; its connections wait. `place` is the task that it runs: if the \
             thread runs, the machine is overloaded or the task loops; if it sleeps, the kernel holds it"
        );
        let stall = Stall { place, thread, lasted: None };
        *pulse.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(stall);
        pulse.stalls.fetch_add(1, Relaxed);
        pulse.stalled.store(true, Relaxed);
    }

    fn note_end(&self, shard: usize, lasted: Duration) {
        let pulse = &*self.0;
        pulse.stalled.store(false, Relaxed);
        let mut last = pulse.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(stall) = &mut *last {
            stall.lasted = Some(lasted);
        }
        tracing::warn!(shard, lasted_seconds = lasted.as_secs_f64(), "a shard goes on again");
    }
}

/// A thread of this process as proc(5) has it; what cannot be read is left out.
fn describe(thread: i32) -> String {
    let read = |name: &str| {
        let text = fs::read_to_string(format!("/proc/self/task/{thread}/{name}")).ok()?;
        let text = text.trim();
        (!text.is_empty() && text != "0").then(|| text.to_owned())
    };
    // The state stands behind the name, which may hold anything but ends with the last bracket.
    let state = read("stat").and_then(|stat| {
        let letter = stat.rsplit_once(')')?.1.trim_start().chars().next()?;
        Some(match letter {
            'R' => "running or waiting for a core".to_owned(),
            'S' => "sleeping".to_owned(),
            'D' => "waiting for a device".to_owned(),
            'T' | 't' => "stopped".to_owned(),
            other => format!("in state {other}"),
        })
    });
    let kernel = read("wchan").map(|place| format!("in the kernel's {place}"));
    let call = read("syscall").and_then(|call| {
        let number: u32 = call.split(' ').next()?.parse().ok()?;
        Some(format!("system call {number}"))
    });
    let parts: Vec<_> = [state, kernel, call].into_iter().flatten().collect();
    if parts.is_empty() { "gone".to_owned() } else { parts.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_described_by_what_it_does() {
        let (tell, told) = std::sync::mpsc::channel();
        let (end, wait) = std::sync::mpsc::channel::<()>();
        let sleeping = std::thread::spawn(move || {
            tell.send(rustix::thread::gettid().as_raw_nonzero().get()).unwrap();
            let _ended = wait.recv();
        });
        let thread = told.recv().unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while !describe(thread).starts_with("sleeping") {
            assert!(Instant::now() < deadline, "{}", describe(thread));
            std::thread::yield_now();
        }
        let own = describe(rustix::thread::gettid().as_raw_nonzero().get());
        assert!(own.starts_with("running"), "{own}");
        drop(end);
        sleeping.join().unwrap();
        assert_eq!(describe(i32::MAX), "gone");
    }
}
