//! Notices that files changed: those of the configuration, and the certificates they name.
//!
//! Folders are watched, not files: editors, certbot and `kubectl` put a new file, or a new link
//! to a file or a folder, in place of the old one. A burst of events is one change, and only when
//! the files look different from before. Of a folder's other files nothing is heard while they are
//! written, only when that ends: a log may lie beside. Not every file system tells of changes, and a folder
//! that is made anew is another one: so the files are looked at every now and then all the same.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::{fd::OwnedFd, unix::fs::MetadataExt as _},
    path::{Component, Path, PathBuf},
    time::Duration,
};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::{
    io::unix::AsyncFd,
    time::{Instant, sleep, timeout},
};

/// Without an event for so long, a change is complete.
const QUIET: Duration = Duration::from_millis(150);
/// A change is looked at after this, quiet or not.
const PATIENCE: Duration = Duration::from_secs(2);
/// The files are looked at so often, events or not.
const ROUND: Duration = Duration::from_secs(30);
/// Links followed on the way to one file, as the kernel has it.
const MAX_LINKS: usize = 40;

/// What is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Watched {
    /// What a configuration is read from: a file, or the `*.toml` of a folder.
    Configuration(PathBuf),
    /// These files.
    Files(BTreeSet<PathBuf>),
}

/// Watches files.
pub(super) struct FileWatch {
    watched: Watched,
    last: Fingerprint,
    /// Something has happened that was not looked at yet: whoever waits may have been called away.
    pending: bool,
    /// `None`: the system tells of none.
    events: Option<Events>,
}

/// What happens in some folders (`inotify(7)`).
struct Events(AsyncFd<OwnedFd>);

impl FileWatch {
    /// Starts to watch.
    ///
    /// # Panics
    /// Outside of a runtime.
    pub(super) fn start(watched: Watched) -> Self {
        // In this order: what changes in between is an event.
        let events = watched.events();
        let last = watched.fingerprint();
        Self { watched, last, pending: false, events }
    }

    /// Watches these files from now on, unless it does.
    pub(super) fn follow(&mut self, files: BTreeSet<PathBuf>) {
        let wanted = Watched::Files(files);
        if wanted != self.watched {
            *self = Self::start(wanted);
        }
    }

    /// Waits until the files look different from before, and have settled.
    pub(super) async fn changed(&mut self) {
        loop {
            if !self.pending {
                self.look_out().await;
                self.pending = true;
            }
            self.settle().await;
            self.pending = false;
            if self.watched.fingerprint() == self.last {
                continue;
            }
            // The folders may be others now.
            self.events = self.watched.events();
            self.last = self.watched.fingerprint();
            return;
        }
    }

    /// Waits until it is worth while to look at the files.
    async fn look_out(&mut self) {
        let Some(events) = &self.events else { return sleep(ROUND).await };
        if let Ok(Err(error)) = timeout(ROUND, events.next()).await {
            tracing::warn!(%error, "files are not watched any more, but looked at now and then");
            self.events = None;
        }
    }

    async fn settle(&mut self) {
        let Some(events) = &self.events else { return };
        let patience = Instant::now() + PATIENCE;
        loop {
            sleep(QUIET).await;
            if !matches!(events.take(), Ok(true)) || Instant::now() >= patience {
                return;
            }
        }
    }
}

impl Events {
    #[expect(deprecated, reason = "an owned descriptor is as safe as the new function asks for")]
    fn of(folders: &BTreeSet<PathBuf>) -> io::Result<Self> {
        let events = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        // Not `MODIFY`, of which there is one for each line of a log.
        let wanted = WatchFlags::CREATE
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::ATTRIB
            | WatchFlags::DELETE
            | WatchFlags::MOVE
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF;
        for folder in folders {
            inotify::add_watch(&events, folder, wanted)?;
        }
        Ok(Self(AsyncFd::new(events)?))
    }

    /// Waits until something has happened.
    async fn next(&self) -> io::Result<()> {
        loop {
            let mut ready = self.0.readable().await?;
            if self.take()? {
                return Ok(());
            }
            ready.clear_ready();
        }
    }

