//! Looking for a text in a body that comes in pieces.

/// A text, and for each of its prefixes the longest one it also ends with: what is still matched
/// when the next byte does not fit (Knuth, Morris, Pratt 1977). No byte of the body is kept.
#[derive(Debug, Clone)]
pub(crate) struct Needle {
    text: Box<[u8]>,
    fallback: Box<[usize]>,
}

impl Needle {
    /// `text` is not empty.
    pub(super) fn new(text: &[u8]) -> Self {
        let mut fallback = vec![0; text.len()];
        let mut matched = 0;
        for (index, &byte) in text.iter().enumerate().skip(1) {
            while matched > 0 && text[matched] != byte {
                matched = fallback[matched - 1];
            }
            matched += usize::from(text[matched] == byte);
            fallback[index] = matched;
        }
        Self { text: text.into(), fallback: fallback.into() }
    }

    /// Goes on with a piece; `matched` carries over from the one before and stays once found.
    pub(super) fn search(&self, matched: &mut usize, piece: &[u8]) {
        for &byte in piece {
            if self.is_found(*matched) {
                return;
            }
            while *matched > 0 && self.text[*matched] != byte {
                *matched = self.fallback[*matched - 1];
            }
            *matched += usize::from(self.text[*matched] == byte);
        }
    }

    /// Whether `matched` means all of it.
    pub(super) fn is_found(&self, matched: usize) -> bool {
        matched == self.text.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn finds_what_is_there(text in "[ab]{1,6}", body in "[ab]{0,60}", split in 0usize..60) {
            let needle = Needle::new(text.as_bytes());
            let (first, second) = body.as_bytes().split_at(split.min(body.len()));
            let mut matched = 0;
            needle.search(&mut matched, first);
            needle.search(&mut matched, second);
            prop_assert_eq!(needle.is_found(matched), body.contains(&text));
        }
    }
}
