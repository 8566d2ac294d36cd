//! Who makes a call.

use std::{fmt, net::SocketAddr, sync::Arc};

use bs9_config::Role;

/// Who makes a call, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// A process on this machine, by the kernel's word (`SO_PEERCRED`, unix(7)).
    Peer {
        /// Its effective user.
        uid: u32,
        /// Its process id, when the kernel gives one.
        pid: Option<i32>,
        /// What it may do.
        role: Role,
    },
    /// Who holds a token.
    Token {
        /// The token's name.
        name: Arc<str>,
        /// What it may do.
        role: Role,
        /// Where the call came from.
        from: SocketAddr,
    },
    /// Nobody known.
    Anonymous {
        /// Where the call came from.
        from: SocketAddr,
    },
}

impl Caller {
    /// What the caller may do; `None` for nobody known.
    pub fn role(&self) -> Option<Role> {
        match self {
            Self::Peer { role, .. } | Self::Token { role, .. } => Some(*role),
            Self::Anonymous { .. } => None,
        }
    }

    /// Where the call came from: `unix`, or an address.
    pub fn from(&self) -> String {
        match self {
            Self::Peer { .. } => "unix".to_owned(),
            Self::Token { from, .. } | Self::Anonymous { from } => from.to_string(),
        }
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer { uid, pid: Some(pid), .. } => write!(f, "uid {uid} pid {pid}"),
            Self::Peer { uid, pid: None, .. } => write!(f, "uid {uid}"),
            Self::Token { name, .. } => write!(f, "token {name}"),
            Self::Anonymous { .. } => f.write_str("anonymous"),
        }
    }
}
