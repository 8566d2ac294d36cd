//! `Host` values and the authority of a request target.

use std::net::Ipv6Addr;

/// Whether `text` is `uri-host [":" port]` with a host that is not empty (RFC 9110 sections 4.2.1 and 7.2, RFC 3986
/// section 3.2.2). User information is refused (RFC 9110 section 4.2.4), and so are zone ids and IPvFuture.
pub(super) fn is_valid(text: &str) -> bool {
    let (host, port) = split_port(text);
    let port_valid = port.is_none_or(is_port);
    port_valid && (is_ip_literal(host) || is_registered_name(host))
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
fn is_port(port: &str) -> bool {
    port.is_empty()
        || (port.len() <= 5
            && port.bytes().all(|byte| byte.is_ascii_digit())
            && port.parse::<u16>().is_ok())
}

fn is_ip_literal(host: &str) -> bool {
    host.strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .is_some_and(|address| address.parse::<Ipv6Addr>().is_ok())
}

/// `reg-name`, which an IPv4 address is, too. A name is at most 255 bytes long, as in DNS.
fn is_registered_name(host: &str) -> bool {
    let bytes = host.as_bytes();
    if bytes.is_empty() || bytes.len() > 255 {
        return false;
    }
    bytes.iter().enumerate().all(|(at, byte)| match byte {
        b'%' => bytes.get(at + 1..at + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit)),
        byte => is_name_byte(*byte),
    })
}

/// `unreserved / sub-delims` of RFC 3986.
const fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'-' | b'.'
                | b'_'
                | b'~'
                | b'!'
                | b'$'
                | b'&'
                | b'\''
                | b'('
                | b')'
                | b'*'
                | b'+'
                | b','
                | b';'
                | b'='
        )
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
            assert!(is_valid(text), "{text}");
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
            assert!(!is_valid(text), "{text}");
        }
    }

    #[test]
    fn ports_are_split_off_after_brackets_only() {
        assert_eq!(split_port("[::1]:80"), ("[::1]", Some("80")));
        assert_eq!(split_port("[::1]"), ("[::1]", None));
        assert_eq!(split_port("a:"), ("a", Some("")));
    }
}
