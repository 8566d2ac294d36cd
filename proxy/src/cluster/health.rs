//! Watching endpoints: one prober for the whole process, on the control thread.

use std::{
    cell::RefCell,
    collections::HashMap,
    future::pending,
    hash::{BuildHasher as _, RandomState},
    sync::Arc,
    time::Duration,
};

use bs9_config::{EndpointAddress, HealthCheck, Outliers, ProxyProtocol, UpstreamProtocol};
use bs9_net::tls::ClientTls;
use probe::Prepared;
use tokio::{task::AbortHandle, time::Instant};

use super::{Cluster, Endpoint, Health, names};

mod grpc;
mod http;
mod http2;
mod probe;

/// Limit of a probe, and the pause after one that failed, where no check says otherwise.
const USUAL_TIMEOUT: Duration = Duration::from_secs(1);

/// Watches every endpoint of the snapshot in force.
#[derive(Default)]
pub(crate) struct Prober {
    watched: RefCell<HashMap<*const Endpoint, Watched>>,
}

struct Watched {
    endpoint: Arc<Endpoint>,
    orders: Orders,
    task: AbortHandle,
}

/// What is to be watched for.
#[derive(Clone)]
struct Orders {
    check: Option<HealthCheck>,
    outliers: Option<Outliers>,
    tls: Option<Arc<ClientTls>>,
    introduces: Option<ProxyProtocol>,
    protocol: UpstreamProtocol,
}

impl PartialEq for Orders {
    fn eq(&self, other: &Self) -> bool {
        let tls = [&self.tls, &other.tls].map(|tls| tls.as_ref().map(Arc::as_ptr));
        self.check == other.check
            && self.outliers == other.outliers
            && self.introduces == other.introduces
            && self.protocol == other.protocol
            && tls[0] == tls[1]
    }
}

impl Orders {
    fn prepare(&self, check: Option<&HealthCheck>) -> Prepared {
        let probe = check.map(|check| &check.probe);
        Prepared::new(probe, self.protocol, self.tls.clone(), self.introduces)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Prober {
    /// Starts, stops and leaves alone, so that exactly what `clusters` want is watched.
    pub(crate) fn watch<'a>(&self, clusters: impl Iterator<Item = &'a Arc<Cluster>>) {
        let mut before = std::mem::take(&mut *self.watched.borrow_mut());
        let mut watched = HashMap::new();
        for cluster in clusters {
            let orders = Orders {
                check: cluster.config.health_check.clone(),
                outliers: cluster.config.outliers,
                tls: cluster.tls.clone(),
                introduces: cluster.config.proxy_protocol,
                protocol: cluster.config.protocol,
            };
            for member in &cluster.members {
                let endpoint = &member.endpoint;
                let key = Arc::as_ptr(endpoint);
                let kept = before.remove(&key).filter(|old| old.orders == orders);
                let entry = kept.or_else(|| start(cluster, endpoint, &orders));
                watched.extend(entry.map(|entry| (key, entry)));
            }
        }
        for old in before.values() {
            old.endpoint.forget_health();
        }
        *self.watched.borrow_mut() = watched;
    }
}

/// `None` when there is nothing to do for this endpoint.
fn start(cluster: &Cluster, endpoint: &Arc<Endpoint>, orders: &Orders) -> Option<Watched> {
    let named = matches!(endpoint.address, EndpointAddress::Name { .. });
    if orders.check.is_none() {
        endpoint.forget_health();
    }
    if orders.outliers.is_none() {
        endpoint.let_back(None);
    }
    if orders.check.is_none() && orders.outliers.is_none() && !named {
        return None;
    }
    let watch = Watch {
        cluster: Arc::clone(&cluster.config.name),
        endpoint: Arc::clone(endpoint),
        orders: orders.clone(),
    };
    let task = tokio::task::spawn_local(async move {
        tokio::join!(watch.resolve(), watch.check(), watch.let_back());
    });
    let task = task.abort_handle();
    Some(Watched { endpoint: Arc::clone(endpoint), orders: orders.clone(), task })
}

/// Of one endpoint.
struct Watch {
    cluster: Arc<str>,
    endpoint: Arc<Endpoint>,
    orders: Orders,
}

impl Watch {
    /// Looks the endpoint's name up, again and again.
    async fn resolve(&self) {
        let EndpointAddress::Name { host, port } = &self.endpoint.address else {
            return pending().await;
        };
        names::follow(&self.cluster, &self.endpoint, host, *port).await
    }

    /// Probes, again and again, where that was ordered.
    async fn check(&self) {
        let Some(check) = &self.orders.check else { return pending().await };
        let prepared = self.orders.prepare(Some(check));
        let mut streak = Streak::default();
        loop {
            let began = Instant::now();
            let reason = prepared.probe(&self.endpoint, check.timeout).await.err();
            self.note(&mut streak, check, reason.map(|failure| failure.to_string()));
            tokio::time::sleep_until(began + jittered(check.interval, check.jitter)).await;
        }
    }

