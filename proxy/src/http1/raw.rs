//! A head looked at line by line, without judging it: for logs, and for what is read from a head
//! that the parser has passed already.

/// The three parts of a request line; empty where there is none.
pub fn request_line(head: &[u8]) -> [&[u8]; 3] {
    let start = head.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or(head.len());
    let line = head[start..].split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let mut parts = line.splitn(3, |byte| *byte == b' ');
    std::array::from_fn(|_| parts.next().unwrap_or_default())
}

/// The fields behind the first line, up to the empty one: names as sent, values without white
/// space around them.
pub fn raw_fields(head: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    raw_lines(head).filter_map(|line| {
        let line = line.trim_ascii_end();
        let colon = memchr::memchr(b':', line)?;
        Some((&line[..colon], line[colon + 1..].trim_ascii_start()))
    })
}

/// The lines behind the first one, up to the empty one, each with its end.
pub(crate) fn raw_lines(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    let start = head.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or(head.len());
    let mut rest = &head[start..];
    let mut next = move || {
        let end = memchr::memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
        let (line, behind) = rest.split_at(end);
        rest = behind;
        (!line.trim_ascii_end().is_empty()).then_some(line)
    };
    let _first = next();
    std::iter::from_fn(next)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_and_fields_are_found() {
        let head = b"\r\nGET /a b HTTP/1.1\r\nA: 1\nB:\t2 \r\nno colon\r\n\r\nC: 3\r\n";
        assert_eq!(request_line(head), [&b"GET"[..], b"/a", b"b HTTP/1.1"]);
        let fields: Vec<_> = raw_fields(head).collect();
        assert_eq!(fields, [(&b"A"[..], &b"1"[..]), (b"B", b"2")]);
        assert_eq!(request_line(b""), [&b""[..]; 3]);
    }

    proptest! {
        #[test]
        fn anything_may_come(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "[A-c: \r\n]{0,80}") {
            for head in [&bytes[..], text.as_bytes()] {
                request_line(head);
                prop_assert!(raw_fields(head).count() <= head.len());
            }
        }
    }
}
