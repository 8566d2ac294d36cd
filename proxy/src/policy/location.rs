//! `redirect`: where a client is sent.

use bs9_config::{Location, LocationTarget};

use super::{
    InvalidAuthority,
    parts::{PathParts, RequestParts},
    text::Text,
};
use crate::http1::authority::{is_valid, split_port};

/// A redirect to a place that depends on the request.
#[derive(Debug)]
pub(crate) struct Redirect {
    pub(crate) status: u16,
    scheme: Option<Box<str>>,
    authority: Option<Text>,
    port: Option<u16>,
    target: Target,
}

#[derive(Debug)]
enum Target {
    Whole(Text),
    Parts { path: Option<Text>, keep_query: bool },
}

impl Redirect {
    pub(crate) fn compile(status: u16, to: &Location, path: &PathParts) -> Result<Self, String> {
        let text = |pattern| Text::compile(pattern, path);
        Ok(Self {
            status,
            scheme: to.scheme.as_deref().map(Into::into),
            authority: to.authority.as_ref().map(text).transpose()?,
            port: to.port,
            target: match &to.target {
                LocationTarget::Whole(pattern) => Target::Whole(text(pattern)?),
                LocationTarget::Parts { path, keep_query } => Target::Parts {
                    path: path.as_ref().map(text).transpose()?,
                    keep_query: *keep_query,
                },
            },
        })
    }

    /// The place when it is the same for every request.
    pub(crate) fn fixed(to: &Location) -> Option<String> {
        let LocationTarget::Whole(target) = &to.target else { return None };
        let target = target.as_plain()?;
        match (&to.scheme, &to.authority) {
            (None, None) => Some(target.to_owned()),
            (Some(scheme), Some(authority)) => {
                Some(format!("{scheme}://{}{target}", authority.as_plain()?))
            }
            _ => None,
        }
    }

    /// Appends the location.
    ///
    /// # Errors
    /// When a part of the request would become a host that there cannot be.
    pub(crate) fn write(
        &self,
        parts: &RequestParts<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), InvalidAuthority> {
        let absolute = self.scheme.is_some() || self.authority.is_some() || self.port.is_some();
        // A client of HTTP/1.0 need not say which host it means: then it stays there.
        let nameless = self.authority.is_none() && parts.host.is_none();
        if absolute && !nameless {
            self.write_origin(parts, out)?;
        }
        let begin = out.len();
        match &self.target {
            Target::Whole(text) => text.write(parts, out),
            Target::Parts { path, keep_query } => {
                match path {
                    Some(path) => path.write(parts, out),
                    None => out.extend_from_slice(path_of(parts).as_bytes()),
                }
                if let (true, Some(query)) = (keep_query, parts.query) {
                    out.push(b'?');
                    out.extend_from_slice(query.as_bytes());
                }
            }
        }
        // Two slashes at the front would be read as a host (RFC 3986 section 4.2).
        if begin == 0 && out.starts_with(b"//") {
            let more = out.iter().take_while(|byte| **byte == b'/').count() - 1;
            out.drain(..more);
        }
        Ok(())
    }

