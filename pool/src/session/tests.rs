use proptest::prelude::*;

use super::*;

fn told(text: &str) -> String {
    let long = text.len() > MAX_TEXT;
    let Some(effects) = (long || may_matter(text.as_bytes()))
        .then(|| Effects::of(text.as_bytes(), Quoting::default()))
        .flatten()
    else {
        return String::new();
    };
    let mut told = Vec::new();
    if effects.reset_all {
        told.push("*".to_owned());
    }
    told.extend(effects.set.iter().map(|name| format!("+{name}")));
    told.extend(effects.reset.iter().map(|name| format!("-{name}")));
    told.extend(effects.pins.iter().map(|pin| pin.name().to_owned()));
    told.join(" ")
}

#[test]
fn what_texts_do_to_a_session() {
    for (text, wanted) in [
        ("SET search_path = a, \"B\"", "+search_path"),
        ("set session work_mem to '17MB';", "+work_mem"),
        ("SET LOCAL work_mem = '1MB'", ""),
        ("SET TRANSACTION READ ONLY", ""),
        ("SET CONSTRAINTS ALL DEFERRED", ""),
        ("SET TIME ZONE 'UTC'", "+timezone"),
        ("SET NAMES 'latin1'", "+client_encoding"),
        ("SET SCHEMA 'x'", "+search_path"),
        ("SET ROLE bob", "+role"),
        ("SET SESSION ROLE NONE", "+role"),
        ("SET SESSION AUTHORIZATION bob", "setting"),
        ("SET SESSION SESSION AUTHORIZATION bob", "setting"),
        ("SET LOCAL SESSION AUTHORIZATION bob", ""),
        ("SET LOCAL local.a = 1", ""),
        ("SET work_mem TO DEFAULT", "-work_mem"),
        ("SET work_mem = default", "-work_mem"),
        ("SET my.tenant = '7'; SELECT 1", "+my.tenant"),
        ("SET session.tenant = '7'", "+session.tenant"),
        ("SET SESSION session.tenant = '7'", "+session.tenant"),
        (
            "SET local.a = '7'; SET role.a = 1; SET transaction.a = 1",
            "+local.a +role.a +transaction.a",
        ),
        ("RESET session.a; RESET transaction.b; RESET all.c", "-session.a -transaction.b -all.c"),
        ("\x0cSET a = 1", "+a"),
        ("SET U&\"\\0061\" = 1", "setting"),
        ("SET search_path = pg_temp, public", "+search_path temporary_table"),
        ("SET search_path TO 'pg_temp'", "+search_path temporary_table"),
        ("SET SCHEMA 'pg_temp'", "+search_path temporary_table"),
        ("SET search_path = public, pg_temp", "+search_path"),
        ("SET LOCAL search_path = pg_temp", "temporary_table"),
        ("SELECT set_config('search_path', 'pg_temp', true)", "temporary_table"),
        ("SELECT set_config('search_path', 'pg_temp,a', false)", "+search_path temporary_table"),
        ("SELECT set_config('search_path', 'a,pg_temp', false)", "+search_path"),
        ("SET a = 1; SET b = 2; RESET a", "+b -a"),
        ("/* why */ SET a = 1", "+a"),
        ("-- why\nSET a = 1", "+a"),
        ("  \n SET a = 1", "+a"),
        (
            "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
            "+default_transaction_isolation +default_transaction_read_only +default_transaction_deferrable",
        ),
        ("RESET ALL", "*"),
        ("RESET work_mem", "-work_mem"),
        ("RESET ROLE", "-role"),
        ("RESET TIME ZONE", "-timezone"),
        ("DISCARD ALL", "*"),
        ("DISCARD PLANS", ""),
        ("SELECT set_config('a.b', 'x', false)", "+a.b"),
        (
            "select pg_catalog.set_config('search_path', $1, true), set_config('role', 'bob', false)",
            "+role",
        ),
        ("SELECT set_config('a', (SELECT 'x', true), false)", "+a"),
        ("SELECT set_config($1, $2, false)", "setting"),
        ("SELECT set_config($1, $2, true)", ""),
        ("SELECT set_config('a' || $1, $2, false)", "setting"),
        ("SELECT set_config('a'::text, $2, false)", "+a"),
        ("SELECT set_config('a', $2, true = false)", "+a"),
        ("SELECT \"set_config\"('a', $2, false)", "+a"),
        ("SELECT pg_catalog.\"pg_advisory_lock\"(1)", "advisory_lock"),
        ("CREATE TABLE \"pg_temp\".t (a int)", "temporary_table"),
        ("EXPLAIN ANALYZE CREATE TEMP TABLE t AS SELECT 1", "temporary_table"),
        ("EXPLAIN (ANALYZE) SELECT set_config('a', 'b', false)", "+a"),
        ("SET session_authorization = bob", "setting"),
        ("SELECT pg_advisory_lock(1)", "advisory_lock"),
        ("select pg_try_advisory_lock_shared(1, 2)", "advisory_lock"),
        ("SELECT pg_advisory_xact_lock(1)", ""),
        ("SELECT pg_advisory_unlock(1)", ""),
        ("SELECT 'pg_advisory_lock(1)'", ""),
        ("SELECT 1", ""),
        ("SELECT sum(1)", ""),
        ("LISTEN news", "listen"),
        ("LIST", ""),
        ("DECLARE c CURSOR WITH HOLD FOR SELECT 1", "hold_cursor"),
        ("DECLARE c SCROLL CURSOR WITHOUT HOLD FOR SELECT 'WITH HOLD'", ""),
        ("PREPARE p AS SELECT 1", "sql_prepared_statement"),
        ("prepare \"P\" (int, text) as select $1", "sql_prepared_statement"),
        ("PREPARE transaction AS SELECT 1", "sql_prepared_statement"),
        ("PREPARE TRANSACTION 'id'", ""),
        ("EXECUTE p (1)", ""),
        ("DEALLOCATE p", ""),
        ("PREPARE", ""),
        ("CREATE TEMP TABLE t ()", "temporary_table"),
        ("CREATE TEMPORARY TABLE t () ON COMMIT DROP", ""),
        ("create local temp table t as select 1", "temporary_table"),
        ("CREATE OR REPLACE TEMP VIEW v AS SELECT 1", "temporary_table"),
        ("CREATE TABLE temp (a int)", ""),
        ("CREATE TYPE pg_temp.mood AS ENUM ('sad')", "temporary_table"),
        ("CREATE TABLE IF NOT EXISTS PG_TEMP.t (a int)", "temporary_table"),
        ("CREATE OR REPLACE FUNCTION pg_temp.f() RETURNS int", "temporary_table"),
        ("CREATE DOMAIN pg_temp . d AS bytea", "temporary_table"),
        ("CREATE VIEW v AS SELECT * FROM pg_temp.t", ""),
        ("SELECT a, pg_advisory_lock(a) FROM t", "advisory_lock"),
        ("WITH s AS (SELECT set_config('a', 'b', false)) SELECT * FROM s", "+a"),
        ("INSERT INTO t SELECT set_config('a', 'b', false)", "+a"),
        ("COPY (SELECT pg_advisory_lock(1)) TO STDOUT", "advisory_lock"),
        ("EXPLAIN ANALYZE SELECT pg_advisory_lock(1)", "advisory_lock"),
        ("CREATE TABLE t AS SELECT pg_advisory_lock(1)", "advisory_lock"),
        ("SELECT 1; SET a = 1", "+a"),
        ("BEGIN; SET LOCAL b = 1; SET a = 1; COMMIT", "+a"),
        ("UPDATE t SET a = 1; RESET b;", "-b"),
        ("BEGIN; CREATE TEMP TABLE t (); COMMIT", "temporary_table"),
        ("BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT 8; COMMIT", "hold_cursor"),
        ("SELECT 1 AS n INTO TEMP t", "temporary_table"),
        ("select * into temporary table t from u", "temporary_table"),
        ("WITH u AS (SELECT 1) SELECT * INTO LOCAL TEMP \"T\" FROM u", "temporary_table"),
        ("(SELECT 1 INTO pg_temp.t)", "temporary_table"),
        ("SELECT 1 INTO TABLE pg_temp.t", "temporary_table"),
        ("SELECT * INTO t FROM temp", ""),
        ("SELECT temp FROM t", ""),
        ("INSERT INTO temp SELECT 1", ""),
        ("WITH u AS (INSERT INTO temp SELECT 1 RETURNING *) SELECT * FROM u", ""),
        ("SELECT 'one; SET a = 1'", ""),
        ("INSERT INTO t VALUES ('SET a = 1')", ""),
        ("", ""),
        (";;", ""),
        ("SET", ""),
        ("SET a.", ""),
    ] {
        assert_eq!(told(text), wanted, "{text}");
        let behind_much = format!("SELECT '{}';{text}", "x".repeat(MAX_TEXT));
        assert_eq!(told(&behind_much), wanted, "{text}");
    }
}

