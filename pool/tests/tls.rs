//! TLS on both sides, against psql, tokio-postgres and a real server.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
};

use bs9_wire::{
    encode::frontend,
    startup::{
        ProtocolVersion, StartupParameters, cancel_request, gss_request, ssl_request,
        startup_message,
    },
};
use tokio_postgres::{SimpleQueryMessage, config::SslNegotiation, error::SqlState};

use crate::postgres::{Certificates, Cluster, Dialogue, Fake, Pooler, Secured, Wire};

/// Whether the connection to the server is encrypted: `t` or `f`.
const SERVER_SIDE: &str = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";

/// The ordinary configuration, with TLS towards clients and `more` for the database.
fn text(tls: &str, more: &str) -> String {
    let listener = format!(
        "[listeners.db.tls]\ncertificates = [{{ certificate = \"pool.pem\", key = \"pool.key\" }}]\n{tls}\n\
         [postgres]\n"
    );
    Pooler::text(Cluster::shared()).replacen("[postgres]\n", &listener, 1) + more
}

fn with_sslmode(sslmode: &str) -> Pooler {
    Pooler::by(&text(&format!("sslmode = \"{sslmode}\""), ""))
}

/// A connection string for libpq.
fn settings(user: &str, sslmode: &str) -> String {
    let authority = Cluster::shared().path().join("ca.pem");
    let authority = authority.display();
    format!(
        "user={user} password='{}' sslmode={sslmode} sslrootcert={authority}",
        Cluster::PASSWORD
    )
}

fn shows(user: &str) -> String {
    let folder = Cluster::shared().path();
    let file = |extension: &str| folder.join(format!("{user}.{extension}")).display().to_string();
    format!(" sslcert={} sslkey={}", file("pem"), file("key"))
}

#[test]
fn each_sslmode_of_a_listener_meets_each_of_a_client() {
    // Whether libpq gets a connection, and whether that is encrypted.
    let table = [
        ("disable", ["no TLS", "no TLS", "refused", "refused"]),
        ("allow", ["no TLS", "TLS", "TLS", "TLS"]),
        ("prefer", ["no TLS", "TLS", "TLS", "TLS"]),
        ("require", ["refused", "TLS", "TLS", "TLS"]),
    ];
    for (listener, outcomes) in table {
        let pooler = with_sslmode(listener);
        for (client, outcome) in
            ["disable", "prefer", "require", "verify-full"].iter().zip(outcomes)
        {
            let found = match pooler.psql(&settings("alice", client), "\\conninfo") {
                Ok(text) if text.contains("SSL connection") => "TLS",
                Ok(_) => "no TLS",
                Err(_) => "refused",
            };
            assert_eq!(found, outcome, "listener {listener}, client {client}");
        }
    }
    let refused = with_sslmode("require").psql(&settings("alice", "disable"), "SELECT 1");
    assert!(refused.unwrap_err().contains("SSL required"));
}

#[test]
fn clients_show_certificates_where_they_must() {
    let client_auth = "client_auth = { mode = \"required\", ca = \"ca.pem\" }";
    for sslmode in ["verify-ca", "verify-full"] {
        let pooler = Pooler::by(&text(&format!("sslmode = \"{sslmode}\"\n{client_auth}"), ""));
        let plain = settings("bob", "require");
        assert_eq!(pooler.psql(&(plain.clone() + &shows("alice")), "SELECT 1").as_deref(), Ok("1"));
        assert!(pooler.psql(&plain, "SELECT 1").is_err(), "{sslmode}: none shown");
        let stranger = pooler.psql(&(plain + &shows("stranger")), "SELECT 1");
        assert!(stranger.is_err(), "{sslmode}: nobody vouches for it");
    }
}

