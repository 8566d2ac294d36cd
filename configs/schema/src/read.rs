//! Reading a tree into typed values, one definition for each key.
//!
//! A section is a function over a [`Scope`]. It asks for each of its keys once,
//! saying name, meaning, format and default in the same breath. Run on a file it
//! yields the section, with a finding for every mistake; run in describing mode
//! ([`describe`]) it leaves behind a [`TableDefinition`]. So it has to ask for
//! every key before it gives up on any (`?` comes last).

use std::{
    cell::RefCell,
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use crate::{
    definition::TableDefinition,
    raw::{Coverage, Node, Table, Value},
    report::{Finding, Findings},
    source::{Source, Spot},
};

mod format;
mod map;
mod scope;
mod table;
mod text;

pub(crate) use format::{
    Format, Word, boolean, duration, either, float, integer, list, located, numbers, size, words,
};
pub(crate) use map::map_of;
pub(crate) use scope::{Key, Scope, describe, quoted};
pub(crate) use table::{named, pairs, secrets, table};
pub(crate) use text::{secret, text};

/// What every format needs while a configuration is read.
pub(crate) struct Reader<'s> {
    sources: &'s [Source],
    coverage: Coverage,
    /// Names of all clusters, known before the first reference to one is read.
    clusters: BTreeSet<String>,
    findings: RefCell<Findings>,
}

/// A value on its way through a [`Format`], and the path of its key.
#[derive(Clone, Copy)]
pub(crate) struct At<'a> {
    pub(crate) node: &'a Node,
    pub(crate) path: &'a str,
}

/// A value that remembers where it stood.
#[derive(Debug, Clone)]
pub(crate) struct Located<T> {
    pub(crate) value: T,
    pub(crate) spot: Spot,
    pub(crate) path: String,
}

/// Why a value is not acceptable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl Fault {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl<'s> Reader<'s> {
    pub(crate) fn new(
        sources: &'s [Source],
        root: &Table,
        coverage: Coverage,
        findings: Findings,
    ) -> Self {
        let clusters = match root.get("clusters").map(|entry| &entry.node.value) {
            Some(Value::Table(table)) => table.names().cloned().collect(),
            _ => BTreeSet::new(),
        };
        Self { sources, coverage, clusters, findings: RefCell::new(findings) }
    }

    pub(crate) fn push(&self, finding: Finding) {
        self.findings.borrow_mut().push(finding);
    }

    /// Something seems to be missing. Not said when part of the text could not
    /// be read, because it may be there.
    pub(crate) fn missing(&self, finding: Finding) {
        if self.coverage == Coverage::Whole {
            self.push(finding);
        }
    }

    pub(crate) fn fault(&self, at: At<'_>, fault: Fault) {
        self.push(Finding::error(fault.message).at(at.node.spot, at.path).maybe_hint(fault.hint));
    }

    /// Never shows this value.
    pub(crate) fn hide(&self, spot: Spot) {
        self.findings.borrow_mut().hide(spot);
    }

    /// A path as it is meant: relative to the file it is written in.
    pub(crate) fn resolve(&self, spot: Spot, path: &str) -> PathBuf {
        absolute(self.folder(spot), path)
    }

    pub(crate) fn folder(&self, spot: Spot) -> &'s Path {
        self.sources.get(spot.file).map_or(Path::new(""), Source::folder)
    }

    pub(crate) fn has_cluster(&self, name: &str) -> bool {
        self.clusters.contains(name)
    }

    pub(crate) fn clusters(&self) -> impl Iterator<Item = &str> {
        self.clusters.iter().map(String::as_str)
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.findings.borrow().has_errors()
    }

    pub(crate) fn coverage(&self) -> Coverage {
        self.coverage
    }

    pub(crate) fn into_findings(self) -> Findings {
        self.findings.into_inner()
    }
}

/// `path`, relative to `folder`.
pub(crate) fn absolute(folder: &Path, path: &str) -> PathBuf {
    // An absolute `path` replaces the folder; `./` is dropped for the eye.
    let joined = folder.join(path.strip_prefix("./").unwrap_or(path));
    std::path::absolute(&joined).unwrap_or(joined)
}

/// The candidate a misspelt word was most likely meant to be.
pub(crate) fn nearest<'c>(
    word: &str,
    candidates: impl IntoIterator<Item = &'c str>,
) -> Option<&'c str> {
    let folded = word.to_lowercase().replace('_', "-");
    let scored = candidates.into_iter().map(|candidate| {
        let score = strsim::jaro_winkler(&folded, &candidate.to_lowercase().replace('_', "-"));
        (score, candidate)
    });
    let best = scored.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 >= 0.75).then_some(best.1)
}

/// A table's definition, from the function that reads it.
pub(crate) fn definition<T>(read: fn(&mut Scope<'_>) -> Option<T>) -> TableDefinition {
    describe(|scope| {
        read(scope);
    })
}
