//! Code apart from comments and texts.
//!
//! A rule that looks for a call must not be misled by a comment or by a text that
//! speaks of it. So a source is masked: what is no code becomes blanks, byte for byte,
//! and every place stays where it was.

use std::ops::Range;

use super::language::Language;

/// A source, masked.
#[derive(Debug)]
pub(super) struct Masked {
    /// As long as the source, in ASCII; quotes stay, what is between them is blank.
    pub(super) code: String,
    pub(super) literals: Vec<Literal>,
}

/// A text in quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Literal {
    /// Between the quotes.
    pub(super) inner: Range<usize>,
    /// Whether it is the same each time: nothing is put into it.
    pub(super) fixed: bool,
}

impl Masked {
    pub(super) fn new(text: &str, language: Language) -> Self {
        let mut mask = Mask { text: text.as_bytes(), out: Vec::new(), literals: Vec::new() };
        mask.out.reserve(text.len());
        match language {
            Language::JavaScript => mask.javascript(),
            Language::Python => mask.python(),
            Language::Shell => mask.shell(),
        }
        let code = String::from_utf8(mask.out).unwrap_or_default();
        Self { code, literals: mask.literals }
    }
}

struct Mask<'t> {
    text: &'t [u8],
    /// What is masked so far; its length is the place.
    out: Vec<u8>,
    literals: Vec<Literal>,
}

