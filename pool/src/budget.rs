//! Limits on server connections that several pools share: those of a database, and those of a
//! user.
//!
//! A pool that is refused a connection is *hungry* until it gets one or nobody waits in it any
//! more. Who has more than its share gives way: it closes a server that comes back, or one that
//! is idle, and the neediest hungry pool connects in its place.
//!
//! A connection that listens for all clients of a database is counted here, too, but not in its
//! pool. It takes its share first and connects when there is room: until then there are *too
//! many*, and whoever gets a server back closes it. It never takes the last one.

use std::{
    cmp::Ordering,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use bs9_net::CoarseInstant;

use crate::pool::Pool;

/// How long a pool that has the last connection of a budget keeps it from one that has none:
/// the price of a login is paid this often at most.
const TURN: Duration = Duration::from_millis(100);

/// No limit.
pub(crate) const UNLIMITED: usize = usize::MAX;

/// See the module.
pub(crate) struct Budget {
    limit: AtomicUsize,
    /// Server connections there are.
    open: AtomicUsize,
    /// Those of them that listen for all clients of a database.
    listening: AtomicUsize,
    /// Pools that want one and were refused it here.
    hungry: AtomicUsize,
    /// Locked when a pool comes about, and while one is hungry.
    pools: Mutex<Vec<Weak<Pool>>>,
}

/// The right to one connection of a budget; given back when dropped.
pub(crate) struct Share(Arc<Budget>);

/// Likewise, for a connection that listens for all clients of a database.
pub(crate) struct ListeningShare(Share);

/// How a pool stands that shares a budget with others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Standing {
    open: usize,
    /// For how long it has been hungry; `None`: it is not.
    hungry_for: Option<Duration>,
    waiting: bool,
}

impl Budget {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            limit: AtomicUsize::new(UNLIMITED),
            open: AtomicUsize::new(0),
            listening: AtomicUsize::new(0),
            hungry: AtomicUsize::new(0),
            pools: Mutex::default(),
        })
    }

    pub(crate) fn set_limit(&self, limit: Option<usize>) {
        self.limit.store(limit.unwrap_or(UNLIMITED), SeqCst);
    }

    pub(crate) fn is_limited(&self) -> bool {
        self.limit.load(SeqCst) != UNLIMITED
    }

    fn pools(&self) -> MutexGuard<'_, Vec<Weak<Pool>>> {
        // Nothing panics while the list is half changed.
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn join(&self, pool: &Arc<Pool>) {
        let mut pools = self.pools();
        pools.retain(|known| known.strong_count() > 0);
        pools.push(Arc::downgrade(pool));
    }

    /// The right to one more, unless the limit is reached.
    pub(crate) fn share(self: &Arc<Self>) -> Option<Share> {
        let limit = self.limit.load(SeqCst);
        let room = |open: usize| (open < limit).then_some(open + 1);
        self.open.fetch_update(SeqCst, SeqCst, room).ok().map(|_| Share(Arc::clone(self)))
    }

    /// The right to one that listens, unless that would leave none to clients, or somebody hungry
    /// comes before `pool`. It is not to be used while there are [too many](Self::has_too_many).
    pub(crate) fn share_to_listen(self: &Arc<Self>, pool: &Pool) -> Option<ListeningShare> {
        if self.is_wanted_beside(pool) && !self.may_listen(pool) {
            return None;
        }
        let limit = self.limit.load(SeqCst);
        let room = |listening: usize| (listening + 1 < limit).then_some(listening + 1);
        self.listening.fetch_update(SeqCst, SeqCst, room).ok()?;
        self.open.fetch_add(1, SeqCst);
        Some(ListeningShare(Share(Arc::clone(self))))
    }

    /// Connections of all pools, and those that listen.
    pub(crate) fn open(&self) -> usize {
        self.open.load(SeqCst)
    }

    /// Whether more was taken than there may be.
    pub(crate) fn has_too_many(&self) -> bool {
        self.open() > self.limit.load(SeqCst)
    }

    /// Connections that listen, those that are still to be made included.
    pub(crate) fn listening(&self) -> usize {
        self.listening.load(SeqCst)
    }

    /// A pool has become hungry, or is not any more.
    pub(crate) fn count_hungry(&self, is: bool) {
        if is {
            self.hungry.fetch_add(1, SeqCst);
        } else {
            self.hungry.fetch_sub(1, SeqCst);
        }
    }

    /// Whether anyone is hungry, `pool` itself left out.
    pub(crate) fn is_wanted_beside(&self, pool: &Pool) -> bool {
        self.hungry.load(SeqCst) > usize::from(pool.is_hungry())
    }

    fn others(&self, pool: &Pool) -> Vec<Arc<Pool>> {
        let pools = self.pools();
        let others = pools.iter().filter_map(Weak::upgrade);
        others.filter(|other| !std::ptr::eq(&**other, pool)).collect()
    }

    /// Whether `pool` should close a server that nobody uses, so that another pool can connect.
    pub(crate) fn should_yield(&self, pool: &Pool) -> bool {
        let now = bs9_net::now();
        let others: Vec<_> =
            self.others(pool).iter().map(|other| Standing::of(other, now)).collect();
        should_yield(Standing::of(pool, now), &others)
    }

    fn has_room(&self) -> bool {
        self.open() < self.limit.load(SeqCst)
    }

    /// Whether `pool` may take what is free: nobody hungry has less, or has as much and is
    /// hungry for longer. What it is about to take is counted as its own already.
    ///
    /// Without the second, who has just given way could take the same connection back before
    /// the one it was meant for looks.
    pub(crate) fn may_take(&self, pool: &Pool) -> bool {
        let now = bs9_net::now();
        let own = Standing { open: pool.open().saturating_sub(1), ..Standing::of(pool, now) };
        self.goes_first(pool, own, now)
    }

    /// Likewise for a connection that listens, which is counted as nobody's own. It has not waited
    /// for long, however hungry its pool is.
    fn may_listen(&self, pool: &Pool) -> bool {
        let now = bs9_net::now();
        self.goes_first(pool, Standing { hungry_for: None, ..Standing::of(pool, now) }, now)
    }

    fn goes_first(&self, pool: &Pool, own: Standing, now: CoarseInstant) -> bool {
        self.others(pool).iter().all(|other| {
            let could = other.budgets.iter().all(|b| std::ptr::eq(&**b, self) || b.has_room());
            goes_first(own, Standing::of(other, now), could)
        })
    }

    /// Tells hungry pools that a connection may be had.
    pub(crate) fn announce_room(&self) {
        if self.hungry.load(SeqCst) == 0 {
            return;
        }
        let pools: Vec<_> = self.pools().iter().filter_map(Weak::upgrade).collect();
        for pool in pools.iter().filter(|pool| pool.is_hungry()) {
            pool.announce_room();
        }
    }

    /// Asks the other pools for their idle servers.
    pub(crate) fn ask_others(&self, pool: &Pool) {
        for other in self.others(pool) {
            other.ask_for_spare();
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, SeqCst);
        self.0.announce_room();
    }
}

