//! Folders of quickstarts that were killed: how they are known, and how they go.
//!
//! A folder that is to be removed holds a mark: a file that its quickstart keeps locked
//! (flock(2)). The kernel lets go of the lock when that process ends, however it ends.
//! So whoever gets the lock knows that the owner is dead, and has a folder to itself
//! that a quickstart made.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{FlockOperation, OFlags, flock},
    process::geteuid,
};

/// What the names of new folders start with.
pub(super) const PREFIX: &str = "bs9-";
const MARK: &str = "quickstart.lock";
const NEW_MARK: &str = "quickstart.lock.new";

/// Says that a folder is in use, until it is dropped or its process ends.
#[derive(Debug)]
pub(super) struct Mark(#[expect(dead_code, reason = "the open file holds the lock")] File);

impl Mark {
    /// Marks `folder` as this process's. It is never seen without its lock.
    pub(super) fn set(folder: &Path) -> io::Result<Self> {
        let new = folder.join(NEW_MARK);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        fs::rename(&new, folder.join(MARK))?;
        Ok(Self(file))
    }

    /// The mark in `folder`, when it is this user's and its owner is dead.
    fn of_dead(folder: &Path) -> Option<Self> {
        let own = geteuid().as_raw();
        let of_folder = fs::symlink_metadata(folder).ok()?;
        if !of_folder.is_dir() || of_folder.uid() != own {
            return None;
        }
        // Not through a link, and not waiting for the other end of a pipe.
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
        let file =
            OpenOptions::new().read(true).custom_flags(flags).open(folder.join(MARK)).ok()?;
        flock(&file, FlockOperation::NonBlockingLockExclusive).ok()?;
        let of_file = file.metadata().ok()?;
        // Somebody else who had the lock before may have removed everything by now.
        let is_there = of_file.nlink() > 0;
        (of_file.is_file() && of_file.uid() == own && is_there).then_some(Self(file))
    }
}

/// Empties `folder` when a quickstart of this user left it behind; says whether it did.
///
/// # Errors
/// Something in it cannot be removed. It stays a left folder then.
pub(super) fn empty(folder: &Path) -> io::Result<bool> {
    let Some(_mark) = Mark::of_dead(folder) else { return Ok(false) };
    let entries: Vec<_> = fs::read_dir(folder)?.collect::<io::Result<_>>()?;
    for entry in entries.iter().filter(|entry| entry.file_name() != MARK) {
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    // Last, so that what could not be removed is found again.
    fs::remove_file(folder.join(MARK))?;
    Ok(true)
}

/// Removes what quickstarts of this user left in `place`; returns what is gone.
pub(super) fn remove_all(place: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(place).into_iter().flatten().flatten();
    let named =
        entries.filter(|entry| entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes()));
    named.map(|entry| entry.path()).filter(|folder| removed(folder)).collect()
}

fn removed(folder: &Path) -> bool {
    let result = empty(folder).and_then(|was_left| {
        if was_left {
            fs::remove_dir(folder)?;
        }
        Ok(was_left)
    });
    result.unwrap_or_else(|error| {
        // Its PostgreSQL may still be writing; the next quickstart tries again.
        tracing::debug!(folder = %folder.display(), %error, "a left folder cannot be removed yet");
        false
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A folder with something in it, and a mark.
    fn sample(place: &Path, name: &str) -> (PathBuf, Mark) {
        let folder = place.join(name);
        fs::create_dir_all(folder.join("postgres/data")).unwrap();
        fs::write(folder.join("postgres/data/file"), "data").unwrap();
        let mark = Mark::set(&folder).unwrap();
        (folder, mark)
    }

    #[test]
    fn what_the_dead_left_goes() {
        let place = tempfile::tempdir().unwrap();
        let (folder, mark) = sample(place.path(), "bs9-one");
        assert!(remove_all(place.path()).is_empty(), "its owner lives");
        assert!(folder.join("postgres/data/file").exists());
        drop(mark);
        assert_eq!(remove_all(place.path()), [folder.as_path()]);
        assert!(!folder.exists());
    }

    #[test]
    fn what_quickstart_did_not_make_stays() {
        let place = tempfile::tempdir().unwrap();
        let other_name = sample(place.path(), "precious").0;
        let unmarked = place.path().join("bs9-unmarked");
        fs::create_dir(&unmarked).unwrap();
        let linked = place.path().join("bs9-linked");
        symlink(&other_name, &linked).unwrap();
        let mark_is_a_link = place.path().join("bs9-mark");
        fs::create_dir(&mark_is_a_link).unwrap();
        symlink(other_name.join(MARK), mark_is_a_link.join(MARK)).unwrap();
        assert!(remove_all(place.path()).is_empty());
        for path in [other_name.join("postgres/data/file"), unmarked, linked, mark_is_a_link] {
            assert!(path.exists(), "{}", path.display());
        }
    }

    #[test]
    fn a_folder_can_be_emptied_for_the_next_one() {
        let place = tempfile::tempdir().unwrap();
        let (folder, mark) = sample(place.path(), "mine");
        assert!(!empty(&folder).unwrap());
        drop(mark);
        assert!(empty(&folder).unwrap());
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        assert!(!empty(&folder).unwrap());
    }
}
