//! How a client proves who it is.

use std::sync::Arc;

use bs9_config::PostgresAuth;
use bs9_wire::{
    auth::{
        Verifier,
        scram::{self, Exchange, Nonce, Passthrough, Proof, ScramError, ScramVerifier},
    },
    encode::backend,
    message::frontend::{SaslInitialResponse, password_text},
    sqlstate::SqlState,
};

use super::greeting::{Greeting, Refusal};
use crate::part::User;

impl Greeting {
    /// Has the client prove that it is `name`. Someone unknown is asked exactly as anyone else,
    /// and told no more. `forced`: the database logs in as a user of its own, so under `trust`
    /// the client need not be known. Returns the client's keys after a SCRAM login.
    pub(super) async fn authenticate(
        &mut self,
        method: &PostgresAuth,
        name: &str,
        user: Option<&Arc<User>>,
        forced: bool,
    ) -> Result<Option<Passthrough>, Refusal> {
        let only_scram = user.is_some_and(|user| matches!(user.verifier, Some(Verifier::Scram(_))));
        match method {
            PostgresAuth::Trust if user.is_some() || forced => {
                self.send().await?;
                Ok(None)
            }
            PostgresAuth::Trust => {
                let message = format!("role \"{name}\" does not exist");
                Err(Refusal::told(SqlState::INVALID_AUTHORIZATION, message))
            }
            PostgresAuth::Md5 if !only_scram => self.md5(name, user).await.map(|()| None),
            PostgresAuth::Md5 | PostgresAuth::ScramSha256 => self.scram(name, user).await.map(Some),
        }
    }

    async fn md5(&mut self, name: &str, user: Option<&Arc<User>>) -> Result<(), Refusal> {
        let salt = rand::random();
        backend::authentication_md5(&mut self.out, salt);
        let body = self.answer().await?;
        let secret = user.and_then(|user| user.md5());
        let answer = password_text(&body).unwrap_or_default();
        if secret.is_some_and(|secret| secret.verify(salt, answer)) {
            return Ok(());
        }
        Err(wrong_password(name))
    }

    async fn scram(
        &mut self,
        name: &str,
        user: Option<&Arc<User>>,
    ) -> Result<Passthrough, Refusal> {
        let known = match user {
            Some(user) => user.scram().await,
            None => None,
        };
        let verifier = known.unwrap_or_else(|| {
            let secret = &self.home.registry.mock_secret;
            ScramVerifier::mock(name, secret, scram::DEFAULT_ITERATIONS)
        });
        backend::authentication_sasl(&mut self.out, &[scram::MECHANISM]);
        let first = self.answer().await?;
        let proof = match self.exchange(Exchange::new(verifier, Nonce::random()), &first).await? {
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
        first: &[u8],
    ) -> Result<Result<Proof, ScramError>, Refusal> {
        let malformed = |what: String| Refusal::told(SqlState::PROTOCOL_VIOLATION, what);
        let initial = SaslInitialResponse::read(first);
        let initial = initial.map_err(|error| malformed(error.to_string()))?;
        if initial.mechanism != scram::MECHANISM.as_bytes() {
            return Err(malformed("the client chose a SASL mechanism that was not offered".into()));
        }
        let message = match initial.response {
            Some(message) => message.to_vec(),
            None => {
                backend::authentication_sasl_continue(&mut self.out, &[]);
                self.answer().await?
            }
        };
        let check = match exchange.client_first(&message) {
            Ok(check) => check,
            Err(error) => return Ok(Err(error)),
        };
        backend::authentication_sasl_continue(&mut self.out, check.message());
        let last = self.answer().await?;
        Ok(check.client_final(&last))
    }
}

fn wrong_password(name: &str) -> Refusal {
    let message = format!("password authentication failed for user \"{name}\"");
    Refusal::told(SqlState::INVALID_PASSWORD, message)
}
