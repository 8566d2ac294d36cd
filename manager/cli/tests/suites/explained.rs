//! The differences that are explained in a document.

use std::{fs, path::Path};

/// Rows of tables like `| suite | mode | test | why |`; `both` is either mode. A test may end in `*`.
pub(crate) struct Explained(Vec<[String; 4]>);

impl Explained {
    pub(crate) fn read(document: &Path) -> Self {
        let text = fs::read_to_string(document).unwrap();
        let row = |line: &str| {
            let cells: Vec<_> = line.trim_matches('|').split(" | ").map(clean).collect();
            <[String; 4]>::try_from(cells).ok()
        };
        Self(text.lines().filter(|line| line.starts_with('|')).filter_map(row).collect())
    }

    /// Why a test fails in a pool of that mode.
    pub(crate) fn why(&self, suite: &str, mode: &str, test: &str) -> Option<&str> {
        let named = |pattern: &str| match pattern.strip_suffix('*') {
            Some(start) => test.starts_with(start),
            None => test == pattern,
        };
        let about = |row: &&[String; 4]| {
            row[0] == suite && (row[1] == mode || row[1] == "both") && named(&row[2])
        };
        self.0.iter().find(about).map(|row| row[3].as_str())
    }
}

fn clean(cell: &str) -> String {
    cell.trim().trim_matches('`').to_owned()
}
