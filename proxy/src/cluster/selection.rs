//! Which members of a cluster may be picked now, and with what weight: health, priorities, zones,
//! slow start, panic.

use std::time::Duration;

use bs9_config::Balance;
use bs9_net::CoarseInstant;

use super::{Cluster, Member, endpoint::Block};

/// The share that a slow start begins with.
const FIRST_SHARE: f64 = 0.1;
/// Weights are multiplied by it while one of them grows.
const FINENESS: u32 = 100;

/// Members that may be picked.
#[derive(Debug, Default)]
pub(super) struct Selection {
    /// Their places in the cluster, in order, and their weights, at least 1.
    pub(super) members: Vec<(usize, u32)>,
    /// Health is disregarded: too little is left.
    pub(super) panicking: bool,
    /// A weight is still growing.
    pub(super) ramping: bool,
}

impl Selection {
    /// What holds at `now`.
    pub(super) fn of(cluster: &Cluster, now: CoarseInstant) -> Self {
        let members = &cluster.members;
        let wanted: Vec<usize> = (0..members.len())
            .filter(|at| members[*at].weight > 0 && !members[*at].endpoint.is_draining())
            .collect();
        let available: Vec<usize> =
            wanted.iter().copied().filter(|at| members[*at].endpoint.takes_traffic()).collect();
        let threshold = cluster.config.panic_threshold * wanted.len() as f64;
        let panicking = threshold > 0.0 && (available.len() as f64) < threshold;
        let chosen = if panicking {
            wanted
        } else {
            let chosen = by_priority(cluster, &wanted, available);
            by_zone(cluster, &wanted, chosen)
        };
        let (members, ramping) = weigh(cluster, &chosen, now);
        Self { members, panicking, ramping }
    }
}

/// The available ones of the first priority of which enough is available.
fn by_priority(cluster: &Cluster, wanted: &[usize], mut available: Vec<usize>) -> Vec<usize> {
    let priority_of = |at: usize| cluster.members[at].priority;
    let Some(first) = available.iter().copied().map(priority_of).min() else { return available };
    let last = wanted.iter().copied().map(priority_of).max().unwrap_or(first);
    if first == last && wanted.iter().all(|at| priority_of(*at) == first) {
        return available;
    }
    let enough = (first..=last).find(|priority| {
        is_enough(cluster, wanted, &available, |member| member.priority == *priority)
    });
    let used = enough.unwrap_or(first);
    available.retain(|at| priority_of(*at) == used);
    available
}

/// Those of the zone, when enough of them are available.
fn by_zone(cluster: &Cluster, wanted: &[usize], mut available: Vec<usize>) -> Vec<usize> {
    let Some(zone) = &cluster.config.zone else { return available };
    let Some(priority) = available.first().map(|at| cluster.members[*at].priority) else {
        return available;
    };
    let here = |member: &Member| member.zone.as_ref() == Some(zone) && member.priority == priority;
    if is_enough(cluster, wanted, &available, here) {
        available.retain(|at| here(&cluster.members[*at]));
    }
    available
}

/// Whether so much of a group is available that it is used.
fn is_enough(
    cluster: &Cluster,
    wanted: &[usize],
    available: &[usize],
    group: impl Fn(&Member) -> bool,
) -> bool {
    let weight = |places: &[usize]| -> u64 {
        let members = places.iter().map(|at| &cluster.members[*at]);
        members.filter(|member| group(member)).map(|member| u64::from(member.weight)).sum()
    };
    let (available, all) = (weight(available), weight(wanted));
    available > 0 && available as f64 >= cluster.config.failover_below * all as f64
}

fn weigh(cluster: &Cluster, chosen: &[usize], now: CoarseInstant) -> (Vec<(usize, u32)>, bool) {
    let slow_start = cluster.config.slow_start;
    let shares = chosen.iter().map(|at| share(&cluster.members[*at], slow_start, now));
    let shares: Vec<Option<f64>> = shares.collect();
    let ramping = shares.iter().any(Option::is_some);
    let weigh = |(at, share): (&usize, Option<f64>)| {
        let weight = match cluster.config.balance {
            Balance::RoundRobin => 1,
            _ => u32::from(cluster.members[*at].weight),
        };
        let weight = match (ramping, share) {
            (false, _) => weight,
            (true, None) => weight * FINENESS,
            (true, Some(share)) => ((f64::from(weight * FINENESS) * share) as u32).max(1),
        };
        (*at, weight)
    };
    (chosen.iter().zip(shares).map(weigh).collect(), ramping)
}

