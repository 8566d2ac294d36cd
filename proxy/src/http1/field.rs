//! The header fields a proxy has to understand, told apart by name.

/// What a field name means to the codec. Names are compared without regard to case (RFC 9110
/// section 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    /// Passed on untouched.
    Other,
    Host,
    ContentLength,
    TransferEncoding,
    Connection,
    Upgrade,
    Expect,
    /// Meant for this hop only, or not even for it: never forwarded.
    HopByHop,
    ForwardedFor,
    ForwardedProto,
    ForwardedHost,
    /// `Forwarded` (RFC 7239).
    Forwarded,
    /// Other `X-Forwarded-*` fields.
    ForwardedOther,
}

impl Field {
    /// Classifies a field name, which must be a token. Framing fields with `_` for `-` frame
    /// nothing here, but do so to gateways of the CGI family: they go no further.
    #[inline]
    pub(super) fn of(name: &str) -> Self {
        let name = name.as_bytes();
        match name.len() {
            2 if is(name, b"te") => Self::HopByHop,
            4 if is(name, b"host") => Self::Host,
            6 if is(name, b"expect") => Self::Expect,
            7 if is(name, b"upgrade") => Self::Upgrade,
            9 if is(name, b"forwarded") => Self::Forwarded,
            10 if is(name, b"connection") => Self::Connection,
            10 if is(name, b"keep-alive") => Self::HopByHop,
            14 if is(name, b"content-length") => Self::ContentLength,
            14 if is(name, b"http2-settings") => Self::HopByHop,
            14 if name[7] == b'_' && same_name(name, b"content-length") => Self::HopByHop,
            16 if is(name, b"proxy-connection") => Self::HopByHop,
            17 if is(name, b"transfer-encoding") => Self::TransferEncoding,
            17 if name[8] == b'_' && same_name(name, b"transfer-encoding") => Self::HopByHop,
            18 if is(name, b"proxy-authenticate") => Self::HopByHop,
            19 if is(name, b"proxy-authorization") => Self::HopByHop,
            13.. if matches!(name[0], b'x' | b'X') => Self::x_forwarded(name),
            _ => Self::Other,
        }
    }

    /// `X-Forwarded-*`, also with `_` for `-`: gateways of the CGI family read both as one name, so
    /// a client could otherwise smuggle in an address of its choice.
    fn x_forwarded(name: &[u8]) -> Self {
        if !same_name(&name[..12], b"x-forwarded-") {
            return Self::Other;
        }
        match &name[12..] {
            rest if same_name(rest, b"for") => Self::ForwardedFor,
            rest if same_name(rest, b"proto") => Self::ForwardedProto,
            rest if same_name(rest, b"host") => Self::ForwardedHost,
            _ => Self::ForwardedOther,
        }
    }

    /// Whether a `Connection` field may name this field away. Framing and routing fields never, and
    /// none that carries credentials or describes the content: stripping those is an attack,
    /// not connection management.
    pub(super) fn removable(name: &str) -> bool {
        const KEPT: [&str; 5] = ["authorization", "cookie", "set-cookie", "via", "cache-control"];
        let content = name.get(..8).is_some_and(|head| head.eq_ignore_ascii_case("content-"));
        Self::of(name) == Self::Other
            && !content
            && !KEPT.iter().any(|kept| name.eq_ignore_ascii_case(kept))
    }
}

/// Whether a field is about a connection of HTTP/1.1, so that other versions do not know it (RFC
/// 9113 section 8.2.2).
pub fn is_for_one_hop(name: &str) -> bool {
    matches!(
        Field::of(name),
        Field::Connection | Field::HopByHop | Field::TransferEncoding | Field::Upgrade
    )
}

/// Compares a token or a field value with lower-case letters, digits and hyphens, without regard to
/// case.
///
/// Setting the bit 0x20 makes letters lower-case and leaves digits and hyphens as they are; no
/// other byte that tokens and values can hold becomes one of these.
#[inline]
pub(super) fn is<const N: usize>(text: &[u8], lower: &[u8; N]) -> bool {
    let Ok(text) = <&[u8; N]>::try_from(text) else {
        return false;
    };
    let mut difference = 0;
    for at in 0..N {
        difference |= (text[at] | 0x20) ^ lower[at];
    }
    difference == 0
}