#[test]
fn a_certificate_is_the_login_of_the_user_it_names() {
    let client_auth = "client_auth = { mode = \"optional\", ca = \"ca.pem\" }";
    let text = text(client_auth, "").replace("auth = \"trust\"", "auth = \"cert\"");
    let pooler = Pooler::by(&text);
    let alice = settings("alice", "require") + &shows("alice");
    assert_eq!(pooler.psql(&alice, "SELECT current_user").as_deref(), Ok("alice"));
    let bob = pooler.psql(&(settings("bob", "require") + &shows("alice")), "SELECT 1");
    assert!(bob.unwrap_err().contains("certificate authentication failed for user \"bob\""));
    let none = pooler.psql(&settings("alice", "require"), "SELECT 1");
    assert!(none.unwrap_err().contains("connection requires a valid client certificate"));
}

#[test]
fn logins_are_bound_to_the_connection_on_both_sides() {
    let stored =
        Cluster::shared().sql("SELECT rolpassword FROM pg_authid WHERE rolname = 'by_tls'");
    let server =
        "tls = { sslmode = \"verify-ca\", ca = \"ca.pem\", channel_binding = \"require\" }\n";
    // A password in plain text, and a verifier through which the client's keys are passed on.
    for secret in [Cluster::PASSWORD, &stored] {
        let user = format!("{server}[postgres.users.by_tls]\npassword = \"{secret}\"\n");
        let text = text("", &user).replace("auth = \"trust\"", "auth = \"scram-sha-256\"");
        let pooler = Pooler::by(&text);
        for binding in ["require", "prefer", "disable"] {
            let settings = settings("by_tls", "verify-full") + " channel_binding=" + binding;
            let found = pooler.psql(&settings, "SELECT current_user");
            assert_eq!(found.as_deref(), Ok("by_tls"), "{binding}");
        }
        let wrong = settings("by_tls", "require").replace(Cluster::PASSWORD, "wrong");
        let refused = pooler.psql(&(wrong + " channel_binding=require"), "SELECT 1");
        assert!(refused.unwrap_err().contains("password authentication failed"));
    }
}

#[test]
fn each_sslmode_towards_a_server() {
    // By user: trusted either way, with TLS only, without only.
    let trusted = ("ca.pem", "127.0.0.1");
    let table = [
        ("disable", trusted, ["f", "refused", "f"]),
        ("allow", trusted, ["f", "t", "f"]),
        ("prefer", trusted, ["t", "t", "f"]),
        ("require", trusted, ["t", "t", "refused"]),
        ("verify-ca", trusted, ["t", "t", "refused"]),
        ("verify-ca", ("stranger-ca.pem", "127.0.0.1"), ["refused"; 3]),
        ("verify-full", trusted, ["refused"; 3]),
        ("verify-full", ("ca.pem", "localhost"), ["t", "t", "refused"]),
    ];
    for (sslmode, (ca, host), outcomes) in table {
        let ca = match sslmode.starts_with("verify") {
            true => format!(", ca = \"{ca}\""),
            false => String::new(),
        };
        let users =
            "[postgres.users.by_tls]\npassword = \"correct horse\"\n[postgres.users.without_tls]\n";
        let more = format!("tls = {{ sslmode = \"{sslmode}\"{ca} }}\n{users}");
        let text = Pooler::text(Cluster::shared()) + &more;
        let text = text.replace("host = \"127.0.0.1\"", &format!("host = \"{host}\""));
        let pooler = Pooler::by(&text);
        for (user, outcome) in ["alice", "by_tls", "without_tls"].iter().zip(outcomes) {
            let found = pooler.psql(&settings(user, "disable"), SERVER_SIDE);
            let found = found.as_deref().unwrap_or("refused");
            assert_eq!(found, outcome, "{sslmode} {ca} {host} {user}");
        }
    }
}

#[test]
fn the_pool_shows_its_own_certificate_to_servers_that_ask() {
    let tls =
        "tls = { sslmode = \"require\", certificate = \"by_cert.pem\", key = \"by_cert.key\" }\n";
    let text = Pooler::text(Cluster::shared()) + tls + "[postgres.users.by_cert]\n";
    let pooler = Pooler::by(&text);
    let found = pooler.psql(&settings("by_cert", "disable"), "SELECT current_user");
    assert_eq!(found.as_deref(), Ok("by_cert"));
}

