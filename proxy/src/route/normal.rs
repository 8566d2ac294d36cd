//! Paths that mean the same, brought into one form before routes look at them (RFC 3986 sections
//! 5.2.4 and 6.2.2).

use std::borrow::Cow;

use super::query::hex;

/// A path that was not in its normal form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NormalPath {
    /// Dot segments resolved, unreserved characters decoded, repeated slashes one.
    pub decided: String,
    /// Likewise, but with repeated slashes as they were sent, where no dot segment is among them.
    /// `None`: the path as it was sent.
    pub with_slashes: Option<String>,
}

/// A path that means one thing to those who decode it and another to those who do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the path hides a dot segment")]
pub struct UnsafePath;

/// The normal form of a path that begins with `/`; `None` when it is in that form already.
///
/// # Errors
/// When a dot segment is hidden behind an encoded slash, a backslash or a path parameter, which
/// some servers see through: `/a/..%2fb`, `/a/..;/b`.
#[inline]
pub fn normalize(path: &str) -> Result<Option<NormalPath>, UnsafePath> {
    if is_plain(path.as_bytes()) { Ok(None) } else { normalize_unusual(path) }
}

/// Whether a look at each byte and its neighbour is enough to say that there is nothing to do.
#[inline]
fn is_plain(path: &[u8]) -> bool {
    let behind = path.get(1..).unwrap_or_default();
    let suspicious = |(byte, next): (&u8, &u8)| {
        u8::from((*byte == b'/') & ((*next == b'/') | (*next == b'.')))
            | u8::from((*next == b'%') | (*next == b'\\'))
    };
    path.iter().zip(behind).map(suspicious).fold(0, |found, one| found | one) == 0
}

#[cold]
fn normalize_unusual(path: &str) -> Result<Option<NormalPath>, UnsafePath> {
    if !path.starts_with('/') {
        return Ok(None);
    }
    let decoded = decode_unreserved(path);
    let mut stack: Vec<&str> = Vec::new();
    let mut dots = false;
    let mut slashes = false;
    let mut segments = decoded.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                dots = true;
                if segment == ".." {
                    stack.pop();
                }
                if last {
                    stack.push("");
                }
            }
            "" if !last => slashes = true,
            segment if hides_dots(segment) => return Err(UnsafePath),
            segment => stack.push(segment),
        }
    }
    let changed = matches!(decoded, Cow::Owned(_));
    if !dots && !slashes && !changed {
        return Ok(None);
    }
    let mut decided = String::with_capacity(path.len());
    for segment in &stack {
        decided.push('/');
        decided.push_str(segment);
    }
    // Who resolves dots among repeated slashes gets another path than who merges them first.
    let with_slashes =
        if dots { Some(decided.clone()) } else { changed.then(|| decoded.into_owned()) };
    Ok(Some(NormalPath { decided, with_slashes }))
}

/// Decodes what need not be encoded (RFC 3986 section 6.2.2.2).
fn decode_unreserved(path: &str) -> Cow<'_, str> {
    let mut decoded = String::new();
    let mut copied = 0;
    for (at, _) in path.match_indices('%') {
        let Some(byte) = decoded_at(path.as_bytes(), at) else { continue };
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            decoded.push_str(&path[copied..at]);
            decoded.push(byte as char);
            copied = at + 3;
        }
    }
    if copied == 0 {
        return Cow::Borrowed(path);
    }
    decoded.push_str(&path[copied..]);
    Cow::Owned(decoded)
}

fn decoded_at(path: &[u8], at: usize) -> Option<u8> {
    let (high, low) = (hex(*path.get(at + 1)?)?, hex(*path.get(at + 2)?)?);
    Some(high << 4 | low)
}

/// Whether some server would find `.` or `..` in this segment.
fn hides_dots(segment: &str) -> bool {
    if !segment.contains(['%', '\\', ';']) {
        return false;
    }
    let slashes = ["%2F", "%2f", "%5C", "%5c", "\\"];
    let divided = slashes.iter().fold(segment.to_owned(), |text, slash| text.replace(slash, "/"));
    divided.split('/').any(|part| matches!(part.split(';').next(), Some("." | "..")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_means_the_same_becomes_the_same() {
        // The path as sent; as decided on; as sent on but for its slashes.
        let cases = [
            ("/a/b/../c", "/a/c", "/a/c"),
            ("/a/./b/.", "/a/b/", "/a/b/"),
            ("/a/b/..", "/a/", "/a/"),
            ("/..", "/", "/"),
            ("/../../a", "/a", "/a"),
            ("/.", "/", "/"),
            ("//a//b/", "/a/b/", "//a//b/"),
            ("//", "/", "//"),
            ("/a//../b", "/b", "/b"),
            ("/%61dm%69n", "/admin", "/admin"),
            ("/a/%2e%2E/b", "/b", "/b"),
            ("//%7Euser", "/~user", "//~user"),
            ("/a%20b/../c", "/c", "/c"),
        ];
        for (sent, decided, kept) in cases {
            let normal = normalize(sent).unwrap().unwrap_or_else(|| panic!("{sent}"));
            assert_eq!(normal.decided, decided, "{sent}");
            assert_eq!(normal.with_slashes.as_deref().unwrap_or(sent), kept, "{sent}");
        }
    }

    #[test]
    fn normal_paths_are_left_alone() {
        let normal = [
            "/",
            "/a",
            "/a/",
            "/a.b",
            "/.well-known/x",
            "/...",
            "/a%20b",
            "/a%2Fb",
            "/a%",
            "/a%zz",
            "/a;b=c",
            "/a\\b",
            "*",
            "/a%2fb;c",
            "/..a/b..",
        ];
        for path in normal {
            assert_eq!(normalize(path), Ok(None), "{path}");
        }
    }

    #[test]
    fn hidden_dot_segments_are_refused() {
        let hidden = [
            "/a/..%2fb",
            "/a/..%2Fb",
            "/a/%2e%2e%2fb",
            "/a/b%2f..",
            "/a/..\\b",
            "/a/..%5cb",
            "/a/.%2f",
            "/a/..;/b",
            "/a/..;x=1/b",
            "/a/b%2f%2e%2e;x",
        ];
        for path in hidden {
            assert_eq!(normalize(path), Err(UnsafePath), "{path}");
        }
    }

    proptest! {
        #[test]
        fn a_normal_form_is_normal(path in "(/|\\.|a|%2e|%2f|;|%61|\\\\){0,12}") {
            let path = format!("/{path}");
            if let Ok(Some(normal)) = normalize(&path) {
                prop_assert_eq!(normalize(&normal.decided), Ok(None), "{}", normal.decided);
                let sent = normal.with_slashes.unwrap_or(path);
                let again = normalize(&sent).unwrap().map_or(sent, |again| again.decided);
                prop_assert_eq!(again, normal.decided, "whoever merges slashes sees the same");
            }
        }
    }
}
