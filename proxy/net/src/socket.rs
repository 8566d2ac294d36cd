//! Listening sockets: one for each shard and address.

use std::{
    io,
    net::SocketAddr,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
        unix::net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
};

use bs9_config::{BindAddress, Listener, ListenerProtocol};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::{Inherited, error::BindError};

/// An address that is bound, with its sockets until they are handed out: one a shard, or more
/// when the service manager made more.
#[derive(Debug)]
pub(crate) struct BoundAddress {
    /// Where it really listens: port 0 is resolved.
    pub(crate) actual: BindAddress,
    pub(crate) sockets: Vec<OwnedFd>,
    /// Removes the socket file when the address is given up.
    pub(crate) file: Option<SocketFile>,
}

/// A Unix socket's file, removed on drop when it is still the one that was made.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if std::fs::symlink_metadata(&self.path).is_ok_and(|now| now.ino() == self.inode) {
            let _gone_already = std::fs::remove_file(&self.path);
        }
    }
}

/// Binds `address` of `listener` once for each shard, unless the service manager listens on it
/// already. A taken address is an error, also when it is this process that has it.
pub(crate) fn bind(
    listener: &Listener,
    address: &BindAddress,
    shards: usize,
    inherited: &Inherited,
) -> Result<BoundAddress, BindError> {
    let backlog = listener.backlog.min(i32::MAX as u32) as i32;
    let bound = match address {
        _ if inherited.has(address, is_udp(listener)) => {
            adopt(inherited, address, is_udp(listener), backlog, shards)
        }
        BindAddress::Tcp(udp) if is_udp(listener) => bind_udp(*udp, shards),
        BindAddress::Tcp(tcp) => bind_tcp(*tcp, backlog, shards),
        BindAddress::Unix(path) => bind_unix(path, backlog, shards),
    };
    let bound = bound.and_then(|bound| {
        if has_sessions(listener) && matches!(address, BindAddress::Tcp(_)) {
            // Accepted sockets inherit it.
            bound.sockets.iter().try_for_each(keep_alive)?;
        }
        Ok(bound)
    });
    bound.map_err(|source| BindError {
        listener: listener.name.to_string(),
        address: address.clone(),
        reason: explain(&source, address),
        source,
    })
}

/// Whether a listener's sockets are for datagrams.
pub(crate) fn is_udp(listener: &Listener) -> bool {
    matches!(listener.protocol, ListenerProtocol::Udp(_))
}

/// Whether clients may stay silent for as long as they like, and hold something meanwhile.
fn has_sessions(listener: &Listener) -> bool {
    matches!(listener.protocol, ListenerProtocol::Postgres)
}

/// Has the kernel find out when the other machine has gone without a word, in the time that its
/// settings (`net.ipv4.tcp_keepalive_time`) say.
pub(crate) fn keep_alive(socket: &impl AsFd) -> io::Result<()> {
    Ok(rustix::net::sockopt::set_socket_keepalive(socket, true)?)
}

fn explain(error: &io::Error, address: &BindAddress) -> String {
    match (error.kind(), address) {
        (io::ErrorKind::AddrInUse, BindAddress::Tcp(tcp)) => {
            format!("port {} is taken by another program", tcp.port())
        }
        (io::ErrorKind::AddrInUse, BindAddress::Unix(_)) => {
            "another program is listening on this socket".to_owned()
        }
        (io::ErrorKind::PermissionDenied, BindAddress::Tcp(tcp)) if tcp.port() < 1024 => format!(
            "port {} is below 1024: it needs CAP_NET_BIND_SERVICE or a lower \
             net.ipv4.ip_unprivileged_port_start",
            tcp.port()
        ),
        (io::ErrorKind::AddrNotAvailable, _) => "this host has no such address".to_owned(),
        _ => error.to_string(),
    }
}

fn bind_tcp(address: SocketAddr, backlog: i32, shards: usize) -> io::Result<BoundAddress> {
    let actual = claim_alone(address)?;
    let mut sockets = Vec::with_capacity(shards);
    for _ in 0..shards {
        let socket = new_tcp(address)?;
        socket.set_reuse_port(true)?;
        // Accepted sockets inherit it: no system call per connection.
        socket.set_tcp_nodelay(true)?;
        if actual.ip().is_loopback() {
            lighten(&socket);
        }
        socket.bind(&actual.into())?;
        socket.listen(backlog)?;
        sockets.push(socket.into());
    }
    Ok(BoundAddress { actual: BindAddress::Tcp(actual), sockets, file: None })
}

/// Takes the sockets that the service manager made. The shards share what they have too few of;
/// but datagrams of one client must not come to several of them.
fn adopt(
    inherited: &Inherited,
    address: &BindAddress,
    datagrams: bool,
    backlog: i32,
    shards: usize,
) -> io::Result<BoundAddress> {
    let mut sockets = inherited.claim(address, datagrams)?;
    for socket in sockets.iter().filter(|_| !datagrams) {
        if let BindAddress::Tcp(tcp) = address {
            socket.set_tcp_nodelay(true)?;
            if tcp.ip().is_loopback() {
                lighten(socket);
            }
        }
        // Of a socket that listens already this sets the length of its queue.
        socket.listen(backlog)?;
    }
    let made = sockets.len();
    for shared in 0..shards.saturating_sub(made) {
        if !datagrams {
            sockets.push(sockets[shared % made].try_clone()?);
        }
    }
    let sockets = sockets.into_iter().map(OwnedFd::from).collect();
    Ok(BoundAddress { actual: address.clone(), sockets, file: None })
}

