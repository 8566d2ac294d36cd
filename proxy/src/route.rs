//! The compiled route table of a listener: which route a request takes.
//!
//! The most specific match wins, whatever the order of the configuration:
//!
//! 1. **Host**: the exact name, then wildcards from the longest suffix to the shortest, then routes
//!    for any host. Case, port and a final dot do not matter.
//! 2. **Path**: the exact path, then prefixes from the longest to the shortest, then regular
//!    expressions in the order of the configuration, then routes for any path. The prefix `/` is
//!    any path. Prefixes are prefixes of bytes: `/v1` holds for `/v1x`, `/v1/` does not.
//! 3. **Constraints**: the more of method, headers and query a route asks for, the earlier it is
//!    tried; then the one that allows fewer methods; then the order of the configuration.
//!
//! A route whose constraints do not hold gives way to the next in this order, down to less specific
//! paths and hosts.
//!
//! A lookup allocates nothing. It hashes the host and the path, walks a radix tree along the path
//! and runs the regular expressions of the host as sets, so that its cost follows the request, not
//! the number of routes. Only routes that differ in nothing but constraints are tried one by one.

mod candidate;
mod error;
mod host;
mod path;
mod pattern;
mod query;
mod spec;
mod trie;

use std::ops::ControlFlow;

use rustc_hash::FxHashMap;

pub use error::RouteError;
pub use spec::{HostMatch, PathMatch, RouteSpec};

use candidate::{Candidates, Request};
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
    ///
    /// `host` is the host asked for, with or without a port; `path` comes without the query;
    /// `header` gives the value of a field by its name, in the case of the configuration;
    /// `query` is what follows `?`, percent-encoded as sent.
    #[inline]
    pub fn lookup<'h>(
        &self,
        host: Option<&str>,
        path: &str,
        method: &str,
        header: impl Fn(&str) -> Option<&'h [u8]>,
        query: Option<&str>,
    ) -> Option<usize> {
        let request = Request { method, header, query };
        self.visit(host, path, |candidates| match candidates.first_match(&request) {
            Some(route) => ControlFlow::Break(route),
            None => ControlFlow::Continue(()),
        })
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
