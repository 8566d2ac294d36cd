//! What looks after a shard's half of a pool: connects for those who wait, closes what is old.

use std::{
    rc::{Rc, Weak},
    sync::Arc,
    time::Duration,
};

use super::{LocalPool, LoginFailure, Mail, PoolShard};
use crate::{
    login_queue::{LoginQueue, LoginTurn},
    pool::{Ceiling, NoPermit, Permit},
    server::{self, Server},
    wait::Waits as _,
};

/// Between two rounds among idle servers.
const TICK: Duration = Duration::from_secs(1);
/// Rounds after which a pool made for `*` that nobody uses is let go.
const MAX_UNUSED_TICKS: u32 = 60;

/// Runs for the life of the shard, or until the pool is let go.
pub(super) async fn keep(local: Rc<LocalPool>, home: Weak<PoolShard>) {
    let mut unused = 0;
    let mut rounds = bs9_net::now().plus(TICK);
    let timer = local.shard().timer();
    let mut look_again = None;
    loop {
        let resting = local.is_unused() && !local.pool.by_fallback && !local.keeps_some();
        let next_round = rounds.since(bs9_net::now());
        timer.set(look_again.map_or(next_round, |soon: Duration| soon.min(next_round)));
        tokio::select! {
            biased;
            () = local.alarm.notified() => {}
            () = timer.elapsed(), if !resting => {}
        }
        if rounds <= bs9_net::now() {
            rounds = bs9_net::now().plus(TICK);
            local.make_round();
            unused = if local.is_unused() { unused + 1 } else { 0 };
        }
        let before = local.line.take();
        look_again = local.tend();
        local.leave_line(before);
        local.awaits_server.set(look_again.is_some());
        if unused > MAX_UNUSED_TICKS && local.pool.by_fallback {
            if let Some(home) = home.upgrade() {
                home.forget(&local);
            }
            return;
        }
    }
}

/// Counts a login in progress.
struct LoginCount {
    local: Rc<LocalPool>,
    _turns: [LoginTurn; 2],
}

impl LoginCount {
    fn new(local: &Rc<LocalPool>, turns: [LoginTurn; 2]) -> Self {
        local.logins.set(local.logins.get() + 1);
        Self { local: Rc::clone(local), _turns: turns }
    }
}

impl Drop for LoginCount {
    fn drop(&mut self) {
        self.local.logins.set(self.local.logins.get() - 1);
        self.local.wake();
    }
}

impl LocalPool {
    /// Sees to those who wait: connects while the limits allow, else asks others for their idle
    /// servers. With nobody waiting here, tells others that there is room. Returns when to look
    /// again, if before the next round.
    fn tend(self: &Rc<Self>) -> Option<Duration> {
        if self.pool.is_paused() {
            // Nobody is kept waiting by who takes nothing.
            self.pool.set_hungry(false);
            return None;
        }
        if self.waiting.get() == 0 {
            if !self.alone && self.pool.starves_elsewhere(false) {
                self.share_idle();
                for shard in self.pool.starving_shards(self.shard.index()) {
                    self.tell(shard, Mail::Room(Arc::clone(&self.pool)));
                }
            }
            return self.keep_minimum();
        }
        let busy = self.cell().servers_active.get();
        let waited = bs9_net::now().since(self.starved_since.get());
        let patience = self.expectation.patience(&self.cell().transaction_times, busy, waited);
        if patience.is_some() {
            return patience;
        }
        while self.logins.get() < self.waiting.get() {
            if let Some(left) = self.retry.remaining() {
                return Some(left);
            }
            if self.retry.is_trying() {
                // It wakes the keeper when it ends.
                return None;
            }
            let turns = match self.login_turns() {
                Ok(turns) => turns,
                Err(wait) => return Some(wait),
            };
            let permit = match self.pool.permit(Ceiling::Size) {
                Err(NoPermit::Full) => self.reserve(),
                other => other.map_err(Some),
            };
            match permit {
                Ok(permit) => {
                    self.retry.begin();
                    bs9_net::spawn(establish(LoginCount::new(self, turns), permit));
                }
                Err(why) => return self.ask_around(why),
            }
        }
        None
    }