impl Mask<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.out.len()).copied()
    }

    fn starts(&self, word: &[u8]) -> bool {
        self.text[self.out.len()..].starts_with(word)
    }

    fn keep(&mut self) {
        if let Some(byte) = self.peek() {
            // Letters beyond ASCII are part of a name, whatever they are.
            self.out.push(if byte.is_ascii() { byte } else { b'_' });
        }
    }

    fn blank(&mut self) {
        if let Some(byte) = self.peek() {
            self.out.push(if byte == b'\n' { byte } else { b' ' });
        }
    }

    fn blank_line(&mut self) {
        while self.peek().is_some_and(|byte| byte != b'\n') {
            self.blank();
        }
    }

    fn blank_through(&mut self, end: &[u8]) {
        while self.peek().is_some() && !self.starts(end) {
            self.blank();
        }
        for _ in end {
            self.blank();
        }
    }

    /// The last byte of code that is no white space.
    fn before(&self) -> Option<u8> {
        self.out.iter().rev().copied().find(|byte| !byte.is_ascii_whitespace())
    }

    /// A text up to `quote`. One that does not end on its line ends there, unless it may go on.
    fn quoted(&mut self, quote: &[u8], escapes: bool, lines: bool, put_in: impl Fn(&[u8]) -> bool) {
        for _ in quote {
            self.keep();
        }
        let start = self.out.len();
        while let Some(byte) = self.peek() {
            if self.starts(quote) || (byte == b'\n' && !lines) {
                break;
            }
            if byte == b'\\' && escapes {
                self.blank();
            }
            self.blank();
        }
        let inner = start..self.out.len();
        let fixed = !put_in(&self.text[inner.clone()]);
        self.literals.push(Literal { inner, fixed });
        if self.starts(quote) {
            for _ in quote {
                self.keep();
            }
        }
    }

    // === JavaScript, TypeScript ===

    fn javascript(&mut self) {
        let mut depth = 0_usize;
        // Where `${` was opened, and which literal it belongs to.
        let mut open: Vec<(usize, usize)> = Vec::new();
        while let Some(byte) = self.peek() {
            match byte {
                b'#' if self.out.is_empty() => self.blank_line(),
                b'/' if self.starts(b"//") => self.blank_line(),
                b'/' if self.starts(b"/*") => self.blank_through(b"*/"),
                b'/' if self.regex_may_follow() => self.regex(),
                b'\'' | b'"' => self.quoted(&[byte], true, false, |_| false),
                b'`' => {
                    self.keep();
                    let start = self.out.len();
                    self.literals.push(Literal { inner: start..start, fixed: true });
                    let literal = self.literals.len() - 1;
                    self.template(literal, depth, &mut open);
                }
                b'{' => {
                    depth += 1;
                    self.keep();
                }
                b'}' => match open.last().copied() {
                    Some((at, literal)) if at == depth => {
                        open.pop();
                        self.keep();
                        self.template(literal, depth, &mut open);
                    }
                    _ => {
                        depth = depth.saturating_sub(1);
                        self.keep();
                    }
                },
                _ => self.keep(),
            }
        }
    }

    /// The text of a template, up to its end or the next `${`.
    fn template(&mut self, literal: usize, depth: usize, open: &mut Vec<(usize, usize)>) {
        while let Some(byte) = self.peek() {
            match byte {
                b'`' => break,
                b'$' if self.starts(b"${") => {
                    self.literals[literal].fixed = false;
                    open.push((depth, literal));
                    self.keep();
                    self.keep();
                    return;
                }
                b'\\' => {
                    self.blank();
                    self.blank();
                }
                _ => self.blank(),
            }
        }
        self.literals[literal].inner.end = self.out.len();
        self.keep();
    }

    /// Whether a slash here begins a regular expression, not a division.
    fn regex_may_follow(&self) -> bool {
        const WORDS: [&[u8]; 6] = [b"return", b"typeof", b"case", b"in", b"of", b"await"];
        match self.before() {
            None => true,
            Some(byte) if b"(,=:[!&|?{};+-*%<>~^\n".contains(&byte) => true,
            Some(byte) if is_name(byte) => {
                let code = self.out.trim_ascii_end();
                WORDS.iter().any(|word| {
                    code.strip_suffix(*word)
                        .is_some_and(|rest| !rest.last().is_some_and(|byte| is_name(*byte)))
                })
            }
            Some(_) => false,
        }
    }

    fn regex(&mut self) {
        self.keep();
        let mut class = false;
        while let Some(byte) = self.peek() {
            match byte {
                b'\n' => return,
                b'/' if !class => return self.keep(),
                b'[' => class = true,
                b']' => class = false,
                b'\\' => self.blank(),
                _ => {}
            }
            self.blank();
        }
    }

    // === Python ===

    fn python(&mut self) {
        while let Some(byte) = self.peek() {
            match byte {
                b'#' => self.blank_line(),
                b'\'' | b'"' => {
                    let (raw, formatted) = self.take_prefix();
                    let triple = [byte; 3];
                    let put_in = |text: &[u8]| formatted && text.contains(&b'{');
                    match self.starts(&triple) {
                        true => self.quoted(&triple, !raw, true, put_in),
                        false => self.quoted(&[byte], !raw, false, put_in),
                    }
                }
                _ => self.keep(),
            }
        }
    }

    /// Blanks the letters before a quote, such as `rb`; returns whether the text is raw, and
    /// whether values are put into it.
    fn take_prefix(&mut self) -> (bool, bool) {
        let letters = self.out.iter().rev().take_while(|byte| is_name(**byte)).count();
        let start = self.out.len() - letters;
        let prefix = self.out[start..].to_ascii_lowercase();
        if letters > 2 || !prefix.iter().all(|byte| b"rbuft".contains(byte)) {
            return (false, false);
        }
        self.out[start..].fill(b' ');
        (prefix.contains(&b'r'), prefix.contains(&b'f') || prefix.contains(&b't'))
    }

    // === shell ===

    fn shell(&mut self) {
        let mut documents: Vec<Vec<u8>> = Vec::new();
        while let Some(byte) = self.peek() {
            let previous = self.out.last().copied();
            let begins = previous.is_none_or(|b| b.is_ascii_whitespace() || b";&|(".contains(&b));
            match byte {
                b'#' if begins => self.blank_line(),
                b'\\' => {
                    self.keep();
                    self.blank();
                }
                b'\'' => self.quoted(b"'", false, true, |_| false),
                b'"' => self
                    .quoted(b"\"", true, true, |text| text.contains(&b'$') || text.contains(&b'`')),
                b'<' if self.starts(b"<<") && !self.starts(b"<<<") => {
                    documents.extend(self.document_word());
                }
                b'\n' => {
                    self.keep();
                    for word in documents.drain(..) {
                        self.document(&word);
                    }
                }
                _ => self.keep(),
            }
        }
    }

    /// The word after `<<`.
    fn document_word(&mut self) -> Option<Vec<u8>> {
        self.keep();
        self.keep();
        while self.peek().is_some_and(|byte| byte == b'-' || byte == b' ') {
            self.keep();
        }
        let rest = &self.text[self.out.len()..];
        let quoted = rest.first().is_some_and(|byte| *byte == b'\'' || *byte == b'"');
        let word: Vec<u8> = rest[usize::from(quoted)..]
            .iter()
            .copied()
            .take_while(|byte| is_name(*byte) || *byte == b'-')
            .collect();
        for _ in 0..word.len() + 2 * usize::from(quoted) {
            self.blank();
        }
        (!word.is_empty()).then_some(word)
    }

    /// Blanks a here-document.
    fn document(&mut self, word: &[u8]) {
        while self.peek().is_some() {
            let rest = &self.text[self.out.len()..];
            let line = rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
            let last = line.trim_ascii() == word;
            self.blank_line();
            self.blank();
            if last {
                return;
            }
        }
    }
}

