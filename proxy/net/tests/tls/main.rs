//! TLS against rustls itself: every cipher, every cut, both sides.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    fs,
    future::Future,
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::OwnedFd,
    path::Path,
    sync::Arc,
    thread,
    time::Duration,
};

use bs9_config::{ClusterTls, ListenerTls};
use bs9_net::{
    BufferPool, Runtime, Stream,
    tls::{ClientTls, Endpoint, FailureKind, HandshakeFailure, ServerTls, TlsStream},
};

use authority::Authority;
use peer::Dripping;

#[allow(dead_code, reason = "shared with the tests of the proxy")]
mod authority;
mod peer;

/// How long any wait of a test may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// More than a few records, and no multiple of one.
const BULK_BYTES: usize = 300_001;

const SITE: &str = "certificates = [{ certificate = \"site.pem\", key = \"site.key\" }]\n";

/// `ca.pem`, and `site` for `example.com` and `localhost`.
fn folder() -> (tempfile::TempDir, Authority) {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    authority.write(folder.path());
    authority.issue(folder.path(), "site", &["example.com", "*.example.com", "localhost"]);
    (folder, authority)
}

fn parse(folder: &Path, listener: &str, cluster: &str) -> bs9_config::Config {
    let file = folder.join("bs9.toml");
    let text = format!(
        "[listeners.x]\nbind = [\"127.0.0.1:0\"]\nprotocol = \"tcp\"\ncluster = \"c\"\n\
         [listeners.x.tls]\n{listener}\n[clusters.c]\ntls = {cluster}\n"
    );
    fs::write(&file, text).unwrap();
    bs9_config::load(&file).unwrap_or_else(|report| panic!("{report}"))
}

fn listener(folder: &Path, text: &str) -> Arc<ListenerTls> {
    parse(folder, text, "false").listeners["x"].tls.clone().unwrap()
}

fn server(folder: &Path, text: &str) -> Arc<ServerTls> {
    ServerTls::compile(&listener(folder, text), None).unwrap()
}

fn cluster(folder: &Path, text: &str) -> Arc<ClusterTls> {
    parse(folder, SITE, text).clusters["c"].tls.clone().unwrap()
}

fn client(folder: &Path, text: &str) -> Arc<ClientTls> {
    ClientTls::compile(&cluster(folder, text), None).unwrap()
}

/// Runs on a shard's runtime, within the patience of a test.
fn on_a_shard<F: Future>(work: F) -> F::Output {
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async { bs9_net::time::timeout(PATIENCE, work).await.unwrap() })
}

fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn accepted(listener: &TcpListener) -> Stream {
    let (socket, _) = listener.accept().unwrap();
    socket.set_nonblocking(true).unwrap();
    Stream::from_socket(OwnedFd::from(socket)).unwrap()
}

