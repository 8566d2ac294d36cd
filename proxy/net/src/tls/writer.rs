//! The sending half of a TLS connection.

use std::{
    io,
    task::{Context, Poll, Waker, ready},
};

use super::{
    alert::Alert,
    pool,
    record::{Content, MAX_PLAINTEXT_BYTES, RecordKey, Version},
    session::Session,
};
use crate::{Buffer, Stream};

/// A `KeyUpdate` that asks for none in return (RFC 8446 section 4.6.3).
const KEY_UPDATE: [u8; 5] = [24, 0, 0, 1, 0];

/// Seals text and sends it.
pub(super) struct Writer {
    key: RecordKey,
    /// Sealed and not sent yet.
    outbound: Option<Buffer>,
    /// Bytes of text in it that the caller has not been told of.
    accepted: usize,
    /// The peer asked for new keys, or ours are worn.
    owes_update: bool,
    /// Most bytes of text in one record.
    record_bytes: usize,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// `close_notify`, or a fatal alert, is the last record.
    Said,
    /// Likewise, and the end of the stream follows it.
    Closing,
    Closed,
}

impl Writer {
    pub(super) fn new(key: RecordKey, outbound: Option<Buffer>) -> Self {
        let outbound = outbound.filter(|buffer| !buffer.is_empty());
        Self {
            key,
            outbound,
            accepted: 0,
            owes_update: false,
            record_bytes: MAX_PLAINTEXT_BYTES,
            state: State::Open,
        }
    }

    /// Text is sealed in records of so many bytes at most from now on.
    pub(super) fn limit_records(&mut self, bytes: usize) {
        self.record_bytes = bytes.clamp(1, MAX_PLAINTEXT_BYTES);
    }

    /// What it takes to go on elsewhere; `None` while something is under way.
    pub(super) fn detach(self) -> Option<(RecordKey, usize)> {
        let idle = self.outbound.is_none() && self.accepted == 0 && !self.owes_update;
        (idle && self.state == State::Open).then_some((self.key, self.record_bytes))
    }

    /// Before the next text is sent, the key changes.
    pub(super) fn owe_update(&mut self) {
        self.owes_update = true;
    }

    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        socket: &Stream,
        session: &mut Session,
        first: &[u8],
        second: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.accepted == 0 {
            if self.state != State::Open {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            // Nothing is sealed that would not leave.
            ready!(socket.poll_write_ready(cx));
            self.accepted = self.seal(session, first, second)?;
        }
        debug_assert!(first.len() + second.len() >= self.accepted, "asked again with less");
        ready!(self.poll_flush(cx, socket))?;
        Poll::Ready(Ok(std::mem::take(&mut self.accepted)))
    }

    /// Seals as much as there is room for; gives how much of the text that is.
    fn seal(&mut self, session: &mut Session, first: &[u8], second: &[u8]) -> io::Result<usize> {
        if self.owes_update || self.key.is_worn() {
            self.renew(session)?;
        }
        let (mut first, mut second, mut sealed) = (first, second, 0);
        let outbound = self.outbound.get_or_insert_with(|| pool::records().take());
        while !first.is_empty() || !second.is_empty() {
            let room = outbound.spare().len();
            let count = (first.len() + second.len())
                .min(self.record_bytes)
                .min(room.saturating_sub(self.key.overhead() + pool::RESERVE_BYTES));
            if count == 0 {
                break;
            }
            let (head, head_rest) = first.split_at(count.min(first.len()));
            let (body, body_rest) = second.split_at(count - head.len());
            let parts = [head, body];
            let parts = match (head, body) {
                (_, []) => &parts[..1],
                ([], _) => &parts[1..],
                _ => &parts[..],
            };
            let length = self.key.seal(Content::Application, parts, outbound.spare());
            outbound.commit(length.map_err(|_| io::Error::other("a TLS key is exhausted"))?);
            (first, second) = (head_rest, body_rest);
            sealed += count;
        }
        Ok(sealed)
    }

    /// Says that the key changes, and changes it.
    fn renew(&mut self, session: &mut Session) -> io::Result<()> {
        if session.version == Version::Tls12 {
            // RFC 5246 knows no way to change keys short of a new handshake.
            return Err(io::Error::other("a TLS 1.2 connection has sealed all that its key may"));
        }
        let exhausted = || io::Error::other("a TLS key could not be renewed");
        self.append(Content::Handshake, &KEY_UPDATE).ok_or_else(exhausted)?;
        self.key = session.next_send().map_err(|_| exhausted())?;
        self.owes_update = false;
        Ok(())
    }

    /// A record of our own behind what is waiting. `None`: it could not be sealed.
    fn append(&mut self, content: Content, text: &[u8]) -> Option<()> {
        let outbound = self.outbound.get_or_insert_with(|| pool::records().take());
        let room = outbound.spare();
        if room.len() < text.len() + self.key.overhead() {
            return None;
        }
        let length = self.key.seal(content, &[text], room).ok()?;
        outbound.commit(length);
        Some(())
    }

    pub(super) fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
        socket: &Stream,
    ) -> Poll<io::Result<()>> {
        if let Some(outbound) = &mut self.outbound {
            while !outbound.is_empty() {
                let count = ready!(socket.poll_write(cx, outbound.filled()))?;
                if count == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                outbound.consume(count);
            }
            self.outbound = None;
        }
        if self.state == State::Closing {
            self.state = State::Closed;
            return Poll::Ready(socket.shutdown_write());
        }
        Poll::Ready(Ok(()))
    }

    /// What waits to be sent leaves before we wait for an answer to it.
    pub(super) fn flush_before_waiting(&mut self, cx: &mut Context<'_>, socket: &Stream) {
        // A blocked write is the business of who writes: this would take its waker away.
        if self.outbound.is_some() && self.accepted == 0 {
            let _an_error_shows_when_reading = self.poll_flush(cx, socket);
        }
    }

    /// Nothing more will be sent: says so, and then ends the stream.
    pub(super) fn close(&mut self, socket: &Stream) {
        self.send_close_notify(socket);
        if self.state == State::Said {
            self.state = State::Closing;
        }
    }

    /// Says that nothing more will be sent, as far as the socket takes it now.
    pub(super) fn send_close_notify(&mut self, socket: &Stream) {
        self.send_last([1, Alert::CloseNotify as u8], socket);
    }

    /// Says what the peer did wrong, as far as the socket takes it now. Nothing follows.
    pub(super) fn send_alert(&mut self, alert: Alert, socket: &Stream) {
        self.send_last([2, alert as u8], socket);
    }

    fn send_last(&mut self, alert: [u8; 2], socket: &Stream) {
        if self.state != State::Open {
            return;
        }
        self.state = State::Said;
        if self.append(Content::Alert, &alert).is_some() {
            let mut cx = Context::from_waker(Waker::noop());
            let _as_far_as_it_goes = self.poll_flush(&mut cx, socket);
        }
    }
}
