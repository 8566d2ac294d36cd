//! The same messages to a server directly and through the pool: the same replies.

use std::net::SocketAddr;

use bs9_config::PoolMode;

use super::forgetting;
use crate::postgres::{Batch, Cluster, Dialogue, Pooler, batch};

/// What is sent, and how many ReadyForQuery are awaited before the next is.
pub(super) type Script = Vec<(Batch, usize)>;

pub(super) fn one(batch: Batch) -> (Batch, usize) {
    (batch, 1)
}

/// Scripts without transactions over several batches.
fn scripts() -> Vec<(&'static str, Script)> {
    let mut scripts = forgetting::scripts();
    scripts.extend(lasting_scripts());
    scripts
}

fn lasting_scripts() -> Vec<(&'static str, Script)> {
    vec![
        (
            "a name is prepared, described, used and closed",
            vec![
                one(batch().parse("a", "SELECT $1::int + 1").describe("a").sync()),
                one(batch().run("a", &["41"]).sync()),
                one(batch().run("a", &["1"]).run("a", &["2"]).sync()),
                one(batch().close("a").sync()),
                one(batch().run("a", &["1"]).sync()),
                one(batch().describe("a").sync()),
                one(batch().parse("a", "SELECT 'another'").run("a", &[]).sync()),
            ],
        ),
        (
            "everything in one batch",
            vec![
                one(batch()
                    .parse("a", "SELECT 1")
                    .parse("b", "SELECT 2")
                    .describe("b")
                    .run("b", &[])
                    .run("a", &[])
                    .close("a")
                    .parse("a", "SELECT 3")
                    .run("a", &[])
                    .sync()),
                one(batch().run("a", &[]).run("b", &[]).sync()),
            ],
        ),
        (
            "names are in use until they are closed",
            vec![
                one(batch().parse("a", "SELECT 1").sync()),
                one(batch().parse("a", "SELECT 2").sync()),
                one(batch().parse("a", "SELECT 1").sync()),
                one(batch().parse("a", "SELEKT").sync()),
                one(batch().run("a", &[]).sync()),
                one(batch().close("a").parse("a", "SELECT 2").run("a", &[]).sync()),
            ],
        ),
        (
            "what fails to parse is not remembered",
            vec![
                one(batch().parse("a", "SELEKT").run("a", &[]).sync()),
                one(batch().run("a", &[]).sync()),
                one(batch().parse("a", "SELECT 1").run("a", &[]).sync()),
                one(batch().parse("b", "SELECT * FROM no_such_table").describe("b").sync()),
                one(batch().parse("b", "SELECT 2").run("b", &[]).run("a", &[]).sync()),
            ],
        ),
        (
            "an error skips to the end of the batch, also what the pool would have answered",
            vec![
                one(batch().parse("a", "SELECT 1").parse("z", "SELECT 1 / $1::int").sync()),
                one(batch()
                    .run("z", &["0"])
                    .close("a")
                    .parse("b", "SELECT 1")
                    .parse("a", "SELECT 3")
                    .sync()),
                one(batch().run("a", &[]).sync()),
                one(batch().run("b", &[]).sync()),
                one(batch().parse("b", "SELECT 1").run("b", &[]).run("z", &["0"]).sync()),
                one(batch().run("b", &[]).sync()),
            ],
        ),
        (
            "batches are sent without waiting",
            vec![
                (
                    batch()
                        .parse("a", "SELECT 1")
                        .sync()
                        .run("a", &[])
                        .sync()
                        .parse("b", "SELEKT")
                        .sync()
                        .parse("b", "SELECT 2")
                        .sync()
                        .run("b", &[])
                        .close("a")
                        .sync()
                        .run("a", &[])
                        .sync()
                        .parse("a", "SELECT 4")
                        .run("a", &[])
                        .sync()
                        .query("SELECT 'simple'")
                        .run("a", &[])
                        .sync(),
                    9,
                ),
                (batch().run("a", &[]).run("b", &[]).sync(), 1),
            ],
        ),
        (
            "the unnamed statement",
            vec![
                one(batch().run("", &[]).sync()),
                one(batch().parse("", "SELECT $1::text").describe("").sync()),
                one(batch().run("", &["x"]).sync()),
                one(batch().run("", &["y"]).describe("").sync()),
                one(batch().parse("", "SELEKT").sync()),
                one(batch().run("", &["y"]).sync()),
                one(batch().parse("", "SELECT 1").sync()),
                one(batch().query("SELECT 'drops it'")),
                one(batch().run("", &[]).sync()),
                one(batch().parse("", "SELECT 2").close("").sync()),
                one(batch().run("", &[]).sync()),
                one(batch().parse("", "SELECT 3").sync()),
                one(batch().run("nobody", &[]).parse("", "SELECT 4").sync()),
                one(batch().run("", &[]).sync()),
            ],
        ),
        (
            "names that nobody has",
            vec![
                one(batch().close("never").close("").sync()),
                one(batch().describe("never").sync()),
                one(batch().run("never", &[]).sync()),
                one(batch().parse("bs9_1", "SELECT 'mine'").run("bs9_1", &[]).sync()),
            ],
        ),
        (
            "COPY in between",
            vec![
                one(batch().query("CREATE TEMP TABLE IF NOT EXISTS copied (n int)")),
                one(batch()
                    .parse("c", "COPY copied FROM STDIN")
                    .parse("n", "SELECT count(*) FROM copied")
                    .sync()),
                one(batch().run("c", &[]).copy_data("1\n2\n").copy_done().sync()),
                one(batch().run("n", &[]).sync()),
                one(batch().run("c", &[]).copy_fail("no").sync()),
                one(batch().run("n", &[]).sync()),
                one(batch().query("DROP TABLE copied")),
            ],
        ),
    ]
}

