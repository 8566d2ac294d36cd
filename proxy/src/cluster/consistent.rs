//! From a hash to an endpoint, the same on every shard and every instance: Maglev's lookup table,
//! and a ring (ketama).
//!
//! Made once for all endpoints of a configuration. While one of them takes no traffic, its keys go
//! to those that follow it in the table, and come back to it afterwards; those of others stay where
//! they are.

use std::{
    collections::HashMap,
    fmt,
    net::{Ipv6Addr, SocketAddr},
};

use bs9_config::{Balance, EndpointAddress};
use pingora_ketama::{Bucket, Continuum};
use rustc_hash::FxHashMap;

use super::{Member, roster::Roster};

/// Entries of a table per endpoint at least: shares are right within a hundredth.
const ENTRIES_PER_MEMBER: usize = 100;
/// Sizes of tables: primes, so that every step visits every entry.
const SIZES: [usize; 6] = [1_021, 4_093, 16_381, 65_521, 262_139, 1_048_573];
/// Weights are scaled so that they sum up to this at most: a ring has 160 points for each 1.
const MAX_RING_WEIGHT: u64 = 1_024;
/// Entries that are looked at before any endpoint will do.
const MAX_STEPS: usize = 128;

/// See the module.
pub(super) enum Consistent {
    /// A member for each entry.
    Maglev(Box<[u32]>),
    Ring(Box<Ring>),
}

pub(super) struct Ring {
    continuum: Continuum,
    members: FxHashMap<SocketAddr, u32>,
}

impl Consistent {
    /// `None`: the algorithm does not hash, or there is nothing to choose from.
    pub(super) fn compile(balance: Balance, members: &[Member]) -> Option<Self> {
        let weighty: Vec<(usize, &Member)> =
            members.iter().enumerate().filter(|(_, member)| member.weight > 0).collect();
        if weighty.is_empty() {
            return None;
        }
        match balance {
            Balance::Maglev => Some(Self::Maglev(maglev(&weighty))),
            Balance::RingHash => Some(Self::Ring(Box::new(Ring::new(&weighty)))),
            _ => None,
        }
    }

    /// The seat for a key among those that `fits` (given by seat).
    pub(super) fn pick(
        &self,
        key: u64,
        roster: &Roster,
        fits: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        let seat = |member: u32| roster.seat_of(member as usize).filter(|seat| fits(*seat));
        let found = match self {
            Self::Maglev(table) => {
                let start = scale(key, table.len());
                let entries = table[start..].iter().chain(&table[..start]);
                entries.take(MAX_STEPS).find_map(|member| seat(*member))
            }
            Self::Ring(ring) => ring.from(key).take(MAX_STEPS).find_map(seat),
        };
        found.or_else(|| {
            // Hardly any takes traffic: those share the keys.
            let seats = roster.seats.len();
            let start = scale(key, seats);
            (start..seats).chain(0..start).find(|seat| fits(*seat))
        })
    }
}

/// From the whole range of hashes to `0..count`.
fn scale(key: u64, count: usize) -> usize {
    ((u128::from(key) * count as u128) >> 64) as usize
}

/// Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", section 3.4.
/// Members take entries in turn, each in an order of its own; heavier ones more often.
fn maglev(members: &[(usize, &Member)]) -> Box<[u32]> {
    const FREE: u32 = u32::MAX;
    let wanted = members.len() * ENTRIES_PER_MEMBER;
    let size = SIZES.into_iter().find(|size| *size >= wanted).unwrap_or(SIZES[SIZES.len() - 1]);
    let heaviest = members.iter().map(|(_, member)| member.weight).max().unwrap_or(1);
    let mut takers: Vec<Taker> = members.iter().map(|one| Taker::new(one, size)).collect();
    let mut table = vec![FREE; size].into_boxed_slice();
    let mut left = size;
    while left > 0 {
        for taker in &mut takers {
            taker.credit += u32::from(taker.weight);
            if taker.credit < u32::from(heaviest) {
                continue;
            }
            taker.credit -= u32::from(heaviest);
            while table[taker.next] != FREE {
                taker.next = (taker.next + taker.skip) % size;
            }
            table[taker.next] = taker.member as u32;
            left -= 1;
            if left == 0 {
                break;
            }
        }
    }
    table
}

struct Taker {
    member: usize,
    weight: u16,
    credit: u32,
    next: usize,
    skip: usize,
}

impl Taker {
    fn new((member, found): &(usize, &Member), size: usize) -> Self {
        let name = found.endpoint.name();
        let (first, second) = (hash(name.as_bytes()), hash(format!("{name}#").as_bytes()));
        Self {
            member: *member,
            weight: found.weight,
            credit: 0,
            next: scale(first, size),
            skip: scale(second, size - 1) + 1,
        }
    }
}

// === impl Ring ===

impl Ring {
    fn new(members: &[(usize, &Member)]) -> Self {
        let total: u64 = members.iter().map(|(_, member)| u64::from(member.weight)).sum();
        let most = MAX_RING_WEIGHT.max(members.len() as u64);
        let mut known: FxHashMap<SocketAddr, u32> = HashMap::default();
        let buckets: Vec<Bucket> = members
            .iter()
            .map(|(at, member)| {
                let mut address = stand_in(&member.endpoint.address, 0);
                for salt in 1.. {
                    if !known.contains_key(&address) {
                        break;
                    }
                    address = stand_in(&member.endpoint.address, salt);
                }
                known.insert(address, *at as u32);
                let weight = u64::from(member.weight);
                let weight = if total > most { (weight * most / total).max(1) } else { weight };
                Bucket::new(address, weight as u32)
            })
            .collect();
        Self { continuum: Continuum::new(&buckets), members: known }
    }

