//! The request: made once and sent as it is, or with places that are filled each time.

use std::{io::Write as _, sync::Arc};

use crate::{
    feed::{Feed, Feeder, Rows},
    plan::HttpOptions,
    template::{Context, PlaceError, Template},
};

/// A request that cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// A method that is no token (RFC 9110 section 5.6.2).
    #[error("`{method}` is not a method")]
    Method {
        /// What was given.
        method: String,
    },
    /// A method whose responses are none.
    #[error("CONNECT opens a tunnel, which cannot be loaded this way")]
    Connect,
    /// A name that is no token.
    #[error("`{name}` is not the name of a header")]
    HeaderName {
        /// What was given.
        name: String,
    },
    /// A value that would end its line.
    #[error("the value of header `{name}` holds a control character")]
    HeaderValue {
        /// The header.
        name: String,
    },
    /// A header that decides where the message or the connection ends.
    #[error("the header `{name}` is set by the load tester itself; use --body or --no-keepalive")]
    Framing {
        /// The header.
        name: String,
    },
    /// A place that cannot be filled.
    #[error(transparent)]
    Place(#[from] PlaceError),
}

/// A request as it goes on the wire.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    shape: Shape,
    parts: Arc<Parts>,
    closes: bool,
}

/// A request, whichever version of HTTP writes it.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) method: String,
    pub(crate) path: Template,
    /// In their order; Host is one of them.
    pub(crate) fields: Vec<(String, Template)>,
    pub(crate) body: Template,
    /// Whether it says how long its body is.
    pub(crate) has_length: bool,
}

#[derive(Debug, Clone)]
enum Shape {
    Fixed(Arc<[u8]>),
    Filled(Arc<Filled>),
}

/// A request whose places are filled each time.
#[derive(Debug)]
struct Filled {
    /// Up to the length of the body and the empty line.
    head: Template,
    body: Template,
    has_length: bool,
    used: Box<[usize]>,
}

// === impl Request ===

impl Request {
    /// From what was asked for. `keep_alive` false asks the server to close.
    pub(crate) fn new(
        authority: &str,
        path: &str,
        options: &HttpOptions,
        keep_alive: bool,
    ) -> Result<Self, RequestError> {
        let verbatim = |text: &[u8], _| Ok(Template::verbatim(text));
        Self::compose(authority, path, options, keep_alive, verbatim)
    }

    /// The same with places in path, headers and body that are filled from `feeds`.
    pub(crate) fn with_places(
        authority: &str,
        path: &str,
        options: &HttpOptions,
        keep_alive: bool,
        feeds: &[Feed],
    ) -> Result<Self, RequestError> {
        Self::compose(authority, path, options, keep_alive, |text, context| {
            Template::new(text, context, feeds)
        })
    }

    fn compose(
        authority: &str,
        path: &str,
        options: &HttpOptions,
        keep_alive: bool,
        template: impl Fn(&[u8], Context) -> Result<Template, PlaceError>,
    ) -> Result<Self, RequestError> {
        let method = options.method();
        check_method(method)?;
        let given = |wanted: &str| {
            options.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(wanted))
        };
        let agent = concat!("bs9-loadtest/", env!("CARGO_PKG_VERSION"));
        let mut fields = Vec::new();
        for (name, value) in [("Host", authority), ("User-Agent", agent), ("Accept", "*/*")] {
            if !given(name) {
                fields.push((name.to_owned(), Template::verbatim(value.as_bytes())));
            }
        }
        for (name, value) in &options.headers {
            check_field(name, value)?;
            fields.push((name.clone(), template(value.as_bytes(), Context::Field)?));
        }
        let path = template(path.as_bytes(), Context::Path)?;
        let body = template(options.body.as_deref().unwrap_or_default(), Context::Body)?;
        // A method that has a meaning for content says when there is none (RFC 9110 section 8.6).
        let expects_content = matches!(method, "POST" | "PUT" | "PATCH");
        let has_length = options.body.is_some() || expects_content;
        let parts = Parts { method: method.to_owned(), path, fields, body, has_length };
        let filled = Filled::new(parts.head(keep_alive), parts.body.clone(), has_length);
        let shape = if filled.used.is_empty() {
            let feeder = Feeder::new(Arc::new([]));
            let mut bytes = Vec::new();
            filled.fill(&feeder, &feeder.no_rows(), &mut bytes);
            Shape::Fixed(bytes.into())
        } else {
            Shape::Filled(filled.into())
        };
        Ok(Self { shape, parts: parts.into(), closes: !keep_alive })
    }

    /// The request, where it is the same each time; empty otherwise.
    #[inline]
    pub(super) fn fixed(&self) -> &[u8] {
        match &self.shape {
            Shape::Fixed(bytes) => bytes,
            Shape::Filled(_) => &[],
        }
    }

    /// The feeds that have to have a row before it is filled.
    #[inline]
    pub(super) fn used(&self) -> &[usize] {
        match &self.shape {
            Shape::Fixed(_) => &[],
            Shape::Filled(filled) => &filled.used,
        }
    }

    /// Appends the request with these values, where it is another one each time.
    #[inline]
    pub(super) fn fill(&self, feeder: &Feeder, rows: &Rows, out: &mut Vec<u8>) {
        if let Shape::Filled(filled) = &self.shape {
            filled.fill(feeder, rows, out);
        }
    }

    pub(super) fn method(&self) -> &str {
        &self.parts.method
    }

    pub(crate) fn parts(&self) -> &Parts {
        &self.parts
    }

    /// Whether the connection ends with the response.
    pub(super) fn asks_to_close(&self) -> bool {
        self.closes
    }
}

