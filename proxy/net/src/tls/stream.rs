//! A TLS connection after its handshake.
//!
//! It reads and writes like the [`Stream`] below it. Sealed bytes are in buffers of their own
//! pool, and only while they are under way: an idle connection holds its two keys and little
//! else.

use std::{
    cell::RefCell,
    fmt, io,
    os::fd::OwnedFd,
    rc::Rc,
    task::{Context, Poll, Waker, ready},
};

use super::{
    reader::{Reader, Step},
    record::RecordKey,
    session::Session,
    writer::Writer,
};
use crate::{Buffer, BufferPool, Stream, buffer::Target};

/// What both sides agreed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreed {
    /// The protocol chosen by ALPN (RFC 7301).
    pub alpn: Option<Box<[u8]>>,
    /// The name the client asked for, in lower case.
    pub server_name: Option<Box<str>>,
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// Whether an earlier session was taken up again.
    pub resumed: bool,
}

/// An established TLS connection, registered with this shard.
///
/// Like a [`Stream`], it can be used in both directions at once, each by one task at a time. A
/// write that was not ready has taken its bytes all the same: it must be asked again with the
/// same bytes, until it says how many it took, or not at all any more.
pub struct TlsStream {
    socket: Stream,
    inner: RefCell<Inner>,
    agreed: Agreed,
}

/// An idle connection on its way to another shard.
pub struct DetachedTls {
    socket: OwnedFd,
    session: Session,
    receive: RecordKey,
    send: RecordKey,
    record_bytes: usize,
    agreed: Agreed,
}

impl fmt::Debug for DetachedTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DetachedTls").field("agreed", &self.agreed).finish_non_exhaustive()
    }
}

struct Inner {
    session: Session,
    reader: Reader,
    writer: Writer,
}

impl fmt::Debug for TlsStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsStream").field("agreed", &self.agreed).finish_non_exhaustive()
    }
}

/// Everything a handshake leaves behind.
pub(super) struct Established {
    pub(super) session: Session,
    pub(super) receive: RecordKey,
    pub(super) send: RecordKey,
    /// Sealed bytes that were read already.
    pub(super) inbound: Option<Buffer>,
    /// Text that was opened already.
    pub(super) early: Vec<u8>,
    /// The peer has said already that nothing more comes.
    pub(super) ended: bool,
    /// The end of the handshake, not sent yet: it leaves with the first bytes, or before the
    /// first wait.
    pub(super) outbound: Option<Buffer>,
    pub(super) agreed: Agreed,
}

impl TlsStream {
    pub(super) fn new(socket: Stream, established: Established) -> Self {
        let Established { session, receive, send, inbound, early, ended, outbound, agreed } =
            established;
        let reader = Reader::new(receive, inbound, early, ended);
        let writer = Writer::new(send, outbound);
        Self { socket, inner: RefCell::new(Inner { session, reader, writer }), agreed }
    }

    /// What both sides agreed on.
    pub fn agreed(&self) -> &Agreed {
        &self.agreed
    }

    /// What carries the records.
    pub(crate) fn socket(&self) -> &Stream {
        &self.socket
    }

    /// Text is sealed in records of so many bytes at most from now on.
    pub fn limit_records(&self, bytes: usize) {
        self.inner.borrow_mut().writer.limit_records(bytes);
    }

    /// Takes the connection off this shard, to be given to another one
    /// ([`attach`](Self::attach)). `None` when bytes are under way: the connection is lost then.
    pub fn detach(self) -> Option<DetachedTls> {
        // Takes session tickets, which may come at any time, and gives the buffer back.
        if !self.is_quiet() {
            return None;
        }
        let Inner { session, reader, writer } = self.inner.into_inner();
        let receive = reader.detach()?;
        let (send, record_bytes) = writer.detach()?;
        let socket = self.socket.detach();
        Some(DetachedTls { socket, session, receive, send, record_bytes, agreed: self.agreed })
    }

    /// Puts a connection on this shard.
    ///
    /// # Errors
    /// When the shard's poll does not take it.
    pub fn attach(detached: DetachedTls) -> io::Result<Self> {
        let DetachedTls { socket, session, receive, send, record_bytes, agreed } = detached;
        let socket = Stream::from_socket(socket)?;
        let reader = Reader::new(receive, None, Vec::new(), false);
        let mut writer = Writer::new(send, None);
        writer.limit_records(record_bytes);
        Ok(Self { socket, inner: RefCell::new(Inner { session, reader, writer }), agreed })
    }

