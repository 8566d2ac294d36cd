//! What is spoken inside TLS is agreed on by ALPN.

use std::{path::Path, sync::Arc, thread};

use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio_rustls::TlsAcceptor;

use super::origin::{H2Origin, Settings, ok};
use crate::{
    authority::Authority,
    fixture::{Proxy, Site},
    wire::ok as ok_text,
};

/// What an endpoint offers by ALPN, with a certificate for `localhost`.
fn acceptor(folder: &Path, alpn: &[&str]) -> TlsAcceptor {
    let chain = CertificateDer::from_pem_file(folder.join("site.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(folder.join("site.key")).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![chain], key)
        .unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    TlsAcceptor::from(Arc::new(config))
}

fn house() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    authority.write(folder.path());
    authority.issue(folder.path(), "site", &["localhost"]);
    folder
}

fn proxy(folder: &Path, protocol: &str, address: std::net::SocketAddr) -> Proxy {
    let tls = format!(
        "[clusters.app.tls]\nca = \"{}/ca.pem\"\nserver_name = \"localhost\"",
        folder.display()
    );
    let cluster = match protocol {
        "h2" => "protocol = \"h2\"",
        _ => "protocol = \"auto\"",
    };
    Site { cluster, rest: tls, ..Site::of([address]) }.start()
}

fn h2_origin(folder: &Path, alpn: &[&str]) -> H2Origin {
    let tls = Some(acceptor(folder, alpn));
    H2Origin::with(Settings { tls, ..Settings::default() }, |asked, respond| async move {
        let scheme = asked.request.uri().scheme_str().unwrap_or_default().to_owned();
        ok(respond, scheme).await;
    })
}

#[test]
fn http2_is_spoken_where_it_is_agreed_on() {
    let folder = house();
    let origin = h2_origin(folder.path(), &["h2"]);
    for protocol in ["h2", "auto"] {
        let before = origin.connections();
        let proxy = proxy(folder.path(), protocol, origin.address());
        for _ in 0..3 {
            assert_eq!(proxy.web().get("/").text(), "https", "{protocol}");
        }
        assert_eq!(origin.connections(), before + 1);
    }
}

#[test]
fn where_an_endpoint_may_choose_http_1_1_it_is_spoken() {
    let folder = house();
    let listening = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listening.local_addr().unwrap();
    let config = Arc::clone(acceptor(folder.path(), &["http/1.1"]).config());
    thread::spawn(move || {
        for socket in listening.incoming() {
            let (Ok(mut socket), config) = (socket, Arc::clone(&config)) else { return };
            thread::spawn(move || {
                let mut connection = rustls::ServerConnection::new(config).unwrap();
                let mut stream = rustls::Stream::new(&mut connection, &mut socket);
                answer_all(&mut stream);
            });
        }
    });
    let auto = proxy(folder.path(), "auto", address);
    let mut client = auto.web();
    for _ in 0..3 {
        assert_eq!(client.get("/").text(), "by HTTP/1.1");
    }
    assert_eq!(auto.endpoint(address).connects_total, 1, "and its connection is kept");
    let h2 = proxy(folder.path(), "h2", address);
    assert_eq!(h2.web().get("/").status(), 502);
    assert_eq!(h2.failures().get("connect_failed"), Some(&1));
}

/// Answers every request without a body.
fn answer_all(stream: &mut (impl std::io::Read + std::io::Write)) {
    let mut head = Vec::new();
    let mut byte = [0];
    while matches!(stream.read(&mut byte), Ok(1)) {
        head.push(byte[0]);
        if head.ends_with(b"\r\n\r\n") {
            assert!(head.starts_with(b"GET / HTTP/1.1\r\n"));
            head.clear();
            if stream.write_all(&ok_text("by HTTP/1.1")).is_err() {
                return;
            }
        }
    }
}
