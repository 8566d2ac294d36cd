//! Request targets (RFC 9112 section 3.2).

use super::authority;

/// A validated request target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'b> {
    /// `/path?query`, the usual form.
    Origin(&'b str),
    /// `http://authority/path?query`.
    Absolute {
        /// Host and port, as sent.
        authority: &'b str,
        /// Path and query as sent: empty, or starting with `/` or `?`.
        path_and_query: &'b str,
    },
    /// `host:port`, for CONNECT only.
    Authority(&'b str),
    /// `*`, for OPTIONS only.
    Asterisk,
}

impl<'b> Target<'b> {
    /// Reads the target of a request with this method; `None` when it is malformed or of a form the
    /// method does not have.
    pub(super) fn parse(method: &str, text: &'b str) -> Option<Self> {
        // RFC 3986 has neither fragments in a request target nor bytes outside ASCII, and readers
        // disagree about both.
        let foreign = |byte: &u8| (byte & 0x80) | u8::from(*byte == b'#');
        if text.as_bytes().iter().fold(0, |found, byte| found | foreign(byte)) != 0 {
            return None;
        }
        if method == "CONNECT" {
            let has_port = authority::split_port(text).1.is_some_and(|port| !port.is_empty());
            return (has_port && authority::is_valid(text.as_bytes()))
                .then_some(Self::Authority(text));
        }
        if text.starts_with('/') {
            return Some(Self::Origin(text));
        }
        if text == "*" {
            return (method == "OPTIONS").then_some(Self::Asterisk);
        }
        Self::parse_absolute(text)
    }

    fn parse_absolute(text: &'b str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
            return None;
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path_and_query) = rest.split_at(end);
        authority::is_valid(authority.as_bytes())
            .then_some(Self::Absolute { authority, path_and_query })
    }

    /// The path, never empty; `*` for OPTIONS of the server as a whole, the authority itself for
    /// CONNECT.
    #[inline]
    #[must_use]
    pub fn path(&self) -> &'b str {
        match *self {
            Self::Origin(text) => split_query(text).0,
            Self::Absolute { path_and_query, .. } => match split_query(path_and_query).0 {
                "" => "/",
                path => path,
            },
            Self::Authority(text) => text,
            Self::Asterisk => "*",
        }
    }

    /// What follows the first `?`, if there is one.
    #[inline]
    #[must_use]
    pub fn query(&self) -> Option<&'b str> {
        match *self {
            Self::Origin(text) | Self::Absolute { path_and_query: text, .. } => split_query(text).1,
            Self::Authority(_) | Self::Asterisk => None,
        }
    }

    /// Writes the form that goes upstream: origin-form, `*`, or the authority for CONNECT.
    pub(super) fn write(&self, method: &str, out: &mut Vec<u8>) {
        match *self {
            Self::Origin(text) | Self::Authority(text) => out.extend_from_slice(text.as_bytes()),
            Self::Asterisk => out.push(b'*'),
            // RFC 9112 section 3.2.4: OPTIONS of a URI without path or query is OPTIONS of the
            // server.
            Self::Absolute { path_and_query: "", .. } if method == "OPTIONS" => out.push(b'*'),
            Self::Absolute { path_and_query, .. } => {
                if !path_and_query.starts_with('/') {
                    out.push(b'/');
                }
                out.extend_from_slice(path_and_query.as_bytes());
            }
        }
    }
}

fn split_query(text: &str) -> (&str, Option<&str>) {
    match memchr::memchr(b'?', text.as_bytes()) {
        Some(mark) => (&text[..mark], Some(&text[mark + 1..])),
        None => (text, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_belong_to_methods() {
        let absolute =
            |authority, path_and_query| Some(Target::Absolute { authority, path_and_query });
        let cases = [
            ("GET", "/", Some(Target::Origin("/"))),
            ("GET", "//a/../b?c=/d?", Some(Target::Origin("//a/../b?c=/d?"))),
            ("OPTIONS", "*", Some(Target::Asterisk)),
            ("GET", "*", None),
            ("OPTIONS", "**", None),
            ("CONNECT", "a:443", Some(Target::Authority("a:443"))),
            ("CONNECT", "[::1]:443", Some(Target::Authority("[::1]:443"))),
            ("CONNECT", "a", None),
            ("CONNECT", "a:", None),
            ("CONNECT", "/", None),
            ("CONNECT", "http://a:80/", None),
            ("GET", "a:443", None),
            ("GET", "path", None),
            ("GET", "?q", None),
            ("GET", "http://a", absolute("a", "")),
            ("GET", "HTTPS://a:1/b?c", absolute("a:1", "/b?c")),
            ("GET", "http://a?q=/x", absolute("a", "?q=/x")),
            ("GET", "http:///b", None),
            ("GET", "http://", None),
            ("GET", "http://u@a/", None),
            ("GET", "http:/a", None),
            ("GET", "ftp://a/", None),
            ("GET", "://a/", None),
            ("GET", "/a#b", None),
            ("GET", "/\u{e9}", None),
        ];
        for (method, text, target) in cases {
            assert_eq!(Target::parse(method, text), target, "{method} {text}");
        }
    }

    #[test]
    fn paths_are_never_empty_and_queries_keep_their_question_marks() {
        let read = |method, text| {
            let target = Target::parse(method, text).unwrap();
            let mut out = Vec::new();
            target.write(method, &mut out);
            (target.path(), target.query(), String::from_utf8(out).unwrap())
        };
        assert_eq!(read("GET", "/a?b?c"), ("/a", Some("b?c"), "/a?b?c".into()));
        assert_eq!(read("GET", "http://h"), ("/", None, "/".into()));
        assert_eq!(read("GET", "http://h?q"), ("/", Some("q"), "/?q".into()));
        assert_eq!(read("GET", "http://h/a?"), ("/a", Some(""), "/a?".into()));
        assert_eq!(read("OPTIONS", "http://h"), ("/", None, "*".into()));
        assert_eq!(read("OPTIONS", "*"), ("*", None, "*".into()));
        assert_eq!(read("CONNECT", "h:1"), ("h:1", None, "h:1".into()));
    }
}
