//! Where a client is, when proxies stand in between.
//!
//! `X-Forwarded-For` and `Forwarded` (RFC 7239) grow at their end: each proxy adds whom it was
//! asked by. So they are read from there, as long as who added an element is trusted; what a
//! client sent itself lies before, and is never reached.

use std::net::{IpAddr, SocketAddr};

use bs9_net::Gate;

/// Who asked, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Source<'a> {
    /// `None`: a unix socket's, or the proxy that would know it does not say.
    pub(crate) address: Option<IpAddr>,
    /// What the client spoke, where `Forwarded` says so.
    pub(crate) proto: Option<&'a str>,
    /// The host it asked for, likewise.
    pub(crate) host: Option<&'a str>,
}

/// The client by `X-Forwarded-For`. `values` are those of all its fields, in order; `peer` is the
/// trusted proxy that sent them.
pub(crate) fn by_x_forwarded_for<'a>(
    gate: &Gate,
    peer: Option<IpAddr>,
    values: impl DoubleEndedIterator<Item = &'a [u8]>,
) -> Option<IpAddr> {
    let elements = values.rev().flat_map(|value| value.rsplit(|byte| *byte == b','));
    let mut client = peer;
    for element in elements {
        let Some(address) = text(element).and_then(address_of) else { break };
        client = Some(address);
        if !gate.trusts_address(address) {
            break;
        }
    }
    client
}

/// The client by `Forwarded`, likewise.
pub(crate) fn by_forwarded<'a>(
    gate: &Gate,
    peer: Option<IpAddr>,
    values: impl DoubleEndedIterator<Item = &'a [u8]>,
) -> Source<'a> {
    let mut source = Source { address: peer, proto: None, host: None };
    for value in values.rev() {
        // Elements are told apart from the front, where quotes begin.
        let Some(elements) = split(value, b',') else { return source };
        for element in elements.iter().rev() {
            let Some(stated) = element_of(element) else { return source };
            let Some(address) = stated.address else { return source };
            source = stated;
            if !gate.trusts_address(address) {
                return source;
            }
        }
    }
    source
}

/// The parameters of one element; `None`: it is malformed.
fn element_of(element: &[u8]) -> Option<Source<'_>> {
    let mut source = Source { address: None, proto: None, host: None };
    for pair in split(element, b';')? {
        let pair = pair.trim_ascii();
        if pair.is_empty() {
            continue;
        }
        let at = pair.iter().position(|byte| *byte == b'=')?;
        let (name, value) = (&pair[..at], unquoted(&pair[at + 1..])?);
        match name {
            _ if name.eq_ignore_ascii_case(b"for") => source.address = address_of(value),
            _ if name.eq_ignore_ascii_case(b"proto") => {
                source.proto = Some(value).filter(|proto| matches!(*proto, "http" | "https"));
            }
            _ if name.eq_ignore_ascii_case(b"host") => {
                let plain =
                    |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b',' | b';');
                source.host =
                    Some(value).filter(|host| !host.is_empty() && host.bytes().all(plain));
            }
            _ => {}
        }
    }
    Some(source)
}

/// A token, or what a quoted string holds; `None` when its quotes do not fit, or it has escapes,
/// which neither addresses nor names need.
fn unquoted(value: &[u8]) -> Option<&str> {
    let value = match value.strip_prefix(b"\"") {
        Some(inside) => inside.strip_suffix(b"\"")?,
        None => value,
    };
    if value.iter().any(|byte| matches!(byte, b'"' | b'\\')) {
        return None;
    }
    std::str::from_utf8(value).ok()
}

/// Splits at a byte outside of quotes; `None` when a quote does not end.
fn split(value: &[u8], at: u8) -> Option<Vec<&[u8]>> {
    let mut parts = Vec::new();
    let (mut start, mut quoted, mut escaped) = (0, false, false);
    for (position, &byte) in value.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if byte == at && !quoted => {
                parts.push(&value[start..position]);
                start = position + 1;
            }
            _ => {}
        }
    }
    parts.push(&value[start..]);
    (!quoted).then_some(parts)
}

fn text(element: &[u8]) -> Option<&str> {
    std::str::from_utf8(element.trim_ascii()).ok()
}

/// An address with or without a port, in brackets where it is IPv6 and has one. `unknown` and
/// made-up names are none.
fn address_of(node: &str) -> Option<IpAddr> {
    let parsed = node.parse::<IpAddr>().ok();
    let parsed = parsed.or_else(|| node.parse::<SocketAddr>().ok().map(|address| address.ip()));
    let bracketed = || node.strip_prefix('[')?.strip_suffix(']')?.parse::<IpAddr>().ok();
    parsed.or_else(bracketed).map(|address| address.to_canonical())
}

/// An element of `Forwarded` for one more hop (RFC 7239 section 4).
pub(crate) fn element(peer: Option<IpAddr>, host: Option<&str>, proto: &str) -> String {
    let node = match peer {
        Some(IpAddr::V4(v4)) => format!("for={v4}"),
        Some(IpAddr::V6(v6)) => format!("for=\"[{v6}]\""),
        None => "for=unknown".to_owned(),
    };
    // Of a host that came through the parser no byte could end the quotes.
    let host = host.map(|host| format!(";host=\"{host}\"")).unwrap_or_default();
    format!("{node}{host};proto={proto}")
}

