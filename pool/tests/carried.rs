//! What belongs to one client's session reaches no other, and comes back with its client, however
//! it is written.

use bs9_wire::{encode::frontend, message::frontend::Target, tag::FrontendTag};

use crate::postgres::{Cluster, Dialogue, Pooler, run};

mod at_random;

/// A pool with so many server connections, on a single shard.
fn pooler(servers: usize) -> Pooler {
    Pooler::start(|config| {
        let database = config.postgres.as_mut().unwrap().databases.get_mut("app").unwrap();
        database.pool_size = servers;
    })
}

/// Whatever comes of it.
fn attempt(client: &mut Dialogue, text: &str) {
    client.query(text);
    client.until_ready();
}

fn alice(pooler: &Pooler) -> Dialogue {
    Dialogue::log_in(pooler.address, "alice", &[])
}

fn shown(name: &str) -> String {
    format!("SELECT coalesce(current_setting('{name}', true), '')")
}

#[test]
fn however_a_parameter_is_written_it_is_its_clients() {
    let pooler = pooler(2);
    for (set, name, value) in [
        ("SET session.user_id = '42'", "session.user_id", "42"),
        ("SET SESSION session.x = '42'", "session.x", "42"),
        ("SET local.x = 'y'", "local.x", "y"),
        ("SET transaction.x = 'y'", "transaction.x", "y"),
        ("SET role.x TO 'y'", "role.x", "y"),
        ("SET names.x TO 'y'", "names.x", "y"),
        ("\x0cSET app.feed = 'y'", "app.feed", "y"),
        ("SELECT set_config('app.' || 'put', 'y', false)", "app.put", "y"),
        ("SELECT set_config('app.local', 'y', true = false)", "app.local", "y"),
        ("SELECT \"set_config\"('app.quoted', 'y', false)", "app.quoted", "y"),
        ("SELECT set_config('app.cast'::text, 'y', false)", "app.cast", "y"),
        ("SET U&\"search_p\\0061th\" = pg_catalog", "search_path", "pg_catalog"),
        ("SET \"search_path\" = pg_catalog", "search_path", "pg_catalog"),
        ("SET SESSION AUTHORIZATION mortal", "session_authorization", "mortal"),
        ("SET session_authorization = mortal", "session_authorization", "mortal"),
    ] {
        let (mut one, mut other) = (alice(&pooler), alice(&pooler));
        let default = other.value(&shown(name));
        run(&mut one, set);
        assert_eq!(other.value(&shown(name)), default, "{set}");
        assert_eq!(one.value(&shown(name)), value, "{set}");
        assert_eq!(other.value(&shown(name)), default, "{set}");
        assert_eq!(one.value(&shown(name)), value, "{set}");
        drop(one);
        assert_eq!(other.value(&shown(name)), default, "{set}");
    }
}

#[test]
fn a_function_called_by_its_number_is_seen() {
    let pooler = pooler(2);
    let (mut one, mut other) = (alice(&pooler), alice(&pooler));
    run(&mut other, "SELECT 1");
    let mut body = 2078u32.to_be_bytes().to_vec();
    body.extend([0, 0, 0, 3]);
    for argument in ["app.called", "y", "f"] {
        body.extend(u32::try_from(argument.len()).unwrap().to_be_bytes());
        body.extend(argument.as_bytes());
    }
    body.extend([0, 0]);
    one.send(&Dialogue::message(FrontendTag::FunctionCall, &body));
    assert_eq!(one.tags_until_ready(), "VZ");
    assert_eq!(other.value(&shown("app.called")), "");
    assert_eq!(one.value(&shown("app.called")), "y");
}

#[test]
fn what_is_temporary_and_what_is_locked_stays_with_its_client() {
    let pooler = pooler(2);
    for (made, seen, (own, others)) in [
        ("CREATE TABLE \"pg_temp\".t1 (a int)", "SELECT to_regclass('pg_temp.t1')", ("t1", "")),
        (
            "EXPLAIN ANALYZE CREATE TEMP TABLE t2 AS SELECT 1",
            "SELECT to_regclass('pg_temp.t2')",
            ("t2", ""),
        ),
        (
            "SET search_path = pg_temp; CREATE TABLE t3 (a int)",
            "SELECT to_regclass('pg_temp.t3')",
            ("t3", ""),
        ),
        (
            "SELECT pg_catalog.\"pg_advisory_lock\"(77)",
            "SELECT pg_try_advisory_xact_lock(77)",
            ("t", "f"),
        ),
    ] {
        let (mut one, mut other) = (alice(&pooler), alice(&pooler));
        run(&mut other, "SELECT 1");
        run(&mut one, made);
        let seen = format!("SELECT coalesce(({seen})::text, '')").replace("::text", "::text");
        let as_shown = |told: String| told.replace("true", "t").replace("false", "f");
        assert_eq!(as_shown(other.value(&seen)), others, "{made}");
        assert_eq!(as_shown(one.value(&seen)), own, "{made}");
    }
}

