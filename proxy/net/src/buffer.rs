//! Pooled I/O buffers.
//!
//! A shard hands out buffers of one size and takes them back as soon as a
//! connection goes idle, so memory follows the work in flight, not the number of
//! connections. As many free ones are kept as were of use within the last seconds, and a
//! few always: a burst's worth goes back to the allocator.

use std::{
    cell::{Cell, RefCell},
    ops::Range,
    rc::Rc,
};

/// A shard's free buffers.
#[derive(Debug)]
pub struct BufferPool {
    free: RefCell<Vec<Box<[u8]>>>,
    buffer_bytes: usize,
    /// Buffers in use.
    lent: Cell<usize>,
    /// The most that were at once, since the last [`tick`](Self::tick).
    peak: Cell<usize>,
    /// So many are kept, those in use included.
    kept: Cell<usize>,
    min_kept: usize,
}

impl BufferPool {
    /// Buffers of `buffer_bytes` each; `min_kept` are kept at least once they have been used.
    ///
    /// # Panics
    /// With buffers of 4 GiB or more.
    pub fn new(buffer_bytes: usize, min_kept: usize) -> Rc<Self> {
        assert!(u32::try_from(buffer_bytes).is_ok(), "a buffer is smaller than 4 GiB");
        Rc::new(Self {
            free: RefCell::new(Vec::with_capacity(min_kept)),
            buffer_bytes,
            lent: Cell::new(0),
            peak: Cell::new(0),
            kept: Cell::new(min_kept),
            min_kept,
        })
    }

    /// To be called every second or so: what has not been of use since the last time but one
    /// goes back to the allocator.
    pub fn tick(&self) {
        let wanted = self.peak.replace(self.lent.get()).max(self.min_kept);
        self.kept.set(wanted);
        let free = &mut *self.free.borrow_mut();
        free.truncate(wanted.saturating_sub(self.lent.get()));
        free.shrink_to(2 * free.len().max(self.min_kept));
    }

    /// A buffer, empty.
    pub fn take(self: &Rc<Self>) -> Buffer {
        let lent = self.lent.get() + 1;
        self.lent.set(lent);
        if lent > self.peak.get() {
            self.peak.set(lent);
        }
        let recycled = self.free.borrow_mut().pop();
        let bytes = recycled.unwrap_or_else(|| vec![0; self.buffer_bytes].into_boxed_slice());
        Buffer { bytes, start: 0, end: 0, pool: Rc::clone(self) }
    }

    /// Size of each buffer, bytes.
    pub fn buffer_bytes(&self) -> usize {
        self.buffer_bytes
    }

    fn put(&self, bytes: Box<[u8]>) {
        let lent = self.lent.get() - 1;
        self.lent.set(lent);
        let mut free = self.free.borrow_mut();
        // One that was made longer is not like the others.
        if bytes.len() == self.buffer_bytes
            && free.len() + lent < self.kept.get().max(self.peak.get())
        {
            free.push(bytes);
        }
    }
}

/// Bytes read and not used yet, with room behind them.
#[derive(Debug)]
pub struct Buffer {
    bytes: Box<[u8]>,
    /// The length of `bytes` fits in as many bits: every client has room for two buffers.
    start: u32,
    end: u32,
    pool: Rc<BufferPool>,
}

impl Buffer {
    #[inline]
    fn span(&self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    /// What has been read and not consumed.
    pub fn filled(&self) -> &[u8] {
        &self.bytes[self.span()]
    }

    /// Likewise, to be changed in place.
    pub fn filled_mut(&mut self) -> &mut [u8] {
        let span = self.span();
        &mut self.bytes[span]
    }

    /// How many bytes that is.
    pub fn len(&self) -> usize {
        (self.end - self.start) as usize
    }

    /// Whether everything has been consumed.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Whether neither reading nor [`compact`](Self::compact) can add a byte.
    pub fn is_full(&self) -> bool {
        self.len() == self.bytes.len()
    }

    /// Where the next read goes; moves what is left to the front when nothing else
    /// makes room.
    pub fn spare(&mut self) -> &mut [u8] {
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        } else if self.end as usize == self.bytes.len() {
            self.compact();
        }
        &mut self.bytes[self.end as usize..]
    }

    /// How many bytes [`spare`](Self::spare) has.
    pub fn room(&self) -> usize {
        match self.bytes.len() - self.end as usize {
            _ if self.is_empty() => self.bytes.len(),
            0 => self.start as usize,
            room => room,
        }
    }

