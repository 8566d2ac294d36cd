//! A script taken apart: commands, and statements with their variables.

/// What comes next in a script.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A line with a backslash before it, which is left out.
    Command { line: usize, text: String },
    /// A statement, without its semicolon.
    Statement { line: usize, pieces: Vec<Part> },
}

/// A part of a statement.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    Text(String),
    Variable(String),
}

/// Goes through a script.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    rest: &'a str,
    line: usize,
}

/// What is wrong, and the line it is in.
type Fault = (usize, String);

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { rest: text, line: 1 }
    }

    /// The line it has come to.
    pub(super) fn line(&self) -> usize {
        self.line
    }

    pub(super) fn next(&mut self) -> Result<Option<Found>, Fault> {
        self.skip_blank()?;
        let line = self.line;
        if self.rest.is_empty() {
            return Ok(None);
        }
        if let Some(text) = self.rest.strip_prefix('\\') {
            let end = text.find('\n').unwrap_or(text.len());
            self.take(1 + end);
            return Ok(Some(Found::Command { line, text: text[..end].trim().to_owned() }));
        }
        let pieces = self.statement()?;
        Ok(Some(Found::Statement { line, pieces }))
    }

    /// Takes the front of the rest.
    fn take(&mut self, len: usize) -> &'a str {
        let (front, rest) = self.rest.split_at(len);
        self.line += front.matches('\n').count();
        self.rest = rest;
        front
    }

    /// Whitespace, comments, and semicolons that end nothing.
    fn skip_blank(&mut self) -> Result<(), Fault> {
        loop {
            let blank = self.rest.trim_start_matches(|c: char| c.is_whitespace() || c == ';');
            self.take(self.rest.len() - blank.len());
            match self.comment()? {
                0 => return Ok(()),
                len => self.take(len),
            };
        }
    }

    /// How long the comment is that comes next.
    fn comment(&self) -> Result<usize, Fault> {
        if self.rest.starts_with("--") {
            return Ok(self.rest.find('\n').unwrap_or(self.rest.len()));
        }
        if !self.rest.starts_with("/*") {
            return Ok(0);
        }
        // They nest.
        let (mut depth, mut len) = (0, 0);
        loop {
            let rest = &self.rest[len..];
            let step = match () {
                () if rest.starts_with("/*") => {
                    depth += 1;
                    2
                }
                () if rest.starts_with("*/") => {
                    depth -= 1;
                    2
                }
                () => rest.chars().next().ok_or_else(|| self.open("a comment"))?.len_utf8(),
            };
            len += step;
            if depth == 0 {
                return Ok(len);
            }
        }
    }

    fn open(&self, what: &str) -> Fault {
        (self.line, format!("{what} is never closed"))
    }

    /// Up to the semicolon that is in no quotes, comments or parentheses.
    fn statement(&mut self) -> Result<Vec<Part>, Fault> {
        let begins = self.line;
        let (mut parts, mut text) = (Vec::new(), String::new());
        let (mut depth, mut before) = (0i32, ' ');
        while let Some(next) = self.rest.chars().next() {
            let len = match next {
                ';' if depth <= 0 => {
                    self.take(1);
                    break;
                }
                '\\' if at_line_start(&text) => {
                    return Err((begins, "the statement does not end with `;`".to_owned()));
                }
                ':' if before != ':' && variable(self.rest) > 0 => {
                    let name = &self.take(1 + variable(self.rest))[1..];
                    parts.push(Part::Text(std::mem::take(&mut text)));
                    parts.push(Part::Variable(name.to_owned()));
                    before = 'x';
                    continue;
                }
                '\'' | '"' => self.quoted(next, matches!(before, 'e' | 'E'))?,
                '$' if !before.is_alphanumeric() => self.dollar_quoted()?,
                '(' => {
                    depth += 1;
                    1
                }
                ')' => {
                    depth -= 1;
                    1
                }
                _ => self.comment()?.max(next.len_utf8()),
            };
            text.push_str(self.take(len));
            before = text.chars().next_back().unwrap_or(' ');
        }
        text.truncate(text.trim_end().len());
        parts.push(Part::Text(text));
        parts.retain(|part| !matches!(part, Part::Text(text) if text.is_empty()));
        Ok(parts)
    }

    /// How long the quoted text is that comes next. Doubled quotes belong to it.
    fn quoted(&self, quote: char, escapes: bool) -> Result<usize, Fault> {
        let mut characters = self.rest.char_indices().skip(1).peekable();
        while let Some((at, character)) = characters.next() {
            if character == '\\' && escapes && quote == '\'' {
                characters.next();
            } else if character == quote && characters.next_if(|(_, next)| *next == quote).is_none()
            {
                return Ok(at + 1);
            }
        }
        Err(self.open("a quote"))
    }

    /// The same for `$tag$ … $tag$`; a lone dollar is a character as any other.
    fn dollar_quoted(&self) -> Result<usize, Fault> {
        let Some(end) = self.rest[1..].find('$') else { return Ok(1) };
        let tag = &self.rest[..end + 2];
        let name = &tag[1..tag.len() - 1];
        if !name.is_empty() && !super::is_name(name) {
            return Ok(1);
        }
        let behind = &self.rest[tag.len()..];
        let len = behind.find(tag).ok_or_else(|| self.open("a dollar quote"))?;
        Ok(2 * tag.len() + len)
    }
}

