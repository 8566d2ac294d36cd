//! Long messages, many statements, servers that go away.

use std::{
    collections::BTreeSet,
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use bs9_config::Config;
use bs9_wire::{
    encode::frontend,
    startup::{ProtocolVersion, StartupParameters, startup_message},
    tag::FrontendTag,
};

use crate::postgres::{Cluster, Dialogue, PATIENCE, Pooler, batch, eventually};

fn with_limit(size: usize, limit: usize) -> impl FnOnce(&mut Config) {
    move |config| {
        let postgres = config.postgres.as_mut().unwrap();
        postgres.max_prepared_statements = limit;
        postgres.databases.get_mut("app").unwrap().pool_size = size;
    }
}

fn pooler(size: usize, limit: usize) -> Pooler {
    Pooler::start(with_limit(size, limit))
}

#[test]
fn messages_longer_than_a_buffer() {
    let pooler = pooler(1, 200);
    let mut client = Dialogue::log_in(pooler.address, "alice", &[]);
    let mut other = Dialogue::log_in(pooler.address, "alice", &[]);
    let parameter = "x".repeat(10 << 20);
    let padding = " ".repeat(1 << 20);
    let long = format!("SELECT{padding}length($1::text)");
    for name in ["a", "a long text"] {
        let text = if name == "a" { "SELECT length($1::text)" } else { &long };
        client.send(&batch().parse(name, text).describe(name).sync().0);
        assert_eq!(client.tags_until_ready(), "1tTZ");
    }
    for _ in 0..2 {
        for name in ["a", "a long text"] {
            client.send(&batch().run(name, &[&parameter]).run(name, &["short"]).sync().0);
            let replies = client.until_ready();
            assert_eq!(replies[1].body[6..], *b"10485760");
            assert_eq!(replies[4].body[6..], *b"5");
        }
        other.query("DEALLOCATE ALL");
        other.until_ready();
    }
    // Too long to be kept by a name; unnamed it goes through, and is not kept.
    let too_long = format!("SELECT{}1", " ".repeat(5 << 20));
    client.send(&batch().parse("b", &too_long).run("b", &[]).sync().0);
    let replies = client.until_ready();
    assert_eq!(replies[0].sqlstate(), "54000");
    assert_eq!(replies.len(), 2);
    client.send(&batch().run("a", &["1"]).parse("b", &too_long).close("a").sync().0);
    let replies = client.until_ready();
    assert_eq!(replies.iter().map(|reply| reply.tag).collect::<String>(), "2DCEZ");
    client.send(&batch().run("a", &["1"]).sync().0);
    assert_eq!(client.tags_until_ready(), "2DCZ");
    client.send(&batch().parse("", &too_long).run("", &[]).sync().0);
    assert_eq!(client.tags_until_ready(), "12DCZ");
    other.send(&batch().parse("", "SELECT 'not yours'").sync().0);
    other.until_ready();
    client.send(&batch().run("", &[]).sync().0);
    assert_eq!(client.receive().sqlstate(), "26000");
    client.until_ready();
    let endless = "n".repeat(40_000);
    client.send(&batch().bind(&endless, &[]).sync().0);
    assert_eq!(client.receive().sqlstate(), "08P01");
}

#[test]
fn more_statements_than_a_server_may_have() {
    let pooler = pooler(2, 5);
    let mut clients: Vec<_> =
        (0..4).map(|_| Dialogue::log_in(pooler.address, "alice", &[])).collect();
    for (who, client) in clients.iter_mut().enumerate() {
        let mut preparing = batch();
        for n in 0..20 {
            preparing = preparing.parse(&format!("s{n}"), &format!("SELECT {who} * 100 + {n}"));
        }
        client.send(&preparing.sync().0);
        assert_eq!(client.tags_until_ready(), "1".repeat(20) + "Z");
    }
    for round in 0..60 {
        for (who, client) in clients.iter_mut().enumerate() {
            let n = (round * 7 + who) % 20;
            client.send(&batch().run(&format!("s{n}"), &[]).sync().0);
            let replies = client.until_ready();
            let wanted = (who * 100 + n).to_string();
            assert_eq!(replies[1].body[6..], *wanted.as_bytes(), "round {round}");
        }
    }
    let mut kept = BTreeSet::new();
    for client in &mut clients {
        kept.insert(client.value("SELECT count(*) FROM pg_prepared_statements"));
    }
    assert_eq!(kept, BTreeSet::from(["5".to_owned()]), "as many as there may be");
    let status = pooler.status("alice");
    assert!(status.prepared_evictions_total > 80, "{status:?}");
    assert_eq!(status.servers_closed_dirty_total, 0);
}

#[test]
fn statements_outlive_their_servers() {
    let pooler = Pooler::with_roles(&["outlived"], with_limit(2, 200));
    let mut client = Dialogue::log_in(pooler.address, "outlived", &[]);
    client.send(&batch().parse("a", "SELECT $1::int * 2").sync().0);
    client.until_ready();
    for round in 0..10 {
        Cluster::shared().end_connections_of("outlived");
        client.send(&batch().run("a", &["21"]).parse("b", "SELECT 'b'").close("b").sync().0);
        let replies = client.until_ready();
        let tags: String = replies.iter().map(|reply| reply.tag).collect();
        assert_eq!(tags, "2DC13Z", "round {round}");
        assert_eq!(replies[1].body[6..], *b"42");
    }
}

#[test]
fn a_dead_server_is_noticed_before_anything_is_said() {
    // The kernel takes what is written to a server that has just been killed: what is tested
    // is that the client hears either nothing but its replies, or that the server was lost.
    let pooler = Pooler::with_roles(&["noticed"], with_limit(1, 200));
    for _ in 0..20 {
        let mut client = Dialogue::log_in(pooler.address, "noticed", &[]);
        client.send(&batch().parse("a", "SELECT 1").run("a", &[]).sync().0);
        assert_eq!(client.tags_until_ready(), "12DCZ");
        Cluster::shared().sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'noticed'",
        );
        client.send(&batch().close("a").parse("a", "SELECT 1").run("a", &[]).sync().0);
        let mut tags = String::new();
        while let Some(reply) = client.next() {
            tags.push(reply.tag);
            if reply.tag == 'Z' {
                break;
            }
        }
        assert!(["312DCZ", "E", "3E", "31E"].contains(&tags.as_str()), "{tags}");
    }
}

