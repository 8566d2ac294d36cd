//! Who may connect to a listener, and who is believed about clients.

use std::{net::IpAddr, time::Duration};

use bs9_config::Admission;

use crate::{AddressSet, PeerAddress};

/// A listener's lists, ready to be asked.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Gate {
    allow: Option<AddressSet>,
    deny: AddressSet,
    trusted: AddressSet,
    trusts_unix: bool,
    header_timeout: Option<Duration>,
}

impl Gate {
    /// `None`: everybody may come, and nobody is believed.
    pub fn compile(wanted: &Admission) -> Option<Self> {
        let gate = Self {
            allow: wanted.allow.as_ref().map(AddressSet::new),
            deny: AddressSet::new(&wanted.deny),
            trusted: AddressSet::new(&wanted.trusted_proxies.networks),
            trusts_unix: wanted.trusted_proxies.unix,
            header_timeout: wanted.proxy_protocol.map(|header| header.timeout),
        };
        (gate != Self::default()).then_some(gate)
    }

    /// Whether a client of this address may come.
    pub fn admits(&self, client: IpAddr) -> bool {
        !self.deny.contains(client)
            && self.allow.as_ref().is_none_or(|allowed| allowed.contains(client))
    }

    /// Whether what this peer says of its clients is believed.
    pub fn trusts(&self, peer: PeerAddress) -> bool {
        match peer {
            PeerAddress::Tcp(address) => self.trusts_address(address.ip()),
            PeerAddress::Unix => self.trusts_unix,
        }
    }

    /// Likewise, of a peer that has an address.
    pub fn trusts_address(&self, address: IpAddr) -> bool {
        self.trusted.contains(address)
    }

    /// Whether the connection may stay: its client may come, or it is a proxy's, whose clients
    /// are asked about one by one.
    pub fn lets_in(&self, peer: PeerAddress) -> bool {
        self.trusts(peer) || peer.ip().is_none_or(|client| self.admits(client))
    }

    /// How long a header of the PROXY protocol may take, when this peer's connections begin with
    /// one.
    pub fn awaits_header(&self, peer: PeerAddress) -> Option<Duration> {
        self.header_timeout.filter(|_| self.trusts(peer))
    }
}

#[cfg(test)]
mod tests {
    use bs9_config::{Network, ProxyProtocolIn, TrustedProxies};

    use super::*;

    fn networks(all: &[(&str, u8)]) -> Vec<Network> {
        all.iter().map(|(text, bits)| Network::new(text.parse().unwrap(), *bits).unwrap()).collect()
    }

    fn peer(text: &str) -> PeerAddress {
        PeerAddress::Tcp(text.parse().unwrap())
    }

    #[test]
    fn nothing_configured_is_no_gate() {
        assert!(Gate::compile(&Admission::default()).is_none());
    }

    #[test]
    fn deny_comes_before_allow_and_trust_before_both() {
        let gate = Gate::compile(&Admission {
            allow: Some(networks(&[("10.0.0.0", 8), ("2001:db8::", 32)])),
            deny: networks(&[("10.6.0.0", 16)]),
            trusted_proxies: TrustedProxies {
                networks: networks(&[("192.0.2.7", 32)]),
                unix: false,
            },
            proxy_protocol: Some(ProxyProtocolIn { timeout: Duration::from_secs(1) }),
        })
        .unwrap();
        for (address, inside) in [
            ("10.1.1.1:1", true),
            ("10.6.6.6:1", false),
            ("11.0.0.1:1", false),
            ("[2001:db8::5]:1", true),
            ("[2001:db9::5]:1", false),
            ("[::ffff:10.1.1.1]:1", true),
            ("192.0.2.7:1", true),
            ("192.0.2.8:1", false),
        ] {
            assert_eq!(gate.lets_in(peer(address)), inside, "{address}");
        }
        assert!(!gate.admits("192.0.2.7".parse().unwrap()));
        assert!(gate.lets_in(PeerAddress::Unix), "a file's permissions decide");
        assert!(gate.awaits_header(peer("192.0.2.7:9")).is_some());
        assert!(gate.awaits_header(peer("10.1.1.1:9")).is_none());
        assert!(gate.awaits_header(PeerAddress::Unix).is_none());
    }
}
