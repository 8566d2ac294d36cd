//! Who may connect to a listener, and who is believed about where a client is.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

/// `allow`, `deny`, `trusted_proxies` and `proxy_protocol` of `[listeners.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Admission {
    /// Clients that may come; `None`: all.
    pub allow: Option<Vec<Network>>,
    /// Clients that may not; they come before `allow`.
    pub deny: Vec<Network>,
    /// Who is believed about a client's address.
    pub trusted_proxies: TrustedProxies,
    /// The PROXY protocol from trusted proxies; `None`: not spoken.
    pub proxy_protocol: Option<ProxyProtocolIn>,
}

/// `trusted_proxies`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TrustedProxies {
    /// By address.
    pub networks: Vec<Network>,
    /// Everybody who connects to a unix socket of the listener.
    pub unix: bool,
}

impl TrustedProxies {
    /// Whether nobody is trusted.
    pub fn is_empty(&self) -> bool {
        self.networks.is_empty() && !self.unix
    }
}

/// `proxy_protocol` of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProxyProtocolIn {
    /// For the header to arrive, from the accept on. Default 5 s.
    pub timeout: Duration,
}

/// `proxy_protocol` of a cluster: what its endpoints are told about clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// Addresses that begin with the same bits: `10.0.0.0/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// `None` when the prefix is too long, or the address has bits set behind it.
    pub fn new(address: IpAddr, prefix: u8) -> Option<Self> {
        let network = Self { address, prefix };
        let fits = prefix <= if address.is_ipv4() { 32 } else { 128 };
        (fits && network.first() == address).then_some(network)
    }

    /// The network that an address is in; `None` when the prefix is too long.
    pub fn containing(address: IpAddr, prefix: u8) -> Option<Self> {
        Self::new(Self { address, prefix }.first(), prefix)
    }

    /// The address with all bits behind the prefix unset.
    pub fn first(self) -> IpAddr {
        match self.address {
            IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits() & !self.host_bits_v4()).into(),
            IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !self.host_bits_v6()).into(),
        }
    }

    /// The address with all of them set.
    pub fn last(self) -> IpAddr {
        match self.address {
            IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits() | self.host_bits_v4()).into(),
            IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() | self.host_bits_v6()).into(),
        }
    }

    fn host_bits_v4(self) -> u32 {
        u32::MAX.checked_shr(u32::from(self.prefix)).unwrap_or(0)
    }

    fn host_bits_v6(self) -> u128 {
        u128::MAX.checked_shr(u32::from(self.prefix)).unwrap_or(0)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}