    /// The right to log in, of this pool and at its server; else when to look again.
    fn login_turns(&self) -> Result<[LoginTurn; 2], Duration> {
        let plan = self.plan();
        let limits = &plan.postgres().limits;
        let own = self.turn_in(&self.pool.login_queue, limits.max_concurrent_logins)?;
        let at_server = self.turn_in(&plan.login_queue, limits.max_concurrent_server_logins)?;
        Ok([own, at_server])
    }

    fn turn_in(&self, queue: &Arc<LoginQueue>, limit: usize) -> Result<LoginTurn, Duration> {
        queue.enter(&self.pool, self.shard.index(), limit).ok_or_else(|| {
            *self.line.borrow_mut() = Some(Arc::clone(queue));
            // It is called when it is its turn.
            TICK
        })
    }

    /// Leaves the line it stood in `before`, unless it wants to be there still. Under another plan
    /// it may be at another server.
    fn leave_line(&self, before: Option<Arc<LoginQueue>>) {
        let now = self.line.borrow();
        if let Some(before) = before
            && !now.as_ref().is_some_and(|now| Arc::ptr_eq(now, &before))
        {
            before.leave(&self.pool, self.shard.index());
        }
    }

    /// One of the reserve, when the first in line has waited long enough.
    fn reserve(&self) -> Result<Permit, Option<NoPermit>> {
        let (size, delay) = self.with_plan(|plan| {
            (plan.limits.reserve_pool_size, plan.postgres().limits.reserve_pool_delay)
        });
        if size == 0 || self.longest_wait() < delay {
            return Err((size == 0).then_some(NoPermit::Full));
        }
        self.pool.permit(Ceiling::Reserve).map_err(Some)
    }

    fn longest_wait(&self) -> Duration {
        let oldest = self.waiters.borrow().oldest();
        oldest.map_or(Duration::ZERO, |oldest| bs9_net::now().since(oldest))
    }

    /// Asks those who may have an idle server. `None`: the reserve is not to be touched yet.
    fn ask_around(&self, why: Option<NoPermit>) -> Option<Duration> {
        for shard in self.pool.idle_shards(self.shard.index()) {
            self.tell(shard, Mail::Wanted(Arc::clone(&self.pool)));
        }
        match why {
            Some(NoPermit::Shared) => {
                self.pool.budgets.iter().for_each(|budget| budget.ask_others(&self.pool));
                None
            }
            Some(NoPermit::Full) => None,
            None => {
                let delay = self.with_plan(|plan| plan.postgres().limits.reserve_pool_delay);
                Some(delay.saturating_sub(self.longest_wait()))
            }
        }
    }

    /// Whether servers are to be kept even when nobody needs them.
    fn keeps_some(&self) -> bool {
        self.with_plan(|plan| plan.limits.min_pool_size > 0 && !plan.removed)
    }

    /// Connects, one at a time on each shard, until there are as many as are always kept.
    fn keep_minimum(self: &Rc<Self>) -> Option<Duration> {
        if !self.keeps_some() || self.logins.get() > 0 || self.shard.is_draining() {
            return None;
        }
        let left = self.retry.remaining();
        if left.is_some() {
            return left;
        }
        let turns = match self.login_turns() {
            Ok(turns) => turns,
            Err(wait) => return Some(wait),
        };
        let permit = self.pool.permit(Ceiling::Least).ok()?;
        self.retry.begin();
        bs9_net::spawn(establish(LoginCount::new(self, turns), permit));
        None
    }

