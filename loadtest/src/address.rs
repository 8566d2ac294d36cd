//! From a host to one address that answers, and whether it is ours.

use std::{
    fs, io,
    net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs as _, UdpSocket},
    time::Duration,
};

use crate::{failure::Failure, run::RunError, target::Target};

/// Whether addresses of other machines may be put under load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Only this one.
    Local,
    /// Any.
    Anywhere,
}

/// The addresses of a target's host, all of them allowed.
pub(crate) fn resolve(target: &Target, reach: Reach) -> Result<Vec<SocketAddr>, RunError> {
    let host = || target.host.clone();
    let addresses: Vec<SocketAddr> = (target.host.as_str(), target.port)
        .to_socket_addrs()
        .map_err(|source| RunError::Resolve { host: host(), source })?
        .collect();
    if addresses.is_empty() {
        let source = io::Error::from(io::ErrorKind::NotFound);
        return Err(RunError::Resolve { host: host(), source });
    }
    if reach == Reach::Local
        && let Some(address) = addresses.iter().find(|address| !is_local(address.ip()))
    {
        return Err(RunError::Remote { host: host(), address: address.ip() });
    }
    Ok(addresses)
}

/// The first address that takes a connection; it is closed at once.
pub(crate) fn first_answering(
    addresses: &[SocketAddr],
    timeout: Duration,
) -> Result<SocketAddr, RunError> {
    let mut first_failure = None;
    for &address in addresses {
        match TcpStream::connect_timeout(&address, timeout) {
            Ok(_closed_at_once) => return Ok(address),
            Err(error) => {
                first_failure.get_or_insert((address, Failure::of_connect(error)));
            }
        }
    }
    let (address, failure) = first_failure.expect("a resolved host has an address");
    Err(RunError::Unreached { address, failure })
}

/// Whether an address is one of this machine's.
fn is_local(ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    // Connecting to the unspecified address means connecting to oneself.
    if ip.is_loopback() || ip.is_unspecified() {
        return true;
    }
    // These can be bound without being anybody's in particular.
    if ip.is_multicast() || matches!(ip, IpAddr::V4(ip) if ip.is_broadcast()) {
        return false;
    }
    // Only an address of this machine can be bound, unless the machine is told otherwise
    // (`ip_nonlocal_bind`, for addresses that move between machines). Then it takes a look at
    // which address the kernel would speak from: to itself, from the same one.
    let Ok(socket) = UdpSocket::bind((ip, 0)) else { return false };
    if !binds_foreign_addresses(ip) {
        return true;
    }
    drop(socket);
    let unspecified: IpAddr = if ip.is_ipv4() { [0; 4].into() } else { IpAddr::from([0u16; 8]) };
    // A connected UDP socket sends nothing; port 9 is "discard".
    UdpSocket::bind((unspecified, 0))
        .and_then(|socket| socket.connect((ip, 9)).and_then(|()| socket.local_addr()))
        .is_ok_and(|own| own.ip() == ip)
}

fn binds_foreign_addresses(ip: IpAddr) -> bool {
    let family = if ip.is_ipv4() { "ipv4" } else { "ipv6" };
    let path = format!("/proc/sys/net/{family}/ip_nonlocal_bind");
    fs::read_to_string(path).is_ok_and(|text| text.trim() != "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_this_machine_are_local() {
        for ip in ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1", "0.0.0.0", "::"] {
            assert!(is_local(ip.parse().unwrap()), "{ip}");
        }
        // Documentation (RFC 5737, RFC 3849), multicast and broadcast: nobody has these.
        for ip in ["192.0.2.1", "198.51.100.7", "2001:db8::1", "224.0.0.1", "255.255.255.255"] {
            assert!(!is_local(ip.parse().unwrap()), "{ip}");
        }
    }

    #[test]
    fn the_address_this_machine_speaks_from_is_local() {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        // Without a route there is no such address, and nothing to see here.
        if socket.connect("192.0.2.1:9").is_ok() {
            let own = socket.local_addr().unwrap().ip();
            assert!(is_local(own), "{own}");
        }
    }
}
