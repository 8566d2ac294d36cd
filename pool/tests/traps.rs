//! What a pool trips over: each trap of the wire protocol, and the tests that walk into it.
//!
//! Names without a path are of this program's modules; `wire/…` are of the crate `bs9-wire`;
//! quoted ones are dialogues (`dialogues/*.txt`), which every mode plays against a real server.
//!
//! | trap | tests |
//! |---|---|
//! | 1 first packets | `wire/startup::tests::{requests_are_told_apart, lengths_that_cannot_be_are_refused_early, encryption_is_asked_for_once_and_alone}`, `wire::encryption_is_declined_and_the_login_goes_on`, [`what_is_no_first_packet_is_not_answered`] |
//! | 2 bytes ahead of TLS | `tls::{bytes_ahead_of_the_handshake_are_refused, what_a_server_says_ahead_of_tls_is_not_believed}` |
//! | 3 direct TLS | `tls::{tls_can_come_first_if_both_mean_postgresql, tls_can_come_first_towards_a_server_that_means_postgresql_too, tls_that_comes_first_and_means_nothing_is_refused}` |
//! | 4 protocol versions, keys | `wire::a_client_of_the_newest_protocol_gets_a_long_secret`, `cancel::a_wrong_key_or_an_idle_client_cancels_nothing`, `wire/startup::tests::{versions, cancel_keys_have_4_to_256_bytes}`, `tls::servers_are_asked_for_the_newer_protocol_if_that_is_configured`, [`a_server_may_have_no_cancel_key`] |
//! | 5 startup packets | [`a_startup_packet_may_come_byte_by_byte`], `wire/startup::tests::{options_hold_settings, layouts_that_are_none, databases, parameters_by_name}` |
//! | 6 parameters before there is a server | `wire::what_servers_report_is_told_before_and_after_there_is_one`, [`a_server_of_another_version_is_told_of_from_then_on`] |
//! | 7 replication | `authentication::unknown_users_and_replication_get_the_servers_codes`: refused |
//! | 8 logins | `login::{who_does_not_exist_is_asked_for_the_same_each_time, whoever_fails_too_often_is_refused_unseen, what_changes_on_the_server_is_seen_when_the_answer_is_old, a_lookup_sees_the_catalog_and_nothing_in_its_way}`, `authentication::{a_scram_verifier_passes_the_clients_keys_on_to_the_server, a_verifier_of_another_password_is_the_servers_to_refuse}`, `tls::logins_are_bound_to_the_connection_on_both_sides`, `wire/auth::scram::tests` |
//! | 9 lengths | `wire/frame::tests`, `wire::messages_out_of_place_end_the_client_and_spare_the_pool` |
//! | 10 several Syncs | `wire::several_syncs_in_flight_are_all_answered_before_the_server_goes` |
//! | 11 Flush | `wire::flush_yields_replies_and_keeps_the_server`, "Flush behind each message" |
//! | 12 skipping to Sync | `wire::after_an_error_everything_up_to_sync_is_skipped_a_query_included`, "queries and calls in a failed batch" |
//! | 13 errors of simple queries | `wire/ledger_dialogues::simple_queries`, "a query whose second statement fails" |
//! | 14 names and texts | `prepared::dialogues::{names_of_the_pool_are_nobodys, settings_are_part_of_what_a_text_means}`, "one text with two types" |
//! | 15 ParseComplete in its turn | `prepared::dialogues::replies_are_those_of_a_server_in_transaction_mode`, `prepared::dialogues::flush_brings_what_the_pool_answers` |
//! | 16 a Parse that fails | "an error in Parse", "a failed Parse of a named statement leaves it" |
//! | 17 making room | `prepared::limits::more_statements_than_a_server_may_have`, `dialogues` with room for one statement |
//! | 18 unknown names, names in use | "closing what is not there", "a name in use" |
//! | 19 DEALLOCATE ALL, DISCARD ALL | "DEALLOCATE ALL in the middle of a batch", "DISCARD ALL between batches" |
//! | 20 results that change | `prepared::drivers::{whoever_prepares_again_after_a_change_sees_it, a_text_prepared_behind_a_change_means_what_it_says_then}`, "a result that cannot be changed unseen" |
//! | 21 the end of portals | "a portal is over with its batch", "a portal over several batches" |
//! | 22 transactions inside a query | `wire::several_statements_in_one_query_are_one_cycle`, "a failed transaction inside a query" |
//! | 23 failed transactions | `modes::{an_open_transaction_dies_with_its_client, what_a_client_that_vanished_was_running_is_cancelled}`, "a failed transaction refuses everything but its end" |
//! | 24 COPY | `wire::{copy_data_that_comes_after_the_error_is_dropped, copy_in_a_pipelined_batch_ends_with_its_sync, a_copy_in_a_batch_that_fails_lets_go_of_the_server}`, all of `dialogues/copy.txt` |
//! | 25 function calls | `wire::a_function_call_is_answered`, "large objects, as drivers use them" |
//! | 26 news of idle servers | `wire::what_an_idle_server_says_unasked_does_no_harm`, [`what_an_idle_server_must_not_say_ends_it`], [`a_parameter_that_changes_under_a_server_is_never_other_than_clients_were_told`] |
//! | 27 the server's spelling | `wire::{parameters_follow_the_client_and_nobody_else, an_encoding_is_told_by_the_servers_name_from_the_start}`, [`another_spelling_of_a_parameter_costs_no_round_trips`] |
//! | 28 cancels that come late | `cancel::cancels_that_come_late_hit_nobody_elses_query`, `tls::a_query_is_cancelled_over_tls_on_both_sides`, `simulation` |
//! | 29 both directions full | `wire::both_directions_flow_when_both_are_full` |
//! | 30 TLS records | `tls::records_are_no_longer_than_libpq_reads_at_once` |
//! | 31 dead and timed-out servers | `modes::{a_server_that_died_idle_is_replaced_unnoticed, a_timeout_of_the_servers_own_reaches_its_client_alone}`, `prepared::limits::a_dead_server_is_noticed_before_anything_is_said`, [`who_has_gone_without_a_word_is_found_out`], [`a_server_that_dies_before_the_client_has_said_anything_to_it_is_replaced`] |
//! | 32 errors without fields | [`an_error_may_lack_any_field`] |
//! | 33 what a session leaves | `session::what_cannot_follow_ties_a_client_to_its_server`; the seed of `setseed` is not followed, and outlives `DISCARD ALL` on a server of one's own, too |
//! | 34 logins of servers that fail | `authentication::what_the_server_says_at_login_reaches_the_client`, `reload::clients_wait_for_a_server_that_comes_back`, `simulation` |

