//! TLS, browsers, and those who knock too often.

use std::{num::NonZeroU32, sync::Arc};

use bs9_api::{
    ManagerClient,
    server::{Keyring, KnownToken},
    types::{EventStreamQuery, PageQuery},
};
use bs9_config::{Identity, RateLimit, Role, Verify};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use tokio::net::TcpStream;

use crate::harness::{ADMIN, Served, VIEWER, converse, head};

#[tokio::test]
async fn events_are_followed_and_taken_up_again() {
    let (served, _) = Served::manager();
    let client = ManagerClient::unix(&served.socket);
    let mut follower = client.event_stream(&EventStreamQuery { after: Some(10) }).await.unwrap();
    for id in [11, 12, 13] {
        assert_eq!(follower.next().await.unwrap().unwrap().id, id);
    }
    assert!(follower.next().await.unwrap().is_none(), "the feed has ended");
    let page = client.events(&PageQuery { after: Some(13), limit: Some(1) }).await.unwrap();
    assert_eq!(page.events[0].id, 14);

    let answer = served
        .by_socket(&head("GET", "/v1/events/stream?after=1", &[("Last-Event-ID", "20")]))
        .await;
    assert!(answer.head.contains("content-type: text/event-stream"), "{}", answer.head);
    assert!(answer.body.contains("id: 21\nevent: unit_gone\ndata: {"), "{}", answer.body);
    let answer =
        served.by_socket(&head("GET", "/v1/events/stream", &[("Last-Event-ID", "x")])).await;
    assert_eq!(answer.status, 400);
}

#[tokio::test]
async fn tls_on_the_tcp_address() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let certificate = made.cert.der().clone();
    let (served, _) = Served::manager_at(|address| {
        address.tls = Some(Identity {
            path: Arc::from(std::path::Path::new("test.pem")),
            chain: [certificate.clone()].into(),
            key_path: Arc::from(std::path::Path::new("test.key")),
            key: Arc::new(key),
            not_after_seconds: i64::MAX,
        });
    });
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = TcpStream::connect(served.tcp).await.unwrap();
    let stream =
        connector.connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap();
    let bearer = format!("Bearer {VIEWER}");
    let request = head("GET", "/v1/status", &[("Authorization", &bearer)]);
    assert_eq!(converse(stream, request.as_bytes()).await.status, 200);

    // In the open nothing is answered.
    let stream = TcpStream::connect(served.tcp).await.unwrap();
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (mut reader, mut writer) = stream.into_split();
    writer.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    let _ = reader.read_to_end(&mut bytes).await;
    assert!(!bytes.starts_with(b"HTTP/"), "{bytes:?}");
}

/// What a new client is shown, who believes whatever that is.
async fn shown(served: &Served) -> CertificateDer<'static> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Verify::Nothing.verifier(&provider).unwrap())
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = TcpStream::connect(served.tcp).await.unwrap();
    let stream = connector.connect(ServerName::try_from("localhost").unwrap(), stream).await;
    stream.unwrap().get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_and_a_broken_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    let issue = || {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        // The new file takes the place of the old one, as tools that renew certificates have it.
        for (name, text) in [("pem", made.cert.pem()), ("key", made.signing_key.serialize_pem())] {
            std::fs::write(place("next"), text).unwrap();
            std::fs::rename(place("next"), place(name)).unwrap();
        }
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        (made.cert.der().clone(), PrivateKeyDer::Pkcs8(key))
    };
    let (first, key) = issue();
    let (served, _) = Served::manager_at(|address| {
        address.tls = Some(Identity {
            path: Arc::from(place("pem")),
            chain: [first.clone()].into(),
            key_path: Arc::from(place("key")),
            key: Arc::new(key),
            not_after_seconds: i64::MAX,
        });
    });
    assert_eq!(shown(&served).await, first);
    let (second, _) = issue();
    until(async || shown(&served).await == second).await;
    // A key of another certificate, then none at all.
    let other = rcgen::KeyPair::generate().unwrap();
    std::fs::write(place("key"), other.serialize_pem()).unwrap();
    stays(&served, &second).await;
    std::fs::write(place("pem"), "-----BEGIN NOTHING-----").unwrap();
    stays(&served, &second).await;
    let (third, _) = issue();
    until(async || shown(&served).await == third).await;
}

