//! Clients that prepare statements on servers they share, each beside a connection of its own to
//! PostgreSQL.

use bs9_wire::{encode::frontend, message::frontend::Target};
use proptest::prelude::*;

use crate::postgres::{Pair, Pooler};

/// Clients, and servers for when all are in transactions.
const CLIENTS: usize = 3;
const NAMES: [&str; 4] = ["", "a", "b", "c"];
const PREPARED: [&str; 14] = [
    "SELECT 1",
    "SELECT 1",
    "SELECT 'two'",
    "SELECT current_setting('application_name')",
    "SELECT 1/0",
    "SELEC",
    "",
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "SET application_name = 'set'",
    "DEALLOCATE a",
    "DEALLOCATE ALL",
    "DISCARD ALL",
];
const QUERIES: [&str; 11] = [
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "SELECT 1/0",
    "SELECT 1; SELECT 'two'",
    "SET application_name = 'other'",
    "DEALLOCATE a",
    "DEALLOCATE PREPARE b",
    "DEALLOCATE ALL",
    "DISCARD ALL",
    "",
];

#[derive(Debug, Clone)]
enum Message {
    Parse(&'static str, &'static str),
    /// Bind and Execute.
    Run(&'static str),
    /// Bind, and Describe of the portal.
    Describe(&'static str),
    Close(&'static str),
    Query(&'static str),
    Sync,
}

fn message() -> impl Strategy<Value = Message> {
    let name = || prop::sample::select(&NAMES[..]);
    prop_oneof![
        6 => (name(), prop::sample::select(&PREPARED[..])).prop_map(|(n, t)| Message::Parse(n, t)),
        6 => name().prop_map(Message::Run),
        2 => name().prop_map(Message::Describe),
        2 => name().prop_map(Message::Close),
        4 => prop::sample::select(&QUERIES[..]).prop_map(Message::Query),
        6 => Just(Message::Sync),
    ]
}

/// Sends them, and a Sync behind. The ReadyForQuery there will be.
fn write(out: &mut Vec<u8>, messages: &[Message]) -> usize {
    let mut ready = 1;
    let mut open = false;
    for message in messages {
        match message {
            Message::Parse(name, text) => {
                frontend::parse(out, name.as_bytes(), text.as_bytes(), &[])
            }
            Message::Run(name) => {
                frontend::bind(out, b"", name.as_bytes());
                frontend::execute(out, b"");
            }
            Message::Describe(name) => {
                frontend::bind(out, b"", name.as_bytes());
                frontend::describe(out, Target::Portal(b""));
            }
            Message::Close(name) => frontend::close(out, Target::Statement(name.as_bytes())),
            Message::Query(text) => {
                // In a batch that has failed it would be skipped.
                if std::mem::take(&mut open) {
                    frontend::sync(out);
                    ready += 1;
                }
                frontend::query(out, text);
                ready += 1;
                continue;
            }
            Message::Sync => {
                frontend::sync(out);
                ready += 1;
                open = false;
                continue;
            }
        }
        open = true;
    }
    frontend::sync(out);
    ready
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 48,
        max_shrink_iters: 400,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn statements_are_those_of_a_server(
        steps in prop::collection::vec((0..CLIENTS, prop::collection::vec(message(), 1..8)), 1..30),
        limit in 1..4usize,
    ) {
        let pooler = Pooler::start(|config| {
            let postgres = config.postgres.as_mut().unwrap();
            postgres.max_prepared_statements = limit;
            postgres.databases.get_mut("app").unwrap().pool_size = CLIENTS;
        });
        let pair = |_| Pair::new(&pooler).with_any_error();
        let mut pairs: [Pair; CLIENTS] = std::array::from_fn(pair);
        for (client, messages) in &steps {
            let mut out = Vec::new();
            let ready = write(&mut out, messages);
            pairs[*client].same(&out, ready)?;
        }
    }
}
