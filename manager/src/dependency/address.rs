//! Addresses in the environment of a service. Of a value only host and port are looked at;
//! users, passwords and paths are never kept.

use std::net::{IpAddr, SocketAddr};

/// Where something is, as it was written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Address {
    pub(super) host: String,
    pub(super) port: u16,
}

/// Ports of schemes that are usually left out.
const SCHEMES: [(&str, u16); 20] = [
    ("http", 80),
    ("https", 443),
    ("ws", 80),
    ("wss", 443),
    ("postgres", 5432),
    ("postgresql", 5432),
    ("mysql", 3306),
    ("mariadb", 3306),
    ("redis", 6379),
    ("rediss", 6379),
    ("mongodb", 27017),
    ("amqp", 5672),
    ("amqps", 5671),
    ("nats", 4222),
    ("kafka", 9092),
    ("memcached", 11211),
    ("ldap", 389),
    ("smtp", 25),
    ("mqtt", 1883),
    ("clickhouse", 8123),
];

/// Addresses that one value names; several are separated by commas.
pub(super) fn in_value(value: &str) -> Vec<Address> {
    let value = value.trim();
    if let Some((scheme, rest)) = value.split_once("://") {
        let scheme = scheme.to_ascii_lowercase();
        let scheme = scheme.split('+').next().unwrap_or_default();
        let usual = SCHEMES.iter().find(|(name, _)| *name == scheme).map(|(_, port)| *port);
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        // What stands before the last `@` is a user, and may be a password.
        let hosts = authority.rsplit('@').next().unwrap_or_default();
        return hosts.split(',').filter_map(|host| one(host, usual)).collect();
    }
    value.split(',').filter_map(|host| one(host.trim(), None)).collect()
}

/// `host:port`, or `host` where the port is usual.
fn one(text: &str, usual: Option<u16>) -> Option<Address> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some(Address { host: address.ip().to_string(), port: address.port() });
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().ok()?),
        None => (text, usual?),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let named = !host.is_empty()
        && host.len() <= 253
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte))
        // `a:1` may be anything; a host that is not one has no letter, or is an address.
        && (host.bytes().any(|byte| byte.is_ascii_alphabetic()) || host.parse::<IpAddr>().is_ok());
    (named && port != 0).then(|| Address { host: host.to_ascii_lowercase(), port })
}

impl Address {
    /// Whether it leads to this machine.
    pub(super) fn is_local(&self) -> bool {
        self.host == "localhost"
            || self.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback() || ip.is_unspecified())
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_host_and_port_are_taken_out_of_a_value() {
        let cases = [
            ("postgres://app:s3cret@db.internal/app?x=1", vec!["db.internal:5432"]),
            ("postgresql+asyncpg://a:b@127.0.0.1:6432/app", vec!["127.0.0.1:6432"]),
            ("redis://:p@ss@cache:6380/0", vec!["cache:6380"]),
            ("http://[::1]:3000/x", vec!["[::1]:3000"]),
            ("mongodb://a,b:27018/x", vec!["a:27017", "b:27018"]),
            ("localhost:3000", vec!["localhost:3000"]),
            ("kafka-1:9092, kafka-2:9092", vec!["kafka-1:9092", "kafka-2:9092"]),
            ("unknown://host/", vec![]),
            ("production", vec![]),
            ("12:30", vec![]),
            ("a=b:1", vec![]),
            ("/run/x.sock", vec![]),
            ("", vec![]),
        ];
        for (value, expected) in cases {
            let found: Vec<_> = in_value(value).iter().map(ToString::to_string).collect();
            assert_eq!(found, expected, "{value}");
        }
        assert!(in_value("127.1.2.3:1")[0].is_local() && in_value("localhost:1")[0].is_local());
        assert!(!in_value("10.0.0.1:1")[0].is_local());
    }

    proptest! {
        #[test]
        fn a_password_is_never_part_of_what_is_told(
            user in "[a-z]{1,8}", password in "[A-Z!#%]{8,20}", port in 1..u16::MAX,
        ) {
            let value = format!("postgres://{user}:{password}@db:{port}/app");
            for address in in_value(&value) {
                prop_assert!(!address.to_string().contains(&password));
            }
        }

        #[test]
        fn garbage_is_no_panic(value in "\\PC{0,60}") {
            let _ = in_value(&value);
        }
    }
}
