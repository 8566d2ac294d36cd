//! `[postgres]`.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

mod access;
mod auth_query;
mod hba;
mod limits;
mod lines;
mod session;
mod tls;
mod userlist;

pub(in crate::sections) use access::asks_for_certificates;
pub(in crate::sections) use tls::ALPN;

use auth_query::OwnQuery;

use super::{
    DAY, HOUR, MILLISECOND, MINUTE, SECOND,
    name::{POSTGRES_NAME, check_postgres_name},
};
use crate::{
    address,
    model::{
        Database, DatabaseLimits, DatabaseTls, PoolLimits, PoolMode, Postgres, PostgresAuth,
        PostgresUser, ProtocolLevel, ServerAddress, UserSecret,
    },
    raw::Value,
    read::{
        Fault, Format, Key, Located, Scope, Word, duration, integer, located, named, secret, table,
        text, words,
    },
    report::Finding,
};

const POOL_MODES: &[Word<PoolMode>] = &[
    Word::is(
        "transaction",
        PoolMode::Transaction,
        "A server connection goes back when a transaction ends.",
    ),
    Word::is("session", PoolMode::Session, "It goes back when the client leaves."),
    Word::is(
        "statement",
        PoolMode::Statement,
        "It goes back after each statement; transactions over several are refused.",
    ),
];

const PROTOCOLS: &[Word<ProtocolLevel>] = &[
    Word::is("3.0", ProtocolLevel::V3_0, "Of every server since 2003."),
    Word::is("3.2", ProtocolLevel::V3_2, "Of PostgreSQL 18."),
];

const POOL_MODE: &str = "When a server connection goes back to its pool.";
const POOL_SIZE: &str = "Server connections of one pool, which is a database and a user.";
const MAX_POOL_SIZE: i64 = 10_000;

pub(super) fn postgres(t: &mut Scope<'_>) -> Option<Postgres> {
    let access = access::ReadAccess::read(t);
    let auth = access.auth.clone();
    let pool_mode = t.or(Key::new("pool_mode", POOL_MODE), words(POOL_MODES), "transaction");
    let pool_size = t.or(Key::new("pool_size", POOL_SIZE), integer(1..=MAX_POOL_SIZE), 20);
    let max_client_connections = t.or(
        Key::new(
            "max_client_connections",
            "Client connections at once, over all databases. The console admits three more.",
        ),
        integer(1..=1_000_000),
        10_000,
    );
    let max_waiting_clients = t.or(
        Key::new(
            "max_waiting_clients",
            "Clients of one pool that wait for a server connection; more are refused.",
        ),
        integer(0..=1_000_000),
        10_000,
    );
    let limits = Limits::read(t);
    let reset_query: Arc<str> = t.or(
        Key::new(
            "reset_query",
            "Sent to a server connection between two clients of session mode; empty: nothing.",
        ),
        text("a query", None, |query: &str, _| match query.contains('\0') {
            false => Ok(Arc::from(query)),
            true => Err(Fault::new("a query has no NUL in it")),
        }),
        "DISCARD ALL",
    );
    let max_prepared_statements = t.or(
        Key::new(
            "max_prepared_statements",
            "Prepared statements that a server connection keeps in transaction and statement mode; clients find theirs again on whichever server they get. 0: prepared statements work in session mode only.",
        ),
        integer(0..=100_000),
        200,
    );
    let pool_limits = limits::limits(t);
    let session_state = session::session_state(t);
    let log = session::query_log(t);
    let console = session::console(t);
    let server_tls = t.optional(
        Key::new("server_tls", "TLS towards the servers of databases that have no `tls` of their own: `{ sslmode = \"verify-full\", ca = \"ca.pem\" }`. Absent: plaintext."),
        table(tls::server_tls),
    );
    // What was meant to be encrypted must not go in the clear.
    if t.has("server_tls") && server_tls.is_none() {
        return None;
    }
    let server_tls = server_tls.flatten();
    let databases = t.or(
        Key::new("databases", "The databases that clients can ask for, by the name they connect to; `\"*\"` takes every other name."),
        named(POSTGRES_NAME, check_postgres_name, database),
        Value::Table(crate::raw::Table::default()),
    );
    let users = t.or(
        Key::new("users", "The users that may connect."),
        named(POSTGRES_NAME, check_postgres_name, user),
        Value::Table(crate::raw::Table::default()),
    );
    // Who runs `auth_query` need not be anybody that could log in here.
    let mut databases = databases;
    let own_queries: BTreeMap<Arc<str>, OwnQuery> = databases
        .iter_mut()
        .map(|(name, database)| (Arc::clone(name), std::mem::take(&mut database.auth_query)))
        .collect();
    let asks = |name: &str| {
        access.is_auth_user(name) || own_queries.values().any(|own| own.is_run_by(name))
    };
    for user in users.values().filter(|user| !asks(&user.value.name)) {
        check_user(t, user, &auth);
    }
    let databases = databases.into_iter().map(|(name, database)| {
        (name, database.with_defaults(pool_size, pool_mode, &pool_limits, server_tls.as_ref()))
    });
    let mut databases = databases.collect();
    let mut users = users
        .into_iter()
        .map(|(name, user)| {
            let limits = limits::with_user_defaults(&user.value.limits, &pool_limits.user);
            (name, PostgresUser { limits, ..user.value })
        })
        .collect();
    let (auth, access) =
        access.complete(t, &mut databases, own_queries, &mut users, &pool_limits.user);
    Some(Postgres {
        auth,
        access,
        pool_mode,
        pool_size,
        max_client_connections,
        max_waiting_clients,
        wait_timeout: limits.wait,
        connect_timeout: limits.connect,
        login_timeout: limits.login,
        server_lifetime: limits.server_lifetime,
        server_idle_timeout: limits.server_idle,
        client_idle_timeout: limits.client_idle,
        idle_transaction_timeout: limits.idle_transaction,
        reset_query,
        max_prepared_statements,
        databases,
        users,
        limits: pool_limits,
        session_state,
        log,
        console,
    })
}

