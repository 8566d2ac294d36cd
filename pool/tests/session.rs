//! What clients change in their session: followed from server to server, kept where it is, or
//! refused.

use bs9_config::{Config, SessionState, Stateful};
use bs9_wire::{encode::frontend, message::Report, tag::FrontendTag};

use crate::postgres::{Cluster, Dialogue, Pooler, run};

fn state(config: &mut Config) -> &mut SessionState {
    &mut config.postgres.as_mut().unwrap().session_state
}

/// A pool with a single server connection, on a single shard.
fn single(change: impl FnOnce(&mut Config)) -> Pooler {
    Pooler::start(|config| {
        let database = config.postgres.as_mut().unwrap().databases.get_mut("app").unwrap();
        database.pool_size = 1;
        change(config);
    })
}

fn batch(client: &mut Dialogue, text: &str) -> String {
    let mut out = Vec::new();
    frontend::parse(&mut out, b"", text.as_bytes(), &[]);
    out.extend(Dialogue::message(FrontendTag::Bind, &[0; 8]));
    out.extend(Dialogue::message(FrontendTag::Execute, &[0; 5]));
    frontend::sync(&mut out);
    client.send(&out);
    client.tags_until_ready()
}

#[test]
fn what_a_client_sets_follows_it_and_nobody_else() {
    let pooler = single(|_| {});
    let mut one = Dialogue::log_in(pooler.address, "alice", &[]);
    let mut other = Dialogue::log_in(pooler.address, "alice", &[]);
    for (set, name, value) in [
        ("SET search_path = pg_catalog, \"Odd name\"", "search_path", "pg_catalog, \"Odd name\""),
        ("set session work_mem to '17MB'", "work_mem", "17MB"),
        ("SET statement_timeout = 12345", "statement_timeout", "12345ms"),
        ("SELECT set_config('my.tenant', 'o''hara', false)", "my.tenant", "o'hara"),
        ("SET my.other = 'x'; SET lock_timeout = '3s'", "my.other", "x"),
        ("SET enable_seqscan TO off", "enable_seqscan", "off"),
        ("SELECT 1; SET application_name = 'late'", "application_name", "late"),
        ("BEGIN; SET LOCAL a.b = 'x'; SET my.third = 'y'; COMMIT", "my.third", "y"),
        ("WITH s AS (SELECT set_config('my.fourth', 'z', false)) TABLE s", "my.fourth", "z"),
    ] {
        let shown = format!("SELECT coalesce(current_setting('{name}', true), '')");
        let default = other.value(&shown);
        run(&mut one, set);
        assert_eq!(other.value(&shown), default, "{set}");
        assert_eq!(one.value(&shown), value, "{set}");
        assert_eq!(other.value(&shown), default, "{set}");
        assert_eq!(one.value(&shown), value, "{set}");
    }
    assert_eq!(one.value("SHOW lock_timeout"), "3s");
    let status = pooler.status("alice");
    assert_eq!((status.servers_closed_dirty_total, status.pins_total.len()), (0, 0));
}

#[test]
fn strings_end_where_the_server_says() {
    const SO: &[u8] = b"\x83\x5c";
    let pooler = single(|_| {});
    let mut other = Dialogue::log_in(pooler.address, "alice", &[]);
    for (first, string) in [
        ("SET standard_conforming_strings = off", &b"'\\''"[..]),
        ("SET standard_conforming_strings = off", b"N'\\'; SET work_mem = \\''"),
        ("SET standard_conforming_strings = on", b"'\\'"),
        ("SET client_encoding = 'SJIS'", &[b"E'", SO, b"'"].concat()),
    ] {
        let mut one = Dialogue::log_in(pooler.address, "alice", &[]);
        run(&mut one, first);
        // Behind it is a statement; what it looks like otherwise is a string, or none that ends.
        let text = [b"SELECT ", string, b"; SET work_mem = '19MB'; SELECT ''\0"].concat();
        one.send(&Dialogue::message(FrontendTag::Query, &text));
        let replies = one.until_ready();
        assert!(replies.iter().all(|reply| reply.tag != 'E'), "{first}: {replies:?}");
        assert_eq!(other.value("SHOW work_mem"), "4MB", "{first}");
        assert_eq!(one.value("SHOW work_mem"), "19MB", "{first}");
    }
    // Nobody knows yet when the second is read how the first will end.
    let mut one = Dialogue::log_in(pooler.address, "alice", &[]);
    let mut out = Vec::new();
    frontend::query(&mut out, "SET standard_conforming_strings = off");
    frontend::query(&mut out, "SELECT '\\''; SET work_mem = '21MB'; SELECT ''");
    one.send(&out);
    one.until_ready();
    one.until_ready();
    assert_eq!(one.value("SHOW work_mem"), "21MB");
    assert_eq!(pooler.status("alice").pins_total[0].reason, "setting");
    drop(one);
    assert_eq!(other.value("SHOW work_mem"), "4MB");
}

