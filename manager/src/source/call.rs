//! Calls in a masked source, and what goes into them.

use std::ops::Range;

use super::mask::{Masked, is_name};

/// A call of a function by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Call {
    /// Where the name begins.
    pub(super) at: usize,
    /// What is between the parentheses.
    pub(super) arguments: Range<usize>,
    /// What it is called on: `a.b` of `a.b.name()`; empty for a name of its own.
    pub(super) on: String,
    /// The word before it, such as `new` or `def`.
    pub(super) word_before: String,
}

/// What goes into a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Given {
    /// The same text each time.
    Fixed,
    /// Something put together, or held in a variable.
    Composed,
}

/// Every call of `name`, whatever it is called on.
pub(super) fn calls(code: &str, name: &str) -> Vec<Call> {
    let bytes = code.as_bytes();
    let mut found = Vec::new();
    for (at, _) in code.match_indices(name) {
        let apart = at == 0 || !is_name(bytes[at - 1]);
        let mut after = at + name.len();
        // A question mark before it is an optional call.
        if bytes[after..].starts_with(b"?.") {
            after += 2;
        }
        while bytes.get(after).is_some_and(|byte| *byte == b' ' || *byte == b'\t') {
            after += 1;
        }
        if !apart || bytes.get(after) != Some(&b'(') {
            continue;
        }
        let Some(end) = closing(bytes, after) else { continue };
        let (on, word_before) = before(code, at);
        found.push(Call { at, arguments: after + 1..end, on, word_before });
    }
    found
}

/// The parenthesis that closes the one at `open`.
fn closing(code: &[u8], open: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, byte) in code.iter().enumerate().skip(open) {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

/// What a name at `at` is called on, and the word before that.
fn before(code: &str, at: usize) -> (String, String) {
    let bytes = code.as_bytes();
    let mut start = at;
    // Parentheses too, for `require('x').name`.
    while start > 0 && (is_name(bytes[start - 1]) || b".?".contains(&bytes[start - 1])) {
        start -= 1;
    }
    let mut on = code[start..at].trim_end_matches(['.', '?']).to_owned();
    if on.is_empty() && code[..at].ends_with('.') {
        // The result of another call.
        on = "()".to_owned();
    }
    let word = code[..start].trim_end().rsplit(|c: char| !c.is_ascii_alphanumeric()).next();
    (on, word.unwrap_or_default().to_owned())
}

/// The first of arguments that are separated by commas.
pub(super) fn first(code: &str, arguments: &Range<usize>) -> Range<usize> {
    let mut depth = 0_usize;
    for (offset, byte) in code.as_bytes()[arguments.clone()].iter().enumerate() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            b',' if depth == 0 => return arguments.start..arguments.start + offset,
            _ => {}
        }
    }
    arguments.clone()
}

/// Whether what stands there is the same each time it is run.
pub(super) fn given(masked: &Masked, range: &Range<usize>) -> Given {
    let code = &masked.code[range.clone()];
    let plain = code.bytes().all(|byte| b" \t\n\r+'\"`()".contains(&byte));
    let mut texts = masked
        .literals
        .iter()
        .filter(|literal| range.start <= literal.inner.start && literal.inner.end <= range.end)
        .peekable();
    match plain && texts.peek().is_some() && texts.all(|literal| literal.fixed) {
        true => Given::Fixed,
        false => Given::Composed,
    }
}

#[cfg(test)]
mod tests {
    use super::{super::language::Language, *};

    #[test]
    fn calls_are_found_with_what_they_are_called_on() {
        let code = "eval (a(b), c); x.eval(1); reeval(2); new  Function(3); y().exec(4); e?.(5)";
        let found = |name: &str| -> Vec<(String, String, String)> {
            calls(code, name)
                .into_iter()
                .map(|call| (call.on, call.word_before, code[call.arguments].to_owned()))
                .collect()
        };
        let row = |a: &str, b: &str, c: &str| (a.to_owned(), b.to_owned(), c.to_owned());
        assert_eq!(found("eval"), [row("", "", "a(b), c"), row("x", "", "1")]);
        assert_eq!(found("Function"), [row("", "new", "3")]);
        assert_eq!(found("exec"), [row("()", "", "4")]);
        assert_eq!(found("e"), [row("", "", "5")]);
        assert!(calls("eval(", "eval").is_empty());
    }

    #[test]
    fn only_a_text_without_gaps_is_fixed() {
        let cases = [
            ("f('ls')", Given::Fixed),
            ("f('a' + \"b\")", Given::Fixed),
            ("f(`a`)", Given::Fixed),
            ("f(`a${b}`)", Given::Composed),
            ("f('a' + b)", Given::Composed),
            ("f(a)", Given::Composed),
            ("f()", Given::Composed),
            ("f('ls', {a})", Given::Fixed),
        ];
        for (text, expected) in cases {
            let masked = Masked::new(text, Language::JavaScript);
            let call = &calls(&masked.code, "f")[0];
            assert_eq!(given(&masked, &first(&masked.code, &call.arguments)), expected, "{text}");
        }
    }
}