/// The times of `[postgres]`.
struct Limits {
    wait: Duration,
    connect: Duration,
    login: Duration,
    server_lifetime: Duration,
    server_idle: Duration,
    client_idle: Option<Duration>,
    idle_transaction: Option<Duration>,
}

impl Limits {
    fn read(t: &mut Scope<'_>) -> Self {
        Self {
            wait: t.or(
                Key::new("wait_timeout", "How long a client waits for a server connection; then its query is refused and it is disconnected."),
                duration(MILLISECOND..=HOUR),
                "120s",
            ),
            connect: t.or(
                Key::new("connect_timeout", "Limit for establishing one server connection, login included."),
                duration(MILLISECOND..=10 * MINUTE),
                "15s",
            ),
            login: t.or(
                Key::new("login_timeout", "Limit for a client's login."),
                duration(MILLISECOND..=10 * MINUTE),
                "60s",
            ),
            server_lifetime: t.or(
                Key::new("server_lifetime", "An idle server connection older than this is closed."),
                duration(SECOND..=30 * DAY),
                "1h",
            ),
            server_idle: t.or(
                Key::new("server_idle_timeout", "A server connection that was idle for this long is closed."),
                duration(SECOND..=30 * DAY),
                "10m",
            ),
            client_idle: t.optional(
                Key::new("client_idle_timeout", "A client that sends nothing outside a transaction for this long is disconnected. Absent: never."),
                duration(MILLISECOND..=30 * DAY),
            ),
            idle_transaction: t.optional(
                Key::new("idle_transaction_timeout", "A client that keeps a transaction open and sends nothing for this long is disconnected. Absent: never."),
                duration(MILLISECOND..=30 * DAY),
            ),
        }
    }
}

/// A database that may still take its pool's settings from `[postgres]`.
struct ReadDatabase {
    database: Database,
    pool_size: Option<usize>,
    pool_mode: Option<PoolMode>,
    limits: limits::OwnDatabaseLimits,
    auth_query: OwnQuery,
    /// `None`: it says nothing; `Some(None)`: none at all.
    tls: Option<Option<Arc<DatabaseTls>>>,
}

