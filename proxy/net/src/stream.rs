//! A connected socket, TCP or Unix.

use std::{
    fmt,
    io::{self, IoSlice},
    net::{IpAddr, SocketAddr},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use mio::Interest;
use rustix::{
    io::Errno,
    net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt},
};

use crate::{
    Buffer, BufferPool,
    runtime::{self, Direction, Registered},
    socket,
};

/// Who is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerAddress {
    /// A TCP client.
    Tcp(SocketAddr),
    /// A client of a Unix socket.
    Unix,
}

impl PeerAddress {
    /// The IP address, where there is one.
    pub fn ip(self) -> Option<IpAddr> {
        match self {
            Self::Tcp(address) => Some(address.ip()),
            Self::Unix => None,
        }
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix => f.write_str("unix:"),
        }
    }
}

/// A connected socket registered with this shard.
///
/// Both directions can be used at once through a shared reference; each direction
/// by one task at a time. A read that fills less than it was offered, and a write
/// that is taken in part, end the readiness: the next call waits for the kernel's
/// event instead of asking again.
#[derive(Debug)]
pub struct Stream {
    /// Its only descriptor: closing it takes it out of the poll.
    socket: OwnedFd,
    registered: Registered,
}

impl Stream {
    /// Registers a connected, non-blocking socket with the shard this runs on. There must be
    /// no other descriptor of it.
    ///
    /// # Errors
    /// When the shard's poll does not take it.
    ///
    /// # Panics
    /// Outside of a shard.
    pub fn from_socket(socket: OwnedFd) -> io::Result<Self> {
        let registered = Registered::new(&socket, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self { socket, registered })
    }

    /// Connects to a TCP address; `TCP_NODELAY` is set.
    ///
    /// # Errors
    /// As `connect(2)`.
    pub async fn connect_tcp(address: SocketAddr) -> io::Result<Self> {
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let socket = new_socket(family)?;
        sockopt::set_tcp_nodelay(&socket, true)?;
        if address.ip().is_loopback() {
            socket::lighten(&socket);
        }
        let connected = rustix::net::connect(&socket, &address);
        Self::finish_connect(socket, connected).await
    }

    /// Likewise, for a session that may be silent for long: the kernel finds out when the other
    /// machine has gone.
    ///
    /// # Errors
    /// As `connect(2)`.
    pub async fn connect_session(address: SocketAddr) -> io::Result<Self> {
        let stream = Self::connect_tcp(address).await?;
        socket::keep_alive(&stream)?;
        Ok(stream)
    }

    /// Connects to a Unix socket.
    ///
    /// # Errors
    /// As `connect(2)`.
    pub async fn connect_unix(path: &Path) -> io::Result<Self> {
        let socket = new_socket(AddressFamily::UNIX)?;
        let address = rustix::net::SocketAddrUnix::new(path)?;
        let connected = rustix::net::connect(&socket, &address);
        Self::finish_connect(socket, connected).await
    }

