//! What listeners have to agree on, with each other and with their clusters.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::listener::ReadListener;
use crate::{
    model::{BindAddress, Cluster, EndpointAddress, ListenerProtocol, LogOutput, Rotation},
    read::Scope,
    report::Finding,
};

/// A file that two listeners write to is put aside in one way.
pub(super) fn check_logs(t: &Scope<'_>, listeners: &BTreeMap<Arc<str>, ReadListener>) {
    let mut seen: HashMap<_, (&str, Option<Rotation>)> = HashMap::new();
    for (name, read) in listeners {
        let Some(log) = &read.listener.access_log else { continue };
        let LogOutput::File { path, rotation } = &log.output else { continue };
        let (owner, first) = *seen.entry(path).or_insert((name, *rotation));
        if first != *rotation {
            t.reader().push(
                Finding::error(format!(
                    "`{}` is rotated otherwise by listener `{owner}`",
                    path.display()
                ))
                .at(read.place.spot, &read.place.path)
                .hint("give both the same `rotate_size` and `keep`, or files of their own"),
            );
        }
    }
}

/// Datagrams go from one IP address to another, and carry nothing but themselves.
pub(super) fn check_datagrams(
    t: &Scope<'_>,
    listeners: &BTreeMap<Arc<str>, ReadListener>,
    clusters: &BTreeMap<Arc<str>, Cluster>,
) {
    for read in listeners.values() {
        let ListenerProtocol::Udp(udp) = &read.listener.protocol else { continue };
        for bind in &read.binds {
            if let BindAddress::Unix(_) = bind.value {
                t.reader().push(
                    Finding::error(format!("no datagrams can be received on `{}`", bind.value))
                        .at(bind.spot, &bind.path)
                        .hint("a udp listener has an IP address and a port"),
                );
            }
        }
        let Some(cluster) = clusters.get(&udp.cluster) else { continue };
        let refuse = |message: String, hint: &str| {
            let finding = Finding::error(message).at(read.place.spot, &read.place.path);
            t.reader().push(finding.hint(hint));
        };
        for endpoint in &cluster.endpoints {
            if let EndpointAddress::Unix(_) = endpoint.address {
                refuse(
                    format!(
                        "no datagrams can be sent to `{}` of cluster `{}`",
                        endpoint.address, cluster.name
                    ),
                    "the endpoints of a udp listener have addresses and ports",
                );
            }
        }
        if cluster.proxy_protocol.is_some() {
            refuse(
                format!(
                    "`proxy_protocol` has no meaning for datagrams, which cluster `{}` gets",
                    cluster.name
                ),
                "remove it there",
            );
        }
        if cluster.tls.is_some() {
            refuse(
                format!(
                    "`tls` has no meaning for datagrams, which cluster `{}` gets",
                    cluster.name
                ),
                "remove it there",
            );
        }
    }
}