    /// Ready when a read may find something.
    pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        let inner = &mut *self.inner.borrow_mut();
        if inner.reader.has_something() {
            return Poll::Ready(());
        }
        inner.writer.flush_before_waiting(cx, &self.socket);
        self.socket.poll_read_ready(cx)
    }

    /// Ready when a write may be taken.
    pub fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.socket.poll_write_ready(cx)
    }

    /// Ready when the socket will bring nothing more; there may be records to read before that.
    pub fn poll_peer_done(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.socket.poll_peer_done(cx)
    }

    /// Reads text into the buffer's free space; 0 is the end, as the peer announced it.
    ///
    /// # Errors
    /// As `read(2)`; `UnexpectedEof` when the connection ended without the peer saying so
    /// (what came before may have been cut short), `InvalidData` when it broke the protocol.
    pub fn poll_read(&self, cx: &mut Context<'_>, into: &mut Buffer) -> Poll<io::Result<usize>> {
        self.poll_read_target(cx, &mut Target::Given(into))
    }

    /// Likewise, with a buffer that is taken from `buffers` when there is something to read
    /// and none yet.
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
        let polled = self.poll_read_target(cx, &mut Target::Pooled(into, buffers));
        if polled.is_pending() && !held {
            // It was taken for a record that held no text.
            *into = None;
        }
        polled
    }

    fn poll_read_target(
        &self,
        cx: &mut Context<'_>,
        into: &mut Target<'_>,
    ) -> Poll<io::Result<usize>> {
        let Inner { session, reader, writer } = &mut *self.inner.borrow_mut();
        loop {
            match reader.step(session, writer, Some(into)) {
                Ok(Step::Text(count)) => return Poll::Ready(Ok(count)),
                Ok(Step::End) => return Poll::Ready(Ok(0)),
                Ok(Step::Again) => {}
                Ok(Step::Starved) => {
                    writer.flush_before_waiting(cx, &self.socket);
                    ready!(reader.poll_fill(cx, &self.socket))?;
                }
                Err(violation) => {
                    writer.send_alert(violation.alert(), &self.socket);
                    return Poll::Ready(Err(violation.into()));
                }
            }
        }
    }

    /// Writes once. Takes as much as fits into a few records.
    ///
    /// # Errors
    /// As `write(2)`.
    pub fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_both(cx, bytes, &[])
    }

    /// Likewise, `first` and `second` together.
    ///
    /// # Errors
    /// As `write(2)`.
    pub fn poll_write_both(
        &self,
        cx: &mut Context<'_>,
        first: &[u8],
        second: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Inner { session, writer, .. } = &mut *self.inner.borrow_mut();
        writer.poll_write(cx, &self.socket, session, first, second)
    }

    /// Writes all of `head`, then all of `body`, in as few records as possible.
    ///
    /// # Errors
    /// As `write(2)`; `WriteZero` when the socket takes nothing any more.
    pub async fn write_both(&self, mut head: &[u8], mut body: &[u8]) -> io::Result<()> {
        while !head.is_empty() || !body.is_empty() {
            let count = std::future::poll_fn(|cx| self.poll_write_both(cx, head, body)).await?;
            let from_head = count.min(head.len());
            head = &head[from_head..];
            body = &body[count - from_head..];
        }
        Ok(())
    }

    /// Tells the peer that nothing more will be sent (`close_notify`, then the end of the
    /// stream); reading goes on. What the socket does not take now follows while reading.
    ///
    /// # Errors
    /// As `shutdown(2)`.
    pub fn shutdown_write(&self) -> io::Result<()> {
        let inner = &mut *self.inner.borrow_mut();
        inner.writer.close(&self.socket);
        let mut cx = Context::from_waker(Waker::noop());
        match inner.writer.poll_flush(&mut cx, &self.socket) {
            Poll::Ready(flushed) => flushed,
            Poll::Pending => Ok(()),
        }
    }

    /// Says goodbye (`close_notify`) as far as the socket takes it, before the stream is
    /// dropped.
    pub fn finish(&self) {
        let inner = &mut *self.inner.borrow_mut();
        inner.writer.send_close_notify(&self.socket);
    }

    /// As [`Stream::reset_on_close`]; no `close_notify` is sent.
    pub fn reset_on_close(&self) {
        self.socket.reset_on_close();
    }

    /// Whether an idle connection is still as it was left. Session tickets that came in
    /// meanwhile are taken.
    pub fn is_quiet(&self) -> bool {
        let Inner { session, reader, writer } = &mut *self.inner.borrow_mut();
        loop {
            match reader.step(session, writer, None) {
                Ok(Step::Again) => {}
                Ok(Step::Starved) if !self.socket.has_news() => {
                    reader.rest();
                    return true;
                }
                Ok(Step::Starved) => match reader.fill(&self.socket) {
                    Ok(()) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        reader.rest();
                        return true;
                    }
                    Err(_) => return false,
                },
                Ok(Step::Text(_) | Step::End) | Err(_) => return false,
            }
        }
    }

    /// Makes the next look at the socket a real one.
    pub fn suspect(&self) {
        self.socket.suspect();
    }

    /// Whether there is, or may be, something to read. Costs no system call.
    pub fn has_news(&self) -> bool {
        self.inner.borrow().reader.has_something() || self.socket.has_news()
    }
}
