//! `auth_query`: users that the server is asked for, of all databases and of one.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::postgres_name;
use crate::{
    model::{AuthQuery, Database, PostgresUser, UserSecret},
    read::{Fault, Format, Key, Located, Scope, duration, located, text},
    report::Finding,
    sections::{HOUR, MILLISECOND, MINUTE},
};

/// What is asked when nothing else is said: who may log in, with what, until when.
const AUTH_QUERY: &str = "SELECT rolname, rolpassword, extract(epoch FROM rolvaliduntil)::float8 FROM pg_catalog.pg_authid WHERE rolname = $1 AND rolcanlogin";

/// What `[postgres]` says, good for every database that says nothing else.
pub(super) struct Query {
    pub(super) own: OwnQuery,
    query: Arc<str>,
    ttl: Duration,
    negative_ttl: Duration,
    timeout: Duration,
}

/// What one table says of who asks, what and where.
#[derive(Default)]
pub(super) struct OwnQuery {
    user: Option<Located<Arc<str>>>,
    query: Option<Located<Arc<str>>>,
    database: Option<Located<Arc<str>>>,
}

impl OwnQuery {
    /// What one database says.
    pub(super) fn read(t: &mut Scope<'_>) -> Self {
        Self {
            user: t.optional(
                Key::new(
                    "auth_user",
                    "Overrides `postgres.auth_user` for clients of this database.",
                ),
                located(postgres_name()),
            ),
            query: t.optional(
                Key::new(
                    "auth_query",
                    "Overrides `postgres.auth_query` for clients of this database.",
                ),
                located(query()),
            ),
            database: t.optional(
                Key::new(
                    "auth_dbname",
                    "Overrides `postgres.auth_dbname` for clients of this database.",
                ),
                located(postgres_name()),
            ),
        }
    }

    /// Whether it says who asks.
    pub(super) fn has_user(&self) -> bool {
        self.user.is_some()
    }

    /// Whether this user runs it, who need not be anybody that could log in here.
    pub(super) fn is_run_by(&self, name: &str) -> bool {
        self.user.as_ref().is_some_and(|user| *user.value == *name)
    }

    /// Tells what is wrong with it.
    fn check(
        &self,
        t: &Scope<'_>,
        databases: &BTreeMap<Arc<str>, Database>,
        users: &BTreeMap<Arc<str>, PostgresUser>,
    ) {
        if let Some(user) = &self.user {
            let known = users.get(&user.value).map(|user| user.secret.as_ref());
            if !matches!(known, Some(None | Some(UserSecret::Plain(_)))) {
                let name = &user.value;
                let message = match known {
                    None => format!("the user `{name}` is not listed"),
                    Some(_) => format!("the password of `{name}` is hashed, and cannot log in"),
                };
                t.reader().missing(Finding::error(message).at(user.spot, &user.path).hint(
                    "add it to [postgres.users] or `auth_file`, with its password in plain text",
                ));
            }
        }
        if let Some(database) = &self.database
            && !databases.contains_key(&database.value)
            && !databases.contains_key("*")
        {
            let message = format!("there is no database `{}`", database.value);
            t.reader().missing(
                Finding::error(message)
                    .at(database.spot, &database.path)
                    .hint("name one of [postgres.databases]"),
            );
        }
    }

    /// Tells that nobody asks.
    fn refuse(&self, t: &Scope<'_>) {
        for (key, said) in [("auth_query", &self.query), ("auth_dbname", &self.database)] {
            if let Some(said) = said {
                let message = format!("`{key}` has no meaning without `auth_user`");
                let finding = Finding::error(message).at(said.spot, &said.path);
                t.reader().missing(finding.hint("add `auth_user`, who runs the query"));
            }
        }
    }
}

