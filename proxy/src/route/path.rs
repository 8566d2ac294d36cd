//! Finding the routes of a path.

use std::ops::ControlFlow;

use rustc_hash::FxHashMap;

use super::candidate::{Candidates, CandidatesBuilder};
use super::error::RouteError;
use super::pattern::{Pattern, Patterns};
use super::spec::{PathMatch, RouteSpec};
use super::template::{Templates, TemplatesBuilder};
use super::trie::Trie;

/// The routes of one host.
#[derive(Debug)]
pub(super) struct Paths {
    exact: FxHashMap<Box<[u8]>, Candidates>,
    templates: Templates,
    prefixes: Trie<Candidates>,
    patterns: Option<Patterns>,
    any: Option<Candidates>,
}

impl Paths {
    /// Calls `visit` with the routes of every matching path, the most specific first.
    #[inline]
    pub(super) fn matching<R>(
        &self,
        path: &str,
        mut visit: impl FnMut(&Candidates) -> ControlFlow<R>,
    ) -> ControlFlow<R> {
        if !self.exact.is_empty()
            && let Some(candidates) = self.exact.get(path.as_bytes())
        {
            visit(candidates)?;
        }
        if self.templates.is_empty() {
            for candidates in self.prefixes.prefixes_of(path.as_bytes()) {
                visit(candidates)?;
            }
        } else {
            self.matching_templates(path.as_bytes(), &mut visit)?;
        }
        if let Some(patterns) = &self.patterns {
            patterns.matching(path, &mut visit)?;
        }
        match &self.any {
            Some(candidates) => visit(candidates),
            None => ControlFlow::Continue(()),
        }
    }

    /// Paths with parameters, and prefixes without any: the longest first, then those without.
    fn matching_templates<R>(
        &self,
        path: &[u8],
        visit: &mut impl FnMut(&Candidates) -> ControlFlow<R>,
    ) -> ControlFlow<R> {
        let mut templates = self.templates.matches(path).into_iter().peekable();
        for (len, candidates) in self.prefixes.prefixes_with_lengths(path) {
            while let Some(longer) = templates.next_if(|template| template.len > len) {
                visit(longer.candidates)?;
            }
            visit(candidates)?;
        }
        templates.try_for_each(|template| visit(template.candidates))
    }
}

/// Collects the routes of one host by path.
#[derive(Debug, Default)]
pub(super) struct PathsBuilder {
    exact: FxHashMap<String, CandidatesBuilder>,
    templates: TemplatesBuilder,
    prefixes: FxHashMap<String, CandidatesBuilder>,
    patterns: Vec<(Pattern, CandidatesBuilder)>,
    pattern_at: FxHashMap<String, usize>,
    any: CandidatesBuilder,
}

impl PathsBuilder {
    pub(super) fn add(&mut self, index: usize, spec: &RouteSpec) -> Result<(), RouteError> {
        match &spec.path {
            PathMatch::Any => self.any.add(index, spec),
            PathMatch::Exact(path) if TemplatesBuilder::takes(path) => {
                self.templates.add(index, spec, path, true)
            }
            PathMatch::Prefix(path) if TemplatesBuilder::takes(path) => {
                self.templates.add(index, spec, path, false)
            }
            PathMatch::Exact(path) => self.exact.entry(path.clone()).or_default().add(index, spec),
            PathMatch::Prefix(path) => {
                self.prefixes.entry(path.clone()).or_default().add(index, spec)
            }
            PathMatch::Regex(text) => {
                let at = match self.pattern_at.get(text) {
                    Some(at) => *at,
                    None => {
                        let pattern = Pattern::parse(index, text)?;
                        self.patterns.push((pattern, CandidatesBuilder::default()));
                        self.pattern_at.insert(text.clone(), self.patterns.len() - 1);
                        self.patterns.len() - 1
                    }
                };
                self.patterns[at].1.add(index, spec)
            }
        }
    }

    pub(super) fn build(self) -> Result<Paths, RouteError> {
        let exact = self.exact.into_iter().filter_map(|(path, candidates)| {
            Some((path.into_bytes().into_boxed_slice(), candidates.build()?))
        });
        let prefixes = self
            .prefixes
            .into_iter()
            .filter_map(|(path, candidates)| Some((path.into_bytes(), candidates.build()?)));
        let patterns = self
            .patterns
            .into_iter()
            .filter_map(|(pattern, candidates)| Some((pattern, candidates.build()?)));
        Ok(Paths {
            exact: exact.collect(),
            templates: self.templates.build(),
            prefixes: prefixes.collect(),
            patterns: Patterns::compile(patterns)?,
            any: self.any.build(),
        })
    }
}