#[test]
fn a_reset_that_was_rolled_back_was_none() {
    let pooler = pooler(2);
    let (mut one, mut other) = (alice(&pooler), alice(&pooler));
    for (texts, value) in [
        (
            &[
                "BEGIN",
                "SET work_mem = '20MB'",
                "SAVEPOINT s",
                "RESET ALL",
                "ROLLBACK TO s",
                "COMMIT",
            ][..],
            "20MB",
        ),
        (
            &[
                "BEGIN",
                "SET work_mem = '21MB'",
                "SAVEPOINT s",
                "RESET work_mem",
                "ROLLBACK TO s",
                "COMMIT",
            ],
            "21MB",
        ),
        (&["SET work_mem = '22MB'", "BEGIN", "SET work_mem TO DEFAULT", "ROLLBACK"], "22MB"),
        (&["SET work_mem = '23MB'", "RESET work_mem; SELECT 1/0"], "23MB"),
        (&["SET work_mem = '24MB'", "DISCARD ALL; SELECT 1"], "24MB"),
        (
            &[
                "BEGIN",
                "RESET work_mem",
                "SAVEPOINT s",
                "SET work_mem = '25MB'",
                "ROLLBACK TO s",
                "COMMIT",
            ],
            "4MB",
        ),
        (&["SET work_mem = '26MB'", "RESET ALL"], "4MB"),
        (&["SET work_mem = '27MB'", "DISCARD ALL"], "4MB"),
        (&["BEGIN", "SET work_mem = '28MB'", "ROLLBACK"], "4MB"),
    ] {
        // In one go, so that nothing is known of one when the next is read.
        for at_once in [false, true] {
            let mut out = Vec::new();
            for text in texts {
                frontend::query(&mut out, text);
                if !at_once {
                    one.send(&std::mem::take(&mut out));
                    one.until_ready();
                }
            }
            if at_once {
                one.send(&out);
                texts.iter().for_each(|_| drop(one.until_ready()));
            }
            assert_eq!(other.value("SHOW work_mem"), "4MB", "{texts:?}");
            assert_eq!(one.value("SHOW work_mem"), value, "{texts:?}");
        }
    }
    assert_eq!(pooler.status("alice").pins_total.len(), 0);
}

#[test]
fn what_could_not_be_set_concerns_nobody_else() {
    let pooler = pooler(1);
    let (mut one, mut other) = (alice(&pooler), alice(&pooler));
    for text in [
        "SET shared_buffers = '1GB'",
        "SET server_version_num = 1",
        "SET is_superuser = off",
        "BEGIN; SET transaction_isolation = serializable; COMMIT",
        "BEGIN; SET transaction_read_only = on; COMMIT",
        "SET seed = 0.5",
        "SET no.such_thing TO DEFAULT",
    ] {
        attempt(&mut one, text);
        assert_eq!(other.value("SELECT 1"), "1", "{text}");
        assert_eq!(one.value("SELECT 1"), "1", "{text}");
    }
    let status = pooler.status("alice");
    assert_eq!((status.servers_closed_dirty_total, status.pins_total.len()), (0, 0));
    let pooler = self::pooler(2);
    let mut mortal = Dialogue::log_in(pooler.address, "mortal", &[]);
    let mut fellow = Dialogue::log_in(pooler.address, "mortal", &[]);
    for text in ["SET log_min_duration_statement = 0", "SET data_directory = 'x'"] {
        attempt(&mut mortal, text);
        assert_eq!(mortal.value("SELECT 2"), "2", "{text}");
        assert_eq!(fellow.value("SELECT 1"), "1", "{text}");
    }
}

#[test]
fn a_role_is_taken_on_last_and_left_first() {
    let pooler = pooler(1);
    let (mut one, mut other) = (alice(&pooler), alice(&pooler));
    run(&mut one, "SET session_replication_role = replica");
    run(&mut one, "SET ROLE mortal");
    for _ in 0..2 {
        assert_eq!(other.value("SELECT current_user"), "alice");
        assert_eq!(other.value("SHOW session_replication_role"), "origin");
        assert_eq!(one.value("SELECT current_user"), "mortal");
        assert_eq!(one.value("SHOW session_replication_role"), "replica");
    }
}

