//! Regular expressions on paths.
//!
//! All expressions of a host are one automaton, which is built as requests need it. It prefers the
//! expression that stands first, so that one pass over the path says which one that is, however
//! many there are. Only when none of the routes with that expression takes the request, a second
//! automaton says which others match, too.

use std::fmt;
use std::ops::ControlFlow;
use std::panic::{RefUnwindSafe, UnwindSafe};

use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::nfa::thompson::{self, NFA, WhichCaptures};
use regex_automata::util::pool::Pool;
use regex_automata::{Anchored, Input, MatchKind, PatternID, PatternSet};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Class, ClassBytes, ClassBytesRange, Hir, Look, Repetition};

use super::candidate::Candidates;
use super::error::RouteError;

/// Bytes one compiled expression may take.
const MAX_PATTERN_BYTES: usize = 1024 * 1024;
/// Bytes all expressions of one host may take.
const MAX_PATTERNS_BYTES: usize = 512 * 1024 * 1024;
/// Bytes of states that are kept; when they are full, building begins anew.
const CACHE_BYTES: usize = 16 * 1024 * 1024;

/// A parsed expression and the route that it came from first.
#[derive(Debug)]
pub(super) struct Pattern {
    index: usize,
    /// Begins where the path does.
    anchored: Hir,
}

impl Pattern {
    /// Parses the expression of route `index`.
    pub(super) fn parse(index: usize, text: &str) -> Result<Self, RouteError> {
        let parsed = ParserBuilder::new().utf8(false).build().parse(text);
        let parsed = parsed.map_err(|error| RouteError::invalid_pattern(index, &error))?;
        let begins = parsed.properties().look_set_prefix().contains(Look::Start);
        let anchored = if begins { parsed } else { Hir::concat(vec![anything_before(), parsed]) };
        compiler(MAX_PATTERN_BYTES)
            .build_from_hir(&anchored)
            .map_err(|error| RouteError::invalid_pattern(index, &error))?;
        Ok(Self { index, anchored })
    }
}

/// `(?s-u:.)*?`
fn anything_before() -> Hir {
    let every_byte = ClassBytes::new([ClassBytesRange::new(0, u8::MAX)]);
    let sub = Box::new(Hir::class(Class::Bytes(every_byte)));
    let repetition = Repetition { min: 0, max: None, greedy: false, sub };
    Hir::repetition(repetition)
}

fn compiler(limit: usize) -> thompson::Compiler {
    let mut compiler = thompson::Compiler::new();
    compiler.configure(
        thompson::Config::new()
            .utf8(false)
            .which_captures(WhichCaptures::None)
            .nfa_size_limit(Some(limit)),
    );
    compiler
}

/// Expressions in the order of the configuration.
pub(super) struct Patterns {
    automata: Automata,
    candidates: Box<[Candidates]>,
    scratch: Pool<Scratch, Maker>,
}

#[derive(Clone)]
struct Automata {
    /// Says which expression is the first that matches.
    first: DFA,
    /// Says all that match.
    all: DFA,
}

type Maker = Box<dyn Fn() -> Scratch + Send + Sync + UnwindSafe + RefUnwindSafe>;

/// What a search builds on: one for each shard.
struct Scratch {
    first: Cache,
    all: Option<(Cache, PatternSet)>,
}

impl fmt::Debug for Patterns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Patterns").field("candidates", &self.candidates).finish_non_exhaustive()
    }
}

impl Patterns {
    /// `None` when there are none.
    pub(super) fn compile(
        patterns: impl Iterator<Item = (Pattern, Candidates)>,
    ) -> Result<Option<Self>, RouteError> {
        let (patterns, candidates): (Vec<_>, Vec<_>) = patterns.unzip();
        let Some(index) = patterns.first().map(|pattern| pattern.index) else { return Ok(None) };
        let expressions: Vec<&Hir> = patterns.iter().map(|pattern| &pattern.anchored).collect();
        let automata = Automata::build(&expressions)
            .map_err(|error| RouteError::InvalidPattern { index, message: error })?;
        let own = automata.clone();
        let maker: Maker = Box::new(move || Scratch { first: own.first.create_cache(), all: None });
        let candidates = candidates.into_boxed_slice();
        Ok(Some(Self { automata, candidates, scratch: Pool::new(maker) }))
    }

    /// Calls `visit` with the routes of every expression found in `path`.
    pub(super) fn matching<R>(
        &self,
        path: &str,
        visit: &mut impl FnMut(&Candidates) -> ControlFlow<R>,
    ) -> ControlFlow<R> {
        let input = Input::new(path).anchored(Anchored::Yes);
        let mut scratch = self.scratch.get();
        // The search can only fail on bytes outside ASCII, which no path has.
        let Ok(Some(first)) = self.automata.first.try_search_fwd(&mut scratch.first, &input) else {
            return ControlFlow::Continue(());
        };
        visit(&self.candidates[first.pattern()])?;
        self.matching_after(first.pattern(), &input, &mut scratch, visit)
    }

    #[cold]
    fn matching_after<R>(
        &self,
        first: PatternID,
        input: &Input<'_>,
        scratch: &mut Scratch,
        visit: &mut impl FnMut(&Candidates) -> ControlFlow<R>,
    ) -> ControlFlow<R> {
        let all = &self.automata.all;
        let (cache, found) = scratch
            .all
            .get_or_insert_with(|| (all.create_cache(), PatternSet::new(self.candidates.len())));
        found.clear();
        if all.try_which_overlapping_matches(cache, input, found).is_err() {
            return ControlFlow::Continue(());
        }
        let mut others = found.iter().filter(|pattern| *pattern > first);
        others.try_for_each(|pattern| visit(&self.candidates[pattern]))
    }
}

impl Automata {
    fn build(expressions: &[&Hir]) -> Result<Self, String> {
        let nfa = compiler(MAX_PATTERNS_BYTES)
            .build_many_from_hir(expressions)
            .map_err(|error| error.to_string())?;
        Ok(Self {
            first: automaton(&nfa, MatchKind::LeftmostFirst)?,
            all: automaton(&nfa, MatchKind::All)?,
        })
    }
}

fn automaton(nfa: &NFA, kind: MatchKind) -> Result<DFA, String> {
    let config = DFA::config()
        .match_kind(kind)
        .cache_capacity(CACHE_BYTES)
        .skip_cache_capacity_check(true)
        .unicode_word_boundary(true);
    let built = DFA::builder().configure(config).build_from_nfa(nfa.clone());
    built.map_err(|error| error.to_string())
}
