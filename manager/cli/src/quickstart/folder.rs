//! The folder everything lives in.

use std::{
    fs::{self, DirBuilder, Permissions},
    io,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use super::leftover::{self, Mark, PREFIX};
use crate::exit::{Exit, Failure};

/// Sockets live in the folder, and a socket's path has at most 107 bytes (unix(7)).
const LONGEST_BYTES: usize = 70;

/// Removed when it is dropped, unless it is to be kept.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    keep: bool,
    /// There unless the folder is to be kept: then nobody may ever remove it.
    mark: Option<Mark>,
}

impl Folder {
    /// Makes it. Others may pass through (a PostgreSQL server runs as another
    /// user when this one is root), and see nothing.
    pub(super) fn make(wanted: Option<PathBuf>, keep: bool) -> Result<Self, Failure> {
        let path = match wanted {
            Some(path) => Self::claim(&path)?,
            None => tempfile::Builder::new()
                .prefix(PREFIX)
                .tempdir()
                .map_err(|error| Failure::io("cannot make a folder for temporary files", error))?
                .keep(),
        };
        let mut folder = Self { path, keep, mark: None };
        folder.prepare().map_err(|error| {
            Failure::io(format!("cannot prepare {}", folder.path.display()), error)
        })?;
        if folder.path.as_os_str().len() > LONGEST_BYTES {
            return Err(Failure::new(
                Exit::Usage,
                format!("the path {} is too long for the sockets in it", folder.path.display()),
            )
            .hint(format!("choose one of at most {LONGEST_BYTES} bytes with --folder")));
        }
        Ok(folder)
    }

    /// Takes a folder a person named: a new one, an empty one, or what a quickstart that
    /// was killed left there.
    fn claim(path: &Path) -> Result<PathBuf, Failure> {
        let failed =
            |error: io::Error| Failure::io(format!("cannot use {}", path.display()), error);
        DirBuilder::new().recursive(true).mode(0o711).create(path).map_err(failed)?;
        let path = fs::canonicalize(path).map_err(failed)?;
        leftover::empty(&path).map_err(failed)?;
        if fs::read_dir(&path).map_err(failed)?.next().is_some() {
            return Err(Failure::new(Exit::Usage, format!("{} is not empty", path.display()))
                .hint(
                    "quickstart removes its folder at the end; name one that does not exist yet",
                ));
        }
        Ok(path)
    }

    fn prepare(&mut self) -> io::Result<()> {
        if !self.keep {
            self.mark = Some(Mark::set(&self.path)?);
        }
        fs::set_permissions(&self.path, Permissions::from_mode(0o711))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Whether it stays.
    pub(super) fn is_kept(&self) -> bool {
        self.keep
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::warn!(folder = %self.path.display(), %error, "cannot remove the folder");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_unless_it_is_kept() {
        let place = tempfile::tempdir().unwrap();
        for keep in [false, true] {
            let path = place.path().join("sample");
            drop(Folder::make(Some(path.clone()), keep).unwrap());
            assert_eq!(path.exists(), keep);
        }
    }

    #[test]
    fn what_is_there_is_never_touched() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("precious"), "data").unwrap();
        let refused = Folder::make(Some(place.path().to_owned()), false).unwrap_err();
        assert_eq!(refused.exit(), Exit::Usage);
        assert!(place.path().join("precious").exists());
    }
}
