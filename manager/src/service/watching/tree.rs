//! How what is watched looks: what stands in each file, not when it was written.
//!
//! A file that is written anew with what it said before has not changed, so saving without an
//! edit, a checkout and back, or `touch` bring nothing about.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::ignore::Ignore;

/// Files of one service that are looked at, at most.
const MAX_FILES: usize = 20_000;
/// Folders within each other, at most.
const MAX_DEPTH: usize = 32;
/// Bytes of a file whose content is compared; a longer one goes by its size and time.
const MAX_BYTES: u64 = 4 << 20;

/// What one file looked like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Look {
    /// Size, time in nanoseconds, and inode: what says whether to read it again.
    stamp: (u64, i128, u64),
    digest: String,
}

/// Every file, by its path.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tree {
    files: BTreeMap<PathBuf, Look>,
    /// There are more than are looked at.
    pub(super) cut_off: bool,
}

impl Tree {
    /// As it is now. What has the same stamp as in `known` is not read again. Blocks.
    pub(super) fn look(roots: &[PathBuf], ignore: &Ignore, known: &Self) -> Self {
        let mut tree = Self::default();
        for root in roots {
            tree.add(root, root, ignore, known, 0);
        }
        tree
    }

    fn add(&mut self, root: &Path, path: &Path, ignore: &Ignore, known: &Self, depth: usize) {
        let below = path.strip_prefix(root).unwrap_or(path);
        if depth > MAX_DEPTH || (path != root && ignore.has(path, below)) {
            return;
        }
        // What is watched may be a link; links in it are not followed, which ends circles.
        let found = if depth == 0 { fs::metadata(path) } else { fs::symlink_metadata(path) };
        let Ok(found) = found else { return };
        if found.is_dir() {
            let Ok(entries) = fs::read_dir(path) else { return };
            for entry in entries.filter_map(Result::ok) {
                self.add(root, &entry.path(), ignore, known, depth + 1);
            }
            return;
        }
        if self.files.len() >= MAX_FILES {
            self.cut_off = true;
            return;
        }
        let time = i128::from(found.ctime()) * 1_000_000_000 + i128::from(found.ctime_nsec());
        let stamp = (found.len(), time, found.ino());
        let before = known.files.get(path).filter(|look| look.stamp == stamp);
        let digest = match before {
            Some(look) => look.digest.clone(),
            None => match digest(path, &found) {
                Ok(digest) => digest,
                // It is gone meanwhile, or cannot be read, which is a look as well.
                Err(error) if error.kind() == io::ErrorKind::NotFound => return,
                Err(error) => error.kind().to_string(),
            },
        };
        self.files.insert(path.to_owned(), Look { stamp, digest });
    }

    /// Files that came, went, or say something else.
    pub(super) fn changed_since(&self, before: &Self) -> Vec<PathBuf> {
        let same = |path: &PathBuf, look: &Look| {
            before.files.get(path).is_some_and(|known| known.digest == look.digest)
        };
        let mut changed: Vec<PathBuf> = self
            .files
            .iter()
            .filter(|(path, look)| !same(path, look))
            .map(|(path, _)| path.clone())
            .collect();
        changed.extend(before.files.keys().filter(|path| !self.files.contains_key(*path)).cloned());
        changed.sort();
        changed
    }
}

fn digest(path: &Path, found: &fs::Metadata) -> io::Result<String> {
    if found.is_symlink() {
        return Ok(fs::read_link(path)?.display().to_string());
    }
    if !found.is_file() || found.len() > MAX_BYTES {
        return Ok(format!(
            "{} {}",
            found.len(),
            found.mtime_nsec() + found.mtime() * 1_000_000_000
        ));
    }
    let digest = Sha256::digest(fs::read(path)?);
    Ok(digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use bs9_config::parse_service;

    use super::*;

    #[test]
    fn only_another_content_is_a_change() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().to_owned();
        let write = |name: &str, text: &str| {
            let path = root.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("a.py", "1");
        write("lib/b.py", "1");
        write(".git/HEAD", "1");
        std::os::unix::fs::symlink(&root, root.join("circle")).unwrap();
        let service = parse_service(&root.join("s.toml"), "command = [\"x\"]").unwrap();
        let ignore = Ignore::of(&service, Path::new("/state"));
        let look = |known: &Tree| Tree::look(std::slice::from_ref(&root), &ignore, known);
        let first = look(&Tree::default());
        assert_eq!(first.files.len(), 3, "{first:?}");

        write("a.py", "1");
        write(".git/HEAD", "2");
        assert!(look(&first).changed_since(&first).is_empty());
        write("lib/b.py", "2");
        write("c.py", "1");
        fs::remove_file(root.join("a.py")).unwrap();
        let second = look(&first);
        let names: Vec<_> = second
            .changed_since(&first)
            .iter()
            .map(|path| path.strip_prefix(&root).unwrap().display().to_string())
            .collect();
        assert_eq!(names, ["a.py", "c.py", "lib/b.py"]);
        // It comes back from a file as it was.
        let text = serde_json::to_string(&second).unwrap();
        assert_eq!(serde_json::from_str::<Tree>(&text).unwrap(), second);
    }
}
