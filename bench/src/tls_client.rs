//! TLS as the bench's own clients speak it: the least that is a full TLS 1.3
//! handshake, and the same towards every contender.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use anyhow::Context;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme, StreamOwned,
};

use crate::http_client::HttpClient;

/// A client connection with TLS.
pub(crate) type TlsStream = StreamOwned<ClientConnection, TcpStream>;

/// TLS 1.3 with X25519 and HTTP/1.1, no session taken up again, and no look at
/// the certificate, which the bench has made itself.
pub(crate) fn config() -> anyhow::Result<Arc<ClientConfig>> {
    let provider = CryptoProvider {
        // The post-quantum exchange would be had with some contenders only.
        kx_groups: vec![aws_lc_rs::kx_group::X25519],
        ..aws_lc_rs::default_provider()
    };
    let unchecked =
        Unchecked { schemes: provider.signature_verification_algorithms.supported_schemes() };
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .context("the provider can do TLS 1.3")?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(unchecked))
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

impl HttpClient<TlsStream> {
    /// Connects; the handshake is done with the first request.
    pub(crate) fn connect_tls(
        address: SocketAddr,
        config: &Arc<ClientConfig>,
    ) -> anyhow::Result<Self> {
        let plain = HttpClient::connect(address)?.into_stream();
        let name = ServerName::from(address.ip());
        let connection = ClientConnection::new(config.clone(), name)?;
        Ok(Self::over(StreamOwned::new(connection, plain)))
    }

    /// Ends the connection as TLS wants it.
    pub(crate) fn close_tls(self) -> io::Result<()> {
        let mut stream = self.into_stream();
        stream.conn.send_close_notify();
        while stream.conn.wants_write() {
            stream.conn.write_tls(&mut stream.sock)?;
        }
        Ok(())
    }
}

/// Takes any certificate.
#[derive(Debug)]
struct Unchecked {
    schemes: Vec<SignatureScheme>,
}

impl ServerCertVerifier for Unchecked {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}