/// Compares with a lower-case name, taking `_` for `-`.
fn same_name(name: &[u8], lower: &[u8]) -> bool {
    name.len() == lower.len()
        && name.iter().zip(lower).all(|(byte, want)| match byte {
            b'_' => *want == b'-',
            byte => byte.to_ascii_lowercase() == *want,
        })
}

/// `tchar` of RFC 9110 section 5.6.2.
#[inline]
pub(super) const fn is_token_byte(byte: u8) -> bool {
    const TABLE: [bool; 256] = {
        let mut table = [false; 256];
        let mut byte = 0;
        while byte < 256 {
            let b = byte as u8;
            table[byte] = b.is_ascii_alphanumeric()
                || matches!(
                    b,
                    b'!' | b'#'
                        | b'$'
                        | b'%'
                        | b'&'
                        | b'\''
                        | b'*'
                        | b'+'
                        | b'-'
                        | b'.'
                        | b'^'
                        | b'_'
                        | b'`'
                        | b'|'
                        | b'~'
                );
            byte += 1;
        }
        table
    };
    TABLE[byte as usize]
}

/// A byte allowed in a field value: HTAB, SP, VCHAR and obs-text (RFC 9110 section 5.5).
#[inline]
pub(super) const fn is_value_byte(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

/// Splits a comma-separated list (RFC 9110 section 5.6.1), leaving out empty elements.
pub(super) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(trim_ows).filter(|element| !element.is_empty())
}

/// Strips optional white space (RFC 9110 section 5.6.3) from both ends.
pub(super) fn trim_ows(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart_without_regard_to_case() {
        let cases = [
            ("Host", Field::Host),
            ("hOST", Field::Host),
            ("Hosts", Field::Other),
            ("content-length", Field::ContentLength),
            ("Content_Length", Field::HopByHop),
            ("transfer_Encoding", Field::HopByHop),
            ("X-Transfer-Encoding", Field::Other),
            ("TRANSFER-ENCODING", Field::TransferEncoding),
            ("Connection", Field::Connection),
            ("Keep-Alive", Field::HopByHop),
            ("TE", Field::HopByHop),
            ("Trailer", Field::Other),
            ("Proxy-Authorization", Field::HopByHop),
            ("Proxy-Authenticate", Field::HopByHop),
            ("Proxy-Connection", Field::HopByHop),
            ("HTTP2-Settings", Field::HopByHop),
            ("Upgrade", Field::Upgrade),
            ("Expect", Field::Expect),
            ("X-Forwarded-For", Field::ForwardedFor),
            ("x_forwarded_for", Field::ForwardedFor),
            ("X-Forwarded-Proto", Field::ForwardedProto),
            ("X-Forwarded-Host", Field::ForwardedHost),
            ("X-Forwarded-Port", Field::ForwardedOther),
            ("X-Forwarded-", Field::Other),
            ("Forwarded", Field::Forwarded),
            ("X-Request-Identifier", Field::Other),
            ("Strict-Transport-Security", Field::Other),
        ];
        for (name, field) in cases {
            assert_eq!(Field::of(name), field, "{name}");
        }
    }

    #[test]
    fn connection_cannot_name_away_what_carries_meaning_end_to_end() {
        for kept in [
            "Host",
            "Content-Length",
            "content-type",
            "Cookie",
            "AUTHORIZATION",
            "X-Forwarded-For",
            "Via",
        ] {
            assert!(!Field::removable(kept), "{kept}");
        }
        assert!(Field::removable("X-Hop"));
    }

    #[test]
    fn lists_leave_out_empty_elements() {
        let elements: Vec<_> = list(b" a,, b\t,\t,c c ,").collect();
        assert_eq!(elements, [b"a".as_slice(), b"b", b"c c"]);
    }
}