    fn note(&self, streak: &mut Streak, check: &HealthCheck, reason: Option<String>) {
        let known = self.endpoint.health();
        let Some(health) = streak.count(reason.is_none(), known, check) else { return };
        if health != known {
            self.log_change(health, reason.as_deref());
        }
        self.endpoint.set_health(health, reason);
    }

    fn log_change(&self, health: Health, reason: Option<&str>) {
        let (cluster, endpoint) = (&*self.cluster, self.endpoint.name());
        match health {
            Health::Unhealthy => {
                tracing::warn!(
                    cluster,
                    endpoint,
                    reason,
                    "an endpoint is unhealthy: it takes no traffic"
                );
            }
            Health::Healthy | Health::Unknown => {
                tracing::info!(cluster, endpoint, "an endpoint is healthy");
            }
        }
    }

    /// Lets the endpoint back whenever it was taken out: after a while, when a probe succeeds.
    async fn let_back(&self) {
        let Some(outliers) = &self.orders.outliers else { return pending().await };
        let check = self.orders.check.as_ref();
        let prepared = self.orders.prepare(check);
        let timeout = check.map_or(USUAL_TIMEOUT, |check| check.timeout);
        let pause = check.map_or(USUAL_TIMEOUT, |check| check.interval).min(outliers.ejection_time);
        loop {
            let length = self.endpoint.taken_out(outliers).await;
            tokio::time::sleep(length).await;
            while let Err(error) = prepared.probe(&self.endpoint, timeout).await {
                tracing::debug!(
                    cluster = &*self.cluster, endpoint = self.endpoint.name(), %error,
                    "an endpoint that was taken out stays out: a probe failed"
                );
                tokio::time::sleep(pause).await;
            }
            self.endpoint.let_back(Some(outliers));
            tracing::info!(
                cluster = &*self.cluster,
                endpoint = self.endpoint.name(),
                "an endpoint that was taken out is let back: a probe succeeded"
            );
        }
    }
}

/// The interval, longer or shorter by up to a share of it.
fn jittered(interval: Duration, jitter: f64) -> Duration {
    // A fresh state is as random as the process's seed for maps: plenty for spreading probes.
    let random = RandomState::new().hash_one(0) as f64 / u64::MAX as f64;
    interval.mul_f64(1.0 + jitter * (2.0 * random - 1.0))
}

/// Counts successes and failures in a row.
#[derive(Debug, Default)]
struct Streak {
    successes: u32,
    failures: u32,
}

impl Streak {
    /// The health that this result leads to, if it leads to one.
    fn count(&mut self, passed: bool, known: Health, check: &HealthCheck) -> Option<Health> {
        if passed {
            self.failures = 0;
            self.successes = self.successes.saturating_add(1);
            // An endpoint never seen failing needs no probation.
            let needed = if known == Health::Unhealthy { check.healthy_after } else { 1 };
            (self.successes >= needed).then_some(Health::Healthy)
        } else {
            self.successes = 0;
            self.failures = self.failures.saturating_add(1);
            (self.failures >= check.unhealthy_after).then_some(Health::Unhealthy)
        }
    }
}

#[cfg(test)]
mod tests {
    use bs9_config::Probe;

    use super::*;

    fn check() -> HealthCheck {
        HealthCheck {
            probe: Probe::Tcp,
            interval: Duration::from_secs(1),
            jitter: 0.0,
            timeout: Duration::from_secs(1),
            healthy_after: 2,
            unhealthy_after: 3,
            initially_healthy: true,
        }
    }

    #[test]
    fn one_failure_does_not_condemn_and_one_success_does_not_acquit() {
        let (check, mut streak, mut health) = (check(), Streak::default(), Health::Healthy);
        let mut run = |results: &[bool]| {
            for passed in results {
                health = streak.count(*passed, health, &check).unwrap_or(health);
            }
            health
        };
        assert_eq!(run(&[false, false, true, false, false]), Health::Healthy);
        assert_eq!(run(&[false]), Health::Unhealthy);
        assert_eq!(run(&[true, false, true]), Health::Unhealthy);
        assert_eq!(run(&[true]), Health::Healthy);
    }

    #[test]
    fn an_endpoint_not_known_yet_is_healthy_after_its_first_success() {
        let mut streak = Streak::default();
        assert_eq!(streak.count(true, Health::Unknown, &check()), Some(Health::Healthy));
    }

    #[test]
    fn jitter_stays_within_its_share_and_varies() {
        let interval = Duration::from_secs(10);
        assert_eq!(jittered(interval, 0.0), interval);
        let pauses: Vec<_> = (0..100).map(|_| jittered(interval, 0.1)).collect();
        assert!(pauses.iter().all(|pause| pause.abs_diff(interval) <= Duration::from_secs(1)));
        assert!(pauses.iter().any(|pause| pause.abs_diff(interval) > Duration::from_millis(100)));
    }
}
