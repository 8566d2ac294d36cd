//! The listening connection itself: what it is told, and what it hears.

use std::{
    rc::Rc,
    sync::{Arc, Weak},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bs9_net::{Buffer, BufferPool, CoarseInstant, Transport};
use bs9_wire::{
    encode::frontend,
    frame::{Frame, HEADER_LEN, Header},
    message::{Report, backend::Notification},
    tag::BackendTag,
};

use super::subscription::Message;
use crate::{
    plan::Plan,
    pool::{Pool, PoolKey},
    server::ServerError,
};

/// Longest message that is taken. A notification has at most 8000 bytes.
const MAX_MESSAGE: usize = 64 << 10;

/// Logged in. Runs one query at a time.
pub(super) struct Ear {
    stream: Transport,
    buffer: Option<Buffer>,
    /// What has come; the end of the last message may be missing.
    part: Vec<u8>,
    /// Bytes of it that were understood.
    read: usize,
    /// As whom it is logged in, for logs.
    pub(super) key: PoolKey,
    /// Not kept alive: its clients may all have gone.
    pool: Weak<Pool>,
    /// Under which of its plans it was made.
    epoch: u64,
    /// For a query.
    limit: Duration,
    /// Since when a query has been running.
    asked: Option<CoarseInstant>,
    /// What was wrong with it.
    failure: Option<String>,
    /// When it was heard of last.
    heard: CoarseInstant,
}

/// What was heard.
#[derive(Debug)]
pub(super) enum Heard {
    Notification {
        channel: Box<[u8]>,
        message: Message,
    },
    /// The query is done, or failed for that reason.
    Done(Result<(), String>),
}

impl Ear {
    /// Logged in as `pool`, under that plan of its.
    pub(super) fn new(stream: Transport, pool: &Arc<Pool>, plan: &Plan) -> Self {
        Self {
            stream,
            buffer: None,
            part: Vec::new(),
            read: 0,
            key: pool.key.clone(),
            pool: Arc::downgrade(pool),
            epoch: plan.epoch,
            limit: plan.connect_timeout(),
            asked: None,
            failure: None,
            heard: bs9_net::now(),
        }
    }

    /// As whom it is logged in, while there is such a pool.
    pub(super) fn pool(&self) -> Option<Arc<Pool>> {
        self.pool.upgrade()
    }

    /// Whether it would be made in another way now, or not at all.
    pub(super) fn is_outdated(&self) -> bool {
        self.pool().is_none_or(|pool| {
            let plan = pool.plan.load();
            plan.removed || plan.epoch != self.epoch
        })
    }

    /// Whether a query is running.
    pub(super) fn is_asked(&self) -> bool {
        self.asked.is_some()
    }

    /// For how long nothing has come.
    pub(super) fn silent_for(&self) -> Duration {
        bs9_net::now().since(self.heard)
    }

    /// Whether the query has been running for too long.
    pub(super) fn is_overdue(&self) -> bool {
        self.asked.is_some_and(|since| bs9_net::now().since(since) > self.limit)
    }

    /// Sends a query, given as a whole message.
    pub(super) async fn ask(&mut self, query: &[u8]) -> Result<(), ServerError> {
        debug_assert!(self.asked.is_none(), "one at a time");
        let sent = bs9_net::time::timeout(self.limit, self.stream.write_all(query)).await;
        sent.map_err(|_| ServerError::TimedOut)??;
        self.asked = Some(bs9_net::now());
        Ok(())
    }

    /// Reads until something was heard.
    pub(super) fn poll_hear(
        &mut self,
        cx: &mut Context<'_>,
        buffers: &Rc<BufferPool>,
    ) -> Poll<Result<Heard, ServerError>> {
        loop {
            if let Some(heard) = self.next_heard()? {
                return Poll::Ready(Ok(heard));
            }
            let read = self.stream.poll_read_pooled(cx, &mut self.buffer, buffers);
            let Poll::Ready(read) = read else {
                self.buffer = None;
                return Poll::Pending;
            };
            if read? == 0 {
                return Poll::Ready(Err(ServerError::Closed));
            }
            self.heard = bs9_net::now();
            if let Some(buffer) = &mut self.buffer {
                self.part.extend_from_slice(buffer.filled());
                let length = buffer.len();
                buffer.consume(length);
            }
        }
    }

    fn next_heard(&mut self) -> Result<Option<Heard>, ServerError> {
        loop {
            let rest = &self.part[self.read..];
            let header = Header::<BackendTag>::parse(rest)?;
            if header.is_some_and(|header| header.total_len() > MAX_MESSAGE) {
                return Err(ServerError::TooLong);
            }
            let Some(frame) = Frame::<BackendTag>::parse(rest)? else {
                self.part.drain(..std::mem::take(&mut self.read));
                if self.part.is_empty() {
                    self.part = Vec::new();
                }
                return Ok(None);
            };
            let end = self.read + frame.bytes.len();
            let heard = self.understand(end)?;
            self.read = end;
            if heard.is_some() {
                return Ok(heard);
            }
        }
    }

    /// Understands the next message, which ends there.
    fn understand(&mut self, end: usize) -> Result<Option<Heard>, ServerError> {
        let bytes = &self.part[self.read..end];
        let header = Header::<BackendTag>::parse(bytes)?;
        let body = &bytes[HEADER_LEN..];
        Ok(match header.map(|header| header.tag) {
            Some(BackendTag::NotificationResponse) => {
                let channel = Notification::read(body)?.channel.into();
                Some(Heard::Notification { channel, message: Arc::from(bytes) })
            }
            Some(BackendTag::ReadyForQuery) if self.asked.is_some() => {
                self.asked = None;
                Some(Heard::Done(self.failure.take().map_or(Ok(()), Err)))
            }
            Some(BackendTag::ErrorResponse) => {
                let report = Report::read(body)?;
                if self.asked.is_none() || report.is_fatal() {
                    return Err(ServerError::Closed);
                }
                let message = report.get(b'M').unwrap_or_default();
                self.failure = Some(String::from_utf8_lossy(message).into_owned());
                None
            }
            // Completed commands, notices, parameters.
            _ => None,
        })
    }

    /// Says goodbye, as far as that needs no waiting.
    pub(super) fn close(self) {
        let mut goodbye = Vec::with_capacity(5);
        frontend::terminate(&mut goodbye);
        let mut cx = Context::from_waker(Waker::noop());
        let _peer_may_be_gone = self.stream.poll_write(&mut cx, &goodbye);
        self.stream.finish();
    }
}
