//! Message by message: what drivers may legally do and poolers get wrong.

use std::io::{Read as _, Write as _};

use bs9_wire::{
    encode::frontend,
    message::frontend::Target,
    startup::{gss_request, ssl_request},
    tag::FrontendTag,
};

use crate::postgres::{Dialogue, Pooler};

/// Parse, Bind and Execute of the unnamed statement.
fn batch(out: &mut Vec<u8>, query: &str) {
    frontend::parse(out, b"", query.as_bytes(), &[]);
    out.extend(Dialogue::message(FrontendTag::Bind, &[0; 8]));
    frontend::describe(out, Target::Portal(b""));
    out.extend(Dialogue::message(FrontendTag::Execute, &[0; 5]));
}

fn single(pooler: &Pooler) -> Dialogue {
    Dialogue::log_in(pooler.address, "alice", &[])
}

fn small_pool() -> Pooler {
    Pooler::start(|config| {
        let postgres = config.postgres.as_mut().unwrap();
        postgres.databases.get_mut("app").unwrap().pool_size = 1;
        // What is looked at here is what servers and clients say, not who keeps which server.
        postgres.session_state.listen = bs9_config::Stateful::Ignore;
        postgres.session_state.temporary_tables = bs9_config::Stateful::Ignore;
    })
}

fn clean(pooler: &Pooler) {
    pooler.wait_for("alice", "the server is idle", |pool| {
        (pool.servers_active, pool.servers_idle, pool.servers_closed_dirty_total) == (0, 1, 0)
    });
}

#[test]
fn encryption_is_declined_and_the_login_goes_on() {
    let pooler = Pooler::start(|_| {});
    let mut client = Dialogue::open(pooler.address);
    for request in [gss_request, ssl_request] {
        let mut packet = Vec::new();
        request(&mut packet);
        client.send(&packet);
        assert_eq!(client.byte(), b'N');
    }
    let mut again = Vec::new();
    ssl_request(&mut again);
    client.send(&again);
    assert_eq!(client.receive().sqlstate(), "08P01");
    let mut direct = Dialogue::open(pooler.address);
    direct.send(&[0x16, 3, 1, 0, 10]);
    assert_eq!(direct.next(), None);
    let mut old = Dialogue::open(pooler.address);
    old.send(&[0, 0, 0, 8, 0, 2, 0, 0]);
    assert_eq!(old.receive().sqlstate(), "0A000");
}

#[test]
fn a_client_of_the_newest_protocol_gets_a_long_secret() {
    let pooler = Pooler::start(|_| {});
    let mut client = Dialogue::open(pooler.address);
    let mut packet = vec![0, 0, 0, 0, 0, 3, 0, 9];
    packet.extend_from_slice(b"user\0alice\0database\0app\0_pq_.novelty\0on\0\0");
    packet[3] = packet.len() as u8;
    client.send(&packet);
    let negotiated = client.receive();
    assert_eq!(negotiated.tag, 'v');
    assert_eq!(negotiated.body[..8], [0, 3, 0, 2, 0, 0, 0, 1]);
    let key = loop {
        let reply = client.receive();
        if reply.tag == 'K' {
            break reply;
        }
    };
    assert_eq!(key.body.len(), 4 + 32);
}

#[test]
fn what_servers_report_is_told_before_and_after_there_is_one() {
    let pooler = Pooler::start(|_| {});
    for _ in 0..2 {
        let client = single(&pooler);
        for name in ["server_version", "client_encoding", "DateStyle", "integer_datetimes"] {
            assert!(client.parameter(name).is_some(), "{name} is missing");
        }
        assert_eq!(client.parameter("session_authorization"), Some("alice"));
    }
}

