//! `[clusters.NAME]`.

use std::sync::Arc;

use super::{
    DAY, MILLISECOND,
    balancing::{
        MAX_CONNECT_TIMEOUT, MAX_HASHED_ENDPOINTS, MAX_SLOW_START, MIN_SLOW_START, balance, hash,
        outliers, queue, sticky,
    },
    endpoint::{check_unique, endpoint, zone_name},
    health_check::health_check,
    tls::cluster_tls,
    upstream::{Spoken, offer, spoken},
};
use crate::{
    model::{Balance, Cluster, Endpoint, HashKey, ProxyProtocol, Sticky},
    raw::Value,
    read::{Key, Located, Scope, Word, duration, float, integer, list, located, table, words},
    report::Finding,
};

const PROXY_PROTOCOLS: &[Word<ProxyProtocol>] = &[
    Word::is("v1", ProxyProtocol::V1, "A line of text."),
    Word::is("v2", ProxyProtocol::V2, "Binary."),
];

/// How an endpoint is picked.
struct Picking {
    balance: Balance,
    hash: HashKey,
    sticky: Option<Sticky>,
    zone: Option<Arc<str>>,
    failover_below: f64,
    panic_threshold: f64,
    slow_start: Option<std::time::Duration>,
}

pub(super) fn cluster(t: &mut Scope<'_>, name: Arc<str>) -> Option<Cluster> {
    let picking = picking(t);
    let endpoints = t.or(
        Key::new("endpoints", "The addresses that serve this: `\"ip:port\"`, `\"name:port\"` (resolved again as it changes), `\"unix:/path\"`, or `{ address = …, weight = … }`. May be empty: requests are then answered 503."),
        list(located(endpoint())),
        Value::List(Vec::new()),
    );
    let health_check = t.optional(
        Key::new(
            "health_check",
            "Active probing; `{}` takes every default. Absent: every endpoint counts as healthy.",
        ),
        table(health_check),
    );
    let outliers = t.optional(
        Key::new("outlier_detection", "Takes endpoints out that fail live traffic; `{}` takes every default. Absent: they stay in."),
        table(outliers),
    );
    let connect_timeout = t.or(
        Key::new("connect_timeout", "Limit for establishing one upstream connection."),
        duration(MILLISECOND..=MAX_CONNECT_TIMEOUT),
        "5s",
    );
    let idle_timeout = t.or(
        Key::new(
            "idle_timeout",
            "How long an upstream connection may stay idle before it is closed.",
        ),
        duration(MILLISECOND..=DAY),
        "60s",
    );
    let max_idle_connections = t.or(
        Key::new(
            "max_idle_connections",
            "Idle upstream connections kept for each endpoint and shard: as many as requests were under way at once need not be made again.",
        ),
        integer(0..=100_000),
        1024,
    );
    let max_connections = t.optional(
        Key::new(
            "max_connections",
            "Requests (HTTP) or connections (TCP) of each endpoint at once, over all shards. Idle connections kept for reuse come on top. Absent: no limit.",
        ),
        integer(1..=10_000_000),
    );
    let queue = t.optional(
        Key::new("queue", "Where HTTP requests wait when every endpoint is at `max_connections`; `{}` takes every default. Absent: they are answered 503 at once."),
        table(queue),
    );
    let spoken = spoken(t);
    let mut tls = t.optional(
        Key::new("tls", "TLS towards the endpoints, health checks included: `true`, or a table. Absent: plaintext."),
        cluster_tls(),
    );
    let proxy_protocol = t.optional(
        Key::new("proxy_protocol", "Connections to endpoints begin with a header of the PROXY protocol that says who the client is. Each carries one client's request or connection then, and is not kept."),
        words(PROXY_PROTOCOLS),
    );
    // What was meant to be encrypted, or to be probed, must not go without.
    let misread = (t.has("tls") && tls.is_none()) || (t.has("sticky") && picking.is_none());
    check_unique(t, &endpoints);
    if queue.is_some() && !t.has("max_connections") {
        unused(t, "queue", "without `max_connections`", "add the limit that requests wait at");
    }
    let (picking, Spoken { protocol, http2 }) = (picking?, spoken?);
    // A mistake in `tls` has been reported.
    if !misread {
        offer(t, protocol, tls.as_mut().and_then(Option::as_mut));
    }
    check_picking(t, &picking, &endpoints);
    let Picking { balance, hash, sticky, zone, failover_below, panic_threshold, slow_start } =
        picking;
    (!misread).then_some(Cluster {
        name,
        balance,
        hash,
        sticky,
        endpoints: endpoints.into_iter().map(|endpoint| endpoint.value).collect(),
        zone,
        failover_below,
        panic_threshold,
        slow_start,
        health_check,
        outliers,
        connect_timeout,
        idle_timeout,
        max_idle_connections: if proxy_protocol.is_some() { 0 } else { max_idle_connections },
        max_connections,
        queue,
        protocol,
        http2,
        tls: tls.flatten().map(Arc::new),
        proxy_protocol,
    })
}