#[test]
fn strings_of_what_was_prepared_end_where_they_did_then() {
    let pooler = single(|_| {});
    let mut other = Dialogue::log_in(pooler.address, "alice", &[]);
    let hidden = "SELECT '\\'', set_config('work_mem', '19MB', false), ''";
    for settled in [true, false] {
        let mut one = Dialogue::log_in(pooler.address, "alice", &[]);
        let mut out = Vec::new();
        frontend::query(&mut out, "SET standard_conforming_strings = off");
        if settled {
            one.send(&out);
            one.until_ready();
            out.clear();
        }
        // Else it is prepared before anybody knows how it is read.
        frontend::parse(&mut out, b"s", hidden.as_bytes(), &[]);
        frontend::sync(&mut out);
        one.send(&out);
        one.until_ready();
        if !settled {
            one.until_ready();
        }
        out.clear();
        frontend::bind(&mut out, b"", b"s");
        frontend::execute(&mut out, b"");
        frontend::sync(&mut out);
        one.send(&out);
        assert_eq!(one.tags_until_ready(), "2DCZ");
        assert_eq!(one.value("SHOW work_mem"), "19MB", "{settled}");
        let pins = pooler.status("alice").pins_total;
        assert_eq!(pins.is_empty(), settled, "{pins:?}");
        drop(one);
        assert_eq!(other.value("SHOW work_mem"), "4MB", "{settled}");
    }
}

#[test]
fn in_the_extended_protocol_too() {
    let pooler = single(|_| {});
    let mut one = Dialogue::log_in(pooler.address, "alice", &[]);
    let mut other = Dialogue::log_in(pooler.address, "alice", &[]);
    assert_eq!(batch(&mut one, "SET work_mem = '23MB'"), "12CZ");
    assert_eq!(other.value("SHOW work_mem"), "4MB");
    assert_eq!(one.value("SHOW work_mem"), "23MB");
    assert_eq!(batch(&mut one, "RESET work_mem"), "12CZ");
    assert_eq!(one.value("SHOW work_mem"), "4MB");
}

#[test]
fn transactions_that_fail_leave_things_as_they_were() {
    let pooler = single(|_| {});
    let mut one = Dialogue::log_in(pooler.address, "alice", &[]);
    let mut other = Dialogue::log_in(pooler.address, "alice", &[]);
    run(&mut one, "SET work_mem = '5MB'");
    for (texts, wanted) in [
        (&["BEGIN", "SET work_mem = '6MB'", "ROLLBACK"][..], "5MB"),
        (&["BEGIN", "RESET work_mem", "ROLLBACK"], "5MB"),
        (&["BEGIN", "SET LOCAL work_mem = '7MB'", "COMMIT"], "5MB"),
        (
            &[
                "BEGIN",
                "SET work_mem = '8MB'",
                "SAVEPOINT s",
                "SET work_mem = '9MB'",
                "ROLLBACK TO s",
                "COMMIT",
            ],
            "8MB",
        ),
        (&["RESET ALL"], "4MB"),
        (&["SET work_mem = '11MB'"], "11MB"),
        (&["SET work_mem TO DEFAULT"], "4MB"),
        (&["RESET ALL; SET work_mem = '12MB'"], "12MB"),
        (&["DISCARD ALL"], "4MB"),
    ] {
        for text in texts {
            run(&mut one, text);
        }
        assert_eq!(other.value("SHOW work_mem"), "4MB", "{texts:?}");
        assert_eq!(one.value("SHOW work_mem"), wanted, "{texts:?}");
    }
    one.query("SET work_mem = 'nonsense'");
    assert_eq!(one.tags_until_ready(), "EZ");
    assert_eq!(one.value("SHOW work_mem"), "4MB");
}

#[test]
fn a_reset_leads_back_to_what_was_asked_for_at_login() {
    let pooler = single(|_| {});
    let startup = [("extra_float_digits", "2"), ("options", "-c work_mem=6MB")];
    let mut one = Dialogue::log_in(pooler.address, "alice", &startup);
    let mut other = Dialogue::log_in(pooler.address, "alice", &[]);
    for text in ["SET work_mem = '7MB'", "DISCARD ALL", "RESET work_mem", "RESET ALL"] {
        run(&mut one, text);
        assert_eq!(other.value("SHOW work_mem"), "4MB", "{text}");
        let wanted = if text.starts_with("SET") { "7MB" } else { "6MB" };
        assert_eq!(one.value("SHOW work_mem"), wanted, "{text}");
        assert_eq!(one.value("SHOW extra_float_digits"), "2", "{text}");
    }
}

