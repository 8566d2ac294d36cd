//! Regular expressions on paths.

use std::ops::ControlFlow;

use regex::{Regex, RegexBuilder, RegexSet, RegexSetBuilder};

use super::candidate::Candidates;
use super::error::RouteError;

/// Bytes one compiled expression may take.
const MAX_PATTERN_BYTES: usize = 1024 * 1024;
/// Expressions that are searched for in one pass, to find out whether any of them is there at all.
const GROUP: usize = 64;

/// A compiled expression and the route that it came from first.
#[derive(Debug)]
pub(super) struct Pattern {
    index: usize,
    regex: Regex,
}

impl Pattern {
    /// Compiles the expression of route `index`.
    pub(super) fn compile(index: usize, text: &str) -> Result<Self, RouteError> {
        RegexBuilder::new(text)
            .size_limit(MAX_PATTERN_BYTES)
            .build()
            .map(|regex| Self { index, regex })
            .map_err(|source| RouteError::InvalidPattern { index, source })
    }
}

/// Expressions in the order of the configuration.
#[derive(Debug)]
pub(super) struct Patterns {
    groups: Box<[Group]>,
}

#[derive(Debug)]
struct Group {
    any_of: RegexSet,
    members: Box<[(Regex, Candidates)]>,
}

impl Patterns {
    pub(super) fn new(
        patterns: impl Iterator<Item = (Pattern, Candidates)>,
    ) -> Result<Self, RouteError> {
        let mut patterns = patterns.peekable();
        let mut groups = Vec::new();
        while let Some((Pattern { index, .. }, _)) = patterns.peek() {
            let index = *index;
            let members: Box<[_]> = patterns
                .by_ref()
                .take(GROUP)
                .map(|(pattern, candidates)| (pattern.regex, candidates))
                .collect();
            let any_of = RegexSetBuilder::new(members.iter().map(|(regex, _)| regex.as_str()))
                .size_limit(GROUP * MAX_PATTERN_BYTES)
                .build()
                .map_err(|source| RouteError::InvalidPattern { index, source })?;
            groups.push(Group { any_of, members });
        }
        Ok(Self { groups: groups.into_boxed_slice() })
    }

    /// Calls `visit` with the routes of every expression found in `path`.
    ///
    /// Which members of a set match could only be had with an allocation, so a group that has a
    /// match is tried one by one.
    #[inline]
    pub(super) fn matching<R>(
        &self,
        path: &str,
        visit: &mut impl FnMut(&Candidates) -> ControlFlow<R>,
    ) -> ControlFlow<R> {
        for group in self.groups.iter().filter(|group| group.any_of.is_match(path)) {
            for (_, candidates) in group.members.iter().filter(|(regex, _)| regex.is_match(path)) {
                visit(candidates)?;
            }
        }
        ControlFlow::Continue(())
    }
}