#[test]
fn queries_of_the_pool_wait_for_nobodys_transaction() {
    let pooler = pooler(1);
    let mut direct = Dialogue::log_in(Cluster::shared().address(), "alice", &[]);
    run(&mut direct, "BEGIN ISOLATION LEVEL SERIALIZABLE");
    run(&mut direct, "SELECT count(*) FROM pg_class");
    let (mut one, mut other) = (alice(&pooler), alice(&pooler));
    run(
        &mut one,
        "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY, DEFERRABLE",
    );
    assert_eq!(other.value("SHOW default_transaction_deferrable"), "off");
    assert_eq!(one.value("SHOW default_transaction_deferrable"), "on");
    assert_eq!(other.value("SELECT 1"), "1");
    run(&mut direct, "ROLLBACK");
}

#[test]
fn values_are_the_same_in_whatever_character_set_others_speak() {
    let pooler = pooler(1);
    let mut one = Dialogue::log_in(pooler.address, "alice", &[("client_encoding", "UTF8")]);
    let mut other = Dialogue::log_in(pooler.address, "alice", &[("client_encoding", "LATIN1")]);
    run(&mut one, "SET app.name = 'é'");
    run(&mut one, "SET search_path = 'schémä'");
    assert_eq!(other.value("SHOW client_encoding"), "LATIN1");
    assert_eq!(one.value("SHOW app.name"), "é");
    assert_eq!(one.value("SHOW search_path"), "\"schémä\"");
    // The bytes of it are others from now on.
    run(&mut one, "SET client_encoding = 'LATIN1'");
    assert_eq!(other.value("SHOW client_encoding"), "LATIN1");
    run(&mut one, "SET client_encoding = 'UTF8'");
    assert_eq!(other.value("SHOW client_encoding"), "LATIN1");
    assert_eq!(one.value("SHOW app.name"), "é");
    // What has no bytes in it cannot follow.
    run(&mut one, "SET app.euro = '€'; SET client_encoding = 'LATIN1'");
    assert_eq!(one.value("SELECT 1"), "1");
    assert_eq!(pooler.status("alice").pins_total[0].reason, "setting");
}

#[test]
fn long_values_follow_and_so_do_many() {
    let pooler = pooler(2);
    let (mut one, mut other) = (alice(&pooler), alice(&pooler));
    run(&mut one, "SELECT set_config('app.long', repeat('x', 50000), false)");
    run(&mut one, "SELECT set_config('app.longer', repeat('y', 60000), false)");
    assert_eq!(other.value(&shown("app.long")), "");
    assert_eq!(one.value("SELECT length(current_setting('app.longer'))"), "60000");
    assert_eq!(pooler.status("alice").pins_total.len(), 0);
    for number in 0..300 {
        run(&mut one, &format!("SET app.n{number} = '{number}'"));
    }
    assert_eq!(pooler.status("alice").pins_total[0].reason, "setting");
    assert_eq!(one.value("SHOW app.n299"), "299");
    assert_eq!(other.value(&shown("app.n299")), "");
}

#[test]
fn a_reset_leads_back_to_what_was_asked_for_at_login() {
    let pooler = pooler(1);
    let asked = [("TimeZone", "Asia/Tokyo"), ("application_name", "mine"), ("work_mem", "9MB")];
    let mut one = Dialogue::log_in(pooler.address, "alice", &asked);
    let mut other = alice(&pooler);
    for text in ["RESET ALL", "DISCARD ALL", "RESET timezone", "SET timezone TO DEFAULT"] {
        run(&mut one, text);
        assert_ne!(other.value("SHOW timezone"), "Asia/Tokyo", "{text}");
        assert_eq!(one.value("SHOW timezone"), "Asia/Tokyo", "{text}");
        assert_eq!(one.parameter("TimeZone"), Some("Asia/Tokyo"), "{text}");
        assert_eq!(one.value("SHOW application_name"), "mine", "{text}");
        assert_eq!(one.value("SHOW work_mem"), "9MB", "{text}");
    }
}

