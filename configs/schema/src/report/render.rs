//! A [`Report`] the way rustc shows errors.

use std::{ops::Range, path::Path};

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet, renderer::DecorStyle};

use super::{Diagnostic, Report, Severity};

/// Lines between two annotations that are still shown as one snippet.
const ONE_SNIPPET_LINES: usize = 100;

pub(super) fn report(report: &Report, color: bool) -> String {
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    let renderer = renderer.decor_style(DecorStyle::Ascii);
    let mut text = String::new();
    for diagnostic in &report.diagnostics {
        let group = group(report, diagnostic);
        text.push_str(&renderer.render(&[group]));
        text.push_str("\n\n");
    }
    if report.left_out > 0 {
        text.push_str(&format!("… and {} more\n\n", report.left_out));
    }
    if !report.is_empty() {
        let level = if report.errors() > 0 { Level::ERROR } else { Level::WARNING };
        let summary = level.primary_title(format!("{} found", report.summary()));
        text.push_str(&renderer.render(&[Group::with_title(summary)]));
        text.push('\n');
    }
    text
}

fn group<'a>(report: &'a Report, diagnostic: &'a Diagnostic) -> Group<'a> {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut group = Group::with_title(level.primary_title(diagnostic.message.as_str()));
    for window in windows(diagnostic) {
        group = match snippet(report, diagnostic, &window) {
            Some(snippet) => group.element(snippet),
            None => group,
        };
    }
    match &diagnostic.hint {
        Some(hint) => group.element(Level::HELP.message(hint.as_str())),
        None => group,
    }
}

/// One annotated place.
struct Mark<'a> {
    kind: AnnotationKind,
    line: usize,
    span: Range<usize>,
    label: &'a str,
}

/// Places that are shown together.
struct Window<'a> {
    file: &'a Path,
    marks: Vec<Mark<'a>>,
}

/// The places of a diagnostic, those near each other in one window.
fn windows(diagnostic: &Diagnostic) -> Vec<Window<'_>> {
    let mut windows: Vec<Window<'_>> = Vec::new();
    let primary = diagnostic.span.clone().zip(diagnostic.line).map(|(span, line)| {
        let label = diagnostic.key.as_str();
        (diagnostic.file.as_path(), Mark { kind: AnnotationKind::Primary, line, span, label })
    });
    let related = diagnostic.related.iter().map(|place| {
        let span = place.span.clone();
        let mark =
            Mark { kind: AnnotationKind::Context, line: place.line, span, label: &place.label };
        (place.file.as_path(), mark)
    });
    for (file, mark) in primary.into_iter().chain(related) {
        let near = windows.iter_mut().find(|window| {
            window.file == file
                && window.marks.iter().all(|m| m.line.abs_diff(mark.line) <= ONE_SNIPPET_LINES)
        });
        match near {
            Some(window) => window.marks.push(mark),
            None => windows.push(Window { file, marks: vec![mark] }),
        }
    }
    windows
}

/// Cuts the lines of a window out of the file, so that a large file costs
/// nothing, and annotates them.
fn snippet<'a>(
    report: &'a Report,
    diagnostic: &Diagnostic,
    window: &Window<'a>,
) -> Option<Snippet<'a, annotate_snippets::Annotation<'a>>> {
    let (path, text) = report.sources.iter().find(|(path, _)| path == window.file)?;
    let first = window.marks.iter().map(|m| m.span.start).min()?.min(text.len());
    let last = window.marks.iter().map(|m| m.span.end).max()?.min(text.len());
    let start = text.as_bytes()[..first].iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    let end =
        text.as_bytes()[last..].iter().position(|b| *b == b'\n').map_or(text.len(), |at| last + at);
    let slice = text.get(start..end)?;
    let line = window.marks.iter().map(|m| m.line).min().or(diagnostic.line)?;
    let mut snippet = Snippet::source(slice).line_start(line).path(path.to_string_lossy());
    for mark in &window.marks {
        let from = mark.span.start.min(text.len()) - start;
        let to = mark.span.end.min(text.len()).saturating_sub(start).max(from);
        let annotation = mark.kind.span(from..to);
        snippet = snippet.annotation(match mark.label {
            "" => annotation,
            label => annotation.label(label),
        });
    }
    Some(snippet)
}
