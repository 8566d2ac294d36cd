//! A socket of datagrams: bound, towards clients, or connected, towards an endpoint.

use std::{
    io,
    net::SocketAddr,
    os::fd::OwnedFd,
    task::{Context, Poll, ready},
};

use mio::Interest;
use rustix::{
    io::Errno,
    net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType},
};

use crate::runtime::{self, Direction, Registered};

/// The largest datagram there is.
pub const MAX_DATAGRAM_BYTES: usize = 65_535;

/// A socket of datagrams, registered with this shard. Sending never waits: what does not fit
/// into the socket's buffer is lost, as it would be on the wire.
#[derive(Debug)]
pub struct DatagramSocket {
    /// Its only descriptor: closing it takes it out of the poll.
    socket: OwnedFd,
    registered: Registered,
}

impl DatagramSocket {
    /// Registers a non-blocking socket with the shard this runs on. There must be no other
    /// descriptor of it.
    ///
    /// # Errors
    /// When the shard's poll does not take it.
    ///
    /// # Panics
    /// Outside of a shard.
    pub fn from_socket(socket: OwnedFd) -> io::Result<Self> {
        let registered = Registered::new(&socket, Interest::READABLE)?;
        Ok(Self { socket, registered })
    }

    /// A socket that speaks with one address, and hears nobody else.
    ///
    /// # Errors
    /// As `socket(2)` and `connect(2)`.
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(family, SocketType::DGRAM, flags, None)?;
        rustix::net::connect(&socket, &address)?;
        Self::from_socket(socket)
    }

    /// Receives a datagram, and says whose it is.
    ///
    /// # Errors
    /// As `recvfrom(2)`. For a connected socket, that an earlier datagram did not arrive.
    pub fn poll_receive_from(
        &self,
        cx: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        self.poll_receive_with(cx, || {
            let (count, _, sender) =
                rustix::net::recvfrom(&self.socket, &mut *into, RecvFlags::empty())?;
            let sender = sender.and_then(|any| SocketAddr::try_from(any).ok());
            Ok((count, sender.ok_or(Errno::AFNOSUPPORT)?))
        })
    }

    /// Receives a datagram of the address it is connected to.
    ///
    /// # Errors
    /// As [`poll_receive_from`](Self::poll_receive_from).
    pub fn poll_receive(&self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        self.poll_receive_with(cx, || {
            let (count, _) = rustix::net::recv(&self.socket, &mut *into, RecvFlags::empty())?;
            Ok(count)
        })
    }

    fn poll_receive_with<T>(
        &self,
        cx: &mut Context<'_>,
        mut receive: impl FnMut() -> Result<T, Errno>,
    ) -> Poll<io::Result<T>> {
        ready!(self.registered.poll_ready(cx, Direction::Read));
        ready!(runtime::spend(cx));
        loop {
            match receive() {
                Ok(received) => return Poll::Ready(Ok(received)),
                Err(Errno::AGAIN) => {
                    // A send may have been told of an error first.
                    self.registered.forget_end(Direction::Read);
                    self.registered.clear(Direction::Read);
                    ready!(self.registered.poll_ready(cx, Direction::Read));
                }
                Err(Errno::INTR) => {}
                Err(error) => {
                    // An error was reported by the socket's readiness, which stays for good: what
                    // it was about has been told now.
                    self.registered.forget_end(Direction::Read);
                    return Poll::Ready(Err(error.into()));
                }
            }
        }
    }

    /// Sends a datagram to the address it is connected to.
    ///
    /// # Errors
    /// As `send(2)`; `WouldBlock` when there is no room for it.
    pub fn send(&self, datagram: &[u8]) -> io::Result<()> {
        rustix::net::send(&self.socket, datagram, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// Sends a datagram to an address.
    ///
    /// # Errors
    /// As `sendto(2)`; `WouldBlock` when there is no room for it.
    pub fn send_to(&self, datagram: &[u8], address: SocketAddr) -> io::Result<()> {
        rustix::net::sendto(&self.socket, datagram, SendFlags::NOSIGNAL, &address)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, net::UdpSocket};

    use super::*;
    use crate::Runtime;

    fn bound() -> (UdpSocket, SocketAddr) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        (socket, address)
    }

    #[test]
    fn datagrams_keep_their_bounds_and_their_sender() {
        Runtime::new().unwrap().block_on(async {
            let (outside, outside_address) = bound();
            let (inside, inside_address) = bound();
            inside.set_nonblocking(true).unwrap();
            let socket = DatagramSocket::from_socket(inside.into()).unwrap();
            let mut room = [0; MAX_DATAGRAM_BYTES];
            for sent in [&b"one"[..], b"", &[7; 1400]] {
                outside.send_to(sent, inside_address).unwrap();
                let received = poll_fn(|cx| socket.poll_receive_from(cx, &mut room)).await.unwrap();
                assert_eq!((&room[..received.0], received.1), (sent, outside_address));
            }
            socket.send_to(b"answer", outside_address).unwrap();
            assert_eq!(outside.recv_from(&mut room).unwrap(), (6, inside_address));
        });
    }

    #[test]
    fn a_port_without_a_listener_is_told_once_and_the_socket_goes_on() {
        Runtime::new().unwrap().block_on(async {
            let (gone, address) = bound();
            drop(gone);
            let socket = DatagramSocket::connect(address).unwrap();
            let mut room = [0; 16];
            for _ in 0..3 {
                socket.send(b"anybody?").unwrap();
                let told = poll_fn(|cx| socket.poll_receive(cx, &mut room)).await;
                assert_eq!(told.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
            }
            let answering = UdpSocket::bind(address).unwrap();
            socket.send(b"hello").unwrap();
            let (count, from) = answering.recv_from(&mut room).unwrap();
            answering.send_to(&room[..count], from).unwrap();
            assert_eq!(poll_fn(|cx| socket.poll_receive(cx, &mut room)).await.unwrap(), 5);
        });
    }
}
