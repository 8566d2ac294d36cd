//! A socket of datagrams: bound, towards clients, or connected, towards an endpoint.

mod batch;

use std::{
    io,
    net::SocketAddr,
    os::fd::OwnedFd,
    task::{Context, Poll, ready},
};

use mio::Interest;
use rustix::{
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType},
};

use crate::runtime::{self, Direction, Registered};

use batch::Family;
pub use batch::{Batch, Lost};

/// The largest datagram there is.
pub const MAX_DATAGRAM_BYTES: usize = 65_535;

/// Reads that a batch counts as, so that it is not worth much more than they are.
const SPENT_ON_A_BATCH: usize = 4;

/// A socket of datagrams, registered with this shard. Sending never waits: what does not fit
/// into the socket's buffer is lost, as it would be on the wire.
#[derive(Debug)]
pub struct DatagramSocket {
    /// Its only descriptor: closing it takes it out of the poll.
    socket: OwnedFd,
    registered: Registered,
    family: Family,
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
        let family = rustix::net::getsockname(&socket)?.address_family();
        Self::of_family(socket, family)
    }

    fn of_family(socket: OwnedFd, family: AddressFamily) -> io::Result<Self> {
        let registered = Registered::new(&socket, Interest::READABLE)?;
        Ok(Self { socket, registered, family: family.into() })
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
        Self::of_family(socket, family)
    }

    /// Receives what has come, one datagram at least.
    ///
    /// # Errors
    /// As `recvmmsg(2)`. For a connected socket, that an earlier datagram did not arrive.
    pub fn poll_receive(&self, cx: &mut Context<'_>, into: &mut Batch) -> Poll<io::Result<()>> {
        ready!(self.registered.poll_ready(cx, Direction::Read));
        // Each is work for the task, and others want their turn.
        for _ in 0..SPENT_ON_A_BATCH {
            ready!(runtime::spend(cx));
        }
        loop {
            match into.fill(&self.socket, self.family) {
                Ok(()) => {
                    if !into.is_full() {
                        // Nothing is left; there is no need to hear that from the kernel.
                        self.registered.clear(Direction::Read);
                    }
                    return Poll::Ready(Ok(()));
                }
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

    /// Sends datagrams in order to the address it is connected to; those for which there is no
    /// room, and those that are told of an earlier one's error, are lost.
    pub fn send(&self, datagrams: &[&[u8]]) -> Lost {
        batch::send_all(&self.socket, datagrams, None)
    }

    /// Likewise, to an address.
    pub fn send_to(&self, datagrams: &[&[u8]], address: SocketAddr) -> Lost {
        batch::send_all(&self.socket, datagrams, Some(address))
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

    async fn receive(socket: &DatagramSocket, batch: &mut Batch) -> io::Result<()> {
        poll_fn(|cx| socket.poll_receive(cx, batch)).await
    }

    #[test]
    fn datagrams_keep_their_bounds_their_order_and_their_sender() {
        Runtime::new().unwrap().block_on(async {
            let senders = [bound(), bound()];
            let (inside, inside_address) = bound();
            inside.set_nonblocking(true).unwrap();
            let socket = DatagramSocket::from_socket(inside.into()).unwrap();
            let mut batch = Batch::default();
            // More than are taken at once, of every length, empty ones too.
            let sent: Vec<Vec<u8>> = (0..40_usize).map(|at| vec![at as u8; at * 37]).collect();
            for (at, datagram) in sent.iter().enumerate() {
                senders[at % 2].0.send_to(datagram, inside_address).unwrap();
            }
            let (mut received, mut calls) = (Vec::new(), 0);
            while received.len() < sent.len() {
                receive(&socket, &mut batch).await.unwrap();
                calls += 1;
                received.extend(batch.iter().map(|(one, from)| (one.to_vec(), from.unwrap())));
            }
            // 2, then 8, then the other 30.
            assert_eq!(calls, 3);
            for (at, (datagram, from)) in received.iter().enumerate() {
                assert_eq!((datagram, from), (&sent[at], &senders[at % 2].1));
            }
            let answers: Vec<&[u8]> = sent.iter().map(Vec::as_slice).collect();
            assert_eq!(socket.send_to(&answers, senders[0].1), Lost::default());
            let mut room = [0; 4096];
            for expected in &sent {
                let (count, from) = senders[0].0.recv_from(&mut room).unwrap();
                assert_eq!((&room[..count], from), (&expected[..], inside_address));
            }
        });
    }

    #[test]
    fn one_batch_serves_sockets_of_both_families() {
        Runtime::new().unwrap().block_on(async {
            let mut batch = Batch::default();
            for address in ["127.0.0.1:0", "[::1]:0", "127.0.0.1:0", "[::1]:0"] {
                let inside = UdpSocket::bind(address).unwrap();
                let (outside, to) =
                    (UdpSocket::bind(address).unwrap(), inside.local_addr().unwrap());
                inside.set_nonblocking(true).unwrap();
                let socket = DatagramSocket::from_socket(inside.into()).unwrap();
                outside.send_to(b"hello", to).unwrap();
                receive(&socket, &mut batch).await.unwrap();
                let received: Vec<_> = batch.iter().collect();
                assert_eq!(received, [(&b"hello"[..], outside.local_addr().ok())]);
            }
        });
    }

    #[test]
    fn what_came_after_the_last_look_is_received_too() {
        Runtime::new().unwrap().block_on(async {
            let (outside, _) = bound();
            let (inside, address) = bound();
            inside.set_nonblocking(true).unwrap();
            let socket = DatagramSocket::from_socket(inside.into()).unwrap();
            let mut batch = Batch::default();
            for round in 0..100_u8 {
                outside.send_to(&[round], address).unwrap();
                receive(&socket, &mut batch).await.unwrap();
                let received: Vec<_> = batch.iter().map(|(one, _)| one.to_vec()).collect();
                assert_eq!(received, [[round]]);
            }
        });
    }

    #[test]
    fn a_port_without_a_listener_is_told_once_and_the_socket_goes_on() {
        Runtime::new().unwrap().block_on(async {
            let (gone, address) = bound();
            drop(gone);
            let socket = DatagramSocket::connect(address).unwrap();
            let mut batch = Batch::default();
            for _ in 0..3 {
                assert_eq!(socket.send(&[b"anybody?"]).count, 0);
                let told = receive(&socket, &mut batch).await;
                assert_eq!(told.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
            }
            // Of several at once, the one that is told of it is lost, and the others go.
            assert_eq!(socket.send(&[b"anybody?"]).count, 0);
            let answering = UdpSocket::bind(address).unwrap();
            assert_eq!(socket.send(&[b"a", b"b", b"c"]), Lost { count: 1, refused: true });
            let mut room = [0; 16];
            for expected in [b"b", b"c"] {
                let (count, from) = answering.recv_from(&mut room).unwrap();
                assert_eq!(&room[..count], expected);
                answering.send_to(&room[..count], from).unwrap();
            }
            let mut answers = Vec::new();
            while answers.len() < 2 {
                receive(&socket, &mut batch).await.unwrap();
                answers.extend(batch.iter().map(|(one, _)| one.to_vec()));
            }
            assert_eq!(answers, [b"b", b"c"]);
        });
    }
}
