//! The parts of a request that patterns can have in them.

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;

use bs9_config::PathMatch;
use regex_automata::PatternID;
use regex_automata::meta::Regex;
use regex_automata::util::captures::Captures;
use regex_automata::util::pool::{Pool, PoolGuard};

use super::prefix::Prefix;

/// What patterns are filled in from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RequestParts<'r> {
    pub(crate) encrypted: bool,
    /// As asked for, with its port.
    pub(crate) host: Option<&'r str>,
    /// Without the query; as routes look at it.
    pub(crate) path: &'r str,
    pub(crate) query: Option<&'r str>,
}

impl RequestParts<'_> {
    pub(super) fn scheme(&self) -> &'static str {
        if self.encrypted { "https" } else { "http" }
    }
}

/// Where the parts of a path are found that a route's own match names.
#[derive(Debug, Clone)]
pub(crate) enum PathParts {
    /// In the whole path, with the names of its segments.
    Segments {
        /// Segment numbers by name of the parameter, from 0.
        names: Vec<(String, usize)>,
        /// What the route matches, when it is a prefix.
        prefix: Option<Prefix>,
    },
    /// In the groups of the route's expression.
    Groups(Arc<Groups>),
}

impl PathParts {
    /// Those of a route with this path.
    pub(crate) fn of(path: &PathMatch) -> Result<Self, String> {
        let (text, prefix) = match path {
            PathMatch::Regex(regex) => return Groups::compile(regex).map(Self::Groups),
            PathMatch::Any => ("/", true),
            PathMatch::Prefix(text) => (&**text, true),
            PathMatch::Exact(text) => (&**text, false),
        };
        let segments = text.split('/').skip(1).enumerate();
        let names = segments.filter_map(|(at, segment)| {
            let name = segment.strip_prefix('{')?.strip_suffix('}')?;
            Some((name.to_owned(), at))
        });
        Ok(Self::Segments { names: names.collect(), prefix: prefix.then(|| Prefix::of(text)) })
    }
}

/// An expression whose groups are wanted.
pub(crate) struct Groups {
    regex: Regex,
    pool: Pool<Captures, Maker>,
}

type Maker = Box<dyn Fn() -> Captures + Send + Sync + UnwindSafe + RefUnwindSafe>;

impl Groups {
    pub(super) fn compile(pattern: &str) -> Result<Arc<Self>, String> {
        let regex = Regex::new(pattern).map_err(|error| error.to_string())?;
        let own = regex.clone();
        let maker: Maker = Box::new(move || own.create_captures());
        Ok(Arc::new(Self { regex, pool: Pool::new(maker) }))
    }

    /// The number of the group with this name.
    pub(super) fn number_of(&self, name: &str) -> Option<usize> {
        self.regex.group_info().to_index(PatternID::ZERO, name)
    }

    /// What is found first in `path`.
    pub(super) fn find(&self, path: &str) -> Found<'_> {
        let mut captures = self.pool.get();
        self.regex.captures(path, &mut captures);
        Found(captures)
    }
}

impl fmt::Debug for Groups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Groups").field(&self.regex).finish()
    }
}

/// The groups of one search.
pub(super) struct Found<'g>(PoolGuard<'g, Captures, Maker>);

impl Found<'_> {
    /// Where the group is in the path; empty when it is not.
    pub(super) fn group(&self, number: usize) -> std::ops::Range<usize> {
        self.0.get_group(number).map_or(0..0, |span| span.range())
    }

    /// Whether anything was found.
    pub(super) fn is_match(&self) -> bool {
        self.0.is_match()
    }
}
