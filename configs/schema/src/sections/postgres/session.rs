//! State that a session keeps, the log of queries, and the console.

use std::sync::Arc;

use crate::{
    model::{Console, QueryLog, SessionState, Stateful},
    read::{Key, Scope, Word, boolean, duration, float, list, size, words},
    sections::{HOUR, MILLISECOND},
};

const STATEFUL: &[Word<Stateful>] = &[
    Word::is(
        "pin",
        Stateful::Pin,
        "The client keeps the server connection until it leaves; the connection is reset then.",
    ),
    Word::is("refuse", Stateful::Refuse, "The statement fails."),
    Word::is("ignore", Stateful::Ignore, "The statement is passed on like any other."),
];

const LISTEN: &[Word<Stateful>] = &[
    Word::is(
        "shared",
        Stateful::Shared,
        "The client goes on without a server connection of its own: one more connection for each database, beyond `pool_size` but within `max_connections`, listens for the clients of all its users. `LISTEN` and `UNLISTEN` take effect when their transaction commits. A client is pinned when `max_connections` leaves no room for that connection, or when it has another `client_encoding` than the server's.",
    ),
    STATEFUL[0],
    STATEFUL[1],
    STATEFUL[2],
];

pub(super) fn session_state(t: &mut Scope<'_>) -> SessionState {
    SessionState {
        track_settings: t.or(
            Key::new("track_settings", "In transaction and statement mode, parameters that a client sets with `SET`, `RESET` or `set_config` follow it from server to server. Those that servers report do so in any case. This and the five below need `max_prepared_statements` above 0."),
            boolean(),
            true,
        ),
        advisory_locks: t.or(
            Key::new("advisory_locks", "In transaction and statement mode, `SELECT pg_advisory_lock(…)` and its kin."),
            words(STATEFUL),
            "pin",
        ),
        temporary_tables: t.or(
            Key::new("temporary_tables", "In transaction and statement mode, `CREATE TEMPORARY …` without `ON COMMIT DROP`, and `SELECT … INTO TEMPORARY`."),
            words(STATEFUL),
            "pin",
        ),
        hold_cursors: t.or(
            Key::new("hold_cursors", "In transaction and statement mode, `DECLARE … WITH HOLD`."),
            words(STATEFUL),
            "pin",
        ),
        sql_prepared_statements: t.or(
            Key::new("sql_prepared_statements", "In transaction and statement mode, `PREPARE … AS …` sent as SQL, and with it `EXECUTE` and `DEALLOCATE` of that name. Prepared statements of the protocol, which drivers use, need none of this."),
            words(STATEFUL),
            "pin",
        ),
        listen: t.or(
            Key::new("listen", "In transaction and statement mode, `LISTEN`."),
            words(LISTEN),
            "shared",
        ),
    }
}

pub(super) fn query_log(t: &mut Scope<'_>) -> QueryLog {
    QueryLog {
        slow_query: t.optional(
            Key::new(
                "slow_query_time",
                "Queries that take at least this long are logged. Absent: none.",
            ),
            duration(MILLISECOND..=HOUR),
        ),
        sample: t.or(
            Key::new("slow_query_sample", "Which share of the slow queries is logged."),
            float(0.0..=1.0),
            1.0,
        ),
        literals: t.or(
            Key::new(
                "slow_query_literals",
                "Log the literals in a slow query, too; else each is a `?`.",
            ),
            boolean(),
            false,
        ),
        max_bytes: usize::try_from(t.or(
            Key::new("slow_query_length", "Longest text of a slow query that is logged."),
            size(16..=65_536),
            "1KiB",
        ))
        .unwrap_or(usize::MAX),
    }
}

pub(super) fn console(t: &mut Scope<'_>) -> Console {
    let names = |names: Option<Vec<Arc<str>>>| names.unwrap_or_default();
    Console {
        admin_users: names(t.optional(
            Key::new("admin_users", "Users who may connect to the console (the databases `pgbouncer` and `bs9`) and give orders there."),
            list(super::postgres_name()),
        )),
        stats_users: names(t.optional(
            Key::new("stats_users", "Users who may connect to the console and look."),
            list(super::postgres_name()),
        )),
    }
}