/// Scripts with transactions.
fn transactions() -> Vec<(&'static str, Script)> {
    vec![
        (
            "statements live longer than the transaction that made them",
            vec![
                one(batch().query("BEGIN")),
                one(batch().parse("a", "SELECT 1").run("a", &[]).sync()),
                one(batch().query("ROLLBACK")),
                one(batch().run("a", &[]).sync()),
            ],
        ),
        (
            "a failed transaction refuses what is prepared, too",
            vec![
                one(batch().parse("a", "SELECT 1").parse("r", "ROLLBACK").sync()),
                one(batch().query("BEGIN")),
                one(batch().query("SELEKT")),
                one(batch().run("a", &[]).sync()),
                one(batch().parse("b", "SELECT 1").sync()),
                one(batch().query("DEALLOCATE a")),
                one(batch().close("a").sync()),
                one(batch().run("r", &[]).sync()),
                one(batch().run("a", &[]).sync()),
                one(batch().run("b", &[]).sync()),
                one(batch().parse("b", "SELECT 2").run("b", &[]).sync()),
            ],
        ),
        (
            "a name is let go of where the transaction has failed or is over by then",
            vec![
                one(batch().parse("a", "SELECT 1").sync()),
                (batch().query("BEGIN").query("SELEKT").query("DEALLOCATE a"), 3),
                one(batch().query("ROLLBACK")),
                one(batch().run("a", &[]).sync()),
                (batch().query("BEGIN").query("SELEKT"), 2),
                (batch().query("ROLLBACK").query("DEALLOCATE a"), 2),
                one(batch().run("a", &[]).sync()),
            ],
        ),
        (
            "a transaction fails on the way, before what is prepared",
            vec![
                one(batch().parse("a", "SELECT 1").parse("r", "ROLLBACK").sync()),
                (
                    batch()
                        .query("BEGIN")
                        .query("SELEKT")
                        .parse("b", "SELECT 1")
                        .run("b", &[])
                        .sync()
                        .parse("c", "SELECT 1")
                        .sync()
                        .parse("s", "ROLLBACK")
                        .run("s", &[])
                        .sync()
                        .run("b", &[])
                        .sync(),
                    6,
                ),
                (
                    batch()
                        .query("BEGIN")
                        .run("a", &[])
                        .parse("d", "SELECT 1")
                        .query("SELEKT")
                        .parse("e", "SELECT 1")
                        .sync()
                        .query("COMMIT"),
                    4,
                ),
                one(batch().run("d", &[]).sync()),
                one(batch().run("e", &[]).sync()),
            ],
        ),
        (
            "portals",
            vec![
                one(batch().parse("g", "SELECT generate_series(1, 5)").sync()),
                one(batch().query("BEGIN")),
                one(batch().bind_to("p", "g", &[]).execute_some("p", 2).sync()),
                one(batch().close("g").execute_some("p", 2).sync()),
                one(batch().execute_some("p", 2).sync()),
                one(batch().query("COMMIT")),
                one(batch().execute_some("p", 2).sync()),
                one(batch().run("g", &[]).sync()),
            ],
        ),
        (
            "a result that changes",
            vec![
                one(batch().query("CREATE TEMP TABLE changing (n int)")),
                one(batch()
                    .parse("a", "SELECT * FROM changing")
                    .describe("a")
                    .run("a", &[])
                    .sync()),
                one(batch().query("ALTER TABLE changing ADD COLUMN t text")),
                one(batch().run("a", &[]).sync()),
                one(batch()
                    .close("a")
                    .parse("a", "SELECT * FROM changing")
                    .describe("a")
                    .run("a", &[])
                    .sync()),
                one(batch().run("a", &[]).sync()),
                one(batch().query("DROP TABLE changing")),
            ],
        ),
    ]
}

