//! The whole of `bs9.toml`, and the checks across its sections.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::SocketAddr,
    sync::Arc,
};

use super::{
    admin::admin,
    agreement::{check_datagrams, check_logs},
    cluster::cluster,
    listener::{DEFAULT_MAX_HEAD_BYTES, ReadListener, listener},
    name::{NAME, check_name},
    postgres::{asks_for_certificates, postgres},
    runtime::runtime,
};
use crate::{
    model::{
        Admin, BindAddress, Cluster, Config, Listener, ListenerProtocol, Postgres, RouteAction,
        Runtime,
    },
    raw::{Table, Value},
    read::{Key, Located, Scope, named, table},
    report::Finding,
    source::Spot,
    unit::format_size,
};

/// Reads everything, and checks what one section says of another.
pub(crate) fn config(t: &mut Scope<'_>) -> Option<Config> {
    let Sections { runtime, admin, listeners, clusters, postgres } = sections(t)?;
    let (runtime, admin) = (runtime?, admin?);
    check_binds(t, &admin, &listeners);
    check_heads(t, &runtime, &listeners);
    check_logs(t, &listeners);
    check_datagrams(t, &listeners, &clusters);
    check_postgres(t, &listeners, postgres.as_ref());
    check_unused(t, &listeners, &clusters);
    let listeners =
        listeners.into_iter().map(|(name, read)| (name, fit_head(read.listener, &runtime)));
    let listeners = listeners.collect();
    Some(Config { sources: Vec::new(), runtime, admin, listeners, clusters, postgres })
}

/// The sections of `bs9.toml`, each read for itself.
pub(crate) struct Sections {
    runtime: Option<Runtime>,
    admin: Option<Admin>,
    listeners: BTreeMap<Arc<str>, ReadListener>,
    clusters: BTreeMap<Arc<str>, Cluster>,
    postgres: Option<Postgres>,
}

/// The keys at the top of `bs9.toml`.
pub(crate) fn sections(t: &mut Scope<'_>) -> Option<Sections> {
    let empty = || Value::Table(Table::default());
    Some(Sections {
        runtime: t.section(Key::new("runtime", "Process-wide settings. A change of them needs a new process; a reload says so."), table(runtime)),
        admin: t.section(Key::new("admin", "Where the data plane answers its admin API."), table(admin)),
        listeners: t.or(
            Key::new("listeners", "Bound addresses, and the protocol spoken on them."),
            named(NAME, check_name, listener),
            empty(),
        ),
        clusters: t.or(
            Key::new("clusters", "Endpoints that serve the same thing, with one policy."),
            named(NAME, check_name, cluster),
            empty(),
        ),
        postgres: t.optional(Key::new("postgres", "The PostgreSQL connection pool behind the listeners with `protocol = \"postgres\"`."), table(postgres)),
    })
}

/// An address can be listened on once. Port 0 is another one each time.
fn check_binds(t: &Scope<'_>, admin: &Admin, listeners: &BTreeMap<Arc<str>, ReadListener>) {
    // Datagrams and connections have ports of their own.
    let mut seen: HashMap<(bool, &BindAddress), (Spot, &str)> = HashMap::new();
    for read in listeners.values() {
        let udp = matches!(read.listener.protocol, ListenerProtocol::Udp(_));
        for bind in &read.binds {
            if let BindAddress::Tcp(address) = &bind.value
                && address.port() == 0
            {
                continue;
            }
            let name: &str = &read.listener.name;
            if let Some((first, owner)) = seen.get(&(udp, &bind.value)) {
                t.reader().push(taken(bind, owner, name).related(*first, "first given here"));
                continue;
            }
            seen.insert((udp, &bind.value), (bind.spot, name));
            if !udp {
                check_admin(t, admin, bind);
            }
        }
    }
}

fn taken(bind: &Located<BindAddress>, owner: &str, name: &str) -> Finding {
    let message = match owner == name {
        true => format!("`{}` is given twice", bind.value),
        false => format!("`{}` is already taken by listener `{owner}`", bind.value),
    };
    Finding::error(message)
        .at(bind.spot, &bind.path)
        .hint("choose another address, or merge the listeners")
}

fn check_admin(t: &Scope<'_>, admin: &Admin, bind: &Located<BindAddress>) {
    let clash = match &bind.value {
        BindAddress::Tcp(address) => {
            admin.listen.as_ref().is_some_and(|listen: &SocketAddr| listen == address)
        }
        BindAddress::Unix(path) => admin.socket.as_ref() == Some(path),
    };
    if clash {
        let finding = Finding::error(format!("`{}` is already taken by the admin API", bind.value));
        t.reader().push(
            finding.at(bind.spot, &bind.path).hint("choose another address here or in [admin]"),
        );
    }
}

