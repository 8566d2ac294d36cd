//! What is wrong with a scenario, all at once, where it stands.

use std::{
    fmt,
    ops::Range,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet, renderer::DecorStyle};
use regex::Regex;

/// Findings kept; the rest are only counted.
const MAX_FINDINGS: usize = 200;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// The key, as in `requests[0].path`; empty when no key is meant.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    span: Range<usize>,
}

/// A scenario that cannot be carried out.
#[derive(Debug)]
pub struct ScenarioError {
    file: PathBuf,
    text: String,
    findings: Vec<Finding>,
    left_out: usize,
}

/// Findings in the making.
#[derive(Debug, Default)]
pub(super) struct Findings {
    kept: Vec<(Range<usize>, String, Fault)>,
    left_out: usize,
}

/// Why a value is not acceptable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

// === impl Fault ===

impl Fault {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(super) fn maybe_hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint;
        self
    }
}

// === impl Findings ===

impl Findings {
    pub(super) fn push(&mut self, span: Range<usize>, key: &str, fault: Fault) {
        if self.kept.len() < MAX_FINDINGS {
            self.kept.push((span, key.to_owned(), fault));
        } else {
            self.left_out += 1;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// In the order of the file.
    pub(super) fn into_error(mut self, file: &Path, text: &str) -> ScenarioError {
        self.kept.sort_by_key(|(span, ..)| span.start);
        let findings = self.kept.into_iter().map(|(span, key, Fault { message, hint })| {
            let (line, column) = position(text, span.start);
            // What goes over several lines is shown by its first one.
            let first_line = text.get(span.clone()).and_then(|text| text.lines().next());
            let end = first_line.map_or(span.end, |line| span.start + line.len());
            let span = span.start..end;
            Finding { line, column, key, message, hint, span }
        });
        ScenarioError {
            file: file.to_owned(),
            text: without_passwords(text),
            findings: findings.collect(),
            left_out: self.left_out,
        }
    }
}

/// Line and column of a byte, both from 1.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset.min(text.len())).unwrap_or_default();
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// Passwords of URLs become asterisks; everything else stays where it is.
fn without_passwords(text: &str) -> String {
    static PASSWORD: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r#"(://[^:/@\s"']*:)([^@/\s"']+)@"#).expect("the pattern is constant")
    });
    let masked = PASSWORD.replace_all(text, |found: &regex::Captures<'_>| {
        format!("{}{}@", &found[1], "*".repeat(found[2].len()))
    });
    masked.into_owned()
}

// === impl ScenarioError ===

impl ScenarioError {
    /// What is wrong, in the order of the file; at most 200.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// The way rustc shows errors, ending in a count.
    pub fn render(&self, color: bool) -> String {
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        let renderer = renderer.decor_style(DecorStyle::Ascii);
        let mut out = String::new();
        for finding in &self.findings {
            out.push_str(&renderer.render(&[self.group(finding)]));
            out.push_str("\n\n");
        }
        let summary = Group::with_title(Level::ERROR.primary_title(self.to_string()));
        out.push_str(&renderer.render(&[summary]));
        out
    }

    fn group<'a>(&'a self, finding: &'a Finding) -> Group<'a> {
        let group = Group::with_title(Level::ERROR.primary_title(finding.message.as_str()));
        // Only the lines in question, so that a long file costs nothing.
        let text = self.text.as_str();
        let Range { start, end } = finding.span.clone();
        let (start, end) = (start.min(text.len()), end.min(text.len()));
        let first = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let last = text[end..].find('\n').map_or(text.len(), |at| end + at);
        let mark = AnnotationKind::Primary.span(start - first..end.max(start) - first);
        let mark = if finding.key.is_empty() { mark } else { mark.label(finding.key.as_str()) };
        let snippet = Snippet::source(&text[first..last])
            .line_start(finding.line)
            .path(self.file.to_string_lossy())
            .annotation(mark);
        let group = group.element(snippet);
        match &finding.hint {
            Some(hint) => group.element(Level::HELP.message(hint.as_str())),
            None => group,
        }
    }
}

impl fmt::Display for ScenarioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let errors = self.findings.len() + self.left_out;
        let plural = if errors == 1 { "" } else { "s" };
        write!(f, "{errors} error{plural} found in {}", self.file.display())
    }
}

impl std::error::Error for ScenarioError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_stands_where_it_belongs() {
        let text = "a = 1\n# zoë\nünit = \"x\"\n";
        let at = text.find("\"x\"").unwrap();
        let mut findings = Findings::default();
        findings.push(at..at + 3, "ünit", Fault::new("no such unit").hint("write \"s\""));
        findings.push(0..1, "a", Fault::new("unknown key `a`"));
        let error = findings.into_error(Path::new("s.toml"), text);
        let places: Vec<_> = error.findings().iter().map(|f| (f.line, f.column)).collect();
        assert_eq!(places, [(1, 1), (3, 8)]);
        assert_eq!(
            error.render(false),
            "error: unknown key `a`\n \
             --> s.toml:1:1\n  |\n1 | a = 1\n  | ^ a\n\n\
             error: no such unit\n \
             --> s.toml:3:8\n  |\n3 | ünit = \"x\"\n  |        ^^^ ünit\n  |\n  \
             = help: write \"s\"\n\n\
             error: 2 errors found in s.toml"
        );
    }

    #[test]
    fn passwords_are_not_shown() {
        let masked = without_passwords("target = \"postgres://a:hunter2@db/x\" # a:b@c");
        assert_eq!(masked, "target = \"postgres://a:*******@db/x\" # a:b@c");
    }
}
