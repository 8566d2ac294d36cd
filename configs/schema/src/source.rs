//! The files a configuration is read from.

use std::{
    cell::OnceCell,
    fs, io,
    path::{Path, PathBuf},
};

use crate::report::{Finding, Findings};

/// Bytes of one configuration file, and of all files of a folder together.
pub(crate) const MAX_BYTES: u64 = 16 << 20;
/// Files of one configuration folder.
const MAX_FILES: usize = 1_024;

/// One file and its text.
pub(crate) struct Source {
    /// As it is named in messages.
    pub(crate) path: PathBuf,
    pub(crate) text: String,
    /// Absolute, whatever folder this process is in later.
    folder: PathBuf,
    /// Where each line starts; made when the first position is asked for.
    line_starts: OnceCell<Vec<usize>>,
}

impl Source {
    pub(crate) fn new(path: impl Into<PathBuf>, text: impl Into<String>) -> Self {
        let path: PathBuf = path.into();
        let folder = path.parent().unwrap_or(Path::new(""));
        let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
        Self { path, text: text.into(), folder, line_starts: OnceCell::new() }
    }

    /// What relative paths in this file are relative to.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Line (from 0) that holds this byte.
    pub(crate) fn line(&self, offset: usize) -> usize {
        self.line_starts().partition_point(|start| *start <= offset) - 1
    }

    /// Where a line (from 0) starts; the end of the text for lines past it.
    pub(crate) fn line_start(&self, line: usize) -> usize {
        self.line_starts().get(line).copied().unwrap_or(self.text.len())
    }

    /// Line and column, both from 1; the column counts characters.
    pub(crate) fn position(&self, offset: usize) -> (usize, usize) {
        let offset = offset.min(self.text.len());
        let line = self.line(offset);
        let before = self.text.get(self.line_start(line)..offset).unwrap_or_default();
        (line + 1, before.chars().count() + 1)
    }

    fn line_starts(&self) -> &[usize] {
        self.line_starts.get_or_init(|| {
            let ends = self.text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
            std::iter::once(0).chain(ends.map(|(at, _)| at + 1)).collect()
        })
    }
}

/// A stretch of one source's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Spot {
    /// Index into the sources.
    pub(crate) file: usize,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// Reads a file, or the `*.toml` of a folder in name order. What cannot be read
/// becomes a finding.
pub(crate) fn read(path: &Path, findings: &mut Findings) -> Vec<Source> {
    let files = match files(path) {
        Ok(files) => files,
        Err(error) => {
            findings.push(unreadable(path, &error));
            return Vec::new();
        }
    };
    if files.is_empty() {
        findings.push(
            Finding::error(format!("{} holds no configuration", path.display()))
                .file(path)
                .hint("a configuration folder needs at least one file named *.toml"),
        );
    }
    let mut left = MAX_BYTES;
    let mut sources = Vec::with_capacity(files.len());
    for file in files {
        match read_bounded(&file, left) {
            Ok(text) => {
                left -= text.len() as u64;
                sources.push(Source::new(file, text));
            }
            Err(error) => findings.push(unreadable(&file, &error)),
        }
    }
    sources
}

/// The files behind a path, in merge order: the file itself, or a folder's
/// `*.toml` (hidden files left out).
pub(crate) fn files(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !fs::metadata(path)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        let file = entry?.path();
        let hidden = file.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden
            && file.extension().is_some_and(|e| e == "toml")
            && fs::metadata(&file)?.is_file()
        {
            files.push(file);
        }
        if files.len() > MAX_FILES {
            return Err(io::Error::other(format!("the folder holds more than {MAX_FILES} files")));
        }
    }
    files.sort();
    Ok(files)
}

/// Reads UTF-8 text of at most `limit` bytes.
pub(crate) fn read_bounded(path: &Path, limit: u64) -> io::Result<String> {
    use std::io::Read as _;

    let mut text = String::new();
    fs::File::open(path)?.take(limit + 1).read_to_string(&mut text)?;
    if text.len() as u64 > limit {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("larger than {}", crate::unit::format_size(limit)),
        ));
    }
    Ok(text)
}

fn unreadable(path: &Path, error: &io::Error) -> Finding {
    let hint = match error.kind() {
        io::ErrorKind::NotFound => "check the path, or name another file with --config",
        io::ErrorKind::PermissionDenied => "check the owner and mode of the file",
        io::ErrorKind::InvalidData => "a configuration is UTF-8 text",
        _ => "the whole configuration is refused until it can be read",
    };
    Finding::error(format!("cannot read {}: {error}", path.display())).file(path).hint(hint)
}
