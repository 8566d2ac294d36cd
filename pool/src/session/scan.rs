//! Looking through a whole text for what may matter anywhere in it, fast: most texts have none of it.

/// Places that are looked at together.
const LANES: usize = 16;
/// Shorter texts have no room for anything that matters behind something else: `;SET a=b`.
const LEAST: usize = 8;

/// Whether somewhere in `text` there is a function that locks or sets, a word that makes a table
/// temporary, or another statement. Strings and comments are not told apart: it is for whoever reads
/// the text to find that there is nothing.
#[inline]
pub(super) fn finds(text: &[u8]) -> bool {
    let text = trimmed(text);
    if text.len() <= LANES {
        return text.len() >= LEAST && (0..text.len()).any(|at| is_telling(text, at));
    }
    let last = text.len() - (LANES + 1);
    let mut at = 0;
    loop {
        let window = text[at..].first_chunk().expect("there are as many");
        if may_tell(window) && (at..at + LANES).any(|at| is_telling(text, at)) {
            return true;
        }
        if at == last {
            return false;
        }
        at = last.min(at + LANES);
    }
}

/// Without what may end any statement.
fn trimmed(mut text: &[u8]) -> &[u8] {
    while let [rest @ .., b'\0' | b';' | b' ' | b'\n' | b'\r' | b'\t' | b'\x0b' | b'\x0c'] = text {
        text = rest;
    }
    text
}

/// Whether one of these places may be telling, by two letters that all of it has, in either case:
/// in `aDVisory`, in `set_Config`, in `teMP`. Written so that the compiler takes all places at once.
#[inline]
fn may_tell(window: &[u8; LANES + 1]) -> bool {
    let mut found = 0;
    for at in 0..LANES {
        let (one, other) = (window[at] | 0x20, window[at + 1] | 0x20);
        found |= u8::from(one == b';')
            | u8::from(one == b'd') & u8::from(other == b'v')
            | u8::from(one == b'_' | 0x20) & u8::from(other == b'c')
            | u8::from(one == b'm') & u8::from(other == b'p');
    }
    found != 0
}

/// Whether what is at `at` is what these two letters were looked for.
fn is_telling(text: &[u8], at: usize) -> bool {
    let around = |before: usize, word: &str| {
        let from = at.checked_sub(before)?;
        let found = text.get(from..from + word.len())?;
        found.eq_ignore_ascii_case(word.as_bytes()).then_some(from)
    };
    match text[at] | 0x20 {
        b';' => text[at] == b';',
        b'd' => around(1, "advisory_").is_some(),
        0x7f => around(3, "set_config").is_some(),
        b'm' => around(2, "temp").is_some_and(|from| is_temporary(text, from)),
        _ => false,
    }
}

/// Whether the `temp` at `from` is a word of its own, `TEMPORARY`, or the end of `pg_temp`.
fn is_temporary(text: &[u8], from: usize) -> bool {
    let goes_on = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | 0x80..);
    let (before, behind) = (&text[..from], &text[from + 4..]);
    let schema = before.len() >= 3 && before[before.len() - 3..].eq_ignore_ascii_case(b"pg_");
    let longer = behind.len() >= 5 && behind[..5].eq_ignore_ascii_case(b"orary");
    let behind = if longer { &behind[5..] } else { behind };
    (schema || !before.last().is_some_and(goes_on)) && !behind.first().is_some_and(goes_on)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TELLING: [&str; 7] = [
        "; SET a = b",
        ";reset a",
        "pg_advisory_lock(1)",
        "PG_TRY_ADVISORY_LOCK(1)",
        "Set_Config('a', 'b', false)",
        "INTO TEMP t",
        "into pg_temp.t",
    ];

    #[test]
    fn what_is_somewhere_in_a_text_is_found() {
        for telling in TELLING {
            for before in 0..40 {
                for behind in [0, 1, 15, 16, 17, 40] {
                    let text = format!("{} {telling} {}", "x".repeat(before), "y".repeat(behind));
                    assert!(finds(text.as_bytes()), "{text}");
                    let ended = format!("{text}; \n\0");
                    assert!(finds(ended.as_bytes()), "{text}");
                }
            }
        }
        assert!(finds(b"a;SET b=c") && finds(b"SELECT 1 INTO TEMPORARY TABLE t"));
    }

    #[test]
    fn what_only_looks_like_it_is_not() {
        for text in [
            "SELECT abalance FROM pgbench_accounts WHERE aid = 4711;",
            "SELECT created_at::timestamp, company, template FROM employees ; \0",
            "SELECT temperature, _temp, temp2, temporarily FROM attempts",
            "UPDATE advertisers SET _config = 1, advice = 'x' WHERE dv_c",
            "BEGIN",
            "COMMIT;",
            "",
            ";",
            ";;;;;;;;;;;;;;;;;;;;;;;;;;;",
        ] {
            assert!(!finds(text.as_bytes()), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_looked_through(text in prop::collection::vec(any::<u8>(), 0..100)) {
            let one_by_one = {
                let text = trimmed(&text);
                text.len() >= LEAST && (0..text.len()).any(|at| is_telling(text, at))
            };
            prop_assert_eq!(finds(&text), one_by_one);
        }
    }
}