/// The files are looked at each second; for longer than that nothing else is shown. That something
/// does not come has no condition to wait for.
async fn stays(served: &Served, certificate: &CertificateDer<'_>) {
    let until = tokio::time::Instant::now() + std::time::Duration::from_millis(1_500);
    while tokio::time::Instant::now() < until {
        assert_eq!(shown(served).await, *certificate);
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

/// Waits for what takes a second.
async fn until(holds: impl AsyncFn() -> bool) {
    let look = async {
        while !holds().await {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), look).await.unwrap();
}

#[tokio::test]
async fn pages_of_other_sites_get_nothing() {
    let (served, _) =
        Served::manager_at(|address| address.origins = vec!["https://ops.example.com".into()]);
    let bearer = format!("Bearer {ADMIN}");
    let status = async |method: &str, path: &str, fields: &[(&str, &str)]| {
        let mut all = vec![("Authorization", bearer.as_str())];
        all.extend(fields);
        served.by_tcp(&head(method, path, &all)).await.status
    };
    let evil = ("Origin", "https://evil.example");
    let ops = ("Origin", "https://ops.example.com");
    assert_eq!(status("GET", "/v1/status", &[evil]).await, 403);
    assert_eq!(status("GET", "/metrics", &[evil]).await, 403);
    assert_eq!(status("GET", "/nowhere", &[evil]).await, 403);
    assert_eq!(status("GET", "/v1/status", &[ops]).await, 200);
    assert_eq!(status("POST", "/v1/tokens/x/revoke", &[ops]).await, 403);
    assert_eq!(status("POST", "/v1/tokens/x/revoke", &[ops, ("X-BS9-Request", "1")]).await, 503);
}

#[tokio::test]
async fn knocking_too_often_is_answered_429() {
    let (served, _) = Served::manager_at(|address| {
        let few = |n| NonZeroU32::new(n).unwrap();
        address.rate_limit =
            RateLimit { calls_per_second: few(1), burst: few(500), wrong_tokens: few(3) };
    });
    let call = async |token: &str| {
        let bearer = format!("Bearer {token}");
        served.by_tcp(&head("GET", "/v1/status", &[("Authorization", &bearer)])).await
    };
    assert_eq!(call(VIEWER).await.status, 200);
    for _ in 0..3 {
        assert_eq!(call("guess").await.status, 401);
    }
    let refused = call(VIEWER).await;
    assert_eq!((refused.status, refused.code().as_str()), (429, "too_many_requests"));
    assert!(refused.head.contains("retry-after: "), "{}", refused.head);
    let client = ManagerClient::unix(&served.socket);
    assert!(client.status().await.is_ok(), "the socket has no such limit");
}

#[derive(Debug)]
struct OneKey;

impl Keyring for OneKey {
    fn find(&self, presented: &[u8]) -> Option<KnownToken> {
        let known = KnownToken { name: "made".into(), role: Role::Viewer };
        (presented == b"made-later").then_some(known)
    }
}

#[tokio::test]
async fn tokens_can_be_made_later() {
    let (served, _) = Served::manager_with(|server| server.with_keyring(Arc::new(OneKey)));
    let call = async |method: &str, path: &str| {
        let fields = [("Authorization", "Bearer made-later")];
        served.by_tcp(&head(method, path, &fields)).await.status
    };
    assert_eq!(call("GET", "/v1/status").await, 200);
    assert_eq!(call("GET", "/v1/audit").await, 403);
}
