//! LISTEN by clients that share server connections.

use std::{collections::BTreeSet, time::Duration};

use bs9_config::{Config, Stateful};
use futures_util::StreamExt as _;
use tokio_postgres::{AsyncMessage, NoTls};

use crate::postgres::{Batch, Cluster, Dialogue, PATIENCE, Pooler, Reply, eventually, run};

mod database;

/// With a single server connection for those who ask.
fn single(change: impl FnOnce(&mut Config)) -> Pooler {
    Pooler::start(|config| {
        let postgres = config.postgres.as_mut().unwrap();
        postgres.databases.get_mut("app").unwrap().pool_size = 1;
        change(config);
    })
}

fn client(pooler: &Pooler) -> Dialogue {
    Dialogue::log_in(pooler.address, "alice", &[])
}

/// Channel and payload.
fn told(reply: &Reply) -> (String, String) {
    assert_eq!(reply.tag, 'A', "{reply:?}");
    let mut fields = reply.body[4..].split(|byte| *byte == 0);
    let mut field = || String::from_utf8_lossy(fields.next().unwrap()).into_owned();
    (field(), field())
}

fn notify(channel: &str, payload: &str) {
    in_app(&format!("SELECT pg_notify('{channel}', '{payload}')"));
}

/// Past the pool.
fn in_app(statement: &str) -> String {
    past("app", statement)
}

/// Likewise, in that database.
fn past(database: &str, statement: &str) -> String {
    let port = Cluster::shared().port().to_string();
    let run = Cluster::tool("psql")
        .args(["-XqAt", "-h", "127.0.0.1", "-p", &port, "-U", "postgres", "-d", database])
        .args(["-v", "ON_ERROR_STOP=1", "-c", statement])
        .output()
        .unwrap();
    assert!(run.status.success(), "{run:?}");
    String::from_utf8_lossy(&run.stdout).trim().to_owned()
}

/// Process ids of the servers that were told to listen to this channel last.
fn ears(channel: &str) -> Vec<String> {
    let query = format!(
        "SELECT pid FROM pg_stat_activity WHERE query LIKE '%LISTEN \"{channel}\"%' AND pid <> pg_backend_pid()"
    );
    in_app(&query).lines().map(str::to_owned).collect()
}

#[test]
fn one_connection_listens_for_all() {
    let pooler = Pooler::start(|config| {
        let postgres = config.postgres.as_mut().unwrap();
        postgres.databases.get_mut("app").unwrap().pool_size = 2;
    });
    let mut all: Vec<_> = (0..12).map(|_| client(&pooler)).collect();
    for one in &mut all {
        assert_eq!(run(one, "LISTEN everybody"), "CZ");
    }
    // They have two servers between them, and none of those listens.
    for one in &mut all {
        assert_eq!(one.value("SELECT count(*) FROM pg_listening_channels()"), "0");
    }
    assert_eq!(ears("everybody").len(), 1);
    run(&mut all[0], "NOTIFY everybody, 'from a client'");
    notify("everybody", "from outside");
    for one in &mut all {
        let heard = [one.receive(), one.receive()].map(|reply| told(&reply).1);
        assert_eq!(heard, ["from a client", "from outside"]);
    }
    let status = pooler.status("alice");
    assert_eq!(status.pins_total, []);
    assert_eq!((status.notifications_total, status.listener_losses_total), (24, 0));
    assert_eq!(status.servers_closed_dirty_total, 0);
}

/// Runs each script as simple queries and as batches, then sees which channels are heard.
fn hears(pooler: &Pooler, script: &[&str], wanted: &str) {
    for extended in [false, true] {
        let mut ear = client(pooler);
        run(&mut ear, "LISTEN the_end");
        for text in script {
            // Those fail in a batch of one.
            let simple = !extended || text.contains(';');
            let batch = match simple {
                true => Batch::default().query(text),
                false => Batch::default().extended(text).sync(),
            };
            ear.send(&batch.0);
            let _errors_are_meant = ear.until_ready();
        }
        // Whatever it listens to else.
        run(&mut ear, "LISTEN sentinel");
        for channel in ["a", "b", "Odd \"name\"", "the_end", "sentinel"] {
            notify(channel, "x");
        }
        let mut heard = BTreeSet::new();
        loop {
            let (channel, _) = told(&ear.receive());
            if channel == "sentinel" {
                break;
            }
            assert!(heard.insert(channel.clone()), "{script:?}: {channel} was heard twice");
        }
        let heard: Vec<_> = heard.into_iter().collect();
        assert_eq!(heard.join(","), wanted, "{script:?}, extended: {extended}");
    }
}

