//! Small files of the manager's own that are replaced whole or not at all, and of which no
//! earlier text is kept: it is of no use, or holds what is to be gone.

use std::{fs, io, io::Write as _, os::unix::fs::OpenOptionsExt as _, path::Path};

use serde::{Serialize, de::DeserializeOwned};

/// Writes a value as JSON, readable by its owner only; the folder is made.
pub(crate) fn keep(file: &Path, value: &impl Serialize) -> io::Result<()> {
    put(file, &serde_json::to_string(value).map_err(io::Error::other)?)
}

/// Writes a text, readable by its owner only; the folder is made. What a crash leaves of one
/// is `.NAME.tmp`, which the next one replaces.
pub(crate) fn put(file: &Path, text: &str) -> io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder)?;
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let new = folder.join(format!(".{name}.tmp"));
    let mut written =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    written.write_all(text.as_bytes())?;
    written.sync_all()?;
    fs::rename(&new, file)?;
    // Only a synced folder remembers the rename.
    fs::File::open(folder)?.sync_all()
}

/// What a file holds; `None` when there is none, or it holds something else.
pub(crate) fn recall<T: DeserializeOwned>(file: &Path) -> Option<T> {
    serde_json::from_str(&fs::read_to_string(file).ok()?).ok()
}

/// Removes a file; one that is not there is fine.
pub(crate) fn forget(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_comes_back_and_can_be_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a/b.json");
        assert_eq!(recall::<Vec<u32>>(&file), None);
        for value in [vec![1_u32], vec![2, 3]] {
            keep(&file, &value).unwrap();
            assert_eq!(recall::<Vec<u32>>(&file), Some(value));
        }
        assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1);
        forget(&file).unwrap();
        forget(&file).unwrap();
        assert_eq!(recall::<Vec<u32>>(&file), None);
    }
}
