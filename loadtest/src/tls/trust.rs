//! Which servers are trusted, and what is offered to them.

use std::{path::PathBuf, sync::Arc};

use rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _},
};

/// How servers that speak TLS are met. The default trusts what the system trusts, and makes a
/// full handshake for each connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// Certificates of authorities to trust instead of the system's, in PEM.
    pub ca_file: Option<PathBuf>,
    /// Take any certificate of anybody.
    pub insecure: bool,
    /// The name to ask for and to expect in the certificate, instead of the URL's host.
    pub server_name: Option<String>,
    /// Resume sessions of earlier connections.
    pub resume: bool,
}

/// Nothing to trust, or nobody to ask for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// A host or `--servername` that is neither name nor address.
    #[error("`{name}` is neither the name of a host nor an address")]
    Name {
        /// What was given.
        name: String,
    },
    /// A file that cannot be read, or is not PEM.
    #[error("cannot read certificates from {file}: {reason}")]
    CaFile {
        /// Which one.
        file: String,
        /// Why.
        reason: String,
    },
    /// No authority at all.
    #[error(
        "the system trusts no authority, so no certificate can be checked; give --ca FILE or --insecure"
    )]
    NoAuthority,
    /// The provider of cryptography knows no version of TLS that is spoken here.
    #[error("TLS cannot be spoken: {reason}")]
    Unusable {
        /// Why.
        reason: String,
    },
}

/// What all connections of a run have in common.
pub(super) fn client_config(options: &TlsOptions) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::Unusable { reason: error.to_string() })?;
    let mut config = if options.insecure {
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
            .with_no_client_auth()
    } else {
        builder.with_root_certificates(authorities(options)?).with_no_client_auth()
    };
    if !options.resume {
        config.resumption = Resumption::disabled();
    }
    Ok(config)
}

fn authorities(options: &TlsOptions) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    let Some(file) = &options.ca_file else {
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return if store.is_empty() { Err(TlsError::NoAuthority) } else { Ok(store) };
    };
    let wrong = |reason: String| TlsError::CaFile { file: file.display().to_string(), reason };
    let certificates =
        CertificateDer::pem_file_iter(file).map_err(|error| wrong(error.to_string()))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
        store.add(certificate).map_err(|error| wrong(error.to_string()))?;
    }
    if store.is_empty() {
        return Err(wrong("it holds none".to_owned()));
    }
    Ok(store)
}

/// Takes any certificate; that its owner holds the key is still checked.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
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
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