// === impl Parts ===

impl Parts {
    /// What HTTP/1.1 sends before the length of the body.
    fn head(&self, keep_alive: bool) -> Template {
        let verbatim = |text: &str| Template::verbatim(text.as_bytes());
        let start = [verbatim(&format!("{} ", self.method)), self.path.clone()];
        let fields = self.fields.iter().flat_map(|(name, value)| {
            [verbatim(&format!("{name}: ")), value.clone(), verbatim("\r\n")]
        });
        let end = if keep_alive { "" } else { "Connection: close\r\n" };
        let version = verbatim(" HTTP/1.1\r\n");
        let parts = start.into_iter().chain([version]).chain(fields).chain([verbatim(end)]);
        Template::concatenated(parts)
    }
}

// === impl Filled ===

impl Filled {
    fn new(head: Template, body: Template, has_length: bool) -> Self {
        let mut used = [head.used(), body.used()].concat();
        used.sort_unstable();
        used.dedup();
        Self { head, body, has_length, used: used.into() }
    }

    fn fill(&self, feeder: &Feeder, rows: &Rows, out: &mut Vec<u8>) {
        self.head.fill(feeder, rows, out);
        if self.has_length {
            // Writing to a vector cannot fail.
            let _infallible = write!(out, "Content-Length: {}\r\n", self.body.len(feeder, rows));
        }
        out.extend_from_slice(b"\r\n");
        self.body.fill(feeder, rows, out);
    }
}

/// Whether a request may have this method.
pub(crate) fn check_method(method: &str) -> Result<(), RequestError> {
    if !is_token(method) {
        return Err(RequestError::Method { method: method.to_owned() });
    }
    if method == "CONNECT" {
        return Err(RequestError::Connect);
    }
    Ok(())
}

/// Whether a request may have this header field.
pub(crate) fn check_field(name: &str, value: &str) -> Result<(), RequestError> {
    let own = || name.to_owned();
    if !is_token(name) {
        return Err(RequestError::HeaderName { name: own() });
    }
    if value.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t') {
        return Err(RequestError::HeaderValue { name: own() });
    }
    let framing = ["content-length", "transfer-encoding", "connection", "upgrade", "expect"];
    if framing.iter().any(|framing| name.eq_ignore_ascii_case(framing)) {
        return Err(RequestError::Framing { name: own() });
    }
    Ok(())
}

/// RFC 9110 section 5.6.2.
fn is_token(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(options: &HttpOptions, keep_alive: bool) -> String {
        let request = Request::new("h:80", "/p?q=1", options, keep_alive).unwrap();
        String::from_utf8(request.fixed().to_vec()).unwrap()
    }

    #[test]
    fn a_request_says_what_it_must() {
        let agent = concat!("User-Agent: bs9-loadtest/", env!("CARGO_PKG_VERSION"));
        assert_eq!(
            text(&HttpOptions::default(), true),
            format!("GET /p?q=1 HTTP/1.1\r\nHost: h:80\r\n{agent}\r\nAccept: */*\r\n\r\n")
        );
        let options = HttpOptions {
            headers: vec![("host".into(), "example.com".into()), ("X-A".into(), "b".into())],
            body: Some(b"hello".to_vec()),
            ..HttpOptions::default()
        };
        assert_eq!(
            text(&options, false),
            format!(
                "POST /p?q=1 HTTP/1.1\r\n{agent}\r\nAccept: */*\r\nhost: example.com\r\nX-A: b\r\n\
                 Connection: close\r\nContent-Length: 5\r\n\r\nhello"
            )
        );
        let put = HttpOptions { method: Some("PUT".into()), ..HttpOptions::default() };
        assert!(text(&put, true).ends_with("Content-Length: 0\r\n\r\n"));
    }

    #[test]
    fn nothing_is_smuggled() {
        let with = |name: &str, value: &str| HttpOptions {
            headers: vec![(name.to_owned(), value.to_owned())],
            ..HttpOptions::default()
        };
        let method = HttpOptions { method: Some("GET /x".into()), ..HttpOptions::default() };
        let connect = HttpOptions { method: Some("CONNECT".into()), ..HttpOptions::default() };
        for options in [
            with("", "x"),
            with("a b", "x"),
            with("x", "a\r\nb: c"),
            with("Content-Length", "3"),
            with("transfer-encoding", "chunked"),
            with("Connection", "close"),
            method,
            connect,
        ] {
            assert!(Request::new("h", "/", &options, true).is_err(), "{options:?}");
        }
    }
}
