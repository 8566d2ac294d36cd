//! Names with `*` and `?` in them.

/// Whether `name` is of the form `pattern`: `*` stands for any characters, `?`
/// for one byte.
pub(crate) fn fits(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut p, mut n) = (0, 0);
    // Where the last `*` was, and how much of the name it has taken.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        if pattern.get(p).is_some_and(|byte| *byte == b'?' || *byte == name[n])
            && pattern[p] != b'*'
        {
            p += 1;
            n += 1;
        } else if pattern.get(p) == Some(&b'*') {
            star = Some((p, n));
            p += 1;
        } else if let Some((at, taken)) = star {
            star = Some((at, taken + 1));
            p = at + 1;
            n = taken + 1;
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
        let rows = [
            ("*.service", "web.service", true),
            ("*.service", "web.socket", false),
            ("web-?.service", "web-1.service", true),
            ("web-?.service", "web-12.service", false),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b*", "xxbxxaxx", false),
            ("", "", true),
            ("*", "", true),
            ("", "a", false),
            ("a*", "*", false),
            ("web.service", "web.service", true),
        ];
        for (pattern, name, expected) in rows {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
    }
}
