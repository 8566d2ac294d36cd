//! Notices that the files of the configuration changed.
//!
//! Folders are watched, not files: editors and `kubectl` put a new file (or a new
//! link) in place of the old one. A burst of events is one change, and only when
//! the files look different from before.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};

/// Without an event for so long, a change is complete.
const QUIET: Duration = Duration::from_millis(150);
/// A change is looked at after this, quiet or not.
const PATIENCE: Duration = Duration::from_secs(2);

/// Watches what a configuration is read from.
pub(super) struct FileWatch {
    path: PathBuf,
    last: Fingerprint,
    /// Holds one event; more would say nothing new.
    events: mpsc::Receiver<()>,
    _watcher: RecommendedWatcher,
}

impl FileWatch {
    /// Starts to watch the file or folder at `path`. `None`, and a warning, when
    /// the system does not allow it.
    pub(super) fn start(path: &Path) -> Option<Self> {
        match Self::try_start(path) {
            Ok(watch) => Some(watch),
            Err(error) => {
                tracing::warn!(%error, "the configuration is not watched; reload it with SIGHUP or the admin API");
                None
            }
        }
    }

    fn try_start(path: &Path) -> Result<Self, notify::Error> {
        let (sender, events) = mpsc::channel(1);
        let mut watcher =
            notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
                // Reading the files is an event too.
                if event.is_ok_and(|event| event.kind.is_access()) {
                    return;
                }
                // Full: somebody is about to look anyway.
                let _full_or_ended = sender.try_send(());
            })?;
        for folder in folders(path) {
            watcher.watch(&folder, RecursiveMode::NonRecursive)?;
        }
        Ok(Self { path: path.to_owned(), last: Fingerprint::of(path), events, _watcher: watcher })
    }

    /// Waits until the files look different from before, and have settled.
    pub(super) async fn changed(&mut self) {
        loop {
            if self.events.recv().await.is_none() {
                // The watcher's thread is gone; there is nothing to wait for.
                return std::future::pending().await;
            }
            self.settle().await;
            let now = Fingerprint::of(&self.path);
            if now != self.last {
                self.last = now;
                return;
            }
        }
    }

    async fn settle(&mut self) {
        let patience = Instant::now() + PATIENCE;
        loop {
            let quiet = Instant::now() + QUIET;
            match timeout_at(quiet.min(patience), self.events.recv()).await {
                Ok(Some(())) if Instant::now() < patience => {}
                _ => return,
            }
        }
    }
}

/// [`FileWatch::changed`], or for ever when nothing is watched.
pub(super) async fn changed(watch: Option<&mut FileWatch>) {
    match watch {
        Some(watch) => watch.changed().await,
        None => std::future::pending().await,
    }
}

/// The folders in which a change of the configuration at `path` shows: its own,
/// and the one its links lead to.
fn folders(path: &Path) -> BTreeSet<PathBuf> {
    let mut folders = BTreeSet::new();
    let real = fs::canonicalize(path).ok();
    for path in [Some(path), real.as_deref()].into_iter().flatten() {
        let folder = if path.is_dir() { Some(path) } else { path.parent() };
        folders.extend(folder.filter(|folder| folder.is_dir()).map(Path::to_owned));
    }
    folders
}

/// How the files look from outside: enough to tell a change without reading.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Fingerprint(BTreeMap<PathBuf, (u64, u64, u64, i64, i64)>);

impl Fingerprint {
    fn of(path: &Path) -> Self {
        let files = match fs::read_dir(path) {
            Ok(entries) => entries
                .filter_map(|entry| Some(entry.ok()?.path()))
                .filter(|file| is_toml(file))
                .collect(),
            Err(_) => vec![path.to_owned()],
        };
        let look = |file: PathBuf| {
            let found = fs::metadata(&file).ok()?;
            Some((file, (found.dev(), found.ino(), found.len(), found.mtime(), found.mtime_nsec())))
        };
        Self(files.into_iter().filter_map(look).collect())
    }
}

fn is_toml(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension == "toml")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Long enough for any machine; a test that waits for it has failed.
    const DEADLINE: Duration = Duration::from_secs(20);

    async fn notices(watch: &mut FileWatch, change: impl FnOnce()) {
        change();
        tokio::time::timeout(DEADLINE, watch.changed()).await.expect("the change is noticed");
    }

    #[tokio::test]
    async fn a_file_rewritten_or_replaced_or_reached_by_a_link_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("bs9.toml");
        fs::write(&file, "a").unwrap();
        let mut watch = FileWatch::start(&file).unwrap();
        notices(&mut watch, || fs::write(&file, "ab").unwrap()).await;
        notices(&mut watch, || {
            let beside = folder.path().join(".bs9.toml.swp");
            fs::write(&beside, "abc").unwrap();
            fs::rename(&beside, &file).unwrap();
        })
        .await;
        let link = folder.path().join("link.toml");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let mut linked = FileWatch::start(&link).unwrap();
        notices(&mut linked, || fs::write(&file, "abcd").unwrap()).await;
    }

    #[tokio::test]
    async fn a_folder_is_watched_for_files_that_come_and_go() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.toml"), "a").unwrap();
        let mut watch = FileWatch::start(folder.path()).unwrap();
        notices(&mut watch, || fs::write(folder.path().join("b.toml"), "b").unwrap()).await;
        notices(&mut watch, || fs::remove_file(folder.path().join("a.toml")).unwrap()).await;
    }

    #[test]
    fn other_files_leave_the_fingerprint_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.toml"), "a").unwrap();
        let before = Fingerprint::of(folder.path());
        fs::write(folder.path().join("bs9.log"), "noise").unwrap();
        assert_eq!(Fingerprint::of(folder.path()), before);
    }
}
