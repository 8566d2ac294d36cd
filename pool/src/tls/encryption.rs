//! TLS towards one server, compiled.

use std::sync::Arc;

use bs9_config::{DatabaseTls, ServerAddress, SslMode, VerifyError};
use bs9_net::tls::{ClientTls, Endpoint};

/// How connections to a server are encrypted. Two are equal when the configuration says the
/// same, certificates included.
#[derive(Debug)]
pub(crate) struct Encryption {
    pub(crate) source: Arc<DatabaseTls>,
    pub(crate) client: Arc<ClientTls>,
}

impl PartialEq for Encryption {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.source, &other.source) || self.source == other.source
    }
}

impl Encryption {
    /// Compiles `source`; `previous` is kept when it means the same.
    pub(crate) fn compile(
        source: &Arc<DatabaseTls>,
        previous: Option<&Arc<Self>>,
    ) -> Result<Arc<Self>, VerifyError> {
        if let Some(previous) = previous.filter(|previous| previous.source == *source) {
            return Ok(Arc::clone(previous));
        }
        let client = ClientTls::compile(&source.tls, previous.map(|previous| &previous.client))?;
        Ok(Arc::new(Self { source: Arc::clone(source), client }))
    }

    pub(crate) fn sslmode(&self) -> SslMode {
        self.source.sslmode
    }

    /// Whether there may be a connection without.
    pub(crate) fn is_optional(&self) -> bool {
        matches!(self.sslmode(), SslMode::Allow | SslMode::Prefer)
    }
}

/// What a server is called in its certificate. `None`: it is behind a Unix socket, where there
/// is no TLS.
pub(crate) fn endpoint(address: &ServerAddress) -> Option<Endpoint<'_>> {
    match address {
        ServerAddress::Unix(_) => None,
        ServerAddress::Tcp { host, .. } => Some(named(host)),
    }
}

/// A host by its name, or by its address.
pub(crate) fn named(host: &str) -> Endpoint<'_> {
    host.parse().map_or(Endpoint::Name(host), Endpoint::Address)
}
