//! A connection as the `h2` crate wants it.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bs9_net::{Buffer, BufferPool};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::duplex::Duplex;

/// Follows what passes on a connection.
pub(super) trait Ear {
    /// Whether nothing more is to be read.
    fn is_deaf(&self) -> bool {
        false
    }

    /// `bytes` came from the peer.
    fn received(&self, bytes: &[u8]);

    /// `count` bytes went to the peer.
    fn sent(&self, _count: usize) {}
}

/// A connection, with what was read from it before it was known to speak HTTP/2. It holds a
/// buffer only while there is something in it.
pub(super) struct Wire<D, E> {
    stream: Rc<D>,
    buffers: Rc<BufferPool>,
    early: Option<Buffer>,
    ear: Rc<E>,
}

impl<D, E> Wire<D, E> {
    pub(super) fn new(
        stream: Rc<D>,
        buffers: Rc<BufferPool>,
        early: Option<Buffer>,
        ear: Rc<E>,
    ) -> Self {
        Self { stream, buffers, early, ear }
    }
}

impl<D, E: Ear> Wire<D, E> {
    fn tell(&self, count: usize) -> usize {
        self.ear.sent(count);
        count
    }
}

impl<D: Duplex, E: Ear> AsyncRead for Wire<D, E> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { stream, buffers, early, ear } = &mut *self;
        if ear.is_deaf() {
            // It is told so, and not listened to any more.
            return Poll::Pending;
        }
        let empty = early.as_ref().is_none_or(Buffer::is_empty);
        if empty && ready!(stream.poll_read_pooled(cx, early, buffers))? == 0 {
            return Poll::Ready(Ok(()));
        }
        if let Some(buffer) = early {
            let count = buffer.len().min(into.remaining());
            let bytes = &buffer.filled()[..count];
            ear.received(bytes);
            into.put_slice(bytes);
            buffer.consume(count);
            if buffer.is_empty() {
                *early = None;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<D: Duplex, E: Ear> AsyncWrite for Wire<D, E> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream.poll_write(cx, bytes).map_ok(|count| self.tell(count))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream.poll_write_vectored(cx, slices).map_ok(|count| self.tell(count))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The connection's task closes, and waits for the client to have read the last frame.
        Poll::Ready(Ok(()))
    }
}