/// How long the name is behind the colon at the front.
fn variable(text: &str) -> usize {
    let name = &text[1..];
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let len = name.bytes().take_while(|&byte| inner(byte)).count();
    if super::is_name(&name[..len]) { len } else { 0 }
}

fn at_line_start(text: &str) -> bool {
    text.rsplit('\n').next().is_none_or(|line| line.trim().is_empty()) && text.contains('\n')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn statements(text: &str) -> Vec<String> {
        let mut reader = Reader::new(text);
        let mut statements = Vec::new();
        while let Some(found) = reader.next().unwrap() {
            statements.push(match found {
                Found::Command { line, text } => format!("{line} \\{text}"),
                Found::Statement { line, pieces } => {
                    let piece = |part: &Part| match part {
                        Part::Text(text) => text.clone(),
                        Part::Variable(name) => format!("<{name}>"),
                    };
                    format!("{line} {}", pieces.iter().map(piece).collect::<String>())
                }
            });
        }
        statements
    }

    #[test]
    fn statements_end_where_sql_ends_them() {
        for (text, expected) in [
            ("SELECT 1;SELECT 2", &["1 SELECT 1", "1 SELECT 2"][..]),
            (" ;;\n-- x;\n SELECT\n 1 ;\n", &["3 SELECT\n 1"]),
            ("\\set a 1 \nSELECT :a::int;", &["1 \\set a 1", "2 SELECT <a>::int"]),
            (
                "SELECT ':a;', \":b;\", E'\\';:c', 'it''s;'; X",
                &["1 SELECT ':a;', \":b;\", E'\\';:c', 'it''s;'", "1 X"],
            ),
            (
                "SELECT $$;:a$$, $t$;$$;$t$, $1 -- :a;\n;",
                &["1 SELECT $$;:a$$, $t$;$$;$t$, $1 -- :a;"],
            ),
            ("/* a; /* b; */ :c */ SELECT /* :d; */ :e;", &["1 SELECT /* :d; */ <e>"]),
            (
                "CREATE RULE r DO (SELECT 1; SELECT 2);",
                &["1 CREATE RULE r DO (SELECT 1; SELECT 2)"],
            ),
            ("SELECT a[1:2], '12:30'::time, b[:i];", &["1 SELECT a[1:2], '12:30'::time, b[<i>]"]),
            ("SELECT 'ö' || :ü;", &["1 SELECT 'ö' || :ü"]),
        ] {
            assert_eq!(statements(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn noise_is_no_reason_to_panic(text in "[-a:;'\"$\\\\/* (\nö1)]{0,60}") {
            let mut reader = Reader::new(&text);
            while let Ok(Some(_)) = reader.next() {}
        }
    }
}