#[test]
fn parameters_follow_the_client_and_nobody_else() {
    let pooler = small_pool();
    let asked = [
        ("application_name", "first"),
        ("datestyle", "german"),
        ("extra_float_digits", "3"),
        ("options", "-c search_path=elsewhere --work-mem=9MB"),
    ];
    let mut first = Dialogue::log_in(pooler.address, "alice", &asked);
    let mut second = Dialogue::log_in(pooler.address, "alice", &[("application_name", "second")]);
    assert_eq!(first.parameter("application_name"), Some("first"));
    for _ in 0..3 {
        assert_eq!(first.value("SHOW application_name"), "first");
        assert_eq!(first.value("SHOW DateStyle"), "German, DMY");
        assert_eq!(first.value("SHOW extra_float_digits"), "3");
        assert_eq!(first.value("SHOW search_path"), "elsewhere");
        assert_eq!(first.value("SHOW work_mem"), "9MB");
        assert_eq!(second.value("SHOW application_name"), "second");
        assert_eq!(second.value("SHOW DateStyle"), "ISO, MDY");
        assert_eq!(second.value("SHOW extra_float_digits"), "1");
        assert_eq!(second.value("SHOW search_path"), "\"$user\", public");
        assert_eq!(second.value("SHOW work_mem"), "4MB");
    }
    // The server's spelling, once it is known.
    assert_eq!(first.parameter("DateStyle"), Some("German, DMY"));
    let third = Dialogue::log_in(pooler.address, "alice", &asked);
    assert_eq!(third.parameter("DateStyle"), Some("German, DMY"));
    second.query("SET TimeZone = 'Asia/Tokyo'");
    second.until_ready();
    assert_eq!(second.parameter("TimeZone"), Some("Asia/Tokyo"));
    assert_ne!(first.value("SHOW TimeZone"), "Asia/Tokyo");
    assert_eq!(second.value("SHOW TimeZone"), "Asia/Tokyo");
    clean(&pooler);
}

#[test]
fn an_encoding_is_told_by_the_servers_name_from_the_start() {
    let pooler = small_pool();
    for (asked, wanted) in [("utf-8", "UTF8"), ("eucjp", "EUC_JP"), ("iso-8859-15", "LATIN9")] {
        let mut client = Dialogue::log_in(pooler.address, "alice", &[("client_encoding", asked)]);
        assert_eq!(client.parameter("client_encoding"), Some(wanted));
        let told = client.parameters.len();
        assert_eq!(client.value("SHOW client_encoding"), wanted);
        assert_eq!(client.parameters.len(), told, "the server says the same");
    }
}

#[test]
fn quotes_in_a_parameter_are_only_a_value() {
    let pooler = small_pool();
    let name = "it's \\ \"quoted\"; DROP TABLE x; --";
    let mut client = Dialogue::log_in(pooler.address, "alice", &[("application_name", name)]);
    assert_eq!(client.value("SHOW application_name"), name);
}

#[test]
fn a_parameter_the_server_refuses_ends_the_client_with_its_words() {
    let pooler = small_pool();
    let mut client = Dialogue::log_in(pooler.address, "alice", &[("nonsense", "1")]);
    client.query("SELECT 1");
    assert_eq!(client.receive().sqlstate(), "42704");
    assert_eq!(client.next(), None);
    clean(&pooler);
    let mut odd = Dialogue::greet(pooler.address, "alice", &[("a b", "1")]);
    assert_eq!(odd.receive().sqlstate(), "08P01");
}

#[test]
fn a_session_that_acts_as_someone_else_is_not_handed_on() {
    let pooler = small_pool();
    let mut client = single(&pooler);
    client.query("SET SESSION AUTHORIZATION bob");
    client.until_ready();
    assert_eq!(client.value("SELECT current_user"), "bob");
    assert_eq!(pooler.status("alice").pins_total[0].reason, "setting");
    drop(client);
    let mut next = single(&pooler);
    assert_eq!(next.value("SELECT current_user"), "alice");
}

#[test]
fn flush_yields_replies_and_keeps_the_server() {
    let pooler = small_pool();
    let mut client = single(&pooler);
    let mut out = Vec::new();
    batch(&mut out, "SELECT 1");
    frontend::flush(&mut out);
    client.send(&out);
    let tags: String = (0..5).map(|_| client.receive().tag).collect();
    assert_eq!(tags, "12TDC");
    pooler.wait_for("alice", "one server is in use", |pool| pool.servers_active == 1);
    client.send(&Dialogue::message(FrontendTag::Sync, &[]));
    assert_eq!(client.tags_until_ready(), "Z");
    clean(&pooler);
}

