//! Many networks, asked about one address.

use std::net::IpAddr;

use bs9_config::Network;

/// Networks, as ranges that neither overlap nor touch: a look-up is one search by halves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AddressSet {
    v4: Box<[(u32, u32)]>,
    v6: Box<[(u128, u128)]>,
}

impl AddressSet {
    /// All addresses of these networks. IPv4 networks that are written as IPv6 (RFC 4291
    /// section 2.5.5.2) are IPv4.
    pub fn new<'n>(networks: impl IntoIterator<Item = &'n Network>) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for network in networks {
            match (network.first().to_canonical(), network.last().to_canonical()) {
                (IpAddr::V4(first), IpAddr::V4(last)) => v4.push((first.to_bits(), last.to_bits())),
                _ => v6.push((bits(network.first()), bits(network.last()))),
            }
        }
        let v4 = merged(v4, |last| last.checked_add(1));
        let v6 = merged(v6, |last| last.checked_add(1));
        Self { v4, v6 }
    }

    /// Whether an address is in one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(v4) => holds(&self.v4, v4.to_bits()),
            IpAddr::V6(v6) => holds(&self.v6, v6.to_bits()),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

fn merged<T: Ord + Copy>(mut ranges: Vec<(T, T)>, next: impl Fn(T) -> Option<T>) -> Box<[(T, T)]> {
    ranges.sort_unstable();
    let mut kept: Vec<(T, T)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match kept.last_mut() {
            Some(before) if next(before.1).is_none_or(|beyond| first <= beyond) => {
                before.1 = before.1.max(last);
            }
            _ => kept.push((first, last)),
        }
    }
    kept.into_boxed_slice()
}

fn holds<T: Ord + Copy>(ranges: &[(T, T)], address: T) -> bool {
    let behind = ranges.partition_point(|(first, _)| *first <= address);
    behind > 0 && address <= ranges[behind - 1].1
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;

    fn network() -> impl Strategy<Value = Network> {
        let v4 = (any::<u32>(), 0_u8..=32).prop_map(|(bits, prefix)| {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            Network::new(Ipv4Addr::from_bits(bits & mask).into(), prefix).unwrap()
        });
        let v6 = (any::<u128>(), 0_u8..=128).prop_map(|(bits, prefix)| {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            Network::new(Ipv6Addr::from_bits(bits & mask).into(), prefix).unwrap()
        });
        prop_oneof![v4, v6]
    }

    /// As it is defined, one network after the other.
    fn is_in(network: &Network, address: IpAddr) -> bool {
        let (first, last) = (network.first(), network.last());
        first.is_ipv4() == address.is_ipv4() && first <= address && address <= last
    }

    proptest! {
        #[test]
        fn an_address_is_in_the_set_when_it_is_in_a_network(
            networks in prop::collection::vec(network(), 0..20),
            near in any::<prop::sample::Index>(),
            offset in -2_i64..=2,
            other in any::<u128>(),
        ) {
            let set = AddressSet::new(&networks);
            let mut probes = vec![IpAddr::V6(Ipv6Addr::from_bits(other)), IpAddr::V4(Ipv4Addr::from_bits(other as u32))];
            if !networks.is_empty() {
                let network = near.get(&networks);
                for edge in [network.first(), network.last()] {
                    probes.push(match edge {
                        IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits().wrapping_add(offset as u32)).into(),
                        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits().wrapping_add(offset as u128)).into(),
                    });
                }
            }
            for probe in probes.into_iter().filter(|probe| probe.to_canonical() == *probe) {
                let expected = networks.iter().any(|network| is_in(network, probe));
                prop_assert_eq!(set.contains(probe), expected, "{} in {:?}", probe, networks);
            }
        }
    }

    #[test]
    fn ipv4_is_known_in_either_spelling() {
        let network = |text: &str, prefix| Network::new(text.parse().unwrap(), prefix).unwrap();
        for set in [network("10.0.0.0", 8), network("::ffff:10.0.0.0", 104)] {
            let set = AddressSet::new([&set]);
            for (address, inside) in [
                ("10.1.2.3", true),
                ("::ffff:10.1.2.3", true),
                ("11.0.0.0", false),
                ("::a00:1", false),
            ] {
                assert_eq!(set.contains(address.parse().unwrap()), inside, "{address}");
            }
        }
    }
}
