//! A shard's runtime: the tasks, the sockets' readiness and the timers of one thread.
//!
//! It does what a shard needs and nothing else, so that an event costs little between the
//! kernel and the task that waits for it: a waker is a number, not a counted pointer; a
//! socket's readiness is a cell; a timeout is an entry of the wheel ([`Timer`](crate::Timer)).
//! Wakers may be used from any thread, all else belongs to the shard's own. The figures
//! behind it are in `docs/adr/0004-a-reactor-of-its-own.md`.

use std::{
    cell::RefCell,
    future::Future,
    io,
    pin::pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use self::{
    home::Home,
    reactor::{Reactor, allow},
    tasks::Tasks,
    waker::TaskId,
};
pub(crate) use self::{
    place::Place,
    reactor::{Direction, Registered, spend},
};
use crate::{clock, pulse::Pulse, timer::Wheel};

pub(crate) mod coalesce;
mod home;
mod place;
mod reactor;
mod tasks;
mod waker;

/// Tasks that run before the sockets are looked at again.
const TASKS_PER_TURN: usize = 128;
/// Reads that a task may do before others get their turn.
const READS_PER_POLL: u32 = 64;

thread_local! {
    static CURRENT: RefCell<Option<Rc<Core>>> = const { RefCell::new(None) };
}

/// The runtime of the thread that made it.
pub struct Runtime(Rc<Core>);

struct Core {
    home: Home,
    tasks: Tasks,
    reactor: Rc<Reactor>,
    wheel: Rc<Wheel>,
}

impl Runtime {
    /// Makes the runtime of this thread.
    ///
    /// # Errors
    /// When the kernel gives no descriptor for the poll.
    ///
    /// # Panics
    /// When the thread has one already.
    pub fn new() -> io::Result<Self> {
        Self::with_pulse(Arc::default())
    }

    /// The same; where it is can be read from `pulse`.
    pub(crate) fn with_pulse(pulse: Arc<Pulse>) -> io::Result<Self> {
        let reactor = Reactor::new()?;
        let home = Home::found(reactor.waker()?);
        let tasks = Tasks::new(home.id(), pulse);
        let core = Core { tasks, home, reactor, wheel: Wheel::new() };
        let core = Rc::new(core);
        let before = CURRENT.replace(Some(Rc::clone(&core)));
        assert!(before.is_none(), "a thread has one runtime");
        Ok(Self(core))
    }

    /// Runs `root`, and whatever is spawned, until `root` is done.
    pub fn block_on<F: Future>(&self, root: F) -> F::Output {
        let core = &*self.0;
        let waker = waker::of(core.tasks.root());
        let mut cx = Context::from_waker(&waker);
        let mut root = pin!(root);
        core.tasks.wake(core.tasks.root());
        clock::refresh();
        loop {
            if core.tasks.take_root() {
                allow(READS_PER_POLL);
                if let Poll::Ready(output) = root.as_mut().poll(&mut cx) {
                    return output;
                }
            }
            core.tasks.run(TASKS_PER_TURN, || allow(READS_PER_POLL));
            core.look();
        }
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        // What a task lets go of may still wake and spawn others: they find the runtime.
        self.0.tasks.drop_all();
        CURRENT.replace(None);
    }
}

impl Core {
    /// Looks at the sockets, the other threads' wakes and the timers; waits for them
    /// when no task is ready.
    fn look(&self) {
        let wait = if self.tasks.is_ready() {
            Some(Duration::ZERO)
        } else {
            coalesce::rest();
            self.wheel.rest()
        };
        let called = self.reactor.look(wait);
        clock::refresh();
        if called {
            self.home.take_calls(|id| self.tasks.wake(id));
        }
        self.wheel.turn();
    }
}

fn with_current<T>(work: impl FnOnce(&Rc<Core>) -> T) -> T {
    CURRENT.with_borrow(|core| work(core.as_ref().expect("this runs on a shard")))
}

pub(crate) fn current_reactor() -> Rc<Reactor> {
    with_current(|core| Rc::clone(&core.reactor))
}

pub(crate) fn current_wheel() -> Rc<Wheel> {
    with_current(|core| Rc::clone(&core.wheel))
}

/// Wakes a task of any shard.
fn wake(id: TaskId) {
    let here = CURRENT.with_borrow(|core| match core {
        Some(core) if core.home.id() == id.home() => {
            core.tasks.wake(id);
            true
        }
        _ => false,
    });
    if !here {
        home::call(id);
    }
}

/// Runs `task` on this shard, beside the caller. A panic ends that task alone.
///
/// # Panics
/// Outside of a shard.
pub fn spawn<T: Future<Output = ()> + 'static>(task: T) {
    let place = Place::of::<T>();
    with_current(|core| core.tasks.add(Box::pin(task), place));
}