#[test]
fn what_is_listened_to_is_what_was_committed() {
    let pooler = single(|_| {});
    for (script, wanted) in [
        (&["LISTEN a"][..], "a,the_end"),
        (&["LISTEN A", "LISTEN \"Odd \"\"name\"\"\""], "Odd \"name\",a,the_end"),
        (&["LISTEN a", "LISTEN a", "UNLISTEN b"], "a,the_end"),
        (&["LISTEN a", "UNLISTEN a"], "the_end"),
        (&["LISTEN a", "LISTEN b", "UNLISTEN *", "LISTEN b"], "b"),
        (&["LISTEN a; LISTEN b; UNLISTEN a"], "b,the_end"),
        (&["LISTEN a", "SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; RESET ALL"], ""),
        (&["LISTEN a", "DISCARD ALL"], ""),
        (&["LISTEN a", "UNLISTEN a; SELECT 1 / 0"], "a,the_end"),
        (&["LISTEN a; SELECT 1 / 0"], "the_end"),
        // In transactions.
        (&["BEGIN", "LISTEN a", "COMMIT"], "a,the_end"),
        (&["BEGIN", "LISTEN a", "ROLLBACK"], "the_end"),
        (&["BEGIN", "LISTEN a", "SELECT 1 / 0", "COMMIT"], "the_end"),
        (&["BEGIN", "LISTEN a", "SAVEPOINT s", "LISTEN b", "ROLLBACK TO s", "COMMIT"], "a,the_end"),
        (&["LISTEN a", "BEGIN", "UNLISTEN a", "COMMIT"], "the_end"),
        (&["LISTEN a", "BEGIN", "UNLISTEN a", "ROLLBACK"], "a,the_end"),
        (&["LISTEN a", "BEGIN", "UNLISTEN *", "COMMIT"], ""),
        (&["LISTEN a", "BEGIN", "UNLISTEN *", "ROLLBACK"], "a,the_end"),
        (
            &["LISTEN a", "BEGIN", "SAVEPOINT s", "UNLISTEN a", "ROLLBACK TO s", "COMMIT"],
            "a,the_end",
        ),
        (&["LISTEN a", "BEGIN", "UNLISTEN a", "LISTEN a", "LISTEN b", "COMMIT"], "a,b,the_end"),
        (&["LISTEN a", "BEGIN", "LISTEN b", "UNLISTEN b", "COMMIT"], "a,the_end"),
        (&["LISTEN a", "BEGIN", "SELECT 1 / 0", "UNLISTEN a", "COMMIT"], "a,the_end"),
        // In one text.
        (&["BEGIN; LISTEN a; COMMIT"], "a,the_end"),
        (&["BEGIN; LISTEN a; ROLLBACK"], "the_end"),
        (&["SELECT 1; LISTEN a"], "a,the_end"),
        (&["LISTEN a", "BEGIN; UNLISTEN a; COMMIT"], "the_end"),
        (&["LISTEN a", "BEGIN; UNLISTEN a; ROLLBACK"], "a,the_end"),
        (&["LISTEN a", "UNLISTEN a; ROLLBACK"], "a,the_end"),
        (&["LISTEN a", "SELECT 1; UNLISTEN *"], ""),
        // Nothing of the kind.
        (&["LISTEN", "UNLISTEN", "LISTEN a b", "UPDATE nothing SET a = 1"], "the_end"),
    ] {
        hears(&pooler, script, wanted);
    }
    let status = pooler.status("alice");
    assert_eq!(status.pins_total, []);
    let mut last = client(&pooler);
    assert_eq!(last.value("SELECT count(*) FROM pg_listening_channels()"), "0");
    assert_eq!(last.value("SELECT coalesce(current_setting('bs9.unlistened', true), '')"), "");
}

