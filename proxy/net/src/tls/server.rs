//! TLS towards clients: what a listener's configuration compiles to.

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bs9_config::{ClientAuth, ListenerTls};
use rustls::{
    ServerConfig, SupportedProtocolVersion,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::CertificateDer,
    server::{
        ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert,
        WebPkiClientVerifier, danger::ClientCertVerifier,
    },
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};

use super::{
    handshake::{self, HandshakeFailure, Shown},
    names::ServerNames,
    stream::TlsStream,
};
use crate::Stream;

/// Tickets sent after a full handshake of TLS 1.3: one for each of two connections.
const TICKETS: usize = 2;

/// A listener's half of every handshake.
pub struct ServerTls {
    source: Arc<ListenerTls>,
    config: Arc<ServerConfig>,
    ticketer: Option<Arc<dyn ProducesTickets>>,
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").field("source", &self.source).finish_non_exhaustive()
    }
}

impl ServerTls {
    /// Compiles `source`. `previous`, when it means the same, is kept as it is; tickets it
    /// gave out stay good as long as clients are judged by the same rules.
    ///
    /// # Errors
    /// When the cryptography refuses; reading the configuration has ruled most of that out.
    pub fn compile(
        source: &Arc<ListenerTls>,
        previous: Option<&Arc<Self>>,
    ) -> Result<Arc<Self>, rustls::Error> {
        if let Some(previous) = previous.filter(|previous| previous.source == *source) {
            return Ok(Arc::clone(previous));
        }
        let provider = provider();
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&versions(source.versions))?;
        let builder = match &source.client_auth {
            Some(auth) => builder.with_client_cert_verifier(client_verifier(auth, &provider)?),
            None => builder.with_no_client_auth(),
        };
        let resolver = CertificateResolver::compile(source, &provider)?;
        let mut config = builder.with_cert_resolver(Arc::new(resolver));
        config.alpn_protocols = alpn(&source.alpn);
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.enable_secret_extraction = true;
        config.send_tls13_tickets = if source.session_tickets { TICKETS } else { 0 };
        let ticketer = source.session_tickets.then(|| ticketer(source, previous)).transpose()?;
        if let Some(ticketer) = &ticketer {
            config.ticketer = Arc::clone(ticketer);
        }
        Ok(Arc::new(Self { source: Arc::clone(source), config: Arc::new(config), ticketer }))
    }

    /// From the connection to the end of the handshake.
    pub fn handshake_timeout(&self) -> Duration {
        self.source.handshake_timeout
    }

    /// Carries out the handshake. Bounded by the caller's timer.
    ///
    /// # Errors
    /// When it does not succeed; the client has been told why.
    pub async fn accept(&self, socket: Stream) -> Result<TlsStream, HandshakeFailure> {
        let (stream, _) = handshake::accept(socket, Arc::clone(&self.config), &[]).await?;
        Ok(stream)
    }

    /// Likewise; tells which certificates were shown. `received` was read from the socket
    /// already. A session that is resumed shows none of our own.
    ///
    /// # Errors
    /// As [`accept`](Self::accept).
    pub async fn accept_and_show(
        &self,
        socket: Stream,
        received: &[u8],
    ) -> Result<(TlsStream, Shown), HandshakeFailure> {
        let witness = Arc::new(Witness {
            resolver: Arc::clone(&self.config.cert_resolver),
            chosen: OnceLock::new(),
        });
        // Which certificate a handshake chose, rustls tells nobody but who chooses.
        let mut config = ServerConfig::clone(&self.config);
        config.cert_resolver = Arc::clone(&witness) as Arc<dyn ResolvesServerCert>;
        let (stream, peer) = handshake::accept(socket, Arc::new(config), received).await?;
        Ok((stream, Shown { own: witness.chosen.get().cloned(), peer }))
    }
}

/// A ticket stands for everything that was checked when it was given out, the client's
/// certificate included. So another listener, or other rules for clients, have other keys.
fn ticketer(
    source: &ListenerTls,
    previous: Option<&Arc<ServerTls>>,
) -> Result<Arc<dyn ProducesTickets>, rustls::Error> {
    let kept = previous
        .filter(|previous| previous.source.client_auth == source.client_auth)
        .and_then(|previous| previous.ticketer.clone());
    kept.map_or_else(aws_lc_rs::Ticketer::new, Ok)
}

fn client_verifier(
    auth: &ClientAuth,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, rustls::Error> {
    let roots = Arc::new(auth.trust.root_store()?);
    let builder = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider))
        .with_crls(auth.trust.revocation_lists());
    let builder = if auth.required { builder } else { builder.allow_unauthenticated() };
    builder.build().map_err(|error| rustls::Error::General(error.to_string()))
}

/// Picks a certificate by the name a client asks for and the signatures it understands.
#[derive(Debug)]
struct CertificateResolver {
    names: ServerNames<Vec<Arc<CertifiedKey>>>,
    /// In the order of the configuration.
    all: Vec<Arc<CertifiedKey>>,
}

impl CertificateResolver {
    fn compile(source: &ListenerTls, provider: &CryptoProvider) -> Result<Self, rustls::Error> {
        let mut resolver = Self { names: ServerNames::default(), all: Vec::new() };
        for one in &source.certificates {
            let identity = &one.identity;
            let mut certified = CertifiedKey::from_der(
                identity.chain.to_vec(),
                identity.key.clone_key(),
                provider,
            )?;
            certified.ocsp =
                one.ocsp.as_ref().map(|file| file.to_vec()).filter(|response| !response.is_empty());
            let certified = Arc::new(certified);
            for name in &one.names {
                resolver.names.entry_or(name, Vec::new).push(Arc::clone(&certified));
            }
            resolver.all.push(certified);
        }
        Ok(resolver)
    }
}

impl ResolvesServerCert for CertificateResolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = hello.server_name().and_then(|name| self.names.lookup(name));
        let schemes = hello.signature_schemes();
        let understood = |one: &&Arc<CertifiedKey>| one.key.choose_scheme(schemes).is_some();
        let found = named.and_then(|named| named.iter().find(understood));
        found.or_else(|| self.all.iter().find(understood)).cloned()
    }
}

/// Remembers what another resolver chose, for one handshake.
#[derive(Debug)]
struct Witness {
    resolver: Arc<dyn ResolvesServerCert>,
    chosen: OnceLock<CertificateDer<'static>>,
}

impl ResolvesServerCert for Witness {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let key = self.resolver.resolve(hello)?;
        if let Some(own) = key.cert.first() {
            let _chosen_once = self.chosen.set(own.clone());
        }
        Some(key)
    }
}

// === Shared with the client's side ===

/// The one provider of cryptography.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

pub(super) fn versions(wanted: bs9_config::TlsVersions) -> Vec<&'static SupportedProtocolVersion> {
    let all = [(wanted.tls13, &TLS13), (wanted.tls12, &TLS12)];
    all.into_iter().filter_map(|(spoken, version)| spoken.then_some(version)).collect()
}

pub(super) fn alpn(names: &[Arc<str>]) -> Vec<Vec<u8>> {
    names.iter().map(|name| name.as_bytes().to_vec()).collect()
}
