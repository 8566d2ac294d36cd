//! Where the load goes: `http://…`, `ws://…` or `tcp://…`, all of them also over TLS, or
//! `postgres://…`.

use std::{fmt, str::FromStr};

/// What is spoken there, with what the URL says about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Service {
    Http {
        /// Path and query as they go on the request line.
        path: String,
    },
    /// Echoes what it is sent.
    Tcp,
    /// Echoes the messages it is sent.
    WebSocket {
        /// Path and query as they go on the request line.
        path: String,
    },
    Postgres {
        user: String,
        password: Option<Password>,
        database: String,
        /// Over TLS only.
        encryption: Encryption,
    },
}

/// How a PostgreSQL URL wants TLS (libpq's `sslmode` and `sslnegotiation`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Encryption {
    /// Any certificate will do: `sslmode=require`.
    pub(crate) any_certificate: bool,
    /// TLS from the first byte on instead of asking for it: `sslnegotiation=direct`.
    pub(crate) direct: bool,
}

/// What carries the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Plain,
    Tls,
}

/// A place to put load on. Prints without its password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) transport: Transport,
    pub(crate) service: Service,
}

/// Prints its place, not itself.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Password(pub(crate) String);

/// A URL that is no target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// No `scheme://` that is spoken here.
    #[error(
        "`{text}` is no target; write http://host:port/path, ws://host:port/path or tcp://host:port (https://, wss:// and tls:// over TLS), or postgres://user:password@host:port/database"
    )]
    Scheme {
        /// What was typed.
        text: String,
    },
    /// No host.
    #[error("the URL names no host")]
    NoHost,
    /// No port, or none that exists.
    #[error("`{text}` is not a port from 1 to 65535")]
    Port {
        /// What stands there.
        text: String,
    },
    /// A part that does not belong into a URL of this scheme.
    #[error("{what} has no place in a {scheme}:// URL")]
    Superfluous {
        /// The part.
        what: &'static str,
        /// The scheme.
        scheme: &'static str,
    },
    /// A character that has to be percent-encoded, or an encoding that is none.
    #[error("the {part} holds a character that has to be percent-encoded, or a broken encoding")]
    Encoding {
        /// Where.
        part: &'static str,
    },
    /// A PostgreSQL URL without a user.
    #[error("the URL names no user; write postgres://user@host/database")]
    NoUser,
    /// `sslnegotiation=direct`, and no TLS.
    #[error("sslnegotiation=direct is about TLS; add sslmode=require or sslmode=verify-full")]
    DirectWithoutTls,
    /// A connection parameter that is not spoken here.
    #[error("the parameter `{name}={value}` is not spoken here")]
    Parameter {
        /// Its name.
        name: String,
        /// Its value.
        value: String,
    },
}

// === impl Target ===