    fn write_origin(
        &self,
        parts: &RequestParts<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), InvalidAuthority> {
        let scheme = self.scheme.as_deref().unwrap_or(parts.scheme());
        out.extend_from_slice(scheme.as_bytes());
        out.extend_from_slice(b"://");
        let begin = out.len();
        let (host, asked_port) = split_port(parts.host.unwrap_or_default());
        match &self.authority {
            Some(authority) => authority.write(parts, out),
            None => out.extend_from_slice(host.as_bytes()),
        }
        // What is encoded in a host is decoded by some before they look at it.
        if !is_valid(&out[begin..]) || out[begin..].contains(&b'%') {
            return Err(InvalidAuthority);
        }
        // In `to` the authority has its port, if it wants one.
        let whole = matches!(self.target, Target::Whole(_));
        match self.port {
            Some(port) if Some(port) != usual_port(scheme) => {
                out.extend_from_slice(format!(":{port}").as_bytes());
            }
            None if !whole && scheme == parts.scheme() => {
                if let Some(port) = asked_port.filter(|port| !port.is_empty()) {
                    out.push(b':');
                    out.extend_from_slice(port.as_bytes());
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// `OPTIONS *` has none that a client could be sent to.
fn path_of<'r>(parts: &RequestParts<'r>) -> &'r str {
    if parts.path.starts_with('/') { parts.path } else { "/" }
}

fn usual_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use bs9_config::{PathMatch, RouteAction};

    use super::*;

    /// The location for a request, of a route with these keys.
    fn location(keys: &str, parts: RequestParts<'_>) -> Result<String, InvalidAuthority> {
        let text = format!(
            "[listeners.web]\nbind = [\"127.0.0.1:1\"]\nprotocol = \"http\"\n[[listeners.web.routes]]\n{keys}\n"
        );
        let config = bs9_config::parse_str("test.toml", &text).unwrap_or_else(|e| panic!("{e}"));
        let listener = config.listeners.values().next().unwrap();
        let bs9_config::ListenerProtocol::Http(http) = &listener.protocol else { panic!() };
        let route = &http.routes[0];
        let RouteAction::Redirect { to, status } = &route.action else { panic!() };
        let path = PathParts::of(&route.matches.path).unwrap();
        let redirect = Redirect::compile(*status, to, &path).unwrap();
        let mut out = Vec::new();
        redirect.write(&parts, &mut out)?;
        let written = String::from_utf8(out).unwrap();
        if let Some(fixed) = Redirect::fixed(to) {
            assert_eq!(fixed, written);
        }
        Ok(written)
    }

    fn asked<'r>(host: &'r str, target: &'r str) -> RequestParts<'r> {
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        RequestParts { encrypted: false, host: Some(host), path, query }
    }

    #[test]
    fn parts_of_the_request_are_kept_or_replaced() {
        let cases = [
            ("redirect = \"https://example.com/\"", "a.test", "/x?q", "https://example.com/"),
            ("redirect = \"/y\"", "a.test", "/x?q", "/y"),
            (
                "redirect = \"https://{host}{path}?{query}\"",
                "a.test:8080",
                "/x?q",
                "https://a.test/x?q",
            ),
            ("redirect = \"{scheme}://www.{host}/\"", "a.test", "/", "http://www.a.test/"),
            ("path = \"/old\"\nredirect = \"/new{rest}\"", "a", "/old/1", "/new/1"),
            ("path = \"/u/{id}/\"\nredirect = \"/p/{id}/{rest}\"", "a", "/u/7/x", "/p/7/x"),
            ("path = \"=/u/{id}/o/{o}\"\nredirect = \"/{o}/{id}\"", "a", "/u/7/o/8", "/8/7"),
            (
                "path = \"~^/a/(?<x>[0-9]+)-(.*)$\"\nredirect = \"/{2}/{x}/{0}\"",
                "a",
                "/a/1-b",
                "/b/1//a/1-b",
            ),
            ("redirect = { scheme = \"https\" }", "a.test:8080", "/x?q", "https://a.test/x?q"),
            ("redirect = { scheme = \"http\" }", "a.test:8080", "/x?q", "http://a.test:8080/x?q"),
            ("redirect = { host = \"b.test\" }", "a.test:8080", "/x", "http://b.test:8080/x"),
            (
                "redirect = { port = 8443, scheme = \"https\" }",
                "a.test",
                "/x",
                "https://a.test:8443/x",
            ),
            ("redirect = { port = 443, scheme = \"https\" }", "a.test:1", "/x", "https://a.test/x"),
            ("redirect = { path = \"/y\" }", "a", "/x?q", "/y?q"),
            ("redirect = { path = \"/y\", keep_query = false }", "a", "/x?q", "/y"),
            ("redirect = { host = \"[::1]\" }", "a", "/", "http://[::1]/"),
        ];
        for (keys, host, target, expected) in cases {
            assert_eq!(
                location(keys, asked(host, target)).as_deref(),
                Ok(expected),
                "{keys} {target}"
            );
        }
    }

    #[test]
    fn a_request_cannot_choose_where_it_is_sent() {
        let rest = "path = \"/go/\"\nredirect = \"/{rest}\"";
        assert_eq!(location(rest, asked("a", "/go//evil.test/")).as_deref(), Ok("/evil.test/"));
        assert_eq!(location(rest, asked("a", "/go/\\evil.test")).as_deref(), Ok("/%5Cevil.test"));
        let host = "path = \"~^/(.*)\"\nredirect = \"https://{1}.example.com/\"";
        assert_eq!(location(host, asked("a", "/shop")).as_deref(), Ok("https://shop.example.com/"));
        for path in ["/evil.test/", "/evil.test?", "/u@evil.test", "/evil.test:80/", "/a\\"] {
            let parts = RequestParts { path, ..asked("a", "/") };
            assert_eq!(location(host, parts), Err(InvalidAuthority), "{path}");
        }
    }

    #[test]
    fn without_a_host_the_client_stays_where_it_is() {
        let parts = RequestParts { host: None, ..asked("", "/x") };
        assert_eq!(location("redirect = { scheme = \"https\" }", parts).as_deref(), Ok("/x"));
        assert!(PathParts::of(&PathMatch::Regex("(".into())).is_err());
    }
}