impl Query {
    pub(super) fn read(t: &mut Scope<'_>) -> Self {
        let user = t.optional(
            Key::new("auth_user", "Has users that are not listed looked up on the server by `auth_query`, as this user. It must be listed, with a password in plain text if the server asks for one, and may need the right to read `pg_authid`. Absent: only users that are listed are known."),
            located(postgres_name()),
        );
        let said = t.or(
            Key::new("auth_query", "Fetches one user: its name, its password as `pg_authid` has it, and, if there is a third column, when it ends, as seconds since 1970 (float8). `$1` is the name. `search_path` is `pg_catalog`: name the schema of a function of your own."),
            located(query()),
            AUTH_QUERY,
        );
        let database = t.optional(
            Key::new("auth_dbname", "The database (one of `databases`) that `auth_query` is run in. Absent: the one that the client asks for."),
            located(postgres_name()),
        );
        let query = Arc::clone(&said.value);
        // The place is the key's: a default that stands in for a wrong query has none.
        let said = t.key_spot("auth_query").map(|spot| {
            let path = t.path_of("auth_query");
            Located { value: said.value, spot, path }
        });
        Self {
            own: OwnQuery { user, query: said, database },
            query,
            ttl: t.or(
                Key::new("auth_cache_ttl", "How long the answer to an `auth_query` is used again."),
                duration(MILLISECOND..=24 * HOUR),
                "10s",
            ),
            negative_ttl: t.or(
                Key::new(
                    "auth_cache_negative_ttl",
                    "How long it is remembered that there is no such user.",
                ),
                duration(MILLISECOND..=24 * HOUR),
                "2s",
            ),
            timeout: t.or(
                Key::new("auth_query_timeout", "Limit for an `auth_query`, connecting included."),
                duration(MILLISECOND..=10 * MINUTE),
                "5s",
            ),
        }
    }

    /// For databases that say nothing else. `elsewhere`: some say who asks.
    pub(super) fn for_all(
        &self,
        t: &Scope<'_>,
        elsewhere: bool,
        databases: &BTreeMap<Arc<str>, Database>,
        users: &BTreeMap<Arc<str>, PostgresUser>,
    ) -> Option<AuthQuery> {
        self.own.check(t, databases, users);
        let Some(user) = &self.own.user else {
            // They may be meant for databases that say who asks.
            if !elsewhere {
                self.own.refuse(t);
            }
            return None;
        };
        Some(AuthQuery {
            query: Arc::clone(&self.query),
            user: Arc::clone(&user.value),
            database: self.own.database.as_ref().map(|database| Arc::clone(&database.value)),
            ttl: self.ttl,
            negative_ttl: self.negative_ttl,
            timeout: self.timeout,
        })
    }

    /// For a database that says `own`, and `general` otherwise.
    pub(super) fn for_one(
        &self,
        t: &Scope<'_>,
        own: OwnQuery,
        general: Option<&AuthQuery>,
        databases: &BTreeMap<Arc<str>, Database>,
        users: &BTreeMap<Arc<str>, PostgresUser>,
    ) -> Option<AuthQuery> {
        own.check(t, databases, users);
        let value = |own: Option<Located<Arc<str>>>| own.map(|own| own.value);
        let general_user = general.map(|general| Arc::clone(&general.user));
        let Some(user) = own.user.as_ref().map(|user| Arc::clone(&user.value)).or(general_user)
        else {
            own.refuse(t);
            return None;
        };
        let general_database = self.own.database.as_ref().map(|said| Arc::clone(&said.value));
        Some(AuthQuery {
            query: value(own.query).unwrap_or_else(|| Arc::clone(&self.query)),
            user,
            database: value(own.database).or(general_database),
            ttl: self.ttl,
            negative_ttl: self.negative_ttl,
            timeout: self.timeout,
        })
    }
}

fn query() -> impl Format<Output = Arc<str>> {
    text("a query with `$1`", None, |query: &str, _| {
        match query.contains("$1") && !query.contains('\0') {
            true => Ok(Arc::from(query)),
            false => Err(Fault::new("the query does not ask for a user: `$1` is not in it")),
        }
    })
}
