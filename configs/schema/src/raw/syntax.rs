//! Reading on after text that is not TOML.
//!
//! The parser stops at its first error. To tell a person about the rest of the
//! file too, the section around an error (from one `[header]` line to the next)
//! is blanked and the text is parsed again.

use std::{borrow::Cow, ops::Range};

use toml::de::DeTable;

use super::Coverage;
use crate::{
    report::{Finding, Findings},
    source::{Source, Spot},
};

/// Syntax errors told of one file.
const MAX_ERRORS: usize = 16;

/// Reports every syntax error and reads what parses, its offsets unchanged, if
/// anything does.
pub(super) fn recover<T>(
    file: usize,
    source: &Source,
    findings: &mut Findings,
    read: impl FnOnce(DeTable<'_>, &mut Findings) -> T,
) -> (Option<T>, Coverage) {
    let mut text = Cow::Borrowed(source.text.as_str());
    let mut blanked: Vec<Range<usize>> = Vec::new();
    for _ in 0..MAX_ERRORS {
        let error = match DeTable::parse(&text) {
            Ok(document) => {
                let coverage = if blanked.is_empty() { Coverage::Whole } else { Coverage::Partial };
                return (Some(read(document.into_inner(), findings)), coverage);
            }
            Err(error) => error,
        };
        let at = error.span().unwrap_or(text.len()..text.len());
        // By the original text: what is blanked has no headers any more.
        let section = section(&source.text, at.start.min(text.len()));
        // An error right behind a blanked section is most likely the same one
        // again: a string or a list that was opened there and never closed.
        if blanked.iter().any(|last| section.start <= last.end && last.start < section.end) {
            break;
        }
        findings.push(finding(file, &text, at, error.message()));
        let kept = text[section.clone()].bytes();
        let blank: String = kept.map(|byte| if byte == b'\n' { '\n' } else { ' ' }).collect();
        text.to_mut().replace_range(section.clone(), &blank);
        blanked.push(section);
    }
    (None, Coverage::Partial)
}

fn finding(file: usize, text: &str, at: Range<usize>, message: &str) -> Finding {
    let start = floor(text, at.start);
    // Without a character of its own the caret stands on the one before.
    let end = floor(text, at.end.max(start));
    let spot = Spot { file, start, end };
    let (what, expected) = match message.split_once(", expected ") {
        Some((what, expected)) => (what, Some(expected)),
        None => (message, None),
    };
    let hint = match (what, expected) {
        (_, Some("nothing")) | (_, None) if what.starts_with("duplicate key") => {
            Some("a key or table can be given once; remove one of them".to_owned())
        }
        (_, Some("nothing") | None) => None,
        (_, Some(expected)) => Some(format!("expected {expected}")),
    };
    Finding::error(format!("not valid TOML: {what}")).at(spot, "").maybe_hint(hint)
}

fn floor(text: &str, offset: usize) -> usize {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    offset
}

/// From the header line at or before `at` up to the next header line.
fn section(text: &str, at: usize) -> Range<usize> {
    let is_header = |line: &str| line.trim_start().starts_with('[');
    let mut range = 0..text.len();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        if is_header(line) {
            if start > at {
                range.end = start;
                break;
            }
            range.start = start;
        }
        start += line.len();
    }
    range
}