#[test]
fn switched_off_nothing_is_looked_into() {
    let pooler = pooler(1, 0);
    let mut client = Dialogue::log_in(pooler.address, "alice", &[]);
    client.send(&batch().parse("off", "SELECT 1").run("off", &[]).sync().0);
    assert_eq!(client.tags_until_ready(), "12DCZ");
    assert_eq!(client.value("SELECT name FROM pg_prepared_statements"), "off");
    client.query("DEALLOCATE ALL");
    client.until_ready();
}

#[test]
fn a_reload_changes_the_limit_and_keeps_what_is_prepared() {
    let pooler = pooler(1, 200);
    let mut client = Dialogue::log_in(pooler.address, "alice", &[]);
    client.send(&batch().parse("a", "SELECT $1::int + 1").sync().0);
    client.until_ready();
    for limit in [1, 0, 300] {
        let mut config = Pooler::config(Cluster::shared());
        let postgres = config.postgres.as_mut().unwrap();
        postgres.max_prepared_statements = limit;
        postgres.databases.get_mut("app").unwrap().pool_size = 1;
        pooler.reload(config);
        for _ in 0..3 {
            client.send(&batch().run("a", &["41"]).sync().0);
            let replies = client.until_ready();
            assert_eq!(replies[1].body[6..], *b"42");
        }
    }
}

#[test]
fn nobody_deallocates_what_others_use() {
    let pooler = pooler(1, 200);
    let mut one = Dialogue::log_in(pooler.address, "alice", &[]);
    let mut other = Dialogue::log_in(pooler.address, "alice", &[]);
    one.send(&batch().parse("mine", "SELECT 'mine'").run("mine", &[]).sync().0);
    assert_eq!(one.tags_until_ready(), "12DCZ");
    let name = other.value("SELECT name FROM pg_prepared_statements");
    assert!(name.starts_with("bs9_"), "{name}");
    for text in [format!("DEALLOCATE {name}"), format!("deallocate prepare \"{name}\";")] {
        other.query(&text);
        assert_eq!(other.until_ready()[0].sqlstate(), "26000", "{text}");
        for statement in ["", "named"] {
            other.send(&batch().parse(statement, &text).run(statement, &[]).sync().0);
            let replies = other.until_ready();
            let error = replies.iter().find(|reply| reply.tag == 'E').expect("it fails");
            assert_eq!(error.sqlstate(), "26000", "{text}");
        }
        // Its transaction fails like with a server of its own.
        other.query("BEGIN");
        other.until_ready();
        other.query(&text);
        assert_eq!(other.until_ready()[1].body, b"E");
        other.query("ROLLBACK");
        assert_eq!(other.tags_until_ready(), "CZ");
        one.send(&batch().run("mine", &[]).sync().0);
        assert_eq!(one.tags_until_ready(), "2DCZ", "{text}");
    }
    assert_eq!(other.value("SELECT name FROM pg_prepared_statements"), name);
}

#[test]
fn what_was_dropped_behind_the_pools_back_is_prepared_again_at_the_next_use() {
    let pooler = pooler(1, 200);
    let mut one = Dialogue::log_in(pooler.address, "alice", &[]);
    let mut other = Dialogue::log_in(pooler.address, "alice", &[]);
    let preparing = batch().parse("a", "SELECT 'a'").parse("b", "SELECT 'b'").sync();
    for client in [&mut one, &mut other] {
        client.send(&preparing.0);
        assert_eq!(client.tags_until_ready(), "11Z");
    }
    let uses = |name: &str| [batch().run(name, &[]), batch().describe(name)];
    for name in ["a", "b"] {
        for using in uses(name) {
            other.query("DO $$ BEGIN EXECUTE 'DEALLOCATE ALL'; END $$");
            assert_eq!(other.tags_until_ready(), "CZ");
            one.send(&using.clone().sync().0);
            let replies = one.until_ready();
            assert_eq!((replies[0].sqlstate(), replies.len()), ("26000".to_owned(), 2));
            for client in [&mut one, &mut other] {
                for name in ["a", "b"] {
                    client.send(&batch().run(name, &[]).sync().0);
                    assert_eq!(client.tags_until_ready(), "2DCZ");
                }
            }
        }
    }
}

