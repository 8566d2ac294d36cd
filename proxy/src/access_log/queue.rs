//! Lines on their way from the shards to a writer.

use std::{
    collections::VecDeque,
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

/// Emptied buffers that are kept for shards to fill again.
const MAX_SPARE: usize = 16;

/// Lines that belong together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Each with its end.
    pub(super) lines: Vec<u8>,
    /// How many.
    pub(super) count: u64,
}

/// What a writer is to do next.
#[derive(Debug)]
pub(super) enum Order {
    Write(Batch),
    /// Somebody moved the file: open it anew.
    Reopen,
    /// Everything has been written, and nothing will come.
    End,
}

/// A bounded queue. Its lock is taken once a batch.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    arrived: Condvar,
    /// Bytes that may wait.
    limit: AtomicUsize,
    pub(super) written: AtomicU64,
    pub(super) dropped: AtomicU64,
    pub(super) errors: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    batches: VecDeque<Batch>,
    bytes: usize,
    spare: Vec<Vec<u8>>,
    reopen: bool,
    closed: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in it can be left half done by a panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_limit(&self, bytes: usize) {
        self.limit.store(bytes, Relaxed);
    }

    /// Takes the batch, and leaves an empty one; drops it when too much waits already.
    pub(super) fn put(&self, batch: &mut Batch) {
        let size = batch.lines.len();
        let mut state = self.lock();
        if state.bytes + size > self.limit.load(Relaxed) {
            drop(state);
            self.dropped.fetch_add(batch.count, Relaxed);
            batch.lines.clear();
            batch.count = 0;
            return;
        }
        let lines = state.spare.pop().unwrap_or_default();
        state.bytes += size;
        state.batches.push_back(std::mem::replace(batch, Batch { lines, count: 0 }));
        drop(state);
        self.arrived.notify_one();
    }

    pub(super) fn reopen(&self) {
        self.lock().reopen = true;
        self.arrived.notify_one();
    }

    /// What is there is still written.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_one();
    }

    /// Waits for something to do. `done` is what was written last.
    pub(super) fn next(&self, done: Option<Batch>) -> Order {
        let mut state = self.lock();
        if let Some(mut done) = done {
            state.bytes -= done.lines.len();
            done.lines.clear();
            if state.spare.len() < MAX_SPARE {
                state.spare.push(done.lines);
            }
        }
        loop {
            // Before what was written after it.
            if std::mem::take(&mut state.reopen) {
                return Order::Reopen;
            }
            if let Some(batch) = state.batches.pop_front() {
                return Order::Write(batch);
            }
            if state.closed {
                return Order::End;
            }
            state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(text: &str) -> Batch {
        Batch { lines: text.as_bytes().to_vec(), count: 1 }
    }

    #[test]
    fn what_is_too_much_is_dropped_and_counted() {
        let queue = Queue::default();
        queue.set_limit(10);
        for text in ["12345\n", "abc\n", "too much\n"] {
            queue.put(&mut batch(text));
        }
        assert_eq!(queue.dropped.load(Relaxed), 1);
        let Order::Write(first) = queue.next(None) else { panic!("a batch") };
        assert_eq!(first.lines, b"12345\n");
        // What is being written still counts.
        queue.put(&mut batch("6789\n"));
        assert_eq!(queue.dropped.load(Relaxed), 2);
        let Order::Write(second) = queue.next(Some(first)) else { panic!("a batch") };
        queue.put(&mut batch("6789\n"));
        queue.close();
        assert!(matches!(queue.next(Some(second)), Order::Write(_)));
        assert_eq!(queue.dropped.load(Relaxed), 2);
        assert!(matches!(queue.next(None), Order::End));
    }

    #[test]
    fn buffers_come_back_empty() {
        let queue = Queue::default();
        queue.set_limit(100);
        let mut one = batch("one\n");
        queue.put(&mut one);
        assert_eq!((one.lines.len(), one.count), (0, 0));
        let Order::Write(written) = queue.next(None) else { panic!("a batch") };
        queue.reopen();
        assert!(matches!(queue.next(Some(written)), Order::Reopen));
        let mut two = batch("two\n");
        queue.put(&mut two);
        assert!(two.lines.capacity() >= 4 && two.lines.is_empty());
    }
}