use bs9_wire::startup::{ProtocolVersion, StartupParameters, cancel_request, startup_message};

use crate::postgres::{Cluster, Dialogue, Fake, Manner, Pooler, eventually};

/// An ErrorResponse of these fields.
fn error(fields: &[u8]) -> Vec<u8> {
    let mut out = vec![b'E'];
    out.extend((fields.len() as u32 + 5).to_be_bytes());
    out.extend(fields);
    out.push(0);
    out
}

#[test]
fn a_server_may_have_no_cancel_key() {
    let fake = Fake::start(|_| Manner { has_key: false, ..Manner::default() });
    let pooler = fake.pooler();
    let mut client = Dialogue::log_in(pooler.address, "alice", &[]);
    assert_eq!(client.value("SELECT 1"), "0");
    assert_eq!(client.secret.len(), 4, "clients have one");
    let mut request = Vec::new();
    cancel_request(&mut request, client.process_id, &client.secret);
    let mut canceller = Dialogue::open(pooler.address);
    canceller.send(&request);
    assert_eq!(canceller.next(), None);
    assert_eq!(client.value("SELECT 1"), "0");
}

/// Whether the kernel watches over the only connection of `port`, its own or the other end's, with
/// a timer of keepalive.
fn is_watched_over(port: u16, own: bool) -> bool {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("the kernel's connections");
    let mut lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let end = format!(":{port:04X}");
    // Address, the other's, state, queues, timer: 1 is established, 2 is keepalive.
    lines.any(|line| {
        line[if own { 1 } else { 2 }].ends_with(&end)
            && line[3] == "01"
            && line[5].starts_with("02")
    })
}

#[test]
fn who_has_gone_without_a_word_is_found_out() {
    let fake = Fake::start(|_| Manner::default());
    let pooler = fake.pooler();
    let mut client = Dialogue::log_in(pooler.address, "alice", &[]);
    assert_eq!(client.value("SELECT 1"), "0");
    eventually("the server is watched", || is_watched_over(fake.port(), false));
    eventually("the client is watched", || is_watched_over(pooler.address.port(), true));
}

#[test]
fn what_is_no_first_packet_is_not_answered() {
    let pooler = Pooler::start(|_| {});
    let server = Cluster::shared().address();
    for packet in [&b"X\0\0\0\x04"[..], b"GET / HTTP/1.1\r\n\r\n", &[0, 0, 0, 7, 1, 2, 3], &[0; 8]]
    {
        for address in [server, pooler.address] {
            let mut stranger = Dialogue::open(address);
            stranger.send(packet);
            assert_eq!(stranger.next(), None, "{packet:?}");
        }
    }
}

