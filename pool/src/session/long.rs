//! Texts that are too long to be kept: read while they pass, in whatever pieces they come.
//!
//! Of each statement the beginning is kept, and read like any text when the statement is over.
//! Behind that, words are looked for that tie the client to its server wherever they are. In doubt
//! it is tied: such a text is on its way to the server before it can be refused.

use memchr::{memchr2, memchr3};

use super::{Effects, Reason, may_matter, read};
use crate::sql::{Kind, Lexer, Quoting, is_space};

/// Bytes of a statement that are kept, comments left out.
const MAX_HEAD: usize = 4096;
/// Longest word that is looked for: `pg_try_advisory_lock_shared`.
const MAX_WORD: usize = 27;
/// Longest `$tag$` whose end is looked for, bytes.
const MAX_TAG: usize = 256;
/// Most channels that one text may stop listening to and be followed.
const MAX_UNLISTENED: usize = 1024;

/// A text as far as it has come.
#[derive(Debug, Default)]
pub(crate) struct LongText {
    quoting: Quoting,
    place: Place,
    /// How the statement begins.
    head: Vec<u8>,
    /// There is more of it than is kept.
    overflows: bool,
    /// The word being read, as far as one is looked for that begins like it.
    word: Vec<u8>,
    /// The mark that ends the string in dollars being read.
    mark: Vec<u8>,
    /// The word before may stand before a word that makes a table temporary.
    after_into: bool,
    /// What words in the statement are known for.
    watched: Vec<Reason>,
    effects: Effects,
}

/// Where in a text the next byte is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Place {
    #[default]
    Between,
    Word,
    Number,
    /// `$1`.
    Parameter,
    /// Behind a `$` and what follows it, which may be the tag of a string.
    Dollar,
    /// In a string in dollars; so many bytes of the mark at its end have come.
    InDollars(usize),
    Quoted(Quotes),
    /// Behind a backslash.
    Escaped,
    /// Behind the first byte of a character of two, in a string with backslashes.
    Pair,
    /// Behind a quote: the end, or the first of two.
    Quote(Quotes),
    /// Behind `-`.
    Dash,
    LineComment,
    /// Behind `/`.
    Slash,
    Comment {
        depth: u32,
        before: u8,
    },
    /// The text is over.
    Over,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quotes {
    Single,
    /// With backslashes.
    Escapes,
    Double,
}

impl Quotes {
    fn quote(self) -> u8 {
        if self == Self::Double { b'"' } else { b'\'' }
    }
}

// === impl LongText ===

impl LongText {
    pub(crate) fn new(quoting: Quoting) -> Self {
        Self { quoting, ..Self::default() }
    }

    /// Takes what comes next; from the zero that ends the text on, nothing.
    pub(crate) fn read_on(&mut self, mut piece: &[u8]) {
        while !piece.is_empty() && self.place != Place::Over {
            // What is long, as a rule, is passed over at once.
            let skipped = match self.place {
                Place::Quoted(Quotes::Single) => memchr2(b'\'', 0, piece),
                Place::Quoted(Quotes::Double) => memchr2(b'"', 0, piece),
                Place::Quoted(Quotes::Escapes) if !self.quoting.knows_pairs() => {
                    memchr3(b'\'', b'\\', 0, piece)
                }
                Place::InDollars(0) => memchr2(b'$', 0, piece),
                _ => Some(0),
            };
            let skipped = skipped.unwrap_or(piece.len());
            self.keep(&piece[..skipped]);
            piece = &piece[skipped..];
            if let Some((&byte, rest)) = piece.split_first() {
                piece = rest;
                self.take(byte);
            }
        }
    }

    /// What all of it does, now that it is over.
    pub(crate) fn finish(mut self) -> Option<Effects> {
        self.end_token();
        self.end_statement();
        (self.effects != Effects::default()).then_some(self.effects)
    }

    /// What a text does that is all here.
    pub(super) fn read_whole(text: &[u8], quoting: Quoting) -> Option<Effects> {
        let mut long = Self::new(quoting);
        long.read_on(text);
        long.finish()
    }

