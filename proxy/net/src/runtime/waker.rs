//! Wakers that are numbers: copying one counts nothing, dropping one does nothing.
#![expect(unsafe_code, reason = "a waker without a counted pointer is made from its parts")]

use std::{
    ptr,
    task::{RawWaker, RawWakerVTable, Waker},
};

use super::home::HomeId;

const KEY_BITS: u32 = 24;
const GENERATION_BITS: u32 = 24;

/// A task of some shard: the shard's home, the task's slot there, and which of the tasks
/// that had this slot it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TaskId(usize);

// The number fits where a waker keeps its pointer.
const _: () = assert!(usize::BITS >= HomeId::BITS + GENERATION_BITS + KEY_BITS);

impl TaskId {
    /// The slot that no task has: the one [`block_on`](super::Runtime::block_on) runs.
    pub(super) const ROOT_KEY: usize = (1 << KEY_BITS) - 1;
    pub(super) const MAX_GENERATION: u32 = (1 << GENERATION_BITS) - 1;

    pub(super) fn new(home: HomeId, generation: u32, key: usize) -> Self {
        debug_assert!(key <= Self::ROOT_KEY && generation <= Self::MAX_GENERATION);
        let home = usize::from(home.0) << (GENERATION_BITS + KEY_BITS);
        Self(home | (generation as usize) << KEY_BITS | key)
    }

    pub(super) fn home(self) -> HomeId {
        HomeId((self.0 >> (GENERATION_BITS + KEY_BITS)) as u16)
    }

    pub(super) fn generation(self) -> u32 {
        (self.0 >> KEY_BITS) as u32 & Self::MAX_GENERATION
    }

    pub(super) fn key(self) -> usize {
        self.0 & Self::ROOT_KEY
    }
}

static VTABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake, |_| ());

/// The task's waker.
pub(super) fn of(id: TaskId) -> Waker {
    // SAFETY: the vtable's functions take the pointer for the number it is and follow it
    // nowhere, so every contract of a raw waker holds on any thread and at any time.
    unsafe { Waker::from_raw(raw(id)) }
}

fn raw(id: TaskId) -> RawWaker {
    RawWaker::new(ptr::without_provenance(id.0), &VTABLE)
}

fn clone(number: *const ()) -> RawWaker {
    raw(TaskId(number.addr()))
}

fn wake(number: *const ()) {
    super::wake(TaskId(number.addr()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_holds_its_three_numbers() {
        for (home, generation, key) in [
            (0, 0, 0),
            (u16::MAX, TaskId::MAX_GENERATION, TaskId::ROOT_KEY),
            (7, 1, 12_345),
            (1, TaskId::MAX_GENERATION, 0),
        ] {
            let id = TaskId::new(HomeId(home), generation, key);
            assert_eq!((id.home(), id.generation(), id.key()), (HomeId(home), generation, key));
        }
    }

    #[test]
    fn only_the_same_task_has_the_same_waker() {
        let id = TaskId::new(HomeId(3), 4, 5);
        assert!(of(id).will_wake(&of(id).clone()));
        assert!(!of(id).will_wake(&of(TaskId::new(HomeId(3), 5, 5))));
    }
}
