//! The tasks that carry requests. They are kept for the next ones, so that a request asks for no
//! memory: its task is a few KiB.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    rc::{Rc, Weak},
    task::{Poll, Waker},
};

use super::connection::{Job, carry};

/// Idle ones that are kept, however long they are.
const KEPT: usize = 8;

/// Those of a shard.
#[derive(Default)]
pub(crate) struct Carriers {
    /// The one that was busy last is at the end, and has the next job.
    idle: RefCell<Vec<Rc<Seat>>>,
    /// The fewest that were idle since [`tick`](Self::tick) was called.
    spare: Cell<usize>,
}

/// Where a task that has nothing to do waits.
#[derive(Default)]
struct Seat {
    job: Cell<Option<Job>>,
    /// There will be none.
    dismissed: Cell<bool>,
    waker: Cell<Option<Waker>>,
}

impl Carriers {
    /// Has a request carried, beside the caller.
    pub(super) fn take_on(self: &Rc<Self>, job: Job) {
        let (seat, left) = {
            let mut idle = self.idle.borrow_mut();
            (idle.pop(), idle.len())
        };
        self.spare.set(self.spare.get().min(left));
        match seat {
            Some(seat) => seat.give(job),
            None => bs9_net::spawn(work(Rc::downgrade(self), job)),
        }
    }

    /// Lets those go that were not needed since this was called before.
    pub(crate) fn tick(&self) {
        let mut idle = self.idle.borrow_mut();
        let spare = self.spare.get().min(idle.len().saturating_sub(KEPT));
        idle.drain(..spare).for_each(|seat| seat.dismiss());
        self.spare.set(idle.len());
    }
}

impl Seat {
    fn give(&self, job: Job) {
        self.job.set(Some(job));
        self.wake();
    }

    fn dismiss(&self) {
        self.dismissed.set(true);
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// The next one, unless there is none.
    async fn next(&self) -> Option<Job> {
        poll_fn(|cx| match self.job.take() {
            Some(job) => Poll::Ready(Some(job)),
            None if self.dismissed.get() => Poll::Ready(None),
            None => {
                self.waker.set(Some(cx.waker().clone()));
                Poll::Pending
            }
        })
        .await
    }
}

/// Carries one request after the other, for as long as it is wanted.
async fn work(carriers: Weak<Carriers>, mut job: Job) {
    let seat = Rc::new(Seat::default());
    loop {
        carry(job).await;
        let Some(carriers) = carriers.upgrade() else { return };
        carriers.idle.borrow_mut().push(Rc::clone(&seat));
        drop(carriers);
        let Some(next) = seat.next().await else { return };
        job = next;
    }
}
