//! A connection as the `h2` crate wants it.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bs9_net::{Buffer, BufferPool, Transport};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::session::Session;

/// A connection. It holds a buffer only while there is something in it.
pub(super) struct Wire {
    stream: Rc<Transport>,
    buffers: Rc<BufferPool>,
    arrived: Option<Buffer>,
    session: Rc<Session>,
}

impl Wire {
    /// Of a session, which is told when the endpoint was heard.
    pub(super) fn new(
        stream: Rc<Transport>,
        buffers: Rc<BufferPool>,
        session: Rc<Session>,
    ) -> Self {
        Self { stream, buffers, arrived: None, session }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { stream, buffers, arrived, session } = &mut *self;
        let empty = arrived.as_ref().is_none_or(Buffer::is_empty);
        if empty && ready!(stream.poll_read_pooled(cx, arrived, buffers))? == 0 {
            return Poll::Ready(Ok(()));
        }
        if let Some(buffer) = arrived {
            session.hears();
            let count = buffer.len().min(into.remaining());
            into.put_slice(&buffer.filled()[..count]);
            buffer.consume(count);
            if buffer.is_empty() {
                *arrived = None;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream.poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream.poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The connection's task closes it.
        Poll::Ready(Ok(()))
    }
}
