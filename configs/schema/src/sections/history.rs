//! `[history]` of `manager.toml`.

use std::{path::Path, sync::Arc};

use super::{DAY, MILLISECOND, MINUTE, SECOND, postgres, tls::PEM};
use crate::{
    address, certificate,
    model::{
        History, HistoryStore, PostgresStore, Retention, ServerAddress, StoreTls, Trust, Verify,
    },
    read::{Fault, Key, Scope, Word, boolean, duration, integer, secret, size, table, text, words},
    report::Finding,
};

/// Samples of one series that are kept at most.
const MAX_SAMPLES: u128 = 100_000;
/// Bytes of a schema's name: PostgreSQL keeps 63.
const MAX_SCHEMA_BYTES: usize = 63;

pub(super) fn history(t: &mut Scope<'_>) -> Option<History> {
    let keep = t.or(
        Key::new(
            "keep",
            "How far back the data plane's points in memory go; at most 100,000 of them.",
        ),
        duration(SECOND..=7 * DAY),
        "15m",
    );
    let resolution = t.or(
        Key::new("resolution", "Between two points in memory."),
        duration(100 * MILLISECOND..=DAY),
        "1s",
    );
    let persist = t.or(Key::new("persist", "Keep series, in `[history.store]`."), boolean(), true);
    let store = t.section(
        Key::new("store", "Series that last: in an SQLite database of its own, or in PostgreSQL."),
        table(store),
    );
    let store = store.filter(|_| persist);
    let (name, message) = if resolution > keep {
        ("resolution", "`resolution` is longer than `keep`")
    } else if keep.as_nanos() / resolution.as_nanos() > MAX_SAMPLES {
        ("keep", "`keep` at this `resolution` is more than 100,000 samples")
    } else {
        return Some(History { keep, resolution, store });
    };
    let spot = t.key_spot(name).unwrap_or(t.spot());
    t.reader().push(
        Finding::error(message)
            .at(spot, &t.path_of(name))
            .hint("keep less, or at a coarser resolution"),
    );
    None
}

fn store(t: &mut Scope<'_>) -> Option<HistoryStore> {
    let size_limit_bytes = t.or(
        Key::new(
            "size_limit",
            "Size of the SQLite database at most; the oldest points are given up first.",
        ),
        size(16 << 20..=1 << 40),
        "2GiB",
    );
    let max_series = t.or(
        Key::new("max_series", "Series kept at once; further ones are counted, not kept."),
        integer(1..=100_000),
        5_000,
    );
    let mut keep = |name, doc, default: &str| {
        t.or(Key::new(name, doc), duration(MINUTE..=3_650 * DAY), default)
    };
    let keep = Retention {
        second: keep("second", "How long points of one second are kept.", "2h"),
        ten_seconds: keep("ten_seconds", "How long points of ten seconds are kept.", "2d"),
        minute: keep("minute", "How long points of a minute are kept.", "30d"),
        hour: keep("hour", "How long points of an hour are kept.", "730d"),
    };
    let given = t.has("postgres");
    let postgres = t.optional(
        Key::new("postgres", "A PostgreSQL database in place of the SQLite one: one store for many machines. Absent: SQLite."),
        table(postgres_store),
    );
    if given && postgres.is_none() {
        return None;
    }
    Some(HistoryStore { size_limit_bytes, max_series, keep, postgres })
}