    /// Whether something has happened since this was last asked. What it was is of no interest.
    fn take(&self) -> io::Result<bool> {
        let mut bytes = [0; 4096];
        let mut some = false;
        loop {
            match rustix::io::read(&self.0, &mut bytes) {
                Ok(_) => some = true,
                Err(rustix::io::Errno::WOULDBLOCK) => return Ok(some),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
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

impl Watched {
    /// `None`, and a warning, when the system tells of no changes.
    fn events(&self) -> Option<Events> {
        let folders = self.folders();
        if folders.is_empty() {
            return None;
        }
        let warn = |error: &io::Error| {
            let every_seconds = ROUND.as_secs();
            tracing::warn!(
                %error, every_seconds,
                "files cannot be watched; they are looked at every now and then"
            );
        };
        Events::of(&folders).inspect_err(warn).ok()
    }

    /// The folders in which a change shows.
    fn folders(&self) -> BTreeSet<PathBuf> {
        let mut folders = BTreeSet::new();
        match self {
            Self::Configuration(path) => {
                towards(path, &mut folders);
                folders.extend(path.is_dir().then(|| path.clone()));
            }
            Self::Files(files) => files.iter().for_each(|file| towards(file, &mut folders)),
        }
        folders.retain(|folder| folder.is_dir());
        folders
    }

    fn fingerprint(&self) -> Fingerprint {
        match self {
            Self::Configuration(path) => Fingerprint::of(match fs::read_dir(path) {
                Ok(entries) => entries
                    .filter_map(|entry| Some(entry.ok()?.path()))
                    .filter(|file| is_toml(file))
                    .collect(),
                Err(_) => vec![path.clone()],
            }),
            Self::Files(files) => Fingerprint::of(files.iter().cloned()),
        }
    }
}

/// The folder of `path`, and those of the links on the way there: what stands in them decides
/// what `path` is.
fn towards(path: &Path, folders: &mut BTreeSet<PathBuf>) {
    let mut path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    for _ in 0..MAX_LINKS {
        let mut walked = PathBuf::new();
        let mut components = path.components();
        let link = components.by_ref().find_map(|component: Component<'_>| {
            walked.push(component);
            fs::read_link(&walked).ok()
        });
        let folder = walked.parent().map(Path::to_owned);
        folders.extend(folder.clone());
        let (Some(target), Some(folder)) = (link, folder) else { return };
        let rest = components.as_path().to_owned();
        path = folder.join(target);
        if !rest.as_os_str().is_empty() {
            path.push(rest);
        }
    }
}

/// How files look from outside: enough to tell a change without reading.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Fingerprint(BTreeMap<PathBuf, (u64, u64, u64, i64, i64)>);

impl Fingerprint {
    fn of(files: impl IntoIterator<Item = PathBuf>) -> Self {
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
    use std::os::unix::fs::symlink;

    use super::*;

    /// Long enough for any machine; a test that waits for it has failed.
    const DEADLINE: Duration = Duration::from_secs(20);

    async fn notices(watch: &mut FileWatch, change: impl FnOnce()) {
        change();
        timeout(DEADLINE, watch.changed()).await.expect("the change is noticed");
    }

    #[tokio::test]
    async fn a_file_rewritten_or_replaced_or_reached_by_a_link_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("bs9.toml");
        fs::write(&file, "a").unwrap();
        let mut watch = FileWatch::start(Watched::Configuration(file.clone()));
        notices(&mut watch, || fs::write(&file, "ab").unwrap()).await;
        notices(&mut watch, || {
            let beside = folder.path().join(".bs9.toml.swp");
            fs::write(&beside, "abc").unwrap();
            fs::rename(&beside, &file).unwrap();
        })
        .await;
        let link = folder.path().join("link.toml");
        symlink(&file, &link).unwrap();
        let mut linked = FileWatch::start(Watched::Configuration(link));
        notices(&mut linked, || fs::write(&file, "abcd").unwrap()).await;
    }

    #[tokio::test]
    async fn who_is_called_away_while_a_change_settles_learns_of_it_later() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("bs9.toml");
        fs::write(&file, "a").unwrap();
        let mut watch = FileWatch::start(Watched::Configuration(file.clone()));
        fs::write(&file, "ab").unwrap();
        // Until the event is taken, and not a moment longer.
        while !watch.pending {
            let _called_away = timeout(Duration::from_millis(1), watch.changed()).await;
        }
        notices(&mut watch, || {}).await;
    }

    #[tokio::test]
    async fn a_folder_is_watched_for_files_that_come_and_go() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.toml"), "a").unwrap();
        let mut watch = FileWatch::start(Watched::Configuration(folder.path().to_owned()));
        notices(&mut watch, || fs::write(folder.path().join("b.toml"), "b").unwrap()).await;
        notices(&mut watch, || fs::remove_file(folder.path().join("a.toml")).unwrap()).await;
    }

    #[test]
    fn other_files_leave_the_fingerprint_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.toml"), "a").unwrap();
        let watched = Watched::Configuration(folder.path().to_owned());
        let before = watched.fingerprint();
        fs::write(folder.path().join("bs9.log"), "noise").unwrap();
        assert_eq!(watched.fingerprint(), before);
    }

