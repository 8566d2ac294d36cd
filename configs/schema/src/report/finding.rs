//! A report in the making.

use std::path::{Path, PathBuf};

use super::{Diagnostic, Related, Report, Severity, mask};
use crate::source::{Source, Spot};

/// Findings kept in full; the rest are only counted.
const MAX_FINDINGS: usize = 200;

/// A [`Diagnostic`] in the making: knows its spot, not yet line and column.
pub(crate) struct Finding {
    severity: Severity,
    spot: Option<Spot>,
    file: PathBuf,
    key: String,
    message: String,
    hint: Option<String>,
    related: Vec<(Spot, String)>,
}

impl Finding {
    pub(crate) fn error(message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            spot: None,
            file: PathBuf::new(),
            key: String::new(),
            message: message.into(),
            hint: None,
            related: Vec::new(),
        }
    }

    pub(crate) fn warning(message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(message) }
    }

    pub(crate) fn at(mut self, spot: Spot, key: &str) -> Self {
        self.spot = Some(spot);
        self.key = key.to_owned();
        self
    }

    /// For a finding about a file as a whole.
    pub(crate) fn file(mut self, path: &Path) -> Self {
        self.file = path.to_owned();
        self
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn maybe_hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint;
        self
    }

    pub(crate) fn related(mut self, spot: Spot, label: impl Into<String>) -> Self {
        self.related.push((spot, label.into()));
        self
    }
}

/// Collects findings, bounded.
#[derive(Default)]
pub(crate) struct Findings {
    kept: Vec<Finding>,
    left_out: usize,
    /// Values that must not be shown.
    secrets: Vec<Spot>,
}

impl Findings {
    pub(crate) fn push(&mut self, finding: Finding) {
        // Warnings make room for errors: what refuses a file must be seen.
        if self.kept.len() >= MAX_FINDINGS
            && finding.severity == Severity::Error
            && let Some(warning) = self.kept.iter().position(|f| f.severity == Severity::Warning)
        {
            self.kept.swap_remove(warning);
        }
        if self.kept.len() < MAX_FINDINGS {
            self.kept.push(finding);
        } else if finding.severity == Severity::Error {
            self.left_out += 1;
        }
    }

    /// Marks a value that must not be shown.
    pub(crate) fn hide(&mut self, spot: Spot) {
        self.secrets.push(spot);
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.left_out > 0 || self.kept.iter().any(|f| f.severity == Severity::Error)
    }

    /// Gives every finding its line and column.
    pub(crate) fn into_report(mut self, sources: &[Source]) -> Report {
        self.kept.sort_by(|a, b| {
            (a.spot.is_some(), a.spot, b.severity).cmp(&(b.spot.is_some(), b.spot, a.severity))
        });
        let diagnostics: Vec<_> = self.kept.into_iter().map(|f| locate(f, sources)).collect();
        let shown = sources.iter().enumerate().filter(|(_, source)| {
            diagnostics.iter().any(|d: &Diagnostic| {
                d.file == source.path || d.related.iter().any(|r| r.file == source.path)
            })
        });
        let sources = shown
            .map(|(file, source)| {
                let secrets = self.secrets.iter().filter(|spot| spot.file == file);
                let spans = secrets.map(|spot| spot.start..spot.end);
                (source.path.clone(), mask::secrets(&source.text, spans))
            })
            .collect();
        Report { diagnostics, left_out: self.left_out, sources }
    }
}

fn locate(finding: Finding, sources: &[Source]) -> Diagnostic {
    let source = finding.spot.and_then(|spot| sources.get(spot.file).map(|s| (s, spot)));
    let position = source.map(|(source, spot)| source.position(spot.start));
    let related = finding.related.into_iter().filter_map(|(spot, label)| {
        let source = sources.get(spot.file)?;
        let (line, column) = source.position(spot.start);
        Some(Related { file: source.path.clone(), line, column, span: spot.start..spot.end, label })
    });
    Diagnostic {
        severity: finding.severity,
        file: source.map_or(finding.file, |(source, _)| source.path.clone()),
        line: position.map(|(line, _)| line),
        column: position.map(|(_, column)| column),
        span: source.map(|(_, spot)| spot.start..spot.end),
        key: finding.key,
        message: finding.message,
        hint: finding.hint,
        related: related.collect(),
    }
}