fn postgres_store(t: &mut Scope<'_>) -> Option<PostgresStore> {
    let host: Arc<str> = t.or(
        Key::new("host", "The server, or a pool in front of it (in any mode): a name, an IP address, or the folder of its unix socket. Over a network, give it `tls`."),
        text("a host, or the folder of a unix socket", None, postgres::server_host),
        "127.0.0.1",
    );
    let port: u16 = t.or(
        Key::new("port", "Its port; also part of its socket's name."),
        integer(1..=65_535),
        5_432,
    );
    let dbname = t.or(
        Key::new("dbname", "The database. It has to be there; schema and tables are made."),
        postgres::postgres_name(),
        "bs9",
    );
    let user = t.or(
        Key::new("user", "Log in as this user, who may make a schema in the database, or owns it."),
        postgres::postgres_name(),
        "bs9",
    );
    let password = t.optional(
        Key::new("password", "The user's password. Absent: the server asks for none."),
        secret(),
    );
    if t.has("password") && password.is_none() {
        return None;
    }
    let tls = t.optional(
        Key::new("tls", "Encrypts the way to the server; `{}` takes every default. Absent: it is not encrypted, which is for Unix sockets, loopback and private networks."),
        table(store_tls),
    );
    // What was meant to be sealed must never be sent in the open.
    if t.has("tls") && tls.is_none() {
        return None;
    }
    let address = ServerAddress::of(host, port);
    if let (ServerAddress::Unix(_), Some(spot)) = (&address, t.key_spot("tls")) {
        t.reader().push(
            Finding::error("over a Unix socket there is no TLS")
                .at(spot, &t.path_of("tls"))
                .hint("take `tls` away, or name a `host`"),
        );
    }
    let schema = t.or(
        Key::new("schema", "The schema of the tables."),
        text("a lower-case SQL identifier", Some("^[a-z_][a-z0-9_]{0,62}$"), identifier),
        "bs9",
    );
    let host_name = t.optional(
        Key::new("host_name", "What this machine is called in the store; two managers of one name would add up in each other's points. Absent: its host name."),
        text("a name", None, |name: &str, _: &Path| match name.len() {
            1..=253 => Ok(Arc::from(name)),
            _ => Err(Fault::new("the name has 1 to 253 bytes")),
        }),
    );
    Some(PostgresStore {
        address,
        dbname,
        user,
        password,
        tls,
        schema,
        host_name,
        connections: t.or(
            Key::new("connections", "Connections at most: one writes, the others answer."),
            integer(2..=100),
            2,
        ),
        spool_bytes: t.or(
            Key::new("spool", "Memory for what waits to be written while the database is away; the oldest is given up first, and counted."),
            size(1 << 20..=4 << 30),
            "32MiB",
        ),
        timeout: t.or(
            Key::new("timeout", "Limit of one transaction."),
            duration(SECOND..=10 * MINUTE),
            "10s",
        ),
    })
}

/// The words of `[postgres.server_tls]`, without those that give way to a server that has no TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Strictness {
    Require,
    VerifyCa,
    VerifyFull,
}

const STRICTNESS: &[Word<Strictness>] = &[
    Word::is("require", Strictness::Require, "Anybody's certificate will do."),
    Word::is(
        "verify-ca",
        Strictness::VerifyCa,
        "One of `ca` issued the certificate, for whomever.",
    ),
    Word::is(
        "verify-full",
        Strictness::VerifyFull,
        "The certificate holds the server's name and was issued by one of `ca`, or by whom this host trusts.",
    ),
];

fn store_tls(t: &mut Scope<'_>) -> Option<StoreTls> {
    let sslmode = t.or(
        Key::new("sslmode", "How much is asked of the server's certificate, as libpq has it."),
        words(STRICTNESS),
        "verify-full",
    );
    let roots = t.optional(
        Key::new("ca", "Certificates of the authorities that issue that of the server, in PEM. Absent with `verify-full`: those this host trusts."),
        text(PEM, None, certificate::authorities),
    );
    if t.has("ca") && roots.is_none() {
        return None;
    }
    let server_name = t.optional(
        Key::new("server_name", "The name asked for (SNI) and verified. Absent: `host`."),
        text("a host name", None, |name: &str, _: &Path| {
            address::host_name(name).map(|()| Arc::from(name.to_ascii_lowercase()))
        }),
    );
    if t.has("server_name") && server_name.is_none() {
        return None;
    }
    let crls = Arc::default();
    let verify = match (sslmode, roots) {
        (Strictness::VerifyFull, None) => Verify::System { crls },
        (Strictness::VerifyFull, Some(roots)) => Verify::Authorities(Trust { roots, crls }),
        (Strictness::VerifyCa, Some(roots)) => Verify::AnyName(Trust { roots, crls }),
        (Strictness::Require, None) => Verify::Nothing,
        (strictness, _) => {
            let (key, message, hint) = match strictness {
                Strictness::VerifyCa => (
                    "sslmode",
                    "sslmode = \"verify-ca\" needs `ca`",
                    "anybody can have a certificate of a public authority for some name",
                ),
                _ => (
                    "ca",
                    "`ca` has no meaning with sslmode = \"require\"",
                    "use sslmode = \"verify-full\", or \"verify-ca\"",
                ),
            };
            let spot = t.key_spot(key).unwrap_or(t.spot());
            t.reader().push(Finding::error(message).at(spot, &t.path_of(key)).hint(hint));
            return None;
        }
    };
    Some(StoreTls { verify, server_name })
}

/// What needs no quotes.
fn identifier(name: &str, _: &Path) -> Result<Arc<str>, Fault> {
    let fine = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    let good = (1..=MAX_SCHEMA_BYTES).contains(&name.len())
        && name.bytes().all(fine)
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.starts_with("pg_");
    match good {
        true => Ok(name.into()),
        false => Err(Fault::new(format!("`{name}` is not a good name for a schema"))
            .hint("use lower-case letters, digits and `_`, not beginning with a digit or `pg_`")),
    }
}
