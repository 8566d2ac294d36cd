//! A client's login: from its first packet to ReadyForQuery.

use std::{rc::Rc, sync::Arc};

use bs9_config::Postgres;
use bs9_net::{
    Buffer, Connection, ConnectionSlot, Interrupted, PeerAddress, Transport, tls::Shown,
};
use bs9_wire::{
    encode::backend::{self, ErrorReport},
    message::backend::TransactionStatus,
    sqlstate::SqlState,
    startup::{ProtocolVersion, Replication, StartupError},
};

use super::{
    Client, Downward, End, Passage, Phase, Times, Upward,
    auth::{Claim, Identified},
    ending::say_goodbye,
};
use crate::{
    auth::User,
    census::Newcomer,
    console::{self, Access},
    part::Part,
    plan::ServerUser,
    pool::PoolKey,
    registry::ClientPermit,
    roster::ClientCard,
    settings::{Asked, Parameters},
    shard::PoolShard,
};

mod packets;

/// A connection was accepted.
///
/// Each step is boxed, so that a client at work pays neither for its login nor for its end; and
/// what it begins with goes into the first of them, for a task keeps room for its arguments.
pub(crate) fn serve(
    home: Rc<PoolShard>,
    connection: Connection,
) -> impl Future<Output = ()> + 'static {
    let greeting = Box::pin(greet(home, connection));
    async move {
        if let Some(mut client) = greeting.await {
            let end = client.work().await;
            Box::pin(client.part(end)).await;
        }
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

    /// Whether somebody did not prove who it is.
    pub(super) fn is_failed_login(&self) -> bool {
        use SqlState as S;
        let failures = [S::INVALID_PASSWORD, S::INVALID_AUTHORIZATION];
        matches!(self, Self::Told { sqlstate, .. } if failures.contains(sqlstate))
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
            // As servers do: whoever this is does not speak the protocol, or says goodbye at once.
            StartupError::BadLength { .. } => return Self::Silent,
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
    /// `None` while TLS is shaking hands, and when that has failed.
    pub(super) stream: Option<Transport>,
    pub(super) slot: ConnectionSlot,
    pub(super) peer: PeerAddress,
    /// The certificates of a TLS handshake.
    pub(super) shown: Shown,
    pub(super) buffer: Buffer,
    pub(super) out: Vec<u8>,
}

/// Where a client that may log in goes.
enum Admitted {
    Pool(Box<Admission>),
    Console(Access, ClientPermit),
}

/// What a client that may log in is given.
struct Admission {
    permit: ClientPermit,
    version: ProtocolVersion,
    pool: Arc<crate::pool::Pool>,
    asked: Asked,
    /// As whom the client is listed.
    user: Arc<str>,
}

async fn greet(home: Rc<PoolShard>, connection: Connection) -> Option<Box<Client>> {
    let Connection { stream, peer, slot, open, .. } = connection;
    let part = home.part();
    let timer = home.shard.timer();
    timer.set(part.postgres()?.login_timeout);
    let buffer = home.shard.buffers().take();
    let mut greeting = Greeting {
        home,
        part,
        stream: Some(stream),
        slot,
        peer,
        shown: Shown::default(),
        buffer,
        out: Vec::new(),
    };
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
        Err(Interrupted::Draining | Interrupted::Aborted) => {
            greeting.finish();
            return None;
        }
    };
    let Greeting { home, part, stream, slot, buffer, mut out, peer, .. } = greeting;
    let stream = stream?;
    let logins = Arc::clone(&part.door.logins);
    let admission = match admission {
        Admitted::Pool(admission) => *admission,
        Admitted::Console(access, _permit) => {
            logins.count_admitted();
            let session = console::Session { home, access, stream, timer, buffer, out };
            session.serve().await;
            return None;
        }
    };
    let Admission { permit, version, pool, asked, user } = admission;
    let local = home.local(&pool);
    let card = ClientCard { user, pool, peer, connected: bs9_net::now() };
    // Boxed as well: a task keeps room for each place a value passes through.
    let mut client = Box::new(Client {
        stream,
        timer,
        phase: Phase::Login,
        times: Times::new(),
        watch: None,
        registered: home.directory.register(version.has_long_secrets(), card),
        settings: Arc::default(),
        initial: Arc::default(),
        asked: None,
        up: Upward::new(Passage::of(buffer)),
        down: Downward::default(),
        subscription: None,
        statements: None,
        _membership: local.join(),
        _permit: permit,
        _slot: slot,
        _open: open,
        local,
    });
    if let Err(end) = client.welcome(asked, &mut out).await {
        if let Some(sqlstate) = end.sqlstate() {
            logins.count_refused(sqlstate);
        }
        client.part(end).await;
        return None;
    }
    logins.count_admitted();
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
        self.initial = Arc::clone(&self.settings);
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
            Err(Interrupted::Elapsed) => Err(End::LoginTimeout(None)),
            Err(_) => Err(End::Aborted),
        }
    }

    /// What servers of the pool report at login. When none was logged in to yet, one is.
    async fn parameters(&mut self) -> Result<Arc<Parameters>, End> {
        loop {
            if let Some(parameters) = self.local.pool.parameters() {
                return Ok(parameters);
            }
            let server = match self.local.take_idle() {
                Some(server) => server,
                None => self.wait().await?,
            };
            let known = self.local.pool.parameters().is_some();
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
    async fn admit(&mut self) -> Result<Admitted, Refusal> {
        let Some(wish) = self.first_packets().await? else { return Err(Refusal::Silent) };
        if self.home.shard.is_draining() {
            let message = "the pool is shutting down";
            return Err(Refusal::told(SqlState::CANNOT_CONNECT_NOW, message));
        }
        let part = Arc::clone(&self.part);
        let postgres = part.postgres().ok_or(Refusal::Silent)?;
        let to_console = Some(&*wish.database)
            .filter(|database| console::is_console(database))
            .and_then(|_| console::access(&postgres.console, &wish.user));
        let mut permit = self.count_in(postgres, to_console.is_some())?;
        if wish.replication != Replication::None {
            let message = "replication connections cannot go through the pool";
            return Err(Refusal::told(SqlState::FEATURE_NOT_SUPPORTED, message)
                .hint("Connect to the server directly."));
        }
        let asked_database = part.database(&wish.database);
        let forced = asked_database.as_ref().is_some_and(|asked| asked.database.user.is_some())
            && !console::is_console(&wish.database);
        let claim = Claim { user: &wish.user, database: &wish.database, forced };
        let Identified { user, keys } = self.authenticate(claim).await?;
        if let Some(access) = to_console {
            return Ok(Admitted::Console(access, permit));
        }
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
        let registry = &self.home.registry;
        if registry.is_disabled(&name) {
            let message = format!("database \"{name}\" is disabled");
            return Err(Refusal::told(SqlState::OBJECT_NOT_IN_STATE, message));
        }
        let newcomer = Newcomer {
            name: &name,
            database: found.database,
            user: &client_user,
            peer: &self.peer,
        };
        let counted = registry.census.admit(postgres, &newcomer).map_err(|exceeded| {
            Refusal::told(SqlState::TOO_MANY_CONNECTIONS, exceeded.message()).hint(exceeded.hint())
        })?;
        permit.count_as(counted);
        let key = PoolKey { database: name, user: Arc::clone(&server_user.name) };
        let pool = match self.home.find(&key) {
            Some(local) => Some(Arc::clone(&local.pool)),
            None => registry.pool(&part, &key, found.database, &server_user, found.by_fallback),
        };
        let Some(pool) = pool else {
            let message = "too many pools: no more databases can be served";
            return Err(Refusal::told(SqlState::CONFIGURATION_LIMIT, message));
        };
        if server_user.name == client_user {
            if let Some(keys) = keys {
                pool.passthrough.store(Some(Arc::new(keys)));
            }
            if server_user.secret.is_none() {
                let verifier = user.as_ref().and_then(|user| user.verifier.clone());
                pool.learned.store(verifier.map(Arc::new));
            }
        }
        let version = wish.version;
        let admission = Admission { permit, version, pool, asked: wish.asked, user: client_user };
        Ok(Admitted::Pool(Box::new(admission)))
    }

    fn count_in(&self, postgres: &Postgres, to_console: bool) -> Result<ClientPermit, Refusal> {
        // Full is when an operator has to look.
        let reserved = if to_console { console::RESERVED_CONNECTIONS } else { 0 };
        let limit = postgres.max_client_connections + reserved;
        self.home.registry.admit(limit).ok_or_else(|| {
            Refusal::told(SqlState::TOO_MANY_CONNECTIONS, "sorry, too many clients already")
                .hint("Raise postgres.max_client_connections.")
        })
    }

    /// Ends without a word. By TLS even that is said: who asked to cancel something takes an end
    /// that comes without for a failure.
    fn finish(&self) {
        if let Some(stream) = &self.stream {
            stream.finish();
        }
    }

    async fn refuse(&mut self, refusal: Refusal) {
        let Refusal::Told { sqlstate, message, hint } = refusal else { return self.finish() };
        tracing::info!(peer = %self.peer, %sqlstate, message, "a client was turned away");
        self.part.door.logins.count_refused(sqlstate);
        let report = ErrorReport { hint, ..ErrorReport::fatal(sqlstate, &message) };
        backend::error_response(&mut self.out, &report);
        if let Some(stream) = &self.stream {
            say_goodbye(stream, &[], &self.out).await;
        }
    }
}
