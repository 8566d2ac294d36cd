//! Responses: heads of HTTP/1.1 that become header blocks.

use super::hpack::Encoder;
use crate::http1::{MAX_HEADERS, ResponseHead, is_for_one_hop};

/// Appends the fields of a response, without what concerns connections of HTTP/1.1.
pub(super) fn write_head(head: &ResponseHead<'_>, encoder: &mut Encoder, block: &mut Vec<u8>) {
    // Switching protocols is said by success (RFC 8441 section 5).
    let switches = head.status == 101;
    encoder.status(if switches { 200 } else { head.status }, block);
    // Where a head is the trailers as well, what is not theirs would pass for metadata of the call.
    let is_trailer = head.header("grpc-status").is_some();
    for (name, value) in head.headers() {
        let left_out = is_for_one_hop(name)
            || (switches && name.eq_ignore_ascii_case("sec-websocket-accept"))
            || (is_trailer && name.eq_ignore_ascii_case("content-length"));
        if !left_out {
            encoder.field(name.as_bytes(), value, block);
        }
    }
}

/// Room for the fields of a trailer section.
pub(super) fn trailer_storage<'s>() -> [httparse::Header<'s>; MAX_HEADERS] {
    [httparse::EMPTY_HEADER; MAX_HEADERS]
}

/// The fields of a whole trailer section; `None`: it is none.
pub(super) fn trailer_fields<'s, 'h>(
    section: &'s [u8],
    storage: &'h mut [httparse::Header<'s>],
) -> Option<&'h [httparse::Header<'s>]> {
    match httparse::parse_headers(section, storage).ok()? {
        httparse::Status::Complete((len, lines)) if len == section.len() => Some(lines),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trailer_section_is_read_whole_or_not_at_all() {
        let read = |section: &[u8]| {
            let mut storage = trailer_storage();
            let fields = trailer_fields(section, &mut storage)?;
            let text = |field: &httparse::Header<'_>| {
                format!("{}: {}", field.name, String::from_utf8_lossy(field.value))
            };
            Some(fields.iter().map(text).collect::<Vec<_>>())
        };
        let section = b"Grpc-Status: 0\r\nx: y\r\n\r\n";
        assert_eq!(read(section).unwrap(), ["Grpc-Status: 0", "x: y"]);
        for len in 0..section.len() {
            let whole = read(&section[..len]);
            assert!(whole.is_none(), "{len} bytes of it");
        }
        for wrong in [&b"x: y\r\n\r\nz"[..], b"x y\r\n\r\n", b": y\r\n\r\n", b"x: \x01\r\n\r\n"] {
            assert!(read(wrong).is_none(), "{wrong:?}");
        }
        let many = [b"x: y\r\n".repeat(MAX_HEADERS + 1), b"\r\n".to_vec()].concat();
        assert!(read(&many).is_none());
    }
}
