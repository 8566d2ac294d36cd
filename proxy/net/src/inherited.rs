//! Listening sockets that the service manager made, and keeps (`sd_listen_fds(3)`).
//!
//! It makes them before the process starts and holds them while the process is replaced, so
//! that clients who connect meanwhile wait in the kernel's queue instead of being refused.
//! Which socket is which is told by its address, not by its name or its place.
#![expect(unsafe_code, reason = "descriptors come as numbers in the environment")]

use std::{
    env, io,
    net::{SocketAddr, TcpListener},
    os::{
        fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd},
        unix::net::UnixListener,
    },
    path::Path,
    process,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use bs9_config::BindAddress;
use rustix::{
    io::{FdFlags, fcntl_getfd, fcntl_setfd},
    net::sockopt::socket_acceptconn,
};
use socket2::{Socket, Type};

/// The first descriptor (`SD_LISTEN_FDS_START`).
const FIRST: RawFd = 3;
/// More than anybody listens on.
const MAX_SOCKETS: RawFd = 4_096;

/// Whether the descriptors have been taken over: they have one owner.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Sockets from the service manager.
#[derive(Debug, Default)]
pub struct Inherited(Vec<InheritedSocket>);

#[derive(Debug)]
struct InheritedSocket {
    address: BindAddress,
    datagrams: bool,
    socket: Socket,
}

impl Inherited {
    /// What the environment says was handed to this process: `LISTEN_PID`, `LISTEN_FDS`.
    /// To be called before anything else opens a file, and once: after that it is empty.
    ///
    /// What is no listening socket is left out, with a warning.
    pub fn from_environment() -> Self {
        let number = |name| env::var(name).ok()?.parse::<RawFd>().ok();
        let meant = number("LISTEN_PID").is_some_and(|pid| Ok(pid) == process::id().try_into());
        let count = number("LISTEN_FDS").filter(|_| meant).unwrap_or(0).clamp(0, MAX_SOCKETS);
        if count == 0 || TAKEN.swap(true, Relaxed) {
            return Self::default();
        }
        let mut sockets = Vec::new();
        for fd in FIRST..FIRST + count {
            match take(fd).and_then(InheritedSocket::of) {
                Ok(socket) => sockets.push(socket),
                Err(error) => {
                    tracing::warn!(fd, %error, "the service manager handed over what is no listening socket");
                }
            }
        }
        Self(sockets)
    }

    /// These sockets, as if the service manager had handed them over.
    ///
    /// # Errors
    /// When one of them does not listen, or has an address of another kind.
    pub fn from_sockets(sockets: impl IntoIterator<Item = OwnedFd>) -> io::Result<Self> {
        sockets.into_iter().map(InheritedSocket::of).collect::<io::Result<_>>().map(Self)
    }

    /// Takes the one that listens on a Unix socket.
    pub fn take_unix(&mut self, path: &Path) -> Option<UnixListener> {
        let found =
            self.take(|address| matches!(address, BindAddress::Unix(own) if own == path))?;
        Some(OwnedFd::from(found).into())
    }

    /// Takes one that listens on a TCP address.
    pub fn take_tcp(&mut self, address: SocketAddr) -> Option<TcpListener> {
        let wanted = BindAddress::Tcp(address);
        let found = self.take(|own| *own == wanted)?;
        Some(OwnedFd::from(found).into())
    }

    fn take(&mut self, wanted: impl Fn(&BindAddress) -> bool) -> Option<Socket> {
        let found = self.0.iter().position(|own| !own.datagrams && wanted(&own.address))?;
        Some(self.0.swap_remove(found).socket)
    }

    /// Copies of every socket of an address. They stay here too: an address that is given up
    /// and wanted again later cannot be bound anew, as the service manager still has it.
    pub(crate) fn claim(&self, address: &BindAddress, datagrams: bool) -> io::Result<Vec<Socket>> {
        self.of(address, datagrams).map(|found| found.socket.try_clone()).collect()
    }

    /// Whether the service manager listens on an address.
    pub(crate) fn has(&self, address: &BindAddress, datagrams: bool) -> bool {
        self.of(address, datagrams).next().is_some()
    }

    /// Every address, each as often as it has sockets; true with datagrams.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = (&BindAddress, bool)> {
        self.0.iter().map(|own| (&own.address, own.datagrams))
    }

    fn of(&self, address: &BindAddress, datagrams: bool) -> impl Iterator<Item = &InheritedSocket> {
        self.0.iter().filter(move |own| own.datagrams == datagrams && own.address == *address)
    }
}

impl InheritedSocket {
    fn of(fd: OwnedFd) -> io::Result<Self> {
        let socket = Socket::from(fd);
        let datagrams = socket.r#type()? == Type::DGRAM;
        if !datagrams && !socket_acceptconn(&socket)? {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it does not listen"));
        }
        let local = socket.local_addr()?;
        let address = match (local.as_socket(), local.as_pathname()) {
            (Some(ip), _) => BindAddress::Tcp(ip),
            (None, Some(path)) if !datagrams => BindAddress::Unix(path.to_owned()),
            _ => return Err(io::Error::new(io::ErrorKind::InvalidInput, "it has no address")),
        };
        socket.set_nonblocking(true)?;
        Ok(Self { address, datagrams, socket })
    }
}

/// Takes over an open descriptor, which children shall not inherit.
fn take(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: only borrowed for the next two calls, which fail with EBADF when it is not open.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    let flags = fcntl_getfd(borrowed)?;
    fcntl_setfd(borrowed, flags | FdFlags::CLOEXEC)?;
    // SAFETY: it is open, as was just seen, and nobody else owns it: it was opened by the parent
    // for this process (sd_listen_fds(3)), and `TAKEN` lets one caller get here.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn sockets_are_known_by_their_addresses() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = UdpSocket::bind(tcp.local_addr().unwrap()).unwrap();
        let address = tcp.local_addr().unwrap();
        let unix = UnixListener::bind(&path).unwrap();
        let mut inherited = Inherited::from_sockets([tcp.into(), udp.into(), unix.into()]).unwrap();
        let bind = BindAddress::Tcp(address);
        assert_eq!(inherited.claim(&bind, false).unwrap().len(), 1);
        assert_eq!(inherited.claim(&bind, true).unwrap().len(), 1);
        assert!(inherited.has(&bind, false), "a claim leaves it there");
        assert!(inherited.take_unix(&path).is_some());
        assert!(inherited.take_unix(&path).is_none(), "once");
        assert!(inherited.take_tcp(address).is_some());
        assert!(inherited.take_tcp(address).is_none(), "datagrams are something else");
        assert_eq!(inherited.addresses().collect::<Vec<_>>(), [(&bind, true)]);
    }

    #[test]
    fn what_does_not_listen_is_refused() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert!(Inherited::from_sockets([client.into()]).is_err());
    }

    #[test]
    fn without_a_service_manager_there_are_none() {
        assert!(Inherited::from_environment().0.is_empty());
    }
}