    fn take(&mut self, byte: u8) {
        if byte == 0 {
            self.end_token();
            self.place = Place::Over;
            return;
        }
        match self.place {
            Place::Between => self.begin(byte),
            Place::Word if goes_on_in_word(byte) => {
                if self.word.len() <= MAX_WORD {
                    self.word.push(byte.to_ascii_lowercase());
                }
                self.keep(&[byte]);
            }
            Place::Word if byte == b'\'' => {
                let Some(quotes) = prefix(&self.word) else {
                    self.end_token();
                    return self.begin(byte);
                };
                self.word.clear();
                self.enter(Place::Quoted(quotes), byte);
            }
            Place::Number if goes_on_in_number(byte) => self.keep(&[byte]),
            Place::Parameter if byte.is_ascii_digit() => self.keep(&[byte]),
            Place::Dollar => self.take_in_tag(byte),
            Place::InDollars(come) => {
                let come = match byte {
                    byte if self.mark.get(come) == Some(&byte) => come + 1,
                    b'$' => 1,
                    _ => 0,
                };
                let over = come == self.mark.len();
                self.enter(if over { Place::Between } else { Place::InDollars(come) }, byte);
            }
            Place::Quoted(quotes) if byte == quotes.quote() => {
                self.enter(Place::Quote(quotes), byte);
            }
            Place::Quoted(Quotes::Escapes) if byte == b'\\' => self.enter(Place::Escaped, byte),
            Place::Quoted(Quotes::Escapes) | Place::Escaped if self.quoting.begins_pair(byte) => {
                self.enter(Place::Pair, byte);
            }
            Place::Quoted(_) => self.keep(&[byte]),
            Place::Escaped | Place::Pair => self.enter(Place::Quoted(Quotes::Escapes), byte),
            Place::Quote(quotes) if byte == quotes.quote() => {
                self.enter(Place::Quoted(quotes), byte);
            }
            Place::Dash if byte == b'-' => self.place = Place::LineComment,
            Place::LineComment => {
                if matches!(byte, b'\n' | b'\r') {
                    self.place = Place::Between;
                    self.begin(byte);
                }
            }
            Place::Slash if byte == b'*' => self.place = Place::Comment { depth: 1, before: 0 },
            Place::Comment { depth, before } => self.take_in_comment(byte, depth, before),
            Place::Over => {}
            _ => {
                self.end_token();
                self.begin(byte);
            }
        }
    }

    /// The first byte of a token.
    fn begin(&mut self, byte: u8) {
        match byte {
            b'\'' => self.enter(Place::Quoted(self.ordinary()), byte),
            b'"' => self.enter(Place::Quoted(Quotes::Double), byte),
            b'$' => {
                self.mark.clear();
                self.mark.push(byte);
                self.place = Place::Dollar;
            }
            b'-' => self.place = Place::Dash,
            b'/' => self.place = Place::Slash,
            b';' => self.end_statement(),
            byte if is_space(byte) => {
                if !self.head.last().is_none_or(|last| is_space(*last)) {
                    self.keep(&[byte]);
                }
            }
            byte if byte.is_ascii_digit() => self.enter(Place::Number, byte),
            byte if goes_on_in_word(byte) => {
                self.word.clear();
                self.word.push(byte.to_ascii_lowercase());
                self.enter(Place::Word, byte);
            }
            byte => self.keep(&[byte]),
        }
    }

    /// What ends a string that nothing stands before.
    fn ordinary(&self) -> Quotes {
        if self.quoting.escapes { Quotes::Escapes } else { Quotes::Single }
    }

    /// The token is over, whatever comes now.
    fn end_token(&mut self) {
        match std::mem::take(&mut self.place) {
            Place::Word => self.watch(),
            Place::Dash => self.keep(b"-"),
            Place::Slash => self.keep(b"/"),
            Place::Dollar => {
                // None of a string: a character, and a word behind it.
                let mark = std::mem::take(&mut self.mark);
                self.keep(&mark);
                self.word = mark[1..].to_ascii_lowercase();
                self.watch();
            }
            Place::Over => self.place = Place::Over,
            _ => {}
        }
    }

