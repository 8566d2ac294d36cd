//! Lazy timeouts: one entry per connection, moved only when it falls due.
//!
//! Setting a deadline writes a number. The wheel looks at it when the slot the
//! entry once landed in comes round, and files it again if the deadline has moved
//! on since. A keep-alive connection thus costs the wheel one visit per timeout
//! period, however many requests it carried.

use std::{
    cell::{Cell, RefCell},
    future::Future,
    pin::pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::sync::Notify;

use crate::clock::{self, CoarseInstant};

/// Width of a slot; a timeout fires at most this much late.
const SLOT: Duration = Duration::from_millis(16);
/// Slots of the wheel: with [`SLOT`], about 65 s until an entry is looked at again.
const SLOTS: u64 = 4096;
const UNARMED: u64 = u64::MAX;

/// Why a guarded wait ended before what it waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interrupted {
    /// The timer's deadline passed.
    Elapsed,
    /// The shard drains, and this wait said that it need not be waited for.
    Draining,
    /// The drain's deadline passed: everything still open is closed.
    Aborted,
}

/// A shard's timers.
#[derive(Debug)]
pub(crate) struct Wheel {
    slots: RefCell<Vec<Vec<Rc<Entry>>>>,
    /// The slot number up to which everything has been looked at.
    current: Cell<u64>,
    /// When the driver will look next, as a slot number.
    planned: Cell<u64>,
    earlier: Notify,
    /// All entries, to wake everybody at a drain.
    entries: RefCell<slab::Slab<Rc<Entry>>>,
    phase: Cell<Phase>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Serving,
    Draining,
    Aborting,
}

#[derive(Debug)]
struct Entry {
    deadline: Cell<CoarseInstant>,
    /// Slot number it is filed under, or [`UNARMED`].
    armed: Cell<u64>,
    /// Its place in that slot, so that it can be taken out at once.
    position: Cell<usize>,
    waker: RefCell<Option<Waker>>,
}

