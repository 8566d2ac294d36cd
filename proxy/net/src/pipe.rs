//! Moving bytes from one socket to another inside the kernel: splice(2).
//!
//! The bytes go through a pipe that holds references to the pages they arrived in; nobody
//! copies them. That pays for many bytes at a time only: few are cheaper through a
//! [`Buffer`](crate::Buffer).

use std::{
    cell::{Cell, RefCell},
    io,
    os::fd::OwnedFd,
    rc::Rc,
    task::{Context, Poll, ready},
};

use rustix::{
    io::Errno,
    pipe::{PipeFlags, SpliceFlags},
};

use crate::{
    Stream,
    runtime::{self, Direction},
};

/// What a pipe is asked to hold. The kernel counts pages, and may give less.
const CAPACITY: usize = 512 * 1024;
/// Pipes of a shard, in use or not. Beyond [`CAPACITY`] × 128, which is 64 MiB, an unprivileged
/// user gets smaller ones (pipe(7)).
const MAX_PIPES: usize = 64;
/// Unused ones that are kept.
const MAX_FREE_PIPES: usize = 16;

/// A shard's pipes.
#[derive(Debug, Default)]
pub struct PipePool {
    // Boxed, so that a connection that may need one has room for no more than a pointer.
    #[expect(clippy::vec_box, reason = "the boxes go in and out as they are")]
    free: RefCell<Vec<Box<Ends>>>,
    open: Cell<usize>,
}

#[derive(Debug)]
struct Ends {
    out: OwnedFd,
    into: OwnedFd,
    capacity: usize,
    /// Bytes inside.
    held: usize,
}

/// A pipe, for as long as there is something to move through it.
#[derive(Debug)]
pub struct Pipe {
    /// `None` only while it is dropped.
    ends: Option<Box<Ends>>,
    pool: Rc<PipePool>,
}

impl PipePool {
    pub(crate) fn new() -> Rc<Self> {
        Rc::default()
    }

    /// An empty pipe; `None` when the shard has all it may have, or the kernel gives none:
    /// then the bytes are copied.
    pub fn take(self: &Rc<Self>) -> Option<Pipe> {
        let free = self.free.borrow_mut().pop();
        let ends = match free {
            Some(ends) => ends,
            None if self.open.get() < MAX_PIPES => {
                let ends = Ends::open().ok()?;
                self.open.set(self.open.get() + 1);
                Box::new(ends)
            }
            None => return None,
        };
        Some(Pipe { ends: Some(ends), pool: Rc::clone(self) })
    }
}

impl Ends {
    fn open() -> io::Result<Self> {
        let (out, into) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // Refused when the user has too many pages in pipes: then it has the usual 64 KiB.
        let _stays_small = rustix::pipe::fcntl_setpipe_size(&into, CAPACITY);
        let capacity = rustix::pipe::fcntl_getpipe_size(&into)?;
        Ok(Self { out, into, capacity, held: 0 })
    }
}

impl Pipe {
    /// Bytes that were taken in and not given out.
    pub fn held(&self) -> usize {
        self.ends.as_ref().map_or(0, |ends| ends.held)
    }

    fn ends(&mut self) -> &mut Ends {
        self.ends.as_mut().expect("a pipe has its ends until it is dropped")
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        let ends = self.ends.take().expect("dropped once");
        let mut free = self.pool.free.borrow_mut();
        // What is left inside must not come out elsewhere.
        if ends.held == 0 && free.len() < MAX_FREE_PIPES {
            free.push(ends);
        } else {
            self.pool.open.set(self.pool.open.get() - 1);
        }
    }
}

