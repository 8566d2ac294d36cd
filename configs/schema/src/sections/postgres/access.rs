//! Who is let in: `auth` and what belongs to it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    classify, hba,
    lines::BadLine,
    postgres_name,
    userlist::{self},
};
use crate::{
    definition::Kind,
    model::{
        Access, AuthQuery, Database, HbaMethod, IdentMaps, LoginAttempts, PostgresAuth,
        PostgresUser, Secret, UserLimits, UserSecret,
    },
    raw::Value,
    read::{
        At, Fault, Format, Key, Located, Reader, Scope, Word, absolute, duration, integer, located,
        text, words,
    },
    report::Finding,
    sections::{HOUR, MILLISECOND, MINUTE, SECOND},
    source,
};

/// Bytes of a file of rules or users.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// What `auth_query` asks when nothing else is said: who may log in, with what, until when.
const AUTH_QUERY: &str = "SELECT rolname, rolpassword, extract(epoch FROM rolvaliduntil)::float8 FROM pg_catalog.pg_authid WHERE rolname = $1 AND rolcanlogin";

const AUTH: &[Word<PostgresAuth>] = &[
    Word::is(
        "scram-sha-256",
        PostgresAuth::ScramSha256,
        "A password, never sent (RFC 7677). With TLS it is offered bound to the connection, too (`SCRAM-SHA-256-PLUS`).",
    ),
    Word::is(
        "md5",
        PostgresAuth::Md5,
        "PostgreSQL's old scheme. A user whose password is a SCRAM verifier is asked for SCRAM.",
    ),
    Word::is(
        "trust",
        PostgresAuth::Trust,
        "Nothing is asked. The user must still be known, unless the database forces one.",
    ),
    Word::is(
        "cert",
        PostgresAuth::Cert,
        "A certificate for the user's name (its CN), over TLS: needs `client_auth` on the listener.",
    ),
    Word::unsupported(
        HBA,
        "Rules of a `pg_hba.conf`: local, host, hostssl and hostnossl; trust, reject, md5, scram-sha-256 and cert, with `clientcert` and `map`. Its errors are told with their lines.",
    ),
];
const HBA: &str = "hba:FILE";

/// The method.
pub(super) fn auth(t: &mut Scope<'_>) -> PostgresAuth {
    t.or(Key::new("auth", "How clients prove who they are."), AuthFormat, "scram-sha-256")
}

/// A word of [`AUTH`], or `hba:` and a file that is read at once.
struct AuthFormat;

impl Format for AuthFormat {
    type Output = PostgresAuth;

    fn kind(&self) -> Kind {
        let mut kind = words(AUTH).kind();
        if let Kind::Words(all) = &mut kind {
            // Here it is.
            all.iter_mut().for_each(|word| word.unsupported = false);
        }
        kind
    }

    fn fits(&self, value: &Value) -> bool {
        matches!(value, Value::Text(_))
    }

    fn read(&self, at: At<'_>, reader: &Reader<'_>) -> Option<PostgresAuth> {
        let file = match &at.node.value {
            Value::Text(text) => text.strip_prefix("hba:"),
            _ => None,
        };
        let Some(file) = file else { return words(AUTH).read(at, reader) };
        let path = reader.resolve(at.node.spot, file);
        let rules = file_text(&path).map_err(|fault| reader.fault(at, fault)).ok()?;
        match hba::parse(&path, &rules) {
            Ok(rules) => Some(PostgresAuth::Hba(Arc::new(rules))),
            Err(bad) => {
                tell(reader, at, &path, &bad);
                None
            }
        }
    }
}

/// Reads a file's text.
fn file_text(path: &Path) -> Result<String, Fault> {
    source::read_bounded(path, MAX_FILE_BYTES).map_err(|error| {
        Fault::new(format!("cannot read {}: {error}", path.display()))
            .hint("the path is relative to the configuration file")
    })
}

