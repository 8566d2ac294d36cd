//! SQL, taken apart as far as quoting goes: PostgreSQL's lexical rules (its documentation, 4.1).

mod quoting;
mod redact;

pub(crate) use quoting::Quoting;
pub(crate) use redact::redact;

/// Longest name of anything, bytes (`NAMEDATALEN`).
const MAX_NAME: usize = 63;

/// A name, without what the server cuts off. No half of a character is left, as in a statement;
/// at a login a server would leave one, which is nobody's name.
pub(crate) fn cut_off(name: &str) -> &str {
    &name[..name.floor_char_boundary(MAX_NAME)]
}

/// A piece of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token<'a> {
    pub(crate) kind: Kind,
    /// As written.
    pub(crate) text: &'a [u8],
}

/// What a piece is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A key word or an identifier without quotes.
    Word,
    /// An identifier in double quotes.
    Quoted,
    /// A string of any form.
    Literal,
    Number,
    /// `$1`.
    Parameter,
    /// White space and comments.
    Space,
    /// Any other character.
    Other,
}

/// The pieces of a text, in order; together they are the text.
pub(crate) struct Lexer<'a> {
    rest: &'a [u8],
    quoting: Quoting,
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(text: &'a [u8], quoting: Quoting) -> Self {
        Self { rest: text, quoting }
    }
}

impl<'a> Iterator for Lexer<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        let (kind, length) = first(self.rest, self.quoting)?;
        let (text, rest) = self.rest.split_at(length.min(self.rest.len()));
        self.rest = rest;
        Some(Token { kind, text })
    }
}

impl<'a> Token<'a> {
    pub(crate) fn is_word(&self, word: &str) -> bool {
        self.kind == Kind::Word && self.text.eq_ignore_ascii_case(word.as_bytes())
    }

    pub(crate) fn is(&self, character: u8) -> bool {
        self.kind == Kind::Other && self.text == [character]
    }

    /// What an identifier names, in lower case unless it is quoted.
    pub(crate) fn identifier(&self) -> Option<String> {
        match self.kind {
            Kind::Word => Some(String::from_utf8_lossy(self.text).to_ascii_lowercase()),
            Kind::Quoted => {
                let inner = self.text.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
                Some(String::from_utf8_lossy(inner).replace("\"\"", "\""))
            }
            _ => None,
        }
    }

    /// What a plain string in quotes says.
    pub(crate) fn string(&self) -> Option<String> {
        if self.kind != Kind::Literal {
            return None;
        }
        let inner = self.text.strip_prefix(b"'")?.strip_suffix(b"'")?;
        Some(String::from_utf8_lossy(inner).replace("''", "'"))
    }
}

/// White space to the server's scanner; to some of its versions a vertical tab is none, and an error.
pub(crate) fn is_space(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == b'\x0b'
}

fn is_word_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

fn is_word(byte: u8) -> bool {
    is_word_start(byte) || byte.is_ascii_digit() || byte == b'$'
}

/// The kind and length of the first piece.
fn first(text: &[u8], quoting: Quoting) -> Option<(Kind, usize)> {
    let string = |start| quoting.end_of_string(text, start);
    let length = |matches: fn(u8) -> bool| {
        text.iter().position(|byte| !matches(*byte)).unwrap_or(text.len())
    };
    let found = match *text.first()? {
        byte if is_space(byte) => (Kind::Space, length(is_space)),
        b'-' if text.starts_with(b"--") => {
            let end = text.iter().position(|b| matches!(b, b'\n' | b'\r'));
            (Kind::Space, end.map_or(text.len(), |at| at + 1))
        }
        b'/' if text.starts_with(b"/*") => (Kind::Space, comment(text)),
        b'\'' => (Kind::Literal, string(1)),
        b'"' => (Kind::Quoted, end_of_quoted(text, 1, b'"')),
        b'e' | b'E' if text.get(1) == Some(&b'\'') => {
            (Kind::Literal, quoting.end_of_escaped(text, 2))
        }
        b'b' | b'B' | b'x' | b'X' if text.get(1) == Some(&b'\'') => {
            (Kind::Literal, end_of_quoted(text, 2, b'\''))
        }
        b'n' | b'N' if text.get(1) == Some(&b'\'') => (Kind::Literal, string(2)),
        // With backslashes that escape, the server refuses it.
        b'u' | b'U' if text.get(1..3) == Some(b"&'") => (Kind::Literal, string(3)),
        b'$' => dollar(text),
        byte if is_word_start(byte) => (Kind::Word, length(is_word)),
        byte if byte.is_ascii_digit() => (Kind::Number, number(text)),
        b'.' if text.get(1).is_some_and(u8::is_ascii_digit) => (Kind::Number, number(text)),
        _ => (Kind::Other, 1),
    };
    Some(found)
}