impl Entry {
    fn wake(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

fn slot_of(instant: CoarseInstant) -> u64 {
    // Rounded up: an entry is never looked at before it is due.
    instant.nanoseconds().div_ceil(SLOT.as_nanos() as u64)
}

impl Wheel {
    pub(crate) fn new() -> Rc<Self> {
        let current = clock::now().nanoseconds() / SLOT.as_nanos() as u64;
        Rc::new(Self {
            slots: RefCell::new((0..SLOTS).map(|_| Vec::new()).collect()),
            current: Cell::new(current),
            planned: Cell::new(UNARMED),
            earlier: Notify::new(),
            entries: RefCell::default(),
            phase: Cell::new(Phase::Serving),
        })
    }

    pub(crate) fn phase(&self) -> Phase {
        self.phase.get()
    }

    /// Enters a phase and wakes every guarded wait, so that it sees it.
    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        self.wake_all();
    }

    /// Wakes every guarded wait.
    pub(crate) fn wake_all(&self) {
        for (_, entry) in &*self.entries.borrow() {
            entry.wake();
        }
    }

    fn file(&self, entry: &Rc<Entry>) {
        let due = slot_of(entry.deadline.get());
        let soonest = self.current.get() + 1;
        let slot = due.clamp(soonest, self.current.get() + SLOTS - 1);
        let mut slots = self.slots.borrow_mut();
        let filed = &mut slots[(slot % SLOTS) as usize];
        entry.armed.set(slot);
        entry.position.set(filed.len());
        filed.push(Rc::clone(entry));
        drop(slots);
        if slot < self.planned.get() {
            self.earlier.notify_one();
        }
    }

    fn unfile(&self, entry: &Entry) {
        let slot = entry.armed.replace(UNARMED);
        if slot == UNARMED {
            return;
        }
        let mut slots = self.slots.borrow_mut();
        let filed = &mut slots[(slot % SLOTS) as usize];
        let position = entry.position.get();
        filed.swap_remove(position);
        if let Some(moved) = filed.get(position) {
            moved.position.set(position);
        }
    }

    /// Looks at everything up to now; wakes what is due.
    fn turn(&self) {
        let now = clock::refresh();
        let target = now.nanoseconds() / SLOT.as_nanos() as u64;
        let mut slot = self.current.get();
        while slot < target {
            slot += 1;
            self.current.set(slot);
            let index = (slot % SLOTS) as usize;
            if self.slots.borrow()[index].is_empty() {
                continue;
            }
            let mut due = std::mem::take(&mut self.slots.borrow_mut()[index]);
            for entry in due.drain(..) {
                self.look_at(&entry, now);
            }
            // The slot keeps its room, so that filing does not allocate.
            let mut slots = self.slots.borrow_mut();
            if slots[index].is_empty() {
                slots[index] = due;
            }
        }
    }

    /// `entry` was just taken out of its slot.
    fn look_at(&self, entry: &Rc<Entry>, now: CoarseInstant) {
        entry.armed.set(UNARMED);
        let deadline = entry.deadline.get();
        if deadline <= now {
            entry.wake();
        } else if deadline != CoarseInstant::NEVER {
            self.file(entry);
        }
    }

    fn next_slot(&self) -> Option<u64> {
        let slots = self.slots.borrow();
        let current = self.current.get();
        (1..SLOTS)
            .map(|ahead| current + ahead)
            .find(|slot| !slots[(slot % SLOTS) as usize].is_empty())
    }

    /// Drives the wheel for the life of the shard.
    pub(crate) async fn drive(self: Rc<Self>) {
        loop {
            let earlier = self.earlier.notified();
            match self.next_slot() {
                None => {
                    self.planned.set(UNARMED);
                    earlier.await;
                    // The wheel stood still while it was empty.
                    clock::refresh();
                }
                Some(slot) => {
                    self.planned.set(slot);
                    let at = Duration::from_nanos(slot * SLOT.as_nanos() as u64);
                    let now = Duration::from_nanos(clock::refresh().nanoseconds());
                    let sleep = tokio::time::sleep(at.saturating_sub(now));
                    tokio::select! {
                        () = sleep => {}
                        () = earlier => {}
                    }
                }
            }
            self.turn();
        }
    }
}

/// A connection's timeout.
#[derive(Debug)]
pub struct Timer {
    wheel: Rc<Wheel>,
    entry: Rc<Entry>,
    key: usize,
}

impl Timer {
    pub(crate) fn new(wheel: &Rc<Wheel>) -> Self {
        let entry = Rc::new(Entry {
            deadline: Cell::new(CoarseInstant::NEVER),
            armed: Cell::new(UNARMED),
            position: Cell::new(0),
            waker: RefCell::new(None),
        });
        let key = wheel.entries.borrow_mut().insert(Rc::clone(&entry));
        Self { wheel: Rc::clone(wheel), entry, key }
    }

    /// Falls due `after` from now, instead of when it would have before.
    pub fn set(&self, after: Duration) {
        self.set_at(clock::now().plus(after));
    }

    /// Falls due at `deadline`.
    pub fn set_at(&self, deadline: CoarseInstant) {
        self.entry.deadline.set(deadline);
        if deadline != CoarseInstant::NEVER && slot_of(deadline) < self.entry.armed.get() {
            self.wheel.unfile(&self.entry);
            self.wheel.file(&self.entry);
        }
    }

    /// Never falls due.
    pub fn clear(&self) {
        self.entry.deadline.set(CoarseInstant::NEVER);
    }

    /// When it falls due.
    pub fn deadline(&self) -> CoarseInstant {
        self.entry.deadline.get()
    }