pub(super) fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$'
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn masked(text: &str, language: Language) -> (String, Vec<(String, bool)>) {
        let masked = Masked::new(text, language);
        let literal = |l: &Literal| (text[l.inner.clone()].to_owned(), l.fixed);
        (masked.code.clone(), masked.literals.iter().map(literal).collect())
    }

    #[test]
    fn only_code_stays() {
        use Language::{JavaScript, Python, Shell};
        let cases = [
            (JavaScript, "a('x') // eval(", "a(' ')         "),
            (JavaScript, "/* eval( */ b", "            b"),
            (JavaScript, "x = /a\\/[/]'/.test(y)", "x = /       /.test(y)"),
            (JavaScript, "x = 6 / 2 / 'a'", "x = 6 / 2 / ' '"),
            (JavaScript, "`a${b + `c${d}`}e` f", "` ${b + ` ${d}`} ` f"),
            (JavaScript, "#!/bin/node\nx", "           \nx"),
            (JavaScript, "'don\\'t' x", "'      ' x"),
            (Python, "x = f'{a}' # no", "x =  '   '     "),
            (Python, "'''a\n'b\n''' y", "''' \n  \n''' y"),
            (Python, "r'\\' z", " ' ' z"),
            (Shell, "echo 'a # b' # c", "echo '     '    "),
            (Shell, "echo a#b $#", "echo a#b $#"),
            (Shell, "cat <<EOF\neval\nEOF\nx", "cat <<   \n    \n   \nx"),
        ];
        for (language, text, expected) in cases {
            assert_eq!(masked(text, language).0, expected, "{text}");
        }
    }

    #[test]
    fn texts_know_whether_something_is_put_into_them() {
        let said = |text, language| masked(text, language).1.into_iter().map(|l| l.1);
        assert!(said("`a`", Language::JavaScript).eq([true]));
        assert!(said("`a${b}`", Language::JavaScript).eq([false]));
        assert!(said("'a' + b", Language::JavaScript).eq([true]));
        assert!(said("f'a' f'{a}' '{a}'", Language::Python).eq([true, false, true]));
        assert!(said("'$a' \"$a\" \"a\"", Language::Shell).eq([true, false, true]));
    }

    proptest! {
        #[test]
        fn every_place_stays_where_it_was(text in "[ -~\n`'\"#/\\\\${}<é]{0,80}") {
            for language in [Language::JavaScript, Language::Python, Language::Shell] {
                let masked = Masked::new(&text, language);
                prop_assert_eq!(masked.code.len(), text.len());
                prop_assert_eq!(masked.code.lines().count(), text.lines().count());
                for literal in masked.literals {
                    prop_assert!(literal.inner.start <= literal.inner.end);
                    prop_assert!(literal.inner.end <= text.len());
                }
            }
        }
    }
}
