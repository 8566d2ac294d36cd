//! Values that clients choose, in lines that programs read.

/// Bytes of one value that a line shows.
const MAX_VALUE_BYTES: usize = 4096;

/// Appends a string of JSON (RFC 8259 section 7), with its quotes. What is no UTF-8 is shown as
/// U+FFFD.
pub(super) fn json(value: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let value = &value[..value.len().min(MAX_VALUE_BYTES)];
    let plain = |byte: &u8| matches!(byte, 0x20..0x7F) && !matches!(byte, b'"' | b'\\');
    if value.iter().all(plain) {
        out.extend_from_slice(value);
    } else {
        for chunk in value.utf8_chunks() {
            chunk.valid().bytes().for_each(|byte| json_byte(byte, out));
            if !chunk.invalid().is_empty() {
                out.extend_from_slice("\u{FFFD}".as_bytes());
            }
        }
    }
    out.push(b'"');
}

fn json_byte(byte: u8, out: &mut Vec<u8>) {
    match byte {
        b'"' => out.extend_from_slice(b"\\\""),
        b'\\' => out.extend_from_slice(b"\\\\"),
        0..0x20 | 0x7F => {
            out.extend_from_slice(b"\\u00");
            push_hex(byte, out);
        }
        byte => out.push(byte),
    }
}

/// Appends a value for a line of text: quotes, backslashes and what is not visible ASCII as
/// `\xHH`; nothing as `-`.
pub(super) fn text(value: &[u8], out: &mut Vec<u8>) {
    if value.is_empty() {
        return out.push(b'-');
    }
    for &byte in &value[..value.len().min(MAX_VALUE_BYTES)] {
        match byte {
            b'"' | b'\\' | 0..0x20 | 0x7F.. => {
                out.extend_from_slice(b"\\x");
                push_hex(byte, out);
            }
            byte => out.push(byte),
        }
    }
}

fn push_hex(byte: u8, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.push(DIGITS[usize::from(byte >> 4)]);
    out.push(DIGITS[usize::from(byte & 15)]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_value_cannot_leave_its_quotes_or_its_line() {
        for (value, as_json, as_text) in [
            (&b"/a?b=c"[..], r#""/a?b=c""#, "/a?b=c"),
            (b"", r#""""#, "-"),
            (b"\"\\", r#""\"\\""#, r"\x22\x5c"),
            (b"a\r\nb", r#""a\u000d\u000ab""#, r"a\x0d\x0ab"),
            (b"\x1b[31m", r#""\u001b[31m""#, r"\x1b[31m"),
            ("ü".as_bytes(), "\"ü\"", r"\xc3\xbc"),
            (b"\xff.", "\"\u{FFFD}.\"", r"\xff."),
        ] {
            assert_eq!(written(|out| json(value, out)), as_json);
            assert_eq!(written(|out| text(value, out)), as_text);
        }
        let long = [b'x'; 10_000];
        assert_eq!(written(|out| text(&long, out)).len(), MAX_VALUE_BYTES);
    }
}
