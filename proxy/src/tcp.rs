//! TCP listeners: a client's connection, tunnelled to an endpoint.

use std::{io, net::SocketAddr, rc::Rc, time::Duration};

use bs9_net::{
    Buffer, CoarseInstant, Connection, Timer, Transport, now,
    tls::{Hello, peek_hello},
};

use crate::{
    cluster::{ConnectFailure, Lease, ShardCluster, Tried},
    introduction::introduction,
    part::TcpSite,
    tunnel::{Passed, Tunnel},
    worker::Worker,
};

mod visit;

use visit::Visit;

/// How long a client may take for its first TLS message, when its name decides where it goes.
const HELLO_TIMEOUT: Duration = Duration::from_secs(15);
/// A fatal alert: `unrecognized_name` (RFC 6066 section 3).
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

/// Carries one client connection to its end.
pub(crate) async fn serve(worker: Rc<Worker>, connection: Connection) {
    let view = worker.view();
    let listener = connection.slot.listener();
    let Some(site) = view.part.tcp.get(&listener.id) else {
        // Accepted under a configuration that has just gone.
        return;
    };
    let started = now();
    let timer = worker.shard.timer();
    let mut visit = Visit::default();
    let mut early = None;
    let chosen = choose(&worker, site, &connection, &timer, &mut visit, &mut early).await;
    if let Some(cluster) = chosen {
        let cluster = &view.clusters[cluster];
        let until = site.max_lifetime.map_or(CoarseInstant::NEVER, |limit| started.plus(limit));
        carry(&worker, cluster, site, &connection, &timer, &mut visit, (early, until)).await;
    }
    if let Some(log) = &site.access_log {
        visit.log(&worker, log, &connection, started);
    }
}

/// Connects to an endpoint, and passes everything on.
async fn carry(
    worker: &Worker,
    cluster: &Rc<ShardCluster>,
    site: &TcpSite,
    connection: &Connection,
    timer: &Timer,
    visit: &mut Visit,
    (early, until): (Option<Buffer>, CoarseInstant),
) {
    let connected = connect(worker, cluster, site, connection, timer, visit).await;
    let Some((lease, endpoint)) = connected else { return };
    let tunnel = Tunnel {
        client: &connection.stream,
        endpoint: &endpoint,
        shard: &worker.shard,
        timer,
        idle_timeout: site.idle_timeout,
        until,
    };
    let Passed { upstream_bytes, downstream_bytes, end } = tunnel.run(early, None).await;
    (visit.received_bytes, visit.sent_bytes) = (upstream_bytes, downstream_bytes);
    if let Err(error) = end {
        visit.reason = error.reason();
        tracing::debug!(
            listener = &*connection.slot.listener().name, peer = %connection.peer,
            endpoint = lease.endpoint().name(), upstream_bytes, downstream_bytes, %error,
            "a TCP connection was cut"
        );
    }
}

/// The cluster that the connection goes to. What had to be read to know it is in `early`.
async fn choose(
    worker: &Worker,
    site: &TcpSite,
    connection: &Connection,
    timer: &Timer,
    visit: &mut Visit,
    early: &mut Option<Buffer>,
) -> Option<usize> {
    if site.sni.is_empty() {
        return site.cluster;
    }
    let found = |name: Option<&str>| name.and_then(|name| site.sni.lookup(name)).copied();
    if let Some(agreed) = connection.stream.agreed() {
        return found(agreed.server_name.as_deref()).or(site.cluster);
    }
    let buffer = early.insert(worker.shard.buffers().take());
    timer.set(HELLO_TIMEOUT);
    let name = match timer.guard(read_name(&connection.stream, buffer)).await {
        Ok(Ok(name)) => name,
        Ok(Err(error)) => {
            log_nameless(connection, &error);
            if site.cluster.is_none() {
                visit.reason = "no_name";
            }
            return site.cluster.filter(|_| !buffer.is_empty() && !buffer.is_full());
        }
        Err(_) => {
            visit.reason = "hello_timeout";
            return None;
        }
    };
    let cluster = found(name.as_deref()).or(site.cluster);
    visit.server_name = name.as_deref().unwrap_or_default().into();
    if cluster.is_none() {
        visit.reason = "unknown_name";
        log_nameless(connection, &format_args!("no cluster for {name:?}"));
        let refusal = connection.stream.write_all(&UNRECOGNIZED_NAME);
        // Gone already, or it takes nothing: then it needs not be told.
        let _untold = timer.guard(refusal).await;
    }
    cluster
}

/// Reads until the client's first TLS message is whole; gives the name in it.
async fn read_name(stream: &Transport, buffer: &mut Buffer) -> io::Result<Option<String>> {
    loop {
        match peek_hello(buffer.filled()) {
            Ok(Hello::Complete { server_name }) => return Ok(server_name),
            Ok(Hello::Partial) if buffer.is_full() => {
                return Err(io::Error::other("the ClientHello is larger than runtime.buffer_size"));
            }
            Ok(Hello::Partial) => {}
            Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        }
        if stream.read(buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

fn log_nameless(connection: &Connection, reason: &dyn std::fmt::Display) {
    tracing::debug!(
        listener = &*connection.slot.listener().name, peer = %connection.peer, %reason,
        "the name in a client's first TLS message leads nowhere"
    );
}

/// Where the client connected to.
fn destination(connection: &Connection) -> Option<SocketAddr> {
    match &connection.proxied {
        Some(proxied) => proxied.destination,
        None => connection.stream.local_address(),
    }
}

/// Connects to an endpoint; another one is tried when the first refuses.
async fn connect(
    worker: &Worker,
    cluster: &Rc<ShardCluster>,
    site: &TcpSite,
    connection: &Connection,
    timer: &Timer,
    visit: &mut Visit,
) -> Option<(Lease, Transport)> {
    let config = &cluster.cluster.config;
    let name = &*config.name;
    let affinity = cluster.cluster.affinity_of_client(connection.peer.ip());
    let introduction =
        introduction(config.proxy_protocol, connection.peer, || destination(connection));
    let mut tried = Tried::default();
    for _ in 0..=site.connect_attempts {
        let Ok(lease) = cluster.lease_for(&tried, affinity) else { break };
        visit.tries(&lease);
        let begun = now();
        timer.set(config.connect_timeout);
        let failure = match timer.guard(lease.connect(&introduction)).await {
            Ok(Ok(stream)) => {
                lease.cell().connects.increment();
                lease.succeeded(now().since(begun));
                visit.reason = "";
                return Some((lease, stream));
            }
            Ok(Err(failure)) => failure,
            Err(_) => ConnectFailure::Io(io::ErrorKind::TimedOut.into()),
        };
        lease.cell().connect_failures.increment();
        lease.cell().failures.increment();
        lease.failed(now().since(begun));
        visit.reason = "connect_failed";
        tried.add(lease.member());
        if let Some(suppressed) = worker.may_log() {
            tracing::warn!(
                cluster = name, endpoint = lease.endpoint().name(), error = %failure, suppressed,
                "an endpoint did not accept a connection"
            );
        }
    }
    if visit.reason.is_empty() {
        visit.reason = "no_endpoint";
    }
    if let Some(suppressed) = worker.may_log() {
        tracing::warn!(
            cluster = name, peer = %connection.peer, suppressed,
            "a TCP connection was closed: no endpoint of its cluster took it"
        );
    }
    None
}
