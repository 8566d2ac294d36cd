//! Control groups: which units run, and where the kernel accounts for them.
//!
//! Three layouts are known (cgroups(7)): unified (v2), legacy (v1: a tree for each
//! controller), and hybrid (v1, with a v2 tree beside it that controls nothing but
//! knows pressure).

use std::{
    fs,
    os::unix::fs::DirEntryExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::pattern::fits;

/// Folders below the root that are looked into, at most.
const MAX_DEPTH: usize = 8;
/// Groups that are looked at, at most.
const MAX_GROUPS: usize = 20_000;

/// How the kernel groups processes here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Hierarchy {
    /// v2.
    Unified { root: PathBuf },
    /// v1, or hybrid when there is a unified tree as well.
    Legacy { systemd: PathBuf, controllers: Controllers, unified: Option<PathBuf> },
    /// None that bs9 knows.
    None,
}

/// The trees of v1.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Controllers {
    pub(crate) cpu: Option<PathBuf>,
    pub(crate) cpuacct: Option<PathBuf>,
    pub(crate) memory: Option<PathBuf>,
    pub(crate) pids: Option<PathBuf>,
    pub(crate) blkio: Option<PathBuf>,
}

impl Hierarchy {
    /// Looks at what is mounted at `root`.
    pub(crate) fn detect(root: &Path) -> Self {
        let is_unified = |path: &Path| path.join("cgroup.controllers").is_file();
        if is_unified(root) {
            return Self::Unified { root: root.to_owned() };
        }
        let tree =
            |names: &[&str]| names.iter().map(|name| root.join(name)).find(|path| path.is_dir());
        let unified = Some(root.join("unified")).filter(|path| is_unified(path));
        let Some(systemd) = tree(&["systemd"]).or_else(|| unified.clone()) else {
            return Self::None;
        };
        let controllers = Controllers {
            cpu: tree(&["cpu", "cpu,cpuacct"]),
            cpuacct: tree(&["cpuacct", "cpu,cpuacct"]),
            memory: tree(&["memory"]),
            pids: tree(&["pids"]),
            blkio: tree(&["blkio"]),
        };
        Self::Legacy { systemd, controllers, unified }
    }

    /// The word for it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Unified { .. } => "unified",
            Self::Legacy { unified: Some(_), .. } => "hybrid",
            Self::Legacy { .. } => "legacy",
            Self::None => "none",
        }
    }

    /// The tree that systemd builds.
    pub(crate) fn tree(&self) -> Option<&Path> {
        match self {
            Self::Unified { root } => Some(root),
            Self::Legacy { systemd, .. } => Some(systemd),
            Self::None => None,
        }
    }
}

/// A unit that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) unit: Arc<str>,
    /// Below the root, without a slash at its beginning.
    pub(crate) path: PathBuf,
    /// Another one means another group: the unit was restarted.
    pub(crate) inode: u64,
}

/// Every unit that fits one of `patterns`, in order of name. The first of several
/// with one name (system, then each user's) has the name, others their path.
pub(crate) fn units(root: &Path, patterns: &[Arc<str>]) -> Vec<Group> {
    let mut found = Vec::new();
    if !patterns.is_empty() {
        let mut left = MAX_GROUPS;
        walk(root, &mut PathBuf::new(), 0, patterns, &mut left, &mut found);
    }
    found.sort_by(|a, b| (&a.unit, &a.path).cmp(&(&b.unit, &b.path)));
    let mut before: Option<Arc<str>> = None;
    for group in &mut found {
        let name = Arc::clone(&group.unit);
        if before.as_ref() == Some(&name) {
            group.unit = group.path.to_string_lossy().into();
        }
        before = Some(name);
    }
    found
}

fn walk(
    root: &Path,
    below: &mut PathBuf,
    depth: usize,
    patterns: &[Arc<str>],
    left: &mut usize,
    found: &mut Vec<Group>,
) {
    // One that vanished while it was being looked at is not there.
    let Ok(entries) = fs::read_dir(root.join(&*below)) else { return };
    for entry in entries.filter_map(Result::ok) {
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        if *left == 0 {
            return;
        }
        *left -= 1;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        below.push(name);
        if is_unit(name) && patterns.iter().any(|pattern| fits(pattern, name)) {
            found.push(Group { unit: name.into(), path: below.clone(), inode: entry.ino() });
        }
        // Slices hold units; so does the service of a user's own systemd.
        if (name.ends_with(".slice") || name.starts_with("user@")) && depth < MAX_DEPTH {
            walk(root, below, depth + 1, patterns, left, found);
        }
        below.pop();
    }
}

fn is_unit(name: &str) -> bool {
    [".service", ".scope", ".socket", ".mount", ".swap", ".slice"]
        .iter()
        .any(|ending| name.len() > ending.len() && name.ends_with(ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make(root: &Path, paths: &[&str]) {
        for path in paths {
            fs::create_dir_all(root.join(path)).unwrap();
        }
    }

    #[test]
    fn layouts_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        assert_eq!(Hierarchy::detect(root).name(), "none");
        make(root, &["systemd", "memory", "cpu,cpuacct"]);
        assert_eq!(Hierarchy::detect(root).name(), "legacy");
        make(root, &["unified"]);
        fs::write(root.join("unified/cgroup.controllers"), "").unwrap();
        assert_eq!(Hierarchy::detect(root).name(), "hybrid");
        fs::write(root.join("cgroup.controllers"), "").unwrap();
        assert_eq!(Hierarchy::detect(root).name(), "unified");
    }

    #[test]
    fn units_are_found_in_slices_and_in_users_systemds() {
        let folder = tempfile::tempdir().unwrap();
        make(
            folder.path(),
            &[
                "init.scope",
                "system.slice/web.service/inner",
                "system.slice/system-getty.slice/getty@tty1.service",
                "user.slice/user-7.slice/user@7.service/app.slice/web.service",
                "user.slice/user-7.slice/session-1.scope",
            ],
        );
        let names = |patterns: &[&str]| -> Vec<String> {
            let patterns: Vec<Arc<str>> = patterns.iter().map(|p| (*p).into()).collect();
            units(folder.path(), &patterns).iter().map(|group| group.unit.to_string()).collect()
        };
        assert_eq!(
            names(&["*.service"]),
            [
                "getty@tty1.service",
                "user@7.service",
                "web.service",
                "user.slice/user-7.slice/user@7.service/app.slice/web.service",
            ]
        );
        assert_eq!(names(&["session-*.scope"]), ["session-1.scope"]);
        assert_eq!(names(&[]), [""; 0]);
    }
}
