//! A server connection.

use std::{
    io,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bs9_config::ServerAddress;
use bs9_net::{Buffer, CoarseInstant, Detached, Transport};
use bs9_wire::{
    encode::frontend,
    frame::{Frame, FrameError},
    ledger::{Ledger, Origin, Refused, Request, Violation},
    message::{
        MessageError, Report,
        backend::{ParameterStatus, TransactionStatus},
    },
    tag::BackendTag,
};

use crate::{
    cell::Place,
    failure::LoginFailure,
    local::LocalPool,
    pool::{Permit, Pool},
    prepared::{cache::Cache, reply},
    seat::Seat,
    settings::{self, Settings},
    tls::Encryption,
};

mod current;
mod line;
mod login;

pub(crate) use current::{Current, Listened};
pub(crate) use line::{Line, LineError};
pub(crate) use login::{log_in, open};

/// Requests a server may owe replies to. A client that pipelines more is not read from until
/// some have come. Far above what a server may hold back unflushed (8 KiB of replies).
const MAX_PIPELINED: usize = 16_384;
/// Longest reply to the pool itself, bytes: values of parameters have no limit.
const MAX_REPLY: usize = 1 << 20;

/// Logged in, on its shard. Dropping it closes the connection and frees its place.
pub(crate) struct Server {
    // Fields are dropped in this order: the socket is closed before the permit is given back,
    // and the permit before those who wait for it are told.
    pub(crate) stream: Transport,
    pub(crate) state: ServerState,
    pub(crate) seat: Seat,
}

/// What goes with the socket when it moves to another shard.
pub(crate) struct ServerState {
    pub(crate) ledger: Ledger,
    /// Bytes still to come of the message being received.
    pub(crate) remaining: u32,
    /// Values of the parameters that follow clients.
    pub(crate) settings: Arc<Settings>,
    /// Whether that includes those that servers do not report.
    pub(crate) settings_certain: bool,
    pub(crate) target: Arc<CancelTarget>,
    pub(crate) epoch: u64,
    pub(crate) created: CoarseInstant,
    pub(crate) idle_since: CoarseInstant,
    /// Who the session acts as, as reported at login.
    identity: Identity,
    /// The session acts as someone else now.
    pub(crate) impersonates: bool,
    /// Something happened after which it must not serve anyone else.
    pub(crate) unfit: bool,
    /// It told that it ends the connection.
    pub(crate) said_goodbye: bool,
    /// The last message to it is not whole, and whatever is sent now would be taken for its end.
    pub(crate) cut_short: bool,
    /// It has served a client before.
    pub(crate) reused: bool,
    /// The prepared statements it has.
    pub(crate) prepared: Cache,
    /// Its right to exist.
    _permit: Permit,
}

/// What it takes to cancel what a server runs.
#[derive(Debug)]
pub(crate) struct CancelTarget {
    pub(crate) address: ServerAddress,
    /// The session is encrypted, so its key travels encrypted, too.
    pub(crate) encryption: Option<Arc<Encryption>>,
    pub(crate) process_id: i32,
    pub(crate) secret: Box<[u8]>,
    pub(crate) timeout: Duration,
}

/// Reported parameters that say who a session acts as.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Identity {
    session_authorization: Box<[u8]>,
    is_superuser: Box<[u8]>,
}

/// A server connection on its way to another shard.
pub(crate) struct SentServer {
    pub(crate) pool: Arc<Pool>,
    pub(crate) connection: Detached,
    pub(crate) state: ServerState,
}

/// The server connection cannot be used any more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServerError {
    #[error("the server closed the connection")]
    Closed,
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Message(#[from] MessageError),
    #[error(transparent)]
    Violation(#[from] Violation),
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("a reply to the pool is longer than it takes")]
    TooLong,
    #[error("the server did not answer in time")]
    TimedOut,
}

impl Server {
    /// Whether it may serve anyone: everything it owed has arrived, nothing else has, and it
    /// acts as who it was logged in as.
    #[inline]
    pub(crate) fn is_fit(&self) -> bool {
        self.is_settled() && !self.state.impersonates
    }

