//! One shard's half of a cluster: picking, and what is kept.

use std::{
    cell::{Ref, RefCell},
    rc::Rc,
    sync::{Arc, atomic::Ordering::SeqCst},
};

use bs9_net::{CoarseInstant, now};

use super::{
    Affinity, Cluster, Endpoint, Lease, Member,
    balance::Balancer,
    commons::Waiting,
    idle::IdleConnections,
    roster::{Roster, Seat},
};
use crate::http2::Sessions;

/// A shard's half of a [`Cluster`].
#[derive(Debug)]
pub struct ShardCluster {
    /// The compiled half.
    pub cluster: Arc<Cluster>,
    pub(super) shard: usize,
    roster: RefCell<Roster>,
    balancer: Balancer,
    pub(super) idle: Box<[Rc<IdleConnections>]>,
    /// Where HTTP/2 may be spoken.
    pub(super) sessions: Box<[Rc<Sessions>]>,
}

/// Members that failed for this request already.
#[derive(Debug, Default, Clone, Copy)]
pub struct Tried {
    members: [u32; Self::MOST],
    count: usize,
}

impl Tried {
    /// Tries of one request; the configuration allows no more.
    const MOST: usize = 12;

    /// Remembers `member`.
    pub fn add(&mut self, member: usize) {
        if self.count < Self::MOST {
            self.members[self.count] = member as u32;
            self.count += 1;
        }
    }

    fn has(&self, member: usize) -> bool {
        self.members[..self.count].contains(&(member as u32))
    }
}

/// Why no endpoint could be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shortage {
    /// The cluster has none.
    Empty,
    /// None takes traffic, besides those that were tried.
    Unavailable,
    /// All that take traffic are at their limit.
    Full,
}

impl ShardCluster {
    /// Shard number `shard`'s half of `cluster`; idle connections of endpoints that `previous`
    /// has too are kept.
    pub fn new(cluster: &Arc<Cluster>, shard: usize, previous: Option<&Self>) -> Rc<Self> {
        // Connections that were made otherwise are not what is wanted now.
        let previous = previous.filter(|previous| same_wire(&previous.cluster, cluster));
        let place = |endpoint: &Arc<Endpoint>| {
            let same = |member: &Member| Arc::ptr_eq(&member.endpoint, endpoint);
            let known = previous?.cluster.members.iter().position(same)?;
            previous.map(|previous| (previous, known))
        };
        let idle = cluster.members.iter().map(|Member { endpoint, .. }| match place(endpoint) {
            Some((previous, at)) => Rc::clone(&previous.idle[at]),
            None => Rc::new(IdleConnections::new(Arc::clone(endpoint), shard)),
        });
        let multiplexed = cluster.members.iter().filter(|_| cluster.multiplexes());
        let sessions = multiplexed.map(|Member { endpoint, .. }| match place(endpoint) {
            Some((previous, at)) if same_limits(&previous.cluster, cluster) => {
                Rc::clone(&previous.sessions[at])
            }
            _ => {
                let bs9_config::Cluster { http2, idle_timeout, .. } = cluster.config;
                Sessions::new(endpoint, shard, http2, idle_timeout)
            }
        });
        let made = Self {
            idle: idle.collect(),
            sessions: sessions.collect(),
            roster: RefCell::default(),
            balancer: Balancer::new(cluster.config.balance, shard, cluster.shards),
            cluster: Arc::clone(cluster),
            shard,
        };
        made.make_roster(now());
        Rc::new(made)
    }

    fn make_roster(&self, now: CoarseInstant) {
        let roster = Roster::of(&self.cluster, now);
        self.balancer.prepare(&roster);
        *self.roster.borrow_mut() = roster;
    }

