//! The tables for a document.

use super::cells::WORD_COLUMNS;
use super::{Report, RowResult};
use crate::document;

impl Report {
    /// All tables, and what to know about the machine and the method.
    pub(crate) fn markdown(&self) -> String {
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
        // Where nobody could do the work, there are only notes.
        let table = if lines.is_empty() {
            String::new()
        } else {
            document::table(&header, &lines, WORD_COLUMNS)
        };
        let mut text = format!("**{}**\n\n{table}", self.title());
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