/// A server that answers a request for TLS with these bytes.
fn answering(answer: &'static [u8]) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 8];
            if stream.read_exact(&mut request).is_ok() {
                let _gone_already = stream.write_all(answer);
                let _until_it_goes = stream.read(&mut request);
            }
        }
    });
    port
}

#[test]
fn what_a_server_says_ahead_of_tls_is_not_believed() {
    let table: [(&[u8], &str); 5] = [
        (b"N", "the server does not support TLS"),
        (b"SR\0\0\0\x08\0\0\0\0", "received unencrypted data after the server agreed to TLS"),
        (b"NR\0\0\0\x08\0\0\0\0", "received unencrypted data after the server agreed to TLS"),
        (b"ESFATAL\0Mtrust me\0\0", "answered a request for TLS with an error"),
        (b"R\0\0\0\x08\0\0\0\0", "a byte that means nothing"),
    ];
    for (answer, expected) in table {
        let port = answering(answer);
        let text = Pooler::text(Cluster::shared()) + "tls = { sslmode = \"require\" }\n";
        let text = text
            .replace(&format!("port = {}", Cluster::shared().port()), &format!("port = {port}"));
        let error = Pooler::by(&text).psql(&settings("alice", "disable"), "SELECT 1").unwrap_err();
        assert!(error.contains(expected), "{answer:?}: {error}");
    }
}

#[test]
fn bytes_ahead_of_the_handshake_are_refused() {
    let pooler = with_sslmode("prefer");
    let mut startup = Vec::new();
    let session = StartupParameters { user: "alice", database: "app" };
    startup_message(&mut startup, ProtocolVersion::V3_0, session, []);
    for behind in [&startup[..], &[0x16], b"x"] {
        let mut dialogue = Dialogue::open(pooler.address);
        let mut request = Vec::new();
        ssl_request(&mut request);
        request.extend_from_slice(behind);
        dialogue.send(&request);
        let refusal = dialogue.receive();
        assert_eq!((refusal.tag, refusal.sqlstate().as_str()), ('E', "08P01"));
        assert_eq!(dialogue.next(), None);
    }
}

/// Logs in inside TLS and asks for one row; gives what came.
fn converse(stream: &mut (impl std::io::Read + std::io::Write), query: &str) -> Vec<u8> {
    let mut request = Vec::new();
    let session = StartupParameters { user: "alice", database: "app" };
    startup_message(&mut request, ProtocolVersion::V3_0, session, []);
    frontend::query(&mut request, query);
    stream.write_all(&request).unwrap();
    stream.flush().unwrap();
    let (mut received, mut piece) = (Vec::new(), [0; 4096]);
    // One ReadyForQuery after the login, one after the query.
    while received.windows(6).filter(|six| **six == *b"Z\0\0\0\x05I").count() < 2 {
        let count = stream.read(&mut piece).unwrap();
        assert!(count > 0, "the pool answers");
        received.extend_from_slice(&piece[..count]);
    }
    let mut goodbye = Vec::new();
    frontend::terminate(&mut goodbye);
    stream.write_all(&goodbye).unwrap();
    stream.flush().unwrap();
    // The pool says that it ends before it does.
    stream.read_to_end(&mut received).unwrap();
    received
}

fn contains(text: &[u8], wanted: &[u8]) -> bool {
    text.windows(wanted.len()).any(|window| window == wanted)
}

#[test]
fn tls_can_come_first_if_both_mean_postgresql() {
    let pooler = with_sslmode("require");
    let authority = Cluster::shared().path().join("ca.pem");
    let direct = |alpn: &[&str]| Wire::open(pooler.address).shake_hands(&authority, alpn);
    let answer = converse(&mut direct(&["postgresql"]).unwrap(), "SELECT 'here'");
    assert!(contains(&answer, b"here"), "{answer:?}");
    let mut unsure = direct(&[]).unwrap();
    let mut told = Vec::new();
    unsure.read_to_end(&mut told).unwrap();
    assert!(contains(&told, b"08P01") && contains(&told, b"without ALPN"), "{told:?}");
    assert!(direct(&["http/1.1"]).is_err(), "another protocol's client");
    // Where there is none, nothing is said.
    let plain = Pooler::start(|_| {});
    assert!(Wire::open(plain.address).shake_hands(&authority, &["postgresql"]).is_err());
}