fn tell(reader: &Reader<'_>, at: At<'_>, path: &Path, bad: &[BadLine]) {
    for line in bad {
        reader.push(Finding::error(line.in_file(path)).at(at.node.spot, at.path));
    }
}

/// A file that is parsed at once.
struct FileFormat<T> {
    what: &'static str,
    parse: fn(&str) -> Result<T, Vec<BadLine>>,
}

impl<T> Format for FileFormat<T> {
    type Output = (PathBuf, T);

    fn kind(&self) -> Kind {
        text(self.what, None, |path: &str, _: &Path| Ok::<_, Fault>(path.to_owned())).kind()
    }

    fn fits(&self, value: &Value) -> bool {
        matches!(value, Value::Text(_))
    }

    fn read(&self, at: At<'_>, reader: &Reader<'_>) -> Option<Self::Output> {
        let format = text(self.what, None, |path: &str, folder: &Path| {
            let path = absolute(folder, path);
            file_text(&path).map(|text| (path, text))
        });
        let (path, text) = format.read(at, reader)?;
        match (self.parse)(&text) {
            Ok(parsed) => Some((path, parsed)),
            Err(bad) => {
                tell(reader, at, &path, &bad);
                None
            }
        }
    }
}

/// What was read of all this, before it is put together with `databases` and `users`.
pub(super) struct ReadAccess {
    pub(super) auth: PostgresAuth,
    users: BTreeMap<Arc<str>, Option<Secret>>,
    ident_maps: IdentMaps,
    query: Query,
    attempts: LoginAttempts,
}

struct Query {
    query: Arc<str>,
    user: Option<Located<Arc<str>>>,
    database: Option<Located<Arc<str>>>,
    ttl: std::time::Duration,
    negative_ttl: std::time::Duration,
    timeout: std::time::Duration,
}

impl ReadAccess {
    pub(super) fn read(t: &mut Scope<'_>) -> Self {
        let auth = auth(t);
        let users = t.optional(
            Key::new("auth_file", "A file with more users, as PgBouncer's `userlist.txt` has them: `\"user\" \"password\"` on each line. Those in `users` come first. It is read again with the configuration."),
            FileFormat { what: "the path of a userlist.txt", parse: userlist::parse },
        );
        let ident = t.optional(
            Key::new("auth_ident_file", "Maps that `map=` in rules refers to, as a `pg_ident.conf` has them: `map certificate-name user` on each line."),
            FileFormat { what: "the path of a pg_ident.conf", parse: userlist::parse_ident },
        );
        let query = Query::read(t);
        let attempts = LoginAttempts {
            free: t.or(
                Key::new("max_login_failures", "Failed logins in a row that an address (of IPv6, a /64) is allowed; after that, each has it refused for a while, at first for a second, then twice as long each time. 0: no limit."),
                integer(0..=1_000_000),
                10,
            ),
            longest: t.or(
                Key::new("login_backoff", "The longest time that an address is refused for."),
                duration(SECOND..=24 * HOUR),
                "60s",
            ),
        };
        Self {
            auth,
            users: users.map(|(_, users)| users).unwrap_or_default(),
            ident_maps: ident.map(|(_, maps)| maps).unwrap_or_default(),
            query,
            attempts,
        }
    }

    pub(super) fn is_auth_user(&self, name: &str) -> bool {
        self.query.user.as_ref().is_some_and(|user| *user.value == *name)
    }

