//! Addresses as they are written: `host:port`, `[v6]:port`, `unix:/path`.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    str::FromStr,
};

use crate::{
    model::{BindAddress, EndpointAddress},
    read::{Fault, absolute},
};

/// Bytes of a unix socket's path (`sun_path` less its NUL; unix(7)).
const MAX_SOCKET_PATH_BYTES: usize = 107;
/// Bytes of a host name (RFC 1035, section 2.3.4).
const MAX_HOST_BYTES: usize = 253;

/// Text is not an address; says what is wrong and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}{}", .hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default())]
pub struct AddressError {
    message: String,
    hint: Option<String>,
}

impl From<Fault> for AddressError {
    fn from(fault: Fault) -> Self {
        Self { message: fault.message, hint: fault.hint }
    }
}

/// `ip:port`, `name:port` or `unix:/path` (a relative path is relative to the
/// current folder).
impl FromStr for EndpointAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        Ok(endpoint(text, Path::new(""))?)
    }
}

/// `host:port` with an IP address, `localhost` or `*`, or `unix:/path`.
impl FromStr for BindAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        Ok(bind(text, Path::new(""))?)
    }
}

/// Where a listener listens.
pub(crate) fn bind(text: &str, folder: &Path) -> Result<BindAddress, Fault> {
    if let Some(path) = text.strip_prefix("unix:") {
        return socket_path(path, folder).map(BindAddress::Unix);
    }
    listen(text, folder).map(BindAddress::Tcp)
}

/// A TCP address to listen on: an IP address, `localhost` or `*`, and a port.
pub(crate) fn listen(text: &str, _folder: &Path) -> Result<SocketAddr, Fault> {
    let (host, port) = host_and_port(text, "0.0.0.0:8080")?;
    let address = match host {
        "*" => Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        "localhost" => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        _ => ip(host),
    };
    address.map(|ip| SocketAddr::new(ip, port)).ok_or_else(|| {
        Fault::new(format!("`{host}` is not an address to listen on"))
            .hint("use an IP address, localhost, or * for all IPv4 addresses")
    })
}

/// Where an endpoint is.
pub(crate) fn endpoint(text: &str, folder: &Path) -> Result<EndpointAddress, Fault> {
    if let Some(path) = text.strip_prefix("unix:") {
        return socket_path(path, folder).map(|path| EndpointAddress::Unix(path.into()));
    }
    if text.contains("://") {
        let bare = text.split("://").nth(1).unwrap_or_default().trim_end_matches('/');
        return Err(Fault::new(format!("`{text}` is a URL, not an address"))
            .hint(format!("write \"{bare}\", with the port")));
    }
    let (host, port) = host_and_port(text, "127.0.0.1:3000")?;
    if port == 0 {
        return Err(Fault::new("an endpoint cannot have port 0"));
    }
    if let Some(ip) = ip(host) {
        return Ok(EndpointAddress::Tcp(SocketAddr::new(ip, port)));
    }
    host_name(host)?;
    Ok(EndpointAddress::Name { host: host.to_ascii_lowercase().into(), port })
}

/// A socket's path, without `unix:`.
pub(crate) fn socket_path(path: &str, folder: &Path) -> Result<PathBuf, Fault> {
    if path.is_empty() || path.contains('\0') {
        return Err(Fault::new("a socket's path is missing").hint("write \"unix:/run/name.sock\""));
    }
    let absolute = absolute(folder, path);
    let length = absolute.as_os_str().len();
    if length > MAX_SOCKET_PATH_BYTES {
        return Err(Fault::new(format!("the socket's path is {length} bytes long"))
            .hint(format!("the system allows {MAX_SOCKET_PATH_BYTES}; choose a shorter folder")));
    }
    Ok(absolute)
}

/// A host name as DNS and files know it: letters, digits, `-`, `_` and dots.
pub(crate) fn host_name(host: &str) -> Result<(), Fault> {
    if !host.is_ascii() {
        return Err(Fault::new(format!("the host name `{host}` is not ASCII"))
            .hint("write internationalised names in their xn-- form"));
    }
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // All digits and dots is an IPv4 address gone wrong, never a name.
    let numeric = host.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if host.len() > MAX_HOST_BYTES || numeric || !host.split('.').all(label) {
        return Err(Fault::new(format!("`{host}` is neither an IP address nor a host name")));
    }
    Ok(())
}

