//! Reading fields, and the table that remembers them.

use std::collections::VecDeque;

use super::{DEFAULT_TABLE_BYTES, ENTRY_OVERHEAD_BYTES, FIRST_DYNAMIC, huffman, static_table};
use crate::failure::Failure;

/// Most bytes of all fields of one block, as the standard counts them.
const MAX_LIST_BYTES: usize = 256 << 10;

const MALFORMED: Failure = Failure::Protocol("the header fields of a response are malformed");
const TOO_LONG: Failure =
    Failure::Protocol("the header fields of a response are longer than 256 KiB");

/// One connection's memory of the fields the server has sent.
#[derive(Debug)]
pub(in crate::http2) struct Decoder {
    /// The newest first.
    entries: VecDeque<Entry>,
    /// What was forgotten; its memory serves the next ones.
    spare: Vec<Entry>,
    size_bytes: usize,
    limit_bytes: usize,
    name: Vec<u8>,
    value: Vec<u8>,
}

/// A field that is remembered: its name, and behind it its value.
#[derive(Debug, Default)]
struct Entry {
    bytes: Vec<u8>,
    name_len: usize,
}

/// Which fields somebody wants to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http2) enum Wanted {
    /// Those that begin with a colon.
    Pseudo,
    All,
}

impl Decoder {
    pub(in crate::http2) fn new() -> Self {
        Self {
            entries: VecDeque::new(),
            spare: Vec::new(),
            size_bytes: 0,
            limit_bytes: DEFAULT_TABLE_BYTES,
            name: Vec::new(),
            value: Vec::new(),
        }
    }

    /// Another connection: nothing was sent yet.
    pub(in crate::http2) fn clear(&mut self) {
        self.spare.extend(self.entries.drain(..));
        (self.size_bytes, self.limit_bytes) = (0, DEFAULT_TABLE_BYTES);
    }

    /// Reads a whole block. `field` sees at least the fields that are wanted.
    ///
    /// # Errors
    /// When it breaks the rules; then nothing that follows on the connection can be read.
    pub(in crate::http2) fn decode(
        &mut self,
        block: &[u8],
        wanted: Wanted,
        mut field: impl FnMut(&[u8], &[u8]),
    ) -> Result<(), Failure> {
        let mut input = block;
        let mut list_bytes = 0;
        let mut begins = true;
        while let Some(&first) = input.first() {
            match first {
                0x80.. => {
                    let index = integer(&mut input, 7)?;
                    let (name, value) = self.entry(index)?;
                    list_bytes += name.len() + value.len() + ENTRY_OVERHEAD_BYTES;
                    field(name, value);
                }
                0x20..0x40 if begins => {
                    let limit = integer(&mut input, 5)?;
                    if limit > DEFAULT_TABLE_BYTES {
                        return Err(MALFORMED);
                    }
                    self.limit_bytes = limit;
                    self.evict(0);
                    // Several may stand at the beginning, and only there.
                    continue;
                }
                0x20..0x40 => return Err(MALFORMED),
                _ => {
                    let keep = first >= 0x40;
                    list_bytes += self.literal(&mut input, keep, wanted, &mut field)?;
                }
            }
            begins = false;
            if list_bytes > MAX_LIST_BYTES {
                return Err(TOO_LONG);
            }
        }
        Ok(())
    }

    /// A field that is written out at least in part. Says what it counts.
    fn literal(
        &mut self,
        input: &mut &[u8],
        keep: bool,
        wanted: Wanted,
        field: &mut impl FnMut(&[u8], &[u8]),
    ) -> Result<usize, Failure> {
        let index = integer(input, if keep { 6 } else { 4 })?;
        let mut name = std::mem::take(&mut self.name);
        let mut value = std::mem::take(&mut self.value);
        name.clear();
        value.clear();
        if index == 0 {
            string(input, &mut name)?;
        } else {
            name.extend_from_slice(self.entry(index)?.0);
        }
        if keep || wanted == Wanted::All || name.starts_with(b":") {
            string(input, &mut value)?;
            field(&name, &value);
        } else {
            skip_string(input)?;
        }
        let bytes = name.len() + value.len() + ENTRY_OVERHEAD_BYTES;
        if keep {
            self.insert(&name, &value);
        }
        (self.name, self.value) = (name, value);
        Ok(bytes)
    }

    fn entry(&self, index: usize) -> Result<(&[u8], &[u8]), Failure> {
        if let Some(dynamic) = index.checked_sub(FIRST_DYNAMIC) {
            let Entry { bytes, name_len } = self.entries.get(dynamic).ok_or(MALFORMED)?;
            return Ok(bytes.split_at(*name_len));
        }
        let place = index.checked_sub(1).ok_or(MALFORMED)?;
        let (name, value) = static_table::FIELDS[place];
        Ok((name.as_bytes(), value.as_bytes()))
    }

    fn insert(&mut self, name: &[u8], value: &[u8]) {
        let bytes = name.len() + value.len() + ENTRY_OVERHEAD_BYTES;
        self.evict(bytes);
        if bytes <= self.limit_bytes {
            self.size_bytes += bytes;
            let mut entry = self.spare.pop().unwrap_or_default();
            entry.bytes.clear();
            entry.bytes.extend_from_slice(name);
            entry.bytes.extend_from_slice(value);
            entry.name_len = name.len();
            self.entries.push_front(entry);
        }
    }