#[test]
fn gss_is_declined_and_tls_asked_for_inside_tls_is_not_answered() {
    let pooler = with_sslmode("prefer");
    let mut wire = Wire::open(pooler.address);
    let mut byte = [0];
    for (request, answer) in [(gss_request as fn(&mut Vec<u8>), b'N'), (ssl_request, b'S')] {
        let mut packet = Vec::new();
        request(&mut packet);
        wire.write_all(&packet).unwrap();
        wire.read_exact(&mut byte).unwrap();
        assert_eq!(byte, [answer]);
    }
    let authority = Cluster::shared().path().join("ca.pem");
    let mut inside = wire.shake_hands(&authority, &[]).unwrap();
    let mut again = Vec::new();
    ssl_request(&mut again);
    inside.write_all(&again).unwrap();
    let mut told = Vec::new();
    inside.read_to_end(&mut told).unwrap();
    assert!(contains(&told, b"08P01"), "{told:?}");
}

#[test]
fn who_hears_nothing_hears_that_this_was_all() {
    let pooler = with_sslmode("require");
    let authority = Cluster::shared().path().join("ca.pem");
    let mut cancel = Vec::new();
    cancel_request(&mut cancel, 1, &[0; 4]);
    let mut console = Vec::new();
    let session = StartupParameters { user: "alice", database: "pgbouncer" };
    startup_message(&mut console, ProtocolVersion::V3_0, session, std::iter::empty());
    frontend::terminate(&mut console);
    // No packet has that length.
    let nonsense = [0, 0, 0, 0];
    for bytes in [&*cancel, &*console, &nonsense] {
        let wire = Wire::open(pooler.address);
        let mut stream = wire.shake_hands(&authority, &["postgresql"]).unwrap();
        stream.write_all(bytes).unwrap();
        let mut told = Vec::new();
        // An end that TLS does not announce is an error.
        stream.read_to_end(&mut told).unwrap();
        assert_eq!(told.is_empty(), bytes != &*console, "{told:?}");
    }
}

#[test]
fn records_are_no_longer_than_libpq_reads_at_once() {
    let pooler = with_sslmode("require");
    let authority = Cluster::shared().path().join("ca.pem");
    let wire = Wire::open(pooler.address);
    let mut stream = wire.shake_hands(&authority, &["postgresql"]).unwrap();
    let answer = converse(&mut stream, "SELECT repeat('x', 100000)");
    assert!(answer.len() > 100_000);
    let records = stream.sock.records();
    let longest = records.iter().max().copied().unwrap_or_default();
    assert!((4096..8192 + 256).contains(&longest), "{records:?}");
}

fn everywhere() -> Pooler {
    let server = "tls = { sslmode = \"verify-full\", ca = \"ca.pem\" }\npool_size = 1\n";
    Pooler::by(
        &text("sslmode = \"require\"", server)
            .replace("host = \"127.0.0.1\"", "host = \"localhost\""),
    )
}

async fn connect(pooler: &Pooler, negotiation: SslNegotiation) -> tokio_postgres::Client {
    let mut config = tokio_postgres::Config::new();
    config.host("localhost").hostaddr([127, 0, 0, 1].into()).port(pooler.address.port());
    config.user("alice").dbname("app").ssl_mode(tokio_postgres::config::SslMode::Require);
    config.ssl_negotiation(negotiation);
    let secured = Secured::trusting(&Cluster::shared().path().join("ca.pem"));
    let (client, connection) = config.connect(secured).await.unwrap();
    tokio::spawn(connection);
    client
}