impl ListeningShare {
    pub(crate) fn is_of(&self, budget: &Arc<Budget>) -> bool {
        Arc::ptr_eq(&self.0.0, budget)
    }

    /// Whether it can be used: there are not too many.
    pub(crate) fn has_room(&self) -> bool {
        !self.0.0.has_too_many()
    }

    /// Whether pools would have it instead.
    pub(crate) fn is_wanted(&self) -> bool {
        self.0.0.hungry.load(SeqCst) > 0 || !self.has_room()
    }

    /// Whether the limit has become so low that clients have none left.
    pub(crate) fn is_the_last(&self) -> bool {
        self.0.0.listening() >= self.0.0.limit.load(SeqCst)
    }
}

impl Drop for ListeningShare {
    fn drop(&mut self) {
        // The share itself is given back behind that.
        self.0.0.listening.fetch_sub(1, SeqCst);
    }
}

impl Standing {
    fn of(pool: &Pool, now: CoarseInstant) -> Self {
        Self { open: pool.open(), hungry_for: pool.hungry_for(now), waiting: pool.has_waiting() }
    }
}

fn should_yield(own: Standing, others: &[Standing]) -> bool {
    others.iter().any(|other| {
        let Some(hungry_for) = other.hungry_for else { return false };
        let has_more = own.open > other.open + 1;
        let takes_turns = other.open == 0 && hungry_for >= TURN;
        !own.waiting || has_more || takes_turns
    })
}

/// Whether `own` comes before `other`, who `could` take what is free now (or lacks something
/// else, too).
fn goes_first(own: Standing, other: Standing, could: bool) -> bool {
    let Some(hungry_for) = other.hungry_for else { return true };
    match own.open.cmp(&other.open) {
        Ordering::Less => true,
        Ordering::Equal => !could || own.hungry_for.is_some_and(|own| own >= hungry_for),
        Ordering::Greater => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn standing(open: usize, hungry: Option<u64>, waiting: bool) -> Standing {
        Standing { open, hungry_for: hungry.map(Duration::from_millis), waiting }
    }

    #[test]
    fn who_has_more_gives_way() {
        for (own, other, yields) in [
            (standing(5, None, true), standing(5, None, true), false),
            (standing(5, None, true), standing(5, Some(0), true), false),
            (standing(6, None, true), standing(5, Some(9_000), true), false),
            (standing(7, None, true), standing(5, Some(0), true), true),
            (standing(1, None, false), standing(9, Some(0), true), true),
            (standing(1, None, true), standing(0, Some(10), true), false),
            (standing(1, None, true), standing(0, Some(100), true), true),
        ] {
            assert_eq!(should_yield(own, &[other]), yields, "{own:?} {other:?}");
        }
    }

    #[test]
    fn who_has_as_much_goes_by_the_time_it_waits() {
        for (own, other, could, first) in [
            (standing(1, None, true), standing(0, Some(0), true), true, false),
            (standing(0, None, true), standing(1, Some(9_000), true), true, true),
            (standing(0, None, true), standing(0, None, true), true, true),
            // It gave way for the other.
            (standing(0, None, true), standing(0, Some(0), true), true, false),
            (standing(0, Some(5), true), standing(0, Some(6), true), true, false),
            (standing(0, Some(6), true), standing(0, Some(5), true), true, true),
            (standing(0, None, true), standing(0, Some(9_000), true), false, true),
        ] {
            assert_eq!(goes_first(own, other, could), first, "{own:?} {other:?}");
        }
    }

    proptest! {
        /// With clients waiting on both sides, connections come to rest at equal shares.
        #[test]
        fn shares_come_to_rest(limit in 2usize..40, mut first in 1usize..40) {
            first = first.min(limit - 1);
            let mut shares = [first, limit - first];
            for _ in 0..limit * 2 {
                let hungry = |open| standing(open, Some(0), true);
                for (one, other) in [(0, 1), (1, 0)] {
                    if should_yield(hungry(shares[one]), &[hungry(shares[other])]) {
                        shares[one] -= 1;
                        shares[other] += 1;
                    }
                }
            }
            prop_assert!(shares[0].abs_diff(shares[1]) <= 1, "{:?}", shares);
        }
    }
}