    #[tokio::test]
    async fn a_file_that_is_written_beside_is_not_heard_of_until_it_is_closed() {
        use std::io::Write as _;

        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("bs9.toml");
        fs::write(&file, "a").unwrap();
        let mut log = fs::File::create(folder.path().join("access.log")).unwrap();
        let watch = FileWatch::start(Watched::Configuration(file));
        let events = watch.events.as_ref().unwrap();
        for _ in 0..100 {
            log.write_all(b"a line\n").unwrap();
        }
        assert!(!events.take().unwrap());
        drop(log);
        timeout(DEADLINE, events.next()).await.expect("that it is closed is an event").unwrap();
        assert!(!events.take().unwrap(), "and nothing else");
    }

    /// As Kubernetes mounts a secret: `tls.crt` leads to `..data/tls.crt`, and `..data` to a
    /// folder that is replaced whole.
    #[tokio::test]
    async fn a_link_on_the_way_that_leads_elsewhere_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let mount = folder.path().join("mount");
        for version in ["..1", "..2", "..3"] {
            fs::create_dir_all(mount.join(version)).unwrap();
            fs::write(mount.join(version).join("tls.crt"), version).unwrap();
        }
        let lead_to = |version: &str| {
            symlink(version, mount.join("..new")).unwrap();
            fs::rename(mount.join("..new"), mount.join("..data")).unwrap();
        };
        lead_to("..1");
        symlink("..data/tls.crt", mount.join("tls.crt")).unwrap();
        // Reached by one more link, from another folder.
        let outer = folder.path().join("outer");
        symlink(&mount, &outer).unwrap();
        let files = BTreeSet::from([outer.join("tls.crt")]);
        let mut watch = FileWatch::start(Watched::Files(files));
        notices(&mut watch, || lead_to("..2")).await;
        notices(&mut watch, || lead_to("..3")).await;
        notices(&mut watch, || fs::write(mount.join("..3/tls.crt"), "longer").unwrap()).await;
        let other = folder.path().join("other");
        fs::create_dir(&other).unwrap();
        fs::write(other.join("tls.crt"), "other").unwrap();
        notices(&mut watch, || {
            symlink(&other, folder.path().join("next")).unwrap();
            fs::rename(folder.path().join("next"), &outer).unwrap();
        })
        .await;
    }

    #[tokio::test]
    async fn a_file_that_goes_and_comes_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("site.pem");
        fs::write(&file, "a").unwrap();
        let mut watch = FileWatch::start(Watched::Files(BTreeSet::from([file.clone()])));
        notices(&mut watch, || fs::remove_file(&file).unwrap()).await;
        notices(&mut watch, || fs::write(&file, "a").unwrap()).await;
    }

    #[test]
    fn links_that_lead_in_a_circle_end() {
        let folder = tempfile::tempdir().unwrap();
        symlink("b", folder.path().join("a")).unwrap();
        symlink("a", folder.path().join("b")).unwrap();
        let mut folders = BTreeSet::new();
        towards(&folder.path().join("a"), &mut folders);
        assert!(folders.contains(folder.path()));
    }
}
