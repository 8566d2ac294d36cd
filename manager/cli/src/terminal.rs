//! What people and programs read: styles, tables, JSON.
//!
//! Everything goes through `anstream`, which drops the styles when the output is
//! a pipe or `NO_COLOR` is set.

use std::{
    fmt::Display,
    io::{self, IsTerminal as _, Write as _},
};

use anstyle::{AnsiColor, Style};
use comfy_table::{Attribute, Cell, CellAlignment, Color, ContentArrangement, Table, presets};
use serde::Serialize;

use crate::exit::{Exit, Failure};

/// Works as it should.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default().bold();
/// Works, yet somebody should look.
pub(crate) const NOTE: Style = AnsiColor::Yellow.on_default().bold();
/// Does not work.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
/// Headings, and what is to be typed.
pub(crate) const STRONG: Style = Style::new().bold();
/// Beside the point.
pub(crate) const FAINT: Style = Style::new().dimmed();

/// Writes a line to standard output.
///
/// # Errors
/// When nobody reads it any more.
pub(crate) fn say(line: impl Display) -> Result<(), Failure> {
    let mut out = anstream::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).map_err(unread)
}

/// Writes a line to standard error; there is nobody to tell when that fails.
pub(crate) fn remark(line: impl Display) {
    let _nobody_left_to_tell = writeln!(anstream::stderr().lock(), "{line}");
}

/// Writes `value` as JSON to standard output.
///
/// # Errors
/// When nobody reads it any more.
pub(crate) fn json<T: Serialize>(value: &T) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|error| {
        Failure::new(Exit::Error, "the answer cannot be written as JSON").because(error)
    })?;
    say(text)
}

/// A reader that went away (`bs9 status | head -1`) is no error worth a word.
fn unread(error: io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Failure::silent(Exit::Error);
    }
    Failure::io("cannot write to standard output", error)
}

/// Asks a person; nobody there is a no.
///
/// # Errors
/// When the question cannot be written.
pub(crate) fn confirm(question: &str) -> Result<bool, Failure> {
    if !io::stdin().is_terminal() || !is_interactive() {
        return Ok(false);
    }
    let mut out = anstream::stdout().lock();
    write!(out, "{STRONG}{question}{STRONG:#} [y/N] ")
        .and_then(|()| out.flush())
        .map_err(unread)?;
    drop(out);
    let mut answer = String::new();
    match io::stdin().read_line(&mut answer) {
        Ok(_) => Ok(matches!(answer.trim(), "y" | "Y" | "yes")),
        Err(error) => Err(Failure::io("cannot read the answer", error)),
    }
}

/// Whether a person sits in front of standard output.
pub(crate) fn is_interactive() -> bool {
    io::stdout().is_terminal()
}

/// Characters that fit on a line.
pub(crate) fn width() -> usize {
    Table::new().width().map_or(100, usize::from)
}

/// A table without lines, as wide as its content or the terminal.
pub(crate) fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        // Styles are always written; what prints the table drops them if need be.
        .enforce_styling()
        .set_header(header.map(|name| Cell::new(name).add_attribute(Attribute::Bold)));
    if !is_interactive() {
        table.set_content_arrangement(ContentArrangement::Disabled);
    }
    table.column_iter_mut().for_each(|column| {
        column.set_padding((0, 2));
    });
    table
}

/// A table as text, without space at the ends of lines.
pub(crate) fn text(table: &Table) -> String {
    const RESET: &str = "\x1b[0m";
    let trimmed = |line: String| match line.strip_suffix(RESET) {
        Some(styled) => format!("{}{RESET}", styled.trim_end()),
        None => line.trim_end().to_owned(),
    };
    table.lines().map(trimmed).collect::<Vec<_>>().join("\n")
}

/// A number, to the right.
pub(crate) fn number(value: impl Display) -> Cell {
    Cell::new(value).set_alignment(CellAlignment::Right)
}

/// A word in the colour of how good it is.
pub(crate) fn verdict(word: impl Display, verdict: Verdict) -> Cell {
    Cell::new(word).fg(match verdict {
        Verdict::Good => Color::Green,
        Verdict::Note => Color::Yellow,
        Verdict::Bad => Color::Red,
    })
}

/// How good something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Good,
    Note,
    Bad,
}

/// Writes a table under a heading.
///
/// # Errors
/// When nobody reads it any more.
pub(crate) fn show(heading: &str, table: &Table) -> Result<(), Failure> {
    say(format_args!("\n{STRONG}{heading}{STRONG:#}\n{}", text(table)))
}

/// `1.5 KiB`, for people.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{count} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// `1d 2h`, `3m 4s`, `250 ms`, for people.
pub(crate) fn seconds(value: f64) -> String {
    let whole = value.max(0.0) as u64;
    match whole {
        0 if value < 0.001 => format!("{:.0} µs", value.max(0.0) * 1e6),
        0 => format!("{:.1} ms", value * 1e3),
        1..60 => format!("{value:.1} s"),
        60..3_600 => format!("{}m {}s", whole / 60, whole % 60),
        3_600..86_400 => format!("{}h {}m", whole / 3_600, whole % 3_600 / 60),
        _ => format!("{}d {}h", whole / 86_400, whole % 86_400 / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_short() {
        for (count, shown) in
            [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 30, "5.0 GiB")]
        {
            assert_eq!(bytes(count), shown);
        }
        for (value, shown) in [
            (0.000_25, "250 µs"),
            (0.25, "250.0 ms"),
            (12.34, "12.3 s"),
            (184.0, "3m 4s"),
            (7_260.0, "2h 1m"),
            (180_000.0, "2d 2h"),
        ] {
            assert_eq!(seconds(value), shown);
        }
    }

    #[test]
    fn a_table_starts_at_the_margin_and_has_no_lines() {
        let mut table = table(["NAME", "COUNT"]);
        table.add_row([Cell::new("web"), number(7)]);
        let plain = anstream::adapter::strip_str(&text(&table)).to_string();
        assert_eq!(plain.lines().collect::<Vec<_>>(), ["NAME  COUNT", "web       7"]);
    }
}