#[test]
fn what_the_server_keeps_back_does_not_stop_a_long_batch() {
    let pooler = pooler(1, 200);
    let mut client = Dialogue::log_in(pooler.address, "alice", &[]);
    client.send(&batch().parse("known", "SELECT 1").sync().0);
    assert_eq!(client.tags_until_ready(), "1Z");
    let many = 40_000;
    let mut parses = batch().bind("known", &[]);
    for n in 0..many {
        parses = parses.parse(&format!("n{n}"), "SELECT 1");
    }
    let parsed = format!("2{}Z", "1".repeat(many));
    // The server reads these over; which of them ends a COPY is not known before it has answered.
    let mut ends = batch().bind("known", &[]).0;
    for _ in 0..many {
        ends.extend(Dialogue::message(FrontendTag::CopyDone, &[]));
    }
    ends.extend(batch().sync().0);
    for (sent, wanted) in [(parses.sync().0, parsed), (ends, "2Z".into())] {
        let mut writer = client.try_clone();
        let writing = std::thread::spawn(move || writer.write_all(&sent).unwrap());
        assert!(client.tags_until_ready() == wanted, "they are {many} alike");
        writing.join().unwrap();
    }
    pooler.wait_for("alice", "the server is idle", |pool| pool.servers_idle == 1);
}

#[test]
fn a_client_that_leaves_while_it_waits_for_replies_leaves_its_server() {
    let pooler = pooler(1, 200);
    let mut client = Dialogue::log_in(pooler.address, "alice", &[]);
    let mut out = Vec::new();
    // Nothing behind the second is looked at before the first is over.
    for text in ["SELECT pg_sleep(1000)", "DEALLOCATE ALL", "SELECT 1"] {
        frontend::query(&mut out, text);
    }
    client.send(&out);
    pooler.wait_for("alice", "the server works", |pool| pool.servers_active == 1);
    drop(client);
    pooler.wait_for("alice", "it is left", |pool| pool.servers_active == 0);
    let mut next = Dialogue::log_in(pooler.address, "alice", &[]);
    assert_eq!(next.value("SELECT 1"), "1");
}

#[test]
fn who_does_not_read_the_pools_answers_is_not_read_from() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("pool");
    let both = format!("\"127.0.0.1:0\", \"unix:{}\"", path.display());
    let text = Pooler::text(Cluster::shared()).replace("\"127.0.0.1:0\"", &both);
    let _pooler = Pooler::by(&text);
    // What Unix sockets hold does not grow with time.
    let mut client = UnixStream::connect(&path).expect("the pool listens");
    client.set_read_timeout(Some(PATIENCE)).expect("a limit");
    let mut first = Vec::new();
    let session = StartupParameters { user: "alice", database: "app" };
    startup_message(&mut first, ProtocolVersion::V3_0, session, []);
    first.extend(batch().parse("known", "").sync().0);
    first.extend(batch().bind("known", &[]).flush().0);
    client.write_all(&first).expect("the pool reads");
    let mut received = Vec::new();
    receive_until(&mut client, &mut received, b"2\0\0\0\x04");
    // It has a server that knows the text, and all of these are the pool's to answer.
    let unit = batch().parse("a", "").close("a").0.repeat(1000);
    let (units, sent) = (300, Arc::new(AtomicUsize::new(0)));
    let (mut writer, count) = (client.try_clone().expect("a descriptor"), Arc::clone(&sent));
    let writing = std::thread::spawn(move || {
        for _ in 0..units {
            writer.write_all(&unit).expect("the pool reads");
            count.fetch_add(1, SeqCst);
        }
        writer.write_all(&batch().sync().0).expect("the pool reads");
    });
    let (mut before, mut same) = (0, 0);
    eventually("it gets no further", || {
        let now = sent.load(SeqCst);
        same = if now == before { same + 1 } else { 0 };
        before = now;
        same == 50 || now == units
    });
    assert!(before < units, "everything was read, and the answers kept");
    received.clear();
    receive_until(&mut client, &mut received, b"Z\0\0\0\x05I");
    writing.join().expect("it was read in the end");
    let answers = b"1\0\0\0\x043\0\0\0\x04".repeat(units * 1000);
    assert!(received == [&answers[..], b"Z\0\0\0\x05I"].concat(), "each of them, in order");
}

/// Reads until what was received ends like that.
fn receive_until(client: &mut UnixStream, received: &mut Vec<u8>, end: &[u8]) {
    let mut piece = [0; 16 * 1024];
    while !received.ends_with(end) {
        let count = client.read(&mut piece).expect("something");
        assert!(count > 0, "the pool has closed");
        received.extend_from_slice(&piece[..count]);
    }
}
