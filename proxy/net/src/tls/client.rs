//! TLS towards endpoints: what a cluster's configuration compiles to.

use std::{fmt, net::IpAddr, sync::Arc};

use bs9_config::{ClusterTls, VerifyError};
use rustls::{
    ClientConfig,
    client::Resumption,
    pki_types::{CertificateDer, ServerName},
};

use super::{
    handshake::{self, HandshakeFailure},
    server::{alpn, provider, versions},
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

impl ClientTls {
    /// Compiles `source`; `previous`, when it means the same, is kept with its sessions.
    ///
    /// # Errors
    /// When it cannot be carried out.
    pub fn compile(
        source: &Arc<ClusterTls>,
        previous: Option<&Arc<Self>>,
    ) -> Result<Arc<Self>, VerifyError> {
        if let Some(previous) = previous.filter(|previous| previous.source == *source) {
            return Ok(Arc::clone(previous));
        }
        let provider = provider();
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&versions(source.versions))?
            .dangerous()
            .with_custom_certificate_verifier(source.verify.verifier(&provider)?);
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
