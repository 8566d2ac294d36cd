//! Logging in at a server.

use std::{rc::Rc, sync::Arc};

use bs9_config::{ChannelBinding, ProtocolLevel, SslMode};
use bs9_net::{Buffer, BufferPool, Transport};
use bs9_wire::{
    auth::{
        Verifier,
        md5::Md5Secret,
        scram::{self, Challenge, ClientFirst, Nonce, ScramKeys},
    },
    encode::frontend,
    frame::Frame,
    ledger::Ledger,
    message::{
        Report,
        backend::{
            Authentication, BackendKeyData, Mechanisms, NegotiateProtocolVersion, ParameterStatus,
            TransactionStatus,
        },
    },
    sqlstate::SqlState,
    startup::{ProtocolVersion, StartupParameters, startup_message},
    tag::{BackendTag, Tag as _},
};

use super::{CancelTarget, Identity, Line, LineError, MAX_PIPELINED, Server, ServerState};
use crate::{
    auth::Urgency,
    cell::Place,
    failure::LoginFailure,
    local::LocalPool,
    plan::Plan,
    pool::{DerivedKeys, Permit, Pool},
    prepared::cache::Cache,
    seat::Seat,
    settings::{CLIENT_ENCODING, Parameters},
    tls::Encryption,
};

/// Connects and logs in, within the plan's timeout. The new connection counts as active.
pub(crate) async fn log_in(
    local: Rc<LocalPool>,
    plan: Arc<Plan>,
    permit: Permit,
) -> Result<Server, LoginFailure> {
    let mut seat = Seat::new(&local, Place::Login);
    // Behind the seat, so that on failure it is given back before the others are told.
    let permit = permit;
    let attempt = Attempt {
        pool: &local.pool,
        plan: &plan,
        buffers: local.shard().buffers(),
        client_encoding: None,
    };
    let session = attempt.in_time().await?;
    seat.move_to(Place::Active);
    seat.card().note_process(session.target.process_id);
    let settings = local.share_settings(session.parameters.settings());
    local.pool.note_parameters(session.parameters, plan.epoch);
    let now = bs9_net::now();
    let state = ServerState {
        ledger: Ledger::new(MAX_PIPELINED),
        remaining: 0,
        settings,
        settings_certain: true,
        target: Arc::new(session.target),
        epoch: plan.epoch,
        created: now,
        idle_since: now,
        identity: session.identity,
        impersonates: false,
        unfit: false,
        said_goodbye: false,
        cut_short: false,
        reused: false,
        prepared: Cache::default(),
        _permit: permit,
    };
    Ok(Server { stream: session.stream, state, seat })
}

/// Connects and logs in as `pool`, for a connection that serves no client and counts as none of
/// the pool's.
pub(crate) async fn open(
    pool: &Pool,
    plan: &Plan,
    buffers: &Rc<BufferPool>,
    client_encoding: &str,
) -> Result<Transport, LoginFailure> {
    let attempt = Attempt { pool, plan, buffers, client_encoding: Some(client_encoding) };
    let session = attempt.in_time().await?;
    if session.parameters.get(CLIENT_ENCODING) != Some(client_encoding.as_bytes()) {
        let message = format!("the server does not speak {client_encoding}");
        return Err(LoginFailure::new(SqlState::CANNOT_CONNECT, message));
    }
    Ok(session.stream)
}

/// A login that succeeded.
struct Session {
    stream: Transport,
    parameters: Parameters,
    identity: Identity,
    target: CancelTarget,
}

/// A login that failed.
struct Failed {
    failure: LoginFailure,
    /// With TLS instead of without, or the other way round, it might succeed.
    over_encryption: bool,
}

impl From<LoginFailure> for Failed {
    fn from(failure: LoginFailure) -> Self {
        // What rules of a pg_hba.conf that do not match are told as.
        let over_encryption = failure.sqlstate == SqlState::INVALID_AUTHORIZATION;
        Self { failure, over_encryption }
    }
}

impl From<LineError> for Failed {
    fn from(error: LineError) -> Self {
        let over_encryption = error.is_about_tls();
        let failure = LoginFailure::new(SqlState::CANNOT_CONNECT, error.to_string());
        Self { failure, over_encryption }
    }
}

/// What is logged in with.
#[derive(Clone, Copy)]
struct Attempt<'a> {
    pool: &'a Pool,
    plan: &'a Plan,
    buffers: &'a Rc<BufferPool>,
    /// `None`: the server's default.
    client_encoding: Option<&'a str>,
}

