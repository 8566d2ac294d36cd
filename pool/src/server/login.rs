//! Logging in at a server.

use std::{rc::Rc, sync::Arc};

use bs9_net::{Buffer, Stream};
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
        backend::{Authentication, BackendKeyData, ParameterStatus, TransactionStatus},
    },
    sqlstate::SqlState,
    startup::{ProtocolVersion, StartupParameters, startup_message},
    tag::BackendTag,
};

use super::{CancelTarget, Identity, MAX_PIPELINED, Server, ServerState, connect};
use crate::{
    cell::Place,
    failure::LoginFailure,
    local::LocalPool,
    plan::Plan,
    pool::{DerivedKeys, Permit},
    prepared::cache::Cache,
    seat::Seat,
    settings::Parameters,
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
    let limit = plan.connect_timeout();
    let attempt = bs9_net::time::timeout(limit, attempt(&local, &plan));
    let outcome = attempt.await.unwrap_or_else(|_| {
        let message = format!("server login timed out after {} s", limit.as_secs_f64());
        Err(LoginFailure::new(SqlState::CANNOT_CONNECT, message))
    });
    let session = outcome?;
    seat.move_to(Place::Active);
    let settings = local.share_settings(session.parameters.settings());
    if plan.epoch == local.pool.plan.load().epoch {
        local.note_parameters(session.parameters);
    }
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
        reused: false,
        prepared: Cache::default(),
        _permit: permit,
    };
    Ok(Server { stream: session.stream, state, seat })
}

/// A login that succeeded.
struct Session {
    stream: Stream,
    parameters: Parameters,
    identity: Identity,
    target: CancelTarget,
}

async fn attempt(local: &Rc<LocalPool>, plan: &Plan) -> Result<Session, LoginFailure> {
    let target = &plan.target;
    let stream = connect(&target.address)
        .await
        .map_err(|error| LoginFailure::io("cannot connect to the server", &error))?;
    let mut login =
        Login { local, plan, stream, buffer: local.shard().buffers().take(), out: Vec::new() };
    let session = StartupParameters { user: &target.user, database: &target.dbname };
    startup_message(&mut login.out, ProtocolVersion::V3_0, session, []);
    login.send().await?;
    login.authenticate().await?;
    login.finish().await
}

struct Login<'a> {
    local: &'a Rc<LocalPool>,
    plan: &'a Plan,
    stream: Stream,
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
            // 3.0 is asked for; a server that negotiates lower does not exist.
            (tag, _) => Err(LoginFailure::protocol(format_args!("{tag:?} during authentication"))),
        }
    }

    async fn authenticate(&mut self) -> Result<(), LoginFailure> {
        let body = self.receive_authentication().await?;
        let asked = Authentication::read(&body).map_err(LoginFailure::protocol)?;
        match asked {
            Authentication::Ok => return Ok(()),
            Authentication::CleartextPassword => {
                let Some(Verifier::Plain(password)) = &self.plan.target.secret else {
                    return Err(self.no_password("a password in plain text"));
                };
                frontend::password(&mut self.out, password.as_bytes());
            }
            Authentication::Md5Password { salt } => {
                let user = &self.plan.target.user;
                let secret = match &self.plan.target.secret {
                    Some(Verifier::Plain(plain)) => {
                        Md5Secret::from_password(user, plain.as_bytes())
                    }
                    Some(Verifier::Md5(secret)) => secret.clone(),
                    _ => return Err(self.no_password("an md5 password")),
                };
                frontend::password(&mut self.out, secret.answer(salt).as_bytes());
            }
            Authentication::Sasl(mechanisms) => {
                if !mechanisms.offers(scram::MECHANISM) {
                    return Err(LoginFailure::protocol("SCRAM-SHA-256 is not offered"));
                }
                self.authenticate_scram().await?;
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

    async fn authenticate_scram(&mut self) -> Result<(), LoginFailure> {
        let failed = |error: scram::ScramError| {
            LoginFailure::new(
                SqlState::CANNOT_CONNECT,
                format!("SCRAM login at the server failed: {error}"),
            )
        };
        let first = ClientFirst::new(Nonce::random());
        frontend::sasl_initial_response(&mut self.out, scram::MECHANISM, first.message());
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
        let pool = &self.local.pool;
        let password = match &self.plan.target.secret {
            Some(Verifier::Plain(password)) => password.clone(),
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
        let derived = tokio::task::spawn_blocking(move || work.derive(password.as_bytes())).await;
        let keys = derived.map_err(|_| {
            LoginFailure::new(SqlState::INTERNAL_ERROR, "deriving SCRAM keys was interrupted")
        })?;
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