impl ReadDatabase {
    fn with_defaults(
        self,
        pool_size: usize,
        pool_mode: PoolMode,
        limits: &PoolLimits,
        tls: Option<&Arc<DatabaseTls>>,
    ) -> Database {
        // As in libpq, there is no TLS on a Unix socket.
        let local = matches!(self.database.address, ServerAddress::Unix(_));
        let tls = self.tls.unwrap_or_else(|| tls.cloned()).filter(|_| !local);
        Database {
            tls,
            pool_size: self.pool_size.unwrap_or(pool_size),
            pool_mode: self.pool_mode.unwrap_or(pool_mode),
            limits: self.limits.with_defaults(&limits.database),
            ..self.database
        }
    }
}

fn database(t: &mut Scope<'_>, name: Arc<str>) -> Option<ReadDatabase> {
    let host: Arc<str> = t.or(
        Key::new("host", "The server: a name, an IP address, or the folder of its unix socket (`/run/postgresql`)."),
        text("a host, or the folder of a unix socket", None, server_host),
        "127.0.0.1",
    );
    let port: u16 = t.or(
        Key::new("port", "The server's port; also part of its socket's name."),
        integer(1..=65_535),
        5_432,
    );
    let dbname = t.optional(
        Key::new(
            "dbname",
            "The database's name on the server. Absent: the name the client asked for.",
        ),
        postgres_name(),
    );
    let user = t.optional(
        Key::new("user", "Log in to the server as this user, whoever the client is. Absent: as the client's user."),
        postgres_name(),
    );
    let password = t.optional(
        Key::new(
            "password",
            "The forced user's password, in plain text. Absent: the server asks for none.",
        ),
        located(secret()),
    );
    let pool_size = t.optional(
        Key::new("pool_size", "Overrides `postgres.pool_size`."),
        integer(1..=MAX_POOL_SIZE),
    );
    let pool_mode =
        t.optional(Key::new("pool_mode", "Overrides `postgres.pool_mode`."), words(POOL_MODES));
    let limits = limits::database_limits(t);
    let auth_query = OwnQuery::read(t);
    let tls = t.optional(
        Key::new("tls", "TLS towards this database's server, in place of `postgres.server_tls`; `{ sslmode = \"disable\" }` for none."),
        table(tls::server_tls),
    );
    let max_protocol = t.or(
        Key::new("max_protocol_version", "The newest protocol that the server is asked to speak. 3.2 has longer cancel keys (PostgreSQL 18); servers before 3.2 say so and go on with 3.0."),
        words(PROTOCOLS),
        "3.0",
    );
    if t.has("tls") && tls.is_none() {
        return None;
    }

    if let Some(password) = &password {
        if let UserSecret::Scram(_) | UserSecret::Md5(_) = classify(password.value.clone()) {
            let finding =
                Finding::error("a hashed password cannot be used to log in to the server");
            t.reader().push(
                finding
                    .at(password.spot, &password.path)
                    .hint("give it in plain text, best as \"env:NAME\" or \"file:PATH\""),
            );
        }
        if !t.has("user") {
            let spot = t.key_spot("password").unwrap_or(t.spot());
            let finding = Finding::error("`password` has no meaning without `user`")
                .at(spot, &t.path_of("password"));
            t.reader().missing(
                finding.hint("add the `user` it belongs to, or put it into [postgres.users]"),
            );
        }
    }
    let address = ServerAddress::of(host, port);
    let database = Database {
        name,
        address,
        dbname,
        user,
        password: password.map(|password| password.value),
        pool_size: 0,
        pool_mode: PoolMode::default(),
        limits: DatabaseLimits::default(),
        auth_query: None,
        tls: None,
        max_protocol,
    };
    Some(ReadDatabase { database, pool_size, pool_mode, limits, auth_query, tls })
}

