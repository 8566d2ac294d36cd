//! How a server reads strings: what a session's parameters make of backslashes.

use super::end_of_quoted;

/// The parameters that decide where a string ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Quoting {
    /// A backslash escapes what follows in every string, not only in `E'…'`:
    /// `standard_conforming_strings` is off.
    pub(crate) escapes: bool,
    /// In which character sets a byte may be like a backslash and be none.
    characters: Characters,
}

/// What `client_encoding` says of bytes above 127. The server takes a text apart in an encoding of
/// its own, in which no part of a character is like a backslash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Characters {
    /// Nothing that matters here.
    #[default]
    Plain,
    /// Each begins a character of two bytes, the second of which may be like a backslash. Four
    /// bytes of GB18030 are two such pairs.
    Pairs,
    /// Likewise, but for the narrow katakana.
    ShiftJis,
}

impl Quoting {
    /// By the values of these parameters as servers report them.
    pub(crate) fn new(conforming: Option<&[u8]>, encoding: Option<&[u8]>) -> Self {
        let characters = match encoding {
            Some(b"SJIS" | b"SHIFT_JIS_2004") => Characters::ShiftJis,
            Some(b"BIG5" | b"GBK" | b"UHC" | b"GB18030") => Characters::Pairs,
            _ => Characters::Plain,
        };
        Self { escapes: conforming == Some(b"off"), characters }
    }

    /// With the other value of `standard_conforming_strings`.
    pub(crate) fn otherwise(self) -> Self {
        Self { escapes: !self.escapes, ..self }
    }

    /// Whether this byte and the next are one character.
    pub(crate) fn begins_pair(self, byte: u8) -> bool {
        match self.characters {
            Characters::Plain => false,
            Characters::Pairs => byte >= 0x80,
            Characters::ShiftJis => byte >= 0x80 && !(0xa1..=0xdf).contains(&byte),
        }
    }

    /// Whether any byte may begin such a character.
    pub(crate) fn knows_pairs(self) -> bool {
        self.characters != Characters::Plain
    }

    /// Where an ordinary string ends that begins before `start`; the end of the text when it does
    /// not.
    pub(super) fn end_of_string(self, text: &[u8], start: usize) -> usize {
        if self.escapes {
            self.end_of_escaped(text, start)
        } else {
            end_of_quoted(text, start, b'\'')
        }
    }

    /// Likewise, of one in which backslashes escape.
    pub(super) fn end_of_escaped(self, text: &[u8], start: usize) -> usize {
        let character = |at: usize| {
            if text.get(at).is_some_and(|byte| self.begins_pair(*byte)) { 2 } else { 1 }
        };
        let mut at = start;
        while let Some(byte) = text.get(at) {
            at += match byte {
                b'\\' => 1 + character(at + 1),
                b'\'' if text.get(at + 1) == Some(&b'\'') => 2,
                b'\'' => return at + 1,
                _ => character(at),
            };
        }
        text.len()
    }

    /// All there are.
    #[cfg(test)]
    pub(crate) fn each() -> impl Iterator<Item = Self> {
        let encodings = [None, Some(&b"SJIS"[..]), Some(b"BIG5")];
        encodings.into_iter().flat_map(|encoding| {
            [b"on".as_slice(), b"off"].map(|value| Self::new(Some(value), encoding))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Kind, Lexer};
    use super::*;

    #[test]
    fn strings_end_where_the_server_says() {
        const SO: &[u8] = b"\x83\x5c";
        let text = |parts: &[&[u8]]| parts.concat();
        for (conforming, encoding, string) in [
            ("on", "UTF8", text(&[br"'\'"])),
            ("off", "UTF8", text(&[br"'\''"])),
            ("off", "UTF8", text(&[br"N'\''"])),
            ("off", "UTF8", text(&[br"x'\'"])),
            ("off", "UTF8", text(&[br"b'\'"])),
            ("off", "UTF8", text(&[br"'a\\'"])),
            ("on", "SJIS", text(&[b"E'", SO, b"'"])),
            ("on", "SJIS", text(&[b"E'\\", SO, b"'"])),
            ("on", "SJIS", text(&[b"E'\xb1\\''"])),
            ("off", "SHIFT_JIS_2004", text(&[b"'", SO, SO, b"'"])),
            ("on", "BIG5", text(&[b"E'\xb1\\'"])),
            ("on", "EUC_JP", text(&[b"E'\xb1\\''"])),
            ("on", "GB18030", text(&[b"E'\x81\x30\x81\x30\\''"])),
        ] {
            let quoting = Quoting::new(Some(conforming.as_bytes()), Some(encoding.as_bytes()));
            let whole = text(&[&string, b"+'"]);
            let first = Lexer::new(&whole, quoting).next().unwrap();
            assert_eq!(
                (first.kind, first.text),
                (Kind::Literal, &*string),
                "{conforming} {encoding}"
            );
        }
    }
}
