//! Numbers in as few bytes as they need, and a checksum around them.

/// Seven bits a byte, lowest first, the eighth says whether more follow (LEB128).
pub(super) fn put_unsigned(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Small either way of 0 is short (zigzag).
pub(super) fn put_signed(out: &mut Vec<u8>, value: i64) {
    put_unsigned(out, ((value << 1) ^ (value >> 63)) as u64);
}

/// Bytes of a checksum.
const SEAL_BYTES: usize = 4;

/// Adds a checksum of everything in `out`.
pub(super) fn seal(out: &mut Vec<u8>) {
    let sum = crc32fast::hash(out);
    out.extend_from_slice(&sum.to_le_bytes());
}

/// What was sealed; `None` when it is not what it was.
pub(super) fn unseal(bytes: &[u8]) -> Option<&[u8]> {
    let (content, sum) = bytes.split_at_checked(bytes.len().checked_sub(SEAL_BYTES)?)?;
    (crc32fast::hash(content).to_le_bytes() == sum).then_some(content)
}

/// Reads what the functions above wrote. Never reads past the end.
#[derive(Debug)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    pub(super) fn take(&mut self, many: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(many)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn unsigned(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    pub(super) fn signed(&mut self) -> Option<i64> {
        let value = self.unsigned()?;
        Some((value >> 1) as i64 ^ -((value & 1) as i64))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_come_back(signed in any::<i64>(), unsigned in any::<u64>()) {
            let mut out = Vec::new();
            put_signed(&mut out, signed);
            put_unsigned(&mut out, unsigned);
            let mut reader = Reader::new(&out);
            prop_assert_eq!(reader.signed(), Some(signed));
            prop_assert_eq!(reader.unsigned(), Some(unsigned));
            prop_assert!(reader.is_empty());
        }

        #[test]
        fn a_changed_byte_is_noticed(
            mut bytes in prop::collection::vec(any::<u8>(), 1..100),
            at in any::<prop::sample::Index>(),
            change in 1..255_u8,
        ) {
            let content = bytes.clone();
            seal(&mut bytes);
            prop_assert_eq!(unseal(&bytes), Some(content.as_slice()));
            let at = at.index(bytes.len());
            bytes[at] ^= change;
            prop_assert_eq!(unseal(&bytes), None);
        }

        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let mut reader = Reader::new(&bytes);
            while reader.unsigned().is_some() {}
            let _ = unseal(&bytes);
        }
    }
}
