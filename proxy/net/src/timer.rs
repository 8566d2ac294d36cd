//! Lazy timeouts: one entry per connection, moved only when it falls due.
//!
//! Setting a deadline writes a number. The wheel looks at it when the slot the
//! entry once landed in comes round, and files it again if the deadline has moved
//! on since. A keep-alive connection thus costs the wheel one visit per timeout
//! period, however many requests it carried.

use std::{
    cell::{Cell, RefCell},
    fmt,
    future::Future,
    num::NonZeroU32,
    pin::pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use crate::clock::{self, CoarseInstant};

/// Width of a slot; a timeout fires at most this much late.
const SLOT: Duration = Duration::from_millis(16);
const SLOT_NANOSECONDS: u64 = SLOT.as_nanos() as u64;
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
pub(crate) struct Wheel {
    /// The first entry filed under each slot; the others follow it. Filing allocates nothing.
    slots: Box<[Cell<Option<EntryKey>>]>,
    /// The slot number up to which everything has been looked at.
    current: Cell<u64>,
    /// The first slot with something in it, or an earlier one; [`UNARMED`] when all are empty.
    planned: Cell<u64>,
    entries: RefCell<Entries>,
    phase: Cell<Phase>,
}

type Entries = slab::Slab<Entry>;

/// An entry's place in [`Wheel::entries`], plus one, so that none of them takes no room.
type EntryKey = NonZeroU32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Serving,
    Draining,
    Aborting,
}

/// What a timer keeps here.
struct Entry {
    deadline: Cell<CoarseInstant>,
    /// Slot number it is filed under, or [`UNARMED`].
    armed: Cell<u64>,
    /// Its neighbours in that slot.
    before: Cell<Option<EntryKey>>,
    after: Cell<Option<EntryKey>>,
    waker: Cell<Option<Waker>>,
}

fn slot_of(instant: CoarseInstant) -> u64 {
    // Rounded up: an entry is never looked at before it is due.
    instant.nanoseconds().div_ceil(SLOT_NANOSECONDS)
}

impl Wheel {
    pub(crate) fn new() -> Rc<Self> {
        let current = clock::now().nanoseconds() / SLOT_NANOSECONDS;
        Rc::new(Self {
            slots: (0..SLOTS).map(|_| Cell::new(None)).collect(),
            current: Cell::new(current),
            planned: Cell::new(UNARMED),
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
        let waiting = |(_, entry): (usize, &Entry)| entry.waker.take();
        let wakers: Vec<Waker> = self.entries.borrow().iter().filter_map(waiting).collect();
        wakers.into_iter().for_each(Waker::wake);
    }

    fn slot(&self, number: u64) -> &Cell<Option<EntryKey>> {
        &self.slots[(number % SLOTS) as usize]
    }

    /// What `look` sees of an entry. It must not drop or wake what it finds there.
    #[inline]
    fn with<T>(&self, key: EntryKey, look: impl FnOnce(&Entry) -> T) -> T {
        look(&self.entries.borrow()[index_of(key)])
    }

    fn file(&self, entries: &Entries, key: EntryKey) {
        let entry = &entries[index_of(key)];
        let due = slot_of(entry.deadline.get());
        let soonest = self.current.get() + 1;
        let number = due.clamp(soonest, self.current.get() + SLOTS - 1);
        let first = self.slot(number).replace(Some(key));
        entry.armed.set(number);
        entry.before.set(None);
        entry.after.set(first);
        if let Some(first) = first {
            entries[index_of(first)].before.set(Some(key));
        }
        self.planned.set(self.planned.get().min(number));
    }

    fn unfile(&self, entries: &Entries, key: EntryKey) {
        let entry = &entries[index_of(key)];
        let number = entry.armed.replace(UNARMED);
        if number == UNARMED {
            return;
        }
        let (before, after) = (entry.before.take(), entry.after.take());
        match before {
            Some(before) => entries[index_of(before)].after.set(after),
            None => self.slot(number).set(after),
        }
        if let Some(after) = after {
            entries[index_of(after)].before.set(before);
        }
    }

    /// How long nothing is due; `None` when nothing ever is.
    pub(crate) fn rest(&self) -> Option<Duration> {
        let planned = self.planned.get();
        let at = (planned != UNARMED).then(|| Duration::from_nanos(planned * SLOT_NANOSECONDS))?;
        Some(at.saturating_sub(Duration::from_nanos(clock::now().nanoseconds())))
    }

    /// Looks at everything up to now; wakes what is due.
    pub(crate) fn turn(&self) {
        let now = clock::now();
        let target = now.nanoseconds() / SLOT_NANOSECONDS;
        if target < self.planned.get() {
            // Nothing lies between.
            self.current.set(target.max(self.current.get()));
            return;
        }
        let mut slot = self.planned.get() - 1;
        while slot < target {
            slot += 1;
            self.current.set(slot);
            // An entry is filed again under a later slot, and waking runs no task.
            while let Some(first) = self.slot(slot).get() {
                if let Some(waker) = self.look_at(first, now) {
                    waker.wake();
                }
            }
        }
        self.planned.set(self.first_filed().unwrap_or(UNARMED));
    }

    /// Takes an entry out of its slot; gives whom to wake, if it is due.
    fn look_at(&self, key: EntryKey, now: CoarseInstant) -> Option<Waker> {
        let entries = self.entries.borrow();
        self.unfile(&entries, key);
        let entry = &entries[index_of(key)];
        let deadline = entry.deadline.get();
        if deadline <= now {
            return entry.waker.take();
        }
        if deadline != CoarseInstant::NEVER {
            self.file(&entries, key);
        }
        None
    }

    fn first_filed(&self) -> Option<u64> {
        let current = self.current.get();
        (1..SLOTS).map(|ahead| current + ahead).find(|slot| self.slot(*slot).get().is_some())
    }
}

fn index_of(key: EntryKey) -> usize {
    key.get() as usize - 1
}

/// A connection's timeout.
pub struct Timer {
    wheel: Rc<Wheel>,
    key: EntryKey,
}

impl Timer {
    pub(crate) fn new(wheel: &Rc<Wheel>) -> Self {
        let index = wheel.entries.borrow_mut().insert(Entry {
            deadline: Cell::new(CoarseInstant::NEVER),
            armed: Cell::new(UNARMED),
            before: Cell::new(None),
            after: Cell::new(None),
            waker: Cell::new(None),
        });
        let key = u32::try_from(index + 1).ok().and_then(EntryKey::new);
        let key = key.expect("a shard holds fewer than 4 billion timers");
        Self { wheel: Rc::clone(wheel), key }
    }

    /// Falls due `after` from now, instead of when it would have before.
    pub fn set(&self, after: Duration) {
        self.set_at(clock::now().plus(after));
    }

    /// Falls due at `deadline`.
    pub fn set_at(&self, deadline: CoarseInstant) {
        let entries = self.wheel.entries.borrow();
        let entry = &entries[index_of(self.key)];
        entry.deadline.set(deadline);
        if deadline != CoarseInstant::NEVER && slot_of(deadline) < entry.armed.get() {
            self.wheel.unfile(&entries, self.key);
            self.wheel.file(&entries, self.key);
        }
    }

    /// Never falls due.
    pub fn clear(&self) {
        self.wheel.with(self.key, |entry| entry.deadline.set(CoarseInstant::NEVER));
    }

    /// When it falls due.
    pub fn deadline(&self) -> CoarseInstant {
        self.wheel.with(self.key, |entry| entry.deadline.get())
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
            Poll::Pending => self.poll_guard_idle(cx, &wanted).map(Err),
        })
        .await
    }

