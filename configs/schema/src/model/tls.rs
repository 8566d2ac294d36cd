//! TLS: towards clients (`[listeners.NAME.tls]`) and towards endpoints (`[clusters.NAME.tls]`).
//!
//! What the files held when the configuration was read is part of it: a reload
//! after a renewal is a change like any other, and what was checked is what runs.

use std::{fmt, ops::Deref, path::Path, sync::Arc, time::Duration};

use super::ClientSslMode;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

/// `[listeners.NAME.tls]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerTls {
    /// At least one; the first serves clients whose name none has.
    pub certificates: Vec<ServerCertificate>,
    /// Protocol versions spoken.
    pub versions: TlsVersions,
    /// Protocols agreed on inside the handshake (RFC 7301), most wanted first; empty: none.
    pub alpn: Vec<Arc<str>>,
    /// From the first byte to the end of the handshake. Default 15 s.
    pub handshake_timeout: Duration,
    /// Whether sessions can be resumed by tickets. Default true.
    pub session_tickets: bool,
    /// Certificates of clients; `None`: not asked for.
    pub client_auth: Option<ClientAuth>,
    /// With `postgres`: what clients have to do about TLS; `None`: there is none. Default
    /// `require`.
    pub sslmode: Option<ClientSslMode>,
    /// `Strict-Transport-Security` of responses (RFC 6797).
    pub hsts: Option<Hsts>,
}

/// One entry of `certificates`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerCertificate {
    /// The chain and its key.
    pub identity: Identity,
    /// Names that choose it: those given, else those it was issued for. Lower case.
    pub names: Vec<ServerName>,
    /// None were given.
    pub names_of_its_own: bool,
    /// A stapled OCSP response (RFC 6960), DER; empty where the file has none for this certificate.
    pub ocsp: Option<FromFile<Arc<[u8]>>>,
}

/// What a file held when it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FromFile<T> {
    /// Where it was read from.
    pub path: Arc<Path>,
    /// What it held.
    pub content: T,
}

impl<T> Deref for FromFile<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.content
    }
}

/// The revocation lists of one file, DER.
pub type RevocationLists = FromFile<Arc<[CertificateRevocationListDer<'static>]>>;

/// A certificate chain and the key that proves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Where the chain was read from.
    pub path: Arc<Path>,
    /// The own certificate first, then those that issued it.
    pub chain: Arc<[CertificateDer<'static>]>,
    /// Where the key was read from.
    pub key_path: Arc<Path>,
    /// Belongs to the first certificate. `Debug` does not show it.
    pub key: Arc<PrivateKeyDer<'static>>,
    /// When the first certificate ends, seconds since 1970.
    pub not_after_seconds: i64,
}

/// A host name in a certificate or of a route.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServerName {
    /// `api.example.com`.
    Exact(Arc<str>),
    /// `*.example.com`: holds `example.com`; one label stands for the `*` (RFC 6125).
    Wildcard(Arc<str>),
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Wildcard(name) => write!(f, "*.{name}"),
        }
    }
}

/// `min_version` and `max_version`; at least one is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TlsVersions {
    /// TLS 1.2. Default true.
    pub tls12: bool,
    /// TLS 1.3. Default true.
    pub tls13: bool,
}

/// `client_auth`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientAuth {
    /// Whether a client without a certificate is refused.
    pub required: bool,
    /// Who issues the certificates of clients.
    pub trust: Trust,
}

/// Who is believed, and who no longer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trust {
    /// Certificates of authorities; at least one.
    pub roots: FromFile<Arc<[CertificateDer<'static>]>>,
    /// A file of revocation lists each.
    pub crls: Arc<[RevocationLists]>,
}

/// `hsts`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hsts {
    /// How long browsers remember it. Default 365 days.
    pub max_age: Duration,
    /// Every name below this one, too. Default false.
    pub include_subdomains: bool,
    /// Asks to be put on the browsers' own list. Default false.
    pub preload: bool,
}

/// `[clusters.NAME.tls]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterTls {
    /// How an endpoint's certificate is judged.
    pub verify: Verify,
    /// The name asked for and verified; `None`: the host name, or the IP address, of the endpoint.
    pub server_name: Option<Arc<str>>,
    /// The certificate shown to endpoints that ask for one.
    pub identity: Option<Identity>,
    /// Protocols offered inside the handshake; empty: none.
    pub alpn: Vec<Arc<str>>,
    /// Protocol versions spoken.
    pub versions: TlsVersions,
}

/// How an endpoint's certificate is judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verify {
    /// By the certificate authorities this host trusts.
    System {
        /// A file of revocation lists each.
        crls: Arc<[RevocationLists]>,
    },
    /// By these.
    Authorities(Trust),
    /// By these, whatever name the certificate holds: `sslmode = "verify-ca"` of a PostgreSQL
    /// server.
    AnyName(Trust),
    /// Not at all: `verify = false`.
    Nothing,
}