fn ip(host: &str) -> Option<IpAddr> {
    match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(v6) => v6.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => host.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    }
}

fn host_and_port<'t>(text: &'t str, example: &str) -> Result<(&'t str, u16), Fault> {
    let bad = |message: String| {
        Fault::new(message).hint(format!("write \"{example}\" or \"unix:/path\""))
    };
    if text.parse::<Ipv6Addr>().is_ok() {
        // `::1:80` is an address, yet more likely meant as one with a port.
        let with_port = text.rsplit_once(':').filter(|(host, port)| {
            host.parse::<Ipv6Addr>().is_ok() && port.len() > 1 && port.parse::<u16>().is_ok()
        });
        let hint = match with_port {
            Some((host, port)) => format!("write \"[{host}]:{port}\", with the brackets"),
            None => format!("write \"[{text}]:8080\""),
        };
        return Err(Fault::new(format!("the address `{text}` has no port")).hint(hint));
    }
    if text.starts_with('/') {
        return Err(Fault::new(format!("`{text}` is a path, not an address"))
            .hint(format!("write \"unix:{text}\"")));
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err(match text.parse::<u16>() {
            Ok(port) => Fault::new(format!("the address `{text}` has no host")).hint(format!(
                "write \"127.0.0.1:{port}\", or \"0.0.0.0:{port}\" for all interfaces"
            )),
            Err(_) => bad(format!("the address `{text}` has no port")),
        });
    };
    if host.is_empty() {
        return Err(Fault::new(format!("the address `{text}` has no host")).hint(format!(
            "write \"127.0.0.1:{port}\", or \"0.0.0.0:{port}\" for all interfaces"
        )));
    }
    if host.contains(':') && !host.starts_with('[') {
        return Err(Fault::new(format!("`{text}` is ambiguous"))
            .hint(format!("put an IPv6 address in brackets: \"[{host}]:{port}\"")));
    }
    let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    match port.parse::<u16>() {
        Ok(number) if digits => Ok((host, number)),
        _ => Err(bad(format!("`{port}` is not a port (0 to 65535)"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binds() {
        for (text, shown) in [
            ("0.0.0.0:8080", "0.0.0.0:8080"),
            ("[::1]:80", "[::1]:80"),
            ("localhost:80", "127.0.0.1:80"),
            ("*:0", "0.0.0.0:0"),
            ("unix:/run/a.sock", "unix:/run/a.sock"),
        ] {
            assert_eq!(text.parse::<BindAddress>().expect(text).to_string(), shown);
        }
        for text in [
            "",
            "8080",
            ":8080",
            "::1",
            "::1:80",
            "example.com:80",
            "1.2.3.4",
            "1.2.3.4:x",
            "1.2.3.4:+1",
            "/run/a",
            "unix:",
        ] {
            assert!(text.parse::<BindAddress>().is_err(), "{text}");
        }
    }

    #[test]
    fn endpoints_read_back_as_shown() {
        for text in ["127.0.0.1:3001", "[2001:db8::1]:80", "api.internal:80", "unix:/run/a.sock"] {
            assert_eq!(text.parse::<EndpointAddress>().expect(text).to_string(), text);
        }
        for text in
            ["", "http://a:80", "a:0", "-a:1", "a..b:1", "1.2.3:80", "münchen.de:80", "a b:1"]
        {
            assert!(text.parse::<EndpointAddress>().is_err(), "{text}");
        }
    }

    #[test]
    fn relative_sockets_belong_to_the_folder() {
        let path = Path::new("/etc/bs9");
        assert_eq!(bind("unix:a.sock", path), Ok(BindAddress::Unix("/etc/bs9/a.sock".into())));
        assert!(bind(&format!("unix:{}", "a".repeat(120)), path).is_err());
    }
}