#[test]
fn more_names_than_are_followed_tie_the_client_to_its_server() {
    let text: String = (0..MAX_NAMES + 1).map(|n| format!("SET a.n{n} = 1;")).collect();
    let effects = Effects::of(text.as_bytes(), Quoting::default()).unwrap();
    assert_eq!(effects.set.len(), MAX_NAMES);
    assert_eq!(effects.pins, [Reason::Setting]);
}

#[test]
fn texts_are_read_as_the_server_reads_them() {
    let conforming = Quoting::default();
    let set = |name: &str| {
        Some(Effects { set: vec![name.into()], unsettles: true, ..Effects::default() })
    };
    for (text, on, off) in [
        (r"SELECT '\''; SET a = 'x'", None, set("a")),
        (r"SELECT '\'; SET a = 1; --'", set("a"), None),
        (r"SELECT '\\'; SET a = 1", set("a"), set("a")),
        (r"SELECT 'C:\dir'; SET a = 1", set("a"), set("a")),
    ] {
        for much in [String::new(), format!("SELECT '{}';", "x".repeat(MAX_TEXT))] {
            let text = much + text;
            assert_eq!(Effects::of(text.as_bytes(), conforming), on, "{text}");
            assert_eq!(Effects::of(text.as_bytes(), conforming.otherwise()), off, "{text}");
            // What is under way decides.
            let doubt = Effects::in_doubt(text.as_bytes(), conforming).unwrap();
            assert_eq!(doubt.set, [Box::from("a")], "{text}");
            assert_eq!(doubt.pins.contains(&Reason::Setting), on != off, "{text}");
        }
    }
    for text in ["RESET ALL", "RESET a", "UNLISTEN a"] {
        let hidden = format!(r"SELECT '\'; {text}; --'");
        let effects = Effects::of(hidden.as_bytes(), conforming).unwrap();
        assert!(effects.reset_all || !(effects.reset.is_empty() && effects.unlistened.is_empty()));
        let doubt = Effects::in_doubt(hidden.as_bytes(), conforming).unwrap();
        assert_eq!(doubt.pins, [Reason::Setting]);
        assert!(!doubt.reset_all && doubt.reset.is_empty() && doubt.unlistened.is_empty());
    }
}