#[tokio::test]
async fn a_query_is_cancelled_over_tls_on_both_sides() {
    let pooler = everywhere();
    for negotiation in [SslNegotiation::Postgres, SslNegotiation::Direct] {
        let client = connect(&pooler, negotiation).await;
        let token = client.cancel_token();
        let sleeping = tokio::spawn(async move {
            client.simple_query("SELECT pg_sleep(600.25)").await.unwrap_err()
        });
        let running = "SELECT count(*) FROM pg_stat_activity
                       WHERE query LIKE 'SELECT pg_sleep(600.25)%' AND state = 'active'";
        crate::postgres::eventually_async("the query runs", async || {
            Cluster::shared().sql(running) == "1"
        })
        .await;
        let secured = Secured::trusting(&Cluster::shared().path().join("ca.pem"));
        token.cancel_query(secured).await.unwrap();
        let ended = tokio::time::timeout(crate::postgres::PATIENCE, sleeping).await;
        let ended = ended.expect("the query ends").unwrap();
        assert_eq!(ended.code(), Some(&SqlState::QUERY_CANCELED), "{negotiation:?}");
    }
    assert_eq!(pooler.status("alice").cancels_total, 2);
}

#[tokio::test]
async fn an_old_clients_cancel_request_is_taken_without_tls() {
    let pooler = everywhere();
    let client = connect(&pooler, SslNegotiation::Postgres).await;
    // That nobody has this key is found out, which is not the same as being turned away.
    let mut request = Vec::new();
    cancel_request(&mut request, 1, &[0; 4]);
    let mut dialogue = Dialogue::open(pooler.address);
    dialogue.send(&request);
    assert_eq!(dialogue.next(), None);
    client.simple_query("SELECT 1").await.unwrap();
}

#[tokio::test]
async fn encrypted_servers_serve_clients_of_any_shard() {
    let pooler = everywhere();
    let clients =
        futures_util::future::join_all((0..16).map(|_| connect(&pooler, SslNegotiation::Direct)))
            .await;
    let work = clients.iter().map(async |client| {
        for number in 0..40 {
            let rows = client.simple_query(&format!("SELECT {number}")).await.unwrap();
            let Some(SimpleQueryMessage::Row(row)) = rows.get(1) else { panic!("{rows:?}") };
            assert_eq!(row.get(0), Some(&*number.to_string()));
        }
    });
    futures_util::future::join_all(work).await;
    let status = pooler.status("alice");
    assert!(status.server_handovers_total > 0, "{status:?}");
    assert_eq!(status.servers_closed_dirty_total, 0);
    // One connection after another at most, and far fewer than there were handovers.
    assert!(status.server_connects_total <= 1 + status.server_handovers_total / 4, "{status:?}");
}

#[tokio::test]
async fn large_rows_pass_both_ways() {
    let pooler = everywhere();
    let client = connect(&pooler, SslNegotiation::Postgres).await;
    let long = "y".repeat(300_000);
    for _ in 0..3 {
        let row = client.query_one("SELECT $1::text, repeat('x', 500000)", &[&long]).await.unwrap();
        assert_eq!(row.get::<_, &str>(0), long);
        assert_eq!(row.get::<_, &str>(1).len(), 500_000);
    }
}

#[test]
fn a_renewed_certificate_is_shown_after_a_reload() {
    let folder = tempfile::tempdir().unwrap();
    let house = Cluster::shared().path();
    for name in ["pool.pem", "pool.key", "ca.pem"] {
        std::fs::copy(house.join(name), folder.path().join(name)).unwrap();
    }
    let text = text("sslmode = \"require\"", "");
    let pooler = Pooler::start(|config| *config = Pooler::parse(folder.path(), &text));
    let hello = |authority: &std::path::Path| {
        let wire = Wire::open(pooler.address);
        let mut stream = wire.shake_hands(authority, &["postgresql"]).ok()?;
        Some(converse(&mut stream, "SELECT 'served'"))
    };
    let first = house.join("ca.pem");
    let mut kept = Wire::open(pooler.address).shake_hands(&first, &["postgresql"]).unwrap();
    assert!(hello(&first).is_some());
    Certificates::renew(folder.path());
    pooler.reload(Pooler::parse(folder.path(), &text));
    assert!(hello(&first).is_none(), "that authority does not vouch for the new one");
    let second = hello(&folder.path().join("renewed-ca.pem")).unwrap();
    assert!(contains(&second, b"served"));
    assert!(contains(&converse(&mut kept, "SELECT 'served'"), b"served"));
}