impl Attempt<'_> {
    async fn in_time(self) -> Result<Session, LoginFailure> {
        let limit = self.plan.connect_timeout();
        let attempt = bs9_net::time::timeout(limit, self.make());
        attempt.await.unwrap_or_else(|_| {
            let message = format!("server login timed out after {} s", limit.as_secs_f64());
            Err(LoginFailure::new(SqlState::CANNOT_CONNECT, message))
        })
    }

    /// Tries as far as `sslmode` wants it: `allow` begins without TLS, the others with it, and the
    /// two that do not insist on it try the other way as well.
    async fn make(self) -> Result<Session, LoginFailure> {
        let encryption = self.plan.target.encryption.as_ref();
        let begins_with = encryption.filter(|one| one.sslmode() != SslMode::Allow);
        let first = match self.make_once(begins_with).await {
            Ok(session) => return Ok(session),
            Err(failed) => failed,
        };
        let Some(encryption) = encryption.filter(|one| one.is_optional() && first.over_encryption)
        else {
            return Err(first.failure);
        };
        let other = if begins_with.is_some() { None } else { Some(encryption) };
        match self.make_once(other).await {
            Ok(session) => Ok(session),
            // Refused for the same: what the preferred way was told says more.
            Err(second) if second.over_encryption => Err(first.failure),
            Err(second) => Err(second.failure),
        }
    }

    async fn make_once(self, encryption: Option<&Arc<Encryption>>) -> Result<Session, Failed> {
        let target = &self.plan.target;
        let Line { stream, binding } = match encryption {
            None => Line::open(&target.address).await?,
            Some(encryption) => {
                let optional = encryption.sslmode() == SslMode::Prefer;
                Line::open_encrypted(&target.address, encryption, optional, self.buffers).await?
            }
        };
        let encryption = encryption.filter(|_| stream.agreed().is_some()).cloned();
        let asked = match target.max_protocol {
            ProtocolLevel::V3_0 => ProtocolVersion::V3_0,
            ProtocolLevel::V3_2 => ProtocolVersion::V3_2,
        };
        let Self { pool, plan, .. } = self;
        let buffer = self.buffers.take();
        let out = Vec::new();
        let mut login = Login { pool, plan, stream, encryption, binding, asked, buffer, out };
        let session = StartupParameters { user: &target.user, database: &target.dbname };
        let encoding = self.client_encoding.map(|encoding| (CLIENT_ENCODING, encoding));
        startup_message(&mut login.out, asked, session, encoding);
        login.send().await?;
        login.authenticate().await?;
        Ok(login.finish().await?)
    }
}

struct Login<'a> {
    pool: &'a Pool,
    plan: &'a Plan,
    stream: Transport,
    /// By which it is encrypted.
    encryption: Option<Arc<Encryption>>,
    /// What it can be bound to.
    binding: Option<Box<[u8]>>,
    /// The protocol asked for.
    asked: ProtocolVersion,
    buffer: Buffer,
    out: Vec<u8>,
}

