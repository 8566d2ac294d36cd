//! House rules that a machine can check.

use std::fs;
use std::path::{Path, PathBuf};

/// Lines of a Rust file up to its tests. Two nouns in one file read worse
/// than two files.
const LINES_AT_MOST: usize = 600;

/// Words of unfinished work, in two halves so that this file holds none.
const UNFINISHED: [(&str, &str); 5] =
    [("TO", "DO"), ("FIX", "ME"), ("XX", "X"), ("HA", "CK"), ("unimpl", "emented!")];

/// File names that say nothing about what is inside.
const NAMELESS: [&str; 10] =
    ["utils", "util", "common", "helpers", "helper", "misc", "data", "info", "stuff", "prelude"];

/// What people write by hand: searched for words.
const WRITTEN: [&str; 9] = ["rs", "toml", "md", "sh", "py", "js", "ts", "yaml", "yml"];

/// Folders with what others wrote or machines made.
const NOT_OURS: [&str; 5] = ["target", "node_modules", ".git", ".deps", "corpus"];

#[test]
fn rust_files_stay_short() {
    let long: Vec<String> = sources()
        .filter(|(path, _)| is_product_code(path))
        .map(|(path, text)| (path, lines_before_tests(&text)))
        .filter(|(_, lines)| *lines > LINES_AT_MOST)
        .map(|(path, lines)| format!("{}: {lines} lines", path.display()))
        .collect();
    assert!(long.is_empty(), "longer than {LINES_AT_MOST} lines without tests: {long:#?}");
}

#[test]
fn nothing_is_left_unfinished() {
    let words: Vec<String> = UNFINISHED.iter().map(|(a, b)| format!("{a}{b}")).collect();
    let mut found = Vec::new();
    for (path, text) in written(&WRITTEN) {
        for (number, line) in text.lines().enumerate() {
            if words.iter().any(|word| has_word(line, word)) {
                found.push(format!("{}:{}: {}", path.display(), number + 1, line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn modules_have_names_of_their_own() {
    let nameless: Vec<PathBuf> = sources()
        .map(|(path, _)| path)
        .filter(|path| {
            let stem = path.file_stem().and_then(|stem| stem.to_str());
            stem.is_none_or(|stem| NAMELESS.contains(&stem))
                || (stem == Some("mod") && !is_shared_by_tests(path))
        })
        .collect();
    assert!(nameless.is_empty(), "name the noun (`thing.rs` beside `thing/`): {nameless:#?}");
}

/// `tests/thing/mod.rs`: beside the tests, Cargo would take `thing.rs` for a test of its own.
fn is_shared_by_tests(path: &Path) -> bool {
    let tests = path.parent().and_then(Path::parent);
    tests.is_some_and(|folder| folder.ends_with("tests"))
}

/// Lines up to the module of tests that closes a file.
fn lines_before_tests(text: &str) -> usize {
    let tests = text.lines().position(|line| line == "#[cfg(test)]");
    tests.unwrap_or_else(|| text.lines().count())
}

fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let part = |c: char| c.is_alphanumeric() || c == '_';
        let starts_inside = line[..at].chars().next_back().is_some_and(part);
        let goes_on = line[at + word.len()..].chars().next().is_some_and(part);
        !(starts_inside || goes_on && word.ends_with(part))
    })
}

/// Tests and tables are long by nature.
fn is_product_code(path: &Path) -> bool {
    let in_tests = path.components().any(|part| part.as_os_str() == "tests");
    !in_tests && !path.ends_with("tests.rs")
}

fn sources() -> impl Iterator<Item = (PathBuf, String)> {
    written(&["rs"]).into_iter()
}

/// Every file with one of these extensions, relative to the workspace.
fn written(extensions: &[&str]) -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("bench lies in the workspace");
    let mut files = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder that was just listed") {
            let entry = entry.expect("a folder can be read to its end");
            let (path, name) = (entry.path(), entry.file_name());
            let kind = entry.file_type().expect("the kind of a file is known");
            if kind.is_dir() {
                if !NOT_OURS.iter().any(|skipped| name == *skipped) {
                    folders.push(path);
                }
            } else if kind.is_file() && has_extension(&path, extensions) {
                let text = fs::read_to_string(&path).expect("what is written by hand is UTF-8");
                let relative = path.strip_prefix(root).expect("it was found below the root");
                files.push((relative.to_owned(), text));
            }
        }
    }
    assert!(!files.is_empty(), "nothing found below {}", root.display());
    files.sort();
    files
}

fn has_extension(path: &Path, extensions: &[&str]) -> bool {
    path.extension().is_some_and(|extension| extensions.iter().any(|e| extension == *e))
}

#[test]
fn words_are_matched_whole() {
    let word = format!("{}{}", "TO", "DO");
    assert!(has_word(&format!("// {word}: later"), &word));
    assert!(!has_word(&format!("// the {word}S list"), &word));
    assert!(!has_word(&format!("// a_{word}"), &word));
}
