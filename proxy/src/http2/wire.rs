//! A client's connection as the `h2` crate wants it.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bs9_net::{Buffer, BufferPool};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::meter::Meter;
use crate::duplex::Duplex;

/// A connection, with what was read from it before it was known to speak HTTP/2. It holds a
/// buffer only while there is something in it.
pub(super) struct Wire<D> {
    stream: Rc<D>,
    buffers: Rc<BufferPool>,
    early: Option<Buffer>,
    meter: Rc<Meter>,
}

impl<D> Wire<D> {
    pub(super) fn new(
        stream: Rc<D>,
        buffers: Rc<BufferPool>,
        early: Buffer,
        meter: Rc<Meter>,
    ) -> Self {
        Self { stream, buffers, early: Some(early), meter }
    }
}

impl<D: Duplex> AsyncRead for Wire<D> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { stream, buffers, early, meter } = &mut *self;
        if meter.is_flooded() {
            // It is told so, and not listened to any more.
            return Poll::Pending;
        }
        if early.is_none() && ready!(stream.poll_read_pooled(cx, early, buffers))? == 0 {
            return Poll::Ready(Ok(()));
        }
        if let Some(buffer) = early {
            let count = buffer.len().min(into.remaining());
            let bytes = &buffer.filled()[..count];
            meter.received(bytes);
            into.put_slice(bytes);
            buffer.consume(count);
            if buffer.is_empty() {
                *early = None;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<D: Duplex> AsyncWrite for Wire<D> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream.poll_write(cx, bytes).map_ok(|count| self.meter.sent(count))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream.poll_write_vectored(cx, slices).map_ok(|count| self.meter.sent(count))
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
