//! A user clients may log in as.

use std::sync::Arc;

use bs9_config::UserSecret;
use bs9_wire::auth::{Verifier, VerifierError, md5::Md5Secret, scram::ScramVerifier};
use tokio::sync::OnceCell;

use super::{Urgency, Workshop, workshop::WorkshopError};

/// Listed in the configuration, or found by `auth_query`.
#[derive(Debug)]
pub(crate) struct User {
    pub(crate) name: Arc<str>,
    /// As the configuration has it.
    secret: Option<UserSecret>,
    /// The secret, taken apart. `None`: no password lets anybody in.
    pub(crate) verifier: Option<Verifier>,
    /// What a plain password is checked against. Derived once, on another thread.
    derived: OnceCell<ScramVerifier>,
}

impl User {
    /// One that is listed.
    pub(crate) fn listed(
        name: &Arc<str>,
        secret: Option<UserSecret>,
    ) -> Result<Self, VerifierError> {
        let verifier = match &secret {
            None => None,
            Some(UserSecret::Plain(plain)) => Some(Verifier::Plain(plain.reveal().to_owned())),
            Some(UserSecret::Md5(stored) | UserSecret::Scram(stored)) => {
                Some(Verifier::parse(stored.reveal())?)
            }
        };
        Ok(Self { name: Arc::clone(name), secret, verifier, derived: OnceCell::new() })
    }

    /// One that was found.
    pub(crate) fn found(name: &Arc<str>, verifier: Option<Verifier>) -> Self {
        Self { name: Arc::clone(name), secret: None, verifier, derived: OnceCell::new() }
    }

    /// Whether the configuration still says the same of it.
    pub(crate) fn has_secret(&self, secret: &Option<UserSecret>) -> bool {
        self.secret == *secret
    }

    /// What a SCRAM login is checked against; `None` when the stored form cannot serve (md5, or
    /// nothing at all).
    pub(crate) async fn scram(
        &self,
        workshop: &Workshop,
        urgency: Urgency,
    ) -> Result<Option<ScramVerifier>, WorkshopError> {
        Ok(match &self.verifier {
            None | Some(Verifier::Md5(_)) => None,
            Some(Verifier::Scram(verifier)) => Some(verifier.clone()),
            Some(Verifier::Plain(password)) => {
                let derive = async || {
                    let password = password.clone();
                    let work = move || ScramVerifier::generate(password.as_bytes());
                    workshop.derive(urgency, work).await
                };
                Some(self.derived.get_or_try_init(derive).await?.clone())
            }
        })
    }

    /// Derives what its first SCRAM login would wait for, so that how long that takes says
    /// nothing about who exists.
    pub(crate) fn prepare(self: &Arc<Self>, workshop: &Workshop) {
        let Some(Verifier::Plain(password)) = &self.verifier else { return };
        if self.derived.initialized() {
            return;
        }
        let (user, password) = (Arc::clone(self), password.clone());
        let work = move || {
            if !user.derived.initialized() {
                let _somebody_was_faster =
                    user.derived.set(ScramVerifier::generate(password.as_bytes()));
            }
        };
        // Then a login does it.
        let _as_many_as_fit = workshop.submit(Urgency::Ahead, work);
    }

    /// What an md5 login is checked against, when the stored form can serve.
    pub(crate) fn md5(&self) -> Option<Md5Secret> {
        match self.verifier.as_ref()? {
            Verifier::Plain(password) => {
                Some(Md5Secret::from_password(&self.name, password.as_bytes()))
            }
            Verifier::Md5(secret) => Some(secret.clone()),
            Verifier::Scram(_) => None,
        }
    }
}