fn dial(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(address).unwrap();
    socket.set_nodelay(true).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn bulk() -> Vec<u8> {
    (0..BULK_BYTES).map(|at| (at * 31 / 7) as u8).collect()
}

/// Sends back what comes, until the peer says that it is done; then says so too.
async fn echo(stream: TlsStream, buffer_bytes: usize) -> io::Result<usize> {
    let pool = BufferPool::new(buffer_bytes, 4);
    let mut total = 0;
    loop {
        let mut buffer = None;
        let read =
            std::future::poll_fn(|cx| stream.poll_read_pooled(cx, &mut buffer, &pool)).await?;
        if read == 0 {
            // The peer may have gone already.
            let _not_connected = stream.shutdown_write();
            return Ok(total);
        }
        total += read;
        stream.write_both(buffer.unwrap().filled(), &[]).await?;
    }
}

#[test]
fn every_cipher_carries_text_both_ways_to_a_client_of_rustls() {
    let (folder, _) = folder();
    let tls = server(folder.path(), SITE);
    for suite in peer::suites() {
        for buffer_bytes in [700, 16 * 1024, 64 * 1024] {
            let (listener, address) = listen();
            let config = Arc::new(peer::client_config(folder.path(), suite));
            let other = thread::spawn(move || {
                let mut stream = peer::connect(&config, "example.com", dial(address));
                let (sent, mut received) = (bulk(), vec![0; BULK_BYTES]);
                for (out, back) in sent.chunks(50_000).zip(received.chunks_mut(50_000)) {
                    stream.write_all(out).unwrap();
                    stream.read_exact(back).unwrap();
                }
                assert!(sent == received);
                stream.conn.send_close_notify();
                stream.flush().unwrap();
                // Its goodbye is an orderly end, not a cut.
                assert_eq!(stream.read(&mut [0]).unwrap(), 0);
            });
            let total = on_a_shard(async {
                let stream = tls.accept(accepted(&listener)).await.unwrap();
                assert_eq!(stream.agreed().server_name.as_deref(), Some("example.com"));
                echo(stream, buffer_bytes).await.unwrap()
            });
            assert_eq!(total, BULK_BYTES);
            other.join().unwrap();
        }
    }
}

#[test]
fn every_cipher_carries_text_both_ways_to_a_server_of_rustls() {
    let (folder, _) = folder();
    let tls = client(folder.path(), "{ ca = \"ca.pem\" }");
    for suite in peer::suites() {
        let (listener, address) = listen();
        let config = Arc::new(peer::server_config(folder.path(), suite));
        let other = thread::spawn(move || {
            let mut stream = peer::accept(&config, &listener);
            let mut received = Vec::new();
            stream.write_all(b"I speak first").unwrap();
            stream.read_to_end(&mut received).unwrap();
            assert!(received == bulk());
            stream.write_all(&received).unwrap();
            stream.conn.send_close_notify();
            stream.flush().unwrap();
        });
        on_a_shard(async {
            let socket = Stream::connect_tcp(address).await.unwrap();
            let stream = tls.connect(socket, Endpoint::Name("localhost")).await.unwrap();
            let pool = BufferPool::new(16 * 1024, 4);
            let mut buffer = pool.take();
            let mut received = Vec::new();
            while received.len() < 13 {
                let read = std::future::poll_fn(|cx| stream.poll_read(cx, &mut buffer)).await;
                assert!(read.unwrap() > 0);
                received.extend_from_slice(buffer.filled());
                buffer.consume(buffer.len());
            }
            assert_eq!(received, b"I speak first");
            received.clear();
            let sent = bulk();
            stream.write_both(&sent[..100], &sent[100..]).await.unwrap();
            stream.shutdown_write().unwrap();
            loop {
                let read = std::future::poll_fn(|cx| stream.poll_read(cx, &mut buffer)).await;
                if read.unwrap() == 0 {
                    break;
                }
                received.extend_from_slice(buffer.filled());
                buffer.consume(buffer.len());
            }
            assert!(received == sent);
        });
        other.join().unwrap();
    }
}

#[test]
fn a_client_whose_bytes_come_one_at_a_time_is_served() {
    let (folder, _) = folder();
    let tls = server(folder.path(), SITE);
    for suite in peer::suites() {
        let (listener, address) = listen();
        let config = Arc::new(peer::client_config(folder.path(), suite));
        let other = thread::spawn(move || {
            let mut stream = peer::connect(&config, "example.com", Dripping(dial(address)));
            for round in 0..3 {
                let sent = vec![round; 300];
                let mut back = vec![0; 300];
                stream.write_all(&sent).unwrap();
                stream.read_exact(&mut back).unwrap();
                assert_eq!(sent, back);
            }
            stream.conn.send_close_notify();
            stream.flush().unwrap();
        });
        let total = on_a_shard(async {
            let stream = tls.accept(accepted(&listener)).await.unwrap();
            echo(stream, 4096).await.unwrap()
        });
        assert_eq!(total, 900);
        other.join().unwrap();
    }
}

#[test]
fn keys_change_when_the_peer_wants_it() {
    let (folder, _) = folder();
    let tls = server(folder.path(), SITE);
    for suite in peer::suites() {
        if suite.tls13().is_none() {
            continue;
        }
        let (listener, address) = listen();
        let config = Arc::new(peer::client_config(folder.path(), suite));
        let other = thread::spawn(move || {
            let mut stream = peer::connect(&config, "example.com", dial(address));
            for round in 0..20 {
                if round > 0 {
                    stream.conn.refresh_traffic_keys().unwrap();
                }
                let mut back = vec![0; 1000];
                stream.write_all(&[round; 1000]).unwrap();
                stream.read_exact(&mut back).unwrap();
                assert_eq!(back, [round; 1000]);
            }
            stream.conn.send_close_notify();
            stream.flush().unwrap();
        });
        on_a_shard(async {
            let stream = tls.accept(accepted(&listener)).await.unwrap();
            echo(stream, 4096).await.unwrap()
        });
        other.join().unwrap();
    }
}

#[test]
fn a_connection_that_ends_without_goodbye_was_cut_off() {
    let (folder, _) = folder();
    let tls = server(folder.path(), SITE);
    let (listener, address) = listen();
    let config = Arc::new(peer::client_config(folder.path(), peer::suites()[0]));
    let other = thread::spawn(move || {
        let mut stream = peer::connect(&config, "example.com", dial(address));
        stream.write_all(b"half a mess").unwrap();
        // What is not read would make the end a reset.
        stream.read_exact(&mut [0; 11]).unwrap();
    });
    let ended = on_a_shard(async {
        let stream = tls.accept(accepted(&listener)).await.unwrap();
        echo(stream, 4096).await
    });
    assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    other.join().unwrap();
}

#[test]
fn what_was_changed_on_the_way_is_refused_and_the_peer_told() {
    let (folder, _) = folder();
    let tls = server(folder.path(), SITE);
    let (listener, address) = listen();
    let config = Arc::new(peer::client_config(folder.path(), peer::suites()[0]));
    let other = thread::spawn(move || {
        let mut stream = peer::connect(&config, "example.com", dial(address));
        stream.write_all(b"hello").unwrap();
        stream.read_exact(&mut [0; 5]).unwrap();
        let forged = [&b"\x17\x03\x03\x00\x20"[..], &[7; 32]].concat();
        stream.sock.write_all(&forged).unwrap();
        let told = stream.read(&mut [0]).unwrap_err();
        assert!(told.to_string().contains("BadRecordMac"), "{told}");
    });
    let ended = on_a_shard(async {
        let stream = tls.accept(accepted(&listener)).await.unwrap();
        echo(stream, 4096).await
    });
    assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::InvalidData);
    other.join().unwrap();
}