/// Lets the tasks that are ready run first.
pub async fn yield_now() {
    let mut yielded = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, sync::mpsc, thread};

    use tokio::sync::oneshot;

    use super::*;

    #[test]
    fn tasks_run_in_the_order_they_were_woken() {
        let runtime = Runtime::new().unwrap();
        let order = Rc::new(RefCell::new(Vec::new()));
        runtime.block_on(async {
            for number in 0..3 {
                let order = Rc::clone(&order);
                spawn(async move {
                    order.borrow_mut().push(number);
                    yield_now().await;
                    order.borrow_mut().push(number + 10);
                });
            }
            while order.borrow().len() < 6 {
                yield_now().await;
            }
        });
        assert_eq!(*order.borrow(), [0, 1, 2, 10, 11, 12]);
    }

    #[test]
    fn a_panic_ends_its_task_alone() {
        let runtime = Runtime::new().unwrap();
        let (done, wait) = oneshot::channel();
        runtime.block_on(async {
            spawn(async { panic!("expected in this test") });
            spawn(async { done.send(()).unwrap() });
            wait.await.unwrap();
        });
    }

    #[test]
    fn another_thread_can_wake_a_task_that_waits_for_nothing_else() {
        let runtime = Runtime::new().unwrap();
        for _ in 0..100 {
            let (done, wait) = oneshot::channel();
            let sender = thread::spawn(move || done.send(7).unwrap());
            assert_eq!(runtime.block_on(wait), Ok(7));
            sender.join().unwrap();
        }
    }

    #[test]
    fn a_waker_that_outlives_its_task_or_its_runtime_does_nothing() {
        let (kept, keep) = mpsc::channel();
        {
            let runtime = Runtime::new().unwrap();
            runtime.block_on(async {
                let sender = kept.clone();
                spawn(std::future::poll_fn(move |cx| {
                    sender.send(cx.waker().clone()).unwrap();
                    Poll::Ready(())
                }));
                yield_now().await;
                yield_now().await;
                keep.try_recv().unwrap().wake();
                spawn(std::future::poll_fn(move |cx| {
                    kept.send(cx.waker().clone()).unwrap();
                    Poll::Pending
                }));
                yield_now().await;
                yield_now().await;
            });
        }
        let waker = keep.try_recv().unwrap();
        waker.wake_by_ref();
        thread::spawn(move || waker.wake()).join().unwrap();
    }

    #[test]
    fn what_a_task_holds_is_dropped_with_the_runtime_and_may_spawn_then() {
        struct Witness(Rc<Cell<u32>>);
        impl Drop for Witness {
            fn drop(&mut self) {
                self.0.set(self.0.get() + 1);
                if self.0.get() == 1 {
                    let last = Self(Rc::clone(&self.0));
                    spawn(async move {
                        std::future::pending::<()>().await;
                        drop(last);
                    });
                }
            }
        }
        let dropped = Rc::new(Cell::new(0));
        let runtime = Runtime::new().unwrap();
        let witness = Witness(Rc::clone(&dropped));
        runtime.block_on(async {
            spawn(async move {
                std::future::pending::<()>().await;
                drop(witness);
            });
            yield_now().await;
        });
        assert_eq!(dropped.get(), 0);
        drop(runtime);
        assert_eq!(dropped.get(), 2);
    }
}
