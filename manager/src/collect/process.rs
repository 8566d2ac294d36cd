//! The processes of a unit: their tree, what they have open, where they listen.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
};

use bs9_api::types::ProcessStatus;

use super::{
    file::{Scratch, lines, number, words},
    reading::{Measured, Missing},
};

/// Processes of a unit that are looked at, at most.
const MAX_PROCESSES: usize = 1_024;
/// Open files of a unit that are looked at, at most.
const MAX_FILES: usize = 4_096;
/// Addresses told of a unit, at most.
const MAX_LISTENING: usize = 1_024;
/// Groups inside a unit's that are looked at, at most.
const MAX_GROUPS: usize = 256;
/// Of proc(5); every Linux that bs9 runs on has it.
const TICKS_PER_SECOND: f64 = 100.0;

/// What a unit has open.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counted {
    pub(super) files: Measured,
    pub(super) sockets: Measured,
}

/// Counts what the processes of a group have open.
pub(super) fn count(group: &Path, proc: &Path) -> Counted {
    let (mut files, mut sockets, mut denied) = (0_usize, 0_usize, false);
    for pid in pids(group) {
        match open_files(proc, pid, MAX_FILES.saturating_sub(files)) {
            Ok(open) => {
                files += open.all;
                sockets += open.sockets.len();
            }
            Err(std::io::ErrorKind::PermissionDenied) => denied = true,
            // It ended meanwhile.
            Err(_) => {}
        }
    }
    if denied {
        let missing = Err(Missing::Denied("/proc/PID/fd"));
        return Counted { files: missing, sockets: missing };
    }
    Counted { files: Ok(files as f64), sockets: Ok(sockets as f64) }
}

struct Open {
    all: usize,
    /// Their inodes.
    sockets: Vec<u64>,
}

/// Inodes of the sockets that a process has open; at most so many as are looked at of a unit.
pub(crate) fn open_sockets(proc: &Path, pid: u32) -> Result<Vec<u64>, std::io::ErrorKind> {
    Ok(open_files(proc, pid, MAX_FILES)?.sockets)
}

fn open_files(proc: &Path, pid: u32, most: usize) -> Result<Open, std::io::ErrorKind> {
    let folder = proc.join(pid.to_string()).join("fd");
    let entries = fs::read_dir(folder).map_err(|error| error.kind())?;
    let mut open = Open { all: 0, sockets: Vec::new() };
    for entry in entries.filter_map(Result::ok).take(most) {
        open.all += 1;
        if let Ok(target) = fs::read_link(entry.path())
            && let Some(inode) = target.to_str().and_then(socket_inode)
        {
            open.sockets.push(inode);
        }
    }
    Ok(open)
}

/// `socket:[4711]`.
fn socket_inode(target: &str) -> Option<u64> {
    target.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// The processes of a group and of the groups in it.
pub(crate) fn pids(group: &Path) -> Vec<u32> {
    let mut scratch = Scratch::new();
    let mut pids = Vec::new();
    let mut groups = vec![group.to_owned()];
    let mut looked = 0;
    while let Some(group) = groups.pop() {
        looked += 1;
        if let Ok(text) = scratch.read_path(&group.join("cgroup.procs")) {
            pids.extend(lines(text).filter_map(number).map(|pid| pid as u32));
        }
        if looked >= MAX_GROUPS || pids.len() >= MAX_PROCESSES {
            break;
        }
        let inner = fs::read_dir(&group).into_iter().flatten().filter_map(Result::ok);
        groups.extend(
            inner
                .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
                .map(|entry| entry.path()),
        );
    }
    pids.truncate(MAX_PROCESSES);
    pids
}

/// A closer look at a unit.
#[derive(Debug, Default)]
pub(crate) struct Inside {
    pub(crate) processes: Vec<ProcessStatus>,
    pub(crate) listening: Vec<String>,
    pub(crate) reasons: Vec<String>,
}

/// Looks at every process of a group, now.
pub(crate) fn look_inside(group: &Path, proc: &Path) -> Inside {
    let mut scratch = Scratch::new();
    let mut inside = Inside::default();
    let mut sockets = HashSet::new();
    let mut processes = BTreeMap::new();
    for pid in pids(group) {
        let stat = proc.join(pid.to_string()).join("stat");
        if let Some(process) = scratch.read_path(&stat).ok().and_then(|text| process(pid, text)) {
            processes.insert(pid, process);
        }
        match open_files(proc, pid, MAX_FILES) {
            Ok(open) => sockets.extend(open.sockets),
            Err(std::io::ErrorKind::PermissionDenied) => inside
                .reasons
                .push(format!("what process {pid} has open may not be seen by this user")),
            Err(_) => {}
        }
    }
    inside.processes = in_order(processes);
    inside.listening = listening(proc, &sockets);
    inside.reasons.truncate(10);
    inside
}

/// One line of proc(5)'s `stat`. The name is in parentheses and may hold some.
pub(super) fn process(pid: u32, text: &[u8]) -> Option<ProcessStatus> {
    let open = text.iter().position(|byte| *byte == b'(')?;
    let close = text.iter().rposition(|byte| *byte == b')')?;
    let name = String::from_utf8_lossy(text.get(open + 1..close)?).into_owned();
    // From here fields are counted from 3, as in proc(5).
    let fields: Vec<&[u8]> = words(text.get(close + 1..)?).collect();
    let field = |number: usize| fields.get(number - 3).copied();
    let numeric = |n: usize| field(n).and_then(number);
    Some(ProcessStatus {
        pid,
        parent_pid: numeric(4)? as u32,
        depth: 0,
        name,
        state: String::from_utf8_lossy(field(3)?).into_owned(),
        threads: numeric(20)? as u64,
        resident_bytes: (numeric(24)?.max(0.0) as u64)
            .saturating_mul(rustix::param::page_size() as u64),
        cpu_seconds_total: (numeric(14)? + numeric(15)?) / TICKS_PER_SECOND,
    })
}

/// Parents before children.
fn in_order(mut processes: BTreeMap<u32, ProcessStatus>) -> Vec<ProcessStatus> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for (pid, process) in &processes {
        let parent = if processes.contains_key(&process.parent_pid) && process.parent_pid != *pid {
            process.parent_pid
        } else {
            0
        };
        children.entry(parent).or_default().push(*pid);
    }
    let mut ordered = Vec::with_capacity(processes.len());
    let mut next: Vec<(u32, u32)> =
        children.remove(&0).unwrap_or_default().into_iter().rev().map(|pid| (pid, 0)).collect();
    while let Some((pid, depth)) = next.pop() {
        if let Some(process) = processes.remove(&pid) {
            ordered.push(ProcessStatus { depth, ..process });
        }
        let children = children.remove(&pid).unwrap_or_default();
        next.extend(children.into_iter().rev().map(|pid| (pid, depth + 1)));
    }
    ordered
}

