//! A client's login: from its first packet to ReadyForQuery.

use std::{rc::Rc, sync::Arc};

use bs9_config::Postgres;
use bs9_net::{Buffer, Connection, Interrupted, PeerAddress, Stream};
use bs9_wire::{
    encode::backend::{self, ErrorReport},
    frame::Frame,
    message::backend::TransactionStatus,
    sqlstate::SqlState,
    startup::{
        DECLINE, FirstPacket, Opening, ProtocolVersion, Replication, StartupError, StartupMessage,
        options,
    },
    tag::FrontendTag,
};

use super::{Client, Downward, End, Passage, Phase, Upward, ending::say_goodbye};
use crate::{
    cancel,
    part::{Part, User},
    plan::ServerUser,
    pool::PoolKey,
    registry::ClientPermit,
    settings::{Asked, Parameters},
    shard::PoolShard,
    wait::Waiter,
};

/// A connection was accepted.
pub(crate) async fn serve(home: Rc<PoolShard>, connection: Connection) {
    // Boxed, so that a client at work pays neither for its login nor for its end.
    if let Some(mut client) = Box::pin(greet(home, connection)).await {
        let end = client.work().await;
        Box::pin(client.part(end)).await;
    }
}

/// Why a client is turned away.
pub(super) enum Refusal {
    /// Nobody is left to hear it, or it is not to hear anything.
    Silent,
    Told {
        sqlstate: SqlState,
        message: String,
        hint: Option<&'static str>,
    },
}

impl Refusal {
    pub(super) fn told(sqlstate: SqlState, message: impl Into<String>) -> Self {
        Self::Told { sqlstate, message: message.into(), hint: None }
    }

    fn hint(mut self, text: &'static str) -> Self {
        if let Self::Told { hint, .. } = &mut self {
            *hint = Some(text);
        }
        self
    }
}

impl From<StartupError> for Refusal {
    fn from(error: StartupError) -> Self {
        let sqlstate = match error {
            StartupError::UnsupportedVersion { .. } => SqlState::FEATURE_NOT_SUPPORTED,
            StartupError::MissingUser => SqlState::INVALID_AUTHORIZATION,
            _ => SqlState::PROTOCOL_VIOLATION,
        };
        Self::told(sqlstate, error.to_string())
    }
}

/// A client that has not logged in yet.
pub(super) struct Greeting {
    pub(super) home: Rc<PoolShard>,
    pub(super) part: Arc<Part>,
    pub(super) stream: Stream,
    pub(super) peer: PeerAddress,
    pub(super) buffer: Buffer,
    pub(super) out: Vec<u8>,
}

/// What a StartupMessage asks for, taken out of its packet.
struct Wish {
    version: ProtocolVersion,
    user: Box<str>,
    database: Box<str>,
    replication: Replication,
    asked: Asked,
}

/// What a client that may log in is given.
struct Admission {
    permit: ClientPermit,
    version: ProtocolVersion,
    pool: Arc<crate::pool::Pool>,
    asked: Asked,
}

async fn greet(home: Rc<PoolShard>, connection: Connection) -> Option<Box<Client>> {
    let Connection { stream, peer, slot, open } = connection;
    // Clients of PostgreSQL ask for TLS in words of their own.
    let stream = stream.into_plain()?;
    let part = home.part();
    let timer = home.shard.timer();
    timer.set(part.postgres()?.login_timeout);
    let buffer = home.shard.buffers().take();
    let mut greeting = Greeting { home, part, stream, peer, buffer, out: Vec::new() };
    let admission = match timer.guard(greeting.admit()).await {
        Ok(Ok(admission)) => admission,
        Ok(Err(refusal)) => {
            greeting.refuse(refusal).await;
            return None;
        }
        Err(Interrupted::Elapsed) => {
            let message = "canceling authentication due to timeout";
            greeting.refuse(Refusal::told(SqlState::QUERY_CANCELED, message)).await;
            return None;
        }
        Err(Interrupted::Draining | Interrupted::Aborted) => return None,
    };
    let Greeting { home, stream, buffer, mut out, .. } = greeting;
    let Admission { permit, version, pool, asked } = admission;
    let local = home.local(&pool);
    // Boxed as well: a task keeps room for each place a value passes through.
    let mut client = Box::new(Client {
        stream,
        timer,
        phase: Phase::Login,
        busy_since: bs9_net::now(),
        registered: home.directory.register(version.has_long_secrets()),
        waiter: Waiter::new(),
        settings: Arc::default(),
        asked: None,
        up: Upward::new(Passage::of(buffer)),
        down: Downward::default(),
        statements: None,
        _membership: local.join(),
        _permit: permit,
        _slot: slot,
        _open: open,
        local,
    });
    if let Err(end) = client.welcome(asked, &mut out).await {
        client.part(end).await;
        return None;
    }
    Some(client)
}