#[test]
fn no_round_trip_is_spent_when_nothing_differs() {
    let pooler = single(|_| {});
    let mut one = Dialogue::log_in(pooler.address, "alice", &[]);
    let mut other = Dialogue::log_in(pooler.address, "alice", &[]);
    run(&mut one, "SET work_mem = '5MB'");
    run(&mut other, "SET work_mem = '5MB'");
    let before = pooler.status("alice").server_synchronisations_total;
    for _ in 0..5 {
        assert_eq!(one.value("SHOW work_mem"), "5MB");
        assert_eq!(other.value("SHOW work_mem"), "5MB");
    }
    assert_eq!(pooler.status("alice").server_synchronisations_total, before);
    let mut third = Dialogue::log_in(pooler.address, "alice", &[]);
    assert_eq!(third.value("SHOW work_mem"), "4MB");
    assert!(pooler.status("alice").server_synchronisations_total > before);
}

#[test]
fn a_role_follows_its_client() {
    let cluster = Cluster::shared();
    let member = "SELECT pg_has_role('crowd', 'bob', 'member')";
    if cluster.sql(member) == "f" {
        cluster.sql("GRANT bob TO crowd");
    }
    let pooler = single(|_| {});
    let mut one = Dialogue::log_in(pooler.address, "crowd", &[]);
    let mut other = Dialogue::log_in(pooler.address, "crowd", &[]);
    run(&mut one, "SET ROLE bob");
    assert_eq!(other.value("SELECT current_user"), "crowd");
    assert_eq!(one.value("SELECT current_user"), "bob");
    run(&mut one, "RESET ROLE");
    assert_eq!(one.value("SELECT current_user"), "crowd");
}

#[test]
fn what_cannot_follow_ties_a_client_to_its_server() {
    for (text, check, wanted, reason) in [
        (
            "SELECT pg_advisory_lock(71)",
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 71 AND pid = pg_backend_pid()",
            "1",
            "advisory_lock",
        ),
        ("CREATE TEMP TABLE mine AS SELECT 7 AS a", "SELECT a FROM mine", "7", "temporary_table"),
        ("SELECT 6 AS a INTO TEMP mine", "SELECT a FROM mine", "6", "temporary_table"),
        (
            "SELECT 1; CREATE TEMP TABLE mine AS SELECT 5 AS a",
            "SELECT a FROM mine",
            "5",
            "temporary_table",
        ),
        ("BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT 8; COMMIT", "FETCH c", "8", "hold_cursor"),
        ("PREPARE mine (int) AS SELECT $1 + 2", "EXECUTE mine (7)", "9", "sql_prepared_statement"),
        (
            "SELECT set_config(lower('MY.X'), 'y', false)",
            "SELECT current_setting('my.x')",
            "y",
            "setting",
        ),
    ] {
        let pooler = Pooler::start(|_| {});
        let mut one = Dialogue::log_in(pooler.address, "alice", &[]);
        run(&mut one, text);
        let mut others: Vec<_> =
            (0..4).map(|_| Dialogue::log_in(pooler.address, "alice", &[])).collect();
        for other in &mut others {
            assert_eq!(other.value("SELECT 1"), "1");
        }
        let pid = one.value("SELECT pg_backend_pid()");
        assert_eq!(one.value(check), wanted, "{text}");
        assert!(others.iter_mut().all(|other| other.value("SELECT pg_backend_pid()") != pid));
        assert_eq!(one.value("SELECT pg_backend_pid()"), pid);
        let pins = pooler.status("alice").pins_total;
        assert_eq!((pins.len(), pins[0].reason.as_str(), pins[0].count), (1, reason, 1));
        drop(one);
        drop(others);
        // The server is reset, not closed.
        pooler.wait_for("alice", "no server is in use", |pool| {
            pool.servers_active + pool.servers_tested == 0 && pool.clients_active == 0
        });
        let alive = format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}");
        assert_eq!(Cluster::shared().sql(&alive), "1", "{text}");
        let locked =
            format!("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = {pid}");
        assert_eq!(Cluster::shared().sql(&locked), "0");
        assert_eq!(pooler.status("alice").servers_closed_dirty_total, 0, "{text}");
    }
}

