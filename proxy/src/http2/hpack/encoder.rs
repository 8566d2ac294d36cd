//! Header blocks, written.
//!
//! What came once may not come again, and a field that is remembered costs an allocation and the
//! place of another. So a field is remembered when it comes for the second time within the last
//! few: the server's name, the type, today's date. Values that secrets may be in are never
//! (section 7.1.3). Strings are written as they are: Huffman's code saves bytes where nothing
//! repeats, and costs each of them time.

use std::{collections::VecDeque, hash::Hasher as _};

use rustc_hash::FxHasher;

use super::{
    DEFAULT_TABLE_BYTES,
    table::{STATIC, Table, static_name},
};

/// Fields that came once and were not remembered.
const SEEN: usize = 32;
/// The longest field to be remembered, bytes.
const MAX_LINE_BYTES: usize = 256;

/// Writes the header blocks of a connection, which share a table.
#[derive(Debug)]
pub struct Encoder {
    table: Table,
    /// Of the table's fields, in its order.
    hashes: VecDeque<u32>,
    /// The last ones that came once; the next goes to `seen_at`.
    seen: [u32; SEEN],
    seen_at: usize,
    /// Sizes that the peer is to be told of: the smallest since the last block, and the last.
    told: Option<(usize, usize)>,
    /// The field under way: its name in lower case, and its value.
    line: Vec<u8>,
}

impl Default for Encoder {
    fn default() -> Self {
        Self {
            table: Table::new(DEFAULT_TABLE_BYTES),
            hashes: VecDeque::new(),
            seen: [0; SEEN],
            seen_at: 0,
            told: None,
            line: Vec::new(),
        }
    }
}

impl Encoder {
    /// The peer keeps so many bytes of a table, of which we use no more than its default.
    pub fn set_limit(&mut self, bytes: usize) {
        let limit = bytes.min(DEFAULT_TABLE_BYTES);
        if limit == self.table.limit() {
            return;
        }
        self.table.set_limit(limit);
        self.hashes.truncate(self.table.len());
        let smallest = self.told.map_or(limit, |(smallest, _)| smallest.min(limit));
        self.told = Some((smallest, limit));
    }

    /// Begins a block: before any field.
    pub fn begin(&mut self, out: &mut Vec<u8>) {
        if let Some((smallest, last)) = self.told.take() {
            if smallest < last {
                integer(out, 0x20, 5, smallest);
            }
            integer(out, 0x20, 5, last);
        }
    }

    /// Appends the status of a response, of three digits.
    pub fn status(&mut self, status: u16, out: &mut Vec<u8>) {
        const FIRST: usize = 8;
        let indexed = match status {
            200 => FIRST,
            204 => 9,
            206 => 10,
            304 => 11,
            400 => 12,
            404 => 13,
            500 => 14,
            _ => {
                let digit = |of: u16| b'0' + (status / of % 10) as u8;
                out.extend_from_slice(&[FIRST as u8, 3, digit(100), digit(10), digit(1)]);
                return;
            }
        };
        out.push(0x80 | indexed as u8);
    }

    /// Appends a field.
    pub fn field(&mut self, name: &[u8], value: &[u8], out: &mut Vec<u8>) {
        let name_len = name.len();
        self.line.clear();
        self.line.extend_from_slice(name);
        self.line.make_ascii_lowercase();
        self.line.extend_from_slice(value);
        let secret = matches!(&self.line[..name_len], b"set-cookie" | b"authorization");
        if secret || self.line.len() > MAX_LINE_BYTES {
            return self.literal(if secret { 0x10 } else { 0 }, 4, name_len, out);
        }
        let mut hasher = FxHasher::default();
        hasher.write(&self.line);
        hasher.write_usize(name_len);
        let hash = hasher.finish();
        let hash = (hash ^ hash >> 32) as u32;
        let mut known = self.hashes.iter().enumerate().filter(|(_, found)| **found == hash);
        if let Some((at, _)) = known.find(|(at, _)| self.table.is(*at, &self.line, name_len)) {
            return integer(out, 0x80, 7, STATIC.len() + 1 + at);
        }
        if !self.seen.contains(&hash) {
            self.seen[self.seen_at] = hash;
            self.seen_at = (self.seen_at + 1) % SEEN;
            return self.literal(0, 4, name_len, out);
        }
        self.literal(0x40, 6, name_len, out);
        self.table.insert(&self.line, name_len);
        self.hashes.push_front(hash);
        self.hashes.truncate(self.table.len());
    }