#[test]
fn several_syncs_in_flight_are_all_answered_before_the_server_goes() {
    let pooler = small_pool();
    let mut client = single(&pooler);
    let mut out = Vec::new();
    for _ in 0..100 {
        batch(&mut out, "SELECT 1");
        frontend::sync(&mut out);
        frontend::query(&mut out, "SELECT 2");
    }
    client.send(&out);
    for _ in 0..100 {
        assert_eq!(client.tags_until_ready(), "12TDCZ");
        assert_eq!(client.tags_until_ready(), "TDCZ");
    }
    clean(&pooler);
}

#[test]
fn after_an_error_everything_up_to_sync_is_skipped_a_query_included() {
    let pooler = small_pool();
    let mut client = single(&pooler);
    let mut out = Vec::new();
    batch(&mut out, "SELECT 1/0 AS error");
    frontend::query(&mut out, "SELECT 'never run'");
    batch(&mut out, "SELECT 'never run either'");
    frontend::sync(&mut out);
    frontend::query(&mut out, "SELECT 'run'");
    client.send(&out);
    assert_eq!(client.tags_until_ready(), "1EZ");
    assert_eq!(client.tags_until_ready(), "TDCZ");
    clean(&pooler);
}

#[test]
fn several_statements_in_one_query_are_one_cycle() {
    let pooler = small_pool();
    let mut client = single(&pooler);
    client.query("SELECT 1; BEGIN; SELECT 2; COMMIT; SELECT 3");
    assert_eq!(client.tags_until_ready(), "TDCCTDCCTDCZ");
    client.query("SELECT 1; SELECT 1/0; SELECT 2");
    assert_eq!(client.tags_until_ready(), "TDCEZ");
    client.query("");
    assert_eq!(client.tags_until_ready(), "IZ");
    clean(&pooler);
}

#[test]
fn copy_data_that_comes_after_the_error_is_dropped() {
    let pooler = small_pool();
    let mut client = single(&pooler);
    client.query("CREATE TEMP TABLE t (n int); COPY t FROM STDIN");
    assert_eq!(client.receive().tag, 'C');
    assert_eq!(client.receive().tag, 'G');
    client.send(&Dialogue::message(FrontendTag::CopyData, b"not a number\n"));
    assert_eq!(client.tags_until_ready(), "EZ");
    let mut late = Vec::new();
    for _ in 0..100 {
        late.extend(Dialogue::message(FrontendTag::CopyData, &[b'1'; 1000]));
    }
    late.extend(Dialogue::message(FrontendTag::CopyDone, &[]));
    frontend::query(&mut late, "SELECT 1");
    client.send(&late);
    assert_eq!(client.tags_until_ready(), "TDCZ");
    clean(&pooler);
}

#[test]
fn copy_in_a_pipelined_batch_ends_with_its_sync() {
    let pooler = small_pool();
    let mut client = single(&pooler);
    client.query("CREATE TABLE IF NOT EXISTS piped (n int)");
    client.until_ready();
    let mut out = Vec::new();
    batch(&mut out, "COPY piped FROM STDIN");
    out.extend(Dialogue::message(FrontendTag::CopyData, b"1\n2\n"));
    out.extend(Dialogue::message(FrontendTag::CopyDone, &[]));
    frontend::sync(&mut out);
    client.send(&out);
    assert_eq!(client.tags_until_ready(), "12nGCZ");
    client.query("COPY piped FROM STDIN");
    assert_eq!(client.receive().tag, 'G');
    let mut fail = Vec::new();
    frontend::copy_fail(&mut fail, "changed my mind");
    client.send(&fail);
    assert_eq!(client.tags_until_ready(), "EZ");
    assert_eq!(client.value("SELECT count(*) FROM piped"), "2");
    client.query("DROP TABLE piped");
    client.until_ready();
    clean(&pooler);
}

/// A table of that name, and a batch that begins to copy into it.
fn begin_copy(client: &mut Dialogue, table: &str) {
    client.query(&format!("DROP TABLE IF EXISTS {table}; CREATE TABLE {table} (n int)"));
    client.until_ready();
    let mut out = Vec::new();
    batch(&mut out, &format!("COPY {table} FROM STDIN"));
    frontend::sync(&mut out);
    client.send(&out);
    let tags: String = (0..4).map(|_| client.receive().tag).collect();
    assert_eq!(tags, "12nG");
}

