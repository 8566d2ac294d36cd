//! TLS towards endpoints: what a cluster's configuration compiles to.

use std::{fmt, net::IpAddr, sync::Arc};

use bs9_config::{ClusterTls, RevocationLists, Trust, Verify};
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        Resumption, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use thiserror::Error;

use super::{
    handshake::{self, HandshakeFailure},
    server::{alpn, lists, provider, roots, versions},
    stream::TlsStream,
};
use crate::Stream;

/// Endpoints of a cluster whose sessions are remembered.
const SESSIONS: usize = 1024;

/// A cluster's half of every handshake with its endpoints. Sessions are remembered, over all
/// shards, and taken up again.
pub struct ClientTls {
    source: Arc<ClusterTls>,
    config: Arc<ClientConfig>,
    server_name: Option<ServerName<'static>>,
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls").field("source", &self.source).finish_non_exhaustive()
    }
}

/// Why a cluster's TLS cannot be carried out.
#[derive(Debug, Error)]
pub enum ClientTlsError {
    /// The cryptography refuses.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
    /// This host trusts nobody.
    #[error(
        "this host has no certificates of authorities that could vouch for the endpoints: \
         install them (ca-certificates), or give `ca`"
    )]
    NoSystemRoots,
}

impl ClientTls {
    /// Compiles `source`; `previous`, when it means the same, is kept with its sessions.
    ///
    /// # Errors
    /// When it cannot be carried out.
    pub fn compile(
        source: &Arc<ClusterTls>,
        previous: Option<&Arc<Self>>,
    ) -> Result<Arc<Self>, ClientTlsError> {
        if let Some(previous) = previous.filter(|previous| previous.source == *source) {
            return Ok(Arc::clone(previous));
        }
        let provider = provider();
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&versions(source.versions))?
            .dangerous()
            .with_custom_certificate_verifier(verifier(&source.verify, &provider)?);
        let mut config = match &source.identity {
            Some(identity) => {
                builder.with_client_auth_cert(identity.chain.to_vec(), identity.key.clone_key())?
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = alpn(&source.alpn);
        config.resumption = Resumption::in_memory_sessions(SESSIONS);
        config.enable_secret_extraction = true;
        let server_name = source.server_name.as_deref().map(host).transpose()?;
        Ok(Arc::new(Self { source: Arc::clone(source), config: Arc::new(config), server_name }))
    }

    /// What rustls works by, for those who speak TLS in their own way.
    pub fn config(&self) -> &Arc<ClientConfig> {
        &self.config
    }

    /// Carries out the handshake with an endpoint that is called `endpoint` (a host name or an
    /// IP address), unless the configuration says another name. Bounded by the caller's timer.
    ///
    /// # Errors
    /// When it does not succeed, or the endpoint is not who it should be; it has been told so.
    pub async fn connect(
        &self,
        socket: Stream,
        endpoint: Endpoint<'_>,
    ) -> Result<TlsStream, HandshakeFailure> {
        let (stream, _) = self.connect_and_show(socket, endpoint).await?;
        Ok(stream)
    }

    /// Likewise; gives the endpoint's certificate, too.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub async fn connect_and_show(
        &self,
        socket: Stream,
        endpoint: Endpoint<'_>,
    ) -> Result<(TlsStream, Option<CertificateDer<'static>>), HandshakeFailure> {
        let name = self.name_for(endpoint).map_err(HandshakeFailure::Tls)?;
        handshake::connect(socket, Arc::clone(&self.config), name).await
    }

    /// The name that an endpoint has to prove.
    ///
    /// # Errors
    /// When it is no name that a certificate could hold.
    pub fn name_for(&self, endpoint: Endpoint<'_>) -> Result<ServerName<'static>, rustls::Error> {
        match (&self.server_name, endpoint) {
            (Some(name), _) => Ok(name.clone()),
            (None, Endpoint::Address(ip)) => Ok(ServerName::from(ip)),
            (None, Endpoint::Name(name)) => host(name),
        }
    }
}

/// What an endpoint is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint<'a> {
    /// By its address.
    Address(IpAddr),
    /// By its host name.
    Name(&'a str),
}

fn host(name: &str) -> Result<ServerName<'static>, rustls::Error> {
    ServerName::try_from(name.to_owned())
        .map_err(|_| rustls::Error::General(format!("{name:?} is no name for a certificate")))
}

fn verifier(
    verify: &Verify,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, ClientTlsError> {
    let lenient = |authorities| Lenient { authorities, provider: Arc::clone(provider) };
    let of = |trust: &Trust| webpki(roots(trust)?, &trust.crls, provider);
    Ok(match verify {
        Verify::Nothing => Arc::new(lenient(None)),
        Verify::Authorities(trust) => of(trust)?,
        Verify::AnyName(trust) => Arc::new(lenient(Some(of(trust)?))),
        Verify::System { crls } => webpki(system_roots()?, crls, provider)?,
    })
}

fn webpki(
    roots: RootCertStore,
    crls: &[RevocationLists],
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, rustls::Error> {
    let verifier =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
            .with_crls(lists(crls))
            .build();
    verifier.map_err(|error| rustls::Error::General(error.to_string()))
}

fn system_roots() -> Result<RootCertStore, ClientTlsError> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() { Err(ClientTlsError::NoSystemRoots) } else { Ok(roots) }
}

/// Asks less of an endpoint than [`WebPkiServerVerifier`] does. It has to prove all the same that
/// it has the key of the certificate it shows.
#[derive(Debug)]
struct Lenient {
    /// Who has to vouch for it, under whatever name (`verify-ca`); `None`: nobody
    /// (`verify = false`).
    authorities: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        use rustls::{CertificateError as Bad, Error::InvalidCertificate};
        let Some(authorities) = &self.authorities else {
            return Ok(ServerCertVerified::assertion());
        };
        let verified = authorities.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        match verified {
            // The name is looked at last: all else was found good.
            Err(InvalidCertificate(Bad::NotValidForName | Bad::NotValidForNameContext { .. })) => {
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