    /// `count` bytes of [`spare`](Self::spare) now hold data.
    pub fn commit(&mut self, count: usize) {
        let room = self.bytes.len() - self.end as usize;
        assert!(count <= room, "committed more than there was room for");
        self.end += count as u32;
    }

    /// Drops `count` bytes from the front.
    pub fn consume(&mut self, count: usize) {
        assert!(count <= self.len(), "consumed more than there was");
        self.start += count as u32;
    }

    /// Makes room behind what fills it all, twice as much as there is; false when that would be more
    /// than `most` bytes.
    pub fn grow(&mut self, most: usize) -> bool {
        let length = self.bytes.len() * 2;
        if self.is_full() && length <= most {
            let mut bytes = vec![0; length].into_boxed_slice();
            bytes[..self.bytes.len()].copy_from_slice(&self.bytes);
            self.bytes = bytes;
        }
        !self.is_full()
    }

    /// Hands the buffer on and leaves one without room behind, which nothing can be
    /// read into any more.
    #[must_use]
    pub fn take(&mut self) -> Self {
        let hollow = Self { bytes: Box::default(), start: 0, end: 0, pool: Rc::clone(&self.pool) };
        std::mem::replace(self, hollow)
    }

    /// Moves what is left to the front.
    pub fn compact(&mut self) {
        if self.start > 0 {
            self.bytes.copy_within(self.span(), 0);
            self.end -= self.start;
            self.start = 0;
        }
    }
}

/// Where a read goes.
pub(crate) enum Target<'a> {
    /// Into this one.
    Given(&'a mut Buffer),
    /// Into one that is taken from the pool when there is something to read.
    Pooled(&'a mut Option<Buffer>, &'a Rc<BufferPool>),
}

impl Target<'_> {
    /// The buffer; from here on there is one.
    pub(crate) fn buffer(&mut self) -> &mut Buffer {
        match self {
            Self::Given(buffer) => buffer,
            Self::Pooled(buffer, pool) => buffer.get_or_insert_with(|| pool.take()),
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if !self.bytes.is_empty() {
            self.pool.put(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_grows_to_a_limit_and_is_not_kept_then() {
        let pool = BufferPool::new(8, 1);
        let mut buffer = pool.take();
        buffer.spare().copy_from_slice(b"abcdefgh");
        buffer.commit(8);
        assert!(buffer.grow(16));
        assert_eq!((buffer.filled(), buffer.room()), (&b"abcdefgh"[..], 8));
        buffer.spare().copy_from_slice(b"ijklmnop");
        buffer.commit(8);
        assert!(!buffer.grow(16));
        assert_eq!(buffer.filled(), b"abcdefghijklmnop");
        drop(buffer);
        assert_eq!((pool.free.borrow().len(), pool.lent.get()), (0, 0));
    }

    #[test]
    fn a_buffer_comes_back_to_its_pool() {
        let pool = BufferPool::new(8, 1);
        let (first, second) = (pool.take(), pool.take());
        drop(first);
        drop(second);
        assert_eq!((pool.free.borrow().len(), pool.lent.get()), (2, 0));
    }

    #[test]
    fn what_a_burst_needed_is_kept_until_it_is_over() {
        let pool = BufferPool::new(8, 2);
        let burst = || drop((0..10).map(|_| pool.take()).collect::<Vec<_>>());
        let free = || pool.free.borrow().len();
        burst();
        assert_eq!(free(), 10);
        pool.tick();
        burst();
        assert_eq!(free(), 10, "it goes on");
        pool.tick();
        assert_eq!(free(), 10, "it has only just ended");
        let one = pool.take();
        pool.tick();
        assert_eq!(free(), 1, "and the one in use");
        drop(one);
        pool.tick();
        assert_eq!(free(), 2);
    }

    #[test]
    fn a_buffer_handed_on_comes_back_once() {
        let pool = BufferPool::new(8, 4);
        let mut buffer = pool.take();
        drop(buffer.take());
        assert!(buffer.is_full(), "there is no room in what was left behind");
        drop(buffer);
        assert_eq!(pool.free.borrow().len(), 1);
    }

    #[test]
    fn consuming_and_refilling_moves_the_rest_to_the_front() {
        let pool = BufferPool::new(4, 1);
        let mut buffer = pool.take();
        buffer.spare().copy_from_slice(b"abcd");
        buffer.commit(4);
        assert!(buffer.is_full());
        buffer.consume(3);
        assert_eq!(buffer.room(), 3);
        assert_eq!(buffer.spare().len(), 3);
        assert_eq!(buffer.filled(), b"d");
        buffer.consume(1);
        assert_eq!(buffer.room(), 4);
        assert_eq!(buffer.spare().len(), 4);
    }
}