    /// A login that began at `began` failed: whom to tell, and when to try again. Those who
    /// came later get an attempt of their own, and nobody is told anything while the pool has
    /// servers that will come back, or the trouble passes by itself.
    fn login_failed(&self, began: bs9_net::CoarseInstant, failure: LoginFailure) {
        self.cell().connect_failures.increment();
        self.retry.failed_since(began);
        // Until the next attempt others go first.
        self.pool.set_hungry(false);
        tracing::warn!(pool = %self.name(), error = %failure, "cannot log in to the server");
        let failure = Rc::new(failure);
        let until = bs9_net::now().plus(self.retry.remaining().unwrap_or_default());
        self.trouble.replace(Some((Rc::clone(&failure), until)));
        if failure.is_transient() || self.has_servers_anywhere() {
            return;
        }
        let waiters = self.waiters.borrow_mut().pop_until(began);
        for client in waiters {
            self.no_longer_waits(&client);
            client.waiter().fail(&failure);
        }
        self.waiters_changed();
    }

    fn has_servers_anywhere(&self) -> bool {
        let established = self.pool.cells.sum(|cell| {
            let busy = cell.servers_active.get().wrapping_add(cell.servers_tested.get());
            busy.wrapping_add(cell.servers_idle.get()).wrapping_add(cell.servers_used.get())
        });
        established > 0
    }

    /// Looks through the idle servers.
    fn make_round(&self) {
        let (least, idle_timeout) =
            self.with_plan(|plan| (plan.limits.min_pool_size, plan.postgres().server_idle_timeout));
        let now = bs9_net::refresh_clock();
        let mut closing = Vec::new();
        {
            let mut idle = self.idle.borrow_mut();
            let mut at = 0;
            while at < idle.len() {
                let server = &mut idle[at];
                let gone = server.stream.has_news()
                    && !server.absorb_news(&mut self.shard.buffers().take());
                let spare = self.pool.open() > least + closing.len();
                let idle_for = now.since(server.state.idle_since);
                let old = self.end_of(server) <= now.since(server.state.created)
                    || spare && idle_for >= self.drawn(idle_timeout, server)
                    || server.state.epoch != self.epoch.get();
                if gone || old || !server.is_fit() {
                    closing.push(idle.remove(at));
                } else {
                    at += 1;
                }
            }
            self.demand().idle.store(idle.len(), std::sync::atomic::Ordering::SeqCst);
        }
        for server in closing {
            server.close();
        }
    }

    /// The age at which a server is closed.
    pub(super) fn end_of(&self, server: &Server) -> Duration {
        let lifetime = self.with_plan(|plan| plan.postgres().server_lifetime);
        self.drawn(lifetime, server)
    }

    /// `limit`, shortened by this server's share of the jitter.
    fn drawn(&self, limit: Duration, server: &Server) -> Duration {
        let jitter = self.with_plan(|plan| plan.postgres().limits.server_jitter);
        limit.mul_f64(1.0 - jitter * share_of(server.state.target.process_id))
    }
}

/// A number from 0 to 1 that is as good as drawn for each server connection.
fn share_of(process_id: i32) -> f64 {
    // Fibonacci hashing: neighbouring numbers end up far apart.
    let hash = process_id.cast_unsigned().wrapping_mul(0x9E37_79B9);
    f64::from(hash) / f64::from(u32::MAX)
}

async fn establish(count: LoginCount, permit: Permit) {
    let local = Rc::clone(&count.local);
    let began = bs9_net::now();
    match server::log_in(Rc::clone(&local), local.plan(), permit).await {
        // A reload has changed where servers are meanwhile, or an operator wants none.
        Ok(server) if server.state.epoch != local.epoch.get() => {
            local.cell().connects.increment();
            server.close();
        }
        Ok(server) => {
            local.cell().connects.increment();
            local.retry.reset();
            local.trouble.take();
            local.expectation.note_login(bs9_net::now().since(began));
            server.seat.card().note_process(server.state.target.process_id);
            drop(count);
            local.put(Box::new(server));
        }
        Err(failure) => local.login_failed(began, failure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_drawn_far_apart() {
        let shares: Vec<f64> = (1000..1100).map(share_of).collect();
        assert!(shares.iter().all(|share| (0.0..=1.0).contains(share)));
        let low = shares.iter().filter(|share| **share < 0.5).count();
        assert!((40..=60).contains(&low), "{low}");
    }
}