impl Login<'_> {
    async fn send(&mut self) -> Result<(), LoginFailure> {
        let sent = self.stream.write_all(&self.out).await;
        self.out.clear();
        sent.map_err(|error| LoginFailure::io("server connection broke during login", &error))
    }

    /// The next message that is no notice. An error ends the login.
    async fn receive(&mut self) -> Result<(BackendTag, Vec<u8>), LoginFailure> {
        loop {
            let frame = Frame::<BackendTag>::parse(self.buffer.filled());
            if let Some(frame) = frame.map_err(LoginFailure::protocol)? {
                let (tag, body, length) = (frame.tag, frame.body.to_vec(), frame.bytes.len());
                self.buffer.consume(length);
                match tag {
                    BackendTag::NoticeResponse => continue,
                    BackendTag::ErrorResponse => {
                        let report = Report::read(&body).map_err(LoginFailure::protocol)?;
                        return Err(LoginFailure::reported(&report));
                    }
                    tag => return Ok((tag, body)),
                }
            }
            if self.buffer.is_full() {
                return Err(LoginFailure::protocol("a message of the login is too long"));
            }
            let count = self.stream.read(&mut self.buffer).await;
            let broke = "server connection broke during login";
            if count.map_err(|error| LoginFailure::io(broke, &error))? == 0 {
                let message = "server closed the connection during login";
                return Err(LoginFailure::new(SqlState::CANNOT_CONNECT, message));
            }
        }
    }

    async fn receive_authentication(&mut self) -> Result<Vec<u8>, LoginFailure> {
        match self.receive().await? {
            (BackendTag::Authentication, body) => Ok(body),
            (tag, _) => Err(LoginFailure::protocol(format_args!("{tag:?} during authentication"))),
        }
    }

    /// The first answer of the server; before it, one that speaks an older protocol says so.
    async fn receive_first(&mut self) -> Result<Vec<u8>, LoginFailure> {
        match self.receive().await? {
            (BackendTag::Authentication, body) => Ok(body),
            (BackendTag::NegotiateProtocolVersion, body) => {
                let offer =
                    NegotiateProtocolVersion::read(&body).map_err(LoginFailure::protocol)?;
                let spoken = u16::try_from(offer.minor).ok().map(ProtocolVersion::with_minor);
                // No options were asked for, so none can be unknown.
                if offer.count > 0 || spoken.is_none_or(|spoken| spoken >= self.asked) {
                    return Err(LoginFailure::protocol("a negotiation that changes nothing"));
                }
                self.receive_authentication().await
            }
            (tag, _) => Err(LoginFailure::protocol(format_args!("{tag:?} at the beginning"))),
        }
    }

    async fn authenticate(&mut self) -> Result<(), LoginFailure> {
        let body = self.receive_first().await?;
        let asked = Authentication::read(&body).map_err(LoginFailure::protocol)?;
        let must_bind = self.channel_binding() == ChannelBinding::Require;
        if must_bind
            && !matches!(asked, Authentication::Sasl(_) | Authentication::Unsupported { .. })
        {
            return Err(unbound());
        }
        match asked {
            Authentication::Ok => return Ok(()),
            Authentication::CleartextPassword => {
                let Some(Verifier::Plain(password)) = self.secret() else {
                    return Err(self.no_password("a password in plain text"));
                };
                frontend::password(&mut self.out, password.as_bytes());
            }
            Authentication::Md5Password { salt } => {
                let user = &self.plan.target.user;
                let secret = match self.secret() {
                    Some(Verifier::Plain(plain)) => {
                        Md5Secret::from_password(user, plain.as_bytes())
                    }
                    Some(Verifier::Md5(secret)) => secret,
                    _ => return Err(self.no_password("an md5 password")),
                };
                frontend::password(&mut self.out, secret.answer(salt).as_bytes());
            }
            Authentication::Sasl(mechanisms) => {
                let (mechanism, binding) = self.choose(mechanisms)?;
                self.authenticate_scram(mechanism, binding).await?;
            }
            Authentication::Unsupported { code } => {
                let message =
                    format!("server asks for authentication method {code}, which is not supported");
                return Err(LoginFailure::new(SqlState::CANNOT_CONNECT, message));
            }
            Authentication::SaslContinue(_) | Authentication::SaslFinal(_) => {
                return Err(LoginFailure::protocol("SASL out of order"));
            }
        }
        self.send().await?;
        let body = self.receive_authentication().await?;
        match Authentication::read(&body) {
            Ok(Authentication::Ok) => Ok(()),
            _ => Err(LoginFailure::protocol("AuthenticationOk expected")),
        }
    }

    fn channel_binding(&self) -> ChannelBinding {
        let encryption = self.encryption.as_ref();
        encryption.map_or(ChannelBinding::Disable, |one| one.source.channel_binding)
    }

    /// The mechanism to log in by, and whether the login is bound to the connection.
    fn choose(
        &self,
        offered: Mechanisms<'_>,
    ) -> Result<(&'static str, scram::Binding), LoginFailure> {
        let wanted = self.channel_binding();
        let binding = self.binding.clone().filter(|_| wanted != ChannelBinding::Disable);
        match binding {
            Some(hash) if offered.offers(scram::MECHANISM_PLUS) => {
                Ok((scram::MECHANISM_PLUS, scram::Binding::EndPoint(hash)))
            }
            _ if wanted == ChannelBinding::Require => Err(unbound()),
            _ if !offered.offers(scram::MECHANISM) => {
                Err(LoginFailure::protocol("SCRAM-SHA-256 is not offered"))
            }
            Some(_) => Ok((scram::MECHANISM, scram::Binding::Unused)),
            None => Ok((scram::MECHANISM, scram::Binding::None)),
        }
    }

    /// What it logs in with: what the configuration says, or else what the client that came
    /// last was found to have.
    fn secret(&self) -> Option<Verifier> {
        let configured = self.plan.target.secret.clone();
        configured.or_else(|| self.pool.learned.load().as_deref().cloned())
    }

    async fn authenticate_scram(
        &mut self,
        mechanism: &str,
        binding: scram::Binding,
    ) -> Result<(), LoginFailure> {
        let failed = |error: scram::ScramError| {
            LoginFailure::new(
                SqlState::CANNOT_CONNECT,
                format!("SCRAM login at the server failed: {error}"),
            )
        };
        let first = ClientFirst::bound(Nonce::random(), binding);
        frontend::sasl_initial_response(&mut self.out, mechanism, first.message());
        self.send().await?;
        let body = self.receive_authentication().await?;
        let Ok(Authentication::SaslContinue(message)) = Authentication::read(&body) else {
            return Err(LoginFailure::protocol("SASL challenge expected"));
        };
        let challenge = first.challenge(message, scram::DEFAULT_MAX_ITERATIONS).map_err(failed)?;
        let keys = self.scram_keys(&challenge).await?;
        let outcome = challenge.answer(&keys);
        frontend::sasl_response(&mut self.out, outcome.message());
        self.send().await?;
        let body = self.receive_authentication().await?;
        let Ok(Authentication::SaslFinal(message)) = Authentication::read(&body) else {
            return Err(LoginFailure::protocol("SASL outcome expected"));
        };
        outcome.verify(message).map_err(failed)
    }

    /// Keys for the server's salt: remembered, a client's, or derived on another thread.
    async fn scram_keys(&self, challenge: &Challenge) -> Result<ScramKeys, LoginFailure> {
        let pool = self.pool;
        let password = match self.secret() {
            Some(Verifier::Plain(password)) => password,
            Some(Verifier::Scram(_)) => {
                let client = pool.passthrough.load_full();
                let client = client.ok_or_else(|| self.no_password("the keys of a client"))?;
                let keys = challenge.accept(&client).map_err(|error| {
                    LoginFailure::new(SqlState::INVALID_PASSWORD, error.to_string())
                })?;
                return Ok(keys.clone());
            }
            _ => return Err(self.no_password("a password in plain text or a SCRAM verifier")),
        };
        if let Some(known) = &*pool.derived.load()
            && (known.epoch, known.iterations) == (self.plan.epoch, challenge.iterations())
            && *known.salt == *challenge.salt()
        {
            return Ok(known.keys.clone());
        }
        let (salt, iterations) = (Box::<[u8]>::from(challenge.salt()), challenge.iterations());
        let work = challenge.clone();
        let workshop = &self.plan.workshop;
        let derived = workshop.derive(Urgency::Login, move || work.derive(password.as_bytes()));
        let keys = derived
            .await
            .map_err(|error| LoginFailure::new(SqlState::INTERNAL_ERROR, error.to_string()))?;
        let remembered =
            DerivedKeys { epoch: self.plan.epoch, salt, iterations, keys: keys.clone() };
        pool.derived.store(Some(Arc::new(remembered)));
        Ok(keys)
    }

    fn no_password(&self, needed: &str) -> LoginFailure {
        let user = &self.plan.target.user;
        let message = format!("the server asks user \"{user}\" for a password");
        let mut failure = LoginFailure::new(SqlState::INVALID_PASSWORD, message);
        failure.hint = Some(format!("Give the pool {needed} for this user or database."));
        failure
    }

    /// From AuthenticationOk to the first ReadyForQuery.
    async fn finish(mut self) -> Result<Session, LoginFailure> {
        let mut parameters = Parameters::default();
        let mut target = CancelTarget {
            address: self.plan.target.address.clone(),
            encryption: self.encryption.clone(),
            process_id: 0,
            secret: Box::default(),
            timeout: self.plan.connect_timeout(),
        };
        loop {
            let (tag, body) = self.receive().await?;
            match tag {
                BackendTag::ParameterStatus => {
                    let status = ParameterStatus::read(&body).map_err(LoginFailure::protocol)?;
                    parameters.set(status.name, status.value);
                }
                BackendTag::BackendKeyData => {
                    let key = BackendKeyData::read(&body).map_err(LoginFailure::protocol)?;
                    target.process_id = key.process_id;
                    target.secret = key.secret.into();
                }
                BackendTag::ReadyForQuery => {
                    let status = TransactionStatus::read(&body).map_err(LoginFailure::protocol)?;
                    if self.buffer.filled().first() == Some(&BackendTag::ErrorResponse.byte()) {
                        // It is told to end right away, and says why.
                        self.receive().await?;
                    }
                    if status != TransactionStatus::Idle || !self.buffer.is_empty() {
                        return Err(LoginFailure::protocol("not idle after login"));
                    }
                    let own = |name| parameters.get(name).unwrap_or_default().into();
                    let identity = Identity {
                        session_authorization: own("session_authorization"),
                        is_superuser: own("is_superuser"),
                    };
                    return Ok(Session { stream: self.stream, parameters, identity, target });
                }
                tag => return Err(LoginFailure::protocol(format_args!("{tag:?} during login"))),
            }
        }
    }
}

fn unbound() -> LoginFailure {
    let message = "the login cannot be bound to the connection, which channel_binding requires";
    LoginFailure::new(SqlState::CANNOT_CONNECT, message)
}