    fn take_in_tag(&mut self, byte: u8) {
        let first = self.mark.len() == 1;
        if first && byte.is_ascii_digit() {
            self.keep(b"$");
            self.enter(Place::Parameter, byte);
        } else if byte == b'$' {
            self.mark.push(byte);
            let mark = std::mem::take(&mut self.mark);
            self.keep(&mark);
            self.mark = mark;
            self.place = Place::InDollars(0);
        } else if goes_on_in_word(byte) && self.mark.len() < MAX_TAG {
            self.mark.push(byte);
        } else if goes_on_in_word(byte) {
            // Where this ends is not known.
            self.note(Reason::Setting);
            self.place = Place::Over;
        } else if byte == b'\''
            && let Some(quotes) = prefix(&self.mark[1..].to_ascii_lowercase())
        {
            let mark = std::mem::take(&mut self.mark);
            self.keep(&mark);
            self.enter(Place::Quoted(quotes), byte);
        } else {
            self.end_token();
            self.begin(byte);
        }
    }

    fn take_in_comment(&mut self, byte: u8, depth: u32, before: u8) {
        self.place = match (before, byte) {
            (b'*', b'/') if depth == 1 => {
                self.begin(b' ');
                Place::Between
            }
            (b'*', b'/') => Place::Comment { depth: depth - 1, before: 0 },
            (b'/', b'*') => Place::Comment { depth: depth.saturating_add(1), before: 0 },
            _ => Place::Comment { depth, before: byte },
        };
    }

    fn enter(&mut self, place: Place, byte: u8) {
        self.place = place;
        self.keep(&[byte]);
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.overflows {
            return;
        }
        let room = MAX_HEAD - self.head.len();
        self.overflows = bytes.len() > room;
        self.head.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    // === What it does ===

    /// A word is over.
    fn watch(&mut self) {
        let into = std::mem::take(&mut self.after_into);
        let reason = match &self.word[..] {
            b"into" | b"local" | b"global" | b"table" => {
                self.after_into = true;
                None
            }
            b"temp" | b"temporary" if into => Some(Reason::TemporaryTable),
            b"pg_temp" => Some(Reason::TemporaryTable),
            b"hold" => Some(Reason::HoldCursor),
            b"set_config" => Some(Reason::Setting),
            word if read::locks(word) => Some(Reason::AdvisoryLock),
            _ => None,
        };
        if let Some(reason) = reason
            && !self.watched.contains(&reason)
        {
            self.watched.push(reason);
        }
        self.word.clear();
    }

    fn end_statement(&mut self) {
        if may_matter(&self.head) {
            read::read_more(&self.head, self.quoting, &mut self.effects);
        }
        self.effects.unlistened.truncate(MAX_UNLISTENED);
        let watched = std::mem::take(&mut self.watched);
        if std::mem::take(&mut self.overflows) {
            let mut words =
                Lexer::new(&self.head, self.quoting).filter(|token| token.kind != Kind::Space);
            let first = words.next();
            let begins = |word: &str| first.as_ref().is_some_and(|first| first.is_word(word));
            let (sets, declares) = (begins("SET") || begins("RESET"), begins("DECLARE"));
            let inserts = begins("INSERT") || begins("UPDATE") || begins("DELETE");
            for reason in watched {
                let counts = match reason {
                    Reason::HoldCursor => declares,
                    Reason::TemporaryTable => !inserts,
                    _ => true,
                };
                if counts {
                    self.note(reason);
                }
            }
            if sets {
                self.note(Reason::Setting);
            }
        }
        self.head.clear();
        self.after_into = false;
    }

    fn note(&mut self, reason: Reason) {
        self.effects.note_pin(reason);
    }
}

/// What ends a string right behind this word, in lower case, if the word is a part of it.
fn prefix(word: &[u8]) -> Option<Quotes> {
    match word {
        b"e" => Some(Quotes::Escapes),
        b"b" | b"x" => Some(Quotes::Single),
        _ => None,
    }
}

fn goes_on_in_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | 0x80..)
}

