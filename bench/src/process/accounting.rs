//! CPU time and memory of a process and its descendants, from /proc.

use std::fs;
use std::time::Duration;

use anyhow::{Context, ensure};

use crate::machine::{kibibytes, value_of};

/// The part of /proc/PID/stat that accounting needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stat {
    pid: u32,
    parent: u32,
    /// User and system time in clock ticks: its own threads', and those of
    /// children that ended and were waited for.
    cpu_ticks: u64,
    /// The part of them that was children's.
    children_ticks: u64,
}

/// User and system time of `root` and its descendants.
pub(super) fn cpu_time(root: u32) -> anyhow::Result<Duration> {
    let ticks: u64 = family(root)?.iter().map(|stat| stat.cpu_ticks).sum();
    Ok(duration(ticks))
}

fn duration(ticks: u64) -> Duration {
    let per_second = rustix::param::clock_ticks_per_second();
    Duration::from_secs_f64(ticks as f64 / per_second as f64)
}

/// User and system time of all children of this process that ended and were waited for.
pub(crate) fn ended_children_time() -> anyhow::Result<Duration> {
    let text = fs::read_to_string("/proc/self/stat").context("reading /proc/self/stat")?;
    let stat = parse_stat(&text).context("/proc/self/stat is not as proc(5) says")?;
    Ok(duration(stat.children_ticks))
}

/// The processes of the family of `root`.
pub(super) fn family_pids(root: u32) -> anyhow::Result<Vec<u32>> {
    Ok(family(root)?.iter().map(|stat| stat.pid).collect())
}

/// The sum of the peaks of `root` and its descendants; memory that several of
/// them share counts for each.
pub(super) fn memory_peak_bytes(root: u32) -> anyhow::Result<u64> {
    memory_of(root, "VmHWM")
}

/// The same of what they have resident now.
pub(super) fn memory_bytes(root: u32) -> anyhow::Result<u64> {
    memory_of(root, "VmRSS")
}

fn memory_of(root: u32, key: &str) -> anyhow::Result<u64> {
    let one = |stat: &Stat| {
        let status = fs::read_to_string(format!("/proc/{}/status", stat.pid))?;
        let value = value_of(&status, key).and_then(kibibytes);
        value.with_context(|| format!("/proc/PID/status has no {key}"))
    };
    family(root)?.iter().map(one).sum()
}

fn family(root: u32) -> anyhow::Result<Vec<Stat>> {
    let mut all = Vec::new();
    for entry in fs::read_dir("/proc").context("listing /proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|n| n.parse::<u32>().ok()) else { continue };
        // A process of someone else may end between the listing and the read.
        let Ok(text) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        all.extend(parse_stat(&text));
    }
    let members = descendants(root, &all);
    ensure!(!members.is_empty(), "process {root} has ended");
    Ok(members)
}

/// `root` and all below it.
fn descendants(root: u32, all: &[Stat]) -> Vec<Stat> {
    let mut members: Vec<Stat> = all.iter().filter(|s| s.pid == root).copied().collect();
    let mut next = 0;
    while let Some(parent) = members.get(next).map(|s| s.pid) {
        members.extend(all.iter().filter(|s| s.parent == parent && s.pid != parent).copied());
        next += 1;
    }
    members
}

/// proc(5): the second field, the command in parentheses, may itself hold
/// blanks and parentheses, so fields are counted from the last `)`.
fn parse_stat(text: &str) -> Option<Stat> {
    let pid = text.split_whitespace().next()?.parse().ok()?;
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let parent = fields.get(1)?.parse().ok()?;
    // utime, stime, cutime, cstime: fields 14 to 17, counted from 1.
    let ticks = |at: usize| fields.get(at)?.parse::<u64>().ok();
    let children_ticks = ticks(13)?.checked_add(ticks(14)?)?;
    let cpu_ticks = ticks(11)?.checked_add(ticks(12)?)?.checked_add(children_ticks)?;
    Some(Stat { pid, parent, cpu_ticks, children_ticks })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_stat_line_is_read_past_any_command_name() {
        let line = "71 (a b) (c) S 7 71 71 0 -1 4194560 9 0 0 0 30 12 3 1 20 0 1 0 55 0 0";
        assert_eq!(
            parse_stat(line),
            Some(Stat { pid: 71, parent: 7, cpu_ticks: 46, children_ticks: 4 })
        );
        assert_eq!(parse_stat("71 (cut S 7 71"), None);
    }

    #[test]
    fn a_family_is_everyone_below_the_root() {
        let stat = |pid, parent| Stat { pid, parent, cpu_ticks: 1, children_ticks: 0 };
        let all = [stat(1, 0), stat(5, 1), stat(9, 5), stat(6, 1), stat(7, 9)];
        let pids: Vec<u32> = descendants(5, &all).iter().map(|s| s.pid).collect();
        assert_eq!(pids, [5, 9, 7]);
        assert!(descendants(4, &all).is_empty());
    }

    #[test]
    fn this_process_has_time_and_memory() {
        let own = std::process::id();
        assert!(memory_bytes(own).unwrap() > 100 * 1024);
        assert!(memory_peak_bytes(own).unwrap() >= memory_bytes(own).unwrap() / 2);
        cpu_time(own).unwrap();
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,200}") {
            let _ = parse_stat(&text);
        }
    }
}