/// Our client to our server; what each said of the other.
fn meet(
    server: &Arc<ServerTls>,
    client: &Arc<ClientTls>,
    name: &'static str,
) -> (Result<bool, HandshakeFailure>, Result<bool, HandshakeFailure>) {
    let (listener, address) = listen();
    on_a_shard(async {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let client = Arc::clone(client);
        let socket = Stream::connect_tcp(address).await.unwrap();
        bs9_net::spawn(async move {
            let connected = match client.connect(socket, Endpoint::Name(name)).await {
                Ok(stream) => {
                    let pool = BufferPool::new(4096, 1);
                    let mut buffer = pool.take();
                    let read = std::future::poll_fn(|cx| stream.poll_read(cx, &mut buffer)).await;
                    // A client that is refused learns it when it reads (TLS 1.3).
                    read.map(|_| stream.agreed().resumed).map_err(HandshakeFailure::Io)
                }
                Err(failure) => Err(failure),
            };
            let _nobody_waits = sender.send(connected);
        });
        match server.accept(accepted(&listener)).await {
            Ok(stream) => {
                stream.write_both(b"welcome", &[]).await.unwrap();
                let resumed = stream.agreed().resumed;
                (Ok(resumed), receiver.await.unwrap())
            }
            Err(failure) => (Err(failure), receiver.await.unwrap()),
        }
    })
}

#[test]
fn sessions_are_resumed_and_their_tickets_outlive_a_renewed_certificate() {
    let (folder, authority) = folder();
    for versions in ["", "max_version = \"1.2\"\n"] {
        let before = server(folder.path(), &format!("{SITE}{versions}"));
        let client = client(folder.path(), "{ ca = \"ca.pem\" }");
        assert!(matches!(meet(&before, &client, "localhost"), (Ok(false), Ok(false))));
        assert!(matches!(meet(&before, &client, "localhost"), (Ok(true), Ok(true))));
        authority.issue(folder.path(), "site", &["localhost"]);
        let renewed = listener(folder.path(), &format!("{SITE}{versions}"));
        let after = ServerTls::compile(&renewed, Some(&before)).unwrap();
        assert!(!Arc::ptr_eq(&before, &after));
        assert!(matches!(meet(&after, &client, "localhost"), (Ok(true), Ok(true))));
        let same = ServerTls::compile(&renewed, Some(&after)).unwrap();
        assert!(Arc::ptr_eq(&same, &after), "what did not change is the same");
    }
    let without = server(folder.path(), &format!("{SITE}session_tickets = false\n"));
    let client = client(folder.path(), "{ ca = \"ca.pem\" }");
    for _ in 0..2 {
        assert!(matches!(meet(&without, &client, "localhost"), (Ok(false), Ok(false))));
    }
}

