//! Statements, each sent in every way there is; types, each in both formats.

use super::script::{Needs, Script};
use crate::postgres::{Batch, Value, batch};

/// What is run, in transactions and outside.
const STATEMENTS: &[&str] = &[
    // Rows, and none.
    "SELECT 1",
    "SELECT 1 WHERE false",
    "SELECT",
    "SELECT NULL::int, '', 'x' AS \"Odd name\"",
    "VALUES (1, 'a'), (2, NULL)",
    "TABLE things ORDER BY id",
    "SELECT * FROM things ORDER BY id",
    "SELECT t, t.* FROM things t WHERE id > 1 ORDER BY id DESC LIMIT 1",
    "SELECT generate_series(1, 300)",
    "SELECT repeat('long ', 5000)",
    "WITH few AS (SELECT generate_series(1, 3) n) SELECT sum(n) FROM few",
    "SELECT 'happy'::mood, '{1,2}'::int[], row(1, 'x')",
    "EXPLAIN (COSTS OFF) VALUES (1), (2)",
    "SHOW transaction_isolation",
    "",
    "-- nothing but a comment",
    "/* likewise */",
    ";",
    // Changes.
    "INSERT INTO sink VALUES (1, 'one'), (2, 'two')",
    "INSERT INTO sink SELECT n, 'many' FROM generate_series(1, 50) n RETURNING n",
    "UPDATE things SET amount = id WHERE id < 3",
    "UPDATE things SET label = label || '!' WHERE id = 2 RETURNING id, label",
    "DELETE FROM things WHERE id = 9",
    "INSERT INTO things VALUES (1, 'again') ON CONFLICT (id) DO UPDATE SET label = 'again'",
    "MERGE INTO things USING (VALUES (3), (4)) v(id) ON things.id = v.id \
     WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (v.id, 'new')",
    "SELECT nextval('tickets')",
    "CREATE TABLE IF NOT EXISTS things ()",
    "DROP TABLE IF EXISTS nothing_of_the_kind",
    "CREATE TEMPORARY TABLE brief (n int) ON COMMIT DROP",
    "TRUNCATE sink",
    "COMMENT ON TABLE things IS 'of all sorts'",
    "LOCK TABLE things",
    "DO $$ BEGIN RAISE NOTICE 'one'; RAISE INFO 'two'; RAISE LOG 'three'; END $$",
    "SELECT shout('hey')",
    "NOTIFY nobody, 'nothing'",
    "UNLISTEN *",
    "SET LOCAL work_mem = '5MB'",
    "SET CONSTRAINTS ALL IMMEDIATE",
    "COPY sink TO STDOUT",
    "COPY (SELECT 1 WHERE false) TO STDOUT (FORMAT binary)",
    "COPY (SELECT generate_series(1, 100)) TO STDOUT (FORMAT csv, HEADER)",
    // What belongs into transactions, or does not.
    "SAVEPOINT s",
    "ROLLBACK TO s",
    "RELEASE s",
    "DECLARE c CURSOR FOR SELECT 1",
    "FETCH nothing",
    "CLOSE nothing",
    "VACUUM sink",
    "CREATE DATABASE never",
    "DISCARD PLANS",
    "COMMIT AND CHAIN",
    "ROLLBACK PREPARED 'nothing'",
    // Errors: when read, when understood, when run, at the end.
    "SELEKT",
    "SELECT 'unterminated",
    "SELECT 1; SELECT 2",
    "SELECT nothing",
    "SELECT * FROM nowhere",
    "SELECT no_such_function(1)",
    "SELECT 1 + 'x'::text",
    "SELECT 'x'::int",
    "SELECT $1",
    "SELECT 1/0",
    "SELECT 1/(2-n) FROM generate_series(1, 3) n",
    "SELECT sqrt(-1)",
    "SELECT * FROM pg_authid",
    "CREATE TABLE pg_catalog.never ()",
    "INSERT INTO sink VALUES (2000)",
    "INSERT INTO things VALUES (1, 'twice')",
    "INSERT INTO things VALUES (7, NULL)",
    "INSERT INTO children VALUES (99)",
    "INSERT INTO nowhere VALUES (1)",
    "SELECT fail('P0001')",
    "SELECT fail('40001')",
    "SELECT fail('ZZ999')",
    "SELECT shout('before it fails'), fail('22012')",
    "DO $$ BEGIN PERFORM fail('XX000'); EXCEPTION WHEN OTHERS THEN RAISE NOTICE '%', SQLERRM; END $$",
    "EXECUTE nothing",
    "DEALLOCATE nothing",
    "SET nonsense = 1",
    "SET work_mem = 'much'",
    "SHOW nonsense",
    "SET ROLE nobody_at_all",
    "ALTER TABLE things ADD COLUMN id int",
    "COPY nowhere TO STDOUT",
    "COPY (SELECT fail('P0001')) TO STDOUT",
];

