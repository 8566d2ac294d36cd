//! The tasks of a shard, and which of them are ready.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use slab::Slab;

use super::{
    home::HomeId,
    place::Place,
    waker::{self, TaskId},
};
use crate::pulse::Pulse;

type Job = Pin<Box<dyn Future<Output = ()>>>;

pub(super) struct Tasks {
    home: HomeId,
    slots: RefCell<Slab<Slot>>,
    /// Ready tasks in the order they were woken; ids of tasks that have ended are skipped.
    ready: RefCell<VecDeque<TaskId>>,
    root_ready: Cell<bool>,
    spawned: Cell<u32>,
    pulse: Arc<Pulse>,
}

struct Slot {
    generation: u32,
    /// It is among the ready ones.
    ready: bool,
    place: Place,
    /// Elsewhere while it runs.
    job: Option<Job>,
}

impl Tasks {
    pub(super) fn new(home: HomeId, pulse: Arc<Pulse>) -> Self {
        Self {
            home,
            slots: RefCell::default(),
            ready: RefCell::default(),
            root_ready: Cell::new(false),
            spawned: Cell::new(0),
            pulse,
        }
    }

    /// The id of what [`block_on`](super::Runtime::block_on) runs.
    pub(super) fn root(&self) -> TaskId {
        TaskId::new(self.home, 0, TaskId::ROOT_KEY)
    }

    /// Whether the root was woken since this was last asked.
    pub(super) fn take_root(&self) -> bool {
        self.root_ready.replace(false)
    }

    /// Whether there is something to run.
    pub(super) fn is_ready(&self) -> bool {
        self.root_ready.get() || !self.ready.borrow().is_empty()
    }

    /// Takes a new task in; it runs when its turn comes.
    ///
    /// # Panics
    /// With more than 16 million tasks.
    pub(super) fn add(&self, job: Job, place: Place) {
        let generation = self.spawned.get();
        self.spawned.set((generation + 1) & TaskId::MAX_GENERATION);
        let slot = Slot { generation, ready: true, place, job: Some(job) };
        let key = self.slots.borrow_mut().insert(slot);
        assert!(key < TaskId::ROOT_KEY, "a shard holds fewer than 16 million tasks");
        self.ready.borrow_mut().push_back(TaskId::new(self.home, generation, key));
    }

    /// Has a task run when its turn comes; without effect when it has ended.
    pub(super) fn wake(&self, id: TaskId) {
        if id.key() == TaskId::ROOT_KEY {
            self.root_ready.set(true);
            return;
        }
        let mut slots = self.slots.borrow_mut();
        let slot = slots.get_mut(id.key()).filter(|slot| slot.generation == id.generation());
        if let Some(slot) = slot
            && !std::mem::replace(&mut slot.ready, true)
        {
            self.ready.borrow_mut().push_back(id);
        }
    }

    /// Runs ready tasks, those that become ready meanwhile included, until there is none
    /// or `limit` have run. `before_each` comes before each of them.
    pub(super) fn run(&self, limit: usize, before_each: impl Fn()) {
        for _ in 0..limit {
            let Some(id) = self.ready.borrow_mut().pop_front() else { break };
            let Some(mut job) = self.start(id) else { continue };
            before_each();
            if poll(&mut job, id).is_pending() {
                self.pause(id, job);
            } else {
                // Its slot first: what it drops may spawn and wake.
                self.slots.borrow_mut().remove(id.key());
                drop_quietly(job);
            }
        }
        self.pulse.enter(Place::LOOP);
    }

    fn start(&self, id: TaskId) -> Option<Job> {
        let mut slots = self.slots.borrow_mut();
        let slot = slots.get_mut(id.key()).filter(|slot| slot.generation == id.generation())?;
        slot.ready = false;
        self.pulse.enter(slot.place);
        slot.job.take()
    }

    fn pause(&self, id: TaskId, job: Job) {
        if let Some(slot) = self.slots.borrow_mut().get_mut(id.key()) {
            slot.job = Some(job);
        }
    }

    /// Drops every task, those included that are spawned by dropping others.
    pub(super) fn drop_all(&self) {
        loop {
            let slots = std::mem::take(&mut *self.slots.borrow_mut());
            if slots.is_empty() {
                return;
            }
            slots.into_iter().filter_map(|(_, slot)| slot.job).for_each(drop_quietly);
        }
    }
}

fn poll(job: &mut Job, id: TaskId) -> Poll<()> {
    let waker = waker::of(id);
    let mut cx = Context::from_waker(&waker);
    // One connection's bug must not take the others with it. The panic hook has told of it.
    catch_unwind(AssertUnwindSafe(|| job.as_mut().poll(&mut cx))).unwrap_or(Poll::Ready(()))
}

fn drop_quietly(job: Job) {
    let _told_by_the_panic_hook = catch_unwind(AssertUnwindSafe(|| drop(job)));
}