impl Stream {
    /// Moves up to `limit` received bytes into the pipe, which must be empty; 0 is the end of
    /// the stream.
    ///
    /// # Errors
    /// As `splice(2)`.
    pub fn poll_splice_into(
        &self,
        cx: &mut Context<'_>,
        pipe: &mut Pipe,
        limit: usize,
    ) -> Poll<io::Result<usize>> {
        debug_assert_eq!(pipe.held(), 0, "a full pipe could not be told from an empty socket");
        ready!(self.poll_read_ready(cx));
        ready!(runtime::spend(cx));
        loop {
            let ends = pipe.ends();
            let wanted = limit.min(ends.capacity);
            let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
            match rustix::pipe::splice(self, None, &ends.into, None, wanted, flags) {
                Ok(count) => {
                    ends.held = count;
                    return Poll::Ready(Ok(count));
                }
                Err(Errno::AGAIN) => {
                    self.clear(Direction::Read);
                    ready!(self.poll_read_ready(cx));
                }
                Err(Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    /// Sends once what the pipe holds, as much as the socket takes. `more` says that more will
    /// follow at once, so that the kernel need not send a short packet (`MSG_MORE`).
    ///
    /// # Errors
    /// As `splice(2)`.
    pub fn poll_splice_from(
        &self,
        cx: &mut Context<'_>,
        pipe: &mut Pipe,
        more: bool,
    ) -> Poll<io::Result<usize>> {
        debug_assert!(pipe.held() > 0, "an empty pipe would look like a full socket");
        let mut flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        flags.set(SpliceFlags::MORE, more);
        loop {
            ready!(self.poll_write_ready(cx));
            let ends = pipe.ends();
            match rustix::pipe::splice(&ends.out, None, self, None, ends.held, flags) {
                Ok(count) => {
                    ends.held -= count;
                    return Poll::Ready(Ok(count));
                }
                Err(Errno::AGAIN) => self.clear(Direction::Write),
                Err(Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::poll_fn,
        io::{Read, Write},
        net::{TcpListener, TcpStream},
        thread,
    };

    use super::*;
    use crate::Runtime;

    fn pair() -> (TcpStream, Stream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let outside = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (inside, _) = listener.accept().unwrap();
        inside.set_nonblocking(true).unwrap();
        (outside, Stream::from_socket(inside.into()).unwrap())
    }

    #[test]
    fn every_byte_passes_in_order() {
        let sent: Vec<u8> = (0..3_000_000u32).map(|i| (i * 7 % 251) as u8).collect();
        let expected = sent.clone();
        Runtime::new().unwrap().block_on(async {
            let ((mut source, from), (mut sink, to)) = (pair(), pair());
            let writer = thread::spawn(move || source.write_all(&sent).unwrap());
            let reader = thread::spawn(move || {
                let mut received = Vec::new();
                sink.read_to_end(&mut received).unwrap();
                received
            });
            let mut pipe = PipePool::new().take().unwrap();
            loop {
                let count = poll_fn(|cx| from.poll_splice_into(cx, &mut pipe, usize::MAX)).await;
                if count.unwrap() == 0 {
                    break;
                }
                while pipe.held() > 0 {
                    poll_fn(|cx| to.poll_splice_from(cx, &mut pipe, false)).await.unwrap();
                }
            }
            drop(to);
            writer.join().unwrap();
            // Not `assert_eq`: the bytes would be printed.
            assert!(reader.join().unwrap() == expected);
        });
    }

    #[test]
    fn no_more_is_taken_than_asked_for() {
        Runtime::new().unwrap().block_on(async {
            let (mut source, from) = pair();
            source.write_all(b"head and body").unwrap();
            let mut pipe = PipePool::new().take().unwrap();
            let count = poll_fn(|cx| from.poll_splice_into(cx, &mut pipe, 4)).await;
            assert_eq!((count.unwrap(), pipe.held()), (4, 4));
        });
    }

    #[test]
    fn a_pipe_with_something_left_inside_is_not_used_again() {
        Runtime::new().unwrap().block_on(async {
            let pool = PipePool::new();
            drop(pool.take().unwrap());
            assert_eq!((pool.free.borrow().len(), pool.open.get()), (1, 1));
            let (mut source, from) = pair();
            source.write_all(b"secret").unwrap();
            let mut pipe = pool.take().unwrap();
            poll_fn(|cx| from.poll_splice_into(cx, &mut pipe, 100)).await.unwrap();
            drop(pipe);
            assert_eq!((pool.free.borrow().len(), pool.open.get()), (0, 0));
        });
    }

    #[test]
    fn a_shard_has_so_many_pipes_and_no_more() {
        let pool = PipePool::new();
        let pipes: Vec<_> = (0..MAX_PIPES).map(|_| pool.take().unwrap()).collect();
        assert!(pool.take().is_none());
        drop(pipes);
        assert_eq!(pool.free.borrow().len(), MAX_FREE_PIPES);
        assert!(pool.take().is_some());
    }
}