/// Parses `text` as `name` and runs it.
fn parse_and_run(client: &mut Dialogue, before: &[&str], text: &str) -> String {
    let mut out = Vec::new();
    for text in before {
        frontend::parse(&mut out, b"", text.as_bytes(), &[]);
        frontend::bind(&mut out, b"", b"");
        frontend::execute(&mut out, b"");
    }
    frontend::parse(&mut out, b"named", text.as_bytes(), &[]);
    frontend::bind(&mut out, b"", b"named");
    frontend::execute(&mut out, b"");
    frontend::sync(&mut out);
    client.send(&out);
    let replies = client.until_ready();
    let row = replies.iter().rfind(|reply| reply.tag == 'D');
    let row = row.unwrap_or_else(|| panic!("{text}: {replies:?}"));
    String::from_utf8_lossy(&row.body[6..]).into_owned()
}

#[test]
fn a_text_means_what_its_own_clients_settings_make_of_it() {
    let text = "SELECT extract(month from '01/02/2020'::date)::int";
    for before in [
        &["SET datestyle = 'SQL, DMY'"][..],
        &["BEGIN", "SET LOCAL datestyle = 'SQL, DMY'"],
        &["BEGIN", "SELECT set_config('datestyle', 'SQL, DMY', true)"],
    ] {
        for at_once in [true, false] {
            let pooler = pooler(1);
            let (mut one, mut other) = (alice(&pooler), alice(&pooler));
            let got = match at_once {
                true => parse_and_run(&mut one, before, text),
                false => {
                    for text in before {
                        run(&mut one, text);
                    }
                    parse_and_run(&mut one, &[], text)
                }
            };
            assert_eq!(got, "2", "{before:?}");
            attempt(&mut one, "COMMIT");
            assert_eq!(parse_and_run(&mut other, &[], text), "1", "{before:?}");
            // Its own is what it was when it was prepared.
            let mut out = Vec::new();
            frontend::bind(&mut out, b"", b"named");
            frontend::execute(&mut out, b"");
            frontend::sync(&mut out);
            one.send(&out);
            let replies = one.until_ready();
            assert_eq!(replies[1].body[6..], *b"2", "{before:?}");
        }
    }
}

#[test]
fn a_text_known_to_others_is_prepared_anew_where_it_means_something_else() {
    let text = "SELECT extract(month from '01/02/2020'::date)::int";
    let pooler = pooler(1);
    let (mut one, mut other) = (alice(&pooler), alice(&pooler));
    assert_eq!(parse_and_run(&mut other, &[], text), "1");
    run(&mut one, "BEGIN");
    run(&mut one, "SET LOCAL datestyle = 'SQL, DMY'");
    assert_eq!(parse_and_run(&mut one, &[], text), "2");
    run(&mut one, "COMMIT");
    let mut third = alice(&pooler);
    assert_eq!(parse_and_run(&mut third, &[], text), "1");
}

#[test]
fn a_changed_result_is_noticed_when_a_statement_is_described_too() {
    let pooler = pooler(1);
    // Past the pool, which is to learn of it from the server.
    let mut other = Dialogue::log_in(Cluster::shared().address(), "alice", &[]);
    run(&mut other, "DROP TABLE IF EXISTS described; CREATE TABLE described (a int)");
    let describe = |client: &mut Dialogue| {
        let mut out = Vec::new();
        frontend::parse(&mut out, b"s", b"SELECT * FROM described", &[]);
        frontend::describe(&mut out, Target::Statement(b"s"));
        frontend::sync(&mut out);
        client.send(&out);
        client.tags_until_ready()
    };
    assert_eq!(describe(&mut alice(&pooler)), "1tTZ");
    run(&mut other, "ALTER TABLE described ADD b int");
    assert_eq!(describe(&mut alice(&pooler)), "1tEZ");
    assert_eq!(describe(&mut alice(&pooler)), "1tTZ");
    run(&mut other, "DROP TABLE described");
}

#[test]
fn what_a_client_was_kept_for_is_undone_whatever_query_is_configured() {
    let pooler = Pooler::start(|config| {
        let postgres = config.postgres.as_mut().unwrap();
        postgres.databases.get_mut("app").unwrap().pool_size = 1;
        postgres.reset_query = "RESET ALL".into();
    });
    let mut one = alice(&pooler);
    run(&mut one, "SELECT pg_advisory_lock(78)");
    let process = one.value("SELECT pg_backend_pid()");
    drop(one);
    let mut next = alice(&pooler);
    let held =
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()";
    assert_eq!(next.value(held), "0");
    assert_eq!(next.value("SELECT pg_backend_pid()"), process);
}