    /// Forgets the oldest until there is room (RFC 7541 section 4.4).
    fn evict(&mut self, room_bytes: usize) {
        while self.size_bytes + room_bytes > self.limit_bytes {
            let Some(entry) = self.entries.pop_back() else { return };
            self.size_bytes -= entry.bytes.len() + ENTRY_OVERHEAD_BYTES;
            self.spare.push(entry);
        }
    }
}

/// An integer whose first byte has `bits` bits for it (RFC 7541 section 5.1).
fn integer(input: &mut &[u8], bits: u32) -> Result<usize, Failure> {
    let (&first, mut rest) = input.split_first().ok_or(MALFORMED)?;
    let most = (1usize << bits) - 1;
    let mut value = usize::from(first) & most;
    if value == most {
        // Nothing here is as large as four bytes of seven bits can say.
        for shift in [0, 7, 14, 21] {
            let (&byte, behind) = rest.split_first().ok_or(MALFORMED)?;
            rest = behind;
            value += usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                *input = rest;
                return Ok(value);
            }
        }
        return Err(MALFORMED);
    }
    *input = rest;
    Ok(value)
}

/// The bytes of a string, and whether they are Huffman-coded.
fn raw_string<'a>(input: &mut &'a [u8]) -> Result<(bool, &'a [u8]), Failure> {
    let coded = input.first().is_some_and(|first| first & 0x80 != 0);
    let len = integer(input, 7)?;
    let (text, rest) = input.split_at_checked(len).ok_or(MALFORMED)?;
    *input = rest;
    Ok((coded, text))
}

fn string(input: &mut &[u8], out: &mut Vec<u8>) -> Result<(), Failure> {
    let (coded, text) = raw_string(input)?;
    if coded {
        return huffman::decode(text, out).ok_or(MALFORMED);
    }
    out.extend_from_slice(text);
    Ok(())
}

fn skip_string(input: &mut &[u8]) -> Result<(), Failure> {
    raw_string(input).map(|_| ())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::http2::hpack::encode::{self, Keep};

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> =
            text.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
        digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
    }

    fn fields(decoder: &mut Decoder, block: &[u8], wanted: Wanted) -> Vec<(String, String)> {
        let mut fields = Vec::new();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        decoder
            .decode(block, wanted, |name, value| fields.push((text(name), text(value))))
            .unwrap();
        fields
    }

    #[test]
    fn the_responses_of_the_standard() {
        // RFC 7541 appendix C.6, with room for 256 bytes: the table forgets on the way.
        let mut decoder = Decoder::new();
        decoder.decode(&[0x3f, 0xe1, 0x01], Wanted::All, |_, _| panic!("no field")).unwrap();
        let date = ("date".to_owned(), "Mon, 21 Oct 2013 20:13:21 GMT".to_owned());
        let location = ("location".to_owned(), "https://www.example.com".to_owned());
        let cache = ("cache-control".to_owned(), "private".to_owned());
        let status = |status: &str| (":status".to_owned(), status.to_owned());
        let first = hex(
            "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b \
             ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
        );
        assert_eq!(
            fields(&mut decoder, &first, Wanted::All),
            [status("302"), cache.clone(), date.clone(), location.clone()]
        );
        assert_eq!(
            fields(&mut decoder, &hex("4883 640e ffc1 c0bf"), Wanted::All),
            [status("307"), cache, date, location]
        );
        assert_eq!(decoder.size_bytes, 222);
    }

    #[test]
    fn what_nobody_wants_is_not_decoded() {
        let mut block = Vec::new();
        encode::field(&mut block, ":status", b"418", Keep::No);
        encode::field(&mut block, "server", b"teapot", Keep::No);
        encode::field(&mut block, "x-kept", b"yes", Keep::Yes);
        let mut decoder = Decoder::new();
        let names = |fields: Vec<(String, String)>| {
            fields.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
        };
        let seen = names(fields(&mut decoder, &block, Wanted::Pseudo));
        assert_eq!(seen, [":status", "x-kept"]);
        assert_eq!(decoder.entries.len(), 1);
    }

    #[test]
    fn what_breaks_the_rules_is_refused() {
        for wrong in [
            &[0x80][..],
            &[0xbe],
            &[0x7f, 0xff, 0xff, 0xff, 0xff, 0x01],
            &[0x3f, 0xe2, 0x1f],
            &[0x88, 0x20],
            &[0x40, 0x01],
            &[0x00, 0x81, 0x00, 0x00],
        ] {
            let result = Decoder::new().decode(wrong, Wanted::All, |_, _| {});
            assert!(result.is_err(), "{wrong:x?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(
            blocks in prop::collection::vec(
                prop::collection::vec(("[a-z:-]{1,12}", "[ -~]{0,300}", any::<bool>()), 0..8), 1..8,
            ),
        ) {
            let mut decoder = Decoder::new();
            for block in blocks {
                let mut bytes = Vec::new();
                for (name, value, keep) in &block {
                    let keep = if *keep { Keep::Yes } else { Keep::No };
                    encode::field(&mut bytes, name, value.as_bytes(), keep);
                }
                let expected: Vec<_> = block.into_iter().map(|(name, value, _)| (name, value)).collect();
                prop_assert_eq!(fields(&mut decoder, &bytes, Wanted::All), expected);
                prop_assert!(decoder.size_bytes <= DEFAULT_TABLE_BYTES);
            }
        }

        #[test]
        fn noise_is_no_reason_to_panic(noise in prop::collection::vec(any::<u8>(), 0..200)) {
            let _either_way = Decoder::new().decode(&noise, Wanted::All, |_, _| {});
        }
    }
}