/// CopyData that makes COPY fail.
fn bad_row() -> Vec<u8> {
    Dialogue::message(FrontendTag::CopyData, b"not a number\n")
}

#[test]
fn a_copy_in_a_batch_that_fails_lets_go_of_the_server() {
    let pooler = small_pool();
    let mut client = single(&pooler);
    let mut copy_fail = Vec::new();
    frontend::copy_fail(&mut copy_fail, "changed my mind");
    // A failure that is seen before the end is sent, one that may not be, and a change of mind.
    for (data, seen) in [(bad_row(), true), (bad_row(), false), (copy_fail, false)] {
        begin_copy(&mut client, "failing");
        client.send(&data);
        if seen {
            assert_eq!(client.receive().tag, 'E');
        }
        let mut end = Dialogue::message(FrontendTag::CopyDone, &[]);
        frontend::sync(&mut end);
        client.send(&end);
        assert_eq!(client.tags_until_ready(), if seen { "Z" } else { "EZ" });
        clean(&pooler);
    }
    client.query("COPY failing FROM STDIN");
    assert_eq!(client.receive().tag, 'G');
    let mut out = Vec::new();
    frontend::sync(&mut out);
    out.extend(bad_row());
    frontend::sync(&mut out);
    client.send(&out);
    // The second Sync came too late to be part of the data.
    assert_eq!((client.tags_until_ready(), client.tags_until_ready()), ("EZ".into(), "Z".into()));
    clean(&pooler);
    client.query("DROP TABLE failing");
    client.until_ready();
}

#[test]
fn a_copy_that_fails_before_it_reads_a_sync_answers_that_too() {
    let pooler = small_pool();
    let mut client = single(&pooler);
    client.query(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS \
         'BEGIN RAISE EXCEPTION ''no''; END'; \
         CREATE TABLE refusing (n int); \
         CREATE TRIGGER refuse BEFORE INSERT ON refusing EXECUTE FUNCTION refuse()",
    );
    client.until_ready();
    let mut out = Vec::new();
    batch(&mut out, "COPY refusing FROM STDIN");
    frontend::sync(&mut out);
    client.send(&out);
    assert_eq!(client.tags_until_ready(), "12nGEZ");
    let mut end = Dialogue::message(FrontendTag::CopyDone, &[]);
    frontend::sync(&mut end);
    client.send(&end);
    assert_eq!(client.tags_until_ready(), "Z");
    clean(&pooler);
    client.query("DROP TABLE refusing; DROP FUNCTION refuse()");
    client.until_ready();
}

#[test]
fn a_server_of_which_more_may_come_is_closed_and_its_client_served_on() {
    let pooler = small_pool();
    let mut client = single(&pooler);
    begin_copy(&mut client, "doubtful");
    client.send(&bad_row());
    assert_eq!(client.receive().tag, 'E');
    // It could have been run, had the server been done with the first Sync.
    let mut more = Dialogue::message(FrontendTag::CopyDone, &[]);
    batch(&mut more, "SELECT 1");
    frontend::sync(&mut more);
    client.send(&more);
    assert_eq!(client.tags_until_ready(), "Z");
    pooler.wait_for("alice", "the server is not kept", |pool| {
        (pool.servers_active, pool.servers_idle, pool.servers_closed_dirty_total) == (0, 0, 1)
    });
    client.query("DROP TABLE doubtful");
    assert_eq!(client.tags_until_ready(), "CZ");
}

#[test]
fn a_function_call_is_answered() {
    let pooler = small_pool();
    let mut client = single(&pooler);
    let function = client.value("SELECT 'pg_catalog.pg_backend_pid'::regproc::oid");
    let mut body = function.parse::<i32>().unwrap().to_be_bytes().to_vec();
    body.extend([0, 0, 0, 0, 0, 0]);
    client.send(&Dialogue::message(FrontendTag::FunctionCall, &body));
    assert_eq!(client.tags_until_ready(), "VZ");
    clean(&pooler);
}

