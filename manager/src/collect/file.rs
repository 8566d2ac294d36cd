//! Small files of the kernel that are read again and again.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use super::reading::Missing;

/// A buffer for one file at a time.
#[derive(Debug)]
pub(crate) struct Scratch(Box<[u8]>);

impl Scratch {
    /// Bytes of a file that are looked at, at most.
    const BYTES: usize = 64 * 1024;

    pub(crate) fn new() -> Self {
        Self(vec![0; Self::BYTES].into())
    }

    /// What `file` says now, from its beginning.
    pub(crate) fn read(&mut self, file: &File) -> io::Result<&[u8]> {
        let mut filled = 0;
        while filled < self.0.len() {
            match file.read_at(&mut self.0[filled..], filled as u64) {
                Ok(0) => break,
                // Most files fit in one read, which ends short of the buffer.
                Ok(many) => {
                    filled += many;
                    if many < 4_096 && many > 0 && filled < self.0.len() {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(&self.0[..filled])
    }

    /// What the file at `path` says now.
    pub(crate) fn read_path(&mut self, path: &Path) -> io::Result<&[u8]> {
        self.read(&File::open(path)?)
    }
}

/// Looks after which a file that was not there is tried again.
const TRY_AGAIN: u32 = 60;

/// A file that stays open.
#[derive(Debug)]
pub(crate) struct Kept {
    name: &'static str,
    path: PathBuf,
    file: Result<File, (Missing, u32)>,
}

impl Kept {
    /// `name` is for people.
    pub(crate) fn new(name: &'static str, path: PathBuf) -> Self {
        let file = open(name, &path);
        Self { name, path, file }
    }

    /// A file that cannot be there.
    pub(crate) fn absent(name: &'static str) -> Self {
        Self { name, path: PathBuf::new(), file: Err((Missing::NoFile(name), u32::MAX)) }
    }

    /// What it says now.
    pub(crate) fn read<'a>(&mut self, scratch: &'a mut Scratch) -> Result<&'a [u8], Missing> {
        if let Err((_, left)) = &mut self.file {
            *left -= u32::from(*left != u32::MAX);
            if *left == 0 {
                self.file = open(self.name, &self.path);
            }
        }
        match &self.file {
            Err((missing, _)) => Err(*missing),
            Ok(file) => scratch.read(file).map_err(|error| Missing::of(self.name, &error)),
        }
    }

    /// A file that is one number.
    pub(crate) fn number(&mut self, scratch: &mut Scratch) -> Result<f64, Missing> {
        let name = self.name;
        number(self.read(scratch)?).ok_or(Missing::NotSaid(name))
    }
}

fn open(name: &'static str, path: &Path) -> Result<File, (Missing, u32)> {
    File::open(path).map_err(|error| (Missing::of(name, &error), TRY_AGAIN))
}

/// The number that `text` is, white space aside.
pub(crate) fn number(text: &[u8]) -> Option<f64> {
    let text = text.trim_ascii();
    if text.is_empty() || text.len() > 32 {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// The number after `key` at the beginning of a line.
pub(crate) fn field(text: &[u8], key: &[u8]) -> Option<f64> {
    lines(text).find_map(|line| {
        let rest = line.strip_prefix(key)?;
        let first = rest.first()?;
        (*first == b' ' || *first == b':' || *first == b'\t')
            .then(|| number(words(&rest[1..]).next()?))
            .flatten()
    })
}

pub(crate) fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
}

pub(crate) fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

/// Microseconds that something waited, from a file of pressure (PSI): the `total`
/// of its `some` line.
pub(crate) fn pressure_total(text: &[u8]) -> Option<f64> {
    let some = lines(text).find(|line| line.starts_with(b"some "))?;
    words(some).find_map(|word| number(word.strip_prefix(b"total=")?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_files_say() {
        assert_eq!(number(b" 42\n"), Some(42.0));
        assert_eq!(number(b"max\n"), None);
        assert_eq!(field(b"usage_usec 5\nuser_usec 3\n", b"user_usec"), Some(3.0));
        assert_eq!(field(b"MemTotal:    100 kB\n", b"MemTotal"), Some(100.0));
        assert_eq!(field(b"MemTotalX: 1\n", b"MemTotal"), None);
        let psi = b"some avg10=0.00 avg60=0.00 avg300=0.00 total=77\nfull avg10=0.00 total=5\n";
        assert_eq!(pressure_total(psi), Some(77.0));
    }

    #[test]
    fn a_file_that_is_not_there_says_why_and_is_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pids.current");
        let mut kept = Kept::new("pids.current", path.clone());
        let mut scratch = Scratch::new();
        assert_eq!(kept.number(&mut scratch), Err(Missing::NoFile("pids.current")));
        std::fs::write(&path, "7\n").unwrap();
        let found = (0..TRY_AGAIN).find_map(|_| kept.number(&mut scratch).ok());
        assert_eq!(found, Some(7.0));
        std::fs::write(&path, "8\n").unwrap();
        assert_eq!(kept.number(&mut scratch), Ok(8.0));
    }

    proptest! {
        #[test]
        fn garbage_is_no_panic(text in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = (number(&text), field(&text, b"a"), pressure_total(&text));
        }
    }
}