fn essence(
    address: SocketAddr,
    script: &Script,
    between: &mut dyn FnMut(),
) -> Vec<Vec<(char, Vec<u8>)>> {
    let mut client = Dialogue::log_in(address, "alice", &[]);
    let mut heard = Vec::new();
    for (batch, ready) in script {
        client.send(&batch.0);
        let mut replies = Vec::new();
        for _ in 0..*ready {
            replies.extend(client.until_ready().iter().map(crate::postgres::Reply::essence));
        }
        heard.push(replies);
        between();
    }
    heard
}

fn compare(pooler: &Pooler, scripts: &[(&str, Script)], disturbed: bool, note: &str) {
    let direct = Cluster::shared().address();
    // Takes the place of whatever a server is left with between two batches.
    let mut other = Dialogue::log_in(pooler.address, "alice", &[]);
    let mut turn = 0;
    let mut disturb = || {
        if !disturbed {
            return;
        }
        turn += 1;
        let text = format!("SELECT 'disturbance {}'", turn % 7);
        let name = format!("d{turn}");
        other.send(&batch().parse(&name, &text).parse("", &text).run(&name, &[]).sync().0);
        assert_eq!(other.tags_until_ready(), "112DCZ");
        other.send(&batch().close(&name).sync().0);
        assert_eq!(other.tags_until_ready(), "3Z");
    };
    for (what, script) in scripts {
        let wanted = essence(direct, script, &mut || {});
        let heard = essence(pooler.address, script, &mut disturb);
        for (step, (heard, wanted)) in heard.iter().zip(&wanted).enumerate() {
            let show = |replies: &[(char, Vec<u8>)]| {
                let text = |(tag, body): &(char, Vec<u8>)| {
                    format!("{tag} {:?}", String::from_utf8_lossy(body))
                };
                replies.iter().map(text).collect::<Vec<_>>().join("\n")
            };
            assert_eq!(show(heard), show(wanted), "{what}, step {step}, {note}");
        }
    }
    assert_eq!(pooler.status("alice").servers_closed_dirty_total, 0, "{note}");
}

fn pooler(mode: PoolMode, size: usize, limit: usize) -> Pooler {
    Pooler::start(|config| {
        let postgres = config.postgres.as_mut().unwrap();
        postgres.max_prepared_statements = limit;
        // There are fewer servers than clients.
        postgres.session_state.temporary_tables = bs9_config::Stateful::Ignore;
        let database = postgres.databases.get_mut("app").unwrap();
        (database.pool_mode, database.pool_size) = (mode, size);
    })
}

#[test]
fn replies_are_those_of_a_server_in_transaction_mode() {
    for (size, limit) in [(1, 200), (1, 1), (3, 2)] {
        let pooler = pooler(PoolMode::Transaction, size, limit);
        compare(&pooler, &scripts(), true, &format!("{size} servers, {limit} statements"));
        if size == 1 {
            compare(&pooler, &transactions(), false, &format!("{limit} statements"));
        }
    }
}

