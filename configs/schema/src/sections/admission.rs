//! Who may connect to a listener, and who is believed about clients.

use std::{net::IpAddr, path::Path};

use super::{MILLISECOND, MINUTE, SECOND, listener::Protocol};
use crate::{
    model::{Admission, Network, ProxyProtocolIn, TrustedProxies},
    read::{Fault, Format, Key, Scope, boolean, duration, either, list, table, text},
    report::Finding,
};

/// What networks look like.
const NETWORK: &str = "a network (\"10.0.0.0/8\") or an address";

/// One entry of `trusted_proxies`.
#[derive(Clone, Copy)]
enum Trusted {
    Network(Network),
    Unix,
}

/// Networks, at least one.
pub(super) fn networks() -> impl Format<Output = Vec<Network>> {
    list(text(NETWORK, None, network)).not_empty()
}

/// `allow`, `deny`, `trusted_proxies`, `proxy_protocol`.
pub(super) fn admission(t: &mut Scope<'_>, protocol: Option<Protocol>) -> Admission {
    let allow = t.optional(
        Key::new("allow", "Clients that may come, by address: `[\"10.0.0.0/8\", \"2001:db8::/32\", \"192.0.2.1\"]`. Others are closed at once; behind a trusted proxy of an http listener, their requests are answered 403. Absent: all. Clients of unix sockets are not asked."),
        networks(),
    );
    let deny = t.optional(
        Key::new("deny", "Clients that may not come, likewise; also those that `allow` has."),
        networks(),
    );
    let trusted = t.optional(
        Key::new("trusted_proxies", "Proxies that are believed about where a client is, by address, and `\"unix\"` for everybody who connects to a unix socket. With http, `forwarded_field` is read from its end up to the first address that is not in this list: that is the client's, for logs, balancing, `allow` and `deny`. See also `proxy_protocol`.").only(&["http", "tcp", "postgres"]),
        list(text("a network (\"10.0.0.0/8\"), an address or \"unix\"", None, trusted_proxy)).not_empty(),
    );
    let proxy_protocol = t.optional(
        Key::new("proxy_protocol", "Connections from `trusted_proxies` begin with a header of the PROXY protocol, version 1 or 2: `true`, or `{ timeout = \"5s\" }`. Those from elsewhere are clients themselves.").only(&["http", "tcp", "postgres"]),
        proxy_protocol(),
    );
    let proxy_protocol = proxy_protocol.flatten();
    if let (Some(_), None, Some(spot)) = (proxy_protocol, &trusted, t.key_spot("proxy_protocol"))
        && !t.has("trusted_proxies")
    {
        t.reader().missing(
            Finding::error("`proxy_protocol` without `trusted_proxies`: nobody would be believed")
                .at(spot, &t.path_of("proxy_protocol"))
                .hint("add `trusted_proxies` with the addresses of the proxies in front"),
        );
    }
    let says_nothing = matches!(protocol, Some(Protocol::Tcp | Protocol::Postgres));
    if let (true, None, Some(_), Some(spot)) =
        (says_nothing, proxy_protocol, &trusted, t.key_spot("trusted_proxies"))
    {
        t.reader().push(
            Finding::error("`trusted_proxies` without `proxy_protocol`: they could say nothing")
                .at(spot, &t.path_of("trusted_proxies"))
                .hint("add `proxy_protocol = true`, or use `allow`"),
        );
    }
    let mut proxies = TrustedProxies::default();
    for one in trusted.unwrap_or_default() {
        match one {
            Trusted::Network(network) => proxies.networks.push(network),
            Trusted::Unix => proxies.unix = true,
        }
    }
    // A list that was misread must not let everybody in; there is an error then.
    Admission { allow, deny: deny.unwrap_or_default(), trusted_proxies: proxies, proxy_protocol }
}

fn proxy_protocol() -> impl Format<Output = Option<ProxyProtocolIn>> {
    let switch = boolean().map(|on| on.then_some(ProxyProtocolIn { timeout: 5 * SECOND }));
    let spelled = table(|t: &mut Scope<'_>| {
        let timeout = t.or(
            Key::new("timeout", "For the header to arrive; then the connection is closed."),
            duration(MILLISECOND..=5 * MINUTE),
            "5s",
        );
        Some(ProxyProtocolIn { timeout })
    });
    either(switch, spelled.map(Some))
}

fn trusted_proxy(text: &str, folder: &Path) -> Result<Trusted, Fault> {
    match text {
        "unix" => Ok(Trusted::Unix),
        text => network(text, folder).map(Trusted::Network),
    }
}

/// `address/bits`, or an address alone.
fn network(text: &str, _folder: &Path) -> Result<Network, Fault> {
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let Ok(address) = address.parse::<IpAddr>() else {
        return Err(Fault::new(format!("`{text}` is not a network"))
            .hint("write an address and the number of its bits that count, as in \"10.0.0.0/8\""));
    };
    let bits = if address.is_ipv4() { 32 } else { 128 };
    let prefix = match prefix {
        None => bits,
        Some(digits) => digits
            .parse()
            .ok()
            .filter(|prefix| *prefix <= bits)
            .ok_or_else(|| Fault::new(format!("`{text}`: the number of bits is 0 to {bits}")))?,
    };
    Network::new(address, prefix).ok_or_else(|| {
        let network = Network::containing(address, prefix);
        Fault::new(format!("`{text}` has bits set behind the first {prefix}"))
            .hint(network.map_or_else(String::new, |network| format!("write \"{network}\"")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Network, Fault> {
        network(text, Path::new(""))
    }

    #[test]
    fn networks_have_a_first_and_a_last_address() {
        for (text, first, last) in [
            ("10.0.0.0/8", "10.0.0.0", "10.255.255.255"),
            ("192.0.2.1", "192.0.2.1", "192.0.2.1"),
            ("0.0.0.0/0", "0.0.0.0", "255.255.255.255"),
            ("2001:db8::/32", "2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("::/0", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ] {
            let network = read(text).expect(text);
            assert_eq!(network.first().to_string(), first);
            assert_eq!(network.last().to_string(), last);
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in [
            "",
            "10.0.0.0/33",
            "10.0.0.1/8",
            "::1/129",
            "10.0.0/8",
            "a/8",
            "10.0.0.0/-1",
            "10.0.0.0/",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
