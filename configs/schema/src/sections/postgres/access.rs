//! Who is let in: `auth` and what belongs to it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    auth_query::{OwnQuery, Query},
    classify, hba,
    lines::BadLine,
    userlist::{self},
};
use crate::{
    definition::Kind,
    model::{
        Access, Database, HbaMethod, IdentMaps, LoginAttempts, PostgresAuth, PostgresUser, Secret,
        UserLimits,
    },
    raw::Value,
    read::{At, Fault, Format, Key, Reader, Scope, Word, absolute, duration, integer, text, words},
    report::Finding,
    sections::{HOUR, SECOND},
    source,
};

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
        "Rules of a `pg_hba.conf`: local, host, hostssl and hostnossl; trust, reject, md5, scram-sha-256, cert and (local) peer, with `clientcert` and `map`. `@FILE`, `/pattern`, `include`, `include_if_exists` and `include_dir` are as PostgreSQL has them, the patterns in the syntax of routes; `+role` and `samerole` ask the server and need `auth_user`; `samehost` is the address connected to; `samenet`, host names and the other methods are refused. Its errors are told with their lines.",
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
    source::read_bounded(path, hba::MAX_FILE_BYTES).map_err(|error| {
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
        self.query.own.is_run_by(name)
    }

    /// Puts it together with what stands in the tables.
    pub(super) fn complete(
        self,
        t: &Scope<'_>,
        databases: &mut BTreeMap<Arc<str>, Database>,
        own_queries: BTreeMap<Arc<str>, OwnQuery>,
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
        let elsewhere = own_queries.values().any(OwnQuery::has_user);
        let query = self.query.for_all(t, elsewhere, databases, users);
        for (name, own) in own_queries {
            let read = self.query.for_one(t, own, query.as_ref(), databases, users);
            if let Some(database) = databases.get_mut(&name) {
                database.auth_query = read;
            }
        }
        if let PostgresAuth::Hba(rules) = &self.auth {
            let asks = query.is_some()
                || !databases.is_empty()
                    && databases.values().all(|database| database.auth_query.is_some());
            for rule in &rules.rules {
                let missing = |what: String, hint| {
                    let message = format!("{}:{}: {what}", rule.file.display(), rule.line);
                    let spot = t.key_spot("auth").unwrap_or(t.spot());
                    let finding = Finding::error(message).at(spot, &t.path_of("auth"));
                    t.reader().missing(finding.hint(hint));
                };
                if let Some(map) = &rule.map
                    && !self.ident_maps.maps.contains_key(map)
                {
                    let hint = "give `auth_ident_file`, with a line for it";
                    missing(format!("there is no map `{map}`"), hint);
                }
                if rule.needs_roles() && !asks {
                    let what = "who is a member of a role is known to the server alone";
                    let hint = "give `auth_user`, who asks it, or list the names";
                    missing(what.to_owned(), hint);
                }
            }
        }
        let access =
            Access { query, ident_maps: Arc::new(self.ident_maps), attempts: self.attempts };
        (self.auth, access)
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