#[test]
fn what_is_prepared_in_sql_is_prepared_for_the_protocol_too() {
    let pooler = Pooler::start(|_| {});
    let mut one = Dialogue::log_in(pooler.address, "alice", &[]);
    one.send(
        &crate::postgres::batch()
            .parse("", "PREPARE everywhere AS SELECT 'here'")
            .run("", &[])
            .sync()
            .0,
    );
    let replies = one.until_ready();
    assert_eq!(replies.iter().map(|reply| reply.tag).collect::<String>(), "12CZ", "{replies:?}");
    let mut other = Dialogue::log_in(pooler.address, "alice", &[]);
    assert_eq!(other.value("SELECT 1"), "1");
    one.send(&crate::postgres::batch().run("everywhere", &[]).sync().0);
    assert_eq!(one.tags_until_ready(), "2DCZ");
    assert_eq!(one.value("EXECUTE everywhere"), "here");
    run(&mut one, "DEALLOCATE everywhere");
    one.query("EXECUTE everywhere");
    assert_eq!(one.until_ready()[0].sqlstate(), "26000");
    // Nobody else ever had it.
    other.query("EXECUTE everywhere");
    assert_eq!(other.until_ready()[0].sqlstate(), "26000");
    let pins = pooler.status("alice").pins_total;
    assert_eq!((pins[0].reason.as_str(), pins[0].count), ("sql_prepared_statement", 1));
}

#[test]
fn a_listening_client_hears_what_is_told() {
    let pooler = Pooler::start(|_| {});
    let mut ear = Dialogue::log_in(pooler.address, "alice", &[]);
    run(&mut ear, "LISTEN news_of_the_pool");
    let mut mouth = Dialogue::log_in(pooler.address, "alice", &[]);
    run(&mut mouth, "NOTIFY news_of_the_pool, 'hear hear'");
    let heard = ear.receive();
    assert_eq!(heard.tag, 'A');
    assert!(String::from_utf8_lossy(&heard.body).contains("hear hear"));
}

#[test]
fn what_is_refused_fails_in_its_turn() {
    let pooler = single(|config| {
        *state(config) = SessionState {
            advisory_locks: Stateful::Refuse,
            temporary_tables: Stateful::Refuse,
            hold_cursors: Stateful::Refuse,
            sql_prepared_statements: Stateful::Refuse,
            listen: Stateful::Refuse,
            ..SessionState::default()
        };
    });
    let mut client = Dialogue::log_in(pooler.address, "alice", &[]);
    for text in [
        "SELECT pg_advisory_lock(1)",
        "CREATE TEMP TABLE t ()",
        "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
        "PREPARE p AS SELECT 1",
        "LISTEN x",
    ] {
        client.query(text);
        let replies = client.until_ready();
        let tags: String = replies.iter().map(|reply| reply.tag).collect();
        assert_eq!(tags, "EZ", "{text}: {replies:?}");
        assert_eq!(replies[0].sqlstate(), "0A000", "{text}");
        let report = Report::read(&replies[0].body).unwrap();
        assert!(
            report.get(b'H').is_some_and(|hint| !hint.is_empty()),
            "{text}: what to do instead"
        );
        assert_eq!(batch(&mut client, text), "EZ", "{text}");
        assert_eq!(client.value("SELECT 'goes on'"), "goes on");
    }
    // Its transaction fails, like with any error.
    run(&mut client, "BEGIN");
    client.query("LISTEN x");
    assert_eq!(client.until_ready()[1].body, b"E");
    client.query("ROLLBACK");
    assert_eq!(client.tags_until_ready(), "CZ");
    run(&mut client, "BEGIN; CREATE TEMP TABLE t () ON COMMIT DROP; COMMIT");
    assert_eq!(pooler.status("alice").servers_closed_dirty_total, 0);
}

#[test]
fn what_is_ignored_is_passed_on() {
    let pooler = single(|config| {
        *state(config) = SessionState {
            track_settings: false,
            temporary_tables: Stateful::Ignore,
            sql_prepared_statements: Stateful::Ignore,
            ..SessionState::default()
        };
    });
    let mut one = Dialogue::log_in(pooler.address, "alice", &[]);
    let mut other = Dialogue::log_in(pooler.address, "alice", &[]);
    run(&mut one, "SET work_mem = '5MB'");
    run(&mut one, "CREATE TEMP TABLE left_behind ()");
    assert_eq!(other.value("SHOW work_mem"), "5MB");
    assert_eq!(other.value("SELECT count(*) FROM left_behind"), "0");
    run(&mut one, "PREPARE left_behind AS SELECT 'anyone'");
    assert_eq!(other.value("EXECUTE left_behind"), "anyone");
    assert_eq!(pooler.status("alice").pins_total, []);
}

