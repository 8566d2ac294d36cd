//! Logging in: trust, password, md5, SCRAM-SHA-256; then the preparation.

use bs9_wire::{
    auth::{
        md5::Md5Secret,
        scram::{self, ClientFirst, Nonce, Outcome, ScramError, ScramKeys},
    },
    encode::frontend,
    frame::Frame,
    message::{
        BackendMessage,
        backend::{Authentication, Mechanisms},
    },
    startup::{ProtocolVersion, StartupParameters, startup_message},
    tag::BackendTag,
};

use super::error_text;
use crate::{failure::Failure, protocol::Login, target::Password};

/// Most bytes of a login that may wait for the rest of their message.
const MAX_PENDING_BYTES: usize = 64 << 10;

/// Who logs in, and the keys made of the password for the last salt seen: all connections have
/// the same user, so the slow derivation happens once a thread.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) user: String,
    pub(crate) password: Option<Password>,
    pub(crate) database: String,
    keys: Option<DerivedKeys>,
}

#[derive(Debug, Clone)]
struct DerivedKeys {
    salt: Vec<u8>,
    iterations: u32,
    keys: ScramKeys,
}

/// Where a login is.
#[derive(Debug, Default)]
pub(super) struct LoginExchange {
    stage: Stage,
    /// A message of which only the beginning is here.
    pending: Vec<u8>,
}

#[derive(Debug, Default)]
enum Stage {
    /// The server is to say what it wants.
    #[default]
    Asked,
    /// A password was sent.
    Answered,
    /// SCRAM: our first message was sent.
    ScramFirst(ClientFirst),
    /// SCRAM: our proof was sent; the server's is to come.
    ScramFinal(Outcome),
    /// SCRAM: the server proved itself.
    ScramProven,
    /// Logged in; parameters come, then ReadyForQuery.
    LoggedIn,
    /// The preparation was sent.
    Preparing,
}

// === impl Identity ===

impl Identity {
    pub(crate) fn new(user: String, password: Option<Password>, database: String) -> Self {
        Self { user, password, database, keys: None }
    }

    fn password(&self) -> Result<&str, Failure> {
        match &self.password {
            Some(password) => Ok(&password.0),
            None => Err(Failure::Login(
                "the server wants a password; put it in the URL or in PGPASSWORD".to_owned(),
            )),
        }
    }

    /// The keys for a salt, derived when they are not the last ones.
    fn keys(&mut self, salt: &[u8], iterations: u32) -> Result<&ScramKeys, Failure> {
        let known = |keys: &DerivedKeys| keys.salt == salt && keys.iterations == iterations;
        if !self.keys.as_ref().is_some_and(known) {
            let password = self.password()?.as_bytes();
            let keys = scram::SaltedPassword::derive(password, salt, iterations).keys();
            self.keys = Some(DerivedKeys { salt: salt.to_owned(), iterations, keys });
        }
        Ok(&self.keys.as_ref().expect("derived just now, or known before").keys)
    }
}

// === impl LoginExchange ===

impl LoginExchange {
    pub(super) fn begin(&mut self, identity: &Identity, out: &mut Vec<u8>) {
        self.stage = Stage::Asked;
        self.pending.clear();
        let session = StartupParameters { user: &identity.user, database: &identity.database };
        let settings = [("application_name", "bs9 loadtest"), ("client_encoding", "UTF8")];
        startup_message(out, ProtocolVersion::V3_0, session, settings);
    }

