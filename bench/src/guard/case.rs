//! The operations whose instructions are counted.
//!
//! A case prepares what it needs, then does its operation [`TIMES`] times in
//! [`counted`], whose cost callgrind collects. Each operation begins and ends
//! in the same state, as one in a long-running process does.

mod http;
mod route;
mod wire;

use anyhow::Context;

/// How often the operation is done while it is counted.
pub(crate) const TIMES: u32 = 1_000;
/// And before: buffers have grown to their size then.
const WARMUP_TIMES: u32 = 10;

/// A named operation.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// Prepares the operation.
    prepare: fn() -> Box<dyn FnMut()>,
}

impl Case {
    pub(crate) fn all() -> Vec<Self> {
        let case = |name, prepare| Self { name, prepare };
        vec![
            case("http1-request-small", http::small_request),
            case("http1-request-browser", http::browser_request),
            case("http1-response", http::response),
            case("route-lookup-10", || route::lookup(10)),
            case("route-lookup-10000", || route::lookup(10_000)),
            case("wire-query", wire::simple_query),
            case("wire-extended-query", wire::extended_query),
            case("wire-row-scan", wire::row_scan),
        ]
    }

    pub(crate) fn named(name: &str) -> anyhow::Result<Self> {
        Self::all()
            .into_iter()
            .find(|case| case.name == name)
            .with_context(|| format!("no case {name:?}"))
    }

    /// Does the operation as often as it takes.
    pub(crate) fn run(&self) {
        let mut operation = (self.prepare)();
        (0..WARMUP_TIMES).for_each(|_| operation());
        counted(&mut operation);
    }
}

/// What callgrind collects. A function of its own, and of one type, so that it
/// can be named.
#[inline(never)]
fn counted(operation: &mut dyn FnMut()) {
    for _ in 0..TIMES {
        operation();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_case_has_a_name_of_its_own_and_does_its_work() {
        let names: BTreeSet<_> = Case::all().iter().map(|case| case.name).collect();
        assert_eq!(names.len(), Case::all().len());
        for name in names {
            Case::named(name).unwrap().run();
        }
        assert!(Case::named("none").is_err());
    }
}
