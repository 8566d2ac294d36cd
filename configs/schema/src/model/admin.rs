//! `[admin]`: where the admin API is answered, and to whom.

use std::{net::SocketAddr, num::NonZeroU32, path::PathBuf, sync::Arc};

use super::{Identity, Role, Secret};

/// `[admin]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Admin {
    /// Unix socket, guarded by peer credentials. `None`: the default place
    /// (`$XDG_RUNTIME_DIR/bs9/dataplane.sock`, else `/run/bs9/dataplane.sock`).
    pub socket: Option<PathBuf>,
    /// Optional TCP address. Without a token only `/metrics` and `/health/*`
    /// answer there.
    pub listen: Option<SocketAddr>,
    /// TLS on the TCP address; `None`: plaintext.
    pub tls: Option<Identity>,
    /// Bearer tokens for the TCP address.
    pub tokens: Vec<AdminToken>,
    /// Who may use the Unix socket besides root and the user bs9 runs as.
    pub peers: Vec<AdminPeer>,
    /// Where pages in a browser may come from besides this server itself.
    pub origins: Vec<Arc<str>>,
    /// How often one address may call over TCP.
    pub rate_limit: RateLimit,
}

/// `[[admin.tokens]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminToken {
    /// Who it is, for logs and audit.
    pub name: Arc<str>,
    /// What it may do.
    pub role: Role,
    /// The token itself.
    pub token: Secret,
}

/// `[[admin.peers]]`: who may do what over the Unix socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdminPeer {
    /// A user or a group, by number.
    pub who: PeerId,
    /// What it may do.
    pub role: Role,
}

/// Who a process runs as (unix(7), `SO_PEERCRED`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerId {
    /// Its effective user.
    User(u32),
    /// Its effective group; supplementary groups are not seen.
    Group(u32),
}

/// `admin.rate_limit`: a bucket for each address, over TCP only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// Calls a second, in the long run. Default 50.
    pub calls_per_second: NonZeroU32,
    /// Calls at once after a pause. Default 200.
    pub burst: NonZeroU32,
    /// Wrong tokens at once after a pause; another one each 6 s. Default 10.
    pub wrong_tokens: NonZeroU32,
}

impl RateLimit {
    /// Calls a second when the configuration says nothing.
    pub const DEFAULT_CALLS_PER_SECOND: u32 = 50;
    /// Calls at once when the configuration says nothing.
    pub const DEFAULT_BURST: u32 = 200;
    /// Wrong tokens at once when the configuration says nothing.
    pub const DEFAULT_WRONG_TOKENS: u32 = 10;
}

impl Default for RateLimit {
    fn default() -> Self {
        let positive = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        Self {
            calls_per_second: positive(Self::DEFAULT_CALLS_PER_SECOND),
            burst: positive(Self::DEFAULT_BURST),
            wrong_tokens: positive(Self::DEFAULT_WRONG_TOKENS),
        }
    }
}