/// The kernel gives a client's datagrams to the same socket, and so to the same shard, as long as
/// there are as many.
fn bind_udp(address: SocketAddr, shards: usize) -> io::Result<BoundAddress> {
    let alone = new_udp(address)?;
    alone.bind(&address.into())?;
    let actual = alone.local_addr()?.as_socket();
    let actual = actual.ok_or_else(|| io::Error::other("a UDP socket without an IP address"))?;
    drop(alone);
    let mut sockets = Vec::with_capacity(shards);
    for _ in 0..shards {
        let socket = new_udp(address)?;
        socket.set_reuse_port(true)?;
        socket.bind(&actual.into())?;
        sockets.push(socket.into());
    }
    Ok(BoundAddress { actual: BindAddress::Tcp(actual), sockets, file: None })
}

fn new_udp(address: SocketAddr) -> io::Result<Socket> {
    let socket =
        Socket::new(Domain::for_address(address), Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

/// SO_REUSEPORT would let two programs of one user share a port without a word:
/// ask for it alone first. Resolves port 0.
fn claim_alone(address: SocketAddr) -> io::Result<SocketAddr> {
    let alone = new_tcp(address)?;
    // Bound, not listening: whoever connected to it would be reset in a moment.
    alone.bind(&address.into())?;
    let actual = alone.local_addr()?.as_socket();
    actual.ok_or_else(|| io::Error::other("a TCP socket without an IP address"))
}

fn new_tcp(address: SocketAddr) -> io::Result<Socket> {
    let socket =
        Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // One family an address: "[::]" beside "0.0.0.0" must not clash.
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

/// Spares a socket whose peer is on this machine the work of a congestion control that measures
/// and paces: nothing is lost on the way. What a listening socket has, its connections inherit.
pub(crate) fn lighten(socket: &impl AsFd) {
    // Every kernel has Reno and lets everybody choose it (tcp(7)); without, all works the same.
    let _stays_as_it_is = rustix::net::sockopt::set_tcp_congestion(socket, "reno");
}

fn bind_unix(path: &Path, backlog: i32, shards: usize) -> io::Result<BoundAddress> {
    remove_stale(path)?;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    // As PostgreSQL and nginx do: who may connect is the folder's business.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777))?;
    let inode = std::fs::symlink_metadata(path)?.ino();
    let file = Some(SocketFile { path: path.to_owned(), inode });
    socket.listen(backlog)?;
    let first = UnixListener::from(OwnedFd::from(socket));
    let mut sockets = Vec::with_capacity(shards);
    for _ in 1..shards {
        sockets.push(first.try_clone()?.into());
    }
    sockets.push(first.into());
    Ok(BoundAddress { actual: BindAddress::Unix(path.to_owned()), sockets, file })
}

/// Removes a socket file that nobody listens on; refuses anything else.
fn remove_stale(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(found) if !found.file_type().is_socket() => {
            Err(io::Error::new(io::ErrorKind::AlreadyExists, "a file that is no socket is there"))
        }
        Ok(_) => match UnixStream::connect(path) {
            Ok(_) => Err(io::ErrorKind::AddrInUse.into()),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                std::fs::remove_file(path)
            }
            Err(error) => Err(error),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn bind(name: &str, address: &BindAddress, shards: usize) -> Result<BoundAddress, BindError> {
        let listener = Listener {
            name: name.into(),
            bind: vec![address.clone()],
            max_connections: None,
            backlog: 16,
            tls: None,
            admission: Arc::default(),
            access_log: None,
            protocol: ListenerProtocol::Postgres,
        };
        super::bind(&listener, address, shards, &Inherited::default())
    }

    #[test]
    fn shards_share_what_the_service_manager_made() {
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = std::net::UdpSocket::bind(tcp.local_addr().unwrap()).unwrap();
        let address = BindAddress::Tcp(tcp.local_addr().unwrap());
        let inherited = Inherited::from_sockets([tcp.into(), udp.into()]).unwrap();
        let streams = adopt(&inherited, &address, false, 16, 3).unwrap();
        assert_eq!((streams.sockets.len(), streams.actual), (3, address.clone()));
        let datagrams = adopt(&inherited, &address, true, 16, 3).unwrap();
        assert_eq!(datagrams.sockets.len(), 1);
    }

    #[test]
    fn a_taken_port_is_refused_although_reuse_port_would_share_it() {
        let any = BindAddress::Tcp("127.0.0.1:0".parse().unwrap());
        let first = bind("a", &any, 2).unwrap();
        assert_eq!(first.sockets.len(), 2);
        let error = bind("b", &first.actual, 2).unwrap_err();
        assert!(error.to_string().contains("is taken by another program"), "{error}");
    }

    #[test]
    fn a_stale_socket_file_is_replaced_and_a_live_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let address = BindAddress::Unix(path.clone());
        let first = bind("a", &address, 1).unwrap();
        assert!(bind("b", &address, 1).is_err());
        let BoundAddress { sockets, file, .. } = first;
        std::mem::forget(file);
        drop(sockets);
        let second = bind("b", &address, 1).unwrap();
        drop(second);
        assert!(!path.exists());
    }

    #[test]
    fn a_file_that_is_no_socket_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes.txt");
        std::fs::write(&path, "mine").unwrap();
        assert!(bind("a", &BindAddress::Unix(path.clone()), 1).is_err());
        assert_eq!(std::fs::read_to_string(path).unwrap(), "mine");
    }
}
