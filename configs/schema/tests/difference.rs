//! What a reload has to touch, and changes made in memory.

use bs9_config::{ChangeError, Config, EndpointAddress, difference, parse_str};

const BASE: &str = "
[listeners.db]
protocol = \"postgres\"
bind = [\"[::1]:1\"]
[listeners.cache]
protocol = \"tcp\"
bind = [\"[::1]:2\"]
cluster = \"redis\"
[clusters.redis]
endpoints = [\"127.0.0.1:1\"]
[postgres.databases.app]
[postgres.users.alice]
password = \"a\"
";

fn parse(text: &str) -> Config {
    parse_str("bs9.toml", text).unwrap_or_else(|report| panic!("{}", report.render(false)))
}

fn changed(from: &str, to: &str) -> String {
    assert!(BASE.contains(from), "{from}");
    difference(&parse(BASE), &parse(&BASE.replace(from, to))).to_string()
}

#[test]
fn names_what_changed() {
    for (from, to, shown) in [
        ("127.0.0.1:1", "127.0.0.1:2", "clusters: ~redis"),
        ("[::1]:2", "[::1]:3", "listeners: ~cache"),
        ("redis", "valkey", "listeners: ~cache; clusters: +valkey -redis"),
        ("listeners.cache", "listeners.other", "listeners: +other -cache"),
        ("\"a\"", "\"b\"", "users: ~alice"),
        ("databases.app", "databases.db", "databases: +db -app"),
        (
            "[postgres.databases.app]",
            "[postgres]\nwait_timeout = \"1s\"\n[postgres.databases.app]",
            "postgres",
        ),
        (
            "[postgres.databases.app]",
            "[postgres]\npool_size = 2\n[postgres.databases.app]",
            "postgres; databases: ~app",
        ),
        (
            "[postgres.databases.app]",
            "[admin]\nlisten = \"[::1]:9\"\n[postgres.databases.app]",
            "admin",
        ),
        (
            "[clusters.redis]",
            "[runtime]\npin = false\nshards = 2\n[clusters.redis]",
            "runtime: shards, pin (needs a new process)",
        ),
    ] {
        assert_eq!(changed(from, to), shown);
    }
}

#[test]
fn equal_configurations_do_not_differ() {
    let reordered = parse(&format!("# a comment\n{BASE}"));
    let found = difference(&parse(BASE), &reordered);
    assert!(found.is_empty() && !found.needs_new_process());
    assert_eq!(found.to_string(), "no change");
}

#[test]
fn changes_in_memory() {
    let config = parse(BASE);
    let old: EndpointAddress = "127.0.0.1:1".parse().expect("an address");
    let new: EndpointAddress = "cache.internal:1".parse().expect("an address");
    let more = config.with_endpoint("redis", &new, 3).expect("a new endpoint");
    let weighted = more.with_weight("redis", &old, 0).expect("a known endpoint");
    let weights: Vec<_> = weighted.clusters["redis"].endpoints.iter().map(|e| e.weight).collect();
    assert_eq!(weights, [0, 3]);
    let disabled = weighted.with_disabled("redis", &new, true).expect("a known endpoint");
    let states: Vec<_> = disabled.clusters["redis"].endpoints.iter().map(|e| e.disabled).collect();
    assert_eq!(states, [false, true]);
    assert_eq!(difference(&weighted, &disabled).to_string(), "clusters: ~redis");
    let enabled = disabled.with_disabled("redis", &new, false).expect("a known endpoint");
    assert!(difference(&weighted, &enabled).is_empty());
    let less = weighted.without_endpoint("redis", &old).expect("a known endpoint");
    assert_eq!(less.clusters["redis"].endpoints.len(), 1);
    assert_eq!(difference(&config, &less).to_string(), "clusters: ~redis");

    assert!(matches!(
        more.with_endpoint("redis", &new, 1),
        Err(ChangeError::EndpointExists { .. })
    ));
    assert!(matches!(
        config.with_weight("redis", &new, 1),
        Err(ChangeError::UnknownEndpoint { .. })
    ));
    assert!(matches!(
        config.with_disabled("redis", &new, true),
        Err(ChangeError::UnknownEndpoint { .. })
    ));
    let unknown = config.without_endpoint("reddis", &old).expect_err("no such cluster");
    assert_eq!(unknown.to_string(), "there is no cluster `reddis`; did you mean `redis`?");
}