#[test]
fn replies_are_those_of_a_server_in_statement_mode() {
    for limit in [200, 1] {
        compare(
            &pooler(PoolMode::Statement, 1, limit),
            &scripts(),
            true,
            &format!("{limit} statements"),
        );
    }
}

#[test]
fn replies_are_those_of_a_server_in_session_mode() {
    let pooler = pooler(PoolMode::Session, 2, 200);
    compare(&pooler, &scripts(), true, "session mode");
    compare(&pooler, &transactions(), true, "session mode");
    assert_eq!(pooler.status("alice").prepared_misses_total, 0, "nothing is looked into");
}

#[test]
fn replies_do_not_depend_on_the_pieces_messages_come_in() {
    let pooler = pooler(PoolMode::Transaction, 1, 2);
    let direct = Cluster::shared().address();
    for (what, script) in scripts() {
        let wanted = essence(direct, &script, &mut || {});
        let mut client = Dialogue::log_in(pooler.address, "alice", &[]);
        for ((batch, ready), wanted) in script.iter().zip(&wanted) {
            for byte in batch.0.chunks(3) {
                client.send(byte);
            }
            let mut heard = Vec::new();
            for _ in 0..*ready {
                heard.extend(client.until_ready().iter().map(crate::postgres::Reply::essence));
            }
            assert_eq!(&heard, wanted, "{what}");
        }
    }
}

#[test]
fn names_of_the_pool_are_nobodys() {
    let pooler = pooler(PoolMode::Transaction, 1, 200);
    let mut owner = Dialogue::log_in(pooler.address, "alice", &[]);
    owner.send(&batch().parse("a", "SELECT 'secret'").sync().0);
    owner.until_ready();
    let mut other = Dialogue::log_in(pooler.address, "alice", &[]);
    for n in 0..3 {
        let name = format!("bs9_{n}");
        for batch in [batch().run(&name, &[]), batch().describe(&name)] {
            other.send(&batch.sync().0);
            let replies = other.until_ready();
            assert_eq!((replies.len(), replies[0].sqlstate()), (2, "26000".to_owned()));
        }
        other.send(&batch().close(&name).sync().0);
        assert_eq!(other.tags_until_ready(), "3Z");
    }
    owner.send(&batch().run("a", &[]).sync().0);
    assert_eq!(owner.tags_until_ready(), "2DCZ");
    assert_eq!(pooler.status("alice").prepared_misses_total, 1);
}

#[test]
fn flush_brings_what_the_pool_answers() {
    let pooler = pooler(PoolMode::Transaction, 1, 200);
    let mut client = Dialogue::log_in(pooler.address, "alice", &[]);
    for _ in 0..2 {
        client.send(&batch().parse("a", "SELECT 1").flush().0);
        assert_eq!(client.receive().tag, '1');
        client.send(&batch().describe("a").flush().0);
        assert_eq!(client.receive().tag, 't');
        assert_eq!(client.receive().tag, 'T');
        client.send(&batch().run("a", &[]).close("a").flush().0);
        assert_eq!([(); 4].map(|()| client.receive().tag), ['2', 'D', 'C', '3']);
        client.send(&batch().sync().0);
        assert_eq!(client.receive().tag, 'Z');
    }
    let status = pooler.status("alice");
    assert_eq!((status.prepared_misses_total, status.prepared_hits_total), (1, 5), "{status:?}");
}

#[test]
fn settings_are_part_of_what_a_text_means() {
    let pooler = pooler(PoolMode::Transaction, 1, 200);
    let date = |style| {
        let mut client = Dialogue::log_in(pooler.address, "alice", &[("DateStyle", style)]);
        client.send(&batch().parse("a", "SELECT extract(month FROM '01/02/2026'::date)").sync().0);
        client.until_ready();
        client
    };
    let (mut american, mut german) = (date("ISO, MDY"), date("ISO, DMY"));
    for _ in 0..2 {
        for (client, month) in [(&mut american, b"1"), (&mut german, b"2")] {
            client.send(&batch().run("a", &[]).sync().0);
            let replies = client.until_ready();
            assert_eq!(replies[1].body[6..], *month);
        }
    }
    german.query("SET DateStyle = 'ISO, MDY'");
    german.until_ready();
    assert_eq!(pooler.status("alice").prepared_misses_total, 2);
}