    async fn finish_connect(socket: OwnedFd, connected: Result<(), Errno>) -> io::Result<Self> {
        match connected {
            Ok(()) => Self::from_socket(socket),
            Err(Errno::INPROGRESS) => {
                let stream = Self::from_socket(socket)?;
                stream.writable().await;
                sockopt::socket_error(&stream)??;
                Ok(stream)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Ready when a read may find something.
    pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.registered.poll_ready(cx, Direction::Read)
    }

    /// Ready when a write may be taken.
    pub fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.registered.poll_ready(cx, Direction::Write)
    }

    /// Ready when the peer has said that nothing more comes, or is gone; there may be bytes to
    /// read before that. Costs no system call.
    #[inline]
    pub fn poll_peer_done(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.registered.poll_over(cx, Direction::Read)
    }

    /// Reads into the buffer's free space; 0 is the end of the stream.
    ///
    /// # Errors
    /// As `read(2)`. The buffer must have room: a full one would read as the end.
    pub fn poll_read(&self, cx: &mut Context<'_>, into: &mut Buffer) -> Poll<io::Result<usize>> {
        self.poll_read_with(cx, || into)
    }

    /// Likewise, with a buffer that is taken from `buffers` when there is something to read
    /// and none yet; who has to wait holds no more than before.
    ///
    /// # Errors
    /// As [`poll_read`](Self::poll_read).
    pub fn poll_read_pooled(
        &self,
        cx: &mut Context<'_>,
        into: &mut Option<Buffer>,
        buffers: &Rc<BufferPool>,
    ) -> Poll<io::Result<usize>> {
        let held = into.is_some();
        let polled = self.poll_read_with(cx, || into.get_or_insert_with(|| buffers.take()));
        if polled.is_pending() && !held {
            // The socket seemed to have something, as after a read that filled the buffer.
            *into = None;
        }
        polled
    }

    fn poll_read_with<'a>(
        &self,
        cx: &mut Context<'_>,
        into: impl FnOnce() -> &'a mut Buffer,
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_read_ready(cx));
        ready!(runtime::spend(cx));
        let into = into();
        debug_assert!(!into.is_full(), "reading into a full buffer");
        loop {
            let room = into.spare();
            let wanted = room.len();
            // recv(2) and send(2) go straight to the socket; read(2) and write(2) get there
            // through the file layer.
            match rustix::net::recv(&self.socket, room, RecvFlags::empty()) {
                Ok((count, _)) => {
                    if count > 0 && count < wanted {
                        self.registered.clear(Direction::Read);
                    }
                    into.commit(count);
                    return Poll::Ready(Ok(count));
                }
                Err(Errno::AGAIN) => {
                    self.registered.clear(Direction::Read);
                    ready!(self.poll_read_ready(cx));
                }
                Err(Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    /// Reads without waiting; `WouldBlock` when there is nothing.
    ///
    /// # Errors
    /// As [`poll_read`](Self::poll_read).
    pub(crate) fn try_read(&self, into: &mut Buffer) -> io::Result<usize> {
        match rustix::net::recv(&self.socket, into.spare(), RecvFlags::empty()) {
            Ok((count, _)) => {
                into.commit(count);
                Ok(count)
            }
            Err(error) => {
                if error == Errno::AGAIN {
                    self.registered.clear(Direction::Read);
                }
                Err(error.into())
            }
        }
    }

    /// Copies what has been received, from its beginning, without taking it; ready when that is
    /// more than `seen` bytes. 0: no more will come.
    pub(crate) fn poll_peek(
        &self,
        cx: &mut Context<'_>,
        into: &mut [u8],
        seen: usize,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.poll_read_ready(cx));
            match rustix::net::recv(&self.socket, &mut *into, RecvFlags::PEEK) {
                Ok((count, _)) if count > seen => return Poll::Ready(Ok(count)),
                Ok((count, _)) if count == 0 || self.registered.is_over(Direction::Read) => {
                    return Poll::Ready(Ok(0));
                }
                // The kernel reports what arrives, also behind what is there.
                Ok(_) | Err(Errno::AGAIN) => self.registered.clear(Direction::Read),
                Err(Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    /// Takes `count` bytes that [`poll_peek`](Self::poll_peek) has shown.
    pub(crate) fn discard(&self, count: usize) -> io::Result<()> {
        let mut room = [0; 512];
        let mut left = count;
        while left > 0 {
            let wanted = left.min(room.len());
            let (taken, _) =
                rustix::net::recv(&self.socket, &mut room[..wanted], RecvFlags::empty())?;
            if taken == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            left -= taken;
        }
        Ok(())
    }

    /// The number of the user who has connected by a Unix socket; `None` by any other.
    pub fn peer_user(&self) -> Option<u32> {
        if self.local_address().is_some() {
            return None;
        }
        let credentials = sockopt::socket_peercred(&self.socket).ok()?;
        Some(credentials.uid.as_raw())
    }

    /// Its own address; `None` for a Unix socket.
    pub fn local_address(&self) -> Option<SocketAddr> {
        let address = rustix::net::getsockname(&self.socket).ok()?;
        SocketAddr::try_from(address).ok()
    }

    /// Writes once, as much as the socket takes.
    ///
    /// # Errors
    /// As `write(2)`.
    pub fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_with(cx, bytes.len(), |socket| {
            rustix::net::send(socket, bytes, SendFlags::NOSIGNAL)
        })
    }

    /// Likewise, gathering several slices.
    ///
    /// # Errors
    /// As `writev(2)`.
    pub fn poll_write_vectored(
        &self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wanted = slices.iter().map(|slice| slice.len()).sum();
        self.poll_write_with(cx, wanted, |socket| rustix::io::writev(socket, slices))
    }

    fn poll_write_with(
        &self,
        cx: &mut Context<'_>,
        wanted: usize,
        write: impl Fn(&OwnedFd) -> Result<usize, Errno>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.poll_write_ready(cx));
            match write(&self.socket) {
                Ok(count) => {
                    if count < wanted {
                        self.registered.clear(Direction::Write);
                    }
                    return Poll::Ready(Ok(count));
                }
                Err(Errno::AGAIN) => self.registered.clear(Direction::Write),
                Err(Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    /// [`poll_read`](Self::poll_read), awaited.
    ///
    /// # Errors
    /// As `read(2)`.
    pub async fn read(&self, into: &mut Buffer) -> io::Result<usize> {
        std::future::poll_fn(|cx| self.poll_read(cx, into)).await
    }

    /// Waits until a read may find something.
    pub async fn readable(&self) {
        std::future::poll_fn(|cx| self.poll_read_ready(cx)).await;
    }

    /// Waits until a write may be taken.
    pub async fn writable(&self) {
        std::future::poll_fn(|cx| self.poll_write_ready(cx)).await;
    }

    /// Writes all of `bytes`.
    ///
    /// # Errors
    /// As `write(2)`; `WriteZero` when the socket takes nothing any more.
    pub async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let count = std::future::poll_fn(|cx| self.poll_write(cx, bytes)).await?;
            if count == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            bytes = &bytes[count..];
        }
        Ok(())
    }

    /// Writes all of `head`, then all of `body`, together where the socket lets us.
    ///
    /// # Errors
    /// As `writev(2)`; `WriteZero` when the socket takes nothing any more.
    pub async fn write_both(&self, head: &[u8], body: &[u8]) -> io::Result<()> {
        if body.is_empty() {
            return self.write_all(head).await;
        }
        let mut written = 0;
        while written < head.len() {
            let slices = [IoSlice::new(&head[written..]), IoSlice::new(body)];
            let count = std::future::poll_fn(|cx| self.poll_write_vectored(cx, &slices)).await?;
            if count == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            written += count;
        }
        self.write_all(&body[written - head.len()..]).await
    }

    /// Tells the peer that nothing more will be sent; reading goes on.
    ///
    /// # Errors
    /// As `shutdown(2)`.
    pub fn shutdown_write(&self) -> io::Result<()> {
        rustix::net::shutdown(self, rustix::net::Shutdown::Write)?;
        Ok(())
    }

    /// Closing says by itself that what was sent was all; TLS has to say it before.
    pub fn finish(&self) {}

    /// Makes closing reset the connection: the peer must not take what it got for all
    /// there was. Without effect on a Unix socket.
    pub fn reset_on_close(&self) {
        // Gone already: then there is nobody to be told.
        let _not_connected = sockopt::set_socket_linger(self, Some(Duration::ZERO));
    }

    /// Whether an idle connection is still as it was left: open, and without a byte
    /// that nobody asked for. Costs no system call unless the socket reported something.
    pub fn is_quiet(&self) -> bool {
        if !self.has_news() {
            return true;
        }
        let mut byte = [0];
        let quiet = rustix::net::recv(&self.socket, &mut byte[..], RecvFlags::PEEK)
            .is_err_and(|error| error == Errno::AGAIN);
        if quiet {
            self.registered.clear(Direction::Read);
        }
        quiet
    }

    /// Makes the next look at the socket a real one: what the kernel knows may not have been
    /// reported yet.
    pub fn suspect(&self) {
        self.registered.suspect(Direction::Read);
    }

    /// Whether the socket reported something to read, or its end, since a read last
    /// found it empty. Costs no system call and takes nothing.
    pub fn has_news(&self) -> bool {
        self.registered.is_ready(Direction::Read)
    }

    /// Itself: nothing else carries its bytes, as TLS would.
    pub fn plain(&self) -> Option<&Self> {
        Some(self)
    }

    /// The direction was found exhausted.
    pub(crate) fn clear(&self, direction: Direction) {
        self.registered.clear(direction);
    }

    /// Takes the socket off this shard, to be given to another one
    /// ([`from_socket`](Self::from_socket)).
    pub fn detach(self) -> OwnedFd {
        self.registered.deregister(&self.socket);
        self.socket
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn new_socket(family: AddressFamily) -> io::Result<OwnedFd> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    Ok(rustix::net::socket_with(family, SocketType::STREAM, flags, None)?)
}

#[cfg(test)]
mod tests {
    use std::{
        net::TcpListener,
        time::{Duration, Instant},
    };

    use super::*;
    use crate::runtime::Runtime;

    #[test]
    fn a_suspect_stream_is_looked_at_before_anything_was_reported() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        Runtime::new().unwrap().block_on(async {
            let stream = Stream::connect_tcp(address).await.unwrap();
            let (other, _) = listener.accept().unwrap();
            assert!(stream.is_quiet());
            stream.suspect();
            assert!(stream.is_quiet(), "there is nothing to be seen yet");
            drop(other);
            // Nothing is polled here, so nothing can be reported.
            assert!(stream.is_quiet());
            let deadline = Instant::now() + Duration::from_secs(20);
            while stream.is_quiet() {
                assert!(Instant::now() < deadline, "the end is never seen");
                stream.suspect();
            }
        });
    }
}