    /// Puts it together with what stands in the tables.
    pub(super) fn complete(
        self,
        t: &Scope<'_>,
        databases: &BTreeMap<Arc<str>, Database>,
        users: &mut BTreeMap<Arc<str>, PostgresUser>,
        limits: &UserLimits,
    ) -> (PostgresAuth, Access) {
        for (name, secret) in self.users {
            let secret = secret.map(classify);
            users.entry(Arc::clone(&name)).or_insert_with(|| PostgresUser {
                name,
                secret,
                limits: *limits,
            });
        }
        if let PostgresAuth::Hba(rules) = &self.auth {
            for rule in &rules.rules {
                let Some(map) = &rule.map else { continue };
                if !self.ident_maps.maps.contains_key(map) {
                    let message =
                        format!("{}:{}: there is no map `{map}`", rules.path.display(), rule.line);
                    let spot = t.key_spot("auth").unwrap_or(t.spot());
                    t.reader().missing(
                        Finding::error(message)
                            .at(spot, &t.path_of("auth"))
                            .hint("give `auth_ident_file`, with a line for it"),
                    );
                }
            }
        }
        let query = self.query.complete(t, databases, users);
        let access =
            Access { query, ident_maps: Arc::new(self.ident_maps), attempts: self.attempts };
        (self.auth, access)
    }
}

impl Query {
    fn read(t: &mut Scope<'_>) -> Self {
        Self {
            user: t.optional(
                Key::new("auth_user", "Has users that are not listed looked up on the server by `auth_query`, as this user. It must be listed, with a password in plain text if the server asks for one, and may need the right to read `pg_authid`. Absent: only users that are listed are known."),
                located(postgres_name()),
            ),
            query: t.or(
                Key::new("auth_query", "Fetches one user: its name, its password as `pg_authid` has it, and, if there is a third column, when it ends, as seconds since 1970 (float8). `$1` is the name. `search_path` is `pg_catalog`: name the schema of a function of your own."),
                text("a query with `$1`", None, |query: &str, _| match query.contains("$1") && !query.contains('\0') {
                    true => Ok(Arc::from(query)),
                    false => Err(Fault::new("the query does not ask for a user: `$1` is not in it")),
                }),
                AUTH_QUERY,
            ),
            database: t.optional(
                Key::new("auth_dbname", "The database (one of `databases`) that `auth_query` is run in. Absent: the one that the client asks for."),
                located(postgres_name()),
            ),
            ttl: t.or(
                Key::new("auth_cache_ttl", "How long the answer to an `auth_query` is used again."),
                duration(MILLISECOND..=24 * HOUR),
                "10s",
            ),
            negative_ttl: t.or(
                Key::new("auth_cache_negative_ttl", "How long it is remembered that there is no such user."),
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

    fn complete(
        self,
        t: &Scope<'_>,
        databases: &BTreeMap<Arc<str>, Database>,
        users: &BTreeMap<Arc<str>, PostgresUser>,
    ) -> Option<AuthQuery> {
        let Some(user) = self.user else {
            for key in ["auth_query", "auth_dbname"] {
                if let Some(spot) = t.key_spot(key) {
                    let message = format!("`{key}` has no meaning without `auth_user`");
                    let finding = Finding::error(message).at(spot, &t.path_of(key));
                    t.reader().missing(finding.hint("add `auth_user`, who runs the query"));
                }
            }
            return None;
        };
        let known = users.get(&user.value).map(|user| user.secret.as_ref());
        if !matches!(known, Some(None | Some(UserSecret::Plain(_)))) {
            let message = match known {
                None => format!("the user `{}` is not listed", user.value),
                Some(_) => {
                    format!("the password of `{}` is hashed, and cannot log in", user.value)
                }
            };
            t.reader().missing(Finding::error(message).at(user.spot, &user.path).hint(
                "add it to [postgres.users] or `auth_file`, with its password in plain text",
            ));
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
        Some(AuthQuery {
            query: self.query,
            user: user.value,
            database: self.database.map(|database| database.value),
            ttl: self.ttl,
            negative_ttl: self.negative_ttl,
            timeout: self.timeout,
        })
    }
}

/// Whether someone could have to show a certificate.
pub(in crate::sections) fn asks_for_certificates(auth: &PostgresAuth) -> bool {
    match auth {
        PostgresAuth::Cert => true,
        PostgresAuth::Hba(hba) => hba
            .rules
            .iter()
            .any(|rule| rule.method == HbaMethod::Cert || rule.client_certificate.is_some()),
        _ => false,
    }
}
