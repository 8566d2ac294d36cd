//! Lines of words, as PostgreSQL's own files have them.

use std::path::Path;

/// One item of a line: what stood between blanks, divided at commas.
pub(super) type Field = Vec<Item>;

/// A word, and whether it stood in quotes: then it is a name and never a keyword.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) text: String,
    pub(super) quoted: bool,
}

impl Item {
    /// Whether this is the keyword.
    pub(super) fn is(&self, keyword: &str) -> bool {
        !self.quoted && self.text == keyword
    }
}

/// Words of a line that is more than a comment, and its number from 1.
pub(super) struct Line {
    pub(super) number: usize,
    pub(super) fields: Vec<Field>,
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BadLine {
    pub(super) number: usize,
    pub(super) message: String,
}

impl BadLine {
    pub(super) fn new(number: usize, message: impl Into<String>) -> Self {
        Self { number, message: message.into() }
    }

    /// `FILE:LINE: what is wrong`.
    pub(super) fn in_file(&self, path: &Path) -> String {
        format!("{}:{}: {}", path.display(), self.number, self.message)
    }
}

/// Takes a file apart. A backslash at a line's end joins it with the next.
pub(super) fn lines(text: &str, bad: &mut Vec<BadLine>) -> Vec<Line> {
    let mut found = Vec::new();
    let mut rest = text.lines().enumerate();
    while let Some((index, first)) = rest.next() {
        let mut whole = first.to_owned();
        while whole.ends_with('\\') {
            whole.pop();
            let Some((_, more)) = rest.next() else { break };
            whole.push_str(more);
        }
        match fields(&whole) {
            Ok(fields) if fields.is_empty() => {}
            Ok(fields) => found.push(Line { number: index + 1, fields }),
            Err(message) => bad.push(BadLine::new(index + 1, message)),
        }
    }
    found
}

fn fields(line: &str) -> Result<Vec<Field>, &'static str> {
    let mut fields = Vec::new();
    let mut chars = line.chars().peekable();
    loop {
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        match chars.peek() {
            None | Some('#') => return Ok(fields),
            Some(_) => fields.push(field(&mut chars)?),
        }
    }
}

/// One field: items with commas between, which may have blanks behind.
fn field(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<Field, &'static str> {
    let mut field = Vec::new();
    loop {
        let (mut text, mut quoted, mut inside) = (String::new(), false, false);
        while let Some(&c) = chars.peek() {
            if c == '"' {
                chars.next();
                quoted = true;
                // Inside quotes, two stand for one.
                if inside && chars.next_if_eq(&'"').is_some() {
                    text.push('"');
                } else {
                    inside = !inside;
                }
                continue;
            }
            if !inside && (c.is_whitespace() || c == ',' || c == '#') {
                break;
            }
            text.push(c);
            chars.next();
        }
        if inside {
            return Err("a quote is not closed");
        }
        if text.is_empty() && !quoted {
            return Err("a word is missing beside a comma");
        }
        field.push(Item { text, quoted });
        if chars.next_if_eq(&',').is_none() {
            return Ok(field);
        }
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(line: &str) -> Vec<Vec<String>> {
        let fields = fields(line).expect("a good line");
        fields.into_iter().map(|f| f.into_iter().map(|item| item.text).collect()).collect()
    }

    #[test]
    fn lines_are_words_commas_quotes_and_comments() {
        assert_eq!(texts("a  b,c # d"), [vec!["a"], vec!["b", "c"]]);
        assert_eq!(texts("\"a b\" \"x\"\"y\"#z"), [vec!["a b"], vec!["x\"y"]]);
        assert_eq!(texts("a, b,\tc d"), [vec!["a", "b", "c"], vec!["d"]]);
        assert!(fields("  # all of it").expect("a comment").is_empty());
        assert_eq!(fields("\"a"), Err("a quote is not closed"));
        assert_eq!(fields("a,,b"), Err("a word is missing beside a comma"));
        let quoted = &fields("\"all\" all").expect("a good line");
        assert!(!quoted[0][0].is("all") && quoted[1][0].is("all"));
    }

    #[test]
    fn a_backslash_goes_on_in_the_next_line() {
        let mut bad = Vec::new();
        let found = lines("one \\\ntwo\nthree\n\"four\n", &mut bad);
        let numbers: Vec<_> = found.iter().map(|line| (line.number, line.fields.len())).collect();
        assert_eq!(numbers, [(1, 2), (3, 1)]);
        assert_eq!(bad, [BadLine::new(4, "a quote is not closed")]);
    }
}
