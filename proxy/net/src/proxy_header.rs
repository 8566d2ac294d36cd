//! The PROXY protocol, versions 1 and 2: what a proxy says about a client before anything else
//! (haproxy.org/download/3.0/doc/proxy-protocol.txt).
//!
//! Pure: bytes in, verdict out. Which version is spoken is told by the first byte.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use thiserror::Error;

/// Bytes of a header: those of version 2 with the extensions that proxies are known to send.
pub const MAX_HEADER_BYTES: usize = 4096;
/// Bytes of a line of version 1, its end included (section 2.1).
const MAX_LINE_BYTES: usize = 107;
/// Begins version 2 (section 2.2).
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// The signature, version and command, family, length.
const FIXED_BYTES: usize = 16;

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyHeader {
    /// The connection is made for a client.
    Proxied {
        /// The client's address.
        source: SocketAddr,
        /// Where it connected to.
        destination: SocketAddr,
    },
    /// The proxy speaks for itself (a health check), or for a client that has no IP address.
    Local,
}

/// How far a header has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderProgress {
    /// More is needed.
    Partial,
    /// It is `len` bytes long; what follows is the client's.
    Complete {
        /// Bytes of the header.
        len: usize,
        /// What it says.
        header: ProxyHeader,
    },
}

/// What was received is no header; the connection has to be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum HeaderFault {
    /// Neither version begins like this.
    #[error("the connection does not begin with a PROXY header")]
    Absent,
    /// A line without an end, or more than [`MAX_HEADER_BYTES`].
    #[error("the PROXY header is too long")]
    TooLong,
    /// A line of version 1 that says nothing.
    #[error("the PROXY line is malformed")]
    Line,
    /// Another version, command, family or length of version 2.
    #[error("the binary PROXY header is malformed")]
    Binary,
}

/// Reads the header at the start of `bytes`.
///
/// # Errors
/// When it is not one, as soon as that is known.
pub fn parse(bytes: &[u8]) -> Result<HeaderProgress, HeaderFault> {
    match bytes.first() {
        None => Ok(HeaderProgress::Partial),
        Some(b'P') => parse_line(bytes),
        Some(_) => parse_binary(bytes),
    }
}

fn parse_line(bytes: &[u8]) -> Result<HeaderProgress, HeaderFault> {
    let begins = b"PROXY ";
    let known = bytes.len().min(begins.len());
    if bytes[..known] != begins[..known] {
        return Err(HeaderFault::Absent);
    }
    let window = &bytes[..bytes.len().min(MAX_LINE_BYTES)];
    let Some(end) = window.windows(2).position(|pair| pair == b"\r\n") else {
        let full = window.len() == MAX_LINE_BYTES;
        return if full { Err(HeaderFault::TooLong) } else { Ok(HeaderProgress::Partial) };
    };
    let line = std::str::from_utf8(&window[begins.len()..end]).map_err(|_| HeaderFault::Line)?;
    Ok(HeaderProgress::Complete { len: end + 2, header: header_of_line(line)? })
}

fn header_of_line(line: &str) -> Result<ProxyHeader, HeaderFault> {
    // What follows the word is to be ignored (section 2.1).
    if line == "UNKNOWN" || line.starts_with("UNKNOWN ") {
        return Ok(ProxyHeader::Local);
    }
    let mut words = line.split(' ');
    let mut word = || words.next().ok_or(HeaderFault::Line);
    let family = word()?;
    let (source, destination) = (word()?, word()?);
    let (source_port, destination_port) = (port(word()?)?, port(word()?)?);
    if words.next().is_some() {
        return Err(HeaderFault::Line);
    }
    let address = |text: &str| -> Option<IpAddr> {
        match family {
            "TCP4" => text.parse().ok().map(IpAddr::V4),
            "TCP6" => text.parse().ok().map(IpAddr::V6),
            _ => None,
        }
    };
    Ok(ProxyHeader::Proxied {
        source: SocketAddr::new(address(source).ok_or(HeaderFault::Line)?, source_port),
        destination: SocketAddr::new(
            address(destination).ok_or(HeaderFault::Line)?,
            destination_port,
        ),
    })
}

/// Decimal, without a sign or zeros before it.
fn port(text: &str) -> Result<u16, HeaderFault> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let padded = text.len() > 1 && text.starts_with('0');
    if !plain || padded {
        return Err(HeaderFault::Line);
    }
    text.parse().map_err(|_| HeaderFault::Line)
}

