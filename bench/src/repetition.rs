//! How far a run repeats an earlier one: whether its ratios lie in the ranges that the
//! earlier one stated.

use std::path::Path;
use std::process::ExitCode;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};

use crate::document;
use crate::figures::{Comparison, Figures, Ratio, Row};

/// Where a document has its place for the comparison.
const PLACE: &str = "repetition";
/// Columns that hold words: row and peer.
const WORD_COLUMNS: usize = 2;

/// Two runs, ratio by ratio.
#[derive(Debug)]
pub(crate) struct Repetition {
    lines: Vec<Line>,
    /// Ratios that only one of the two runs has.
    alone: Vec<String>,
}

/// A ratio that both runs have.
#[derive(Debug)]
struct Line {
    row: String,
    peer: String,
    earlier: Ratio,
    later: Ratio,
}

/// Where the later median lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Inside,
    Below,
    Above,
}

/// Compares the reports in two files; writes the table as Markdown too, if asked.
///
/// # Errors
/// When a file cannot be read or written, or the runs have no ratio in common.
pub(crate) fn run(
    out: &mut impl std::io::Write,
    [earlier, later]: [&Path; 2],
    markdown: Option<&Path>,
) -> anyhow::Result<ExitCode> {
    let repetition = Repetition::of(&Figures::read(earlier)?, &Figures::read(later)?);
    anyhow::ensure!(!repetition.lines.is_empty(), "these runs have no ratio in common");
    writeln!(out, "{}", repetition.table())?;
    writeln!(out, "{}", repetition.summary())?;
    if let Some(path) = markdown {
        document::place(path, PLACE, &repetition.markdown())?;
    }
    let repeats = repetition.lines.iter().all(|line| line.place() == Place::Inside);
    Ok(if repeats { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Repetition {
    fn of(earlier: &Figures, later: &Figures) -> Self {
        let (was, is) = (ratios(earlier), ratios(later));
        let (mut lines, mut alone) = (Vec::new(), Vec::new());
        for (row, peer, ratio) in &was {
            match is.iter().find(|(r, p, _)| (r, p) == (row, peer)) {
                Some((.., later)) => lines.push(Line {
                    row: row.clone(),
                    peer: peer.clone(),
                    earlier: *ratio,
                    later: *later,
                }),
                None => alone.push(format!("{row} with {peer}")),
            }
        }
        let new =
            is.iter().filter(|(row, peer, _)| !was.iter().any(|(r, p, _)| (r, p) == (row, peer)));
        alone.extend(new.map(|(row, peer, _)| format!("{row} with {peer}")));
        Self { lines, alone }
    }

    fn cells(&self) -> (Vec<String>, Vec<Vec<String>>) {
        let header = ["row", "peer", "earlier", "later", "the later median"];
        let line = |line: &Line| {
            vec![
                line.row.clone(),
                line.peer.clone(),
                line.earlier.to_string(),
                line.later.to_string(),
                line.place().said().to_owned(),
            ]
        };
        (header.map(str::to_owned).to_vec(), self.lines.iter().map(line).collect())
    }

    fn table(&self) -> Table {
        let (header, lines) = self.cells();
        let mut table = Table::new();
        table.load_style(UTF8_FULL_CONDENSED).set_header(header);
        table.add_rows(lines);
        for column in [2, 3] {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table
    }

    fn markdown(&self) -> String {
        let (header, lines) = self.cells();
        format!("{}\n{}\n", document::table(&header, &lines, WORD_COLUMNS), self.summary())
    }

    fn summary(&self) -> String {
        let count = |place| self.lines.iter().filter(|line| line.place() == place).count();
        let mut said = format!(
            "{} of {} ratios lie in the range of the earlier run, {} below it, {} above.",
            count(Place::Inside),
            self.lines.len(),
            count(Place::Below),
            count(Place::Above),
        );
        if !self.alone.is_empty() {
            said.push_str(&format!(" Only one run has: {}.", self.alone.join(", ")));
        }
        said
    }
}

impl Line {
    fn place(&self) -> Place {
        // As they are printed: a range of 0.21 to 0.21 holds 0.2149.
        let [low, median, high] =
            [self.earlier.low, self.later.median, self.earlier.high].map(|r| (r * 100.0).round());
        match median {
            median if median < low => Place::Below,
            median if median > high => Place::Above,
            _ => Place::Inside,
        }
    }
}

impl Place {
    fn said(self) -> &'static str {
        match self {
            Self::Inside => "in the range",
            Self::Below => "below it",
            Self::Above => "above it",
        }
    }
}

/// Row, peer and ratio of everything that was compared.
fn ratios(figures: &Figures) -> Vec<(String, String, Ratio)> {
    let of_row = |row: &Row| {
        let name = row.name.clone();
        let ratio = move |comparison: &Comparison| {
            Some((name.clone(), comparison.peer.clone(), comparison.ratio?))
        };
        row.comparisons.iter().filter_map(ratio).collect::<Vec<_>>()
    };
    figures.rows.iter().flat_map(of_row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(ratios: &[(&str, [f64; 3])]) -> Figures {
        let row = |(peer, [low, median, high]): &(&str, [f64; 3])| {
            serde_json::json!({
                "name": "http-keepalive", "measure": "cpu", "unit": "request", "missing": [],
                "contenders": [], "limit": null,
                "comparisons": [{
                    "peer": peer, "goal": null, "verdict": null,
                    "ratio": { "low": low, "median": median, "high": high },
                }],
            })
        };
        let rows: Vec<_> = ratios.iter().map(row).collect();
        serde_json::from_value(serde_json::json!({
            "began_at": "2026-11-21T05:00:00Z", "rounds": 3, "measured_seconds": 1.0,
            "machine": { "cpu": "c", "kernel": "k", "system": "s" }, "rows": rows,
        }))
        .unwrap()
    }

    #[test]
    fn a_median_is_looked_for_in_the_earlier_range_as_it_is_printed() {
        let earlier = figures(&[
            ("a", [0.70, 0.75, 0.90]),
            ("b", [0.70, 0.75, 0.90]),
            ("c", [0.70, 0.75, 0.90]),
            ("d", [0.214, 0.214, 0.214]),
            ("e", [0.5, 0.5, 0.5]),
        ]);
        let later = figures(&[
            ("a", [0.6, 0.71, 0.8]),
            ("b", [0.6, 0.69, 0.8]),
            ("c", [0.6, 0.95, 1.8]),
            ("d", [0.2, 0.2051, 0.3]),
            ("f", [0.5, 0.5, 0.5]),
        ]);
        let repetition = Repetition::of(&earlier, &later);
        let places: Vec<_> = repetition.lines.iter().map(Line::place).collect();
        assert_eq!(places, [Place::Inside, Place::Below, Place::Above, Place::Inside]);
        let said = repetition.summary();
        assert!(
            said.starts_with("2 of 4 ratios") && said.contains("1 below it, 1 above"),
            "{said}"
        );
        assert!(said.contains("http-keepalive with e, http-keepalive with f"), "{said}");
        let markdown = repetition.markdown();
        assert!(
            markdown.contains("| b | 0.75 (0.70–0.90) | 0.69 (0.60–0.80) | below it |"),
            "{markdown}"
        );
    }
}