/// Where sockets with these inodes listen.
fn listening(proc: &Path, sockets: &HashSet<u64>) -> Vec<String> {
    let mut found = Vec::new();
    if sockets.is_empty() {
        return found;
    }
    for (file, protocol, listening) in
        [("tcp", "tcp", "0A"), ("tcp6", "tcp", "0A"), ("udp", "udp", "07"), ("udp6", "udp", "07")]
    {
        // Such a table can be long; it is only read when somebody asks for a unit.
        let text = fs::read_to_string(proc.join("net").join(file)).unwrap_or_default();
        for line in text.lines().skip(1) {
            let fields: Vec<&str> = line.split_ascii_whitespace().collect();
            let (Some(local), Some(state), Some(inode)) =
                (fields.get(1), fields.get(3), fields.get(9))
            else {
                continue;
            };
            if *state == listening
                && inode.parse().is_ok_and(|inode| sockets.contains(&inode))
                && let Some(address) = address(local)
            {
                found.push(format!("{protocol} {address}"));
            }
        }
    }
    let text = fs::read_to_string(proc.join("net/unix")).unwrap_or_default();
    for line in text.lines().skip(1) {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        if let [_, _, _, "00010000", _, _, inode, path] = fields[..]
            && inode.parse().is_ok_and(|inode| sockets.contains(&inode))
        {
            found.push(format!("unix {path}"));
        }
    }
    found.sort();
    found.dedup();
    found.truncate(MAX_LISTENING);
    found
}

/// `0100007F:1F90`: the address word by word in this machine's order.
pub(crate) fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| u32::from_str_radix(ip.get(at..at + 8)?, 16).ok().map(u32::to_ne_bytes);
    let ip = match ip.len() {
        8 => IpAddr::from(Ipv4Addr::from(word(0)?)),
        32 => {
            let mut bytes = [0; 16];
            for (index, part) in bytes.chunks_exact_mut(4).enumerate() {
                part.copy_from_slice(&word(index * 8)?);
            }
            IpAddr::from(Ipv6Addr::from(bytes))
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_parentheses() {
        let stat = b"42 (a) (b) S 1 42 42 0 -1 0 1 2 3 4 150 50 0 0 20 0 7 0 100 4096 3 18446744073709551615";
        let process = process(42, stat).unwrap();
        assert_eq!(process.name, "a) (b");
        assert_eq!((process.parent_pid, process.threads), (1, 7));
        assert_eq!(process.cpu_seconds_total, 2.0);
        assert_eq!(process.resident_bytes, 3 * rustix::param::page_size() as u64);
        assert!(super::process(1, b"1 (x").is_none());
    }

    #[test]
    fn addresses_are_as_people_write_them() {
        let little = cfg!(target_endian = "little");
        assert!(little, "the samples below are of a little-endian machine");
        assert_eq!(address("0100007F:1F90").unwrap().to_string(), "127.0.0.1:8080");
        let six = "00000000000000000000000001000000:0050";
        assert_eq!(address(six).unwrap().to_string(), "[::1]:80");
        assert_eq!(address("zz:1"), None);
    }

    #[test]
    fn a_tree_is_in_order_even_when_it_is_no_tree() {
        let process = |pid, parent_pid| {
            let status = ProcessStatus {
                pid,
                parent_pid,
                depth: 0,
                name: String::new(),
                state: "S".to_owned(),
                threads: 1,
                resident_bytes: 0,
                cpu_seconds_total: 0.0,
            };
            (pid, status)
        };
        let tree = BTreeMap::from([process(5, 1), process(3, 5), process(9, 3), process(7, 5)]);
        let ordered: Vec<_> = in_order(tree).iter().map(|p| (p.pid, p.depth)).collect();
        assert_eq!(ordered, [(5, 0), (3, 1), (9, 2), (7, 1)]);
        // A pid that was used again while they were read can close a circle.
        assert!(in_order(BTreeMap::from([process(1, 2), process(2, 1)])).is_empty());
    }

    #[test]
    fn this_process_is_seen() {
        let group = tempfile::tempdir().unwrap();
        let own = std::process::id();
        fs::write(group.path().join("cgroup.procs"), format!("{own}\n")).unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let inside = look_inside(group.path(), Path::new("/proc"));
        assert_eq!(inside.processes[0].pid, own);
        let address = format!("tcp {}", listener.local_addr().unwrap());
        assert!(inside.listening.contains(&address), "{inside:?}");
        let counted = count(group.path(), Path::new("/proc"));
        assert!(counted.sockets.unwrap() >= 1.0 && counted.files.unwrap() >= 2.0);
    }
}
