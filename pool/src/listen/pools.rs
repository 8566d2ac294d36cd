//! The pools whose clients listen: as one of them the listening connection is logged in.

use std::sync::Arc;

use crate::pool::Pool;

/// In the order in which they are tried.
#[derive(Default)]
pub(super) struct Pools {
    members: Vec<Member>,
}

struct Member {
    pool: Arc<Pool>,
    clients: usize,
    /// In this round, in vain.
    tried: bool,
}

impl Pools {
    fn find(&self, pool: &Arc<Pool>) -> Option<usize> {
        self.members.iter().position(|member| Arc::ptr_eq(&member.pool, pool))
    }

    /// One more client of this pool listens.
    pub(super) fn join(&mut self, pool: &Arc<Pool>) {
        match self.find(pool) {
            Some(at) => self.members[at].clients += 1,
            None => {
                let pool = Arc::clone(pool);
                self.members.push(Member { pool, clients: 1, tried: false });
            }
        }
    }

    /// One fewer. With the last of them the pool is let go of.
    pub(super) fn leave(&mut self, pool: &Arc<Pool>) {
        let Some(at) = self.find(pool) else { return };
        self.members[at].clients -= 1;
        if self.members[at].clients == 0 {
            self.members.remove(at);
        }
    }

    /// They are to be tried: all of them, or those that were left when that was broken off.
    pub(super) fn begin(&mut self) {
        if !self.members.iter().any(Member::is_due) {
            self.start_over();
        }
    }

    /// The next to be tried. `None`: each has been.
    pub(super) fn next(&mut self) -> Option<Arc<Pool>> {
        let member = self.members.iter_mut().find(|member| member.is_due())?;
        member.tried = true;
        Some(Arc::clone(&member.pool))
    }

    /// It has worked with this one: it is the first to be tried from now on.
    pub(super) fn prefer(&mut self, pool: &Arc<Pool>) {
        self.start_over();
        if let Some(at) = self.find(pool) {
            self.members[..=at].rotate_right(1);
        }
    }

    fn start_over(&mut self) {
        self.members.iter_mut().for_each(|member| member.tried = false);
    }

    /// Whether an operator has paused their database.
    pub(super) fn are_paused(&self) -> bool {
        self.members.iter().any(|member| member.pool.is_paused())
    }

    /// Whether the configuration has taken one of them away.
    pub(super) fn lack_one(&self) -> bool {
        self.members.iter().any(|member| member.pool.is_removed())
    }
}

impl Member {
    fn is_due(&self) -> bool {
        !self.tried && !self.pool.is_removed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{plan::Plan, pool::tests::pool};

    fn round(pools: &mut Pools) -> Vec<Arc<Pool>> {
        pools.begin();
        std::iter::from_fn(|| pools.next()).collect()
    }

    fn are(found: &[Arc<Pool>], wanted: &[&Arc<Pool>]) -> bool {
        found.len() == wanted.len() && found.iter().zip(wanted).all(|(a, b)| Arc::ptr_eq(a, b))
    }

    #[test]
    fn each_is_tried_once_the_one_that_worked_first() {
        let (a, b, c) = (pool(1, 1), pool(1, 1), pool(1, 1));
        let mut pools = Pools::default();
        assert!(pools.next().is_none());
        [&a, &b, &a, &c].into_iter().for_each(|pool| pools.join(pool));
        assert!(are(&round(&mut pools), &[&a, &b, &c]));
        assert!(are(&round(&mut pools), &[&a, &b, &c]), "once more");
        pools.prefer(&c);
        assert!(are(&round(&mut pools), &[&c, &a, &b]));
        // Broken off; whoever comes meanwhile has a turn as well.
        pools.begin();
        assert!(pools.next().is_some());
        let late = pool(1, 1);
        pools.join(&late);
        assert!(are(&round(&mut pools), &[&a, &b, &late]));
        assert!(are(&round(&mut pools), &[&c, &a, &b, &late]));
    }

    #[test]
    fn who_has_no_clients_or_was_removed_is_not_tried() {
        let (a, b) = (pool(1, 1), pool(1, 1));
        let mut pools = Pools::default();
        [&a, &a, &b].into_iter().for_each(|pool| pools.join(pool));
        pools.leave(&a);
        assert!(are(&round(&mut pools), &[&a, &b]));
        pools.leave(&a);
        assert_eq!(Arc::strong_count(&a), 1, "nor is it kept alive");
        assert!(are(&round(&mut pools), &[&b]));
        assert!(!pools.lack_one());
        b.plan.store(Arc::new(Plan::remove(&b.plan.load())));
        assert!(pools.lack_one());
        assert!(are(&round(&mut pools), &[]));
    }
}
