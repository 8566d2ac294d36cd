//! Sockets that are open, by whose processes: `/proc/PID/fd` says which sockets a process has,
//! `/proc/PID/net/tcp` where each of them leads (proc_pid_net(5)). Where Unix sockets lead, the
//! kernel tells of this process's own network only.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs,
    net::{IpAddr, SocketAddr},
    path::Path,
};

use super::unix::{self, Connection};
use crate::collect::{address, open_sockets};

/// Lines of one table that are read at most.
const MAX_LINES: usize = 200_000;

const LISTENS: &str = "0A";
/// Established, being opened, half closed by the other side.
const OPEN: [&str; 3] = ["01", "02", "08"];

/// Processes of one owner.
#[derive(Debug, Clone)]
pub(super) struct Owner {
    /// The id of its node.
    pub(super) node: String,
    pub(super) pids: Vec<u32>,
}

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sockets {
    /// Where each owner listens.
    pub(super) listening: BTreeMap<SocketAddr, String>,
    /// From whom to where; who listens there is not known yet.
    pub(super) open: Vec<(String, SocketAddr)>,
    /// The same of Unix sockets.
    pub(super) unix: Vec<Connection>,
    pub(super) reasons: Vec<String>,
}

/// Looks at the sockets of these owners. Blocks.
pub(super) fn look(proc: &Path, owners: &[Owner]) -> Sockets {
    let mut found = Sockets::default();
    // Each network of its own has tables of its own.
    let mut networks: HashMap<String, (u32, HashMap<u64, &str>)> = HashMap::new();
    for owner in owners {
        for pid in &owner.pids {
            match open_sockets(proc, *pid) {
                Ok(inodes) => {
                    let network = fs::read_link(proc.join(pid.to_string()).join("ns/net"));
                    let network =
                        network.map_or_else(|_| String::new(), |n| n.display().to_string());
                    let (_, sockets) = networks.entry(network).or_insert((*pid, HashMap::new()));
                    sockets.extend(inodes.into_iter().map(|inode| (inode, owner.node.as_str())));
                }
                Err(std::io::ErrorKind::PermissionDenied) => found.reasons.push(format!(
                    "what process {pid} of {} has open may not be seen by this user",
                    owner.node
                )),
                Err(_) => {}
            }
        }
    }
    found.look_at_unix(proc, &networks);
    for (pid, sockets) in networks.into_values() {
        for table in ["tcp", "tcp6"] {
            let path = proc.join(pid.to_string()).join("net").join(table);
            read(&fs::read_to_string(path).unwrap_or_default(), &sockets, &mut found);
        }
    }
    found.open.sort();
    found.open.dedup();
    found.reasons.truncate(10);
    found
}

fn read(table: &str, sockets: &HashMap<u64, &str>, found: &mut Sockets) {
    let mut open = Vec::new();
    let mut own_ports: HashSet<(String, u16)> = HashSet::new();
    for line in table.lines().skip(1).take(MAX_LINES) {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let [_, local, remote, state, _, _, _, _, _, inode, ..] = fields[..] else { continue };
        let Some(owner) = inode.parse().ok().and_then(|inode: u64| sockets.get(&inode)) else {
            continue;
        };
        let (Some(local), Some(remote)) = (plain(local), plain(remote)) else { continue };
        if state == LISTENS {
            found.listening.insert(local, (*owner).to_owned());
            own_ports.insert(((*owner).to_owned(), local.port()));
        } else if OPEN.contains(&state) {
            open.push((*owner, local, remote));
        }
    }
    // What came in is the other side's connection, not this one's need.
    let outgoing = open
        .into_iter()
        .filter(|(owner, local, _)| !own_ports.contains(&((*owner).to_owned(), local.port())));
    found.open.extend(outgoing.map(|(owner, _, remote)| (owner.to_owned(), remote)));
}

/// An IPv4 address that is written as one of IPv6 is itself.
fn plain(text: &str) -> Option<SocketAddr> {
    let found = address(text)?;
    Some(SocketAddr::new(found.ip().to_canonical(), found.port()))
}

impl Sockets {
    fn look_at_unix(&mut self, proc: &Path, networks: &HashMap<String, (u32, HashMap<u64, &str>)>) {
        let own = fs::read_link(proc.join("self/ns/net"));
        let own = own.map_or_else(|_| String::new(), |network| network.display().to_string());
        for (network, (pid, sockets)) in networks {
            if *network != own {
                let reason = "where its Unix sockets lead is not told across networks";
                self.reasons.push(format!("process {pid} has a network of its own: {reason}"));
                continue;
            }
            match unix::dump() {
                Ok(all) => self.unix = unix::connections(&all, sockets),
                Err(error) => self
                    .reasons
                    .push(format!("where Unix sockets lead cannot be asked (sock_diag): {error}")),
            }
        }
    }

    /// Who listens where a connection leads.
    pub(super) fn listener(&self, to: SocketAddr) -> Option<&str> {
        let everywhere = |ip: IpAddr| ip.is_unspecified();
        self.listening.get(&to).map(String::as_str).or_else(|| {
            let mut same = self.listening.iter().filter(|(at, _)| at.port() == to.port());
            // Only of this machine's own addresses it is known that they lead here.
            same.find(|(at, _)| everywhere(at.ip()) && to.ip().is_loopback())
                .map(|(_, owner)| owner.as_str())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_connected_with_whom() {
        // 0x0BB8 is 3000, 0x0BB9 is 3001, 0x1538 is 5432, 0xC350 is 50000.
        let table = "sl local remote st\n\
            0: 0100007F:0BB8 00000000:0000 0A 0:0 0:0 0 0 0 11 1\n\
            1: 00000000:0BB9 00000000:0000 0A 0:0 0:0 0 0 0 21 1\n\
            2: 0100007F:C350 0100007F:0BB8 01 0:0 0:0 0 0 0 22 1\n\
            3: 0100007F:0BB8 0100007F:C350 01 0:0 0:0 0 0 0 12 1\n\
            4: 0100007F:C351 0100007F:1538 01 0:0 0:0 0 0 0 13 1\n\
            5: 0100007F:C352 0100007F:1538 01 0:0 0:0 0 0 0 99 1\n\
            6: 0100007F:C353 0100007F:1538 06 0:0 0:0 0 0 0 14 1\nbroken\n";
        let sockets =
            HashMap::from([(11, "a"), (12, "a"), (13, "a"), (14, "a"), (21, "b"), (22, "b")]);
        let mut found = Sockets::default();
        read(table, &sockets, &mut found);
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        assert_eq!(
            found.open,
            [("b".to_owned(), at("127.0.0.1:3000")), ("a".to_owned(), at("127.0.0.1:5432"))]
        );
        assert_eq!(found.listener(at("127.0.0.1:3000")), Some("a"));
        assert_eq!(found.listener(at("127.0.0.1:3001")), Some("b"));
        assert_eq!(found.listener(at("10.0.0.1:3001")), None);
        assert_eq!(found.listener(at("127.0.0.1:5432")), None);
    }

    #[test]
    fn this_process_is_connected_with_itself() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stream = std::net::TcpStream::connect(address).unwrap();
        let owner = Owner { node: "me".to_owned(), pids: vec![std::process::id()] };
        let found = look(Path::new("/proc"), &[owner]);
        assert!(found.open.contains(&("me".to_owned(), address)), "{found:?}");
        assert_eq!(found.listener(address), Some("me"));
        drop(stream);
    }
}