#[test]
fn replies_are_those_of_a_server_whatever_is_pipelined() {
    let pooler = single(|_| {});
    let direct = ([127, 0, 0, 1], Cluster::shared().port()).into();
    let one = || Batch::default();
    let insert = "COPY pg_temp.copied FROM STDIN";
    let batches = [
        one().query("LISTEN p; SELECT 1").query("SELECT 2").query("UNLISTEN p").query("SELECT 3"),
        one().extended("LISTEN p").extended("SELECT 1").sync().extended("SELECT 2").sync(),
        one()
            .query("BEGIN")
            .query("LISTEN p")
            .query("UNLISTEN p")
            .query("COMMIT")
            .query("SELECT 1"),
        one().extended("BEGIN").extended("UNLISTEN *").extended("COMMIT").sync().query("SELECT 1"),
        one().parse("l", "LISTEN p").parse("u", "UNLISTEN p").describe("u").run("l", &[]).sync(),
        one().run("u", &[]).run("l", &[]).run("u", &[]).sync().query("SELECT 2"),
        one().run("l", &[]).run("nothing", &[]).run("u", &[]).sync().query("LISTEN p"),
        one().query("BEGIN; LISTEN p; CREATE TEMP TABLE copied (a int) ON COMMIT DROP"),
        one()
            .query(insert)
            .message(bs9_wire::tag::FrontendTag::CopyData, b"1\n2\n")
            .message(bs9_wire::tag::FrontendTag::CopyDone, b"")
            .query("SELECT * FROM copied"),
        one().query("COMMIT").query("UNLISTEN *").query("SELECT 4"),
    ];
    let mut pooled = client(&pooler);
    let mut straight = Dialogue::log_in(direct, "alice", &[]);
    for batch in batches {
        let batch = batch.query("SELECT 'the end of it'");
        let [through, past] = [&mut pooled, &mut straight].map(|dialogue| {
            dialogue.send(&batch.0);
            let mut replies = Vec::new();
            while !replies
                .iter()
                .any(|reply: &Reply| reply.tag == 'D' && reply.body.ends_with(b"the end of it"))
            {
                replies.push(dialogue.receive());
            }
            assert_eq!(dialogue.tags_until_ready(), "CZ");
            replies.iter().map(Reply::essence).collect::<Vec<_>>()
        });
        assert_eq!(through, past, "{:?}", String::from_utf8_lossy(&batch.0));
    }
}

#[test]
fn notifications_come_between_transactions() {
    let pooler = single(|_| {});
    let mut ear = client(&pooler);
    run(&mut ear, "LISTEN between");
    run(&mut ear, "BEGIN");
    for payload in ["one", "two"] {
        notify("between", payload);
    }
    let delivered = || pooler.status("alice").notifications_total;
    for _ in 0..50 {
        assert_eq!(run(&mut ear, "SELECT 1"), "TDCZ");
    }
    assert_eq!(delivered(), 0);
    assert_eq!(run(&mut ear, "COMMIT"), "CZ");
    assert_eq!(told(&ear.receive()).1, "one");
    assert_eq!(told(&ear.receive()).1, "two");
    // A client that takes a large result bit by bit is not interrupted in the middle of it.
    ear.query("SELECT repeat('z', 3000) FROM generate_series(1, 2000)");
    notify("between", "late");
    let replies = ear.until_ready();
    assert_eq!(replies.iter().filter(|reply| reply.tag == 'D').count(), 2000);
    let early = replies.iter().find(|reply| reply.tag == 'A');
    assert_eq!(early, None, "inside a result");
    assert_eq!(told(&ear.receive()).1, "late");
}

#[test]
fn who_does_not_take_them_is_told_so() {
    let pooler = single(|config| {
        config.postgres.as_mut().unwrap().limits.notification_queue = 16 << 10;
    });
    let mut slow = client(&pooler);
    let mut quick = client(&pooler);
    run(&mut slow, "LISTEN flood");
    run(&mut quick, "LISTEN flood");
    run(&mut slow, "BEGIN");
    for first in [1, 11, 21, 31] {
        let last = first + 9;
        in_app(&format!(
            "SELECT pg_notify('flood', n || repeat('x', 1000)) FROM generate_series({first}, {last}) n"
        ));
        for n in first..=last {
            assert!(told(&quick.receive()).1.starts_with(&format!("{n}x")));
        }
    }
    eventually("the queue overflows", || pooler.status("alice").notification_overflows_total == 1);
    run(&mut slow, "COMMIT");
    let mut heard = 0;
    let last = loop {
        let reply = slow.receive();
        if reply.tag != 'A' {
            break reply;
        }
        heard += 1;
        assert!(told(&reply).1.starts_with(&format!("{heard}x")));
    };
    assert!((10..40).contains(&heard), "{heard}");
    assert_eq!(last.sqlstate(), "53400");
    assert_eq!(slow.next(), None);
    assert_eq!(quick.value("SELECT 1"), "1");
}

