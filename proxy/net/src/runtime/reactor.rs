//! The readiness of a shard's sockets.

use std::{
    cell::{Cell, RefCell},
    fmt, io,
    os::fd::{AsFd, AsRawFd},
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use mio::{Events, Interest, Token, event::Event, unix::SourceFd};
use slab::Slab;

/// Events taken from the kernel at a time.
const EVENTS: usize = 1024;
const DOORBELL: Token = Token(usize::MAX);

thread_local! {
    /// Reads left to the task that runs.
    static READS_LEFT: Cell<u32> = const { Cell::new(0) };
}

/// Allows the next task this many reads.
pub(super) fn allow(reads: u32) {
    READS_LEFT.set(reads);
}

/// Takes one read from the running task's allowance. When there is none left the task is
/// put behind the others: a peer that always has more to send must not keep the shard.
pub(crate) fn spend(cx: &mut Context<'_>) -> Poll<()> {
    match READS_LEFT.get().checked_sub(1) {
        Some(left) => {
            READS_LEFT.set(left);
            Poll::Ready(())
        }
        None => {
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    }
}

pub(crate) struct Reactor {
    poll: RefCell<mio::Poll>,
    events: RefCell<Events>,
    sources: RefCell<Slab<Rc<Source>>>,
    registered: Cell<u32>,
}

impl Reactor {
    pub(super) fn new() -> io::Result<Rc<Self>> {
        Ok(Rc::new(Self {
            poll: RefCell::new(mio::Poll::new()?),
            events: RefCell::new(Events::with_capacity(EVENTS)),
            sources: RefCell::default(),
            registered: Cell::new(0),
        }))
    }

    /// What other threads interrupt a wait with.
    pub(super) fn waker(&self) -> io::Result<mio::Waker> {
        mio::Waker::new(self.poll.borrow().registry(), DOORBELL)
    }

    /// Notes what the kernel reports and wakes who waits for it, after waiting at most
    /// `wait`. Tells whether another thread called.
    pub(super) fn look(&self, wait: Option<Duration>) -> bool {
        let mut events = self.events.borrow_mut();
        match self.poll.borrow_mut().poll(&mut events, wait) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return false,
            // Only a descriptor that is no poll's could cause another one (epoll_wait(2)).
            Err(error) => panic!("waiting for sockets: {error}"),
        }
        let sources = self.sources.borrow();
        let mut called = false;
        for event in &*events {
            if event.token() == DOORBELL {
                called = true;
                continue;
            }
            let (key, generation) = split(event.token());
            match sources.get(key) {
                Some(source) if source.generation == generation => source.note(event),
                // Its socket was closed after the kernel had reported it.
                _ => {}
            }
        }
        called
    }
}

fn token(key: usize, generation: u32) -> Token {
    Token(key | (generation as usize) << u32::BITS)
}

fn split(token: Token) -> (usize, u32) {
    (token.0 & u32::MAX as usize, (token.0 >> u32::BITS) as u32)
}

/// A direction of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Read = 0,
    Write = 1,
}

/// What is known of a direction.
#[derive(Debug, Clone, Copy, Default)]
struct State {
    ready: bool,
    /// Ready for good: the end of the stream, or an error, is there to be read.
    over: bool,
}

/// What is known of a socket. There is one for each connection, idle ones included.
struct Source {
    generation: u32,
    /// Its place in [`Reactor::sources`].
    key: u32,
    states: [Cell<State>; 2],
    waiting: [Cell<Option<Waker>>; 2],
}

impl Source {
    fn note(&self, event: &Event) {
        let failed = event.is_error();
        if failed || event.is_readable() || event.is_read_closed() {
            self.note_of(Direction::Read, failed || event.is_read_closed());
        }
        if failed || event.is_writable() || event.is_write_closed() {
            self.note_of(Direction::Write, failed || event.is_write_closed());
        }
    }

    fn note_of(&self, direction: Direction, over: bool) {
        let state = &self.states[direction as usize];
        state.set(State { ready: true, over: over || state.get().over });
        if let Some(waker) = self.waiting[direction as usize].take() {
            waker.wake();
        }
    }
}