#[test]
fn a_startup_packet_may_come_byte_by_byte() {
    let pooler = Pooler::start(|_| {});
    let mut packet = Vec::new();
    let session = StartupParameters { user: "alice", database: "app" };
    let settings = [("options", r"-c search_path=a,\ b --work-mem=9MB"), ("DateStyle", "German")];
    startup_message(&mut packet, ProtocolVersion::V3_0, session, settings);
    let mut client = Dialogue::open(pooler.address);
    for byte in packet {
        client.send(&[byte]);
        std::thread::yield_now();
    }
    assert_eq!(client.until_ready()[0].tag, 'R');
    assert_eq!(client.value("SHOW work_mem"), "9MB");
    assert_eq!(client.value("SHOW search_path"), "a, b");
    assert_eq!(client.value("SHOW DateStyle"), "German, DMY");
}

#[test]
fn a_server_of_another_version_is_told_of_from_then_on() {
    let version = |number| Manner { version: format!("1{number}.1"), ..Manner::default() };
    let fake = Fake::start(version);
    let pooler = fake.pooler();
    let mut client = Dialogue::log_in(pooler.address, "alice", &[]);
    assert_eq!(client.parameter("server_version"), Some("10.1"));
    assert_eq!(client.value("SELECT 1"), "0");
    pooler.wait_for("alice", "the server is idle", |pool| pool.servers_idle == 1);
    // The server goes, and is replaced.
    fake.say(0, &error(b"SFATAL\0VFATAL\0C57P01\0Mgone\0"));
    pooler.wait_for("alice", "the server is not kept", |pool| pool.servers_idle == 0);
    assert_eq!(client.value("SELECT 1"), "1");
    let next = Dialogue::log_in(pooler.address, "alice", &[]);
    assert_eq!(next.parameter("server_version"), Some("11.1"));
}

#[test]
fn what_an_idle_server_must_not_say_ends_it() {
    for poison in [&b"C\0\0\0\x0dSELECT 1\0"[..], b"Z\0\0\0\x05I", b"nonsense", b"D\0\0"] {
        let fake = Fake::start(|_| Manner::default());
        let pooler = fake.pooler();
        let mut client = Dialogue::log_in(pooler.address, "alice", &[]);
        assert_eq!(client.value("SELECT 1"), "0");
        pooler.wait_for("alice", "the server is idle", |pool| pool.servers_idle == 1);
        fake.say(0, poison);
        pooler.wait_for("alice", "the server is not kept", |pool| pool.servers_idle == 0);
        assert_eq!(client.value("SELECT 1"), "1");
    }
}

#[test]
fn a_server_that_dies_before_the_client_has_said_anything_to_it_is_replaced() {
    for doomed in [1, 2] {
        let is_doomed = move |number| number < doomed;
        let fake =
            Fake::start(move |number| Manner { is_doomed: is_doomed(number), ..Manner::default() });
        let pooler = fake.pooler_with("pool_size = 1\n");
        let mut first = Dialogue::log_in(pooler.address, "alice", &[]);
        assert_eq!(first.value("SELECT 1"), "0");
        // Its parameter is set first, in a batch of the pool's own.
        let mut other = Dialogue::log_in(pooler.address, "alice", &[("application_name", "b")]);
        other.query("SELECT 1");
        if is_doomed(1) {
            // The next is new. When that dies, too, there is no end to be expected.
            assert_eq!(other.receive().sqlstate(), "08006");
        } else {
            assert_eq!(other.until_ready()[1].body[6..], *b"1");
        }
        assert_eq!(fake.connections(), 2);
    }
}

#[test]
fn another_spelling_of_a_parameter_costs_no_round_trips() {
    let pooler = Pooler::start(|config| {
        let postgres = config.postgres.as_mut().unwrap();
        postgres.databases.get_mut("app").unwrap().pool_size = 1;
    });
    let spellings = ["ISO", "iso, mdy", "ISO, MDY"];
    let mut clients =
        spellings.map(|style| Dialogue::log_in(pooler.address, "alice", &[("datestyle", style)]));
    for client in &mut clients {
        assert_eq!(client.value("SHOW DateStyle"), "ISO, MDY");
    }
    let before = pooler.status("alice").server_synchronisations_total;
    for _ in 0..5 {
        for client in &mut clients {
            assert_eq!(client.value("SHOW DateStyle"), "ISO, MDY");
        }
    }
    assert_eq!(pooler.status("alice").server_synchronisations_total, before);
}

/// What is told of a login that failed.
const WHY: &str =
    "The last login at the server failed: sorry, too many clients already (SQLSTATE 53300)";

