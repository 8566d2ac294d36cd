//! What is told of a pool.

use bs9_api::types::{CountByReason, PoolStatus};

use super::Registry;
use crate::{cell::Cell, errors, histogram, pool::Pool, session::Reason};

impl Registry {
    /// Every pool, by name.
    pub(crate) fn statuses(&self) -> Vec<PoolStatus> {
        self.pools().iter().map(|pool| status(pool)).collect()
    }
}

fn status(pool: &Pool) -> PoolStatus {
    let plan = pool.plan.load();
    let sum = |field: fn(&Cell) -> u64| pool.cells.sum(field);
    let seconds = |nanoseconds: u64| nanoseconds as f64 / 1e9;
    let waits = histogram::status(&pool.cells, |cell| &cell.waits);
    PoolStatus {
        database: pool.key.database.to_string(),
        user: pool.key.user.to_string(),
        pool_mode: plan.mode.name().to_owned(),
        clients_active: sum(|cell| cell.clients_active.get()),
        clients_waiting: sum(|cell| cell.clients_waiting.get()),
        servers_active: sum(|cell| cell.servers_active.get()),
        servers_idle: sum(|cell| cell.servers_idle.get()),
        servers_used: sum(|cell| cell.servers_used.get()),
        servers_tested: sum(|cell| cell.servers_tested.get()),
        servers_login: sum(|cell| cell.servers_login.get()),
        pool_size: plan.pool_size as u64,
        min_pool_size: plan.limits.min_pool_size as u64,
        reserve_pool_size: plan.limits.reserve_pool_size as u64,
        max_wait_seconds: seconds(longest_wait(pool)),
        paused: pool.is_paused(),
        disabled: pool.disabled.load(std::sync::atomic::Ordering::SeqCst),
        queries_total: sum(|cell| cell.queries.get()),
        transactions_total: sum(|cell| cell.transactions.get()),
        received_bytes_total: sum(|cell| cell.received_bytes.get()),
        sent_bytes_total: sum(|cell| cell.sent_bytes.get()),
        wait_seconds_total: waits.sum_seconds,
        wait_times: waits,
        query_times: histogram::status(&pool.cells, |cell| &cell.query_times),
        transaction_times: histogram::status(&pool.cells, |cell| &cell.transaction_times),
        wait_timeouts_total: sum(|cell| cell.wait_timeouts.get()),
        query_timeouts_total: sum(|cell| cell.query_timeouts.get()),
        slow_queries_total: sum(|cell| cell.slow_queries.get()),
        server_connects_total: sum(|cell| cell.connects.get()),
        server_connect_failures_total: sum(|cell| cell.connect_failures.get()),
        servers_closed_dirty_total: sum(|cell| cell.closed_dirty.get()),
        server_handovers_total: sum(|cell| cell.handovers.get()),
        server_synchronisations_total: sum(|cell| cell.synchronisations.get()),
        cancels_total: sum(|cell| cell.cancels.get()),
        prepared_hits_total: sum(|cell| cell.prepared_hits.get()),
        prepared_misses_total: sum(|cell| cell.prepared_misses.get()),
        prepared_evictions_total: sum(|cell| cell.prepared_evictions.get()),
        notifications_total: sum(|cell| cell.notifications.get()),
        notification_overflows_total: sum(|cell| cell.notification_overflows.get()),
        listener_losses_total: sum(|cell| cell.listener_losses.get()),
        errors_total: errors_total(pool),
        pins_total: pins_total(pool),
    }
}

fn errors_total(pool: &Pool) -> Vec<CountByReason> {
    let counted = errors::classes().map(|(index, class)| CountByReason {
        reason: class.to_owned(),
        count: pool.cells.sum(|cell| cell.errors.get(index)),
    });
    counted.filter(|counted| counted.count > 0).collect()
}

fn pins_total(pool: &Pool) -> Vec<CountByReason> {
    let counted = Reason::ALL.into_iter().map(|reason| CountByReason {
        reason: reason.name().to_owned(),
        count: pool.cells.sum(|cell| cell.pins.get(reason)),
    });
    counted.filter(|counted| counted.count > 0).collect()
}

/// How long the client that has waited longest has waited, nanoseconds.
fn longest_wait(pool: &Pool) -> u64 {
    let since = pool.cells.iter().map(|cell| cell.oldest_wait_nanoseconds.get());
    let oldest = since.filter(|since| *since > 0).min();
    let now = bs9_net::refresh_clock().nanoseconds();
    oldest.map_or(0, |oldest| now.saturating_sub(oldest))
}