/// A socket's place in the poll of the shard it was registered on. Its readiness is
/// edge-triggered: who finds the socket empty (or full) says so by
/// [`clear`](Self::clear), and is told when that has changed.
pub(crate) struct Registered {
    source: Rc<Source>,
    reactor: Rc<Reactor>,
}

impl fmt::Debug for Registered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registered")
            .field("key", &self.source.key)
            .field("readable", &self.is_ready(Direction::Read))
            .field("writable", &self.is_ready(Direction::Write))
            .finish()
    }
}

impl Registered {
    /// Registers a non-blocking socket. It leaves the poll when it is closed, if there is no
    /// other descriptor of it (epoll(7)); else by [`deregister`](Self::deregister).
    ///
    /// # Errors
    /// As `epoll_ctl(2)`.
    pub(crate) fn new(socket: &impl AsFd, interest: Interest) -> io::Result<Self> {
        let reactor = super::current_reactor();
        let generation = reactor.registered.get();
        reactor.registered.set(generation.wrapping_add(1));
        let mut sources = reactor.sources.borrow_mut();
        let place = sources.vacant_entry();
        let index = place.key();
        let key = u32::try_from(index).expect("a process has fewer than 4 billion descriptors");
        let (states, waiting) = Default::default();
        let source = Rc::new(Source { generation, key, states, waiting });
        place.insert(Rc::clone(&source));
        drop(sources);
        let registered = Self { source, reactor };
        let descriptor = socket.as_fd().as_raw_fd();
        let poll = registered.reactor.poll.borrow();
        poll.registry().register(&mut SourceFd(&descriptor), token(index, generation), interest)?;
        drop(poll);
        Ok(registered)
    }

    /// Takes the socket out of the poll.
    pub(crate) fn deregister(self, socket: &impl AsFd) {
        let descriptor = socket.as_fd().as_raw_fd();
        let poll = self.reactor.poll.borrow();
        if let Err(error) = poll.registry().deregister(&mut SourceFd(&descriptor)) {
            tracing::error!(%error, "a socket could not be taken out of its poll");
        }
        drop(poll);
    }

    #[inline]
    fn state(&self, direction: Direction) -> &Cell<State> {
        &self.source.states[direction as usize]
    }

    #[inline]
    fn wait(&self, cx: &mut Context<'_>, direction: Direction) -> Poll<()> {
        self.source.waiting[direction as usize].set(Some(cx.waker().clone()));
        Poll::Pending
    }

    /// Ready when the direction may be; else the task is woken when it is.
    pub(crate) fn poll_ready(&self, cx: &mut Context<'_>, direction: Direction) -> Poll<()> {
        if self.is_ready(direction) { Poll::Ready(()) } else { self.wait(cx, direction) }
    }

    /// Ready when the direction has ended, with or without an error; else the task is woken when
    /// something happens to it.
    pub(crate) fn poll_over(&self, cx: &mut Context<'_>, direction: Direction) -> Poll<()> {
        if self.is_over(direction) { Poll::Ready(()) } else { self.wait(cx, direction) }
    }

    /// Whether the direction may be ready.
    pub(crate) fn is_ready(&self, direction: Direction) -> bool {
        self.state(direction).get().ready
    }

    /// Whether the direction stays ready: its end, or an error, was reported.
    pub(crate) fn is_over(&self, direction: Direction) -> bool {
        self.state(direction).get().over
    }

    /// What was reported as the end was none: sockets of datagrams go on after an error.
    pub(crate) fn forget_end(&self, direction: Direction) {
        let state = self.state(direction);
        state.set(State { over: false, ..state.get() });
    }

    /// The direction may be ready, whatever was reported so far.
    pub(crate) fn suspect(&self, direction: Direction) {
        let state = self.state(direction);
        state.set(State { ready: true, ..state.get() });
    }

    /// The direction was found exhausted.
    pub(crate) fn clear(&self, direction: Direction) {
        let state = self.state(direction);
        let over = state.get().over;
        state.set(State { ready: over, over });
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.reactor.sources.borrow_mut().remove(self.source.key as usize);
    }
}
