//! Protocol 3.2 towards both sides, byte by byte: a server of which every byte is known.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    thread,
};

use bs9_config::{PoolMode, ProtocolLevel, ServerAddress};
use bs9_wire::{
    encode::backend,
    message::backend::TransactionStatus,
    startup::{ProtocolVersion, StartupParameters, cancel_request, startup_message},
};

use crate::postgres::{Dialogue, PATIENCE, Pooler};

const PROCESS: i32 = 4711;

/// The next packet of a connection: its length, and so many bytes.
fn packet(stream: &mut TcpStream) -> Vec<u8> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let mut rest = vec![0; u32::from_be_bytes(length) as usize - 4];
    stream.read_exact(&mut rest).unwrap();
    [&length[..], &rest].concat()
}

fn accept(listener: &TcpListener) -> TcpStream {
    let (stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Takes a login. `secret`: the session's cancel key; `newest`: the protocol it says it speaks, if
/// that is not what it is asked for. Returns the session, and the word of the version it was
/// asked for.
fn session(
    listener: &TcpListener,
    secret: &[u8],
    newest: Option<ProtocolVersion>,
) -> (TcpStream, u32) {
    let mut session = accept(listener);
    let startup = packet(&mut session);
    let mut out = Vec::new();
    if let Some(newest) = newest {
        backend::negotiate_protocol_version(&mut out, newest, std::iter::empty());
    }
    backend::authentication_ok(&mut out);
    backend::parameter_status(&mut out, b"server_version", b"18.0");
    backend::backend_key_data(&mut out, PROCESS, secret);
    backend::ready_for_query(&mut out, TransactionStatus::Idle);
    session.write_all(&out).unwrap();
    (session, u32::from_be_bytes(startup[4..8].try_into().unwrap()))
}

/// Takes this query.
fn asked(session: &mut TcpStream, query: &[u8]) {
    let mut tag = [0];
    session.read_exact(&mut tag).unwrap();
    assert_eq!((tag, &packet(session)[4..]), ([b'Q'], query));
}

/// Answers a query that was cancelled.
fn cancelled(session: &mut TcpStream) {
    let mut out = Vec::new();
    backend::command_complete(&mut out, "CANCELLED");
    backend::ready_for_query(&mut out, TransactionStatus::Idle);
    session.write_all(&out).unwrap();
}

/// Takes one query in a [`session`], which it answers when it is told to cancel it. Returns the
/// word of the version it was asked for, and the cancel request.
fn serve(listener: &TcpListener, secret: &[u8], newest: Option<ProtocolVersion>) -> (u32, Vec<u8>) {
    let (mut session, word) = session(listener, secret, newest);
    asked(&mut session, b"SELECT slowly\0");
    let cancel = packet(&mut accept(listener));
    cancelled(&mut session);
    // Until the pool has had enough of it.
    let _goodbye = session.read(&mut [0]);
    (word, cancel)
}

/// A client that asks for this version: what it is told until it may begin, and its key.
fn log_in(pooler: &Pooler, version: ProtocolVersion) -> (Dialogue, i32, Vec<u8>) {
    let mut client = Dialogue::open(pooler.address);
    let mut hello = Vec::new();
    let session = StartupParameters { user: "alice", database: "app" };
    startup_message(&mut hello, version, session, []);
    client.send(&hello);
    let key = client.until_ready().into_iter().find(|reply| reply.tag == 'K').unwrap().body;
    let process_id = i32::from_be_bytes(key[..4].try_into().unwrap());
    (client, process_id, key[4..].to_vec())
}

#[test]
fn cancel_keys_of_any_length_pass_between_any_versions() {
    let long: Vec<u8> = (0..=255).collect();
    let table = [
        (ProtocolLevel::V3_2, &long[..], None, ProtocolVersion::V3_2),
        (ProtocolLevel::V3_2, &long[..32], None, ProtocolVersion::V3_0),
        (ProtocolLevel::V3_2, &long[..4], Some(ProtocolVersion::V3_0), ProtocolVersion::V3_2),
        (ProtocolLevel::V3_0, &long[..4], None, ProtocolVersion::V3_2),
    ];
    for (asked, secret, newest, spoken) in table {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let own = secret.to_vec();
        let server = thread::spawn(move || serve(&listener, &own, newest));
        let pooler = Pooler::start(|config| {
            let databases = &mut config.postgres.as_mut().unwrap().databases;
            let database = databases.get_mut("app").unwrap();
            database.address = ServerAddress::Tcp { host: "127.0.0.1".into(), port };
            database.max_protocol = asked;
            database.pool_size = 1;
        });
        let (mut client, process_id, key) = log_in(&pooler, spoken);
        assert_eq!(key.len(), if spoken == ProtocolVersion::V3_2 { 32 } else { 4 });
        client.query("SELECT slowly");
        pooler.wait_for("alice", "the query runs", |pool| pool.servers_active == 1);
        let mut request = Vec::new();
        cancel_request(&mut request, process_id, &key);
        let mut canceller = Dialogue::open(pooler.address);
        canceller.send(&request);
        assert_eq!(canceller.next(), None, "closed without a word");
        assert_eq!(client.tags_until_ready(), "CZ");
        drop(client);
        drop(pooler);
        let (word, cancel) = server.join().unwrap();
        let wanted = match asked {
            ProtocolLevel::V3_0 => ProtocolVersion::V3_0,
            ProtocolLevel::V3_2 => ProtocolVersion::V3_2,
        };
        assert_eq!(word, wanted.word());
        let mut expected = Vec::new();
        cancel_request(&mut expected, PROCESS, secret);
        assert_eq!(cancel, expected, "the server's own key, whole");
    }
}

/// A server may take its time to close behind a request that it has acted on.
#[test]
fn a_cancel_request_that_comes_while_one_is_under_way_is_passed_on_behind_it() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (second_sent, wait) = std::sync::mpsc::channel();
    let server = thread::spawn(move || {
        let (mut session, _) = session(&listener, &[7; 4], None);
        asked(&mut session, b"SELECT slowly\0");
        let mut first = accept(&listener);
        packet(&mut first);
        cancelled(&mut session);
        asked(&mut session, b"SELECT slowly, too\0");
        wait.recv().unwrap();
        drop(first);
        packet(&mut accept(&listener));
        cancelled(&mut session);
        let _goodbye = session.read(&mut [0]);
    });
    let pooler = Pooler::start(|config| {
        config.runtime.shards = bs9_config::Shards::Count(std::num::NonZeroUsize::MIN);
        let databases = &mut config.postgres.as_mut().unwrap().databases;
        let database = databases.get_mut("app").unwrap();
        database.address = ServerAddress::Tcp { host: "127.0.0.1".into(), port };
        database.pool_mode = PoolMode::Session;
        database.pool_size = 1;
    });
    let (mut client, process_id, key) = log_in(&pooler, ProtocolVersion::V3_0);
    let mut request = Vec::new();
    cancel_request(&mut request, process_id, &key);
    let cancel = || {
        let mut canceller = Dialogue::open(pooler.address);
        canceller.send(&request);
        canceller
    };
    client.query("SELECT slowly");
    pooler.wait_for("alice", "the query runs", |pool| pool.servers_active == 1);
    let mut first = cancel();
    assert_eq!(client.tags_until_ready(), "CZ");
    client.query("SELECT slowly, too");
    let mut second = cancel();
    // Whoever is answered now came later than that.
    log_in(&pooler, ProtocolVersion::V3_0);
    second_sent.send(()).unwrap();
    assert_eq!(client.tags_until_ready(), "CZ");
    assert_eq!((first.next(), second.next()), (None, None));
    assert_eq!(pooler.status("alice").cancels_total, 2);
    drop((client, pooler));
    server.join().unwrap();
}

#[test]
fn versions_and_options_from_the_future_are_negotiated() {
    let pooler = Pooler::start(|_| {});
    for (minor, options, told) in [
        (0, &[][..], None),
        (2, &[], None),
        (1, &[], None),
        (7, &[], Some((2, 0))),
        (9999, &["_pq_.a"][..], Some((2, 1))),
        (0, &["_pq_.a", "_pq_.b"], Some((0, 2))),
    ] {
        let mut client = Dialogue::open(pooler.address);
        let mut hello = Vec::new();
        let session = StartupParameters { user: "alice", database: "app" };
        let settings = options.iter().map(|option| (*option, "on"));
        startup_message(&mut hello, ProtocolVersion::with_minor(minor), session, settings);
        client.send(&hello);
        let mut first = client.receive();
        let mut said = None;
        if first.tag == 'v' {
            let word = u32::from_be_bytes(first.body[..4].try_into().unwrap());
            let count = u32::from_be_bytes(first.body[4..8].try_into().unwrap());
            assert_eq!(word >> 16, 3);
            let names: Vec<u8> =
                options.iter().flat_map(|option| [option.as_bytes(), b"\0"].concat()).collect();
            assert_eq!(first.body[8..], names);
            said = Some((word & 0xffff, count));
            first = client.receive();
        }
        assert_eq!((first.tag, said), ('R', told), "3.{minor} {options:?}");
        client.until_ready();
        assert_eq!(client.value("SELECT 1"), "1");
    }
}
