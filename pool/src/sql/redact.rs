//! A text without what may be private in it.

use super::{Kind, Lexer, Quoting};

/// `text` with a `?` in place of each literal and number, comments left out and white space drawn
/// together; at most about `limit` bytes. With `literals`, they stay.
pub(crate) fn redact(text: &[u8], quoting: Quoting, limit: usize, literals: bool) -> String {
    let mut out = Vec::with_capacity(text.len().min(limit));
    for token in Lexer::new(text, quoting) {
        match token.kind {
            Kind::Space => {
                if out.last().is_some_and(|last| *last != b' ') {
                    out.push(b' ');
                }
            }
            Kind::Literal | Kind::Number if !literals => out.push(b'?'),
            _ => out.extend_from_slice(token.text),
        }
        if out.len() >= limit {
            out.truncate(limit);
            let mut text = String::from_utf8_lossy(&out).into_owned();
            text.push('…');
            return text;
        }
    }
    while out.last() == Some(&b' ') {
        out.pop();
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn literals_are_hidden() {
        for (text, wanted) in [
            (
                "SELECT *\n  FROM t WHERE a = 'secret' AND b=42 -- 'too'\n",
                "SELECT * FROM t WHERE a = ? AND b=?",
            ),
            (
                "INSERT INTO \"T\" VALUES (E'\\'s', $$x$$, $1)",
                "INSERT INTO \"T\" VALUES (?, ?, $1)",
            ),
            ("SELECT 'never ends", "SELECT ?"),
        ] {
            assert_eq!(redact(text.as_bytes(), Quoting::default(), 1000, false), wanted);
        }
        assert_eq!(redact(b"SELECT 'x' , 1", Quoting::default(), 1000, true), "SELECT 'x' , 1");
        let escapes = Quoting::default().otherwise();
        assert_eq!(redact(br"SELECT 'it\'s secret'", escapes, 1000, false), "SELECT ?");
        assert_eq!(redact(b"SELECT abcdef", Quoting::default(), 9, false), "SELECT ab…");
    }

    proptest! {
        #[test]
        fn a_secret_in_quotes_never_shows(secret in "[a-z]{8}", around in "[ a-z(),=]{0,30}") {
            let text = format!("{around} 'xx{secret}' {around}");
            let redacted = redact(text.as_bytes(), Quoting::default(), 10_000, false);
            prop_assert!(!redacted.contains(&format!("xx{secret}")), "{}", redacted);
        }
    }
}
