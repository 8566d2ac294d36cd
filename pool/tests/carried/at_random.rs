//! Clients that share servers, each beside a connection of its own to PostgreSQL: whatever they do
//! to their sessions, and whoever does what meanwhile, both answer alike.

use std::ops::Range;

use proptest::prelude::*;

use super::*;
use crate::postgres::Pair;

/// Clients, and servers for when all are in transactions.
const CLIENTS: usize = 3;

/// Parameters that are set, and values of them.
const PARAMETERS: &[(&str, &[&str])] = &[
    ("work_mem", &["5MB", "6MB", "64"]),
    ("search_path", &["pg_catalog", "public, pg_catalog", "'$user'"]),
    ("statement_timeout", &["'1h'", "7200000"]),
    ("app.feed", &["'one'", "'o''ther'", "'ä'", "''"]),
    ("session.user_id", &["7", "'eight'"]),
    ("default_transaction_isolation", &["serializable", "'repeatable read'"]),
    ("default_transaction_read_only", &["on", "off"]),
    ("role", &["mortal", "alice", "none"]),
    ("log_duration", &["on", "off"]),
    ("datestyle", &["'SQL, DMY'", "'ISO, YMD'"]),
    ("timezone", &["'Asia/Tokyo'", "utc"]),
    ("client_encoding", &["latin1", "'UTF8'"]),
    ("application_name", &["teller", "'o''hara'"]),
    ("intervalstyle", &["iso_8601"]),
];
/// How texts are sent.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// In one query.
    Joined,
    /// A query each, sent at once.
    Pipelined,
    /// A batch each.
    Batches,
    /// In one batch.
    Batch,
}

#[derive(Debug, Clone)]
struct Step {
    client: usize,
    way: Way,
    texts: Vec<String>,
}

fn assignment() -> impl Strategy<Value = (&'static str, &'static str)> {
    let parameter = prop::sample::select(PARAMETERS);
    parameter.prop_flat_map(|(name, values)| (Just(name), prop::sample::select(values)))
}

fn text() -> impl Strategy<Value = String> {
    let scope = prop::sample::select(&["", "SESSION ", "LOCAL "][..]);
    let set = (scope, assignment()).prop_map(|(scope, (name, value))| {
        let value =
            if name == "search_path" && value.starts_with('\'') { "\"$user\"" } else { value };
        format!("SET {scope}{name} = {value}")
    });
    let call = (assignment(), any::<bool>()).prop_map(|((name, value), local)| {
        let value = if value.starts_with('\'') { value.to_owned() } else { format!("'{value}'") };
        format!("SELECT set_config('{name}', {value}, {local})")
    });
    let reset = (assignment(), any::<bool>()).prop_map(|((name, _), word)| match word {
        true => format!("RESET {name}"),
        false => format!("SET {name} TO DEFAULT"),
    });
    let transaction = prop::sample::select(
        &[
            "BEGIN",
            "BEGIN",
            "COMMIT",
            "COMMIT",
            "ROLLBACK",
            "SAVEPOINT a",
            "ROLLBACK TO a",
            "RELEASE a",
        ][..],
    );
    let other = prop::sample::select(
        &[
            "SELECT 1/0",
            "SET nosuch = 1",
            "SET work_mem = 'lots'",
            "SET timezone = 'Nowhere'",
            "RESET ALL",
            "DISCARD ALL",
            "SET SESSION AUTHORIZATION mortal",
            "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
            "SET TRANSACTION READ ONLY",
            "SET TIME ZONE INTERVAL '+02:00' HOUR TO MINUTE",
            "SET NAMES 'LATIN1'",
            "",
        ][..],
    );
    prop_oneof![
        8 => set,
        3 => call,
        3 => reset,
        6 => transaction.prop_map(str::to_owned),
        3 => other.prop_map(str::to_owned),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    use Way as W;
    let way = prop::sample::select(&[W::Joined, W::Pipelined, W::Batches, W::Batch][..]);
    let texts = prop::collection::vec(text(), 1..4);
    (0..CLIENTS, way, texts).prop_map(|(client, way, texts)| Step { client, way, texts })
}

fn steps(count: Range<usize>) -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), count)
}

fn take(pair: &mut Pair, step: &Step) -> Result<(), TestCaseError> {
    let mut out = Vec::new();
    let mut replies = 1;
    match step.way {
        Way::Joined => frontend::query(&mut out, &step.texts.join("; ")),
        Way::Pipelined => {
            step.texts.iter().for_each(|text| frontend::query(&mut out, text));
            replies = step.texts.len();
        }
        Way::Batches | Way::Batch => {
            for (n, text) in step.texts.iter().enumerate() {
                frontend::parse(&mut out, b"", text.as_bytes(), &[]);
                frontend::bind(&mut out, b"", b"");
                frontend::execute(&mut out, b"");
                if matches!(step.way, Way::Batches) || n + 1 == step.texts.len() {
                    frontend::sync(&mut out);
                }
            }
            if matches!(step.way, Way::Batches) {
                replies = step.texts.len();
            }
        }
    }
    pair.same(&out, replies)
}

/// Everything is as it is at the server.
fn compare(pair: &mut Pair) -> Result<(), TestCaseError> {
    // What was set once and is no more is empty in the session that set it, and not there in
    // others.
    let value =
        |(name, _): &(&str, _)| format!("coalesce(pg_catalog.current_setting('{name}', true), '')");
    let values: Vec<String> = PARAMETERS.iter().map(value).collect();
    let mut out = Vec::new();
    frontend::query(&mut out, &format!("SELECT {}", values.join(", ")));
    pair.same(&out, 1)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 32,
        max_shrink_iters: 200,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn sessions_are_those_of_a_server(steps in steps(1..25)) {
        let pooler = pooler(CLIENTS);
        let mut pairs: [Pair; CLIENTS] = std::array::from_fn(|_| Pair::new(&pooler));
        for step in &steps {
            take(&mut pairs[step.client], step)?;
            for pair in &mut pairs {
                compare(pair)?;
            }
        }
    }
}