/// The share of its weight that a member has while it starts slowly; `None`: all of it.
pub(super) fn share(
    member: &Member,
    slow_start: Option<Duration>,
    now: CoarseInstant,
) -> Option<f64> {
    let slow_start = slow_start?;
    let age = member.endpoint.age(now)?;
    let blocked = member.endpoint.is_blocked_by(Block::Ejected);
    (age < slow_start && !blocked)
        .then(|| (age.as_secs_f64() / slow_start.as_secs_f64()).max(FIRST_SHARE))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::cluster::Endpoint;

    /// A cluster of endpoints `(priority, zone)` with further keys.
    fn cluster(keys: &str, endpoints: &[(u8, &str)]) -> Arc<Cluster> {
        let endpoints: Vec<_> = endpoints
            .iter()
            .enumerate()
            .map(|(at, (priority, zone))| {
                format!(
                    "{{ address = \"127.0.0.1:{}\", priority = {priority}, zone = \"{zone}\" }}",
                    3000 + at
                )
            })
            .collect();
        let toml = format!("[clusters.app]\n{keys}\nendpoints = [{}]\n", endpoints.join(", "));
        let config = bs9_config::parse_str("test.toml", &toml).unwrap_or_else(|e| panic!("{e}"));
        Cluster::compile(&config.clusters["app"], None, None, 1)
    }

    fn selected(cluster: &Cluster, down: &[usize]) -> Vec<usize> {
        for (at, member) in cluster.members.iter().enumerate() {
            if down.contains(&at) {
                member.endpoint.block(Block::Unhealthy);
            } else {
                member.endpoint.unblock(Block::Unhealthy);
            }
        }
        let selection = Selection::of(cluster, bs9_net::now());
        selection.members.iter().map(|(at, _)| *at).collect()
    }

    #[test]
    fn a_priority_fails_over_when_none_of_it_is_left() {
        let cluster = cluster("", &[(0, "a"), (0, "a"), (1, "a"), (2, "a")]);
        assert_eq!(selected(&cluster, &[]), [0, 1]);
        assert_eq!(selected(&cluster, &[0]), [1]);
        assert_eq!(selected(&cluster, &[0, 1]), [2]);
        assert_eq!(selected(&cluster, &[0, 1, 2]), [3]);
        assert_eq!(selected(&cluster, &[0, 1, 2, 3]), [] as [usize; 0]);
        assert_eq!(selected(&cluster, &[]), [0, 1]);
    }

    #[test]
    fn a_priority_fails_over_when_too_little_is_left() {
        let cluster = cluster("failover_below = 0.6", &[(0, "a"), (0, "a"), (1, "a"), (1, "a")]);
        assert_eq!(selected(&cluster, &[0]), [2, 3]);
        // Nowhere is enough: the first one that has any.
        assert_eq!(selected(&cluster, &[0, 2]), [1]);
    }

    #[test]
    fn the_own_zone_is_preferred_while_it_can_be() {
        let cluster = cluster("zone = \"b\"", &[(0, "a"), (0, "b"), (0, "b"), (1, "b")]);
        assert_eq!(selected(&cluster, &[]), [1, 2]);
        assert_eq!(selected(&cluster, &[1]), [2]);
        assert_eq!(selected(&cluster, &[1, 2]), [0]);
        assert_eq!(selected(&cluster, &[0, 1, 2]), [3]);
    }

    #[test]
    fn in_a_panic_health_does_not_count_but_an_operators_word_does() {
        let cluster = cluster("panic_threshold = 0.5", &[(0, "a"), (0, "a"), (0, "a"), (1, "a")]);
        cluster.members[2].endpoint.set_draining(true);
        assert_eq!(selected(&cluster, &[0]), [1]);
        assert_eq!(selected(&cluster, &[0, 1]), [0, 1, 3]);
    }

    /// Two endpoints, after `previous`.
    fn configured(disabled: [bool; 2], previous: Option<&Cluster>) -> Arc<Cluster> {
        let [one, two] = disabled;
        let toml = format!(
            "[clusters.app]\nendpoints = [\n{{ address = \"127.0.0.1:1\", disabled = {one} }},\n\
             {{ address = \"127.0.0.1:2\", disabled = {two} }},\n]\n"
        );
        let config = bs9_config::parse_str("test.toml", &toml).unwrap_or_else(|e| panic!("{e}"));
        Cluster::compile(&config.clusters["app"], None, previous, 1)
    }

    #[test]
    fn who_begins_disabled_waits_until_it_is_enabled() {
        let begun = configured([false, true], None);
        assert_eq!(selected(&begun, &[]), [0]);
        let status = begun.status().endpoints.swap_remove(1);
        assert!(status.disabled && status.draining);
        begun.members[1].endpoint.set_draining(false);
        assert_eq!(selected(&begun, &[]), [0, 1]);
        let status = begun.status().endpoints.swap_remove(1);
        assert!(status.disabled && !status.draining);
    }

    #[test]
    fn a_new_configuration_disables_and_enables_where_it_says_otherwise_than_before() {
        let begun = configured([false, false], None);
        begun.members[0].endpoint.set_draining(true);
        let same = configured([false, false], Some(&begun));
        same.follow(&begun);
        assert_eq!(selected(&same, &[]), [1], "what an operator said stays");
        let set = configured([false, true], Some(&same));
        assert_eq!(selected(&set, &[]), [1], "not while it is compiled");
        set.follow(&same);
        assert_eq!(selected(&set, &[]), [] as [usize; 0]);
        set.members[1].endpoint.set_draining(false);
        let again = configured([false, true], Some(&set));
        again.follow(&set);
        assert_eq!(selected(&again, &[]), [1], "here too");
        again.members[1].endpoint.set_draining(true);
        let removed = configured([false, false], Some(&again));
        removed.follow(&again);
        assert_eq!(selected(&removed, &[]), [1]);
    }

    #[test]
    fn who_comes_back_starts_slowly() {
        let cluster = cluster("slow_start = \"10s\"", &[(0, "a"), (0, "a")]);
        let weights = |after: u64| {
            let now = bs9_net::now().plus(Duration::from_secs(after));
            let selection = Selection::of(&cluster, now);
            (selection.ramping, selection.members.iter().map(|one| one.1).collect::<Vec<_>>())
        };
        assert_eq!(weights(0), (false, vec![1, 1]));
        let endpoint: &Endpoint = &cluster.members[0].endpoint;
        endpoint.block(Block::Ejected);
        endpoint.unblock(Block::Ejected);
        assert_eq!(weights(0), (true, vec![10, 100]));
        let (ramping, half) = weights(5);
        assert!(ramping && (45..=55).contains(&half[0]), "{half:?}");
        assert_eq!(weights(11), (false, vec![1, 1]));
    }
}
