//! Why a request takes a route, or does not.

use std::fmt;

use super::request::{Fields, Request};
use super::spec::{HostMatch, PathMatch, RouteSpec};
use super::value::ValueMatch;
use super::{RouteTable, any_cookie};

/// What became of each thing that a route asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Empty when the route takes every request.
    pub checks: Vec<Check>,
}

/// One thing that a route asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What it looks at.
    pub subject: Subject,
    /// What it wants, as the configuration has it.
    pub wanted: String,
    /// What the request has there; `None`: nothing.
    pub found: Option<String>,
    /// Whether that will do.
    pub holds: bool,
}

/// A part of a request that a route looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The host.
    Host,
    /// The path.
    Path,
    /// The method.
    Method,
    /// The header field of this name.
    Header(String),
    /// The cookie of this name.
    Cookie(String),
    /// The query parameter of this name.
    Query(String),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str("host"),
            Self::Path => f.write_str("path"),
            Self::Method => f.write_str("method"),
            Self::Header(name) => write!(f, "header {name}"),
            Self::Cookie(name) => write!(f, "cookie {name}"),
            Self::Query(name) => write!(f, "query {name}"),
        }
    }
}

impl Verdict {
    /// Holds `request` against everything that `spec` asks for, one after the other.
    pub fn of<F: Fields + ?Sized>(spec: &RouteSpec, request: &Request<'_, F>) -> Self {
        let mut checks = Vec::new();
        let mut check = |subject, wanted, found, alone: RouteSpec| {
            checks.push(Check { subject, wanted, found, holds: holds(alone, request) });
        };
        let any = RouteSpec::default;
        if spec.host != HostMatch::Any {
            let alone = RouteSpec { host: spec.host.clone(), ..any() };
            let found = request.host.map(str::to_owned);
            check(Subject::Host, spec.host.to_string(), found, alone);
        }
        if spec.path != PathMatch::Any {
            let alone = RouteSpec { path: spec.path.clone(), ..any() };
            check(Subject::Path, spec.path.to_string(), Some(request.path.to_owned()), alone);
        }
        if !spec.methods.is_empty() {
            let alone = RouteSpec { methods: spec.methods.clone(), ..any() };
            let found = Some(request.method.to_owned());
            check(Subject::Method, spec.methods.join(" or "), found, alone);
        }
        for (name, value) in &spec.headers {
            let alone = RouteSpec { headers: vec![(name.clone(), value.clone())], ..any() };
            let found = gathered(|test| request.fields.any(name, test));
            check(Subject::Header(name.clone()), value.to_string(), found, alone);
        }
        for (name, value) in &spec.cookies {
            let alone = RouteSpec { cookies: vec![(name.clone(), value.clone())], ..any() };
            let found = gathered(|test| any_cookie(request.fields, name, test));
            check(Subject::Cookie(name.clone()), value.to_string(), found, alone);
        }
        for (name, value) in &spec.query {
            let alone = RouteSpec { query: vec![(name.clone(), value.clone())], ..any() };
            let found = gathered(|test| request.any_parameter(name, test));
            check(Subject::Query(name.clone()), value.to_string(), found, alone);
        }
        Self { checks }
    }

    /// Whether the route takes the request, if no other does.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.checks.iter().all(|check| check.holds)
    }

    /// How many things are missing.
    #[must_use]
    pub fn failures(&self) -> usize {
        self.checks.iter().filter(|check| !check.holds).count()
    }
}

/// Asks a table that holds nothing else, so that there is one meaning of every match.
fn holds<F: Fields + ?Sized>(alone: RouteSpec, request: &Request<'_, F>) -> bool {
    RouteTable::compile([alone]).is_ok_and(|table| table.lookup(request).is_some())
}

/// Every value there is, in one line.
fn gathered(any: impl FnOnce(&mut dyn FnMut(&[u8]) -> bool) -> bool) -> Option<String> {
    let mut values: Vec<String> = Vec::new();
    any(&mut |value| {
        values.push(String::from_utf8_lossy(value).into_owned());
        false
    });
    (!values.is_empty()).then(|| values.join(", "))
}

impl fmt::Display for HostMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::Exact(name) => f.write_str(name),
            Self::Wildcard(suffix) => write!(f, "*.{suffix}"),
        }
    }
}

/// As in the configuration.
impl fmt::Display for PathMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::Exact(path) => write!(f, "={path}"),
            Self::Prefix(path) => f.write_str(path),
            Self::Regex(pattern) => write!(f, "~{pattern}"),
        }
    }
}

impl fmt::Display for ValueMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Present => f.write_str("there"),
            Self::Absent => f.write_str("not there"),
            Self::Exact(text) => f.write_str(text),
            Self::Prefix(text) => write!(f, "{text}…"),
            Self::Regex(text) => write!(f, "~{text}"),
        }
    }
}
