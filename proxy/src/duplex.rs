//! What carries bytes both ways: a socket, or something that is made to look like one.

use std::{
    future::poll_fn,
    io::{self, IoSlice},
    rc::Rc,
    task::{Context, Poll, ready},
};

use bs9_net::{Buffer, BufferPool, Stream};

/// Bytes both ways. Both directions can be used at once through a shared reference, each by one
/// task at a time.
pub(crate) trait Duplex {
    /// Ready when a read may find something.
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<()>;

    /// Ready when the peer has said that nothing more comes, or is gone, where that can be known
    /// without reading.
    fn poll_peer_done(&self, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }

    /// Reads into the buffer's free space, of which there must be some; 0 is the end.
    fn poll_read(&self, cx: &mut Context<'_>, into: &mut Buffer) -> Poll<io::Result<usize>>;

    /// Likewise, with a buffer that is taken from `buffers` when there is something to read
    /// and none yet.
    fn poll_read_pooled(
        &self,
        cx: &mut Context<'_>,
        into: &mut Option<Buffer>,
        buffers: &Rc<BufferPool>,
    ) -> Poll<io::Result<usize>>;

    /// Writes once, as much as is taken.
    fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>>;

    /// Likewise, gathering several slices where that is possible.
    fn poll_write_vectored(
        &self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let first = slices.iter().find(|slice| !slice.is_empty());
        self.poll_write(cx, first.map_or(&[], |slice| slice))
    }

    /// Tells the peer that nothing more will be sent; reading goes on.
    fn shutdown_write(&self) -> io::Result<()>;

    /// The peer must not take what it got for all there was.
    fn reset_on_close(&self);

    /// Says goodbye before it is dropped, where that has to be said: what was sent was all.
    fn finish(&self) {}

    /// The socket, when it carries the bytes as they are: the kernel can move them then.
    fn plain(&self) -> Option<&Stream> {
        None
    }

    /// [`poll_read`](Self::poll_read), awaited.
    async fn read(&self, into: &mut Buffer) -> io::Result<usize> {
        poll_fn(|cx| self.poll_read(cx, into)).await
    }

    /// Writes all of `bytes`.
    async fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        let mut taken = 0;
        poll_fn(|cx| {
            while taken < bytes.len() {
                taken += ready!(self.poll_write(cx, &bytes[taken..]))?;
            }
            Poll::Ready(Ok(()))
        })
        .await
    }

    /// Writes all of `head`, then all of `body`, together where that is possible.
    async fn write_both(&self, head: &[u8], body: &[u8]) -> io::Result<()> {
        self.write_all(head).await?;
        self.write_all(body).await
    }
}

/// The methods that sockets have already.
macro_rules! duplex {
    ($stream:ty) => {
        impl Duplex for $stream {
            fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
                self.poll_read_ready(cx)
            }

            fn poll_peer_done(&self, cx: &mut Context<'_>) -> Poll<()> {
                self.poll_peer_done(cx)
            }

            fn poll_read(
                &self,
                cx: &mut Context<'_>,
                into: &mut Buffer,
            ) -> Poll<io::Result<usize>> {
                self.poll_read(cx, into)
            }

            fn poll_read_pooled(
                &self,
                cx: &mut Context<'_>,
                into: &mut Option<Buffer>,
                buffers: &Rc<BufferPool>,
            ) -> Poll<io::Result<usize>> {
                self.poll_read_pooled(cx, into, buffers)
            }

            fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
                self.poll_write(cx, bytes)
            }

            fn poll_write_vectored(
                &self,
                cx: &mut Context<'_>,
                slices: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                self.poll_write_vectored(cx, slices)
            }

            async fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
                self.write_all(bytes).await
            }

            async fn write_both(&self, head: &[u8], body: &[u8]) -> io::Result<()> {
                self.write_both(head, body).await
            }

            fn shutdown_write(&self) -> io::Result<()> {
                self.shutdown_write()
            }

            fn reset_on_close(&self) {
                self.reset_on_close();
            }

            fn finish(&self) {
                self.finish();
            }

            fn plain(&self) -> Option<&Stream> {
                self.plain()
            }
        }
    };
}

duplex!(Stream);
duplex!(bs9_net::Transport);
