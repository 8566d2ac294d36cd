//! TLS for the client that runs `auth_query`: the same as on server connections.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_rustls::rustls;

use crate::tls::{self, Encryption};

/// Shakes hands as an [`Encryption`] says.
#[derive(Clone)]
pub(super) struct Connector {
    encryption: Arc<Encryption>,
    maker: MakeRustlsConnect,
}

impl Connector {
    pub(super) fn new(encryption: Arc<Encryption>) -> Self {
        let config = rustls::ClientConfig::clone(encryption.client.config());
        Self { encryption, maker: MakeRustlsConnect::new(config) }
    }
}

impl<S> MakeTlsConnect<S> for Connector
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = <MakeRustlsConnect as MakeTlsConnect<S>>::Stream;
    type TlsConnect = <MakeRustlsConnect as MakeTlsConnect<S>>::TlsConnect;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn make_tls_connect(&mut self, host: &str) -> Result<Self::TlsConnect, Self::Error> {
        let name = self.encryption.client.name_for(tls::named(host))?;
        Ok(MakeTlsConnect::<S>::make_tls_connect(&mut self.maker, &name.to_str())?)
    }
}
