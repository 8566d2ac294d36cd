//! TCP listeners: a client's connection, tunnelled to an endpoint.

use std::rc::Rc;

use bs9_net::{Connection, Stream, Timer};

use crate::{
    cluster::{ConnectFailure, Lease, ShardCluster, Tried},
    part::TcpSite,
    tunnel::{Passed, Tunnel},
    worker::{View, Worker},
};

/// Carries one client connection to its end.
pub(crate) async fn serve(worker: Rc<Worker>, connection: Connection) {
    let view = worker.view();
    let listener = connection.slot.listener();
    let Some(site) = view.part.tcp.get(&listener.id) else {
        // Accepted under a configuration that has just gone.
        return;
    };
    let timer = worker.shard.timer();
    let Some((lease, endpoint)) = connect(&worker, &view, site, &connection, &timer).await else {
        return;
    };
    let tunnel = Tunnel {
        client: &connection.stream,
        endpoint: &endpoint,
        pool: worker.shard.buffers(),
        timer: &timer,
        idle_timeout: site.idle_timeout,
    };
    let Passed { upstream_bytes, downstream_bytes, end } = tunnel.run(None, None).await;
    if let Err(error) = end {
        tracing::debug!(
            listener = &*listener.name, peer = %connection.peer, endpoint = lease.endpoint().name(),
            upstream_bytes, downstream_bytes, %error, "a TCP connection was cut"
        );
    }
}

/// Connects to an endpoint; another one is tried when the first refuses.
async fn connect(
    worker: &Worker,
    view: &View,
    site: &TcpSite,
    connection: &Connection,
    timer: &Timer,
) -> Option<(Lease, Stream)> {
    let cluster: &Rc<ShardCluster> = &view.clusters[site.cluster?];
    let name = &*cluster.cluster.config.name;
    let mut tried = Tried::default();
    for _ in 0..=site.connect_attempts {
        let Some(lease) = cluster.lease(&tried) else { break };
        timer.set(cluster.cluster.config.connect_timeout);
        let failure = match timer.guard(lease.connect()).await {
            Ok(Ok(stream)) => {
                lease.cell().connects.increment();
                return Some((lease, stream));
            }
            Ok(Err(failure)) => failure,
            Err(_) => ConnectFailure::Io(std::io::ErrorKind::TimedOut.into()),
        };
        lease.cell().connect_failures.increment();
        lease.cell().failures.increment();
        tried.add(lease.member());
        if let Some(suppressed) = worker.may_log() {
            tracing::warn!(
                cluster = name, endpoint = lease.endpoint().name(), error = %failure, suppressed,
                "an endpoint did not accept a connection"
            );
        }
    }
    if let Some(suppressed) = worker.may_log() {
        tracing::warn!(
            cluster = name, peer = %connection.peer, suppressed,
            "a TCP connection was closed: no endpoint of its cluster took it"
        );
    }
    None
}
