//! Header blocks, read.

use super::{DEFAULT_TABLE_BYTES, Malformed, huffman, table::Table};

/// Reads the header blocks of a connection, which share a table.
#[derive(Debug)]
pub struct Decoder {
    table: Table,
    /// The strings of the field under way, where they are not in the block as they are.
    scratch: Vec<u8>,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { table: Table::new(DEFAULT_TABLE_BYTES), scratch: Vec::new() }
    }
}

/// A string of a block.
#[derive(Clone, Copy)]
enum Text<'b> {
    Plain(&'b [u8]),
    Coded(&'b [u8]),
}

impl Decoder {
    /// Gives the name and value of each field of a block, in order. What can be read is read,
    /// whether it is wanted or not: the table has to follow.
    ///
    /// Bytes that a field has are bounded by those of the block, or of the table, of 4 KiB.
    ///
    /// # Errors
    /// When this is no header block. The connection's table is lost with it.
    pub fn decode(
        &mut self,
        block: &[u8],
        mut field: impl FnMut(&[u8], &[u8]),
    ) -> Result<(), Malformed> {
        let mut rest = block;
        let mut begun = false;
        while let Some(first) = rest.first().copied() {
            if first & 0x80 != 0 {
                // Indexed (section 6.1).
                let index = integer(&mut rest, 7)?;
                let (name, value) = self.table.get(index).ok_or(Malformed)?;
                field(name, value);
            } else if first & 0x40 != 0 {
                // A literal to be remembered (section 6.2.1).
                self.literal(&mut rest, 6, |table, line, name_len| {
                    let (name, value) = line.split_at(name_len);
                    field(name, value);
                    table.insert(line, name_len);
                })?;
            } else if first & 0x20 != 0 {
                // Another size of the table (section 6.3): at the start only (section 4.2).
                let size = integer(&mut rest, 5)?;
                if begun || size > DEFAULT_TABLE_BYTES {
                    return Err(Malformed);
                }
                self.table.set_limit(size);
                continue;
            } else {
                // A literal not to be remembered (sections 6.2.2 and 6.2.3).
                self.literal(&mut rest, 4, |_, line, name_len| {
                    let (name, value) = line.split_at(name_len);
                    field(name, value);
                })?;
            }
            begun = true;
        }
        Ok(())
    }

    fn literal(
        &mut self,
        rest: &mut &[u8],
        prefix: u32,
        found: impl FnOnce(&mut Table, &[u8], usize),
    ) -> Result<(), Malformed> {
        let Self { table, scratch } = self;
        scratch.clear();
        match integer(rest, prefix)? {
            0 => string(rest)?.append(scratch)?,
            index => scratch.extend_from_slice(table.get(index).ok_or(Malformed)?.0),
        }
        let name_len = scratch.len();
        string(rest)?.append(scratch)?;
        found(table, scratch, name_len);
        Ok(())
    }
}

impl Text<'_> {
    fn append(self, out: &mut Vec<u8>) -> Result<(), Malformed> {
        match self {
            Self::Plain(text) => out.extend_from_slice(text),
            Self::Coded(text) => huffman::decode(text, out)?,
        }
        Ok(())
    }
}

/// An integer with a prefix of so many bits (section 5.1), below 2^28.
fn integer(rest: &mut &[u8], prefix: u32) -> Result<usize, Malformed> {
    let (first, mut behind) = rest.split_first().ok_or(Malformed)?;
    let most = (1 << prefix) - 1;
    let mut value = usize::from(*first) & most;
    if value == most {
        let mut shift = 0;
        loop {
            let (byte, next) = behind.split_first().ok_or(Malformed)?;
            behind = next;
            value += usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
            if shift > 21 {
                return Err(Malformed);
            }
        }
    }
    *rest = behind;
    Ok(value)
}

/// Section 5.2.
fn string<'b>(rest: &mut &'b [u8]) -> Result<Text<'b>, Malformed> {
    let coded = rest.first().ok_or(Malformed)? & 0x80 != 0;
    let length = integer(rest, 7)?;
    let (text, behind) = rest.split_at_checked(length).ok_or(Malformed)?;
    *rest = behind;
    Ok(if coded { Text::Coded(text) } else { Text::Plain(text) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(decoder: &mut Decoder, block: &[u8]) -> Result<Vec<String>, Malformed> {
        let mut fields = Vec::new();
        decoder.decode(block, |name, value| {
            let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
            fields.push(format!("{}: {}", text(name), text(value)));
        })?;
        Ok(fields)
    }

    #[test]
    fn examples_of_the_rfc_are_read() {
        // Appendix C.4: three requests in Huffman's code, which share a table.
        let mut decoder = Decoder::default();
        let first = [
            0x82, 0x86, 0x84, 0x41, 0x8c, 0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab,
            0x90, 0xf4, 0xff,
        ];
        let plain = [":method: GET", ":scheme: http", ":path: /", ":authority: www.example.com"];
        assert_eq!(decoded(&mut decoder, &first).unwrap(), plain);
        let second = [0x82, 0x86, 0x84, 0xbe, 0x58, 0x86, 0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf];
        let expected = [&plain[..], &["cache-control: no-cache"]].concat();
        assert_eq!(decoded(&mut decoder, &second).unwrap(), expected);
        let third = [
            0x82, 0x87, 0x85, 0xbf, 0x40, 0x88, 0x25, 0xa8, 0x49, 0xe9, 0x5b, 0xa9, 0x7d, 0x7f,
            0x89, 0x25, 0xa8, 0x49, 0xe9, 0x5b, 0xb8, 0xe8, 0xb4, 0xbf,
        ];
        let expected = [
            ":method: GET",
            ":scheme: https",
            ":path: /index.html",
            ":authority: www.example.com",
            "custom-key: custom-value",
        ];
        assert_eq!(decoded(&mut decoder, &third).unwrap(), expected);
        // Appendix C.2.1 and C.2.3: literals as they are.
        let block = b"\x40\x0acustom-key\x0dcustom-header\x10\x08password\x06secret";
        let expected = ["custom-key: custom-header", "password: secret"];
        assert_eq!(decoded(&mut decoder, block).unwrap(), expected);
        assert_eq!(decoded(&mut decoder, &[0xbe]).unwrap(), ["custom-key: custom-header"]);
    }

    #[test]
    fn what_is_no_block_is_refused() {
        let wrong: [&[u8]; 12] = [
            &[0x80],
            &[0xff],
            &[0xbe],
            &[0xff, 0x80, 0x80, 0x80, 0x80, 0x01],
            &[0x00],
            &[0x00, 0x01],
            &[0x00, 0x01, b'a'],
            &[0x00, 0x01, b'a', 0x02, b'b'],
            &[0x00, 0x81, 0x00, 0x00],
            &[0x7e, 0x00],
            // A table larger than allowed, or changed in the middle.
            &[0x3f, 0xe2, 0x1f],
            &[0x82, 0x20],
        ];
        for block in wrong {
            assert_eq!(decoded(&mut Decoder::default(), block), Err(Malformed), "{block:02x?}");
        }
        // 4,096 is allowed, then none.
        let sizes = [0x3f, 0xe1, 0x1f, 0x20, 0x40, 0x01, b'a', 0x01, b'b'];
        let mut decoder = Decoder::default();
        assert_eq!(decoded(&mut decoder, &sizes).unwrap(), ["a: b"]);
        assert!(decoded(&mut decoder, &[0xbe]).is_err(), "nothing is kept");
    }
}
