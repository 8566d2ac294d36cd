//! What is wrong with a configuration, all at once.

use std::{fmt, ops::Range, path::PathBuf};

use serde_json::{Value, json};

mod finding;
mod mask;
mod render;

pub(crate) use finding::{Finding, Findings};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The configuration works, yet probably not as meant.
    Warning,
    /// The configuration is refused.
    Error,
}

impl Severity {
    /// `warning` or `error`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The file it is about.
    pub file: PathBuf,
    /// Line, from 1; `None` when the file as a whole is meant.
    pub line: Option<usize>,
    /// Column in characters, from 1.
    pub column: Option<usize>,
    /// Bytes of the file.
    pub span: Option<Range<usize>>,
    /// The key, as in `listeners.web.routes[0].cluster`; empty when no key is meant.
    pub key: String,
    /// What is wrong. Never holds a secret.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// Other places that belong to it.
    pub related: Vec<Related>,
}

/// Another place a [`Diagnostic`] points at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Related {
    /// The file.
    pub file: PathBuf,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// Bytes of the file.
    pub span: Range<usize>,
    /// Why it is pointed at.
    pub label: String,
}

/// Everything found in one configuration, in file order.
#[derive(Clone)]
pub struct Report {
    diagnostics: Vec<Diagnostic>,
    /// Findings past the limit of what is kept.
    left_out: usize,
    /// Path and text of each file that is pointed at, secrets masked.
    sources: Vec<(PathBuf, String)>,
}

impl Report {
    /// What was found, in file order; at most 200.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    /// How many errors, including those past the limit of what is kept.
    pub fn errors(&self) -> usize {
        self.count(Severity::Error) + self.left_out
    }

    /// How many warnings.
    pub fn warnings(&self) -> usize {
        self.count(Severity::Warning)
    }

    /// Nothing was found, not even a warning.
    pub fn is_empty(&self) -> bool {
        self.diagnostics.is_empty()
    }

    /// The way rustc shows errors, ending in a count. Secrets are masked.
    pub fn render(&self, color: bool) -> String {
        render::report(self, color)
    }

    /// For programs: `schema`, `valid`, `errors` and `warnings`, each entry with
    /// `file`, `line`, `column`, `span`, `key`, `message`, `hint` and `related`.
    pub fn to_json(&self) -> Value {
        let of = |severity| -> Vec<Value> {
            let wanted = self.diagnostics.iter().filter(|d| d.severity == severity);
            wanted.map(Diagnostic::to_json).collect()
        };
        json!({
            "schema": "bs9.check/1",
            "valid": self.errors() == 0,
            "errors": of(Severity::Error),
            "warnings": of(Severity::Warning),
            "left_out": self.left_out,
        })
    }

    /// `2 errors, 1 warning`.
    pub fn summary(&self) -> String {
        let counted = |count: usize, word: &str| {
            format!("{count} {word}{}", if count == 1 { "" } else { "s" })
        };
        match (self.errors(), self.warnings()) {
            (errors, 0) => counted(errors, "error"),
            (0, warnings) => counted(warnings, "warning"),
            (errors, warnings) => {
                format!("{}, {}", counted(errors, "error"), counted(warnings, "warning"))
            }
        }
    }

    fn count(&self, severity: Severity) -> usize {
        self.diagnostics.iter().filter(|d| d.severity == severity).count()
    }
}

/// One line for each finding: `file:line:column: key: message (hint)`.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.diagnostics.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            diagnostic.fmt(f)?;
        }
        if self.left_out > 0 {
            write!(f, "\n… and {} more", self.left_out)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Report {}

impl Diagnostic {
    fn to_json(&self) -> Value {
        let related = self.related.iter().map(|place| {
            json!({
                "file": place.file.display().to_string(),
                "line": place.line,
                "column": place.column,
                "span": [place.span.start, place.span.end],
                "label": place.label,
            })
        });
        json!({
            "file": self.file.display().to_string(),
            "line": self.line,
            "column": self.column,
            "span": self.span.as_ref().map(|span| [span.start, span.end]),
            "key": self.key,
            "message": self.message,
            "hint": self.hint,
            "related": related.collect::<Vec<_>>(),
        })
    }
}

/// `file:line:column: key: message (hint)`; a warning says so before its message.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if let (Some(line), Some(column)) = (self.line, self.column) {
            write!(f, "{line}:{column}:")?;
        }
        if !self.key.is_empty() {
            write!(f, " {}:", self.key)?;
        }
        if self.severity == Severity::Warning {
            f.write_str(" warning:")?;
        }
        write!(f, " {}", self.message)?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}