#[test]
fn a_lost_connection_is_made_again() {
    let pooler = single(|_| {});
    let mut ear = client(&pooler);
    run(&mut ear, "LISTEN phoenix");
    run(&mut ear, "LISTEN ashes");
    let old = ears("ashes");
    assert_eq!(old.len(), 1);
    in_app(&format!("SELECT pg_terminate_backend({})", old[0]));
    eventually("it is noticed", || pooler.status("alice").listener_losses_total == 1);
    eventually("another listens", || {
        let pid = "SELECT pid FROM pg_stat_activity WHERE query LIKE '%LISTEN \"phoenix\"%' AND query LIKE '%LISTEN \"ashes\"%' AND pid <> pg_backend_pid() AND state = 'idle'";
        !in_app(pid).is_empty()
    });
    notify("phoenix", "risen");
    assert_eq!(told(&ear.receive()), ("phoenix".to_owned(), "risen".to_owned()));
    assert_eq!(ear.value("SELECT 1"), "1");
}

#[test]
fn who_cannot_share_keeps_a_server() {
    let pooler = Pooler::start(|_| {});
    let mut other = Dialogue::log_in(pooler.address, "alice", &[("client_encoding", "LATIN1")]);
    run(&mut other, "LISTEN alone");
    assert_eq!(pooler.status("alice").pins_total[0].reason, "listen");
    // Shared first, then tied to a server for another reason.
    let mut moved = client(&pooler);
    run(&mut moved, "LISTEN alone");
    run(&mut moved, "LISTEN moved");
    run(&mut moved, "SELECT pg_advisory_lock(4711)");
    assert_eq!(moved.value("SELECT count(*) FROM pg_listening_channels()"), "2");
    assert_eq!(run(&mut moved, "UNLISTEN alone"), "CZ");
    assert_eq!(run(&mut moved, "LISTEN later"), "CZ");
    notify("alone", "x");
    assert_eq!(told(&other.receive()).0, "alone");
    for channel in ["moved", "later"] {
        notify(channel, "x");
        assert_eq!(told(&moved.receive()).0, channel);
    }
}

#[test]
fn a_pool_that_pins_does_as_before() {
    let pooler = Pooler::start(|config| {
        config.postgres.as_mut().unwrap().session_state.listen = Stateful::Pin;
    });
    let mut ear = client(&pooler);
    run(&mut ear, "LISTEN pinned");
    assert_eq!(ear.value("SELECT count(*) FROM pg_listening_channels()"), "1");
    notify("pinned", "x");
    assert_eq!(told(&ear.receive()).0, "pinned");
    let pins = pooler.status("alice").pins_total;
    assert_eq!((pins.len(), pins[0].reason.as_str()), (1, "listen"));
}

#[tokio::test]
async fn tokio_postgres_listens() {
    let pooler = single(|_| {});
    let target = format!(
        "host={} port={} user=alice dbname=app",
        pooler.address.ip(),
        pooler.address.port()
    );
    let (client, mut connection) = tokio_postgres::connect(&target, NoTls).await.unwrap();
    let (heard, mut inbox) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut messages = futures_util::stream::poll_fn(move |cx| connection.poll_message(cx));
        while let Some(Ok(message)) = messages.next().await {
            if let AsyncMessage::Notification(notification) = message {
                heard.send(notification.payload().to_owned()).unwrap();
            }
        }
    });
    let listen = client.prepare("LISTEN by_driver").await.unwrap();
    assert_eq!(client.execute(&listen, &[]).await.unwrap(), 0);
    let speaker = pooler.connect("alice").await;
    for n in 0..20 {
        let payload = format!("{n}");
        speaker.execute("SELECT pg_notify('by_driver', $1)", &[&payload]).await.unwrap();
        client.query_one("SELECT 1", &[]).await.unwrap();
    }
    for n in 0..20 {
        let payload = tokio::time::timeout(PATIENCE, inbox.recv()).await.unwrap();
        assert_eq!(payload, Some(format!("{n}")));
    }
    client.batch_execute("UNLISTEN *").await.unwrap();
    speaker.batch_execute("NOTIFY by_driver, 'nobody'").await.unwrap();
    client.batch_execute("LISTEN other").await.unwrap();
    speaker.batch_execute("NOTIFY other, 'last'").await.unwrap();
    let last = tokio::time::timeout(PATIENCE, inbox.recv()).await.unwrap();
    assert_eq!(last.as_deref(), Some("last"));
}

#[test]
fn a_drain_does_not_wait_for_who_listens() {
    let pooler = single(|_| {});
    let mut ear = client(&pooler);
    run(&mut ear, "LISTEN until_the_end");
    let over = pooler.drain(Duration::from_secs(20));
    assert_eq!(ear.receive().sqlstate(), "57P01");
    over.blocking_recv().unwrap();
    eventually("nobody listens any more", || ears("until_the_end").is_empty());
}
