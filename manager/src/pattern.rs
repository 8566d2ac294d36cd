//! Names and paths with stars in them.

/// Whether `text` is of the form `pattern`: `*` stands for any characters but `/`, `**` for
/// any, and `?` for one byte that is no `/`.
pub(crate) fn fits(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    // Where to go on when the last star of each kind has to take one more: in the pattern, and
    // in the text.
    let mut shallow: Option<(usize, usize)> = None;
    let mut deep: Option<(usize, usize)> = None;
    let (mut p, mut t) = (0, 0);
    while t < text.len() {
        let one = pattern.get(p).is_some_and(|byte| match byte {
            b'*' => false,
            b'?' => text[t] != b'/',
            plain => *plain == text[t],
        });
        if pattern[p..].starts_with(b"**") {
            p += 2;
            (shallow, deep) = (None, Some((p, t)));
        } else if pattern[p..].starts_with(b"*") {
            p += 1;
            shallow = Some((p, t));
        } else if one {
            p += 1;
            t += 1;
        } else if let Some((after, at)) = shallow.filter(|(_, at)| text[*at] != b'/') {
            (p, t) = (after, at + 1);
            shallow = Some((after, t));
        } else if let Some((after, at)) = deep {
            (p, t) = (after, at + 1);
            (shallow, deep) = (None, Some((after, t)));
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits() {
        let cases = [
            ("*.md", "a.md", true),
            ("*.md", "a.mdx", false),
            ("docs/*", "docs/a", true),
            ("docs/*", "docs/a/b", false),
            ("docs/**", "docs/a/b", true),
            ("**/*.md", "a/b/c.md", true),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxbyy", false),
            (".*", ".git", true),
            (".*", "git", false),
            ("**", "", true),
            ("*.service", "web.service", true),
            ("*.service", "web.socket", false),
            ("web-?.service", "web-1.service", true),
            ("web-?.service", "web-12.service", false),
            ("a?b", "a/b", false),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b*", "xxbxxaxx", false),
            ("", "", true),
            ("*", "", true),
            ("", "a", false),
            ("a*", "*", false),
            ("web.service", "web.service", true),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
        }
    }
}