/// Types of parameters: by number, in SQL, as text, as bytes.
const TYPES: &[(u32, &str, &str, &[u8])] = &[
    (16, "bool", "t", &[1]),
    (17, "bytea", "\\x00ff10", &[0, 0xff, 0x10]),
    (18, "\"char\"", "x", b"x"),
    (19, "name", "alice", b"alice"),
    (20, "bigint", "-5000000000", &(-5_000_000_000i64).to_be_bytes()),
    (21, "smallint", "-7", &(-7i16).to_be_bytes()),
    (23, "int", "42", &42i32.to_be_bytes()),
    (25, "text", "it's \\ \u{fc}n\u{ef}code", "it's \\ \u{fc}n\u{ef}code".as_bytes()),
    (26, "oid", "4294967295", &[255; 4]),
    (114, "json", "{\"a\": [1, null]}", b"{\"a\": [1, null]}"),
    (700, "real", "1.5", &1.5f32.to_be_bytes()),
    (701, "double precision", "-0.1", &(-0.1f64).to_be_bytes()),
    (790, "money", "$1,234.50", &123_450i64.to_be_bytes()),
    (869, "inet", "192.168.0.1/24", &[2, 24, 0, 4, 192, 168, 0, 1]),
    (
        1007,
        "int[]",
        "{1,NULL}",
        &[
            0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 23, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0, 1,
            255, 255, 255, 255,
        ],
    ),
    (1042, "char(5)", "ab   ", b"ab   "),
    (1043, "varchar", "plain", b"plain"),
    (1082, "date", "2026-11-21", &9821i32.to_be_bytes()),
    (1083, "time", "12:34:56", &45_296_000_000i64.to_be_bytes()),
    (1114, "timestamp", "2000-01-02 00:00:00", &86_400_000_000i64.to_be_bytes()),
    (1184, "timestamptz", "2000-01-01 00:00:01+00", &1_000_000i64.to_be_bytes()),
    (1186, "interval", "1 day", &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]),
    (1560, "bit(3)", "101", &[0, 0, 0, 3, 0b1010_0000]),
    (1700, "numeric", "12345.678", &[0, 3, 0, 1, 0, 0, 0, 3, 0, 1, 9, 41, 26, 124]),
    (
        2950,
        "uuid",
        "00010203-0405-0607-0809-0a0b0c0d0e0f",
        &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
    ),
    (3802, "jsonb", "{\"a\": 1}", b"\x01{\"a\": 1}"),
    (3904, "int4range", "[1,5)", &[2, 0, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0, 5]),
];

type Way = (&'static str, Needs, fn(Script, &str) -> Script);

const WAYS: &[Way] = &[
    ("simply", Needs::Statement, |script, text| {
        let all = batch().query("SELECT 'before'").query(text).query("SELECT 'behind'");
        script.step(batch().query(text), 1).step(all, 3)
    }),
    ("unnamed", Needs::Statement, |script, text| {
        script.step(batch().extended(text).sync(), 1).step(batch().run("", &[]).sync(), 1)
    }),
    ("named", Needs::Statement, |script, text| {
        let twice = batch().run("a", &[]).run("a", &[]).sync();
        script
            .step(batch().parse("a", text).describe("a").sync(), 1)
            .step(batch().run("a", &[]).sync(), 1)
            .step(twice, 1)
            .step(batch().close("a").run("a", &[]).sync(), 1)
    }),
    ("in a pipeline", Needs::Statement, |script, text| {
        let one = batch().extended("SELECT 'before'").parse("b", text).describe("b").run("b", &[]);
        let one = one.close("b").extended("SELECT 'behind'").sync();
        script.step(
            Batch([one.0, batch().extended(text).sync().extended("SELECT 2").sync().0].concat()),
            3,
        )
    }),
    ("some rows at a time", Needs::Statement, |script, text| {
        let some = |batch: Batch| batch.execute_some("p", 1).flush().execute_some("p", 2);
        let batch = some(batch().parse("", text).bind_to("p", "", &[]));
        script.step(some(batch).execute_some("p", 0).sync(), 1)
    }),
    ("in a transaction", Needs::Transaction, |script, text| {
        script
            .step(batch().query("BEGIN"), 1)
            .step(batch().query(text), 1)
            .step(batch().extended(text).sync(), 1)
            .step(batch().query("SELECT 'still here'"), 1)
            .step(batch().query("COMMIT"), 1)
    }),
];

fn in_every_way(text: &str) -> impl Iterator<Item = Script> {
    WAYS.iter()
        .map(move |(way, needs, write)| write(Script::new(&format!("{text}, {way}"), *needs), text))
}

fn of_type((id, name, text, bytes): (u32, &str, &str, &[u8])) -> [Script; 2] {
    let query = format!("SELECT $1, $1::{name}, pg_typeof($1)");
    let values = [Value::Null, Value::Text(text.into()), Value::Binary(bytes.into())];
    let run = |mut batch: Batch| {
        for value in &values {
            for binary in [false, true] {
                batch = batch.bind_values("", "a", std::slice::from_ref(value), binary).execute();
            }
        }
        batch.sync()
    };
    let typed = run(batch().parse_typed("a", &query, &[id]).describe("a"));
    let wrong = batch().bind_values("", "a", &[Value::Binary(vec![1; 3])], false).execute().sync();
    let known = batch().parse("a", &format!("SELECT $1::{name}")).describe("a").sync();
    [
        Script::new(&format!("a parameter of type {name}"), Needs::Statement)
            .step(typed, 1)
            .step(wrong, 1),
        Script::new(&format!("a parameter found to be of type {name}"), Needs::Statement)
            .step(known, 1)
            .step(run(batch()), 1),
    ]
}

pub(super) fn all() -> impl Iterator<Item = Script> {
    let statements = STATEMENTS.iter().flat_map(|text| in_every_way(text));
    statements.chain(TYPES.iter().flat_map(|of| of_type(*of)))
}
