//! Routes with the same host and path, told apart by their constraints.

use super::error::RouteError;
use super::request::{Fields, Request};
use super::spec::RouteSpec;
use super::value::{ValueMatch, ValueTest};

/// Routes of one host and path, the most specific first.
#[derive(Debug)]
pub(super) struct Candidates(Box<[Candidate]>);

#[derive(Debug)]
struct Candidate {
    route: usize,
    /// `None`: every request will do.
    constraints: Option<Box<Constraints>>,
}

#[derive(Debug)]
struct Constraints {
    methods: Box<[String]>,
    headers: Tests,
    cookies: Tests,
    query: Tests,
}

type Tests = Box<[(String, ValueTest)]>;

impl Candidates {
    /// The first route whose constraints hold.
    #[inline]
    pub(super) fn first_match<F: Fields + ?Sized>(
        &self,
        request: &Request<'_, F>,
    ) -> Option<usize> {
        self.matches(request).next()
    }

    /// Every route whose constraints hold, the most specific first.
    #[inline]
    pub(super) fn matches<F: Fields + ?Sized>(
        &self,
        request: &Request<'_, F>,
    ) -> impl Iterator<Item = usize> {
        let holds = |candidate: &&Candidate| match &candidate.constraints {
            None => true,
            Some(constraints) => constraints.hold(request),
        };
        self.0.iter().filter(holds).map(|candidate| candidate.route)
    }
}

impl Constraints {
    fn of(index: usize, spec: &RouteSpec) -> Result<Self, RouteError> {
        let compile = |wanted: &[(String, ValueMatch)]| -> Result<Tests, RouteError> {
            let compiled = wanted.iter().map(|(name, value)| {
                let test = ValueTest::compile(value);
                let test = test.map_err(|error| RouteError::invalid_pattern(index, &error))?;
                Ok((name.clone(), test))
            });
            compiled.collect()
        };
        Ok(Self {
            methods: spec.methods.clone().into_boxed_slice(),
            headers: compile(&spec.headers)?,
            cookies: compile(&spec.cookies)?,
            query: compile(&spec.query)?,
        })
    }

    fn hold<F: Fields + ?Sized>(&self, request: &Request<'_, F>) -> bool {
        let method =
            self.methods.is_empty() || self.methods.iter().any(|method| method == request.method);
        method
            && self
                .headers
                .iter()
                .all(|(name, test)| test.holds(|any| request.fields.any(name, any)))
            && self
                .query
                .iter()
                .all(|(name, test)| test.holds(|any| request.any_parameter(name, any)))
            && self
                .cookies
                .iter()
                .all(|(name, test)| test.holds(|any| request.any_cookie(name, any)))
    }

    fn tests(&self) -> impl Iterator<Item = &ValueTest> {
        [&self.headers, &self.cookies, &self.query].into_iter().flatten().map(|(_, test)| test)
    }
}

impl Candidate {
    /// Fewer comes first: see the order at the top of [`super`].
    fn rank(&self) -> impl Ord + use<> {
        let Some(constraints) = &self.constraints else {
            return (usize::MAX, [0; 4], 0, self.route);
        };
        let asked = usize::from(!constraints.methods.is_empty()) + constraints.tests().count();
        let mut by_looseness = [usize::MAX; 4];
        constraints.tests().for_each(|test| by_looseness[test.looseness()] -= 1);
        (usize::MAX - asked, by_looseness, constraints.methods.len(), self.route)
    }
}

/// Collects routes of one host and path.
#[derive(Debug, Default)]
pub(super) struct CandidatesBuilder(Vec<Candidate>);

impl CandidatesBuilder {
    pub(super) fn add(&mut self, route: usize, spec: &RouteSpec) -> Result<(), RouteError> {
        let constraints = Constraints::of(route, spec)?;
        let asks = !constraints.methods.is_empty() || constraints.tests().next().is_some();
        self.0.push(Candidate { route, constraints: asks.then(|| Box::new(constraints)) });
        Ok(())
    }

    /// `None` when there are no routes.
    pub(super) fn build(mut self) -> Option<Candidates> {
        self.0.sort_by_key(Candidate::rank);
        (!self.0.is_empty()).then(|| Candidates(self.0.into_boxed_slice()))
    }
}
