//! What looks after a shard's half of a pool: connects for those who wait, closes what is old.

use super::{Arc, LocalPool, LoginFailure, Mail, PoolShard, Rc, Weak};
use crate::{pool::Permit, server};
use std::time::Duration;

/// Between two rounds among idle servers.
const TICK: Duration = Duration::from_secs(1);
/// Logins at once for one pool on one shard: a server forks for each.
const MAX_LOGINS: usize = 4;
/// Rounds after which a pool made for `*` that nobody uses is let go.
const MAX_UNUSED_TICKS: u32 = 60;

/// Runs for the life of the shard, or until the pool is let go.
pub(super) async fn keep(local: Rc<LocalPool>, home: Weak<PoolShard>) {
    let mut unused = 0;
    let timer = local.shard().timer();
    loop {
        let resting = local.is_unused() && !local.pool.by_fallback;
        timer.set(local.retry.remaining().map_or(TICK, |left| left.min(TICK)));
        tokio::select! {
            biased;
            () = local.alarm.notified() => {}
            () = timer.elapsed(), if !resting => local.make_round(),
        }
        local.tend();
        unused = if local.is_unused() { unused + 1 } else { 0 };
        if unused > MAX_UNUSED_TICKS && local.pool.by_fallback {
            if let Some(home) = home.upgrade() {
                home.forget(&local);
            }
            return;
        }
    }
}

/// Counts a login in progress.
struct LoginCount(Rc<LocalPool>);

impl LoginCount {
    fn new(local: &Rc<LocalPool>) -> Self {
        local.logins.set(local.logins.get() + 1);
        Self(Rc::clone(local))
    }
}

impl Drop for LoginCount {
    fn drop(&mut self) {
        self.0.logins.set(self.0.logins.get() - 1);
        self.0.wake();
    }
}

impl LocalPool {
    /// Sees to those who wait: connects while the limit allows, else asks other shards for
    /// their idle servers. With nobody waiting here, tells others that there is room.
    fn tend(self: &Rc<Self>) {
        let here = self.shard.index();
        if self.waiting.get() == 0 {
            if !self.alone && self.pool.starves_elsewhere(false) {
                self.share_idle();
                for shard in self.pool.starving_shards(here) {
                    self.tell(shard, Mail::Room(Arc::clone(&self.pool)));
                }
            }
            return;
        }
        while self.logins.get() < self.waiting.get().min(MAX_LOGINS) {
            if self.retry.remaining().is_some() {
                return;
            }
            let Some(permit) = self.pool.permit() else {
                for shard in self.pool.idle_shards(here) {
                    self.tell(shard, Mail::Wanted(Arc::clone(&self.pool)));
                }
                return;
            };
            let count = LoginCount::new(self);
            bs9_net::spawn(establish(count, permit));
        }
    }

    /// A login that began at `began` failed: whom to tell, and when to try again. Those who
    /// came later get an attempt of their own, and nobody is told anything while the pool has
    /// servers that will come back, or the trouble passes by itself.
    fn login_failed(&self, began: bs9_net::CoarseInstant, failure: LoginFailure) {
        self.cell().connect_failures.increment();
        self.retry.failed();
        tracing::warn!(pool = %self.name(), error = %failure, "cannot log in to the server");
        if failure.is_transient() || self.has_servers_anywhere() {
            return;
        }
        let failure = Rc::new(failure);
        let waiters = self.waiters.borrow_mut().pop_until(began);
        for waiter in waiters {
            self.no_longer_waits(&waiter);
            waiter.fail(&failure);
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
        let (lifetime, idle_timeout) = self.with_plan(|plan| {
            (plan.postgres().server_lifetime, plan.postgres().server_idle_timeout)
        });
        let now = bs9_net::refresh_clock();
        let mut closing = Vec::new();
        {
            let mut idle = self.idle.borrow_mut();
            let mut at = 0;
            while at < idle.len() {
                let server = &mut idle[at];
                let gone = server.stream.has_news()
                    && !server.absorb_news(&mut self.shard.buffers().take());
                let old = now.since(server.state.created) >= lifetime
                    || now.since(server.state.idle_since) >= idle_timeout
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
}

async fn establish(count: LoginCount, permit: Permit) {
    let local = Rc::clone(&count.0);
    let began = bs9_net::now();
    match server::log_in(Rc::clone(&local), local.plan(), permit).await {
        // A reload has changed where servers are meanwhile.
        Ok(server) if server.state.epoch != local.epoch.get() => {
            local.cell().connects.increment();
            server.close();
        }
        Ok(server) => {
            local.cell().connects.increment();
            local.retry.reset();
            drop(count);
            local.put(Box::new(server));
        }
        Err(failure) => local.login_failed(began, failure),
    }
}
