//! What an endpoint is told about a client before anything else, by the PROXY protocol.

use std::net::SocketAddr;

use bs9_config::ProxyProtocol;
use bs9_net::{
    PeerAddress,
    proxy_header::{ProxyHeader, write_v1, write_v2},
};

/// The header for a connection that is made for a client; `destination` is where that connected
/// to. Empty: the cluster's endpoints expect none.
pub(crate) fn introduction(
    wanted: Option<ProxyProtocol>,
    client: PeerAddress,
    destination: impl FnOnce() -> Option<SocketAddr>,
) -> Vec<u8> {
    let Some(version) = wanted else { return Vec::new() };
    let header = match (client, destination()) {
        (PeerAddress::Tcp(source), Some(destination)) => {
            ProxyHeader::Proxied { source, destination }
        }
        // A unix socket's client has no address.
        _ => ProxyHeader::Local,
    };
    written(version, header)
}

/// The header for a connection of our own: a health check.
pub(crate) fn own_introduction(wanted: Option<ProxyProtocol>) -> Vec<u8> {
    wanted.map(|version| written(version, ProxyHeader::Local)).unwrap_or_default()
}

fn written(version: ProxyProtocol, header: ProxyHeader) -> Vec<u8> {
    let mut out = Vec::new();
    match version {
        ProxyProtocol::V1 => write_v1(&mut out, header),
        ProxyProtocol::V2 => write_v2(&mut out, header),
    }
    out
}
