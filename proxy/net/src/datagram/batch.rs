//! Datagrams that are taken from a socket, or sent, in one call of the kernel.

use std::{
    array::from_fn,
    fmt,
    io::{IoSlice, IoSliceMut},
    net::{SocketAddr, SocketAddrV4, SocketAddrV6},
    os::fd::{AsFd, AsRawFd},
};

use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg};
use rustix::{
    io::Errno,
    net::{AddressFamily, MMsgHdr, SendAncillaryBuffer, SendFlags, addr::SocketAddrArg},
};

use super::MAX_DATAGRAM_BYTES;

/// What kind of addresses a socket has to do with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

impl From<AddressFamily> for Family {
    fn from(family: AddressFamily) -> Self {
        if family == AddressFamily::INET { Self::V4 } else { Self::V6 }
    }
}

/// Datagrams that are taken at once, at most.
const MOST: usize = 32;
/// Datagrams that are asked for at least: one more than there mostly are, so that the kernel says
/// in the same call that there are no others.
const LEAST: usize = 2;
/// Datagrams that are sent at once, at most.
const TOGETHER: usize = 8;

/// Room for the datagrams of one call. Of its 2 MiB only the pages that datagrams have reached are
/// there.
pub struct Batch {
    room: Box<[u8]>,
    /// For each family of addresses: a header remembers how long the last address was, and has no
    /// room for longer ones.
    headers: [MultiHeaders<SockaddrStorage>; 2],
    /// The length and the sender of each.
    taken: Vec<(usize, Option<SocketAddr>)>,
    /// How many were asked for last: about as many as have come of late, as each that is asked for
    /// is work.
    asked: usize,
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("taken", &self.taken).finish_non_exhaustive()
    }
}

impl Default for Batch {
    fn default() -> Self {
        Self {
            room: vec![0; MOST * MAX_DATAGRAM_BYTES].into_boxed_slice(),
            headers: from_fn(|_| MultiHeaders::preallocate(MOST, None)),
            taken: Vec::with_capacity(MOST),
            asked: LEAST,
        }
    }
}

impl Batch {
    /// What was taken last, in the order in which it came, each with its sender (of which a
    /// connected socket has only one).
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], Option<SocketAddr>)> {
        let places = self.room.chunks_exact(MAX_DATAGRAM_BYTES);
        let taken = self.taken.iter().zip(places);
        taken.map(|((length, sender), place)| (&place[..*length], *sender))
    }

    /// Whether the socket may have more.
    pub(super) fn is_full(&self) -> bool {
        self.taken.len() == self.asked
    }

    /// Takes what there is, one at least.
    pub(super) fn fill(&mut self, socket: &impl AsFd, family: Family) -> Result<(), Errno> {
        if self.is_full() {
            self.asked = (4 * self.asked).min(MOST);
        } else if self.taken.len() < self.asked / 4 {
            self.asked = (self.asked / 2).max(LEAST);
        }
        let Self { room, headers, taken, asked } = self;
        taken.clear();
        let mut places = room.chunks_exact_mut(MAX_DATAGRAM_BYTES);
        let mut slices: [[IoSliceMut<'_>; 1]; MOST] =
            from_fn(|_| [IoSliceMut::new(places.next().expect("there is room for each"))]);
        let descriptor = socket.as_fd().as_raw_fd();
        let slices = slices.iter_mut().take(*asked);
        let received = recvmmsg(
            descriptor,
            &mut headers[family as usize],
            slices,
            MsgFlags::MSG_DONTWAIT,
            None,
        )
        .map_err(|error| Errno::from_raw_os_error(error as i32))?;
        taken.extend(received.map(|one| (one.bytes, one.address.as_ref().and_then(address))));
        Ok(())
    }
}

fn address(any: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = || any.as_sockaddr_in().map(|v4| SocketAddrV4::from(*v4).into());
    v4().or_else(|| any.as_sockaddr_in6().map(|v6| SocketAddrV6::from(*v6).into()))
}

/// Datagrams that a socket did not take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lost {
    /// How many.
    pub count: usize,
    /// That an earlier one found nobody at the other end was the reason for one of them.
    pub refused: bool,
}

/// Sends datagrams in order, to `to` or where the socket is connected. What does not go is lost.
pub(super) fn send_all(socket: &impl AsFd, datagrams: &[&[u8]], to: Option<SocketAddr>) -> Lost {
    let mut lost = Lost::default();
    let mut left = datagrams;
    while !left.is_empty() {
        let sent = match left {
            [only] => send(socket, only, to).map(|()| 1),
            _ => send_some(socket, left, to),
        };
        let gone = sent.unwrap_or_else(|error| {
            lost.count += 1;
            lost.refused |= error == Errno::CONNREFUSED;
            1
        });
        left = &left[gone..];
    }
    lost
}

fn send(socket: &impl AsFd, datagram: &[u8], to: Option<SocketAddr>) -> Result<(), Errno> {
    match to {
        Some(to) => rustix::net::sendto(socket, datagram, SendFlags::NOSIGNAL, &to)?,
        None => rustix::net::send(socket, datagram, SendFlags::NOSIGNAL)?,
    };
    Ok(())
}

/// Sends the first few; gives how many went, one at least.
fn send_some(
    socket: &impl AsFd,
    datagrams: &[&[u8]],
    to: Option<SocketAddr>,
) -> Result<usize, Errno> {
    let count = datagrams.len().min(TOGETHER);
    let to = to.map(|to| to.as_any());
    let slices: [[IoSlice<'_>; 1]; TOGETHER] =
        from_fn(|at| [IoSlice::new(datagrams.get(at).copied().unwrap_or_default())]);
    let mut none: [SendAncillaryBuffer<'_, '_, '_>; TOGETHER] =
        from_fn(|_| SendAncillaryBuffer::default());
    let mut none = none.iter_mut();
    let mut messages: [MMsgHdr<'_>; TOGETHER] = from_fn(|at| {
        let none = none.next().expect("one for each");
        match &to {
            Some(to) => MMsgHdr::new_with_addr(to, &slices[at], none),
            None => MMsgHdr::new(&slices[at], none),
        }
    });
    let sent = rustix::net::sendmmsg(socket, &mut messages[..count], SendFlags::NOSIGNAL)?;
    Ok(sent.max(1))
}
