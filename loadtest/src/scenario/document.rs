//! TOML whose errors are all told, not only the first one.

use std::{borrow::Cow, ops::Range};

use toml_edit::Document;

use super::finding::{Fault, Findings};

/// Syntax errors told of one file.
const MAX_ERRORS: usize = 16;

/// The text that parses, its places unchanged: around each error the section from one `[header]`
/// line to the next is blanked. `None` when nothing is left that could be read.
pub(super) fn readable<'t>(text: &'t str, findings: &mut Findings) -> Option<Cow<'t, str>> {
    let mut left = Cow::Borrowed(text);
    let mut blanked: Vec<Range<usize>> = Vec::new();
    for _ in 0..MAX_ERRORS {
        let Err(error) = Document::parse(left.as_ref()) else { return Some(left) };
        let at = error.span().unwrap_or(left.len()..left.len());
        let section = section(text, at.start.min(text.len()));
        // Right behind a blanked section it is most likely the same error again: a string or a
        // list that was opened there and never closed.
        if blanked.iter().any(|last| section.start <= last.end && last.start < section.end) {
            return None;
        }
        let start = floor(&left, at.start);
        let end = floor(&left, at.end).max(start);
        findings.push(start..end, "", fault(error.message()));
        let blank = |byte| if byte == b'\n' { '\n' } else { ' ' };
        let blank: String = left[section.clone()].bytes().map(blank).collect();
        left.to_mut().replace_range(section.clone(), &blank);
        blanked.push(section);
    }
    None
}

fn fault(message: &str) -> Fault {
    let (what, expected) = match message.split_once(", expected ") {
        Some((what, expected)) => (what, Some(expected)),
        None => (message, None),
    };
    let fault = Fault::new(format!("not valid TOML: {what}"));
    match expected {
        Some("nothing") | None => fault,
        Some(expected) => fault.hint(format!("expected {expected}")),
    }
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
    let headers = text
        .match_indices('\n')
        .map(|(newline, _)| newline + 1)
        .filter(|start| text[*start..].trim_start_matches([' ', '\t']).starts_with('['));
    headers.fold(0..text.len(), |range, start| {
        if start <= at { start..range.end } else { range.start..range.end.min(start) }
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn every_section_is_looked_at() {
        let text = "a = 1\n[b]\nc = = 2\n[d]\ne = 3\n[f]\ng = \"open\nh = 4\n[i]\nj = 5\n";
        let mut findings = Findings::default();
        let left = readable(text, &mut findings).unwrap();
        let document = Document::parse(left.as_ref()).unwrap();
        let keys: Vec<_> = document.as_table().iter().map(|(key, _)| key.to_owned()).collect();
        assert_eq!(keys, ["a", "d", "i"]);
        let error = findings.into_error(Path::new("s.toml"), text);
        let lines: Vec<_> = error.findings().iter().map(|finding| finding.line).collect();
        assert_eq!(lines, [3, 7]);
    }

    #[test]
    fn what_is_no_toml_at_all_ends() {
        let mut findings = Findings::default();
        assert!(readable("a = [1,\nb = \"", &mut findings).is_none() || !findings.is_empty());
        assert!(!findings.is_empty());
    }
}