pub(super) fn server_host(host: &str, _: &Path) -> Result<Arc<str>, Fault> {
    if host.starts_with('/') || host.parse::<std::net::IpAddr>().is_ok() {
        return Ok(host.into());
    }
    if let Some((name, port)) = host.rsplit_once(':')
        && port.parse::<u16>().is_ok()
    {
        return Err(Fault::new(format!("the host `{host}` has a port"))
            .hint(format!("write host = \"{name}\" and port = {port}")));
    }
    if let Some(path) = host.strip_prefix("unix:") {
        return Err(Fault::new(format!("`{host}` is not a host"))
            .hint(format!("write the socket's folder: host = \"{path}\"")));
    }
    address::host_name(host)?;
    Ok(host.to_ascii_lowercase().into())
}

pub(super) fn postgres_name() -> impl Format<Output = Arc<str>> {
    text(POSTGRES_NAME.what, POSTGRES_NAME.pattern, |name: &str, _| {
        check_postgres_name(name).map(|()| Arc::from(name))
    })
}

fn user(t: &mut Scope<'_>, name: Arc<str>) -> Option<Located<PostgresUser>> {
    let password = t.optional(
        Key::new("password", "What the user proves itself with: plain text, `md5…` or `SCRAM-SHA-256$…`. Plain text is also used towards the server when the database forces no user. Only `auth = \"trust\"` can do without."),
        located(secret()),
    );
    let limits = limits::user_limits(t);
    if t.has("password") && password.is_none() {
        return None;
    }
    let secret = password.map(|password| {
        let secret = classify(password.value);
        if let UserSecret::Plain(plain) = &secret
            && plain.reveal().starts_with("SCRAM-SHA-256$")
        {
            let finding =
                Finding::error("the password looks like a SCRAM verifier, yet is not one");
            t.reader().push(finding.at(password.spot, &password.path).hint(
                "copy it whole from pg_authid: SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey",
            ));
        }
        secret
    });
    Some(t.locate(PostgresUser { name, secret, limits }))
}

fn check_user(t: &Scope<'_>, user: &Located<PostgresUser>, auth: &PostgresAuth) {
    let name = &user.value.name;
    let finding = match (&user.value.secret, auth) {
        (None, PostgresAuth::ScramSha256 | PostgresAuth::Md5) => {
            let finding = Finding::error(format!("the user `{name}` has no password"));
            t.reader().missing(
                finding.at(user.spot, &user.path).hint("add `password`, or use auth = \"trust\""),
            );
            return;
        }
        (Some(UserSecret::Md5(_)), PostgresAuth::ScramSha256) => Finding::error(format!(
            "the password of `{name}` is an md5 hash, which scram-sha-256 cannot use"
        ))
        .hint("give a SCRAM verifier or plain text, or use auth = \"md5\""),
        _ => return,
    };
    t.reader().push(finding.at(user.spot, &user.path));
}

/// Tells the forms of a password apart, as `pg_authid.rolpassword` has them.
fn classify(secret: crate::Secret) -> UserSecret {
    let text = secret.reveal();
    let is_md5 = text.strip_prefix("md5").is_some_and(|hash| {
        hash.len() == 32 && hash.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    });
    if is_md5 {
        UserSecret::Md5(secret)
    } else if is_scram(text) {
        UserSecret::Scram(secret)
    } else {
        UserSecret::Plain(secret)
    }
}

/// `SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey`, all but the first in base64.
fn is_scram(text: &str) -> bool {
    let base64 = |part: &str| {
        let body = part.trim_end_matches('=');
        !body.is_empty()
            && part.len().is_multiple_of(4)
            && part.len() - body.len() <= 2
            && body.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/')
    };
    // A SHA-256 key is 32 bytes: 44 characters.
    let key = |part: &str| part.len() == 44 && base64(part);
    let parts = text.strip_prefix("SCRAM-SHA-256$").and_then(|rest| rest.split_once('$'));
    parts.is_some_and(|(first, keys)| {
        first.split_once(':').is_some_and(|(iterations, salt)| {
            iterations.parse::<u32>().is_ok_and(|n| n > 0) && base64(salt)
        }) && keys.split_once(':').is_some_and(|(stored, server)| key(stored) && key(server))
    })
}