fn goes_on_in_number(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn told(text: &str) -> Option<Effects> {
        LongText::read_whole(text.as_bytes(), Quoting::default())
    }

    fn pins(text: &str) -> Vec<Reason> {
        told(text).unwrap_or_default().pins
    }

    #[test]
    fn what_is_behind_much_text_is_seen() {
        let much = "x".repeat(100_000);
        for before in [
            format!("SELECT '{much};'; "),
            format!("SELECT $a${much} $b$ ' $a$; "),
            format!("/* {much} /* ; */ ' */"),
            format!("-- {much} ' \n"),
            format!("SELECT E'\\'{much}'; "),
            format!("SELECT \"{much}\"\"\"; "),
            format!("INSERT INTO t VALUES {}(2); ", "(1, 1.5e-7, $1), ".repeat(5000)),
        ] {
            let text = format!("{before}SET a.b = 'c'");
            let wanted = Effects { set: vec!["a.b".into()], ..Effects::default() };
            assert_eq!(told(&text), Some(wanted), "{}", &text[..30]);
            assert_eq!(pins(&format!("{before}LISTEN x;")), [Reason::Listen]);
            assert_eq!(told(&before), None, "{}", &before[..30]);
        }
    }

    #[test]
    fn what_is_far_on_in_a_statement_is_seen() {
        let much = "a, ".repeat(10_000);
        for (text, wanted) in [
            (format!("SELECT {much} pg_advisory_lock(1)"), Reason::AdvisoryLock),
            (format!("SELECT {much} set_config('a', 'b', false)"), Reason::Setting),
            (format!("SELECT {much} a INTO TEMP t"), Reason::TemporaryTable),
            (format!("SELECT {much} a INTO TABLE pg_temp.t"), Reason::TemporaryTable),
            (format!("SET search_path = {much} a"), Reason::Setting),
            (format!("DECLARE {much} CURSOR WITH HOLD FOR"), Reason::HoldCursor),
            (format!("CREATE TEMP TABLE t ({much})"), Reason::TemporaryTable),
        ] {
            assert_eq!(pins(&text), [wanted], "{}", &text[..30]);
        }
        for text in [
            format!("SELECT {much} 'pg_advisory_lock(1)', temp, hold"),
            format!("INSERT INTO temp VALUES ({much} 1)"),
            format!("SELECT {much} pg_advisory_xact_lock(1)"),
        ] {
            assert_eq!(told(&text), None, "{}", &text[..30]);
        }
    }

    #[test]
    fn what_follows_the_end_is_none_of_it() {
        assert_eq!(told("SELECT 1\0; SET a = 1"), None);
        assert_eq!(told("SELECT 'x\0'; SET a = 1"), None);
        assert!(told("SET a = 1\0").is_some());
    }

    proptest! {
        #[test]
        fn pieces_are_read_like_the_whole(
            text in prop::collection::vec(any::<u8>(), 0..300),
            cuts in prop::collection::vec(1usize..20, 1..40),
            quoting in prop::sample::select(Quoting::each().collect::<Vec<_>>()),
        ) {
            let mut long = LongText::new(quoting);
            let (mut rest, mut cuts) = (&text[..], cuts.iter().cycle());
            while !rest.is_empty() {
                let cut = *cuts.next().unwrap_or(&1);
                let (piece, behind) = rest.split_at(cut.min(rest.len()));
                long.read_on(piece);
                rest = behind;
            }
            prop_assert_eq!(long.finish(), LongText::read_whole(&text, quoting));
        }

        /// Where quotes and comments begin and end is seen as it is in short texts.
        #[test]
        fn long_texts_are_read_like_short_ones(
            parts in prop::collection::vec(prop::sample::select(vec![
                "'", "\"", "$$", "$a$", "$e", "$1", "e'", "E'", "N'", "x'", "$b'", "\u{83}\\", "\u{b1}", "\\", "--", "\n", "\r", "/*", "*/", ";",
                " ", "1", "1e", "x", "a.b", "SET a = 1", "; SET b = 2;", "listen x", "-", "/", "*", "(", "u&'",
            ]), 0..40),
            quoting in prop::sample::select(Quoting::each().collect::<Vec<_>>()),
        ) {
            // One byte each, as where they begin characters of two.
            let text: Vec<u8> = parts.concat().chars().map(|c| c as u8).collect();
            let mut wanted = Effects::default();
            read::read_more(&text, quoting, &mut wanted);
            let wanted = (wanted != Effects::default()).then_some(wanted);
            prop_assert_eq!(LongText::read_whole(&text, quoting), wanted, "{:?}", parts);
        }
    }
}
