//! Keeping secrets out of the source text that a report shows.

use std::{ops::Range, sync::LazyLock};

use regex::Regex;

/// The start of a value that looks like a secret by its key's name. Catches what
/// the reader never got to see: values in text that is not valid TOML, or under
/// a misspelt key.
static SECRET_VALUE: LazyLock<Regex> = LazyLock::new(|| {
    let value = r#"("""|'''|"|'|[^\s"'={\[])"#;
    let key = r#"(?i)(?:pass?w|secret|token|credential)[a-z0-9_-]*["']?"#;
    Regex::new(&format!(r#"{key}(?:[ \t]*[=:][ \t]*{value}|[ \t]+(["']))"#))
        .expect("the pattern is constant")
});

/// Overwrites secrets with `*`. Offsets and line breaks stay as they are, so
/// that spans still fit. `env:` and `file:` values are no secrets.
pub(super) fn secrets(text: &str, known: impl Iterator<Item = Range<usize>>) -> String {
    let mut masked = text.as_bytes().to_vec();
    let looks = SECRET_VALUE.captures_iter(text).filter_map(|found| {
        let quote = found.get(1).or(found.get(2))?;
        Some(quote.start()..value_end(text, quote.start(), quote.as_str()))
    });
    for span in known.chain(looks) {
        let span = span.start..span.end.min(masked.len());
        let Some(value) = text.get(span.clone()) else { continue };
        let inner = value.trim_start_matches(['"', '\'']);
        if inner.starts_with("env:") || inner.starts_with("file:") {
            continue;
        }
        for byte in &mut masked[span] {
            if !matches!(byte, b'\n' | b'\r' | b'"' | b'\'') {
                *byte = b'*';
            }
        }
    }
    // Masking replaces whole characters by ASCII, so this is UTF-8 again.
    String::from_utf8_lossy(&masked).into_owned()
}

/// Where a value that opens with `quote` at `start` ends.
fn value_end(text: &str, start: usize, quote: &str) -> usize {
    let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
    let body = start + quote.len();
    match quote {
        "\"\"\"" | "'''" => text[body..].find(quote).map_or(text.len(), |at| body + at),
        // A literal string ends at the next quote; after a backslash in a basic
        // one it is not clear where, so the rest of the line goes.
        "\"" | "'" => match text[body..line_end].find(quote) {
            Some(at) if !text[body..body + at].contains('\\') => body + at,
            _ => line_end,
        },
        _ => line_end,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(text: &str) -> String {
        secrets(text, std::iter::empty())
    }

    #[test]
    fn values_of_secret_keys_are_masked() {
        for (text, shown) in [
            ("password = \"hunter2\" # why", "password = \"*******\" # why"),
            ("pasword = 'hunter2'", "pasword = '*******'"),
            (
                "{ name = \"a\", token = \"abc\", role = 1 }",
                "{ name = \"a\", token = \"***\", role = 1 }",
            ),
            ("\"password\" = \"é\"", "\"password\" = \"**\""),
            ("password = \"a\\\"b\" ", "password = \"**\"*\"*"),
            ("token = \"\"\"a\nb\"\"\"\nx = 1", "token = \"\"\"*\n*\"\"\"\nx = 1"),
            ("password = hunter2", "password = *******"),
            ("password = \"open\nx = 1", "password = \"****\nx = 1"),
            ("password = \"env:NAME\"", "password = \"env:NAME\""),
            ("password \"abc\"", "password \"***\""),
            ("[[admin.tokens]]", "[[admin.tokens]]"),
            ("bind = [\"a\"]", "bind = [\"a\"]"),
        ] {
            assert_eq!(masked(text), shown);
        }
    }

    #[test]
    fn known_spans_are_masked() {
        assert_eq!(secrets("k = \"abc\" x", std::iter::once(4..9)), "k = \"***\" x");
    }
}
