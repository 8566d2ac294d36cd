//! The request, made once and sent as it is.

use std::sync::Arc;

use crate::plan::HttpOptions;

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
}

/// A request as it goes on the wire.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    bytes: Arc<[u8]>,
    method: Arc<str>,
    closes: bool,
}

impl Request {
    /// From what was asked for. `keep_alive` false asks the server to close.
    pub(crate) fn new(
        authority: &str,
        path: &str,
        options: &HttpOptions,
        keep_alive: bool,
    ) -> Result<Self, RequestError> {
        let default = if options.body.is_some() { "POST" } else { "GET" };
        let method = options.method.as_deref().unwrap_or(default);
        if !is_token(method) {
            return Err(RequestError::Method { method: method.to_owned() });
        }
        if method == "CONNECT" {
            return Err(RequestError::Connect);
        }
        let mut head = format!("{method} {path} HTTP/1.1\r\n");
        let mut field = |name: &str, value: &str| {
            for part in [name, ": ", value, "\r\n"] {
                head.push_str(part);
            }
        };
        let given = |wanted: &str| {
            options.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(wanted))
        };
        let agent = concat!("bs9-loadtest/", env!("CARGO_PKG_VERSION"));
        for (name, value) in [("Host", authority), ("User-Agent", agent), ("Accept", "*/*")] {
            if !given(name) {
                field(name, value);
            }
        }
        for (name, value) in &options.headers {
            check_field(name, value)?;
            field(name, value);
        }
        if !keep_alive {
            field("Connection", "close");
        }
        // A method that has a meaning for content says when there is none (RFC 9110 section 8.6).
        let expects_content = matches!(method, "POST" | "PUT" | "PATCH");
        let body = options.body.as_deref().unwrap_or_default();
        if options.body.is_some() || expects_content {
            field("Content-Length", &body.len().to_string());
        }
        let bytes = [head.as_bytes(), b"\r\n", body].concat().into();
        Ok(Self { bytes, method: method.into(), closes: !keep_alive })
    }

    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn method(&self) -> &str {
        &self.method
    }

    /// Whether the connection ends with the response.
    pub(super) fn asks_to_close(&self) -> bool {
        self.closes
    }
}

fn check_field(name: &str, value: &str) -> Result<(), RequestError> {
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
        String::from_utf8(request.bytes().to_vec()).unwrap()
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
