//! The operations whose instructions are counted.
//!
//! A case prepares what it needs, then does its operation so many times in
//! [`counted`], whose cost callgrind collects. Each operation begins and ends in
//! the same state, as one in a long-running process does.

mod balance;
mod http;
mod route;
mod wire;

use std::hint::black_box;

use anyhow::Context;

/// How often the operation is done before it is counted: buffers have grown to their
/// size then.
const WARMUP_TIMES: u32 = 10;

/// The name of a case that allocates once, to see that allocations are seen.
pub(crate) const CONTROL: &str = "control";

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
            case("route-regex-10", || route::lookup_regex(10)),
            case("route-regex-10000", || route::lookup_regex(10_000)),
            case("route-parameters-10", || route::lookup_parameters(10)),
            case("route-parameters-10000", || route::lookup_parameters(10_000)),
            case("balance-p2c-10", || balance::pick("p2c", 10)),
            case("balance-round-robin-10", || balance::pick("round-robin", 10)),
            case("balance-weighted-10", || balance::pick("weighted-round-robin", 10)),
            case("balance-least-10", || balance::pick("least-connections", 10)),
            case("balance-peak-ewma-10", || balance::pick("peak-ewma", 10)),
            case("balance-random-10", || balance::pick("random", 10)),
            case("balance-maglev-10", || balance::pick("maglev", 10)),
            case("balance-ring-hash-10", || balance::pick("ring-hash", 10)),
            case("balance-p2c-1000", || balance::pick("p2c", 1_000)),
            case("wire-query", wire::simple_query),
            case("wire-extended-query", wire::extended_query),
            case("wire-row-scan", wire::row_scan),
        ]
    }

    pub(crate) fn named(name: &str) -> anyhow::Result<Self> {
        let control = Self {
            name: CONTROL,
            prepare: || Box::new(|| drop(black_box(Box::new(black_box(7u64))))),
        };
        Self::all()
            .into_iter()
            .chain([control])
            .find(|case| case.name == name)
            .with_context(|| format!("no case {name:?}"))
    }

    /// Does the operation so many times, after a warm-up.
    pub(crate) fn run(&self, times: u32) {
        let mut operation = (self.prepare)();
        (0..WARMUP_TIMES).for_each(|_| operation());
        counted(&mut operation, times);
    }
}

/// What callgrind collects. A function of its own, and of one type, so that it
/// can be named.
#[inline(never)]
fn counted(operation: &mut dyn FnMut(), times: u32) {
    for _ in 0..times {
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
            Case::named(name).unwrap().run(5);
        }
        assert!(Case::named("none").is_err());
    }
}
