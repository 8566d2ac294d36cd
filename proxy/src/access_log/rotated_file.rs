//! A file that lines are appended to, put aside when it has become too large.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use bs9_config::Rotation;

/// See the module.
#[derive(Debug)]
pub(super) struct RotatedFile {
    path: PathBuf,
    rotation: Option<Rotation>,
    file: File,
    size: u64,
}

impl RotatedFile {
    /// Opens the file, and creates it when it is not there.
    pub(super) fn open(path: &Path, rotation: Option<Rotation>) -> io::Result<Self> {
        let file = append_to(path)?;
        let size = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), rotation, file, size })
    }

    /// Opens what has this path now: somebody moved the file.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        *self = Self::open(&self.path, self.rotation)?;
        Ok(())
    }

    /// Appends whole lines.
    pub(super) fn write(&mut self, mut lines: &[u8]) -> io::Result<()> {
        while !lines.is_empty() {
            let fitting = self.fitting(lines);
            if fitting == 0 {
                self.rotate()?;
                continue;
            }
            let (now, later) = lines.split_at(fitting);
            self.file.write_all(now)?;
            self.size += now.len() as u64;
            lines = later;
        }
        Ok(())
    }

    /// Bytes of the lines that the file takes before it has to be put aside.
    fn fitting(&self, lines: &[u8]) -> usize {
        let Some(rotation) = self.rotation else { return lines.len() };
        let room = rotation.max_bytes.saturating_sub(self.size);
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        if lines.len() <= room {
            return lines.len();
        }
        match memchr::memrchr(b'\n', &lines[..room]) {
            Some(end) => end + 1,
            // A line longer than the limit gets a file of its own.
            None if self.size == 0 => {
                memchr::memchr(b'\n', lines).map_or(lines.len(), |end| end + 1)
            }
            None => 0,
        }
    }

    fn rotate(&mut self) -> io::Result<()> {
        let keep = self.rotation.map_or(0, |rotation| rotation.keep);
        for number in (1..keep).rev() {
            move_away(&self.aside(number), &self.aside(number + 1))?;
        }
        move_away(&self.path, &self.aside(1))?;
        self.reopen()
    }

    fn aside(&self, number: u32) -> PathBuf {
        let mut path = OsString::from(&self.path);
        path.push(format!(".{number}"));
        path.into()
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    // Addresses and paths of clients are not for everybody on this host.
    OpenOptions::new().create(true).append(true).mode(0o640).open(path)
}

/// What is not there needs not be moved.
fn move_away(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &Path) -> String {
        fs::read_to_string(path).unwrap_or_default()
    }

    #[test]
    fn full_files_are_put_aside_at_a_line_and_so_many_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/access.log");
        let rotation = Some(Rotation { max_bytes: 10, keep: 2 });
        let mut file = RotatedFile::open(&path, rotation).unwrap();
        file.write(b"one\ntwo\nthree\nfour\n").unwrap();
        drop(file);
        let mut file = RotatedFile::open(&path, rotation).unwrap();
        file.write(b"a line that is too long\nfive\n").unwrap();
        assert_eq!(read(&path), "five\n");
        assert_eq!(read(&file.aside(1)), "a line that is too long\n");
        assert_eq!(read(&file.aside(2)), "four\n");
        assert!(!file.aside(3).exists());
    }

    #[test]
    fn a_moved_file_is_left_alone_after_it_was_opened_anew() {
        let folder = tempfile::tempdir().unwrap();
        let (path, moved) = (folder.path().join("a"), folder.path().join("b"));
        let mut file = RotatedFile::open(&path, None).unwrap();
        file.write(b"one\n").unwrap();
        fs::rename(&path, &moved).unwrap();
        file.write(b"two\n").unwrap();
        file.reopen().unwrap();
        file.write(b"three\n").unwrap();
        assert_eq!((read(&moved).as_str(), read(&path).as_str()), ("one\ntwo\n", "three\n"));
    }
}
