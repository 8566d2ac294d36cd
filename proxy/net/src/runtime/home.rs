//! Where other threads leave word that a task of a shard is to run.

use std::{
    cell::RefCell,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::waker::TaskId;

/// A runtime of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct HomeId(pub(super) u16);

impl HomeId {
    pub(super) const BITS: u32 = u16::BITS;
}

/// Every runtime's letter box, by its number. Locked by a thread that wakes another one's
/// task, never by a shard for its own.
static HOMES: Mutex<Vec<Option<Arc<LetterBox>>>> = Mutex::new(Vec::new());

struct LetterBox {
    calls: Mutex<Vec<TaskId>>,
    doorbell: mio::Waker,
}

/// One runtime's side.
pub(super) struct Home {
    id: HomeId,
    letters: Arc<LetterBox>,
    /// Calls being answered; exchanged with the box, so that its room is kept.
    taken: RefCell<Vec<TaskId>>,
}

impl Home {
    /// Enters a new runtime.
    ///
    /// # Panics
    /// When the process has 65,536 already.
    pub(super) fn found(doorbell: mio::Waker) -> Self {
        let letters = Arc::new(LetterBox { calls: Mutex::default(), doorbell });
        let mut homes = lock(&HOMES);
        let free = homes.iter().position(Option::is_none).unwrap_or_else(|| {
            homes.push(None);
            homes.len() - 1
        });
        let id = HomeId(u16::try_from(free).expect("a process has fewer shards than 65,536"));
        homes[free] = Some(Arc::clone(&letters));
        Self { id, letters, taken: RefCell::default() }
    }

    pub(super) fn id(&self) -> HomeId {
        self.id
    }

    /// Hands the calls of other threads to `wake`.
    pub(super) fn take_calls(&self, wake: impl FnMut(TaskId)) {
        let mut taken = self.taken.borrow_mut();
        std::mem::swap(&mut *taken, &mut *lock(&self.letters.calls));
        taken.drain(..).for_each(wake);
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        lock(&HOMES)[usize::from(self.id.0)] = None;
    }
}

/// Leaves word for a task of another thread's runtime; without effect when that has ended.
pub(super) fn call(id: TaskId) {
    let letters = lock(&HOMES).get(usize::from(id.home().0)).cloned().flatten();
    let Some(letters) = letters else { return };
    let mut calls = lock(&letters.calls);
    calls.push(id);
    let first = calls.len() == 1;
    drop(calls);
    if first && let Err(error) = letters.doorbell.wake() {
        tracing::error!(%error, "a shard could not be woken");
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing behind these locks can be left half done by a panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
