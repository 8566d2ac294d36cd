//! Files that rules refer to: more rules, and lists of names.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::super::lines::{BadLine, Field, Item, Line, lines};
use crate::source;

/// Bytes of a file of rules or users.
pub(in crate::sections::postgres) const MAX_FILE_BYTES: u64 = 64 << 20;
/// Files that include each other, as PostgreSQL has it.
const MAX_DEPTH: usize = 10;
/// Lines of all of them together.
const MAX_LINES: usize = 100_000;

/// A line, its file, and the files that led there.
pub(super) struct Placed {
    pub(super) file: Arc<Path>,
    pub(super) line: Line,
    /// `FILE:LINE` of the line of the first file, and where that led.
    trail: Vec<(Arc<Path>, usize)>,
}

impl Placed {
    /// What is wrong with it, as a line of the first file.
    pub(super) fn bad(&self, message: impl Into<String>) -> BadLine {
        bad(&self.trail, &self.file, self.line.number, message.into())
    }

    /// A field, with the names of files that it names by `@FILE` in their place.
    pub(super) fn expand(&self, field: &Field) -> Result<Field, String> {
        let mut items = Vec::new();
        for item in field {
            expand(&self.file, item, &mut items, 0)?;
        }
        Ok(items)
    }
}

fn bad(trail: &[(Arc<Path>, usize)], file: &Path, line: usize, message: String) -> BadLine {
    let Some(((_, first), rest)) = trail.split_first() else { return BadLine::new(line, message) };
    let mut text = String::new();
    for (file, line) in rest {
        text += &format!("{}:{line}: ", file.display());
    }
    BadLine::new(*first, format!("{text}{}:{line}: {message}", file.display()))
}

fn expand(file: &Path, item: &Item, into: &mut Vec<Item>, depth: usize) -> Result<(), String> {
    let name = match item.text.strip_prefix('@') {
        Some(name) if !item.quoted && !name.is_empty() => name,
        _ => {
            into.push(item.clone());
            return Ok(());
        }
    };
    if depth == MAX_DEPTH {
        return Err(format!("files nest too deeply at `{}`", item.text));
    }
    let path = beside(file, name);
    let text = read(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let mut wrong = Vec::new();
    let found = lines(&text, &mut wrong);
    if let Some(wrong) = wrong.first() {
        return Err(wrong.in_file(&path));
    }
    for item in found.iter().flat_map(|line| &line.fields).flatten() {
        expand(&path, item, into, depth + 1)?;
    }
    if into.len() > MAX_LINES {
        return Err(format!("there are more than {MAX_LINES} names"));
    }
    Ok(())
}

/// The lines of a file, those of files it includes in their places.
pub(super) fn gather(path: &Path, text: &str, bad_lines: &mut Vec<BadLine>) -> Vec<Placed> {
    let mut found = Vec::new();
    take(&path.into(), text, &[], &mut found, bad_lines);
    found
}

fn take(
    file: &Arc<Path>,
    text: &str,
    trail: &[(Arc<Path>, usize)],
    found: &mut Vec<Placed>,
    bad_lines: &mut Vec<BadLine>,
) {
    let mut wrong = Vec::new();
    for line in lines(text, &mut wrong) {
        let placed = Placed { file: Arc::clone(file), line, trail: trail.to_vec() };
        if found.len() >= MAX_LINES {
            bad_lines.push(placed.bad(format!("there are more than {MAX_LINES} lines")));
            return;
        }
        match included(&placed) {
            None => found.push(placed),
            Some(Err(message)) => bad_lines.push(placed.bad(message)),
            Some(Ok(_)) if trail.len() == MAX_DEPTH => {
                bad_lines.push(placed.bad("files include each other too deeply"));
            }
            Some(Ok(files)) => {
                let mut trail = trail.to_vec();
                trail.push((Arc::clone(file), placed.line.number));
                for (path, text) in files {
                    take(&path.into(), &text, &trail, found, bad_lines);
                }
            }
        }
    }
    let wrong = wrong.into_iter();
    bad_lines.extend(wrong.map(|line| bad(trail, file, line.number, line.message)));
}

/// The files that a line includes; `None`: it is a rule.
fn included(placed: &Placed) -> Option<Result<Vec<(PathBuf, String)>, String>> {
    let [first] = placed.line.fields.first()?.as_slice() else { return None };
    let directive = ["include", "include_if_exists", "include_dir"];
    let directive = directive.into_iter().find(|word| first.text == *word)?;
    let [_, named] = placed.line.fields.as_slice() else {
        return Some(Err(format!("`{directive}` names one file")));
    };
    let [named] = named.as_slice() else {
        return Some(Err(format!("`{directive}` names one file")));
    };
    let path = beside(&placed.file, &named.text);
    let wrong = |error: io::Error| format!("cannot read {}: {error}", path.display());
    Some(match directive {
        "include_dir" => folder(&path).map_err(wrong),
        "include" => read(&path).map_err(wrong).map(|text| vec![(path.clone(), text)]),
        _ => match read(&path) {
            Ok(text) => Ok(vec![(path, text)]),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(wrong(error)),
        },
    })
}

/// The `*.conf` of a folder, in the order of their names.
fn folder(path: &Path) -> io::Result<Vec<(PathBuf, String)>> {
    let entries: io::Result<Vec<PathBuf>> =
        std::fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect();
    let hidden = |path: &Path| {
        path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
    };
    let mut files: Vec<PathBuf> = entries?
        .into_iter()
        .filter(|path| path.extension().is_some_and(|ext| ext == "conf") && !hidden(path))
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    files.into_iter().map(|path| Ok((path.clone(), read(&path)?))).collect()
}

/// A path is relative to the file it stands in.
fn beside(file: &Path, name: &str) -> PathBuf {
    file.parent().unwrap_or(Path::new("")).join(name)
}

fn read(path: &Path) -> io::Result<String> {
    source::read_bounded(path, MAX_FILE_BYTES)
}
