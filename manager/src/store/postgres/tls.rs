//! TLS on the way to the database.

use std::sync::Arc;

use bs9_config::{StoreTls, VerifyError};
use rustls::{ClientConfig, crypto::aws_lc_rs};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::PostgresError;

/// The protocol's name in a handshake (PostgreSQL 17).
const ALPN: &[u8] = b"postgresql";

/// Shakes hands as the configuration says.
#[derive(Clone)]
pub(super) struct Connector {
    maker: MakeRustlsConnect,
    server_name: Option<Arc<str>>,
}

impl Connector {
    /// # Errors
    ///
    /// This host trusts nobody, or the certificates of the authorities make no sense.
    pub(super) fn new(tls: &StoreTls) -> Result<Self, PostgresError> {
        let unfit = |error: VerifyError| PostgresError::Tls(error.to_string());
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = tls.verify.verifier(&provider).map_err(unfit)?;
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| unfit(error.into()))?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        config.alpn_protocols = vec![ALPN.to_vec()];
        let maker = MakeRustlsConnect::new(config);
        Ok(Self { maker, server_name: tls.server_name.clone() })
    }
}

impl<S> MakeTlsConnect<S> for Connector
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = <MakeRustlsConnect as MakeTlsConnect<S>>::Stream;
    type TlsConnect = <MakeRustlsConnect as MakeTlsConnect<S>>::TlsConnect;
    type Error = <MakeRustlsConnect as MakeTlsConnect<S>>::Error;

    fn make_tls_connect(&mut self, host: &str) -> Result<Self::TlsConnect, Self::Error> {
        let name = self.server_name.as_deref().unwrap_or(host);
        MakeTlsConnect::<S>::make_tls_connect(&mut self.maker, name)
    }
}
