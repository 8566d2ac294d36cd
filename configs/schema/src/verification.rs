//! How the other side of a handshake is judged: what [`Verify`] and [`Trust`] mean to rustls.

use std::sync::Arc;

use rustls::{
    CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, CertificateRevocationListDer, ServerName, UnixTime},
};
use thiserror::Error;

use crate::{RevocationLists, Trust, Verify};

/// Why servers cannot be judged as the configuration says.
#[derive(Debug, Error)]
pub enum VerifyError {
    /// The cryptography refuses.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
    /// This host trusts nobody.
    #[error(
        "this host has no certificates of authorities that could vouch for the other side: \
         install them (ca-certificates), or give `ca`"
    )]
    NoSystemRoots,
}

impl Verify {
    /// What judges a server's certificate in a handshake. It has to prove in any case that it has
    /// the key of the certificate it shows.
    ///
    /// # Errors
    /// When a certificate or a revocation list makes no sense, or this host trusts nobody.
    pub fn verifier(
        &self,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ServerCertVerifier>, VerifyError> {
        let lenient = |authorities| Lenient { authorities, provider: Arc::clone(provider) };
        let of = |trust: &Trust| webpki(trust.root_store()?, &trust.crls, provider);
        Ok(match self {
            Self::Nothing => Arc::new(lenient(None)),
            Self::Authorities(trust) => of(trust)?,
            Self::AnyName(trust) => Arc::new(lenient(Some(of(trust)?))),
            Self::System { crls } => webpki(system_roots()?, crls, provider)?,
        })
    }
}

impl Trust {
    /// Who is believed.
    ///
    /// # Errors
    /// When a certificate makes no sense.
    pub fn root_store(&self) -> Result<RootCertStore, rustls::Error> {
        let mut roots = RootCertStore::empty();
        for root in self.roots.iter() {
            roots.add(root.clone())?;
        }
        Ok(roots)
    }

    /// Who no longer is.
    pub fn revocation_lists(&self) -> impl Iterator<Item = CertificateRevocationListDer<'static>> {
        all_of(&self.crls)
    }
}

fn all_of(
    files: &[RevocationLists],
) -> impl Iterator<Item = CertificateRevocationListDer<'static>> {
    files.iter().flat_map(|file| file.iter().cloned())
}

fn webpki(
    roots: RootCertStore,
    crls: &[RevocationLists],
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, rustls::Error> {
    let verifier =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
            .with_crls(all_of(crls))
            .build();
    verifier.map_err(|error| rustls::Error::General(error.to_string()))
}

fn system_roots() -> Result<RootCertStore, VerifyError> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() { Err(VerifyError::NoSystemRoots) } else { Ok(roots) }
}

/// Asks less of a server than [`WebPkiServerVerifier`] does.
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
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
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