    /// Likewise of a wait that is polled: ready when this interrupts it, or when `wanted` says
    /// no; otherwise the task is woken when either may be.
    pub fn poll_guard_idle(
        &self,
        cx: &mut Context<'_>,
        wanted: impl FnOnce() -> bool,
    ) -> Poll<Interrupted> {
        if !wanted() {
            return Poll::Ready(Interrupted::Draining);
        }
        self.poll_interrupted(cx, Phase::Draining)
    }

    /// Waits until the deadline has passed; a drain and its end make no difference.
    pub async fn elapsed(&self) {
        std::future::poll_fn(|cx| self.poll_elapsed(cx)).await;
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
        self.poll_elapsed(cx).map(|()| Interrupted::Elapsed)
    }

    /// Ready when the deadline has passed; otherwise the task is woken when it does.
    pub(crate) fn poll_elapsed(&self, cx: &mut Context<'_>) -> Poll<()> {
        let waker = cx.waker();
        let (ready, _before) = self.wheel.with(self.key, |entry| {
            if entry.deadline.get() <= clock::now() {
                return (Poll::Ready(()), None);
            }
            (Poll::Pending, entry.waker.replace(Some(waker.clone())))
        });
        ready
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timer").field("deadline", &self.deadline()).finish()
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.wheel.unfile(&self.wheel.entries.borrow(), self.key);
        // Its waker goes when nothing is borrowed any more.
        let _entry = self.wheel.entries.borrow_mut().remove(index_of(self.key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Runtime, runtime};

    fn on_a_shard<F: Future>(work: impl FnOnce(Rc<Wheel>) -> F) -> F::Output {
        let runtime = Runtime::new().unwrap();
        runtime.block_on(async { work(runtime::current_wheel()).await })
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
            runtime::spawn(async move { other.enter(Phase::Draining) });
            let ended = idle.guard_idle_while(std::future::pending::<()>(), || true).await;
            assert_eq!(ended, Err(Interrupted::Draining));
            runtime::spawn(async move { wheel.enter(Phase::Aborting) });
            let ended = busy.guard(std::future::pending::<()>()).await;
            assert_eq!(ended, Err(Interrupted::Aborted));
        });
    }

    #[test]
    fn an_entry_beyond_the_horizon_is_filed_again() {
        let wheel = Wheel::new();
        let timer = Timer::new(&wheel);
        timer.set(SLOT * (SLOTS as u32 * 2));
        let armed = || wheel.with(timer.key, |entry| entry.armed.get());
        let slot = armed();
        assert!(slot <= wheel.current.get() + SLOTS);
        wheel.current.set(slot);
        assert!(wheel.look_at(timer.key, clock::now()).is_none());
        assert!(armed() > slot);
    }

    #[test]
    fn a_dropped_timer_leaves_nothing_behind() {
        let wheel = Wheel::new();
        let timers: Vec<_> = (0..8).map(|_| Timer::new(&wheel)).collect();
        for timer in &timers {
            timer.set(Duration::from_secs(30));
        }
        drop(timers);
        assert!(wheel.slots.iter().all(|slot| slot.get().is_none()));
        assert!(wheel.entries.borrow().is_empty());
    }
}
