//! `[clusters.NAME]`.

use std::{collections::HashMap, sync::Arc};

use super::{DAY, HOUR, MILLISECOND, MINUTE, tls::cluster_tls};
use crate::{
    address,
    model::{Balance, Cluster, Endpoint, EndpointAddress, HealthCheck, Probe},
    raw::Value,
    read::{
        Fault, Format, Key, Located, Scope, Word, duration, either, integer, list, located, table,
        text, words,
    },
    report::Finding,
};

const BALANCES: &[Word<Balance>] = &[
    Word::is("p2c", Balance::P2c, "The less loaded of two random endpoints."),
    Word::is("round-robin", Balance::RoundRobin, "In turn."),
    Word::is(
        "weighted-round-robin",
        Balance::WeightedRoundRobin,
        "In turn by weight, interleaved smoothly.",
    ),
    Word::is(
        "least-connections",
        Balance::LeastConnections,
        "Fewest open connections (requests, for HTTP) relative to weight.",
    ),
    Word::is("random", Balance::Random, "At random, by weight."),
    Word::unsupported("peak-ewma", "Lowest expected latency."),
    Word::unsupported("maglev", "Consistent hashing by a lookup table."),
    Word::unsupported("ring-hash", "Consistent hashing on a ring."),
];

/// What `endpoints` entries look like.
const ADDRESS: &str = "an address (\"host:port\" or \"unix:/path\")";

pub(super) fn cluster(t: &mut Scope<'_>, name: Arc<str>) -> Option<Cluster> {
    let balance = t.or(Key::new("balance", "How an endpoint is picked."), words(BALANCES), "p2c");
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
    let connect_timeout = t.or(
        Key::new("connect_timeout", "Limit for establishing one upstream connection."),
        duration(MILLISECOND..=5 * MINUTE),
        "5s",
    );
    let idle_timeout = t.or(
        Key::new(
            "idle_timeout",
            "How long an upstream connection may stay idle before it is closed.",
        ),
        duration(MILLISECOND..=24 * HOUR),
        "60s",
    );
    let max_idle_connections = t.or(
        Key::new(
            "max_idle_connections",
            "Idle upstream connections kept for each endpoint and shard.",
        ),
        integer(0..=100_000),
        256,
    );
    let max_connections = t.optional(
        Key::new(
            "max_connections",
            "Upstream connections of each endpoint at once, over all shards. Absent: no limit.",
        ),
        integer(1..=10_000_000),
    );
    let tls = t.optional(
        Key::new("tls", "TLS towards the endpoints, health checks included: `true`, or a table. Absent: plaintext."),
        cluster_tls(),
    );
    // What was meant to be encrypted must not go out in the clear.
    let misread = t.has("tls") && tls.is_none();
    unique(t, &endpoints);
    (!misread).then_some(Cluster {
        name,
        balance,
        endpoints: endpoints.into_iter().map(|endpoint| endpoint.value).collect(),
        health_check,
        connect_timeout,
        idle_timeout,
        max_idle_connections,
        max_connections,
        tls: tls.flatten().map(Arc::new),
    })
}

fn endpoint() -> impl Format<Output = Endpoint> {
    let bare =
        text(ADDRESS, None, address::endpoint).map(|address| Endpoint { address, weight: 1 });
    either(bare, table(weighted_endpoint))
}

fn weighted_endpoint(t: &mut Scope<'_>) -> Option<Endpoint> {
    let address =
        t.required(Key::new("address", "Where it is."), text(ADDRESS, None, address::endpoint));
    let weight = t.or(
        Key::new(
            "weight",
            "Its share of the traffic, relative to the others. 0 takes no new traffic.",
        ),
        integer(0..=65_535),
        1,
    );
    Some(Endpoint { address: address?, weight })
}

fn unique(t: &Scope<'_>, endpoints: &[Located<Endpoint>]) {
    let mut seen: HashMap<&EndpointAddress, _> = HashMap::with_capacity(endpoints.len());
    for endpoint in endpoints {
        let address = &endpoint.value.address;
        if let Some(first) = seen.insert(address, endpoint.spot) {
            t.reader().push(
                Finding::error(format!("the endpoint `{address}` is given twice"))
                    .at(endpoint.spot, &endpoint.path)
                    .related(first, "first given here")
                    .hint("to send it more traffic, give it a weight"),
            );
        }
    }
}

fn health_check(t: &mut Scope<'_>) -> Option<HealthCheck> {
    let path: Option<Arc<str>> = t.optional(
        Key::new("path", "Makes it an HTTP check: `GET` of this path has to be answered with a 2xx or 3xx status. Absent: a connection has to be accepted."),
        text("a path such as \"/healthz\"", Some("^/[!-~]*$"), |path: &str, _| {
            let visible = path.bytes().all(|b| b.is_ascii_graphic());
            match path.strip_prefix('/') {
                Some(_) if visible => Ok(Arc::from(path)),
                Some(_) => Err(Fault::new("a request target has visible ASCII only").hint("percent-encode the rest")),
                None => Err(Fault::new(format!("`{path}` does not start with /")).hint(format!("write \"/{path}\""))),
            }
        }),
    );
    let host: Option<Arc<str>> = t.optional(
        Key::new("host", "`Host` header of an HTTP check. Absent: the endpoint's address."),
        text("a host", Some("^[!-~]+$"), |host: &str, _| match host {
            "" => Err(Fault::new("the host is empty")),
            host if host.bytes().all(|b| b.is_ascii_graphic()) => Ok(Arc::from(host)),
            _ => Err(Fault::new("a host has visible ASCII only")),
        }),
    );
    let interval = t.or(
        Key::new("interval", "Between the starts of two probes of an endpoint."),
        duration(100 * MILLISECOND..=DAY),
        "5s",
    );
    let timeout = t.or(
        Key::new("timeout", "Limit of one probe; at most `interval`."),
        duration(MILLISECOND..=DAY),
        "1s",
    );
    let healthy_after = t.or(
        Key::new(
            "healthy_after",
            "Successes in a row until an endpoint counts as healthy (\"rise\").",
        ),
        integer(1..=1_000),
        2,
    );
    let unhealthy_after = t.or(
        Key::new(
            "unhealthy_after",
            "Failures in a row until an endpoint counts as unhealthy (\"fall\").",
        ),
        integer(1..=1_000),
        3,
    );
    if timeout > interval {
        let (name, spot) = match t.key_spot("timeout") {
            Some(spot) => ("timeout", spot),
            None => ("interval", t.key_spot("interval").unwrap_or(t.spot())),
        };
        let shown = crate::unit::format_duration;
        t.reader().push(
            Finding::error(format!(
                "a probe's timeout ({}) is longer than the interval ({})",
                shown(timeout),
                shown(interval)
            ))
            .at(spot, &t.path_of(name))
            .hint("a probe ends before the next one starts"),
        );
    }
    let probe = match (path, host) {
        (Some(path), host) => Probe::Http { path, host },
        (None, None) => Probe::Tcp,
        (None, Some(_)) => {
            let spot = t.key_spot("host").unwrap_or(t.spot());
            let finding =
                Finding::error("`host` has no meaning without `path`").at(spot, &t.path_of("host"));
            t.reader().missing(finding.hint("add `path` to make it an HTTP check"));
            return None;
        }
    };
    Some(HealthCheck { probe, interval, timeout, healthy_after, unhealthy_after })
}