impl Target {
    /// The host as it stands in a URL: an IPv6 address in brackets.
    pub(crate) fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// Gives a PostgreSQL target the password its URL leaves out, as `PGPASSWORD` does. Other
    /// targets, and a URL with a password, stay as they are.
    pub fn supply_password(&mut self, given: &str) {
        if let Service::Postgres { password: password @ None, .. } = &mut self.service {
            *password = Some(Password(given.to_owned()));
        }
    }
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(TargetError::Scheme { text: text.to_owned() });
        };
        match scheme {
            "http" => http(rest, Transport::Plain),
            "https" => http(rest, Transport::Tls),
            "ws" => websocket(rest, Transport::Plain),
            "wss" => websocket(rest, Transport::Tls),
            "tcp" => tcp(rest, Transport::Plain),
            "tls" => tcp(rest, Transport::Tls),
            "postgres" | "postgresql" => postgres(rest),
            // Not the whole text: it may hold a password.
            _ => Err(TargetError::Scheme { text: format!("{scheme}://…") }),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authority = self.authority();
        match &self.service {
            Service::Http { path } => {
                let scheme = if self.transport == Transport::Tls { "https" } else { "http" };
                write!(f, "{scheme}://{authority}{path}")
            }
            Service::Tcp => {
                let scheme = if self.transport == Transport::Tls { "tls" } else { "tcp" };
                write!(f, "{scheme}://{authority}")
            }
            Service::WebSocket { path } => {
                let scheme = if self.transport == Transport::Tls { "wss" } else { "ws" };
                write!(f, "{scheme}://{authority}{path}")
            }
            Service::Postgres { user, database, encryption, .. } => {
                write!(f, "postgres://{user}@{authority}/{database}")?;
                f.write_str(match (self.transport, encryption.any_certificate) {
                    (Transport::Plain, _) => "",
                    (Transport::Tls, true) => "?sslmode=require",
                    (Transport::Tls, false) => "?sslmode=verify-full",
                })
            }
        }
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

fn http(rest: &str, transport: Transport) -> Result<Target, TargetError> {
    let scheme = if transport == Transport::Tls { "https" } else { "http" };
    let (host, port, path) = page(rest, scheme, transport)?;
    Ok(Target { host, port, transport, service: Service::Http { path } })
}

fn websocket(rest: &str, transport: Transport) -> Result<Target, TargetError> {
    let scheme = if transport == Transport::Tls { "wss" } else { "ws" };
    let (host, port, path) = page(rest, scheme, transport)?;
    Ok(Target { host, port, transport, service: Service::WebSocket { path } })
}

/// Host, port and path.
fn page(
    rest: &str,
    scheme: &'static str,
    transport: Transport,
) -> Result<(String, u16, String), TargetError> {
    let split = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(split);
    if authority.contains('@') {
        return Err(TargetError::Superfluous { what: "a user", scheme });
    }
    // A fragment is the browser's own (RFC 9110 section 7.1).
    let path = path.split('#').next().unwrap_or_default();
    if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(TargetError::Encoding { part: "path" });
    }
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    let port = if transport == Transport::Tls { 443 } else { 80 };
    let (host, port) = host_and_port(authority, Some(port))?;
    Ok((host, port, path))
}

fn tcp(rest: &str, transport: Transport) -> Result<Target, TargetError> {
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.contains(['/', '?', '#', '@']) {
        return Err(TargetError::Superfluous { what: "anything but host and port", scheme: "tcp" });
    }
    let (host, port) = host_and_port(authority, None)?;
    Ok(Target { host, port, transport, service: Service::Tcp })
}

fn postgres(rest: &str) -> Result<Target, TargetError> {
    let (rest, parameters) = rest.split_once('?').unwrap_or((rest, ""));
    let (mut transport, mut encryption) = (Transport::Plain, Encryption::default());
    // Load is put on what was named, not on whichever of two ways works.
    for pair in parameters.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=').unwrap_or((pair, "")) {
            ("sslmode", "disable" | "allow" | "prefer") => transport = Transport::Plain,
            ("sslmode", mode @ ("require" | "verify-full")) => {
                transport = Transport::Tls;
                encryption.any_certificate = mode == "require";
            }
            ("sslnegotiation", way @ ("postgres" | "direct")) => {
                encryption.direct = way == "direct";
            }
            (name, value) => {
                let (name, value) = (name.to_owned(), value.to_owned());
                return Err(TargetError::Parameter { name, value });
            }
        }
    }
    if encryption.direct && transport == Transport::Plain {
        return Err(TargetError::DirectWithoutTls);
    }
    let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
    let (login, address) = authority.rsplit_once('@').ok_or(TargetError::NoUser)?;
    let (user, password) = match login.split_once(':') {
        Some((user, password)) => (user, Some(Password(decode(password, "password")?))),
        None => (login, None),
    };
    let user = decode(user, "user")?;
    if user.is_empty() {
        return Err(TargetError::NoUser);
    }
    let database = if database.is_empty() { user.clone() } else { decode(database, "database")? };
    let (host, port) = host_and_port(address, Some(5432))?;
    let service = Service::Postgres { user, password, database, encryption };
    Ok(Target { host, port, transport, service })
}

