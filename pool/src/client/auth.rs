//! How a client proves who it is.

use std::{net::IpAddr, sync::Arc, time::Duration};

use bs9_config::{ClientCertificate, Postgres};
use bs9_net::{PeerAddress, Transport};
use bs9_wire::{
    auth::{
        Verifier,
        scram::{self, Binding, Exchange, Nonce, Passthrough, Proof, ScramError},
    },
    encode::backend,
    message::frontend::{SaslInitialResponse, password_text},
    sqlstate::SqlState,
};

use super::greeting::{Greeting, Refusal};
use crate::{
    auth::{Ask, Demand, LookupError, Method, Mock, NoDemand, Urgency, User, account_name, demand},
    tls,
};

/// Whom a client wants to be, and where.
#[derive(Clone, Copy)]
pub(super) struct Claim<'a> {
    pub(super) user: &'a str,
    pub(super) database: &'a str,
    /// The database logs in as a user of its own, so where no proof is asked the client need not
    /// be known.
    pub(super) forced: bool,
}

/// Who it turned out to be.
pub(super) struct Identified {
    pub(super) user: Option<Arc<User>>,
    /// Its keys, after a SCRAM login.
    pub(super) keys: Option<Passthrough>,
}

impl Greeting {
    /// Has the client prove its claim. Someone unknown is asked exactly as anyone else, and told
    /// no more. Whoever fails again and again is refused unseen.
    pub(super) async fn authenticate(&mut self, claim: Claim<'_>) -> Result<Identified, Refusal> {
        let part = Arc::clone(&self.part);
        let postgres = part.postgres().ok_or(Refusal::Silent)?;
        let limits = postgres.access.attempts;
        let address = self.address();
        if let Some(left) = address.and_then(|ip| part.door.refused_for(ip, limits)) {
            return Err(failed_too_often(left));
        }
        let outcome = self.prove(postgres, claim).await;
        let passed = match &outcome {
            Ok(_) => true,
            Err(refusal) if refusal.is_failed_login() => false,
            Err(_) => return outcome,
        };
        if let Some(left) = address.and_then(|ip| part.door.judge(ip, limits, passed)) {
            // Nor is it told that its proof was a good one.
            self.out.clear();
            return Err(failed_too_often(left));
        }
        outcome
    }

    fn address(&self) -> Option<IpAddr> {
        match self.peer {
            PeerAddress::Tcp(address) => Some(address.ip()),
            PeerAddress::Unix => None,
        }
    }

    async fn prove(
        &mut self,
        postgres: &Postgres,
        claim: Claim<'_>,
    ) -> Result<Identified, Refusal> {
        let Claim { user: name, database, forced } = claim;
        let demanded = self.demand(postgres, claim).await?;
        self.check_certificate(postgres, &demanded, name)?;
        let user = self.find(name, database).await?;
        if matches!(demanded.method, Method::Nothing | Method::Peer) && user.is_none() && !forced {
            let message = format!("role \"{name}\" does not exist");
            return Err(Refusal::told(SqlState::INVALID_AUTHORIZATION, message));
        }
        let mock = self.part.mock(name, database);
        let keys = match demanded.method {
            Method::Nothing => None,
            Method::Peer => {
                self.check_peer(postgres, &demanded, name).await?;
                None
            }
            Method::Md5 if !asks_scram_instead(user.as_deref(), mock) => {
                self.md5(name, user.as_deref(), mock).await?;
                None
            }
            Method::Md5 | Method::Scram => Some(self.scram(name, user.as_deref(), mock).await?),
        };
        Ok(Identified { user, keys })
    }

    /// What the client has to do.
    async fn demand(&self, postgres: &Postgres, claim: Claim<'_>) -> Result<Demand, Refusal> {
        let Claim { user, database, .. } = claim;
        let own = self.stream.as_ref().and_then(Transport::local_address);
        let ask = Ask {
            user,
            database,
            peer: self.peer,
            own: own.map(|own| own.ip().to_canonical()),
            encrypted: self.is_encrypted(),
            roles: None,
        };
        let told =
            |none: NoDemand| Refusal::told(SqlState::INVALID_AUTHORIZATION, none.to_string());
        match demand(&postgres.auth, ask) {
            Err(NoDemand::Roles) => {}
            known => return known.map_err(told),
        }
        let Some(question) = self.part.question(user, database) else {
            return Err(told(NoDemand::Roles));
        };
        let roles = self.part.door.lookup.roles(question).await;
        let roles = roles.map_err(|error| self.not_looked_up(user, &error))?;
        demand(&postgres.auth, Ask { roles: Some(&roles), ..ask }).map_err(told)
    }

    /// Asks the system who has connected.
    async fn check_peer(
        &self,
        postgres: &Postgres,
        demanded: &Demand,
        user: &str,
    ) -> Result<(), Refusal> {
        let number = self.stream.as_ref().and_then(Transport::peer_user);
        let account = match number {
            Some(number) => {
                let workshop = &self.part.door.workshop;
                let name = workshop.derive(Urgency::Login, move || account_name(number)).await;
                name.map_err(|error| {
                    Refusal::told(SqlState::TOO_MANY_CONNECTIONS, error.to_string())
                })?
            }
            None => None,
        };
        let maps = &postgres.access.ident_maps;
        if account.as_deref().is_some_and(|name| maps.lets(demanded.map.as_deref(), name, user)) {
            return Ok(());
        }
        tracing::info!(user, account, "a user of the system is somebody else");
        let message = format!("Peer authentication failed for user \"{user}\"");
        Err(Refusal::told(SqlState::INVALID_AUTHORIZATION, message))
    }