#[test]
fn a_whole_short_select_is_not_read_but_the_start_of_a_longer_one_is() {
    assert!(!may_begin_to_matter(b"SELECT 1\0"));
    assert!(may_begin_to_matter(b"SELECT 1"));
    assert!(may_begin_to_matter(b"SELECT "));
    assert!(may_begin_to_matter(b"set a=1\0"));
}

#[test]
fn words_that_are_said_again_and_again_cost_no_room() {
    for word in ["SET LOCAL", "LOCAL", "EXPLAIN CREATE", "CREATE TEMP"] {
        let text = format!("{word} {}", "LOCAL EXPLAIN CREATE ".repeat(700));
        let again = format!("SET {}", format!("{word} ").repeat(1_200));
        for text in [text, again] {
            let _effects = Effects::of(text.as_bytes(), Quoting::default());
        }
    }
}

proptest! {
    #[test]
    fn any_text_is_read(text in prop::collection::vec(any::<u8>(), 0..200)) {
        let _effects = Effects::of(&text, Quoting::default());
        let _gate = may_matter(&text);
    }

    /// The gate lets through whatever the reader finds something in, leading space left out.
    #[test]
    fn the_gate_is_no_narrower_than_the_reader(
        word in prop::sample::select(vec!["SET a=1", "reset a", "Discard all", "SELECT set_config('a','b',false)", "select  pg_advisory_lock(1)", "LISTEN x", "declare c cursor with hold for select 1", "create temp table t()", "prepare p as select 1"]),
        space in "[ \n\t]{0,20}",
    ) {
        let text = format!("{space}{word}");
        let start = &text.as_bytes()[..text.len().min(TELLING_BYTES)];
        prop_assert!(may_begin_to_matter(start), "{:?}", text);
        prop_assert!(Effects::of(text.as_bytes(), Quoting::default()).is_some());
    }
}