/// A head has to fit into one buffer.
fn check_heads(t: &Scope<'_>, runtime: &Runtime, listeners: &BTreeMap<Arc<str>, ReadListener>) {
    for head in listeners.values().filter_map(|read| read.max_head.as_ref()) {
        if head.value > runtime.buffer_bytes {
            let [head_size, buffer_size] =
                [head.value, runtime.buffer_bytes].map(|bytes| format_size(bytes as u64));
            t.reader().push(
                Finding::error(format!("{head_size} is more than runtime.buffer_size, {buffer_size}"))
                    .at(head.spot, &head.path)
                    .hint(format!("a head has to fit into one buffer; set runtime.buffer_size = \"{head_size}\" too")),
            );
        }
    }
}

/// Without `max_head_size`, a small buffer makes the limit smaller.
fn fit_head(mut listener: Listener, runtime: &Runtime) -> Listener {
    if let ListenerProtocol::Http(http) = &mut listener.protocol
        && http.max_head_bytes == DEFAULT_MAX_HEAD_BYTES
    {
        http.max_head_bytes = DEFAULT_MAX_HEAD_BYTES.min(runtime.buffer_bytes);
    }
    listener
}

fn check_postgres(
    t: &Scope<'_>,
    listeners: &BTreeMap<Arc<str>, ReadListener>,
    postgres: Option<&Postgres>,
) {
    let speaks =
        |read: &&ReadListener| matches!(read.listener.protocol, ListenerProtocol::Postgres);
    let mut speakers = listeners.values().filter(speaks);
    match (speakers.next(), t.key_spot("postgres")) {
        (Some(first), None) => {
            for read in std::iter::once(first).chain(speakers) {
                let place = &read.place;
                let finding = Finding::error("protocol = \"postgres\" needs a [postgres] section")
                    .at(place.spot, &place.path);
                t.reader().missing(finding.hint("add [postgres] and a [postgres.databases.NAME]"));
            }
        }
        (Some(_), Some(spot)) if postgres.is_some_and(|p| p.databases.is_empty()) => {
            let finding = Finding::error("there is no database that a client could ask for")
                .at(spot, "postgres");
            t.reader().missing(
                finding
                    .hint("add [postgres.databases.NAME], or [postgres.databases.\"*\"] for any"),
            );
        }
        (Some(first), Some(_)) if postgres.is_some_and(|p| asks_for_certificates(&p.auth)) => {
            let shows = |read: &ReadListener| {
                read.listener.tls.as_ref().is_some_and(|tls| tls.client_auth.is_some())
            };
            if !shows(first) && !speakers.any(shows) {
                let message = "`auth` wants certificates, and no postgres listener asks for one";
                let place = &first.place;
                let finding = Finding::error(message).at(place.spot, &place.path);
                t.reader().missing(finding.hint(
                    "add tls = { certificates = […], client_auth = { mode = \"optional\", ca = \"clients-ca.pem\" } }",
                ));
            }
        }
        (None, Some(spot)) if !t.reader().has_errors() => {
            let finding =
                Finding::warning("no listener has protocol = \"postgres\"").at(spot, "postgres");
            t.reader().push(finding.hint("add one, or remove [postgres]"));
        }
        _ => {}
    }
}

/// Clusters that no listener leads to.
fn check_unused(
    t: &Scope<'_>,
    listeners: &BTreeMap<Arc<str>, ReadListener>,
    clusters: &BTreeMap<Arc<str>, Cluster>,
) {
    // What a misread listener would have used is not known.
    if t.reader().has_errors() {
        return;
    }
    let used = used_clusters(listeners.values().map(|read| &read.listener));
    for name in clusters.keys().filter(|name| !used.contains(*name)) {
        let Some(spot) = t.entry_spot("clusters", name) else { continue };
        let finding = Finding::warning(format!("no listener uses the cluster `{name}`"));
        t.reader().push(
            finding
                .at(spot, &format!("clusters.{name}"))
                .hint("name it in a route or a tcp listener, or remove it"),
        );
    }
}

fn used_clusters<'l>(listeners: impl Iterator<Item = &'l Listener>) -> BTreeSet<&'l Arc<str>> {
    let mut used = BTreeSet::new();
    for listener in listeners {
        match &listener.protocol {
            ListenerProtocol::Tcp(tcp) => {
                used.extend(&tcp.cluster);
                used.extend(tcp.sni.iter().map(|route| &route.cluster));
            }
            ListenerProtocol::Http(http) => {
                for route in &http.routes {
                    if let RouteAction::Forward(shares) = &route.action {
                        used.extend(shares.iter().map(|share| &share.cluster));
                    }
                }
            }
            ListenerProtocol::Udp(udp) => {
                used.insert(&udp.cluster);
            }
            ListenerProtocol::Postgres => {}
        }
    }
    used
}