    pub(super) fn receive(
        &mut self,
        identity: &mut Identity,
        preparation: &[u8],
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Login, Failure> {
        self.pending.extend_from_slice(input);
        let pending = std::mem::take(&mut self.pending);
        let mut rest = pending.as_slice();
        let mut login = Login::Pending;
        while let Some(frame) = Frame::<BackendTag>::parse(rest)
            .map_err(|_| Failure::Protocol("a message of the login has an impossible header"))?
        {
            rest = &rest[frame.bytes.len()..];
            if login == Login::Done {
                return Err(Failure::Protocol("messages follow behind the login"));
            }
            let message = BackendMessage::read(frame.tag, frame.body)
                .map_err(|_| Failure::Protocol("a message of the login is malformed"))?;
            login = self.message(identity, preparation, message, frame.body, out)?;
        }
        if rest.len() > MAX_PENDING_BYTES {
            return Err(Failure::Protocol("a message of the login is longer than 64 KiB"));
        }
        let consumed = pending.len() - rest.len();
        self.pending = pending;
        self.pending.drain(..consumed);
        Ok(login)
    }

    fn message(
        &mut self,
        identity: &mut Identity,
        preparation: &[u8],
        message: BackendMessage<'_>,
        body: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Login, Failure> {
        match message {
            BackendMessage::Authentication(request) => {
                self.authentication(identity, request, out)?;
            }
            BackendMessage::ErrorResponse(_) => {
                let text = error_text(body);
                return Err(match self.stage {
                    Stage::Preparing => Failure::Query(text),
                    _ => Failure::Login(text),
                });
            }
            BackendMessage::ReadyForQuery(_) => match self.stage {
                Stage::LoggedIn if !preparation.is_empty() => {
                    out.extend_from_slice(preparation);
                    self.stage = Stage::Preparing;
                }
                Stage::LoggedIn | Stage::Preparing => return Ok(Login::Done),
                _ => return Err(Failure::Protocol("the server is ready before the login")),
            },
            BackendMessage::ParseComplete if matches!(self.stage, Stage::Preparing) => {}
            BackendMessage::NegotiateProtocolVersion(_)
            | BackendMessage::NoticeResponse(_)
            | BackendMessage::NotificationResponse(_)
            | BackendMessage::ParameterStatus(_)
            | BackendMessage::BackendKeyData(_) => {}
            _ => return Err(Failure::Protocol("a message has no place in the login")),
        }
        Ok(Login::Pending)
    }

    fn authentication(
        &mut self,
        identity: &mut Identity,
        request: Authentication<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let stage = std::mem::take(&mut self.stage);
        self.stage = match (stage, request) {
            // A server that began SCRAM has to prove itself first.
            (Stage::Asked | Stage::Answered | Stage::ScramProven, Authentication::Ok) => {
                Stage::LoggedIn
            }
            (Stage::Asked, Authentication::CleartextPassword) => {
                frontend::password(out, identity.password()?.as_bytes());
                Stage::Answered
            }
            (Stage::Asked, Authentication::Md5Password { salt }) => {
                let password = identity.password()?.as_bytes();
                let secret = Md5Secret::from_password(&identity.user, password);
                frontend::password(out, secret.answer(salt).as_bytes());
                Stage::Answered
            }
            (Stage::Asked, Authentication::Sasl(mechanisms)) => {
                Stage::ScramFirst(scram_first(mechanisms, out)?)
            }
            (Stage::ScramFirst(first), Authentication::SaslContinue(challenge)) => {
                let challenge =
                    first.challenge(challenge, scram::DEFAULT_MAX_ITERATIONS).map_err(scram)?;
                let (salt, iterations) = (challenge.salt().to_owned(), challenge.iterations());
                let outcome = challenge.answer(identity.keys(&salt, iterations)?);
                frontend::sasl_response(out, outcome.message());
                Stage::ScramFinal(outcome)
            }
            (Stage::ScramFinal(outcome), Authentication::SaslFinal(last)) => {
                outcome.verify(last).map_err(scram)?;
                Stage::ScramProven
            }
            (_, Authentication::Unsupported { code }) => {
                return Err(Failure::Login(format!(
                    "the server wants method {code}, not spoken here"
                )));
            }
            _ => return Err(Failure::Protocol("the login's messages are out of order")),
        };
        Ok(())
    }
}

fn scram_first(mechanisms: Mechanisms<'_>, out: &mut Vec<u8>) -> Result<ClientFirst, Failure> {
    if !mechanisms.offers(scram::MECHANISM) {
        return Err(Failure::Login("the server does not offer SCRAM-SHA-256".to_owned()));
    }
    let first = ClientFirst::new(Nonce::random());
    frontend::sasl_initial_response(out, scram::MECHANISM, first.message());
    Ok(first)
}

fn scram(error: ScramError) -> Failure {
    Failure::Login(error.to_string())
}
