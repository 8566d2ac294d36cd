//! The engine's part of a snapshot: who may log in, and which databases there are.

use std::sync::Arc;

use bs9_config::{Config, Database, Postgres, UserSecret};
use bs9_net::{CompileContext, CompileError};
use bs9_wire::auth::{Verifier, md5::Md5Secret, scram::ScramVerifier};
use rustc_hash::FxHashMap;
use tokio::sync::OnceCell;

/// `*`: the database that stands in for names not listed.
pub(crate) const FALLBACK: &str = "*";

/// Compiled from `[postgres]`.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) config: Arc<Config>,
    pub(crate) shards: usize,
    users: FxHashMap<Arc<str>, Arc<User>>,
}

/// A user clients may log in as.
#[derive(Debug)]
pub(crate) struct User {
    pub(crate) name: Arc<str>,
    secret: Option<UserSecret>,
    /// The secret, taken apart.
    pub(crate) verifier: Option<Verifier>,
    /// What a plain password is checked against. Derived at the first login that needs it:
    /// thousands of hash rounds for each user would make a reload slow.
    derived: OnceCell<ScramVerifier>,
}

/// A database as a client asked for it.
pub(crate) struct Asked<'a> {
    pub(crate) database: &'a Database,
    /// Whether only `*` matched.
    pub(crate) by_fallback: bool,
}

impl Part {
    pub(crate) fn compile(context: &CompileContext<'_>) -> Result<Self, CompileError> {
        Self::of(context.config, context.shards, context.previous::<Self>().as_deref())
    }

    /// Users whose secret did not change are taken over from `previous`, keys and all.
    pub(crate) fn of(
        config: &Arc<Config>,
        shards: usize,
        previous: Option<&Self>,
    ) -> Result<Self, CompileError> {
        let mut users = FxHashMap::default();
        if let Some(postgres) = &config.postgres {
            for (name, wanted) in &postgres.users {
                let known = previous.and_then(|part| part.users.get(name));
                let user = match known.filter(|known| known.secret == wanted.secret) {
                    Some(known) => Arc::clone(known),
                    None => Arc::new(User::compile(name, wanted.secret.clone())?),
                };
                users.insert(Arc::clone(name), user);
            }
        }
        Ok(Self { config: Arc::clone(config), shards, users })
    }

    /// The settings, when the configuration has any.
    pub(crate) fn postgres(&self) -> Option<&Postgres> {
        self.config.postgres.as_ref()
    }

    pub(crate) fn user(&self, name: &str) -> Option<&Arc<User>> {
        self.users.get(name)
    }

    pub(crate) fn database(&self, name: &str) -> Option<Asked<'_>> {
        let databases = &self.postgres()?.databases;
        let exact = databases.get(name).filter(|_| name != FALLBACK);
        match exact {
            Some(database) => Some(Asked { database, by_fallback: false }),
            None => databases.get(FALLBACK).map(|database| Asked { database, by_fallback: true }),
        }
    }
}

impl User {
    fn compile(name: &Arc<str>, secret: Option<UserSecret>) -> Result<Self, CompileError> {
        let verifier = match &secret {
            None => None,
            Some(UserSecret::Plain(plain)) => Some(Verifier::Plain(plain.reveal().to_owned())),
            Some(UserSecret::Md5(stored) | UserSecret::Scram(stored)) => {
                let verifier = Verifier::parse(stored.reveal()).map_err(|error| CompileError {
                    key: format!("postgres.users.{name}.password"),
                    message: error.to_string(),
                })?;
                Some(verifier)
            }
        };
        Ok(Self { name: Arc::clone(name), secret, verifier, derived: OnceCell::new() })
    }

    /// What a SCRAM login is checked against; `None` when the stored form cannot serve (md5, or
    /// nothing at all).
    pub(crate) async fn scram(&self) -> Option<ScramVerifier> {
        match self.verifier.as_ref()? {
            Verifier::Scram(verifier) => Some(verifier.clone()),
            Verifier::Md5(_) => None,
            Verifier::Plain(password) => {
                let derive = async || {
                    let password = password.clone();
                    tokio::task::spawn_blocking(move || {
                        ScramVerifier::generate(password.as_bytes())
                    })
                    .await
                };
                self.derived.get_or_try_init(derive).await.ok().cloned()
            }
        }
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
