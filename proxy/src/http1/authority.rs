//! `Host` values and the authority of a request target.

use std::net::Ipv6Addr;

/// Longest host, as in DNS.
const MAX_HOST_BYTES: usize = 255;

/// Whether `text` is `uri-host [":" port]` with a host that is not empty (RFC 9110 sections 4.2.1
/// and 7.2, RFC 3986 section 3.2.2). User information is refused (RFC 9110 section 4.2.4), and so
/// are zone ids and IPvFuture.
#[inline]
pub(crate) fn is_valid(text: &[u8]) -> bool {
    let host_len = text.iter().position(|byte| !is_name_byte(*byte)).unwrap_or(text.len());
    match text.get(host_len) {
        None => host_len > 0 && host_len <= MAX_HOST_BYTES,
        Some(b':') => host_len > 0 && host_len <= MAX_HOST_BYTES && is_port(&text[host_len + 1..]),
        Some(b'[' | b'%') => is_unusual(text),
        Some(_) => false,
    }
}

/// Hosts that are no plain names: IPv6 addresses and names with percent-encoded bytes.
#[cold]
fn is_unusual(text: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(text) else {
        return false;
    };
    let (host, port) = split_port(text);
    port.is_none_or(|port| is_port(port.as_bytes()))
        && (is_ip_literal(host) || is_encoded_name(host.as_bytes()))
}

/// Splits off the port, without the colon. `[::1]` keeps its brackets.
pub(crate) fn split_port(text: &str) -> (&str, Option<&str>) {
    let search_from = text.rfind(']').map_or(0, |bracket| bracket + 1);
    match text[search_from..].find(':') {
        Some(colon) => (&text[..search_from + colon], Some(&text[search_from + colon + 1..])),
        None => (text, None),
    }
}

/// Digits up to 65535, or nothing: the grammar has `port = *DIGIT`.
#[inline]
fn is_port(port: &[u8]) -> bool {
    let number =
        |port: &[u8]| port.iter().fold(0, |number, byte| number * 10 + u32::from(byte & 0xf));
    port.len() <= 5 && port.iter().all(u8::is_ascii_digit) && number(port) <= 65_535
}

fn is_ip_literal(host: &str) -> bool {
    host.strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .is_some_and(|address| address.parse::<Ipv6Addr>().is_ok())
}

/// `reg-name`, which an IPv4 address is, too.
fn is_encoded_name(name: &[u8]) -> bool {
    let encoded = |at: usize| {
        name.get(at + 1..at + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit))
    };
    !name.is_empty()
        && name.len() <= MAX_HOST_BYTES
        && name
            .iter()
            .enumerate()
            .all(|(at, byte)| is_name_byte(*byte) || (*byte == b'%' && encoded(at)))
}

/// `unreserved / sub-delims` of RFC 3986.
#[inline]
const fn is_name_byte(byte: u8) -> bool {
    const TABLE: [bool; 256] = {
        let special = b"-._~!$&'()*+,;=";
        let mut table = [false; 256];
        let mut at = 0;
        while at < special.len() {
            table[special[at] as usize] = true;
            at += 1;
        }
        let mut byte = 0;
        while byte < 128 {
            if (byte as u8).is_ascii_alphanumeric() {
                table[byte] = true;
            }
            byte += 1;
        }
        table
    };
    TABLE[byte as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities_follow_the_grammar() {
        let valid = [
            "a",
            "example.com",
            "example.com:80",
            "example.com:",
            "127.0.0.1:65535",
            "[::1]",
            "[::1]:8080",
            "a_b.c",
            "a%41",
            "xn--bcher-kva.example",
            "EXAMPLE.com.",
            "a,b",
        ];
        for text in valid {
            assert!(is_valid(text.as_bytes()), "{text}");
        }
        let long = "a".repeat(256);
        let invalid = [
            "",
            ":80",
            "a:b",
            "a:80:80",
            "a:65536",
            "a:000080",
            "a:-1",
            "user@a",
            "u:p@a",
            "a b",
            "a/b",
            "a?b",
            "a#b",
            "::1",
            "[::1",
            "::1]",
            "[::1]x",
            "[::1%eth0]",
            "[v1.a]",
            "[]",
            "a%4",
            "a%zz",
            "a\\b",
            "<a>",
            "a\"",
            "é.example",
            "a\t",
            &long,
        ];
        for text in invalid {
            assert!(!is_valid(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn ports_are_split_off_after_brackets_only() {
        assert_eq!(split_port("[::1]:80"), ("[::1]", Some("80")));
        assert_eq!(split_port("[::1]"), ("[::1]", None));
        assert_eq!(split_port("a:"), ("a", Some("")));
    }
}
