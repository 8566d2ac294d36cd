//! Clients that wait for a server connection: first come, first served.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use bs9_net::CoarseInstant;

use crate::failure::LoginFailure;

/// A client's place in the queue, used again for each wait. `S` is what is waited for.
pub(crate) struct Waiter<S> {
    state: RefCell<State<S>>,
    waker: RefCell<Option<Waker>>,
    since: Cell<CoarseInstant>,
}

enum State<S> {
    /// Not in the queue.
    Away,
    Queued,
    Granted(S),
    Failed(Rc<LoginFailure>),
}

/// What a wait ended with.
pub(crate) type Grant<S> = Result<S, Rc<LoginFailure>>;

/// The waiting clients of one pool on one shard, in order of arrival.
pub(crate) struct WaitQueue<S> {
    queue: VecDeque<Rc<Waiter<S>>>,
}

impl<S> Waiter<S> {
    pub(crate) fn new() -> Rc<Self> {
        Rc::new(Self {
            state: RefCell::new(State::Away),
            waker: RefCell::new(None),
            since: Cell::new(CoarseInstant::NEVER),
        })
    }

    /// When it began to wait.
    pub(crate) fn since(&self) -> CoarseInstant {
        self.since.get()
    }

    /// Whether it waits in line.
    pub(crate) fn is_queued(&self) -> bool {
        matches!(*self.state.borrow(), State::Queued)
    }

    /// Ready with what it was given.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<Grant<S>> {
        if let Some(grant) = self.take() {
            return Poll::Ready(grant);
        }
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// What it was given, if it was.
    pub(crate) fn take(&self) -> Option<Grant<S>> {
        let mut state = self.state.borrow_mut();
        if matches!(*state, State::Away | State::Queued) {
            return None;
        }
        match std::mem::replace(&mut *state, State::Away) {
            State::Granted(server) => Some(Ok(server)),
            State::Failed(failure) => Some(Err(failure)),
            State::Away | State::Queued => None,
        }
    }

    fn end(&self, state: State<S>) {
        *self.state.borrow_mut() = state;
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    /// Ends the wait with a server.
    pub(crate) fn grant(&self, server: S) {
        self.end(State::Granted(server));
    }

    /// Ends the wait without one.
    pub(crate) fn fail(&self, failure: &Rc<LoginFailure>) {
        self.end(State::Failed(Rc::clone(failure)));
    }
}

impl<S> Default for WaitQueue<S> {
    fn default() -> Self {
        Self { queue: VecDeque::new() }
    }
}

impl<S> WaitQueue<S> {
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    /// When the first in line began to wait.
    pub(crate) fn oldest(&self) -> Option<CoarseInstant> {
        self.queue.front().map(|waiter| waiter.since())
    }

    /// Queues a waiter at the end.
    pub(crate) fn push(&mut self, waiter: &Rc<Waiter<S>>, now: CoarseInstant) {
        debug_assert!(matches!(*waiter.state.borrow(), State::Away), "queued twice");
        waiter.since.set(now);
        *waiter.state.borrow_mut() = State::Queued;
        self.queue.push_back(Rc::clone(waiter));
    }

    /// The first in line, taken out; it has to be granted or failed.
    pub(crate) fn pop(&mut self) -> Option<Rc<Waiter<S>>> {
        let waiter = self.queue.pop_front();
        if self.queue.is_empty() && self.queue.capacity() > 1024 {
            self.queue.shrink_to(64);
        }
        waiter
    }

    /// Takes a waiter out that gave up; false when it was not in line any more.
    pub(crate) fn remove(&mut self, waiter: &Rc<Waiter<S>>) -> bool {
        if !matches!(*waiter.state.borrow(), State::Queued) {
            return false;
        }
        // Those who give up have mostly waited longest.
        let place = self.queue.iter().position(|queued| Rc::ptr_eq(queued, waiter));
        if let Some(place) = place {
            self.queue.remove(place);
        }
        *waiter.state.borrow_mut() = State::Away;
        place.is_some()
    }

    /// Takes out all that began to wait no later than `instant`.
    pub(crate) fn pop_until(&mut self, instant: CoarseInstant) -> Vec<Rc<Waiter<S>>> {
        let count = self.queue.iter().take_while(|waiter| waiter.since() <= instant).count();
        self.queue.drain(..count).collect()
    }
}

#[cfg(test)]
mod tests;