#[test]
fn whoever_vouches_for_servers_is_read_again_with_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let trusted = folder.path().join("trusted.pem");
    let trust = |authority: &str| {
        std::fs::copy(Cluster::shared().path().join(authority), &trusted).unwrap();
    };
    trust("ca.pem");
    let tls = "tls = { sslmode = \"verify-ca\", ca = \"trusted.pem\" }\npool_size = 1\n";
    let text = Pooler::text(Cluster::shared()) + tls;
    let pooler = Pooler::start(|config| *config = Pooler::parse(folder.path(), &text));
    let asked = || pooler.psql("user=alice", SERVER_SIDE);
    let backend = || pooler.psql("user=alice", "SELECT pg_backend_pid()").unwrap();
    assert_eq!(asked().as_deref(), Ok("t"));

    // The same file: connections stay.
    let before = backend();
    pooler.reload(Pooler::parse(folder.path(), &text));
    assert_eq!(backend(), before);

    // The same name, and another authority in it.
    trust("stranger-ca.pem");
    pooler.reload(Pooler::parse(folder.path(), &text));
    let refused = asked().unwrap_err();
    assert!(refused.contains("certificate"), "{refused}");
    trust("ca.pem");
    pooler.reload(Pooler::parse(folder.path(), &text));
    assert_eq!(asked().as_deref(), Ok("t"));
    assert_ne!(backend(), before);
}

#[test]
fn servers_are_asked_for_the_newer_protocol_if_that_is_configured() {
    // This server says that it speaks 3.0, and goes on.
    let text = Pooler::text(Cluster::shared()) + "max_protocol_version = \"3.2\"\n";
    let pooler = Pooler::by(&text);
    let mut client = Dialogue::log_in(pooler.address, "alice", &[]);
    assert_eq!(client.value("SELECT 1"), "1");
    pooler.wait_for("alice", "the server is idle", |pool| pool.servers_idle == 1);
}

#[test]
fn a_handshake_that_dawdles_is_ended() {
    let pooler = Pooler::by(&text("handshake_timeout = \"200ms\"", ""));
    let mut wire = Wire::open(pooler.address);
    let mut packet = Vec::new();
    ssl_request(&mut packet);
    wire.write_all(&packet).unwrap();
    let mut answer = Vec::new();
    let ended = wire.read_to_end(&mut answer);
    assert!(
        ended.is_ok() || ended.is_err_and(|error| error.kind() != std::io::ErrorKind::WouldBlock)
    );
    assert_eq!(answer.first(), Some(&b'S'));
}

const DIRECT: &str =
    "tls = { sslmode = \"verify-full\", ca = \"ca.pem\", negotiation = \"direct\" }\n";

#[test]
fn tls_can_come_first_towards_a_server_that_means_postgresql_too() {
    let server = Fake::secured(&["postgresql"]);
    let pooler = server.pooler_with(DIRECT);
    let mut client = Dialogue::log_in(pooler.address, "alice", &[]);
    assert_eq!(client.value("SELECT 1"), "0");
    assert_eq!(server.connections(), 1);
}

#[test]
fn tls_that_comes_first_and_means_nothing_is_refused() {
    // Without a word about protocols, and with another one.
    for (alpn, wanted) in [
        (&[][..], "the server did not agree on the protocol"),
        (&["http/1.1"], "TLS handshake with the server failed"),
    ] {
        let server = Fake::secured(alpn);
        let pooler = server.pooler_with(DIRECT);
        let mut client = Dialogue::greet(pooler.address, "alice", &[]);
        let told = std::iter::from_fn(|| client.next()).find(|reply| reply.tag == 'E');
        let told = told.expect("it is told why");
        assert_eq!(told.sqlstate(), "08001", "{alpn:?}");
        let text = String::from_utf8_lossy(&told.body).into_owned();
        assert!(text.contains(wanted), "{alpn:?}: {text}");
        assert_eq!(client.next(), None);
    }
}