#[test]
fn a_ticket_does_not_get_around_the_check_of_a_clients_certificate() {
    let (folder, _) = folder();
    let client = client(folder.path(), "{ ca = \"ca.pem\" }");
    let open = server(folder.path(), SITE);
    assert!(matches!(meet(&open, &client, "localhost"), (Ok(_), Ok(_))));
    let guarded = format!("{SITE}client_auth = {{ ca = \"ca.pem\" }}\n");
    let guarded = ServerTls::compile(&listener(folder.path(), &guarded), Some(&open)).unwrap();
    let (seen, told) = meet(&guarded, &client, "localhost");
    assert_eq!(seen.unwrap_err().kind(), FailureKind::Certificate);
    assert!(told.is_err());
}

#[test]
fn clients_prove_who_they_are_unless_they_were_revoked() {
    let (folder, authority) = folder();
    authority.issue_as(folder.path(), "alice", &["alice"], &rcgen::PKCS_ED25519, 77);
    authority.revoke(folder.path(), &[4]);
    let with = client(
        folder.path(),
        "{ ca = \"ca.pem\", certificate = \"alice.pem\", key = \"alice.key\" }",
    );
    let without = client(folder.path(), "{ ca = \"ca.pem\" }");
    let required = format!("{SITE}client_auth = {{ ca = \"ca.pem\", crls = [\"ca.crl\"] }}\n");
    let guarded = server(folder.path(), &required);
    assert!(matches!(meet(&guarded, &with, "localhost"), (Ok(_), Ok(_))));
    let refused = meet(&guarded, &without, "localhost").0.unwrap_err();
    assert_eq!(refused.kind(), FailureKind::Certificate);

    let optional = format!("{SITE}client_auth = {{ mode = \"optional\", ca = \"ca.pem\" }}\n");
    let optional = server(folder.path(), &optional);
    assert!(matches!(meet(&optional, &without, "localhost"), (Ok(_), Ok(_))));

    authority.revoke(folder.path(), &[77]);
    // The tickets of before are worth nothing under other rules.
    let revoked = ServerTls::compile(&listener(folder.path(), &required), Some(&guarded)).unwrap();
    let refused = meet(&revoked, &with, "localhost").0.unwrap_err();
    assert_eq!(refused.kind(), FailureKind::Certificate);
}

#[test]
fn endpoints_prove_who_they_are() {
    let (folder, _) = folder();
    let tls = server(folder.path(), SITE);
    let trusting = client(folder.path(), "{ ca = \"ca.pem\" }");
    assert!(matches!(meet(&tls, &trusting, "a.example.com"), (Ok(_), Ok(_))));
    let (_, wrong) = meet(&tls, &trusting, "example.org");
    assert_eq!(wrong.unwrap_err().kind(), FailureKind::Certificate);
    let other_name = client(folder.path(), "{ ca = \"ca.pem\", server_name = \"example.com\" }");
    assert!(matches!(meet(&tls, &other_name, "example.org"), (Ok(_), Ok(_))));

    Authority::new().write(folder.path());
    let strangers = client(folder.path(), "{ ca = \"ca.pem\" }");
    let (seen, stranger) = meet(&tls, &strangers, "example.com");
    assert_eq!(stranger.unwrap_err().kind(), FailureKind::Certificate);
    assert_eq!(seen.unwrap_err().kind(), FailureKind::Alert);
    let careless = client(folder.path(), "{ verify = false }");
    assert!(matches!(meet(&tls, &careless, "example.org"), (Ok(_), Ok(_))));
}

