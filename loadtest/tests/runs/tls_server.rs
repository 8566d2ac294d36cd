//! A server that speaks TLS, and the authority that vouches for it.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::{
    HandshakeKind, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    crypto::aws_lc_rs::default_provider,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    server::WebPkiClientVerifier,
    version::{TLS12, TLS13},
};
use tempfile::TempDir;

use crate::server::Server;

/// Signs certificates, and has its own in a file.
pub(crate) struct Authority {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
    certificate: rcgen::Certificate,
}

/// What is wrong with a server, or special.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trait {
    None,
    Expired,
    OnlyTls12,
    WantsCertificate,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Each has another name, so that nobody is taken for somebody else.
        let folder = tempfile::tempdir().unwrap();
        let name = folder.path().file_name().unwrap().to_string_lossy().into_owned();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        fs::write(folder.path().join("ca.pem"), certificate.pem()).unwrap();
        Self { folder, issuer: Issuer::new(params, key), certificate }
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A key and a certificate for this name, in PEM: of a server that is not of this test.
    pub(crate) fn pair(&self, name: &str) -> (String, String) {
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (key.serialize_pem(), certificate.pem())
    }

    /// The configuration of a server with this name.
    pub(crate) fn server(&self, name: &str, special: Trait, alpn: &[&[u8]]) -> Arc<ServerConfig> {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        if special == Trait::Expired {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2021, 1, 1);
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let versions = match special {
            Trait::OnlyTls12 => vec![&TLS12],
            _ => vec![&TLS12, &TLS13],
        };
        let provider = Arc::new(default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&versions)
            .unwrap();
        let builder = match special {
            Trait::WantsCertificate => {
                let mut roots = RootCertStore::empty();
                roots.add(self.certificate.der().clone()).unwrap();
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
            _ => builder.with_no_client_auth(),
        };
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut config = builder.with_single_cert(vec![certificate.der().clone()], key).unwrap();
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        Arc::new(config)
    }
}

/// A connection a server has taken.
pub(crate) type Stream = StreamOwned<ServerConnection, TcpStream>;

/// Serves each connection, with the handshake still to come.
pub(crate) fn start(
    config: Arc<ServerConfig>,
    serve: impl Fn(Stream) + Send + Sync + 'static,
) -> Server {
    Server::start(move |stream| {
        let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
        serve(StreamOwned::new(connection, stream));
    })
}

/// Answers HTTP/1.1 requests with `respond`, and notes how each connection shook hands.
pub(crate) fn http(
    config: Arc<ServerConfig>,
    respond: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static,
) -> (Server, Arc<Mutex<Vec<HandshakeKind>>>) {
    let kinds = Arc::<Mutex<Vec<_>>>::default();
    let own = Arc::clone(&kinds);
    let server = start(config, move |mut stream| {
        let mut noted = false;
        while let Some(request) = read_request(&mut stream) {
            if !std::mem::replace(&mut noted, true) {
                own.lock().unwrap().push(stream.conn.handshake_kind().unwrap());
            }
            if stream.write_all(&respond(&request)).is_err() || request.contains("close\r\n") {
                break;
            }
        }
        stream.conn.send_close_notify();
        let _client_may_be_gone = stream.flush();
    });
    (server, kinds)
}

/// The head of a request; its body is read, too.
fn read_request(stream: &mut Stream) -> Option<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.push(char::from(byte[0]));
    }
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).ok()?;
    Some(head)
}