    /// Waits for `work`, but not beyond the deadline. A drain lets it finish.
    ///
    /// # Errors
    /// [`Interrupted::Elapsed`] and [`Interrupted::Aborted`].
    pub async fn guard<F: Future>(&self, work: F) -> Result<F::Output, Interrupted> {
        let mut work = pin!(work);
        std::future::poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Ok(output)),
            Poll::Pending => self.poll_interrupted(cx, Phase::Aborting).map(Err),
        })
        .await
    }

    /// Waits for `work` that a drain need not wait for, such as the next request of a
    /// keep-alive connection, and for as long as `wanted` says so. `wanted` is asked again
    /// whenever [`Shard::look_again`](crate::Shard::look_again) is called; when it says no,
    /// the wait ends like in a drain.
    ///
    /// # Errors
    /// Each [`Interrupted`].
    pub async fn guard_idle_while<F: Future>(
        &self,
        work: F,
        wanted: impl Fn() -> bool,
    ) -> Result<F::Output, Interrupted> {
        let mut work = pin!(work);
        std::future::poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Ok(output)),
            Poll::Pending if !wanted() => Poll::Ready(Err(Interrupted::Draining)),
            Poll::Pending => self.poll_interrupted(cx, Phase::Draining).map(Err),
        })
        .await
    }

    /// Ready when this timer interrupts what is being waited for; otherwise the
    /// task is woken when it does.
    pub fn poll_guard(&self, cx: &mut Context<'_>) -> Poll<Interrupted> {
        self.poll_interrupted(cx, Phase::Aborting)
    }

    fn poll_interrupted(&self, cx: &mut Context<'_>, sensitive_from: Phase) -> Poll<Interrupted> {
        match self.wheel.phase.get() {
            Phase::Aborting => return Poll::Ready(Interrupted::Aborted),
            Phase::Draining if sensitive_from == Phase::Draining => {
                return Poll::Ready(Interrupted::Draining);
            }
            Phase::Serving | Phase::Draining => {}
        }
        if self.entry.deadline.get() <= clock::now() {
            return Poll::Ready(Interrupted::Elapsed);
        }
        let mut waker = self.entry.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.wheel.unfile(&self.entry);
        self.entry.waker.borrow_mut().take();
        self.wheel.entries.borrow_mut().remove(self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on_a_shard<F: Future>(work: impl FnOnce(Rc<Wheel>) -> F) -> F::Output {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build_local(tokio::runtime::LocalOptions::default())
            .unwrap();
        let wheel = Wheel::new();
        runtime.block_on(async {
            tokio::task::spawn_local(Rc::clone(&wheel).drive());
            work(wheel).await
        })
    }

    #[test]
    fn a_deadline_that_passes_ends_the_wait() {
        on_a_shard(|wheel| async move {
            let timer = Timer::new(&wheel);
            timer.set(Duration::from_millis(20));
            let ended = timer.guard(std::future::pending::<()>()).await;
            assert_eq!(ended, Err(Interrupted::Elapsed));
        });
    }

    #[test]
    fn a_deadline_moved_back_and_forth_fires_once_at_the_last_one() {
        on_a_shard(|wheel| async move {
            let timer = Timer::new(&wheel);
            timer.set(Duration::from_secs(3600));
            timer.set(Duration::from_millis(30));
            timer.set(Duration::from_millis(200));
            let before = clock::refresh();
            assert!(timer.guard(std::future::pending::<()>()).await.is_err());
            assert!(clock::refresh().since(before) >= Duration::from_millis(180));
        });
    }

    #[test]
    fn a_drain_ends_only_idle_waits_and_an_abort_ends_all() {
        on_a_shard(|wheel| async move {
            let (idle, busy) = (Timer::new(&wheel), Timer::new(&wheel));
            let other = Rc::clone(&wheel);
            tokio::task::spawn_local(async move { other.enter(Phase::Draining) });
            let ended = idle.guard_idle_while(std::future::pending::<()>(), || true).await;
            assert_eq!(ended, Err(Interrupted::Draining));
            tokio::task::spawn_local(async move { wheel.enter(Phase::Aborting) });
            let ended = busy.guard(std::future::pending::<()>()).await;
            assert_eq!(ended, Err(Interrupted::Aborted));
        });
    }

    #[test]
    fn an_entry_beyond_the_horizon_is_filed_again() {
        let wheel = Wheel::new();
        let timer = Timer::new(&wheel);
        timer.set(SLOT * (SLOTS as u32 * 2));
        assert!(timer.entry.armed.get() <= wheel.current.get() + SLOTS);
        let slot = timer.entry.armed.get();
        wheel.unfile(&timer.entry);
        wheel.current.set(slot);
        wheel.look_at(&timer.entry, clock::now());
        assert!(timer.entry.armed.get() > slot);
    }

    #[test]
    fn a_dropped_timer_leaves_nothing_behind() {
        let wheel = Wheel::new();
        let timers: Vec<_> = (0..8).map(|_| Timer::new(&wheel)).collect();
        for timer in &timers {
            timer.set(Duration::from_secs(30));
        }
        drop(timers);
        assert!(wheel.slots.borrow().iter().all(Vec::is_empty));
        assert!(wheel.entries.borrow().is_empty());
    }
}
