//! Finding the routes of a path, among those of one host.

use std::ops::ControlFlow;

use rustc_hash::FxHashMap;

use super::candidate::{Candidates, CandidatesBuilder};
use super::error::RouteError;
use super::pattern::{Pattern, Patterns};
use super::spec::{PathMatch, RouteSpec};
use super::trie::Trie;

/// The routes of one host.
#[derive(Debug)]
pub(super) struct Paths {
    exact: FxHashMap<Box<[u8]>, Candidates>,
    prefixes: Trie<Candidates>,
    patterns: Patterns,
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
        for candidates in self.prefixes.prefixes_of(path.as_bytes()) {
            visit(candidates)?;
        }
        self.patterns.matching(path, &mut visit)?;
        match &self.any {
            Some(candidates) => visit(candidates),
            None => ControlFlow::Continue(()),
        }
    }
}

/// Collects the routes of one host by path.
#[derive(Debug, Default)]
pub(super) struct PathsBuilder {
    exact: FxHashMap<String, CandidatesBuilder>,
    prefixes: FxHashMap<String, CandidatesBuilder>,
    patterns: Vec<(Pattern, CandidatesBuilder)>,
    pattern_at: FxHashMap<String, usize>,
    any: CandidatesBuilder,
}

impl PathsBuilder {
    pub(super) fn add(&mut self, index: usize, spec: &RouteSpec) -> Result<(), RouteError> {
        let candidates = match &spec.path {
            PathMatch::Any => &mut self.any,
            PathMatch::Exact(path) => self.exact.entry(path.clone()).or_default(),
            PathMatch::Prefix(path) => self.prefixes.entry(path.clone()).or_default(),
            PathMatch::Regex(text) => {
                let at = match self.pattern_at.get(text) {
                    Some(at) => *at,
                    None => {
                        self.patterns
                            .push((Pattern::compile(index, text)?, CandidatesBuilder::default()));
                        self.pattern_at.insert(text.clone(), self.patterns.len() - 1);
                        self.patterns.len() - 1
                    }
                };
                &mut self.patterns[at].1
            }
        };
        candidates.add(index, spec);
        Ok(())
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
            prefixes: prefixes.collect(),
            patterns: Patterns::new(patterns)?,
            any: self.any.build(),
        })
    }
}
