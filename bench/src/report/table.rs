//! The tables for a terminal.

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};

use super::cells::WORD_COLUMNS;
use super::{Report, RowResult};

impl RowResult {
    /// The row's table, with what could not be compared below it.
    pub(crate) fn table(&self) -> String {
        let mut table = Table::new();
        let (header, lines) = self.cells();
        if lines.is_empty() {
            return format!("{}\n{}\n", self.title(), self.notes().join("\n"));
        }
        table.load_style(UTF8_FULL_CONDENSED).set_header(header);
        for line in lines {
            table.add_row(line);
        }
        for column in WORD_COLUMNS..table.column_count() {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        let mut text = format!("{}\n{table}\n", self.title());
        for note in self.notes() {
            text.push_str(&note);
            text.push('\n');
        }
        text
    }
}

impl Report {
    /// What to know about the machine and the method, below the last table.
    pub(crate) fn footer(&self) -> String {
        let Self { machine, cores, rounds, .. } = self;
        let sweeps = match self.sweeps {
            1 => String::new(),
            sweeps => format!(", in {sweeps} sweeps through all rows"),
        };
        format!(
            "{}, {} cores in use, {}, Linux {}; contender on core {}, load and backends on {}\n\
             {rounds} rounds of {} s after {} s of warm-up{sweeps}, medians; load averages {} before, {} after\n\
             Compare ratios, and only within one run.",
            machine.cpu,
            cores.load.len() + 1,
            machine.system,
            machine.kernel,
            cores.contender,
            cores.load_list(),
            self.measured_seconds,
            self.warmup_seconds,
            machine.load_averages,
            self.load_averages_at_end,
        )
    }
}