#[test]
fn versions_without_one_in_common_are_incompatible() {
    let (folder, _) = folder();
    let old = server(folder.path(), &format!("{SITE}max_version = \"1.2\"\n"));
    let new = client(folder.path(), "{ ca = \"ca.pem\", min_version = \"1.3\" }");
    let (seen, told) = meet(&old, &new, "localhost");
    assert_eq!(seen.unwrap_err().kind(), FailureKind::Incompatible);
    assert_eq!(told.unwrap_err().kind(), FailureKind::Incompatible);
}

#[test]
fn what_is_not_tls_is_counted_as_such() {
    let (folder, _) = folder();
    let tls = server(folder.path(), SITE);
    let (listener, address) = listen();
    let mut socket = dial(address);
    socket.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let refused = on_a_shard(async { tls.accept(accepted(&listener)).await.unwrap_err() });
    assert_eq!(refused.kind(), FailureKind::NotTls, "{refused}");
}

#[test]
fn an_idle_connection_is_quiet_although_tickets_came_in() {
    let (folder, _) = folder();
    let tls = client(folder.path(), "{ ca = \"ca.pem\" }");
    let (listener, address) = listen();
    let mut config = peer::server_config(folder.path(), peer::suites()[0]);
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().unwrap();
    let config = Arc::new(config);
    let (goodbye, wanted) = std::sync::mpsc::channel();
    let other = thread::spawn(move || {
        let mut stream = peer::accept(&config, &listener);
        let mut request = [0; 4];
        stream.read_exact(&mut request).unwrap();
        stream.write_all(b"pong").unwrap();
        stream.flush().unwrap();
        wanted.recv().unwrap();
        stream.conn.send_close_notify();
        stream.flush().unwrap();
        // The client has seen it before the socket goes.
        wanted.recv().unwrap();
    });
    on_a_shard(async {
        let socket = Stream::connect_tcp(address).await.unwrap();
        let stream = tls.connect(socket, Endpoint::Name("localhost")).await.unwrap();
        stream.write_both(b"ping", &[]).await.unwrap();
        let pool = BufferPool::new(4096, 1);
        let mut buffer = pool.take();
        let read = std::future::poll_fn(|cx| stream.poll_read(cx, &mut buffer)).await;
        assert_eq!(read.unwrap(), 4);
        assert!(stream.is_quiet());
        goodbye.send(()).unwrap();
        std::future::poll_fn(|cx| stream.poll_read_ready(cx)).await;
        while stream.is_quiet() {
            bs9_net::yield_now().await;
        }
    });
    goodbye.send(()).unwrap();
    other.join().unwrap();
}

#[test]
fn a_name_chooses_its_certificate_and_an_old_client_one_it_understands() {
    let (folder, authority) = folder();
    authority.issue_rsa(folder.path(), "rsa", &["example.com"]);
    authority.issue(folder.path(), "shop", &["shop.example.com"]);
    let tls = server(
        folder.path(),
        "certificates = [{ certificate = \"site.pem\", key = \"site.key\" }, \
         { certificate = \"rsa.pem\", key = \"rsa.key\" }, \
         { certificate = \"shop.pem\", key = \"shop.key\" }]",
    );
    let shown = |name: &str, suite: rustls::SupportedCipherSuite| {
        let (listener, address) = listen();
        let config = Arc::new(peer::client_config(folder.path(), suite));
        let name = name.to_owned();
        let other = thread::spawn(move || {
            let mut stream = peer::connect(&config, &name, dial(address));
            stream.read_exact(&mut [0; 2]).unwrap();
            stream.conn.peer_certificates().unwrap()[0].to_vec()
        });
        on_a_shard(async {
            let stream = tls.accept(accepted(&listener)).await.unwrap();
            stream.write_both(b"hi", &[]).await.unwrap();
            stream.finish();
        });
        other.join().unwrap()
    };
    let of = |name: &str| {
        use rustls::pki_types::{CertificateDer, pem::PemObject as _};
        let file = folder.path().join(format!("{name}.pem"));
        CertificateDer::from_pem_file(file).unwrap().to_vec()
    };
    let modern = peer::suites()[0];
    assert_eq!(shown("example.com", modern), of("site"));
    assert_eq!(shown("www.example.com", modern), of("site"));
    assert_eq!(shown("shop.example.com", modern), of("shop"));
    let rsa_only = rustls::crypto::aws_lc_rs::cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256;
    assert_eq!(shown("example.com", rsa_only), of("rsa"));
}