    fn check_certificate(
        &self,
        postgres: &Postgres,
        demanded: &Demand,
        user: &str,
    ) -> Result<(), Refusal> {
        let Some(wanted) = demanded.certificate else { return Ok(()) };
        let refused = |message: String| Refusal::told(SqlState::INVALID_AUTHORIZATION, message);
        let Some(shown) = &self.shown.peer else {
            return Err(refused("connection requires a valid client certificate".to_owned()));
        };
        if wanted == ClientCertificate::VerifyCa {
            return Ok(());
        }
        let name = tls::common_name(shown);
        let maps = &postgres.access.ident_maps;
        if name.as_deref().is_some_and(|name| maps.lets(demanded.map.as_deref(), name, user)) {
            return Ok(());
        }
        tracing::info!(peer = %self.peer, user, certificate = name, "a certificate is for somebody else");
        Err(refused(format!("certificate authentication failed for user \"{user}\"")))
    }

    /// A user that is listed, or that the server has.
    async fn find(&self, name: &str, database: &str) -> Result<Option<Arc<User>>, Refusal> {
        if let Some(listed) = self.part.user(name) {
            return Ok(Some(Arc::clone(listed)));
        }
        let Some(question) = self.part.question(name, database) else { return Ok(None) };
        let found = self.part.door.lookup.find(question).await;
        found.map_err(|error| self.not_looked_up(name, &error))
    }

    fn not_looked_up(&self, name: &str, error: &LookupError) -> Refusal {
        tracing::debug!(peer = %self.peer, user = name, %error, "a login waited for a lookup in vain");
        if let LookupError::Disabled(_) = error {
            return Refusal::told(SqlState::OBJECT_NOT_IN_STATE, error.to_string());
        }
        Refusal::told(SqlState::CANNOT_CONNECT, "the user could not be looked up on the server")
    }

    async fn md5(&mut self, name: &str, user: Option<&User>, mock: Mock) -> Result<(), Refusal> {
        let salt = rand::random();
        backend::authentication_md5(&mut self.out, salt);
        let body = self.answer().await?;
        let secret = user.and_then(User::md5).unwrap_or_else(|| mock.md5(name));
        let answer = password_text(&body).unwrap_or_default();
        if secret.verify(salt, answer) { Ok(()) } else { Err(wrong_password(name)) }
    }

    async fn scram(
        &mut self,
        name: &str,
        user: Option<&User>,
        mock: Mock,
    ) -> Result<Passthrough, Refusal> {
        let part = Arc::clone(&self.part);
        let known = match user {
            Some(user) => {
                let known = user.scram(&part.door.workshop, Urgency::Login).await;
                known.map_err(|error| {
                    Refusal::told(SqlState::TOO_MANY_CONNECTIONS, error.to_string())
                })?
            }
            None => None,
        };
        let verifier = known.unwrap_or_else(|| mock.scram(name, &part.door.mock_secret));
        let own = self.shown.own.as_ref();
        let bindable = own.and_then(|certificate| tls::end_point(certificate));
        let mechanisms = [scram::MECHANISM_PLUS, scram::MECHANISM];
        let offered = if bindable.is_some() { &mechanisms[..] } else { &mechanisms[1..] };
        backend::authentication_sasl(&mut self.out, offered);
        let first = self.answer().await?;
        let exchange = Exchange::new(verifier, Nonce::random());
        let proof = match self.exchange(exchange, bindable, &first).await? {
            Ok(proof) => proof,
            Err(error) => {
                tracing::debug!(peer = %self.peer, user = name, %error, "a SCRAM login failed");
                return Err(wrong_password(name));
            }
        };
        backend::authentication_sasl_final(&mut self.out, proof.message());
        Ok(proof.into_passthrough())
    }

    async fn exchange(
        &mut self,
        exchange: Exchange,
        bindable: Option<Box<[u8]>>,
        first: &[u8],
    ) -> Result<Result<Proof, ScramError>, Refusal> {
        let malformed = |what: String| Refusal::told(SqlState::PROTOCOL_VIOLATION, what);
        let initial = SaslInitialResponse::read(first);
        let initial = initial.map_err(|error| malformed(error.to_string()))?;
        let plus = initial.mechanism == scram::MECHANISM_PLUS.as_bytes();
        let binding = match bindable {
            Some(hash) if plus => Binding::EndPoint(hash),
            _ if initial.mechanism != scram::MECHANISM.as_bytes() => {
                let what = "the client chose a SASL mechanism that was not offered";
                return Err(malformed(what.into()));
            }
            Some(_) => Binding::Unused,
            None => Binding::None,
        };
        let message = match initial.response {
            Some(message) => message.to_vec(),
            None => {
                backend::authentication_sasl_continue(&mut self.out, &[]);
                self.answer().await?
            }
        };
        let check = match exchange.bound(binding).client_first(&message) {
            Ok(check) => check,
            Err(error) => return Ok(Err(error)),
        };
        backend::authentication_sasl_continue(&mut self.out, check.message());
        let last = self.answer().await?;
        Ok(check.client_final(&last))
    }
}

/// Whether, under `md5`, SCRAM is what is stored; of who has no password that is made up.
fn asks_scram_instead(user: Option<&User>, mock: Mock) -> bool {
    match user.and_then(|user| user.verifier.as_ref()) {
        Some(verifier) => matches!(verifier, Verifier::Scram(_)),
        None => mock.prefers_scram(),
    }
}

fn failed_too_often(left: Duration) -> Refusal {
    let seconds = left.as_secs() + 1;
    let message = format!("too many failed logins from this address: wait for {seconds} s");
    Refusal::told(SqlState::INVALID_AUTHORIZATION, message)
}

fn wrong_password(name: &str) -> Refusal {
    let message = format!("password authentication failed for user \"{name}\"");
    Refusal::told(SqlState::INVALID_PASSWORD, message)
}