#[test]
fn a_message_may_arrive_byte_by_byte_and_holds_no_server_meanwhile() {
    let pooler = small_pool();
    let mut client = single(&pooler);
    let mut out = Vec::new();
    batch(&mut out, "SELECT 1");
    frontend::sync(&mut out);
    frontend::query(&mut out, "SELECT 2");
    for byte in out {
        client.send(&[byte]);
        std::thread::yield_now();
    }
    assert_eq!(client.tags_until_ready(), "12TDCZ");
    assert_eq!(client.tags_until_ready(), "TDCZ");
    client.send(b"Q\0\0\0\x0dSELE");
    let mut other = single(&pooler);
    assert_eq!(other.value("SELECT 1"), "1");
    client.send(b"CT 3\0");
    assert_eq!(client.tags_until_ready(), "TDCZ");
    clean(&pooler);
}

#[test]
fn both_directions_flow_when_both_are_full() {
    let pooler = small_pool();
    let mut client = single(&pooler);
    let rounds = 300;
    let mut writer = client.try_clone();
    let writing = std::thread::spawn(move || {
        let text = format!("SELECT '{}'", "y".repeat(50_000));
        for _ in 0..rounds {
            let mut out = Vec::new();
            frontend::query(&mut out, &text);
            writer.write_all(&out).unwrap();
        }
    });
    for _ in 0..rounds {
        assert_eq!(client.tags_until_ready(), "TDCZ");
    }
    writing.join().unwrap();
    clean(&pooler);
}

#[test]
fn a_client_that_does_not_read_does_not_keep_the_server() {
    let pooler = small_pool();
    let mut slow = single(&pooler);
    // More than the sockets between pool and client hold would keep it; this is less.
    slow.query("SELECT repeat('z', 60000)");
    clean(&pooler);
    let mut other = single(&pooler);
    assert_eq!(other.value("SELECT 1"), "1");
    assert_eq!(slow.tags_until_ready(), "TDCZ");
}

#[test]
fn notifications_reach_the_session_that_listens() {
    let pooler = Pooler::start(|config| {
        let database = config.postgres.as_mut().unwrap().databases.get_mut("app").unwrap();
        database.pool_mode = bs9_config::PoolMode::Session;
    });
    let mut listener = single(&pooler);
    listener.query("LISTEN news");
    listener.until_ready();
    let mut speaker = single(&pooler);
    speaker.query("NOTIFY news, 'hello'");
    speaker.until_ready();
    let news = listener.receive();
    assert_eq!(news.tag, 'A');
    assert!(String::from_utf8_lossy(&news.body).contains("hello"));
}

#[test]
fn what_an_idle_server_says_unasked_does_no_harm() {
    let pooler = small_pool();
    let mut client = single(&pooler);
    client.query("LISTEN gossip");
    client.until_ready();
    let pid = client.value("SELECT pg_backend_pid()");
    clean(&pooler);
    let other = Pooler::start(|_| {});
    let mut speaker = single(&other);
    for _ in 0..10 {
        speaker.query("NOTIFY gossip, 'nobody hears'");
        speaker.until_ready();
    }
    assert_eq!(client.value("SELECT pg_backend_pid()"), pid);
    client.query("UNLISTEN *");
    client.until_ready();
    clean(&pooler);
}

#[test]
fn messages_out_of_place_end_the_client_and_spare_the_pool() {
    let pooler = small_pool();
    let too_long = [b'S', 0x7f, 0xff, 0xff, 0xff];
    let password = Dialogue::message(FrontendTag::Password, b"x\0");
    for bytes in [&[b'!', 0, 0, 0, 4][..], &[b'Q', 0, 0, 0, 3], &too_long, &password] {
        let mut client = single(&pooler);
        client.send(bytes);
        assert_eq!(client.receive().sqlstate(), "08P01", "{bytes:?}");
        assert_eq!(client.next(), None);
    }
    let mut client = single(&pooler);
    assert_eq!(client.value("SELECT 1"), "1");
    clean(&pooler);
}

#[test]
fn goodbye_closes_without_a_word() {
    let pooler = small_pool();
    let mut client = single(&pooler);
    assert_eq!(client.value("SELECT 1"), "1");
    client.send(&Dialogue::message(FrontendTag::Terminate, &[]));
    let mut rest = Vec::new();
    client.try_clone().read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty());
    clean(&pooler);
}