#[test]
fn an_error_may_lack_any_field() {
    let bare = error(b"");
    let reply = bare.clone();
    let fake = Fake::start(move |_| Manner { reply: Some(reply.clone()), ..Manner::default() });
    let pooler = fake.pooler();
    let mut client = Dialogue::log_in(pooler.address, "alice", &[]);
    for _ in 0..2 {
        client.query("SELECT 1");
        let replies = client.until_ready();
        assert_eq!((replies[0].tag, &*replies[0].body), ('E', &b"\0"[..]));
    }
    assert_eq!(pooler.status("alice").servers_closed_dirty_total, 0);
    // At login, too: the pool makes up what it has to say.
    let refusing =
        Fake::start(move |_| Manner { refusal: Some(bare.clone()), ..Manner::default() });
    let pooler = refusing.pooler();
    let mut client = Dialogue::greet(pooler.address, "alice", &[]);
    let told = std::iter::from_fn(|| client.next()).find(|reply| reply.tag == 'E');
    assert!(!told.expect("an error").sqlstate().is_empty());
}

#[test]
fn who_waits_in_vain_is_told_why() {
    let full = error(b"SFATAL\0C53300\0Msorry, too many clients already\0");
    let refused = full.clone();
    // The first server connection is had.
    let refusal = move |number| (number > 0).then(|| refused.clone());
    let fake = Fake::start(move |number| Manner { refusal: refusal(number), ..Manner::default() });
    let text = fake
        .text_with("")
        .replace("wait_timeout = \"20s\"", "wait_timeout = \"2s\"\nwait_notice = \"1s\"");
    let pooler = Pooler::by(&text);
    let mut client = Dialogue::log_in(pooler.address, "alice", &[]);
    assert_eq!(client.value("SELECT"), "0");
    fake.end(0);
    pooler.wait_for("alice", "the server has gone", |pool| pool.servers_idle == 0);
    client.query("SELECT");
    for tag in ['N', 'E'] {
        let told = client.receive();
        assert_eq!((told.tag, told.detail().as_str()), (tag, WHY));
    }
    // Nor is there one for who logs in first.
    let fake = Fake::start(move |_| Manner { refusal: Some(full.clone()), ..Manner::default() });
    let text = fake.text_with("").replace("login_timeout = \"20s\"", "login_timeout = \"1s\"");
    let pooler = Pooler::by(&text);
    let mut client = Dialogue::greet(pooler.address, "alice", &[]);
    let told = client.receive();
    assert_eq!((told.tag, told.detail().as_str()), ('E', WHY));
}

#[test]
fn one_login_is_to_tell_whether_a_server_is_back() {
    // The first is refused for a while, the second not answered.
    let refusal = |number| match number {
        0 => Some(error(b"SFATAL\0C57P03\0Mthe database system is starting up\0")),
        _ => Some(Vec::new()),
    };
    let fake = Fake::start(move |number| Manner { refusal: refusal(number), ..Manner::default() });
    let pooler = Pooler::by(&fake.text_with("").replace("shards = 2", "shards = 1"));
    let greet = |_| Dialogue::greet(pooler.address, "alice", &[]);
    let mut clients = vec![greet(0)];
    eventually("it is tried again", || fake.connections() == 2);
    clients.extend((1..8).map(greet));
    pooler.wait_for("alice", "all wait", |pool| pool.clients_waiting == 8);
    // The shard has seen to them when it answers this.
    assert_eq!(pooler.clients().len(), 8);
    assert_eq!(fake.connections(), 2);
}

#[test]
fn a_parameter_that_changes_under_a_server_is_never_other_than_clients_were_told() {
    let cluster = Cluster::start();
    let pooler = Pooler::in_front_of(&cluster, |config| {
        let database = config.postgres.as_mut().unwrap().databases.get_mut("app").unwrap();
        database.pool_size = 1;
    });
    let mut one = Dialogue::log_in(pooler.address, "alice", &[]);
    let mut other = Dialogue::log_in(pooler.address, "alice", &[]);
    let told = |client: &Dialogue| client.parameter("TimeZone").expect("reported").to_owned();
    let before = told(&one);
    assert_eq!((one.value("SHOW TimeZone"), told(&other)), (before.clone(), before.clone()));
    cluster.sql("ALTER SYSTEM SET TimeZone = 'Asia/Tokyo'; SELECT pg_reload_conf()");
    // It is the next query that brings it in.
    eventually("the server has read its configuration", || {
        let has = one.value("SHOW TimeZone");
        assert_eq!(has, told(&one), "it is told of what it has");
        has == "Asia/Tokyo"
    });
    // Who was told of something else goes on having it.
    for _ in 0..2 {
        assert_eq!((other.value("SHOW TimeZone"), told(&other)), (before.clone(), before.clone()));
        assert_eq!(one.value("SHOW TimeZone"), told(&one));
        let mut newcomer = Dialogue::log_in(pooler.address, "alice", &[]);
        assert_eq!(newcomer.value("SHOW TimeZone"), told(&newcomer));
    }
    assert_eq!(pooler.status("alice").servers_closed_dirty_total, 0);
}
