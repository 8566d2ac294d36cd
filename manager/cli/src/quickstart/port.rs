//! Ports on the loopback address: the usual ones, or free ones.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
};

/// An address to listen on, and the usual port when that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Port {
    /// What it is for.
    pub(super) purpose: &'static str,
    pub(super) address: SocketAddr,
    pub(super) instead_of: Option<u16>,
}

impl Port {
    /// `usual` when nobody has it, else one the kernel chooses.
    pub(super) fn choose(purpose: &'static str, usual: u16) -> io::Result<Self> {
        match TcpListener::bind((Ipv4Addr::LOCALHOST, usual)) {
            Ok(free) => Ok(Self { purpose, address: free.local_addr()?, instead_of: None }),
            Err(_) => Ok(Self { instead_of: Some(usual), ..Self::any(purpose)? }),
        }
    }

    /// One the kernel chooses.
    pub(super) fn any(purpose: &'static str) -> io::Result<Self> {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        Ok(Self { purpose, address: free.local_addr()?, instead_of: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_taken_is_replaced() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let usual = taken.local_addr().unwrap().port();
        let port = Port::choose("a test", usual).unwrap();
        assert_eq!(port.instead_of, Some(usual));
        assert_ne!(port.address.port(), usual);
    }
}