impl Client {
    /// Tells the client what it needs to know of the server, and that it may begin.
    async fn welcome(&mut self, asked: Asked, out: &mut Vec<u8>) -> Result<(), End> {
        let parameters = self.parameters().await?;
        match self.local.recall_settings(&asked) {
            Some(settings) => self.settings = settings,
            None => {
                let settings = parameters.settings().with(&asked);
                self.settings = self.local.share_settings(settings);
                self.asked = Some(Box::new(asked));
            }
        }
        backend::authentication_ok(out);
        for (name, value) in parameters.iter() {
            let value = self.settings.reported(name).unwrap_or(value);
            backend::parameter_status(out, name, value);
        }
        backend::backend_key_data(out, self.registered.process_id(), self.registered.secret());
        backend::ready_for_query(out, TransactionStatus::Idle);
        self.local.cell().sent_bytes.add(out.len() as u64);
        let writing = self.timer.guard(self.stream.write_all(out)).await;
        match writing {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(End::Gone),
            Err(Interrupted::Elapsed) => Err(End::LoginTimeout),
            Err(_) => Err(End::Aborted),
        }
    }

    /// What servers of the pool report at login. When none was logged in to yet, one is.
    async fn parameters(&mut self) -> Result<Arc<Parameters>, End> {
        loop {
            if let Some(parameters) = self.local.pool.parameters.load_full() {
                return Ok(parameters);
            }
            let server = match self.local.take_idle() {
                Some(server) => server,
                None => self.wait().await?,
            };
            let known = self.local.pool.parameters.load().is_some();
            if known {
                self.local.give_back(server);
            } else {
                // Logged in to before a reload that has it log in anew.
                server.close();
            }
        }
    }
}

impl Greeting {
    /// Everything up to the point where the client is known and its database found.
    async fn admit(&mut self) -> Result<Admission, Refusal> {
        let Some(wish) = self.first_packets().await? else { return Err(Refusal::Silent) };
        if self.home.shard.is_draining() {
            let message = "the pool is shutting down";
            return Err(Refusal::told(SqlState::CANNOT_CONNECT_NOW, message));
        }
        let part = Arc::clone(&self.part);
        let postgres = part.postgres().ok_or(Refusal::Silent)?;
        let permit = self.count_in(postgres)?;
        if wish.replication != Replication::None {
            let message = "replication connections cannot go through the pool";
            return Err(Refusal::told(SqlState::FEATURE_NOT_SUPPORTED, message)
                .hint("Connect to the server directly."));
        }
        let user = part.user(&wish.user).cloned();
        let asked_database = part.database(&wish.database);
        let forced = asked_database.as_ref().is_some_and(|asked| asked.database.user.is_some());
        let keys = self.authenticate(&postgres.auth, &wish.user, user.as_ref(), forced).await?;
        let Some(found) = asked_database else {
            let message = format!("database \"{}\" does not exist", wish.database);
            return Err(Refusal::told(SqlState::UNDEFINED_DATABASE, message));
        };
        let client_user = user
            .as_ref()
            .map_or_else(|| Arc::from(&*wish.user), |user: &Arc<User>| Arc::clone(&user.name));
        let server_user = ServerUser::of(&part, found.database, &client_user);
        let name =
            if found.by_fallback { wish.database.into() } else { Arc::clone(&found.database.name) };
        let key = PoolKey { database: name, user: Arc::clone(&server_user.name) };
        let registry = &self.home.registry;
        let pool = match self.home.find(&key) {
            Some(local) => Some(Arc::clone(&local.pool)),
            None => registry.pool(&part, &key, found.database, &server_user, found.by_fallback),
        };
        let Some(pool) = pool else {
            let message = "too many pools: no more databases can be served";
            return Err(Refusal::told(SqlState::CONFIGURATION_LIMIT, message));
        };
        if let Some(keys) = keys.filter(|_| server_user.name == client_user) {
            pool.passthrough.store(Some(Arc::new(keys)));
        }
        Ok(Admission { permit, version: wish.version, pool, asked: wish.asked })
    }