    #[inline]
    fn roster(&self) -> Ref<'_, Roster> {
        let roster = self.roster.borrow();
        if roster.is_current(&self.cluster) {
            return roster;
        }
        drop(roster);
        self.make_roster(now());
        self.roster.borrow()
    }

    /// Picks an endpoint that may take a request and counts it as in flight, or
    /// `None` when there is none besides those in `tried`.
    #[inline]
    pub fn lease(self: &Rc<Self>, tried: &Tried) -> Option<Lease> {
        self.lease_for(tried, Affinity::default()).ok()
    }

    /// Likewise, where `affinity` leads.
    ///
    /// # Errors
    /// Why there is none.
    #[inline]
    pub fn lease_for(
        self: &Rc<Self>,
        tried: &Tried,
        affinity: Affinity,
    ) -> Result<Lease, Shortage> {
        if tried.count > 0 || !affinity.is_none() || self.cluster.limit != usize::MAX {
            return self.lease_with_care(tried, affinity);
        }
        let roster = self.roster();
        let Some(seat) = self.balancer.pick(&roster, |_| true) else {
            return Err(self.shortage(&roster, tried));
        };
        let member = roster.seats[seat].member;
        if self.cluster.counts_active {
            roster.seats[seat].endpoint.active.fetch_add(1, SeqCst);
        }
        Ok(Lease::new(self, member))
    }

    /// With limits, or with endpoints that are out of the question.
    fn lease_with_care(
        self: &Rc<Self>,
        tried: &Tried,
        affinity: Affinity,
    ) -> Result<Lease, Shortage> {
        let limit = self.cluster.limit;
        let roster = self.roster();
        let fits = |seat: &Seat| {
            !tried.has(seat.member)
                && (limit == usize::MAX || seat.endpoint.active.load(SeqCst) < limit)
        };
        for _ in 0..roster.seats.len() {
            let Some(seat) = self.find(&roster, affinity, fits) else { break };
            let Seat { endpoint, member, .. } = &roster.seats[seat];
            // Not counted and taken back: who looks meanwhile would see no room, and be told of
            // none.
            let room = |active: usize| active.checked_add(1).filter(|next| *next <= limit);
            if self.cluster.counts_active
                && endpoint.active.fetch_update(SeqCst, SeqCst, room).is_err()
            {
                // Another shard was faster.
                continue;
            }
            return Ok(Lease::new(self, *member));
        }
        Err(self.shortage(&roster, tried))
    }

    fn find(
        &self,
        roster: &Roster,
        affinity: Affinity,
        fits: impl Fn(&Seat) -> bool,
    ) -> Option<usize> {
        let pinned = affinity.pinned.and_then(|member| roster.seat_of(member as usize));
        if let Some(seat) = pinned.filter(|seat| fits(&roster.seats[*seat])) {
            return Some(seat);
        }
        match (affinity.key, &self.cluster.consistent) {
            (Some(key), Some(consistent)) => {
                consistent.pick(key.get(), roster, |seat| fits(&roster.seats[seat]))
            }
            _ => self.balancer.pick(roster, fits),
        }
    }

    #[cold]
    fn shortage(&self, roster: &Roster, tried: &Tried) -> Shortage {
        if self.cluster.members.is_empty() {
            Shortage::Empty
        } else if self.cluster.limit != usize::MAX
            && roster.seats.iter().any(|seat| !tried.has(seat.member))
        {
            Shortage::Full
        } else {
            Shortage::Unavailable
        }
    }

    /// Joins those who wait for an endpoint below its limit; `None`: nobody may, or too many do.
    pub(crate) fn queue(&self) -> Option<Waiting> {
        self.cluster.commons.wait(self.cluster.config.queue?.length)
    }

    /// Closes idle connections that are too old or were closed at the other end; goes on with
    /// slow starts.
    pub fn sweep(&self) {
        self.idle.iter().for_each(|idle| idle.sweep(self.cluster.config.idle_timeout));
        if self.roster.borrow().ramping {
            self.make_roster(now());
        }
    }
}

/// Whether connections to the endpoints of both speak the same.
fn same_wire(one: &Cluster, other: &Cluster) -> bool {
    let same_tls = match (&one.tls, &other.tls) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        (None, None) => true,
        _ => false,
    };
    same_tls && one.config.protocol == other.config.protocol
}

/// Whether connections of HTTP/2 have the same limits.
fn same_limits(one: &Cluster, other: &Cluster) -> bool {
    let (one, other) = (&one.config, &other.config);
    one.http2 == other.http2 && one.idle_timeout == other.idle_timeout
}
