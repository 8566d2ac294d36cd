//! Unix sockets that are open, and who is at the other end: sock_diag(7) tells both ends of a
//! connection, which `/proc/net/unix` does not.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read, Write},
    time::Duration,
};

use rustix::net::{
    AddressFamily, SocketFlags, SocketType, netlink, socket_with,
    sockopt::{Timeout, set_socket_timeout},
};

/// Sockets that are looked at, at most.
const MAX_SOCKETS: usize = 200_000;
/// The kernel answers at once.
const PATIENCE: Duration = Duration::from_secs(2);
/// A part of the answer is 32 KiB at most (netlink(7)).
const PART_BYTES: usize = 64 << 10;

// linux/netlink.h
const HEADER_BYTES: usize = 16;
const REQUEST_AND_DUMP: u16 = 0x1 | 0x300;
const ERROR: u16 = 2;
const DONE: u16 = 3;
// linux/sock_diag.h, linux/unix_diag.h
const BY_FAMILY: u16 = 20;
const MESSAGE_BYTES: usize = 16;
const ALL_STATES: u32 = u32::MAX;
const SHOW_NAME_PEER_AND_WAITING: u32 = 0x1 | 0x4 | 0x8;
const NAME: u16 = 0;
const PEER: u16 = 2;
const WAITING: u16 = 3;
const LISTENS: u8 = 10;

/// A Unix socket.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct UnixSocket {
    pub(super) inode: u64,
    /// The other end of a connection.
    peer: Option<u64>,
    /// Where it is bound: a path, or `@` and a name that is in no file system.
    name: Option<String>,
    listens: bool,
    /// Who has connected and was not accepted yet.
    waiting: Vec<u64>,
}

/// An open connection: from whom, to whom if that is one of the owners, and by which name.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Connection {
    pub(super) from: String,
    pub(super) to: Option<String>,
    pub(super) name: String,
}

/// Every Unix socket in this process's network.
pub(super) fn dump() -> io::Result<Vec<UnixSocket>> {
    let flags = SocketFlags::CLOEXEC;
    let family = AddressFamily::NETLINK;
    let socket = socket_with(family, SocketType::DGRAM, flags, Some(netlink::SOCK_DIAG))?;
    set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
    let mut socket = File::from(socket);
    socket.write_all(&request())?;
    let (mut found, mut part) = (Vec::new(), vec![0; PART_BYTES]);
    loop {
        let length = socket.read(&mut part)?;
        if length == 0 || parse(&part[..length], &mut found)? || found.len() >= MAX_SOCKETS {
            return Ok(found);
        }
    }
}

fn request() -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + 24);
    bytes.extend(40_u32.to_ne_bytes());
    bytes.extend(BY_FAMILY.to_ne_bytes());
    bytes.extend(REQUEST_AND_DUMP.to_ne_bytes());
    // Sequence and port: there is one question.
    bytes.extend([0; 8]);
    bytes.extend([AddressFamily::UNIX.as_raw() as u8, 0, 0, 0]);
    bytes.extend(ALL_STATES.to_ne_bytes());
    bytes.extend(0_u32.to_ne_bytes());
    bytes.extend(SHOW_NAME_PEER_AND_WAITING.to_ne_bytes());
    // No cookie: every socket.
    bytes.extend([0xff; 8]);
    bytes
}

