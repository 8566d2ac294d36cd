//! Writing fields. Strings stay as they are: a Huffman code saves bytes, not time.

use super::static_table::{self, Known};

/// How a field is written that is not known by heart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http2) enum Keep {
    /// The other side puts it into its dynamic table.
    Yes,
    /// It does not.
    No,
}

/// A field by its index in one of the tables (RFC 7541 section 6.1).
pub(in crate::http2) fn indexed(out: &mut Vec<u8>, index: usize) {
    integer(out, 0x80, 7, index);
}

/// A field whose value is known now. Says whether the other side keeps it.
pub(in crate::http2) fn field(out: &mut Vec<u8>, name: &str, value: &[u8], keep: Keep) -> Keep {
    if let Known::Field(index) = static_table::find(name, Some(value)) {
        indexed(out, index);
        return Keep::No;
    }
    literal_name(out, name, keep);
    string(out, value);
    keep
}

/// A name whose value follows as a [`string`] (RFC 7541 section 6.2).
pub(in crate::http2) fn literal_name(out: &mut Vec<u8>, name: &str, keep: Keep) {
    let (pattern, bits) = if keep == Keep::Yes { (0x40, 6) } else { (0, 4) };
    match static_table::find(name, None) {
        Known::Field(index) | Known::Name(index) => integer(out, pattern, bits, index),
        Known::Nothing => {
            integer(out, pattern, bits, 0);
            string(out, name.as_bytes());
        }
    }
}

/// A string as it is (RFC 7541 section 5.2).
pub(in crate::http2) fn string(out: &mut Vec<u8>, text: &[u8]) {
    integer(out, 0, 7, text.len());
    out.extend_from_slice(text);
}

/// The dynamic table is emptied and stays so (RFC 7541 section 6.3).
pub(in crate::http2) fn no_table(out: &mut Vec<u8>) {
    integer(out, 0x20, 5, 0);
}

/// An integer whose first byte has `bits` bits for it (RFC 7541 section 5.1).
fn integer(out: &mut Vec<u8>, pattern: u8, bits: u32, value: usize) {
    let most = (1 << bits) - 1;
    if value < most {
        out.push(pattern | value as u8);
        return;
    }
    out.push(pattern | most as u8);
    let mut rest = value - most;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}
