//! A connection as the engines see it: plain, or TLS.

use std::{
    io::{self, IoSlice},
    net::SocketAddr,
    os::fd::OwnedFd,
    rc::Rc,
    task::{Context, Poll},
};

use crate::{
    Buffer, BufferPool, Stream,
    tls::{Agreed, DetachedTls, TlsStream},
};

/// A connected stream of bytes, with the methods of a [`Stream`].
///
/// A write that was not ready must be asked again with the same bytes, or not at all any more:
/// TLS has sealed them already.
#[derive(Debug)]
pub enum Transport {
    /// As it is on the wire.
    Plain(Stream),
    /// Sealed.
    Tls(Box<TlsStream>),
}

/// A connection on its way to another shard.
#[derive(Debug)]
pub enum Detached {
    /// As it is on the wire.
    Plain(OwnedFd),
    /// Sealed.
    Tls(Box<DetachedTls>),
}

impl From<Stream> for Transport {
    fn from(stream: Stream) -> Self {
        Self::Plain(stream)
    }
}

impl From<TlsStream> for Transport {
    fn from(stream: TlsStream) -> Self {
        Self::Tls(Box::new(stream))
    }
}

impl Transport {
    /// What a TLS handshake agreed on; `None` for a plain connection.
    pub fn agreed(&self) -> Option<&Agreed> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(stream) => Some(stream.agreed()),
        }
    }

    /// The socket, when nothing but it carries the bytes.
    pub fn plain(&self) -> Option<&Stream> {
        match self {
            Self::Plain(stream) => Some(stream),
            Self::Tls(_) => None,
        }
    }

    /// Likewise, to be kept.
    pub fn into_plain(self) -> Option<Stream> {
        match self {
            Self::Plain(stream) => Some(stream),
            Self::Tls(_) => None,
        }
    }

    /// Takes the connection off this shard, to be given to another one
    /// ([`attach`](Self::attach)). `None`: bytes were under way, and the connection is lost.
    pub fn detach(self) -> Option<Detached> {
        match self {
            Self::Plain(stream) => Some(Detached::Plain(stream.detach())),
            Self::Tls(stream) => stream.detach().map(|tls| Detached::Tls(Box::new(tls))),
        }
    }

    /// Puts a connection on this shard.
    ///
    /// # Errors
    /// When the shard's poll does not take it.
    pub fn attach(detached: Detached) -> io::Result<Self> {
        Ok(match detached {
            Detached::Plain(socket) => Self::Plain(Stream::from_socket(socket)?),
            Detached::Tls(tls) => Self::Tls(Box::new(TlsStream::attach(*tls)?)),
        })
    }

    /// The number of the user who has connected by a Unix socket; `None` by any other.
    pub fn peer_user(&self) -> Option<u32> {
        match self {
            Self::Plain(stream) => stream.peer_user(),
            Self::Tls(stream) => stream.socket().peer_user(),
        }
    }

    /// Its own address; `None` for a Unix socket.
    pub fn local_address(&self) -> Option<SocketAddr> {
        match self {
            Self::Plain(stream) => stream.local_address(),
            Self::Tls(stream) => stream.socket().local_address(),
        }
    }

    /// Ready when a read may find something.
    #[inline]
    pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Plain(stream) => stream.poll_read_ready(cx),
            Self::Tls(stream) => stream.poll_read_ready(cx),
        }
    }

    /// Ready when the peer has said that nothing more comes, or is gone; there may be bytes to
    /// read before that. Costs no system call.
    #[inline]
    pub fn poll_peer_done(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Plain(stream) => stream.poll_peer_done(cx),
            Self::Tls(stream) => stream.poll_peer_done(cx),
        }
    }

    /// Ready when a write may be taken.
    #[inline]
    pub fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Plain(stream) => stream.poll_write_ready(cx),
            Self::Tls(stream) => stream.poll_write_ready(cx),
        }
    }

    /// Reads into the buffer's free space; 0 is the end of the stream.
    ///
    /// # Errors
    /// As [`Stream::poll_read`] and [`TlsStream::poll_read`].
    #[inline]
    pub fn poll_read(&self, cx: &mut Context<'_>, into: &mut Buffer) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(stream) => stream.poll_read(cx, into),
            Self::Tls(stream) => stream.poll_read(cx, into),
        }
    }

    /// Likewise, with a buffer that is taken from `buffers` when there is something to read
    /// and none yet.
    ///
    /// # Errors
    /// As [`poll_read`](Self::poll_read).
    #[inline]
    pub fn poll_read_pooled(
        &self,
        cx: &mut Context<'_>,
        into: &mut Option<Buffer>,
        buffers: &Rc<BufferPool>,
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(stream) => stream.poll_read_pooled(cx, into, buffers),
            Self::Tls(stream) => stream.poll_read_pooled(cx, into, buffers),
        }
    }

    /// Writes once, as much as is taken.
    ///
    /// # Errors
    /// As `write(2)`.
    #[inline]
    pub fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(stream) => stream.poll_write(cx, bytes),
            Self::Tls(stream) => stream.poll_write(cx, bytes),
        }
    }

    /// Likewise, gathering several slices.
    ///
    /// # Errors
    /// As `writev(2)`.
    #[inline]
    pub fn poll_write_vectored(
        &self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(stream) => stream.poll_write_vectored(cx, slices),
            Self::Tls(stream) => {
                let (first, rest) =
                    slices.split_first().map_or((&[][..], slices), |(a, b)| (&**a, b));
                stream.poll_write_both(cx, first, rest.first().map_or(&[], |second| second))
            }
        }
    }

    /// [`poll_read`](Self::poll_read), awaited.
    ///
    /// # Errors
    /// As [`poll_read`](Self::poll_read).
    pub async fn read(&self, into: &mut Buffer) -> io::Result<usize> {
        std::future::poll_fn(|cx| self.poll_read(cx, into)).await
    }

    /// Waits until a read may find something.
    pub async fn readable(&self) {
        std::future::poll_fn(|cx| self.poll_read_ready(cx)).await;
    }

    /// Writes all of `bytes`.
    ///
    /// # Errors
    /// As `write(2)`; `WriteZero` when the socket takes nothing any more.
    #[inline]
    pub async fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.write_all(bytes).await,
            Self::Tls(stream) => stream.write_both(bytes, &[]).await,
        }
    }

    /// Writes all of `head`, then all of `body`, together where the socket lets us.
    ///
    /// # Errors
    /// As `writev(2)`; `WriteZero` when the socket takes nothing any more.
    #[inline]
    pub async fn write_both(&self, head: &[u8], body: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.write_both(head, body).await,
            Self::Tls(stream) => stream.write_both(head, body).await,
        }
    }

    /// Tells the peer that nothing more will be sent; reading goes on.
    ///
    /// # Errors
    /// As `shutdown(2)`.
    pub fn shutdown_write(&self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.shutdown_write(),
            Self::Tls(stream) => stream.shutdown_write(),
        }
    }

    /// Says goodbye before it is dropped: what was sent was all there was. Closing a plain
    /// connection says so by itself.
    pub fn finish(&self) {
        if let Self::Tls(stream) = self {
            stream.finish();
        }
    }

    /// Makes closing reset the connection: the peer must not take what it got for all
    /// there was.
    pub fn reset_on_close(&self) {
        match self {
            Self::Plain(stream) => stream.reset_on_close(),
            Self::Tls(stream) => stream.reset_on_close(),
        }
    }

    /// Whether an idle connection is still as it was left: open, and without a byte
    /// that nobody asked for. Costs no system call unless the socket reported something.
    #[inline]
    pub fn is_quiet(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_quiet(),
            Self::Tls(stream) => stream.is_quiet(),
        }
    }

    /// Makes the next look at the socket a real one: what the kernel knows may not have been
    /// reported yet.
    pub fn suspect(&self) {
        match self {
            Self::Plain(stream) => stream.suspect(),
            Self::Tls(stream) => stream.suspect(),
        }
    }

    /// Whether there is, or may be, something to read. Costs no system call and takes nothing.
    #[inline]
    pub fn has_news(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.has_news(),
            Self::Tls(stream) => stream.has_news(),
        }
    }
}