    /// Members from a key on, with repetitions.
    fn from(&self, key: u64) -> impl Iterator<Item = u32> {
        let addresses = self.continuum.node_iter(&key.to_le_bytes());
        addresses.filter_map(|address| self.members.get(address).copied())
    }
}

/// The address itself, or one made of the name: a ring wants one.
fn stand_in(address: &EndpointAddress, salt: u16) -> SocketAddr {
    match address {
        EndpointAddress::Tcp(address) if salt == 0 => *address,
        other => {
            let name = other.to_string();
            let (high, low) = (hash(name.as_bytes()), hash(format!("{name}#{salt}").as_bytes()));
            let ip = Ipv6Addr::from_bits(u128::from(high) << 64 | u128::from(low));
            SocketAddr::new(ip.into(), salt)
        }
    }
}

impl fmt::Debug for Consistent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Maglev(table) => f.debug_tuple("Maglev").field(&table.len()).finish(),
            Self::Ring(ring) => f.debug_tuple("Ring").field(&ring.members.len()).finish(),
        }
    }
}

/// FNV-1a with a finish that spreads it over all bits. The same for ever, and everywhere: clients
/// must not move because a program was updated.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    let mut hash = 0xCBF2_9CE4_8422_2325_u64;
    for byte in bytes {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3);
    }
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xFF51_AFD7_ED55_8CCD);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xC4CE_B9FE_1A85_EC53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::cluster::{Cluster, endpoint::Block};

    fn cluster(balance: &str, endpoints: &[(&str, u16)]) -> Arc<Cluster> {
        let endpoints: Vec<_> = endpoints
            .iter()
            .map(|(address, weight)| format!("{{ address = \"{address}\", weight = {weight} }}"))
            .collect();
        let toml = format!(
            "[clusters.app]\nbalance = \"{balance}\"\nendpoints = [{}]\n",
            endpoints.join(", ")
        );
        let config = bs9_config::parse_str("test.toml", &toml).unwrap_or_else(|e| panic!("{e}"));
        Cluster::compile(&config.clusters["app"], None, None, 1)
    }

    /// Where each of `count` keys goes.
    fn assignment(cluster: &Cluster, count: u64) -> Vec<String> {
        let roster = Roster::of(cluster, bs9_net::now());
        let consistent = cluster.consistent.as_ref().expect("a table");
        let place = |key: u64| {
            let seat = consistent.pick(hash(&key.to_le_bytes()), &roster, |_| true);
            roster.seats[seat.expect("someone")].endpoint.name()
        };
        (0..count).map(place).collect()
    }

    const FIVE: [(&str, u16); 5] = [
        ("10.0.0.1:80", 1),
        ("10.0.0.2:80", 1),
        ("app:80", 1),
        ("unix:/run/a", 1),
        ("[::1]:80", 1),
    ];

    #[test]
    fn keys_spread_by_weight() {
        for balance in ["maglev", "ring-hash"] {
            let mut weighted = FIVE;
            weighted[0].1 = 4;
            let cluster = cluster(balance, &weighted);
            let assignment = assignment(&cluster, 40_000);
            for (name, weight) in weighted {
                let share = assignment.iter().filter(|found| **found == name).count();
                let wanted = 5_000 * usize::from(weight);
                let error = share.abs_diff(wanted) as f64 / wanted as f64;
                let tolerance = if balance == "maglev" { 0.06 } else { 0.25 };
                assert!(error < tolerance, "{balance} {name}: {share} instead of {wanted}");
            }
        }
    }

    #[test]
    fn only_the_keys_of_one_that_takes_no_traffic_move_and_they_come_back() {
        for balance in ["maglev", "ring-hash"] {
            let cluster = cluster(balance, &FIVE);
            let before = assignment(&cluster, 5_000);
            cluster.members[1].endpoint.block(Block::Unhealthy);
            let during = assignment(&cluster, 5_000);
            let gone = FIVE[1].0;
            let mut heirs: Vec<&String> = Vec::new();
            for (was, is) in before.iter().zip(&during) {
                if was == gone {
                    heirs.push(is);
                } else {
                    assert_eq!(was, is);
                }
            }
            heirs.sort();
            heirs.dedup();
            assert_eq!(heirs.len(), 4, "the others share what it had");
            cluster.members[1].endpoint.unblock(Block::Unhealthy);
            assert_eq!(assignment(&cluster, 5_000), before);
        }
    }

    #[test]
    fn few_keys_move_when_an_endpoint_comes() {
        for balance in ["maglev", "ring-hash"] {
            let before = assignment(&cluster(balance, &FIVE[..4]), 10_000);
            let after = assignment(&cluster(balance, &FIVE), 10_000);
            let moved = before.iter().zip(&after).filter(|(was, is)| was != is).count();
            let between_others =
                before.iter().zip(&after).filter(|(was, is)| was != is && *is != FIVE[4].0).count();
            // A fifth has to move; Maglev moves a few more.
            assert!((1_400..2_900).contains(&moved), "{balance}: {moved}");
            assert!(between_others < 700, "{balance}: {between_others}");
        }
    }

    #[test]
    fn hardly_any_left_is_enough() {
        let many: Vec<String> =
            (0..300).map(|number| format!("10.1.{}.{}:80", number / 250, number % 250)).collect();
        let endpoints: Vec<(&str, u16)> = many.iter().map(|name| (name.as_str(), 1)).collect();
        for balance in ["maglev", "ring-hash"] {
            let cluster = cluster(balance, &endpoints);
            for member in &cluster.members[1..] {
                member.endpoint.block(Block::Unhealthy);
            }
            assert!(assignment(&cluster, 100).iter().all(|name| *name == many[0]));
        }
    }

    #[test]
    fn hashes_never_change() {
        assert_eq!(hash(b""), 0xEFD0_1F60_BA99_2926);
    }
}