/// Where what is quoted from `start` on ends; the end of the text when it does not.
fn end_of_quoted(text: &[u8], start: usize, quote: u8) -> usize {
    let mut at = start;
    while let Some(byte) = text.get(at) {
        at += match *byte {
            byte if byte == quote && text.get(at + 1) == Some(&quote) => 2,
            byte if byte == quote => return at + 1,
            _ => 1,
        };
    }
    text.len()
}

/// Comments nest.
fn comment(text: &[u8]) -> usize {
    let (mut at, mut depth) = (2, 1);
    while depth > 0 && at < text.len() {
        match text.get(at..at + 2) {
            Some(b"/*") => (at, depth) = (at + 2, depth + 1),
            Some(b"*/") => (at, depth) = (at + 2, depth - 1),
            _ => at += 1,
        }
    }
    at
}

/// A parameter, or a string between `$tag$`.
fn dollar(text: &[u8]) -> (Kind, usize) {
    let tag = text[1..].iter().position(|byte| !is_word(*byte) || *byte == b'$').unwrap_or(0);
    let end = 1 + tag;
    let digits = text[1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits > 0 {
        return (Kind::Parameter, 1 + digits);
    }
    if text.get(end) != Some(&b'$') {
        return (Kind::Other, 1);
    }
    let mark = &text[..=end];
    let body = &text[end + 1..];
    let close = body.windows(mark.len()).position(|window| window == mark);
    (Kind::Literal, close.map_or(text.len(), |at| end + 1 + at + mark.len()))
}

fn number(text: &[u8]) -> usize {
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        let exponent = matches!(byte, b'+' | b'-')
            && matches!(text[at.saturating_sub(1)], b'e' | b'E')
            && at > 0
            && text.get(at + 1).is_some_and(u8::is_ascii_digit);
        if !(byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_') || exponent) {
            break;
        }
        at += 1;
    }
    at.max(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kinds(text: &str) -> Vec<(Kind, String)> {
        let lexer = Lexer::new(text.as_bytes(), Quoting::default())
            .filter(|token| token.kind != Kind::Space);
        lexer.map(|t| (t.kind, String::from_utf8_lossy(t.text).into_owned())).collect()
    }

    #[test]
    fn quotes_of_every_form() {
        for (text, wanted) in [
            ("'a''b'", Kind::Literal),
            (r"E'a\'b'", Kind::Literal),
            ("x'1F'", Kind::Literal),
            ("U&'\\0061'", Kind::Literal),
            ("$$it's$$", Kind::Literal),
            ("$a$ $b$ ' $a$", Kind::Literal),
            ("\"a\"\"b\"", Kind::Quoted),
            ("$12", Kind::Parameter),
            ("a$1", Kind::Word),
            ("1.5e-7", Kind::Number),
            (".5", Kind::Number),
        ] {
            assert_eq!(kinds(text), [(wanted, text.to_owned())]);
        }
        assert_eq!(kinds("-- a ' b\n1 /* ' /* */ ' */ + 2").len(), 3);
        assert_eq!(kinds("'unfinished"), [(Kind::Literal, "'unfinished".to_owned())]);
    }

    proptest! {
        #[test]
        fn the_pieces_are_the_text(text in prop::collection::vec(any::<u8>(), 0..200)) {
            for quoting in Quoting::each() {
                let pieces = Lexer::new(&text, quoting).flat_map(|t| t.text.to_vec());
                prop_assert_eq!(&pieces.collect::<Vec<u8>>(), &text);
            }
        }

        #[test]
        fn likely_text_is_taken_apart(text in "[ a$'\"e1.*/\\-]{0,40}") {
            for quoting in Quoting::each() {
                let pieces = Lexer::new(text.as_bytes(), quoting).flat_map(|t| t.text.to_vec());
                prop_assert_eq!(&pieces.collect::<Vec<u8>>(), text.as_bytes());
            }
        }
    }
}