/// Reads one part of the answer; `true` when it was the last.
fn parse(mut part: &[u8], found: &mut Vec<UnixSocket>) -> io::Result<bool> {
    while let Some(length) = u32_at(part, 0) {
        let length = length as usize;
        let (Some(kind), Some(message)) = (u16_at(part, 4), part.get(HEADER_BYTES..length)) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        match kind {
            DONE => return Ok(true),
            ERROR => {
                let code = u32_at(message, 0).unwrap_or_default().cast_signed();
                return Err(io::Error::from_raw_os_error(-code));
            }
            BY_FAMILY => found.extend(socket(message)),
            _ => {}
        }
        part = part.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

fn socket(message: &[u8]) -> Option<UnixSocket> {
    let mut socket = UnixSocket {
        inode: u32_at(message, 4)?.into(),
        listens: message.get(2) == Some(&LISTENS),
        ..UnixSocket::default()
    };
    let mut attributes = message.get(MESSAGE_BYTES..)?;
    while let (Some(length), Some(kind)) = (u16_at(attributes, 0), u16_at(attributes, 2)) {
        let length = usize::from(length);
        let value = attributes.get(4..length)?;
        match kind {
            NAME => socket.name = shown(value),
            PEER => socket.peer = u32_at(value, 0).map(u64::from),
            WAITING => {
                let inodes = (0..value.len()).step_by(4).filter_map(|at| u32_at(value, at));
                socket.waiting = inodes.map(u64::from).collect();
            }
            _ => {}
        }
        attributes = attributes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Some(socket)
}

/// unix(7): a path may end in a null byte, a name in no file system begins with one.
fn shown(name: &[u8]) -> Option<String> {
    let text = match name {
        [] => return None,
        [0, rest @ ..] => format!("@{}", String::from_utf8_lossy(rest)),
        path => String::from_utf8_lossy(path).trim_end_matches('\0').to_owned(),
    };
    Some(text.replace('\0', "@"))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_ne_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

/// Which of these owners have connected, and to whom. The end that has the name of a listening
/// socket is the one that was connected to.
pub(super) fn connections(sockets: &[UnixSocket], owners: &HashMap<u64, &str>) -> Vec<Connection> {
    let by_inode: HashMap<u64, &UnixSocket> =
        sockets.iter().map(|socket| (socket.inode, socket)).collect();
    let mut listeners: HashMap<&str, &str> = HashMap::new();
    // A socket, and the one that it is connected with or waits for.
    let mut pairs: Vec<(u64, &UnixSocket)> = Vec::new();
    for socket in sockets {
        if let (true, Some(name), Some(owner)) =
            (socket.listens, &socket.name, owners.get(&socket.inode))
        {
            listeners.insert(name, owner);
        }
        pairs.extend(socket.waiting.iter().map(|client| (*client, socket)));
        let peer = socket.peer.and_then(|peer| by_inode.get(&peer));
        pairs.extend(peer.map(|peer| (socket.inode, *peer)));
    }
    let mut found: Vec<_> = pairs
        .into_iter()
        .filter_map(|(inode, peer)| {
            let from = owners.get(&inode)?;
            let name = peer.name.as_deref().filter(|name| !is_systemds(name))?;
            // Its own name is that of what it listens on: it was connected to.
            let own = by_inode.get(&inode).and_then(|socket| socket.name.as_deref());
            if own.is_some_and(|own| listeners.get(own) == Some(from)) {
                return None;
            }
            let to = owners.get(&peer.inode).or_else(|| listeners.get(name));
            (to != Some(from)).then(|| Connection {
                from: (*from).to_owned(),
                to: to.map(|owner| (*owner).to_owned()),
                name: name.to_owned(),
            })
        })
        .collect();
    found.sort();
    found.dedup();
    found
}

/// Every service has connections to the journal and to systemd itself.
fn is_systemds(name: &str) -> bool {
    name.starts_with("/run/systemd/") || name == "/dev/log"
}

#[cfg(test)]
mod tests {
    use std::os::{
        fd::AsRawFd,
        unix::net::{UnixListener, UnixStream},
    };

    use super::*;

    fn named(inode: u64, peer: Option<u64>, name: Option<&str>, listens: bool) -> UnixSocket {
        UnixSocket { inode, peer, name: name.map(str::to_owned), listens, waiting: Vec::new() }
    }

    #[test]
    fn who_connected_to_whom() {
        let waiting = vec![5];
        let sockets = [
            UnixSocket { waiting, ..named(1, None, Some("/run/store.sock"), true) },
            named(2, Some(3), Some("/run/store.sock"), false),
            named(3, Some(2), None, false),
            // Not accepted yet.
            named(5, None, None, false),
            // Somebody else's server, the journal, a pair within one service.
            named(6, Some(7), None, false),
            named(7, Some(6), Some("@other"), false),
            named(8, Some(9), None, false),
            named(9, Some(8), Some("/run/systemd/journal/stdout"), false),
            named(10, Some(11), None, false),
            named(11, Some(10), None, false),
        ];
        let owners = HashMap::from([
            (1, "store"),
            (2, "store"),
            (3, "api"),
            (5, "web"),
            (6, "api"),
            (8, "api"),
            (10, "api"),
            (11, "api"),
        ]);
        let found = connections(&sockets, &owners);
        let rows: Vec<_> = found
            .iter()
            .map(|one| (one.from.as_str(), one.to.as_deref(), one.name.as_str()))
            .collect();
        assert_eq!(
            rows,
            [
                ("api", None, "@other"),
                ("api", Some("store"), "/run/store.sock"),
                ("web", Some("store"), "/run/store.sock"),
            ]
        );
    }

    #[test]
    fn the_kernel_tells_both_ends() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        let client = UnixStream::connect(&path).unwrap();
        let (server, _) = listener.accept().unwrap();
        let inode = |fd: i32| {
            let target = std::fs::read_link(format!("/proc/self/fd/{fd}")).unwrap();
            let target = target.to_str().unwrap().to_owned();
            target.trim_start_matches("socket:[").trim_end_matches(']').parse::<u64>().unwrap()
        };
        let owners = HashMap::from([
            (inode(listener.as_raw_fd()), "store"),
            (inode(server.as_raw_fd()), "store"),
            (inode(client.as_raw_fd()), "api"),
        ]);
        let wanted = |from: &str| Connection {
            from: from.to_owned(),
            to: Some("store".to_owned()),
            name: path.display().to_string(),
        };
        assert_eq!(connections(&dump().unwrap(), &owners), [wanted("api")]);
        // Nobody has accepted this one.
        let waits = UnixStream::connect(&path).unwrap();
        let mut owners = owners;
        owners.insert(inode(waits.as_raw_fd()), "web");
        assert_eq!(connections(&dump().unwrap(), &owners), [wanted("api"), wanted("web")]);
    }

    #[test]
    fn what_is_cut_off_is_an_error_or_nothing() {
        let mut part = request();
        assert!(!parse(&part, &mut Vec::new()).unwrap());
        part[0] = 0xff;
        assert!(parse(&part, &mut Vec::new()).is_err());
        for length in 0..part.len() {
            let _either = parse(&part[..length], &mut Vec::new());
        }
        assert_eq!(shown(b"\0a\0b").unwrap(), "@a@b");
        assert_eq!(shown(b"/run/x\0").unwrap(), "/run/x");
        assert_eq!(shown(b""), None);
    }
}