/// `None`: a mistake that has been reported.
fn picking(t: &mut Scope<'_>) -> Option<Picking> {
    let balance = t.or(Key::new("balance", "How an endpoint is picked."), balance(), "p2c");
    let hash = t.optional(
        Key::new("hash", "What decides with `maglev` and `ring-hash`: `\"source\"` (the client's address; with TCP the only one), `\"path\"`, `{ header = \"…\" }` or `{ cookie = \"…\" }`. Absent: `\"source\"`."),
        hash(),
    );
    let sticky = t.optional(
        Key::new("sticky", "Keeps a client of HTTP with the endpoint that answered it first, by a cookie, for as long as that endpoint takes traffic: `true`, or a table."),
        sticky(),
    );
    let zone = t.optional(
        Key::new("zone", "Where this instance stands: endpoints of the same `zone` are preferred while enough of them are available (`failover_below`)."),
        zone_name(),
    );
    let failover_below = t.or(
        Key::new("failover_below", "Share of a group's weight that has to be available for the group to be used: the endpoints of one `priority`, or of the zone. 0: one endpoint is enough."),
        float(0.0..=1.0),
        0.0,
    );
    let panic_threshold = t.or(
        Key::new("panic_threshold", "When less than this share of all endpoints is available, health is disregarded and traffic goes to all: better some that fail than a few that break down. 0: never."),
        float(0.0..=1.0),
        0.0,
    );
    let slow_start = t.optional(
        Key::new("slow_start", "How long the share of an endpoint that has come, or come back, takes to grow to what its weight says; begins at a tenth. Absent: at once."),
        duration(MIN_SLOW_START..=MAX_SLOW_START),
    );
    let misread = (t.has("hash") && hash.is_none()) || (t.has("sticky") && sticky.is_none());
    if t.has("hash") && !balance.is_consistent() {
        unused(t, "hash", "with this `balance`", "use \"maglev\" or \"ring-hash\", or remove it");
    }
    (!misread).then(|| Picking {
        balance,
        hash: hash.unwrap_or_default(),
        sticky: sticky.flatten(),
        zone,
        failover_below,
        panic_threshold,
        slow_start,
    })
}

fn check_picking(t: &Scope<'_>, picking: &Picking, endpoints: &[Located<Endpoint>]) {
    let hashed = picking.balance.is_consistent();
    if let Some(zone) = &picking.zone
        && !endpoints.is_empty()
        && !endpoints.iter().any(|endpoint| endpoint.value.zone.as_ref() == Some(zone))
    {
        let spot = t.key_spot("zone").unwrap_or(t.spot());
        let finding = Finding::warning(format!("no endpoint stands in the zone `{zone}`"));
        t.reader().push(
            finding.at(spot, &t.path_of("zone")).hint("write { address = …, zone = … } for some"),
        );
    }
    if hashed && picking.slow_start.is_some() {
        unused(t, "slow_start", "with this `balance`", "a hash decides, not a share; remove it");
    }
    if hashed && endpoints.len() > MAX_HASHED_ENDPOINTS {
        let spot = t.key_spot("endpoints").unwrap_or(t.spot());
        let message = format!("a hash chooses among {MAX_HASHED_ENDPOINTS} endpoints at most");
        t.reader().push(Finding::error(message).at(spot, &t.path_of("endpoints")));
    }
}

pub(super) fn unused(t: &Scope<'_>, name: &str, why: &str, hint: &str) {
    let spot = t.key_spot(name).unwrap_or(t.spot());
    let finding = Finding::error(format!("`{name}` has no meaning {why}"));
    t.reader().push(finding.at(spot, &t.path_of(name)).hint(hint));
}
