//! Protocol versions: 3.0, and 3.2 of PostgreSQL 18.

use std::fmt;

/// A protocol version of major 3, or a request for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProtocolVersion {
    minor: u16,
}

impl ProtocolVersion {
    /// 3.0: spoken since 2003.
    pub const V3_0: Self = Self { minor: 0 };
    /// 3.2: cancel secrets of 4 to 256 bytes.
    pub const V3_2: Self = Self { minor: 2 };
    /// The newest version this crate speaks.
    pub const NEWEST: Self = Self::V3_2;

    /// Version 3 with this minor.
    pub fn with_minor(minor: u16) -> Self {
        Self { minor }
    }

    /// The minor version.
    pub fn minor(self) -> u16 {
        self.minor
    }

    /// The word in a StartupMessage.
    pub fn word(self) -> u32 {
        3 << 16 | u32::from(self.minor)
    }

    /// The version to speak with a peer that asked for this one, given the newest spoken here:
    /// the smaller of both. Smaller than asked for means NegotiateProtocolVersion has to say so.
    pub fn agree(self, newest: Self) -> Self {
        self.min(newest)
    }

    /// Whether cancel secrets may have other lengths than 4 bytes.
    pub fn has_long_secrets(self) -> bool {
        self >= Self::V3_2
    }
}

impl fmt::Display for ProtocolVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "3.{}", self.minor)
    }
}
