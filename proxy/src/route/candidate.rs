//! Routes with the same host and path, told apart by their constraints.

use std::cmp::Reverse;

use super::query;
use super::spec::RouteSpec;

/// What constraints are held against.
pub(super) struct Request<'r, H> {
    pub(super) method: &'r str,
    pub(super) header: H,
    pub(super) query: Option<&'r str>,
}

/// Routes of one host and path, the one with most constraints first.
#[derive(Debug)]
pub(super) struct Candidates(Box<[Candidate]>);

#[derive(Debug)]
struct Candidate {
    route: usize,
    methods: Box<[String]>,
    headers: Box<[(String, String)]>,
    query: Box<[(String, String)]>,
}

impl Candidates {
    /// The first route whose constraints hold.
    #[inline]
    pub(super) fn first_match<'h, H>(&self, request: &Request<'_, H>) -> Option<usize>
    where
        H: Fn(&str) -> Option<&'h [u8]>,
    {
        self.0.iter().find(|candidate| candidate.holds(request)).map(|candidate| candidate.route)
    }
}

impl Candidate {
    #[inline]
    fn holds<'h, H>(&self, request: &Request<'_, H>) -> bool
    where
        H: Fn(&str) -> Option<&'h [u8]>,
    {
        let method =
            self.methods.is_empty() || self.methods.iter().any(|method| method == request.method);
        method
            && self
                .headers
                .iter()
                .all(|(name, value)| (request.header)(name) == Some(value.as_bytes()))
            && self
                .query
                .iter()
                .all(|(name, value)| query::has(request.query.unwrap_or_default(), name, value))
    }

    /// Fewer comes first.
    fn rank(&self) -> (Reverse<usize>, usize, usize) {
        let constraints =
            usize::from(!self.methods.is_empty()) + self.headers.len() + self.query.len();
        (Reverse(constraints), self.methods.len(), self.route)
    }
}

/// Collects routes of one host and path.
#[derive(Debug, Default)]
pub(super) struct CandidatesBuilder(Vec<Candidate>);

impl CandidatesBuilder {
    pub(super) fn add(&mut self, route: usize, spec: &RouteSpec) {
        self.0.push(Candidate {
            route,
            methods: spec.methods.clone().into_boxed_slice(),
            headers: spec.headers.clone().into_boxed_slice(),
            query: spec.query.clone().into_boxed_slice(),
        });
    }

    /// `None` when there are no routes.
    pub(super) fn build(mut self) -> Option<Candidates> {
        self.0.sort_by_key(Candidate::rank);
        (!self.0.is_empty()).then(|| Candidates(self.0.into_boxed_slice()))
    }
}
