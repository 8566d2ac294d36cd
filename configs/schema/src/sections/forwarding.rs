//! What listeners with `protocol = "tcp"` and `"udp"` do: pass everything on to a cluster.

use std::{collections::HashSet, sync::Arc, time::Duration};

use super::{
    DAY, HOUR, MILLISECOND, MINUTE,
    listener::{Protocol, check_cluster},
};
use crate::{
    certificate,
    model::{ListenerProtocol, SniRoute, TcpListener, UdpListener},
    read::{Fault, Format, Key, Located, Scope, duration, integer, list, located, table, text},
    report::Finding,
};

/// Where the listener's connections or datagrams go.
pub(super) fn forwarding(
    t: &mut Scope<'_>,
    protocol: Option<Protocol>,
    idle_timeout: Option<Duration>,
) -> Option<ListenerProtocol> {
    let key = Key::new(
        "cluster",
        "The cluster that connections or datagrams are passed to. With `sni`, those whose name it does not have; absent then, they are closed.",
    )
    .only(&["tcp", "udp"]);
    let format = located(cluster_name());
    let kind = format.kind();
    let cluster = t.optional(key, format);
    let connect_attempts = t.or(
        Key::new(
            "connect_attempts",
            "Endpoints tried when one refuses the connection, after the first.",
        )
        .only(&["tcp"]),
        integer(0..=10),
        2,
    );
    let sni = t.optional(
        Key::new("sni", "Clusters by the name that the client asks for in its first TLS message: `[{ names = [\"a.example.com\", \"*.example.org\"], cluster = \"a\" }]`. Without `tls` the connection is passed on as it is, without being decrypted.").only(&["tcp"]),
        list(table(sni_route)).not_empty(),
    );
    let max_lifetime = t.optional(
        Key::new("max_lifetime", "How long a connection may last, however busy it is; then it is closed. Absent: no limit.").only(&["tcp"]),
        duration(MILLISECOND..=365 * DAY),
    );
    let max_responses = t.optional(
        Key::new("max_responses", "Datagrams from the endpoint after which a session has ended: 1 for DNS. Absent: it ends when idle.").only(&["udp"]),
        integer(1..=1_000_000_000),
    );
    let missing = match protocol {
        Some(Protocol::Tcp) => !t.has("cluster") && !t.has("sni"),
        Some(Protocol::Udp) => !t.has("cluster"),
        _ => false,
    };
    if missing {
        t.require(key, &kind);
    }
    if (t.has("cluster") && cluster.is_none()) || (t.has("sni") && sni.is_none()) {
        return None;
    }
    if let Some(cluster) = &cluster {
        check_cluster(t, cluster);
    }
    let cluster = cluster.map(|cluster| cluster.value);
    if protocol == Some(Protocol::Udp) {
        return Some(ListenerProtocol::Udp(UdpListener {
            cluster: cluster?,
            idle_timeout: idle_timeout.unwrap_or(MINUTE),
            max_responses: max_responses.and_then(std::num::NonZeroU32::new),
        }));
    }
    let sni = sni.unwrap_or_default();
    check_same_names(t, &sni);
    (cluster.is_some() || !sni.is_empty()).then_some(ListenerProtocol::Tcp(TcpListener {
        cluster,
        sni,
        idle_timeout: idle_timeout.unwrap_or(HOUR),
        max_lifetime,
        connect_attempts,
    }))
}

fn cluster_name() -> impl Format<Output = Arc<str>> {
    text("the name of a cluster", None, |name: &str, _| Ok::<Arc<str>, Fault>(name.into()))
}

fn sni_route(t: &mut Scope<'_>) -> Option<SniRoute> {
    let names = t.required(
        Key::new("names", "Names, such as `\"example.com\"` or `\"*.example.com\"` for every name one label below it."),
        list(text("a name such as \"example.com\" or \"*.example.com\"", Some(r"^(\*\.)?[A-Za-z0-9_.-]+$"), certificate::server_name)).not_empty(),
    );
    let cluster: Located<Arc<str>> = t.required(
        Key::new("cluster", "The cluster that these connections are passed to."),
        located(cluster_name()),
    )?;
    check_cluster(t, &cluster);
    Some(SniRoute { names: names?, cluster: cluster.value })
}

/// A name that leads to two clusters.
fn check_same_names(t: &Scope<'_>, routes: &[SniRoute]) {
    let Some(spot) = t.key_spot("sni") else { return };
    let mut seen = HashSet::new();
    for name in routes.iter().flat_map(|route| &route.names) {
        if !seen.insert(name) {
            t.reader().push(
                Finding::error(format!("the name `{name}` is given twice"))
                    .at(spot, &t.path_of("sni"))
                    .hint("a name leads to one cluster"),
            );
        }
    }
}