    /// Whether it can be talked to: likewise, but it may act as someone else.
    #[inline]
    pub(crate) fn is_settled(&self) -> bool {
        let state = &self.state;
        let spoilt = state.unfit | state.said_goodbye;
        !spoilt && state.remaining == 0 && state.ledger.is_clean()
    }

    /// Takes the connection off this shard. `None`: TLS had something under way that cannot
    /// move, and the connection is closed.
    pub(crate) fn send(self) -> Option<SentServer> {
        let pool = Arc::clone(&self.seat.local().pool);
        let connection = self.stream.detach()?;
        Some(SentServer { pool, connection, state: self.state })
    }

    /// Puts it on this shard.
    pub(crate) fn receive(sent: SentServer, local: &Rc<LocalPool>) -> io::Result<Self> {
        let stream = Transport::attach(sent.connection)?;
        let seat = Seat::new(local, Place::Active);
        seat.card().note_process(sent.state.target.process_id);
        Ok(Self { stream, state: sent.state, seat })
    }

    /// Reads what an idle server sent of its own accord. False when it cannot be used any more:
    /// it closed, or said something other than a notice, a parameter or a notification.
    pub(crate) fn absorb_news(&mut self, buffer: &mut Buffer) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        loop {
            match self.stream.poll_read(&mut cx, buffer) {
                Poll::Pending => return buffer.is_empty(),
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(Ok(0) | Err(_)) => return false,
            }
            while let Ok(Some(frame)) = Frame::<BackendTag>::parse(buffer.filled()) {
                let harmless = matches!(
                    frame.tag,
                    BackendTag::NoticeResponse
                        | BackendTag::NotificationResponse
                        | BackendTag::ParameterStatus
                );
                let body = (frame.tag == BackendTag::ParameterStatus).then_some(frame.body);
                let noted = body.is_none_or(|body| self.state.note_parameter(body).is_ok());
                let length = frame.bytes.len();
                buffer.consume(length);
                if !harmless || !noted {
                    return false;
                }
            }
            if buffer.is_full() {
                return false;
            }
        }
    }

    /// Sends `requests` of the pool's own, already entered in the ledger, and reads until every
    /// reply is in. The first error among them is returned inside.
    pub(crate) async fn converse(
        &mut self,
        requests: &[u8],
        limit: Duration,
    ) -> Result<Result<(), LoginFailure>, ServerError> {
        let conversation = self.exchange(requests, |_| {});
        match bs9_net::time::timeout(limit, conversation).await {
            Ok(outcome) => outcome,
            Err(_) => Err(ServerError::TimedOut),
        }
    }

    /// Likewise, without a limit; `see` is shown each message.
    async fn exchange(
        &mut self,
        requests: &[u8],
        mut see: impl FnMut(&Frame<'_, BackendTag>),
    ) -> Result<Result<(), LoginFailure>, ServerError> {
        self.stream.write_all(requests).await?;
        let mut buffer = self.seat.local().shard().buffers().take();
        let mut failure = None;
        loop {
            while let Some(frame) = Frame::<BackendTag>::parse(buffer.filled())? {
                let length = frame.bytes.len();
                see(&frame);
                if let Some(found) = self.state.observe_own(frame)? {
                    failure.get_or_insert(found);
                }
                buffer.consume(length);
            }
            if buffer.is_empty() && self.state.ledger.is_empty() {
                return Ok(failure.map_or(Ok(()), Err));
            }
            if buffer.is_full() && !buffer.grow(MAX_REPLY) {
                return Err(ServerError::TooLong);
            }
            if self.stream.read(&mut buffer).await? == 0 {
                return Err(ServerError::Closed);
            }
        }
    }

    /// Runs a query of the pool's own.
    pub(crate) async fn run(
        &mut self,
        query: &str,
        limit: Duration,
    ) -> Result<Result<(), LoginFailure>, ServerError> {
        let mut request = Vec::with_capacity(query.len() + 8);
        frontend::query(&mut request, query);
        self.run_query(&request, limit).await
    }

    /// Likewise, given as a whole message.
    pub(crate) async fn run_query(
        &mut self,
        request: &[u8],
        limit: Duration,
    ) -> Result<Result<(), LoginFailure>, ServerError> {
        self.state.prepared.drop_unnamed();
        let _owed = self.state.ledger.expect(Request::Query, Origin::Pool, 0)?;
        self.converse(request, limit).await
    }

    /// Brings the parameters that follow clients from what they are to `wanted`.
    pub(crate) async fn apply(
        &mut self,
        wanted: &Settings,
        limit: Duration,
    ) -> Result<Result<(), LoginFailure>, ServerError> {
        let has = Arc::clone(&self.state.settings);
        let changes = has.changes_to(wanted, self.state.settings_certain);
        if changes.is_empty() {
            return Ok(Ok(()));
        }
        let mut batches = Vec::with_capacity(256);
        let count = settings::write_changes(&mut batches, &changes);
        let requests = self.expect_batches(batches, count, has.may_defer())?;
        self.converse(&requests, limit).await
    }

    /// Enters batches of the pool's own in the ledger, each of one query. `waits`: the session's
    /// transactions may wait for others before they begin, and these are not to.
    fn expect_batches(
        &mut self,
        mut batches: Vec<u8>,
        count: usize,
        waits: bool,
    ) -> Result<Vec<u8>, ServerError> {
        const AT_ONCE: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE NOT DEFERRABLE";
        self.state.prepared.drop_unnamed();
        let ledger = &mut self.state.ledger;
        if waits {
            let mut wrapped = Vec::with_capacity(batches.len() + 128);
            frontend::query(&mut wrapped, AT_ONCE);
            wrapped.append(&mut batches);
            frontend::query(&mut wrapped, "COMMIT");
            batches = wrapped;
            let _owed = ledger.expect(Request::Query, Origin::Pool, 0)?;
        }
        for _ in 0..count {
            for request in [Request::Parse, Request::Bind, Request::Execute, Request::Sync] {
                let _owed = ledger.expect(request, Origin::Pool, 0)?;
            }
        }
        if waits {
            let _owed = ledger.expect(Request::Query, Origin::Pool, 0)?;
        }
        Ok(batches)
    }

    /// Closes the connection the way a client would, as far as that needs no waiting.
    pub(crate) fn close(self) {
        if !self.state.cut_short {
            let mut cx = Context::from_waker(Waker::noop());
            let mut goodbye = Vec::with_capacity(5);
            frontend::terminate(&mut goodbye);
            let _peer_may_be_gone = self.stream.poll_write(&mut cx, &goodbye);
        }
        self.stream.finish();
    }
}