    fn literal(&self, kind: u8, prefix: u32, name_len: usize, out: &mut Vec<u8>) {
        let (name, value) = self.line.split_at(name_len);
        match static_name(name) {
            Some(index) => integer(out, kind, prefix, index),
            None => {
                out.push(kind);
                integer(out, 0, 7, name.len());
                out.extend_from_slice(name);
            }
        }
        integer(out, 0, 7, value.len());
        out.extend_from_slice(value);
    }
}

/// An integer behind the bits of `kind`, with a prefix of so many bits (section 5.1).
fn integer(out: &mut Vec<u8>, kind: u8, prefix: u32, value: usize) {
    let most = (1 << prefix) - 1;
    if value < most {
        return out.push(kind | value as u8);
    }
    out.push(kind | most as u8);
    let mut rest = value - most;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::http2::hpack::Decoder;

    type Field = (Vec<u8>, Vec<u8>);

    fn encoded(encoder: &mut Encoder, status: u16, fields: &[Field]) -> Vec<u8> {
        let mut block = Vec::new();
        encoder.begin(&mut block);
        encoder.status(status, &mut block);
        for (name, value) in fields {
            encoder.field(name, value, &mut block);
        }
        block
    }

    fn decoded(decoder: &mut Decoder, block: &[u8]) -> Vec<Field> {
        let mut fields = Vec::new();
        decoder.decode(block, |name, value| fields.push((name.to_vec(), value.to_vec()))).unwrap();
        fields
    }

    fn field(name: &str, value: &str) -> Field {
        (name.into(), value.into())
    }

    #[test]
    fn what_comes_again_costs_a_byte() {
        let (mut encoder, mut decoder) = (Encoder::default(), Decoder::default());
        let fields = [
            field("Server", "origin"),
            field("Content-Type", "text/plain; charset=utf-8"),
            field("Set-Cookie", "secret=1"),
        ];
        let mut lengths = Vec::new();
        for _ in 0..3 {
            let block = encoded(&mut encoder, 200, &fields);
            lengths.push(block.len());
            let lower = [
                field(":status", "200"),
                field("server", "origin"),
                field("content-type", "text/plain; charset=utf-8"),
                field("set-cookie", "secret=1"),
            ];
            assert_eq!(decoded(&mut decoder, &block), lower);
        }
        let cookie = 11;
        assert_eq!(lengths[2], 3 + cookie, "a status, two indices and a secret: {lengths:?}");
    }

    #[test]
    fn a_smaller_table_is_told_and_kept() {
        let (mut encoder, mut decoder) = (Encoder::default(), Decoder::default());
        let fields = [field("server", "origin")];
        for _ in 0..3 {
            decoded(&mut decoder, &encoded(&mut encoder, 404, &fields));
        }
        encoder.set_limit(0);
        encoder.set_limit(1 << 20);
        let block = encoded(&mut encoder, 404, &fields);
        assert_eq!(block[..5], [0x20, 0x3f, 0xe1, 0x1f, 0x8d], "none, then 4,096, then 404");
        assert_eq!(decoded(&mut decoder, &block).len(), 2);
    }

    proptest! {
        #[test]
        fn blocks_are_read_as_they_were_meant(
            blocks in prop::collection::vec(
                (
                    100_u16..1000,
                    prop::collection::vec(("[a-c]{1,3}|server|date|set-cookie|age", "[x-z]{0,2}|[ -~]{100,300}"), 0..8),
                    prop::option::of(0_usize..6000),
                ),
                1..40,
            ),
        ) {
            let (mut encoder, mut decoder) = (Encoder::default(), Decoder::default());
            for (status, fields, limit) in blocks {
                let fields: Vec<Field> =
                    fields.iter().map(|(name, value)| field(name, value)).collect();
                if let Some(limit) = limit {
                    encoder.set_limit(limit);
                }
                let block = encoded(&mut encoder, status, &fields);
                let expected = [&[field(":status", &status.to_string())][..], &fields].concat();
                prop_assert_eq!(decoded(&mut decoder, &block), expected);
            }
        }
    }
}