fn parse_binary(bytes: &[u8]) -> Result<HeaderProgress, HeaderFault> {
    let known = bytes.len().min(SIGNATURE.len());
    if bytes[..known] != SIGNATURE[..known] {
        return Err(HeaderFault::Absent);
    }
    let Some(fixed) = bytes.first_chunk::<FIXED_BYTES>() else {
        return Ok(HeaderProgress::Partial);
    };
    let [.., command, family, high, low] = *fixed;
    let body = usize::from(u16::from_be_bytes([high, low]));
    let len = FIXED_BYTES + body;
    let proxied = match command {
        0x20 => false,
        0x21 => true,
        _ => return Err(HeaderFault::Binary),
    };
    // Family above, transport below; of either there are values to be refused (section 2.2).
    let (family, transport) = (family >> 4, family & 0x0F);
    if family > 3 || transport > 2 {
        return Err(HeaderFault::Binary);
    }
    if len > MAX_HEADER_BYTES {
        return Err(HeaderFault::TooLong);
    }
    let needed = match family {
        1 => 12,
        2 => 36,
        3 => 216,
        _ => 0,
    };
    if proxied && body < needed {
        return Err(HeaderFault::Binary);
    }
    let Some(addresses) = bytes.get(FIXED_BYTES..len) else {
        return Ok(HeaderProgress::Partial);
    };
    let header = match family {
        1 if proxied => binary_addresses::<4>(addresses),
        2 if proxied => binary_addresses::<16>(addresses),
        // Also a client of a unix socket: it has no address to go by.
        _ => Some(ProxyHeader::Local),
    };
    Ok(HeaderProgress::Complete { len, header: header.ok_or(HeaderFault::Binary)? })
}

/// Source, destination, and their ports.
fn binary_addresses<const N: usize>(bytes: &[u8]) -> Option<ProxyHeader> {
    let (source, rest) = bytes.split_first_chunk::<N>()?;
    let (destination, rest) = rest.split_first_chunk::<N>()?;
    let (source_port, rest) = rest.split_first_chunk::<2>()?;
    let (destination_port, _) = rest.split_first_chunk::<2>()?;
    let address = |octets: &[u8; N], port: &[u8; 2]| {
        let ip = match <[u8; 4]>::try_from(&octets[..]) {
            Ok(v4) => IpAddr::V4(Ipv4Addr::from(v4)),
            Err(_) => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(&octets[..]).ok()?)),
        };
        Some(SocketAddr::new(ip, u16::from_be_bytes(*port)))
    };
    Some(ProxyHeader::Proxied {
        source: address(source, source_port)?,
        destination: address(destination, destination_port)?,
    })
}

/// Appends a header of version 1. [`ProxyHeader::Local`] is `UNKNOWN`.
pub fn write_v1(out: &mut Vec<u8>, header: ProxyHeader) {
    let ProxyHeader::Proxied { source, destination } = header else {
        return out.extend_from_slice(b"PROXY UNKNOWN\r\n");
    };
    let (from, to, v4) = same_family(source.ip(), destination.ip());
    let family = if v4 { "TCP4" } else { "TCP6" };
    let (from_port, to_port) = (source.port(), destination.port());
    let line = format!("PROXY {family} {from} {to} {from_port} {to_port}\r\n");
    out.extend_from_slice(line.as_bytes());
}

/// Appends a header of version 2, without extensions.
pub fn write_v2(out: &mut Vec<u8>, header: ProxyHeader) {
    out.extend_from_slice(&SIGNATURE);
    let ProxyHeader::Proxied { source, destination } = header else {
        return out.extend_from_slice(&[0x20, 0, 0, 0]);
    };
    let (from, to, v4) = same_family(source.ip(), destination.ip());
    out.extend_from_slice(if v4 { &[0x21, 0x11, 0, 12] } else { &[0x21, 0x21, 0, 36] });
    for address in [from, to] {
        match address {
            IpAddr::V4(v4) => out.extend_from_slice(&v4.octets()),
            IpAddr::V6(v6) => out.extend_from_slice(&v6.octets()),
        }
    }
    for port in [source.port(), destination.port()] {
        out.extend_from_slice(&port.to_be_bytes());
    }
}

/// Both as IPv4 when both are, else both as IPv6.
fn same_family(one: IpAddr, other: IpAddr) -> (IpAddr, IpAddr, bool) {
    let (one, other) = (one.to_canonical(), other.to_canonical());
    let as_v6 = |address: IpAddr| match address {
        IpAddr::V4(v4) => IpAddr::V6(v4.to_ipv6_mapped()),
        v6 => v6,
    };
    match one.is_ipv4() && other.is_ipv4() {
        true => (one, other, true),
        false => (as_v6(one), as_v6(other), false),
    }
}

#[cfg(test)]
mod tests;
