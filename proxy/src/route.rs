//! The compiled route table of a listener: which route a request takes.
//!
//! The most specific match wins, whatever the order of the configuration:
//!
//! 1. **Host**: the exact name, then wildcards from the longest suffix to the shortest, then routes
//!    for any host. Case, port and a final dot do not matter.
//! 2. **Path**: the exact path, then whole paths with parameters, then prefixes from the longest to
//!    the shortest, then regular expressions in the order of the configuration, then routes for any
//!    path. The prefix `/` is any path. Prefixes are prefixes of bytes: `/v1` holds for `/v1x`,
//!    `/v1/` does not. A parameter is a whole segment; the length of a prefix with parameters is
//!    that of what it matches. Of two that match as much, the one with fewer parameters comes first,
//!    then the one whose first parameter comes later.
//! 3. **Constraints**: the more of method, headers, cookies and query a route asks for, the earlier
//!    it is tried; then the one with more exact values; then with more prefixes, then with more
//!    regular expressions; then the one that allows fewer methods; then the order of the
//!    configuration.
//!
//! A route whose constraints do not hold gives way to the next in this order, down to less specific
//! paths and hosts.
//!
//! A lookup allocates nothing. It hashes the host and the path, walks a radix tree along the path
//! and runs the regular expressions of the host as one automaton, so that its cost follows the
//! request, not the number of routes. Only routes that differ in nothing but constraints are tried
//! one by one.

mod candidate;
mod configured;
mod error;
mod explain;
mod host;
mod normal;
mod path;
mod pattern;
mod query;
mod request;
mod spec;
mod template;
mod trie;
mod value;

use std::ops::ControlFlow;

use rustc_hash::FxHashMap;

pub use error::RouteError;
pub use explain::{Check, Subject, Verdict};
pub use normal::{NormalPath, UnsafePath, normalize};
pub use request::{Fields, Request, any_cookie};
pub use spec::{HostMatch, PathMatch, RouteSpec};
pub use value::ValueMatch;

use candidate::Candidates;
use host::Hosts;

/// Routes, ready to be looked up. Routes are known by their index in the configuration.
#[derive(Debug)]
pub struct RouteTable {
    hosts: Hosts,
}

impl RouteTable {
    /// Compiles routes, which are numbered from 0 in the order given.
    ///
    /// # Errors
    /// Everything that is wrong with the routes, at once: malformed matches, and matches that are
    /// the same.
    pub fn compile(routes: impl IntoIterator<Item = RouteSpec>) -> Result<Self, Vec<RouteError>> {
        let mut errors = Vec::new();
        let mut first_with: FxHashMap<RouteSpec, usize> = FxHashMap::default();
        let mut hosts = host::HostsBuilder::default();
        for (index, spec) in routes.into_iter().enumerate() {
            let spec = match spec.normalized(index) {
                Ok(spec) => spec,
                Err(error) => {
                    errors.push(error);
                    continue;
                }
            };
            if let Some(&first) = first_with.get(&spec) {
                errors.push(RouteError::Conflict { first, second: index });
                continue;
            }
            if let Err(error) = hosts.add(index, &spec) {
                errors.push(error);
            }
            first_with.insert(spec, index);
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(Self { hosts: hosts.build().map_err(|error| vec![error])? })
    }

    /// The route a request takes: its index in the configuration.
    #[inline]
    pub fn lookup<F: Fields + ?Sized>(&self, request: &Request<'_, F>) -> Option<usize> {
        self.visit(request.host, request.path, |candidates| match candidates.first_match(request) {
            Some(route) => ControlFlow::Break(route),
            None => ControlFlow::Continue(()),
        })
    }

    /// Every route that a request matches, the most specific first: the one it takes, and those it
    /// would take if that one were not there.
    pub fn all_matches<F: Fields + ?Sized>(&self, request: &Request<'_, F>) -> Vec<usize> {
        let mut found = Vec::new();
        let none = self.visit(request.host, request.path, |candidates| -> ControlFlow<()> {
            found.extend(candidates.matches(request));
            ControlFlow::Continue(())
        });
        debug_assert!(none.is_none());
        found
    }

    /// Calls `visit` with the routes whose host and path match, from the most to the least
    /// specific, until it breaks off.
    fn visit<R>(
        &self,
        host: Option<&str>,
        path: &str,
        mut visit: impl FnMut(&Candidates) -> ControlFlow<R>,
    ) -> Option<R> {
        self.hosts.matching(host, |paths| paths.matching(path, &mut visit)).break_value()
    }
}

#[cfg(test)]
mod tests;