/// `host`, `host:port`, `[v6]` or `[v6]:port`.
fn host_and_port(authority: &str, default: Option<u16>) -> Result<(String, u16), TargetError> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or(TargetError::NoHost)?;
            match port.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if port.is_empty() => (host, None),
                None => return Err(TargetError::Port { text: port.to_owned() }),
            }
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    if host.is_empty() || !host.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(TargetError::NoHost);
    }
    let wrong = |text: &str| TargetError::Port { text: text.to_owned() };
    let port = match (port, default) {
        (Some(text), _) => {
            text.parse().ok().filter(|&port| port != 0).ok_or_else(|| wrong(text))?
        }
        (None, Some(port)) => port,
        (None, None) => return Err(wrong("")),
    };
    Ok((host.to_owned(), port))
}

/// Percent-decoding (RFC 3986 section 2.1).
fn decode(text: &str, part: &'static str) -> Result<String, TargetError> {
    let wrong = || TargetError::Encoding { part };
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => {
                let mut digit = || bytes.next().and_then(|byte| char::from(byte).to_digit(16));
                let (high, low) = (digit().ok_or_else(wrong)?, digit().ok_or_else(wrong)?);
                (high << 4 | low) as u8
            }
            // A NUL would end a field of the startup packet early; so would `%00`, below.
            byte if byte.is_ascii_control() => return Err(wrong()),
            byte => byte,
        });
    }
    if out.contains(&0) {
        return Err(wrong());
    }
    String::from_utf8(out).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        match text.parse::<Target>() {
            Ok(target) => target.to_string(),
            Err(error) => panic!("{text}: {error}"),
        }
    }

    #[test]
    fn what_people_write() {
        for (text, expected) in [
            ("http://127.0.0.1:8080/", "http://127.0.0.1:8080/"),
            ("http://localhost", "http://localhost:80/"),
            ("http://localhost?a=1#top", "http://localhost:80/?a=1"),
            ("http://[::1]:81/x", "http://[::1]:81/x"),
            ("http://[::1]", "http://[::1]:80/"),
            ("https://x/y", "https://x:443/y"),
            ("ws://x", "ws://x:80/"),
            ("wss://x:1/chat?room=1", "wss://x:1/chat?room=1"),
            ("tls://x:1", "tls://x:1"),
            ("tcp://127.0.0.1:6380", "tcp://127.0.0.1:6380"),
            ("postgres://app:se%40cret@db:6432/shop", "postgres://app@db:6432/shop"),
            ("postgresql://app@db?sslmode=disable", "postgres://app@db:5432/app"),
            ("postgres://app@db?sslmode=require", "postgres://app@db:5432/app?sslmode=require"),
            (
                "postgres://app@db/x?sslmode=verify-full&sslnegotiation=direct",
                "postgres://app@db:5432/x?sslmode=verify-full",
            ),
        ] {
            assert_eq!(shown(text), expected);
        }
    }

    #[test]
    fn what_is_refused() {
        for text in [
            "",
            "127.0.0.1:8080",
            "ftp://x",
            "http://",
            "http://:80",
            "http://x:0",
            "http://x:99999",
            "http://x:/",
            "http://me@x/",
            "http://x/a b",
            "http://x/\u{e9}",
            "http://[::1",
            "http://[::1]80",
            "tcp://x",
            "tls://x",
            "ws://me@x/",
            "tcp://x:1/path",
            "postgres://db",
            "postgres://@db",
            "postgres://a%0@db",
            "postgres://a%00b@db",
            "postgres://a@db/x?sslmode=verify-ca",
            "postgres://a@db/x?sslnegotiation=direct",
        ] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_password_is_decoded_and_never_shown() {
        let target: Target = "postgres://app:se%40cret@db/shop".parse().unwrap();
        let Service::Postgres { password, .. } = &target.service else { panic!("{target}") };
        assert_eq!(password, &Some(Password("se@cret".to_owned())));
        assert!(!format!("{target} {target:?}").contains("cret"));
        let error = "postgre://app:secret@db".parse::<Target>().unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
    }

    #[test]
    fn a_password_is_supplied_where_there_is_none() {
        for (text, expected) in [("postgres://a@db", "given"), ("postgres://a:own@db", "own")] {
            let mut target: Target = text.parse().unwrap();
            target.supply_password("given");
            let Service::Postgres { password: Some(password), .. } = target.service else {
                panic!("{text}")
            };
            assert_eq!(password.0, expected);
        }
    }
}
