//! Clients that wait for a server connection: first come, first served.

use std::{
    cell::Cell,
    collections::VecDeque,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use bs9_net::CoarseInstant;

use crate::failure::LoginFailure;

/// A client's place in the queue, used again for each wait. `S` is what is waited for.
pub(crate) struct Waiter<S> {
    state: Cell<State<S>>,
    waker: Cell<Option<Waker>>,
    since: Cell<CoarseInstant>,
}

/// Who can be in line.
pub(crate) trait Waits {
    /// What is waited for.
    type For;

    fn waiter(&self) -> &Waiter<Self::For>;
}

#[derive(Default)]
enum State<S> {
    /// Not in the queue.
    #[default]
    Away,
    Queued,
    Granted(S),
    Failed(Rc<LoginFailure>),
}

/// What a wait ended with.
pub(crate) type Grant<S> = Result<S, Rc<LoginFailure>>;

/// The waiting clients of one pool on one shard, in order of arrival.
pub(crate) struct WaitQueue<W> {
    queue: VecDeque<Rc<W>>,
}

impl<S> Waiter<S> {
    pub(crate) fn new() -> Self {
        Self {
            state: Cell::default(),
            waker: Cell::new(None),
            since: Cell::new(CoarseInstant::NEVER),
        }
    }

    /// When it began to wait, or was told to have begun something else.
    pub(crate) fn since(&self) -> CoarseInstant {
        self.since.get()
    }

    /// What it waited for has come, and is made use of from now on.
    pub(crate) fn note_use(&self, now: CoarseInstant) {
        self.since.set(now);
    }

    /// Whether it waits in line.
    pub(crate) fn is_queued(&self) -> bool {
        let state = self.state.take();
        let is = matches!(state, State::Queued);
        self.state.set(state);
        is
    }

    /// Ready with what it was given.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<Grant<S>> {
        if let Some(grant) = self.take() {
            return Poll::Ready(grant);
        }
        let known = self.waker.take().filter(|known| known.will_wake(cx.waker()));
        self.waker.set(known.or_else(|| Some(cx.waker().clone())));
        Poll::Pending
    }

    /// What it was given, if it was.
    pub(crate) fn take(&self) -> Option<Grant<S>> {
        match self.state.take() {
            State::Granted(server) => Some(Ok(server)),
            State::Failed(failure) => Some(Err(failure)),
            state @ (State::Away | State::Queued) => {
                self.state.set(state);
                None
            }
        }
    }

    fn end(&self, state: State<S>) {
        self.state.set(state);
        if let Some(waker) = self.waker.take() {
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

impl<W> Default for WaitQueue<W> {
    fn default() -> Self {
        Self { queue: VecDeque::new() }
    }
}

impl<W: Waits> WaitQueue<W> {
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    /// When the first in line began to wait.
    pub(crate) fn oldest(&self) -> Option<CoarseInstant> {
        self.queue.front().map(|first| first.waiter().since())
    }

    /// Queues somebody at the end.
    pub(crate) fn push(&mut self, who: &Rc<W>, now: CoarseInstant) {
        let waiter = who.waiter();
        waiter.since.set(now);
        let before = waiter.state.replace(State::Queued);
        debug_assert!(matches!(before, State::Away), "queued twice");
        self.queue.push_back(Rc::clone(who));
    }

    /// The first in line, taken out; it has to be granted or failed.
    pub(crate) fn pop(&mut self) -> Option<Rc<W>> {
        let first = self.queue.pop_front();
        if self.queue.is_empty() && self.queue.capacity() > 1024 {
            self.queue.shrink_to(64);
        }
        first
    }

    /// Takes somebody out who gave up; false for one who is not in line any more.
    pub(crate) fn remove(&mut self, who: &Rc<W>) -> bool {
        if !who.waiter().is_queued() {
            return false;
        }
        // Those who give up have mostly waited longest.
        let place = self.queue.iter().position(|queued| Rc::ptr_eq(queued, who));
        if let Some(place) = place {
            self.queue.remove(place);
        }
        who.waiter().state.set(State::Away);
        place.is_some()
    }

    /// Takes out all that began to wait no later than `instant`.
    pub(crate) fn pop_until(&mut self, instant: CoarseInstant) -> Vec<Rc<W>> {
        let before = |one: &&Rc<W>| one.waiter().since() <= instant;
        let count = self.queue.iter().take_while(before).count();
        self.queue.drain(..count).collect()
    }
}

#[cfg(test)]
mod tests;
