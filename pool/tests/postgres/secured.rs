//! Clients that speak TLS: tokio-postgres, and one of which every byte is known.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::Arc,
};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_rustls::rustls::{
    self, ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};

use super::PATIENCE;

/// What a client that trusts `authority` shakes hands by.
pub(crate) fn client_config(authority: &Path, alpn: &[&str]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_file_iter(authority).expect("a file") {
        roots.add(root.expect("a certificate")).expect("an authority");
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().expect("versions");
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}

/// TLS for tokio-postgres. The server it meets must be `localhost`.
#[derive(Clone)]
pub(crate) struct Secured(MakeRustlsConnect);

impl Secured {
    pub(crate) fn trusting(authority: &Path) -> Self {
        let config = ClientConfig::clone(&client_config(authority, &["postgresql"]));
        Self(MakeRustlsConnect::new(config))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> MakeTlsConnect<S> for Secured {
    type Stream = <MakeRustlsConnect as MakeTlsConnect<S>>::Stream;
    type TlsConnect = <MakeRustlsConnect as MakeTlsConnect<S>>::TlsConnect;
    type Error = <MakeRustlsConnect as MakeTlsConnect<S>>::Error;

    fn make_tls_connect(&mut self, _: &str) -> Result<Self::TlsConnect, Self::Error> {
        MakeTlsConnect::<S>::make_tls_connect(&mut self.0, "localhost")
    }
}

/// A socket that notes how long the TLS records are that come in.
pub(crate) struct Wire {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Wire {
    pub(crate) fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the pool takes connections");
        stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
        Self { stream, received: Vec::new() }
    }

    /// Shakes hands as a client that trusts `authority`, here and now.
    pub(crate) fn shake_hands(
        mut self,
        authority: &Path,
        alpn: &[&str],
    ) -> io::Result<StreamOwned<ClientConnection, Self>> {
        let name = ServerName::try_from("localhost").expect("a name");
        let connection = ClientConnection::new(client_config(authority, alpn), name);
        let mut connection = connection.expect("a connection");
        while connection.is_handshaking() {
            connection.complete_io(&mut self)?;
        }
        Ok(StreamOwned::new(connection, self))
    }

    /// The lengths of the records of application data received so far.
    pub(crate) fn records(&self) -> Vec<usize> {
        let (mut at, mut lengths) = (0, Vec::new());
        while let Some(&[kind, _, _, high, low]) = self.received[at..].first_chunk::<5>() {
            let length = usize::from(u16::from_be_bytes([high, low]));
            if kind == 23 {
                lengths.push(length);
            }
            at = (at + 5 + length).min(self.received.len());
        }
        lengths
    }
}

impl Read for Wire {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.stream.read(into)?;
        self.received.extend_from_slice(&into[..count]);
        Ok(count)
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
