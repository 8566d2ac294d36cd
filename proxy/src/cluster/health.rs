//! Active health checks: one prober for the whole process, on the control thread.

use std::{cell::RefCell, collections::HashMap, future::pending, io, sync::Arc, time::Duration};

use bs9_config::{EndpointAddress, HealthCheck, Probe};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, UnixStream},
    task::AbortHandle,
    time::MissedTickBehavior,
};

use bs9_net::tls::ClientTls;
use tokio_rustls::{TlsConnector, rustls};

use super::{Cluster, Endpoint, Health, shard::called};
use crate::http1::{HeadLimits, HeaderStorage, Parsed, ResponseError, ResponseTo, parse_response};

/// How often host names are looked up anew.
const RESOLVE_INTERVAL: Duration = Duration::from_secs(15);
/// Pause after a name that did not resolve.
const RESOLVE_RETRY: Duration = Duration::from_secs(1);
/// Bytes of a probe's response head that are read at most.
const MAX_PROBE_HEAD_BYTES: usize = 16 * 1024;

/// Watches every endpoint of the snapshot in force.
#[derive(Default)]
pub(crate) struct Prober {
    watched: RefCell<HashMap<*const Endpoint, Watched>>,
}

struct Watched {
    endpoint: Arc<Endpoint>,
    check: Option<HealthCheck>,
    tls: Option<Arc<ClientTls>>,
    task: AbortHandle,
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
            let check = &cluster.config.health_check;
            for member in &cluster.members {
                let endpoint = &member.endpoint;
                let key = Arc::as_ptr(endpoint);
                let same = |old: &Watched| {
                    let tls = [&old.tls, &cluster.tls].map(|tls| tls.as_ref().map(Arc::as_ptr));
                    old.check == *check && tls[0] == tls[1]
                };
                let kept = before.remove(&key).filter(same);
                let entry = kept.or_else(|| start(cluster, endpoint, check.clone()));
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
fn start(
    cluster: &Cluster,
    endpoint: &Arc<Endpoint>,
    check: Option<HealthCheck>,
) -> Option<Watched> {
    let named = matches!(endpoint.address, EndpointAddress::Name { .. });
    if check.is_none() {
        endpoint.forget_health();
        if !named {
            return None;
        }
    }
    let (watched, wanted) = (Arc::clone(endpoint), check.clone());
    let (cluster, tls) = (Arc::clone(&cluster.config.name), cluster.tls.clone());
    let kept_tls = tls.clone();
    let task = tokio::task::spawn_local(async move {
        let resolving = async {
            match &watched.address {
                EndpointAddress::Name { host, port } => {
                    resolve(&cluster, &watched, host, *port).await
                }
                EndpointAddress::Tcp(_) | EndpointAddress::Unix(_) => pending().await,
            }
        };
        let probing = async {
            match &wanted {
                Some(check) => probe_forever(&cluster, &watched, tls.as_deref(), check).await,
                None => pending().await,
            }
        };
        tokio::join!(resolving, probing);
    });
    let task = task.abort_handle();
    Some(Watched { endpoint: Arc::clone(endpoint), check, tls: kept_tls, task })
}

async fn resolve(cluster: &str, endpoint: &Endpoint, host: &str, port: u16) {
    let mut failing = false;
    loop {
        let found = tokio::net::lookup_host((host, port)).await;
        match found.map(Vec::from_iter) {
            Ok(addresses) if !addresses.is_empty() => {
                failing = false;
                if endpoint.set_resolved(addresses.clone()) {
                    tracing::info!(cluster, host, ?addresses, "an endpoint's name resolved");
                }
                tokio::time::sleep(RESOLVE_INTERVAL).await;
            }
            failed => {
                endpoint.set_resolved(Vec::new());
                if !std::mem::replace(&mut failing, true) {
                    let error =
                        failed.err().map_or_else(|| "no address".to_owned(), |e| e.to_string());
                    tracing::warn!(
                        cluster,
                        host,
                        error,
                        "an endpoint's name does not resolve; the last address stays in use"
                    );
                }
                tokio::time::sleep(RESOLVE_RETRY).await;
            }
        }
    }
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

async fn probe_forever(
    cluster: &str,
    endpoint: &Endpoint,
    tls: Option<&ClientTls>,
    check: &HealthCheck,
) {
    let mut streak = Streak::default();
    let mut ticks = tokio::time::interval(check.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let probe = probe(endpoint, tls, &check.probe);
        let result = match tokio::time::timeout(check.timeout, probe).await {
            Ok(result) => result,
            Err(_) => Err(ProbeFailure::Timeout(check.timeout)),
        };
        let known = endpoint.health();
        let reason = result.err().map(|failure| failure.to_string());
        let Some(health) = streak.count(reason.is_none(), known, check) else { continue };
        if health != known {
            log_change(cluster, endpoint, health, reason.as_deref());
        }
        endpoint.set_health(health, reason);
    }
}

fn log_change(cluster: &str, endpoint: &Endpoint, health: Health, reason: Option<&str>) {
    let endpoint = endpoint.name();
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

/// Why a probe failed.
#[derive(Debug, thiserror::Error)]
enum ProbeFailure {
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    #[error("its name does not resolve")]
    Unresolved,
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("TLS: {0}")]
    Tls(#[source] io::Error),
    #[error("closed the connection without an answer")]
    Closed,
    #[error("answered something that is not HTTP: {0}")]
    Malformed(#[from] ResponseError),
    #[error("answered status {0}")]
    Status(u16),
}

async fn probe(
    endpoint: &Endpoint,
    tls: Option<&ClientTls>,
    probe: &Probe,
) -> Result<(), ProbeFailure> {
    match &endpoint.address {
        EndpointAddress::Unix(path) => {
            begin(UnixStream::connect(path).await?, endpoint, tls, probe).await
        }
        EndpointAddress::Tcp(address) => {
            begin(TcpStream::connect(*address).await?, endpoint, tls, probe).await
        }
        EndpointAddress::Name { .. } => {
            let addresses = endpoint.looked_up().await;
            if addresses.is_empty() {
                return Err(ProbeFailure::Unresolved);
            }
            begin(TcpStream::connect(&addresses[..]).await?, endpoint, tls, probe).await
        }
    }
}

/// Shakes hands first, where the cluster speaks TLS: an endpoint that cannot prove who it is
/// is of no use.
async fn begin(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    endpoint: &Endpoint,
    tls: Option<&ClientTls>,
    probe: &Probe,
) -> Result<(), ProbeFailure> {
    let Some(tls) = tls else { return converse(stream, endpoint, probe).await };
    let unnamed = |error: rustls::Error| io::Error::new(io::ErrorKind::InvalidInput, error);
    let name = tls.name_for(called(&endpoint.address)).map_err(unnamed)?;
    let connector = TlsConnector::from(Arc::clone(tls.config()));
    let stream = connector.connect(name, stream).await.map_err(ProbeFailure::Tls)?;
    converse(stream, endpoint, probe).await
}

async fn converse(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    endpoint: &Endpoint,
    probe: &Probe,
) -> Result<(), ProbeFailure> {
    let Probe::Http { path, host } = probe else { return Ok(()) };
    let host = host.as_deref().map_or_else(|| host_of(endpoint), str::to_owned);
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: bs9-health-check\r\n\
         Accept: */*\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    match read_status(&mut stream).await? {
        200..=399 => Ok(()),
        status => Err(ProbeFailure::Status(status)),
    }
}

/// What stands in `Host` when the configuration names nothing.
fn host_of(endpoint: &Endpoint) -> String {
    match &endpoint.address {
        EndpointAddress::Unix(_) => "localhost".to_owned(),
        named => named.to_string(),
    }
}

/// The status of the first response that is not an interim one.
async fn read_status(stream: &mut (impl AsyncRead + Unpin)) -> Result<u16, ProbeFailure> {
    let limits = HeadLimits { max_head_bytes: MAX_PROBE_HEAD_BYTES, ..HeadLimits::default() };
    let mut received = Vec::with_capacity(1024);
    loop {
        let mut storage = HeaderStorage::new();
        let parsed = parse_response(&received, &limits, ResponseTo::default(), &mut storage)?;
        if let Parsed::Complete(head) = parsed {
            if !head.is_interim() {
                return Ok(head.status);
            }
            let head_len = head.head_len;
            received.drain(..head_len);
            continue;
        }
        if stream.read_buf(&mut received).await? == 0 {
            return Err(ProbeFailure::Closed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check() -> HealthCheck {
        HealthCheck {
            probe: Probe::Tcp,
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            healthy_after: 2,
            unhealthy_after: 3,
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
}
