//! What the data plane's last answer says, as series.

use std::collections::HashMap;

use bs9_api::types::{DataPlaneStatus, DataPlaneView, EndpointHealth};

use crate::store::{Point, Rollup};

/// Counters of the data plane, by metric and subject, as they were.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    before: HashMap<(&'static str, String), u64>,
    seen: HashMap<(&'static str, String), u64>,
    process: Option<(u32, f64)>,
    seconds: f64,
}

impl Traffic {
    /// Adds what `view` says to `rollup`. An answer that was added before is not
    /// added again.
    pub(super) fn add(&mut self, view: &DataPlaneView, at: i64, rollup: &mut Rollup) {
        let up = Point::of(f64::from(u8::from(view.reachable)));
        rollup.add(at, "bs9_dataplane_up", "", &up);
        let Some(status) = view.status.as_ref().filter(|_| view.reachable) else {
            self.process = None;
            self.before.clear();
            return;
        };
        let now = (status.pid, status.uptime_seconds);
        match self.process.replace(now) {
            Some((pid, uptime)) if pid == status.pid && uptime <= status.uptime_seconds => {
                self.seconds = status.uptime_seconds - uptime;
                if self.seconds <= 0.0 {
                    return;
                }
            }
            _ => {
                self.before.clear();
                self.seconds = 0.0;
            }
        }
        self.listeners(status, at, rollup);
        self.endpoints(status, at, rollup);
        self.pools(status, at, rollup);
        self.before = std::mem::take(&mut self.seen);
    }

    fn listeners(&mut self, status: &DataPlaneStatus, at: i64, rollup: &mut Rollup) {
        for listener in &status.listeners {
            let name = listener.name.as_str();
            let gauge = Point::of(listener.open_connections as f64);
            rollup.add(at, "bs9_listener_open_connections", name, &gauge);
            let accepted = listener.accepted_connections_total;
            self.rate("bs9_listener_accepts_per_second", name, accepted, at, rollup);
            if let Some(http) = &listener.http {
                let [.., errors] = http.responses_total;
                self.rate(
                    "bs9_listener_requests_per_second",
                    name,
                    http.requests_total,
                    at,
                    rollup,
                );
                self.rate("bs9_listener_server_errors_per_second", name, errors, at, rollup);
                let (received, sent) = (http.received_bytes_total, http.sent_bytes_total);
                self.rate("bs9_listener_received_bytes_per_second", name, received, at, rollup);
                self.rate("bs9_listener_sent_bytes_per_second", name, sent, at, rollup);
            }
        }
    }

    fn endpoints(&mut self, status: &DataPlaneStatus, at: i64, rollup: &mut Rollup) {
        for cluster in &status.clusters {
            for endpoint in &cluster.endpoints {
                let subject = format!("{}/{}", cluster.name, endpoint.address);
                let healthy = match endpoint.health {
                    EndpointHealth::Healthy => Some(1.0),
                    EndpointHealth::Unhealthy => Some(0.0),
                    EndpointHealth::Unknown => None,
                };
                if let Some(healthy) = healthy {
                    rollup.add(at, "bs9_endpoint_healthy", &subject, &Point::of(healthy));
                }
                let active = Point::of(endpoint.active as f64);
                rollup.add(at, "bs9_endpoint_active", &subject, &active);
                let requests = endpoint.requests_total;
                let failures = endpoint.failures_total;
                let sent =
                    self.rate("bs9_endpoint_requests_per_second", &subject, requests, at, rollup);
                self.rate("bs9_endpoint_failures_per_second", &subject, failures, at, rollup);
                if let Some(mean) = endpoint.mean_response_seconds {
                    let micros = (mean * requests as f64 * 1e6) as u64;
                    let spent = self.growth("bs9_endpoint_response_seconds", &subject, micros);
                    if let (Some(spent), Some(sent)) = (spent, sent.filter(|sent| *sent > 0)) {
                        let point = Point::of_latency(spent as f64 / 1e6 / sent as f64, sent);
                        rollup.add(at, "bs9_endpoint_response_seconds", &subject, &point);
                    }
                }
            }
        }
    }

    fn pools(&mut self, status: &DataPlaneStatus, at: i64, rollup: &mut Rollup) {
        for pool in &status.pools {
            let subject = format!("{}/{}", pool.database, pool.user);
            let gauges = [
                ("bs9_pool_clients_active", pool.clients_active),
                ("bs9_pool_clients_waiting", pool.clients_waiting),
                ("bs9_pool_servers_active", pool.servers_active),
                ("bs9_pool_servers_idle", pool.servers_idle),
            ];
            for (name, value) in gauges {
                rollup.add(at, name, &subject, &Point::of(value as f64));
            }
            let counters = [
                ("bs9_pool_queries_per_second", pool.queries_total),
                ("bs9_pool_transactions_per_second", pool.transactions_total),
                ("bs9_pool_wait_timeouts_per_second", pool.wait_timeouts_total),
            ];
            for (name, value) in counters {
                self.rate(name, &subject, value, at, rollup);
            }
            let wait = Point::of(pool.max_wait_seconds);
            rollup.add(at, "bs9_pool_max_wait_seconds", &subject, &wait);
        }
    }

    /// Adds a rate, and returns by how much the counter grew.
    fn rate(
        &mut self,
        name: &'static str,
        subject: &str,
        counter: u64,
        at: i64,
        rollup: &mut Rollup,
    ) -> Option<u64> {
        let grown = self.growth(name, subject, counter)?;
        rollup.add(at, name, subject, &Point::of(grown as f64 / self.seconds));
        Some(grown)
    }

    /// `None` at the first sight of a counter. One that was made anew did all it
    /// counts since.
    fn growth(&mut self, name: &'static str, subject: &str, counter: u64) -> Option<u64> {
        let key = (name, subject.to_owned());
        let before = self.before.get(&key).copied();
        self.seen.insert(key, counter);
        let before = before.filter(|_| self.seconds > 0.0)?;
        Some(counter.checked_sub(before).unwrap_or(counter))
    }
}
