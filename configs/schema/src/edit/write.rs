//! Replacing a file whole or not at all, its earlier texts kept.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, chown},
    path::{Path, PathBuf},
    process,
};

/// Earlier texts of a file that are kept.
const KEPT_GENERATIONS: u32 = 5;

/// Replaces a file whole or not at all, or makes it, readable by its owner only:
/// written beside it, synced, renamed over it. The texts before it are kept as
/// `NAME.~1~` (the latest) to `NAME.~5~`.
///
/// # Errors
///
/// The system's. The file is as it was then.
pub fn put(file: &Path, text: &str) -> io::Result<()> {
    replace(file, text)
}

/// Removes the file; its text stays as `NAME.~1~`.
pub(super) fn retire(file: &Path) -> io::Result<()> {
    keep_generations(file)?;
    fs::remove_file(file)?;
    File::open(file.parent().unwrap_or(Path::new("/")))?.sync_all()
}

/// Writes `text` beside the file and renames it over the file.
pub(super) fn replace(file: &Path, text: &str) -> io::Result<()> {
    let new = beside(file, |name| {
        let mut hidden = OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}.tmp", process::id()));
        hidden
    });
    let written = write_synced(file, &new, text)
        .and_then(|()| keep_generations(file))
        .and_then(|()| fs::rename(&new, file));
    if let Err(error) = written {
        // The first error is the one to tell; the leftover is harmless.
        let _ = fs::remove_file(&new);
        return Err(error);
    }
    // Only a synced folder remembers the rename.
    File::open(file.parent().unwrap_or(Path::new("/")))?.sync_all()
}

fn write_synced(file: &Path, new: &Path, text: &str) -> io::Result<()> {
    let old = match fs::metadata(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        found => Some(found?),
    };
    // Not readable by others until it has the old file's mode: it may hold secrets.
    let _ = fs::remove_file(new);
    let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(new)?;
    out.write_all(text.as_bytes())?;
    if let Some(old) = old {
        // Only root may give a file away; anyone else keeps what it made.
        let _ = chown(new, Some(old.uid()), Some(old.gid()));
        out.set_permissions(old.permissions())?;
    }
    out.sync_all()
}

/// Moves `NAME.~1~` to `NAME.~2~` and so on, and keeps the present text as `NAME.~1~`.
fn keep_generations(file: &Path) -> io::Result<()> {
    if !file.try_exists()? {
        return Ok(());
    }
    for number in (1..KEPT_GENERATIONS).rev() {
        match fs::rename(generation(file, number), generation(file, number + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    let latest = generation(file, 1);
    // A link is free; file systems without links get a copy.
    fs::hard_link(file, &latest).or_else(|_| fs::copy(file, &latest).map(drop))
}

pub(super) fn generation(file: &Path, number: u32) -> PathBuf {
    beside(file, |name| {
        let mut name = name.to_owned();
        name.push(format!(".~{number}~"));
        name
    })
}

fn beside(file: &Path, rename: impl FnOnce(&std::ffi::OsStr) -> OsString) -> PathBuf {
    file.with_file_name(rename(file.file_name().unwrap_or_default()))
}
