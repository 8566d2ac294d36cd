//! SQL that makes a session forget prepared statements.

/// What a text asks to be forgotten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Forgets {
    /// Every statement: `DEALLOCATE ALL`, `DISCARD ALL`.
    All,
    /// `DEALLOCATE name`.
    One(Vec<u8>),
}

/// Whether a text that begins like this may ask for it. To be exact, whether it is a single
/// statement of that kind without comments; for others, the server's answer has to tell.
#[inline]
pub(crate) fn may_forget(text: &[u8]) -> bool {
    match text.first() {
        Some(b'd' | b'D' | b' ' | b'\n' | b'\t' | b'\r') => {
            let text = text.trim_ascii_start();
            let begins = |word: &[u8]| {
                let len = text.len().min(word.len());
                text[..len].eq_ignore_ascii_case(&word[..len])
            };
            begins(b"DEALLOCATE") || begins(b"DISCARD")
        }
        _ => false,
    }
}

/// What `text` asks to be forgotten, if that is all it asks for.
pub(crate) fn forgets(text: &[u8]) -> Option<Forgets> {
    let text = text.trim_ascii();
    let text = text.strip_suffix(b";").unwrap_or(text).trim_ascii_end();
    if let Some(rest) = after_word(text, b"DISCARD") {
        return rest.eq_ignore_ascii_case(b"ALL").then_some(Forgets::All);
    }
    let rest = after_word(text, b"DEALLOCATE")?;
    let rest = after_word(rest, b"PREPARE").unwrap_or(rest);
    if rest.eq_ignore_ascii_case(b"ALL") {
        return Some(Forgets::All);
    }
    identifier(rest).map(Forgets::One)
}

/// What follows `word` and white space.
fn after_word<'a>(text: &'a [u8], word: &[u8]) -> Option<&'a [u8]> {
    let (head, rest) = text.split_at_checked(word.len())?;
    let rest = head.eq_ignore_ascii_case(word).then_some(rest)?;
    let trimmed = rest.trim_ascii_start();
    (trimmed.len() < rest.len() || rest.first() == Some(&b'"')).then_some(trimmed)
}

/// The name an identifier stands for.
fn identifier(text: &[u8]) -> Option<Vec<u8>> {
    if let Some(quoted) = text.strip_prefix(b"\"") {
        let quoted = quoted.strip_suffix(b"\"")?;
        let mut name = Vec::with_capacity(quoted.len());
        let mut bytes = quoted.iter();
        while let Some(&byte) = bytes.next() {
            if byte == b'"' && bytes.next() != Some(&b'"') {
                return None;
            }
            name.push(byte);
        }
        return Some(name);
    }
    let begins = text.first().is_some_and(|b| b.is_ascii_alphabetic() || *b == b'_');
    let goes_on = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'$');
    (begins && text.iter().all(goes_on)).then(|| text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_forgotten_is_read_as_servers_read_it() {
        let all = Some(Forgets::All);
        let one = |name: &str| Some(Forgets::One(name.into()));
        for (text, wanted) in [
            ("DEALLOCATE ALL", all.clone()),
            (" deallocate prepare all ; ", all.clone()),
            ("discard all;", all),
            ("DISCARD PLANS", None),
            ("DEALLOCATE _pg3_1", one("_pg3_1")),
            ("DEALLOCATE PREPARE Stmt", one("stmt")),
            ("DEALLOCATE \"Two \"\"words\"\"\";", one("Two \"words\"")),
            ("DEALLOCATE\"x\"", one("x")),
            ("DEALLOCATE \"x\"; SELECT \"y\"", None),
            ("DEALLOCATE ALL; SELECT 1", None),
            ("DEALLOCATEALL", None),
            ("DEALLOCATE", None),
            ("DEALLOCATE 1", None),
            ("DELETE FROM t", None),
        ] {
            assert_eq!(forgets(text.as_bytes()), wanted, "{text}");
            if wanted.is_some() {
                let start = &text.as_bytes()[..crate::session::TELLING_BYTES.min(text.len())];
                assert!(may_forget(start), "{text}");
            }
        }
        for text in ["SELECT 1", "DELETE FROM t", "", "DROP TABLE t", " SELECT"] {
            assert!(!may_forget(text.as_bytes()), "{text}");
        }
    }
}
