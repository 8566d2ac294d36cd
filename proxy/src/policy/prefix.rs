//! How much of a path a route's prefix matches.

/// A prefix, which may have parameters in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Prefix {
    /// Bytes before each parameter.
    runs: Box<[usize]>,
    /// Bytes behind the last one.
    tail: usize,
    ends_with_slash: bool,
}

impl Prefix {
    /// Of a prefix as the configuration has it.
    pub(super) fn of(text: &str) -> Self {
        let mut runs = Vec::new();
        let mut run = 0;
        for segment in text.split('/').skip(1) {
            run += 1;
            if segment.starts_with('{') && segment.ends_with('}') {
                runs.push(std::mem::take(&mut run));
            } else {
                run += segment.len();
            }
        }
        Self { runs: runs.into(), tail: run, ends_with_slash: text.ends_with('/') }
    }

    /// What follows the prefix in a path that it matches.
    pub(super) fn rest<'p>(&self, path: &'p str) -> &'p str {
        let mut rest = path;
        for run in &self.runs {
            rest = rest.get(*run..).unwrap_or_default();
            let segment = memchr::memchr(b'/', rest.as_bytes()).unwrap_or(rest.len());
            rest = &rest[segment..];
        }
        rest.get(self.tail..).unwrap_or_default()
    }

    /// Writes the path with `new` in place of the prefix: there is one slash between them if there
    /// was one.
    pub(super) fn replace(&self, path: &str, new: &str, out: &mut Vec<u8>) {
        let rest = self.rest(path);
        let divided = self.ends_with_slash || rest.starts_with('/');
        out.extend_from_slice(new.as_bytes());
        let rest = match divided {
            true => {
                if !new.ends_with('/') {
                    out.push(b'/');
                }
                rest.strip_prefix('/').unwrap_or(rest)
            }
            false => rest,
        };
        out.extend_from_slice(rest.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_a_prefix() {
        let cases = [
            ("/", "/", ""),
            ("/", "/a/b", "a/b"),
            ("/api", "/api", ""),
            ("/api", "/api/x", "/x"),
            ("/api/", "/api/x", "x"),
            ("/u/{id}", "/u/42/x", "/x"),
            ("/u/{id}", "/u/42", ""),
            ("/u/{id}/", "/u/42/x", "x"),
            ("/u/{id}/o/{o}/p", "/u/42/o/7/pq", "q"),
            ("/{a}", "/x/y", "/y"),
        ];
        for (prefix, path, rest) in cases {
            assert_eq!(Prefix::of(prefix).rest(path), rest, "{prefix} {path}");
        }
    }

    #[test]
    fn slashes_are_neither_doubled_nor_lost() {
        let cases = [
            ("/api", "/api/x", "/", "/x"),
            ("/api", "/api", "/", "/"),
            ("/api", "/api", "/v2", "/v2"),
            ("/api", "/api/x", "/v2", "/v2/x"),
            ("/api", "/api/x", "/v2/", "/v2/x"),
            ("/api", "/apix", "/v2", "/v2x"),
            ("/api/", "/api/x", "/", "/x"),
            ("/api/", "/api/x", "/v2", "/v2/x"),
            ("/api/", "/api/", "/v2/", "/v2/"),
            ("/api/", "/api/", "/v2", "/v2/"),
            ("/u/{id}/", "/u/42/x", "/", "/x"),
            ("/", "/x", "/v2", "/v2/x"),
        ];
        for (prefix, path, new, expected) in cases {
            let mut out = Vec::new();
            Prefix::of(prefix).replace(path, new, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{prefix} {path} {new}");
        }
    }
}