#[cfg(test)]
mod tests {
    use bs9_config::{Admission, Network, TrustedProxies};
    use proptest::prelude::*;

    use super::*;

    fn gate() -> Gate {
        let network = |text: &str, bits| Network::new(text.parse().unwrap(), bits).unwrap();
        let networks = vec![network("10.0.0.0", 8), network("fd00::", 8)];
        Gate::compile(&Admission {
            trusted_proxies: TrustedProxies { networks, unix: true },
            ..Admission::default()
        })
        .unwrap()
    }

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    fn x_forwarded_for(values: &[&str]) -> Option<IpAddr> {
        by_x_forwarded_for(&gate(), ip("10.0.0.1"), values.iter().map(|value| value.as_bytes()))
    }

    fn forwarded<'a>(values: &'a [&'a str]) -> Source<'a> {
        by_forwarded(&gate(), ip("10.0.0.1"), values.iter().map(|value| value.as_bytes()))
    }

    #[test]
    fn the_client_is_the_last_one_that_is_not_trusted() {
        for (values, client) in [
            (&[][..], "10.0.0.1"),
            (&["192.0.2.1"], "192.0.2.1"),
            // What the client itself sent lies before what the proxy saw.
            (&["6.6.6.6, 192.0.2.1"], "192.0.2.1"),
            (&["6.6.6.6", "192.0.2.1"], "192.0.2.1"),
            (&["6.6.6.6, 10.9.9.9, 192.0.2.1 , 10.0.0.7"], "192.0.2.1"),
            (&["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            (&["192.0.2.1, unknown, 10.0.0.2"], "10.0.0.2"),
            (&["192.0.2.1, "], "10.0.0.1"),
            (&["192.0.2.1:4711"], "192.0.2.1"),
            (&["[2001:db8::1]:80, fd00::1"], "2001:db8::1"),
            (&["[2001:db8::1]"], "2001:db8::1"),
            (&["::ffff:192.0.2.1"], "192.0.2.1"),
            (&["<script>"], "10.0.0.1"),
        ] {
            assert_eq!(x_forwarded_for(values), ip(client), "{values:?}");
        }
    }

    #[test]
    fn forwarded_is_read_from_its_end_too() {
        for (values, client) in [
            (&["for=192.0.2.1"][..], "192.0.2.1"),
            (&["for=6.6.6.6, For=\"192.0.2.1:99\";proto=https"], "192.0.2.1"),
            (&["for=6.6.6.6", "for=192.0.2.1, for=10.0.0.2"], "192.0.2.1"),
            (&["for=\"[2001:db8::1]:80\", for=\"[fd00::1]\""], "2001:db8::1"),
            (&["for=192.0.2.1, for=_hidden, for=10.0.0.2"], "10.0.0.2"),
            (&["for=192.0.2.1, by=10.0.0.2"], "10.0.0.1"),
            // Quotes of the client's that would swallow what the proxy added.
            (&["for=6.6.6.6;x=\", for=192.0.2.1"], "10.0.0.1"),
            (&["x=\"\\\", for=192.0.2.1"], "10.0.0.1"),
            (&["x=\"a,b\", for=192.0.2.1"], "192.0.2.1"),
            (&["nonsense, for=192.0.2.1"], "192.0.2.1"),
            (&["for=192.0.2.1, nonsense"], "10.0.0.1"),
        ] {
            assert_eq!(forwarded(values).address, ip(client), "{values:?}");
        }
        let source =
            forwarded(&["for=6.6.6.6;proto=http, for=192.0.2.1;proto=https;host=\"a.test\""]);
        assert_eq!((source.proto, source.host), (Some("https"), Some("a.test")));
    }

    #[test]
    fn an_element_is_read_back() {
        for address in [ip("192.0.2.1"), ip("2001:db8::1")] {
            let element = element(address, Some("a.test:80"), "https");
            let expected = Source { address, proto: Some("https"), host: Some("a.test:80") };
            assert_eq!(element_of(element.as_bytes()), Some(expected));
        }
        assert_eq!(element(None, None, "http"), "for=unknown;proto=http");
    }

    proptest! {
        /// Whatever a client sends before it, the element that the trusted proxy added decides.
        #[test]
        fn nothing_a_client_sends_hides_what_a_proxy_adds(sent in "[ -~]{0,60}", spoofed in any::<std::net::Ipv4Addr>()) {
            let joined = format!("{sent}, {spoofed}, 192.0.2.1");
            prop_assert_eq!(x_forwarded_for(&[&joined]), ip("192.0.2.1"));
            prop_assert_eq!(x_forwarded_for(&[&sent, "192.0.2.1"]), ip("192.0.2.1"));
            prop_assert_eq!(forwarded(&[&sent, "for=192.0.2.1"]).address, ip("192.0.2.1"));
            let joined = format!("{sent}, for=192.0.2.1");
            let address = forwarded(&[&joined]).address;
            // Or nobody is believed.
            prop_assert!(address == ip("192.0.2.1") || address == ip("10.0.0.1"), "{:?}", address);
        }
    }
}
