//! TLS between the pool and PostgreSQL, on both sides.

use std::sync::Arc;

use crate::model::ClusterTls;

/// What a client has to do about TLS: `[listeners.NAME.tls]`, `sslmode`. The words are
/// PgBouncer's `client_tls_sslmode`; `disable` leaves no TLS at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientSslMode {
    /// It may ask for it.
    Allow,
    /// Likewise.
    Prefer,
    /// It must ask for it.
    Require,
    /// It must also show a certificate that the authorities of `client_auth` vouch for.
    VerifyCa,
    /// Likewise: whom the certificate names is `auth`'s business.
    VerifyFull,
}

impl ClientSslMode {
    /// Whether a client without TLS is refused.
    pub fn requires_tls(self) -> bool {
        !matches!(self, Self::Allow | Self::Prefer)
    }
}

/// TLS towards a server: `[postgres.databases.NAME.tls]`, or else `[postgres.server_tls]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseTls {
    /// How much of it is insisted on. What is verified is in `tls`.
    pub sslmode: SslMode,
    /// Whether the handshake comes first, without asking (PostgreSQL 17).
    pub direct: bool,
    /// Whether a login is bound to the connection.
    pub channel_binding: ChannelBinding,
    /// The handshake.
    pub tls: Arc<ClusterTls>,
}

/// `sslmode` as libpq has it; `disable` leaves no TLS at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SslMode {
    /// Only when the server does not take the login without.
    Allow,
    /// If the server has it.
    Prefer,
    /// Or no connection. Whoever answers is believed.
    Require,
    /// Likewise, with a certificate that the authorities vouch for.
    VerifyCa,
    /// Likewise, for the server's name. The default.
    VerifyFull,
}

/// `channel_binding` as libpq has it: `SCRAM-SHA-256-PLUS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ChannelBinding {
    /// Never.
    Disable,
    /// If the server offers it.
    #[default]
    Prefer,
    /// Or no connection.
    Require,
}

/// `max_protocol_version`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ProtocolLevel {
    /// 3.0.
    #[default]
    V3_0,
    /// 3.2, of PostgreSQL 18; older servers say that they speak 3.0.
    V3_2,
}
