//! Files that results go to: documents with a place for them, tables, JSON.

use std::fs;
use std::io;
use std::path::Path;

use anyhow::Context;
use serde::Serialize;

/// Writes `text` to the place called `name` that a document has for it, between
/// the lines `<!-- NAME: begin -->` and `<!-- NAME: end -->`; to a new file if
/// there is none.
///
/// # Errors
/// When a document that is not empty has no such place: it is not to be lost.
pub(crate) fn place(path: &Path, name: &str, text: &str) -> anyhow::Result<()> {
    let before = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => String::new(),
        Err(e) => return Err(e).with_context(|| format!("reading {}", path.display())),
    };
    let placed = placed(&before, name, text).with_context(|| format!("in {}", path.display()))?;
    write(path, &placed)
}

pub(crate) fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}

pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> anyhow::Result<()> {
    write(path, &(serde_json::to_string_pretty(value)? + "\n"))
}

/// A table in Markdown, with so many columns of words from the left; numbers
/// stand to the right.
pub(crate) fn table(header: &[String], lines: &[Vec<String>], word_columns: usize) -> String {
    let rule = (0..header.len()).map(|n| if n < word_columns { "---" } else { "---:" });
    let mut text = line(header);
    text.push_str(&line(&rule.map(str::to_owned).collect::<Vec<_>>()));
    lines.iter().for_each(|cells| text.push_str(&line(cells)));
    text
}

fn line(cells: &[String]) -> String {
    let cells: Vec<_> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
    format!("| {} |\n", cells.join(" | "))
}

fn placed(document: &str, name: &str, text: &str) -> anyhow::Result<String> {
    let (begin, end) = (format!("<!-- {name}: begin -->"), format!("<!-- {name}: end -->"));
    let text = text.trim_end();
    if document.is_empty() {
        return Ok(format!("{begin}\n\n{text}\n\n{end}\n"));
    }
    let around = document.split_once(&begin).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(&end)?;
        Some((before, after))
    });
    let (before, after) = around.with_context(|| format!("no lines {begin} and {end}"))?;
    Ok(format!("{before}{begin}\n\n{text}\n\n{end}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_replaces_the_earlier_one_and_nothing_else() {
        let document = "# A\n\n<!-- x: begin -->\nold\n<!-- x: end -->\n\n## B\n";
        let once = placed(document, "x", "new\n").unwrap();
        assert!(once.starts_with("# A\n") && once.ends_with("## B\n"), "{once}");
        assert!(once.contains("new") && !once.contains("old"), "{once}");
        assert_eq!(placed(&once, "x", "new\n").unwrap(), once);
    }

    #[test]
    fn a_document_without_a_place_is_left_alone() {
        assert!(placed("# A\n", "x", "new\n").is_err());
        assert!(placed("<!-- x: end --> <!-- x: begin -->", "x", "new\n").is_err());
        assert!(placed("", "x", "new\n").unwrap().contains("new"));
    }

    #[test]
    fn a_table_has_a_rule_and_escapes_bars() {
        let text = table(&["a".into(), "b".into()], &[vec!["x|y".into(), "1".into()]], 1);
        assert_eq!(text, "| a | b |\n| --- | ---: |\n| x\\|y | 1 |\n");
    }
}