    fn count_in(&self, postgres: &Postgres) -> Result<ClientPermit, Refusal> {
        let limit = postgres.max_client_connections;
        self.home.registry.admit(limit).ok_or_else(|| {
            Refusal::told(SqlState::TOO_MANY_CONNECTIONS, "sorry, too many clients already")
                .hint("Raise postgres.max_client_connections.")
        })
    }

    /// Reads up to the StartupMessage. `None`: there was none to come, a cancel request say.
    async fn first_packets(&mut self) -> Result<Option<Wish>, Refusal> {
        let mut opening = Opening::new();
        loop {
            let Some((packet, length)) = opening.next(self.buffer.filled())? else {
                self.read().await?;
                continue;
            };
            match packet {
                FirstPacket::DirectTls => return Ok(None),
                FirstPacket::SslRequest | FirstPacket::GssRequest => {
                    self.out.push(DECLINE);
                    self.buffer.consume(length);
                    self.send().await?;
                }
                FirstPacket::Cancel(request) => {
                    let (process_id, secret) = (request.process_id, request.secret.to_vec());
                    cancel::request(&self.home, process_id, &secret).await;
                    return Ok(None);
                }
                FirstPacket::Startup(startup) => {
                    let wish = Wish::read(&startup)?;
                    negotiate(&mut self.out, &startup);
                    self.buffer.consume(length);
                    return Ok(Some(wish));
                }
            }
        }
    }

    pub(super) async fn read(&mut self) -> Result<(), Refusal> {
        if self.buffer.is_full() {
            let message = "a message of the login is too long";
            return Err(Refusal::told(SqlState::PROTOCOL_VIOLATION, message));
        }
        match self.stream.read(&mut self.buffer).await {
            Ok(0) | Err(_) => Err(Refusal::Silent),
            Ok(_) => Ok(()),
        }
    }

    pub(super) async fn send(&mut self) -> Result<(), Refusal> {
        let sent = self.stream.write_all(&self.out).await;
        self.out.clear();
        sent.map_err(|_| Refusal::Silent)
    }

    /// The client's answer to an authentication request.
    pub(super) async fn answer(&mut self) -> Result<Vec<u8>, Refusal> {
        self.send().await?;
        loop {
            let frame = Frame::<FrontendTag>::parse(self.buffer.filled());
            let frame = frame
                .map_err(|error| Refusal::told(SqlState::PROTOCOL_VIOLATION, error.to_string()))?;
            let Some(frame) = frame else {
                self.read().await?;
                continue;
            };
            let (tag, body, length) = (frame.tag, frame.body.to_vec(), frame.bytes.len());
            self.buffer.consume(length);
            return match tag {
                FrontendTag::Password => Ok(body),
                FrontendTag::Terminate => Err(Refusal::Silent),
                tag => {
                    let message = format!("expected password response, got {tag:?}");
                    Err(Refusal::told(SqlState::PROTOCOL_VIOLATION, message))
                }
            };
        }
    }

    async fn refuse(&mut self, refusal: Refusal) {
        let Refusal::Told { sqlstate, message, hint } = refusal else { return };
        tracing::info!(peer = %self.peer, %sqlstate, message, "a client was turned away");
        let report = ErrorReport { hint, ..ErrorReport::fatal(sqlstate, &message) };
        backend::error_response(&mut self.out, &report);
        say_goodbye(&self.stream, &[], &self.out).await;
    }
}

/// Says which version and options of the protocol the pool does not know, if there are any.
fn negotiate(out: &mut Vec<u8>, startup: &StartupMessage<'_>) {
    let newest = ProtocolVersion::NEWEST;
    let mut unknown = startup.parameters.protocol_options().peekable();
    if startup.version > newest || unknown.peek().is_some() {
        let agreed = startup.version.agree(newest);
        backend::negotiate_protocol_version(out, agreed, unknown);
    }
}

impl Wish {
    fn read(startup: &StartupMessage<'_>) -> Result<Self, Refusal> {
        let parameters = &startup.parameters;
        let options = parameters.options().map(options::settings).transpose()?;
        let options = options.unwrap_or_default();
        // As a server has it: what is named on its own counts more than what is in `options`.
        let options = options.iter().map(|setting| (&*setting.name, &*setting.value));
        let asked = Asked::new(options.chain(parameters.settings()))
            .map_err(|error| Refusal::told(SqlState::PROTOCOL_VIOLATION, error.to_string()))?;
        Ok(Self {
            version: startup.version.agree(ProtocolVersion::NEWEST),
            user: parameters.user().into(),
            database: parameters.database().into(),
            replication: parameters.replication(),
            asked,
        })
    }
}
