//! The engine's part of a snapshot: who may log in, and which databases there are.

use std::{fmt, sync::Arc};

use bs9_config::{Config, Database, Generation, Postgres, UserSecret};
use bs9_net::{CompileContext, CompileError};
use rustc_hash::FxHashMap;

use crate::{
    auth::{Doorkeeper, Mock, Question, Source, Tally, User},
    tls::Encryption,
};

/// `*`: the database that stands in for names not listed.
pub(crate) const FALLBACK: &str = "*";

/// Compiled from `[postgres]`.
pub(crate) struct Part {
    pub(crate) config: Arc<Config>,
    /// Of the snapshot that it belongs to.
    pub(crate) generation: Generation,
    pub(crate) shards: usize,
    /// The same under every configuration.
    pub(crate) door: Arc<Doorkeeper>,
    /// How passwords of listed users are stored.
    listed: Tally,
    users: FxHashMap<Arc<str>, Arc<User>>,
    /// Of databases whose servers are reached by TLS.
    encryptions: FxHashMap<Arc<str>, Arc<Encryption>>,
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part").field("config", &self.config).finish_non_exhaustive()
    }
}

/// A database as a client asked for it.
pub(crate) struct Asked<'a> {
    pub(crate) database: &'a Database,
    /// Whether only `*` matched.
    pub(crate) by_fallback: bool,
}

impl Part {
    pub(crate) fn compile(
        context: &CompileContext<'_>,
        door: &Arc<Doorkeeper>,
    ) -> Result<Self, CompileError> {
        let previous = context.previous::<Self>();
        Self::of(context.config, context.generation, context.shards, previous.as_deref(), door)
    }

    /// Users whose secret did not change are taken over from `previous`, keys and all.
    pub(crate) fn of(
        config: &Arc<Config>,
        generation: Generation,
        shards: usize,
        previous: Option<&Self>,
        door: &Arc<Doorkeeper>,
    ) -> Result<Self, CompileError> {
        let mut users = FxHashMap::default();
        let mut encryptions = FxHashMap::default();
        if let Some(postgres) = &config.postgres {
            for (name, wanted) in &postgres.users {
                let known = previous.and_then(|part| part.users.get(name));
                let user =
                    match known.filter(|known| known.has_secret(&wanted.secret)) {
                        Some(known) => Arc::clone(known),
                        None => Arc::new(User::listed(name, wanted.secret.clone()).map_err(
                            |error| CompileError {
                                key: format!("postgres.users.{name}.password"),
                                message: error.to_string(),
                            },
                        )?),
                    };
                user.prepare(&door.workshop);
                users.insert(Arc::clone(name), user);
            }
            for (name, database) in &postgres.databases {
                let Some(tls) = &database.tls else { continue };
                let known = previous.and_then(|part| part.encryptions.get(name));
                let encryption = Encryption::compile(tls, known).map_err(|error| CompileError {
                    key: format!("postgres.databases.{name}.tls"),
                    message: error.to_string(),
                })?;
                encryptions.insert(Arc::clone(name), encryption);
            }
        }
        let listed = listed(config, users.values());
        let (config, door) = (Arc::clone(config), Arc::clone(door));
        Ok(Self { config, generation, shards, door, listed, users, encryptions })
    }

    /// The settings, when the configuration has any.
    pub(crate) fn postgres(&self) -> Option<&Postgres> {
        self.config.postgres.as_ref()
    }

    /// A user that is listed.
    pub(crate) fn user(&self, name: &str) -> Option<&Arc<User>> {
        self.users.get(name)
    }

    /// What a user that does not exist, but has that name, is asked in the database called `asked`.
    pub(crate) fn mock(&self, name: &str, asked: &str) -> Mock {
        let secret = &self.door.mock_secret;
        let Some(question) = self.question(name, asked) else {
            return self.listed.mock(name, secret);
        };
        let mut users = self.door.lookup.found_in(&question.database);
        users.add(&self.listed);
        if users.is_empty() { Mock::usual() } else { users.mock(name, secret) }
    }

    pub(crate) fn database(&self, name: &str) -> Option<Asked<'_>> {
        let databases = &self.postgres()?.databases;
        let exact = databases.get(name).filter(|_| name != FALLBACK);
        match exact {
            Some(database) => Some(Asked { database, by_fallback: false }),
            None => databases.get(FALLBACK).map(|database| Asked { database, by_fallback: true }),
        }
    }

    /// How servers of this database are reached; `None`: without TLS.
    pub(crate) fn encryption(&self, database: &Database) -> Option<&Arc<Encryption>> {
        self.encryptions.get(&database.name)
    }

    /// How a server is asked for a user that is not listed, by a client of the database called
    /// `asked`. `None`: it is not asked.
    pub(crate) fn question(&self, name: &str, asked: &str) -> Option<Question> {
        let postgres = self.postgres()?;
        let own = self.database(asked).and_then(|asked| asked.database.auth_query.as_ref());
        let query = own.or(postgres.access.query.as_ref())?;
        let place = query.database.as_deref().unwrap_or(asked);
        let source = self.source(place, &query.user)?;
        Some(Question { name: name.into(), database: place.into(), source, query: query.clone() })
    }

    /// How that user asks in the database called `place`; `None`: there is none.
    pub(crate) fn source(&self, place: &str, user: &Arc<str>) -> Option<Source> {
        let database = self.database(place)?.database;
        let secret = self.postgres()?.users.get(user).and_then(|user| user.secret.as_ref());
        let password = match secret {
            Some(UserSecret::Plain(plain)) => Some(plain.clone()),
            _ => None,
        };
        Some(Source {
            address: database.address.clone(),
            dbname: database.dbname.clone().unwrap_or_else(|| place.into()),
            user: Arc::clone(user),
            password,
            encryption: self.encryption(database).cloned(),
        })
    }
}

/// How passwords of listed users are stored, those left out that are there to run `auth_query`.
fn listed<'a>(config: &Config, users: impl Iterator<Item = &'a Arc<User>>) -> Tally {
    let mut tally = Tally::default();
    let Some(postgres) = &config.postgres else { return tally };
    let own = postgres.databases.values().filter_map(|database| database.auth_query.as_ref());
    let queries: Vec<_> = own.chain(&postgres.access.query).collect();
    let others = users.filter(|user| queries.iter().all(|query| query.user != user.name));
    others.filter_map(|user| user.verifier.as_ref()).for_each(|stored| tally.count(stored));
    tally
}