impl ServerState {
    /// Checks off a reply to a request of the pool's own. An error is returned inside.
    fn observe_own(
        &mut self,
        frame: Frame<'_, BackendTag>,
    ) -> Result<Option<LoginFailure>, ServerError> {
        let mut failure = None;
        match frame.tag {
            BackendTag::ReadyForQuery => {
                self.ledger.ready(TransactionStatus::read(frame.body)?)?;
            }
            tag => {
                self.ledger.observe(tag)?;
                if tag == BackendTag::ParameterStatus {
                    self.note_parameter(frame.body)?;
                } else if tag == BackendTag::CommandComplete && reply::forgets_all(frame.body) {
                    self.prepared.forget();
                } else if tag == BackendTag::ErrorResponse {
                    let report = Report::read(frame.body)?;
                    self.said_goodbye |= report.is_fatal();
                    failure = Some(LoginFailure::reported(&report));
                }
            }
        }
        while self.ledger.settle().is_some() {}
        Ok(failure)
    }

    /// Takes over a ParameterStatus. True when it concerns what follows clients.
    pub(crate) fn note_parameter(&mut self, body: &[u8]) -> Result<bool, MessageError> {
        let ParameterStatus { name, value } = ParameterStatus::read(body)?;
        if let Some(own) = self.identity.of(name) {
            self.impersonates = *own != *value;
            return Ok(false);
        }
        if settings::tracked(name).is_none() || self.settings.reported(name) == Some(value) {
            return Ok(false);
        }
        let mut settings = Settings::clone(&self.settings);
        settings.report(name, value);
        self.settings = Arc::new(settings);
        Ok(true)
    }
}

impl Identity {
    fn of(&self, name: &[u8]) -> Option<&[u8]> {
        match name {
            b"session_authorization" => Some(&self.session_authorization),
            b"is_superuser" => Some(&self.is_superuser),
            _ => None,
        }
    }
}