/// Longer than what is read at once.
fn much() -> String {
    format!("/* {} */ SELECT '{}';", "; SET ".repeat(10_000), "; LISTEN x;".repeat(5_000))
}

#[test]
fn what_a_long_text_sets_at_its_end_follows_its_client_and_nobody_else() {
    for buffer_bytes in [4 << 10, 16 << 10, 256 << 10] {
        let pooler = single(|config| config.runtime.buffer_bytes = buffer_bytes);
        let mut one = Dialogue::log_in(pooler.address, "alice", &[]);
        let mut other = Dialogue::log_in(pooler.address, "alice", &[]);
        run(&mut one, &format!("{}SET work_mem = '17MB'", much()));
        assert_eq!(other.value("SHOW work_mem"), "4MB");
        assert_eq!(one.value("SHOW work_mem"), "17MB");
        run(&mut one, &format!("SELECT '{}'; SET work_mem = '19MB'", "x".repeat(6_000)));
        assert_eq!(other.value("SHOW work_mem"), "4MB");
        assert_eq!(one.value("SHOW work_mem"), "19MB");
        // What only looks like it ties nobody to anything.
        run(&mut one, &much());
        assert_eq!(other.value("SHOW work_mem"), "4MB");
        let status = pooler.status("alice");
        assert_eq!((status.servers_closed_dirty_total, status.pins_total.len()), (0, 0));
    }
}

#[test]
fn what_a_long_text_leaves_behind_at_its_end_ties_its_client_to_its_server() {
    for refuses in [false, true] {
        for (text, check, wanted, reason) in [
            (
                "SELECT pg_advisory_lock(73)",
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 73 AND pid = pg_backend_pid()",
                "1",
                "advisory_lock",
            ),
            (
                "CREATE TEMP TABLE mine AS SELECT 7 AS a",
                "SELECT a FROM mine",
                "7",
                "temporary_table",
            ),
        ] {
            let pooler = Pooler::start(|config| {
                if refuses {
                    state(config).advisory_locks = Stateful::Refuse;
                    state(config).temporary_tables = Stateful::Refuse;
                }
            });
            let mut one = Dialogue::log_in(pooler.address, "alice", &[]);
            run(&mut one, &(much() + text));
            let mut others: Vec<_> =
                (0..4).map(|_| Dialogue::log_in(pooler.address, "alice", &[])).collect();
            for other in &mut others {
                assert_eq!(other.value("SELECT 1"), "1");
            }
            assert_eq!(one.value(check), wanted, "{text}");
            let pins = pooler.status("alice").pins_total;
            assert_eq!((pins.len(), pins[0].reason.as_str(), pins[0].count), (1, reason, 1));
        }
    }
}

#[test]
fn what_is_prepared_at_length_is_seen_too() {
    let pooler = single(|_| {});
    let mut one = Dialogue::log_in(pooler.address, "alice", &[]);
    let mut other = Dialogue::log_in(pooler.address, "alice", &[]);
    let padding = " ".repeat(20_000);
    let set = "set_config('work_mem', '23MB', false)";
    assert_eq!(batch(&mut one, &format!("SELECT {padding}{set}")), "12DCZ");
    assert_eq!(other.value("SHOW work_mem"), "4MB");
    assert_eq!(one.value("SHOW work_mem"), "23MB");
    // Longer than what is kept to be prepared again: whenever it runs, nobody else gets the server.
    let padding = " ".repeat(5 << 20);
    assert_eq!(batch(&mut one, &format!("SELECT {padding}{set}")), "12DCZ");
    drop(one);
    assert_eq!(other.value("SHOW work_mem"), "4MB");
    let pins = pooler.status("alice").pins_total;
    assert_eq!((pins.len(), pins[0].reason.as_str(), pins[0].count), (1, "setting", 1));
}

#[test]
fn a_long_text_that_listens_is_heard() {
    let pooler = Pooler::start(|_| {});
    let mut ear = Dialogue::log_in(pooler.address, "alice", &[]);
    run(&mut ear, &(much() + "LISTEN at_length"));
    let mut mouth = Dialogue::log_in(pooler.address, "alice", &[]);
    run(&mut mouth, "NOTIFY at_length, 'hear hear'");
    let heard = ear.receive();
    assert_eq!(heard.tag, 'A');
    assert!(String::from_utf8_lossy(&heard.body).contains("hear hear"));
    assert_eq!(pooler.status("alice").pins_total, []);
}
