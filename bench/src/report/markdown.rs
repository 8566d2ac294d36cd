//! The tables for a document.

use anyhow::Context;

use super::cells::WORD_COLUMNS;
use super::{Report, RowResult};

const BEGIN: &str = "<!-- results: begin -->";
const END: &str = "<!-- results: end -->";

impl Report {
    /// All tables, and what to know about the machine and the method.
    pub(super) fn markdown(&self) -> String {
        let tables: Vec<_> = self.rows.iter().map(RowResult::markdown).collect();
        // Two blanks at the end of a line keep it a line of its own.
        let footer = self.footer().replace('\n', "  \n");
        let day = self.began_at.strftime("%Y-%m-%d");
        format!("Measured on {day}.\n\n{}\n{footer}\n", tables.join("\n"))
    }
}

impl RowResult {
    fn markdown(&self) -> String {
        let (header, lines) = self.cells();
        let rule = (0..header.len()).map(|n| if n < WORD_COLUMNS { "---" } else { "---:" });
        let mut text = format!("**{}**\n\n{}", self.title(), line(&header));
        text.push_str(&line(&rule.map(str::to_owned).collect::<Vec<_>>()));
        lines.iter().for_each(|cells| text.push_str(&line(cells)));
        for note in self.notes() {
            text.push_str("\n- ");
            text.push_str(&note.replace('\n', " "));
        }
        if !self.notes().is_empty() {
            text.push('\n');
        }
        text
    }
}

fn line(cells: &[String]) -> String {
    let cells: Vec<_> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
    format!("| {} |\n", cells.join(" | "))
}

/// `document` with `results` in its place for them.
///
/// # Errors
/// When a document that is not empty has no such place: it is not to be lost.
pub(super) fn placed(document: &str, results: &str) -> anyhow::Result<String> {
    if document.is_empty() {
        return Ok(format!("{BEGIN}\n{results}{END}\n"));
    }
    let place = document.split_once(BEGIN).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(END)?;
        Some((before, after))
    });
    let (before, after) = place.with_context(|| format!("no lines {BEGIN} and {END} in it"))?;
    Ok(format!("{before}{BEGIN}\n\n{results}\n{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_replace_earlier_ones_and_nothing_else() {
        let document = format!("# A\n\n{BEGIN}\nold\n{END}\n\n## B\n");
        let once = placed(&document, "new\n").unwrap();
        assert!(once.starts_with("# A\n") && once.ends_with("## B\n"), "{once}");
        assert!(once.contains("new") && !once.contains("old"), "{once}");
        assert_eq!(placed(&once, "new\n").unwrap(), once);
    }

    #[test]
    fn a_document_without_a_place_is_left_alone() {
        assert!(placed("# A\n", "new\n").is_err());
        assert!(placed(&format!("{END} {BEGIN}"), "new\n").is_err());
        assert!(placed("", "new\n").unwrap().contains("new"));
    }
}
