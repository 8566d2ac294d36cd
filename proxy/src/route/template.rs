//! Paths with parameters: `/users/{id}/orders`.
//!
//! A path is cut where its parameters are. From each node a trie of the text up to the next
//! parameter leads on; the parameter itself is one segment that is not empty. What stands behind
//! the last parameter is compared whole, or is a prefix of bytes as any other.

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use super::candidate::{Candidates, CandidatesBuilder};
use super::error::RouteError;
use super::spec::{RouteSpec, is_parameter};
use super::trie::Trie;

/// Matches of one path that are held without an allocation.
const FEW: usize = 8;

/// Paths with parameters of one host.
#[derive(Debug)]
pub(super) struct Templates {
    /// The root comes first; no parameter is before it.
    nodes: Box<[Node]>,
}

/// What can follow a parameter.
#[derive(Debug)]
struct Node {
    /// Text up to the next parameter, and the node behind that.
    next: Trie<u32>,
    whole: FxHashMap<Box<[u8]>, Candidates>,
    /// With their lengths.
    prefixes: Trie<(usize, Candidates)>,
}

/// Routes whose path matches.
pub(super) struct TemplateMatch<'t> {
    /// Bytes of the path that are matched; whole paths come before every prefix.
    pub(super) len: usize,
    parameters: usize,
    pub(super) candidates: &'t Candidates,
}

/// All matches of a path, the most specific first.
pub(super) type TemplateMatches<'t> = SmallVec<[TemplateMatch<'t>; FEW]>;

impl Templates {
    pub(super) fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Everything that matches `path`: whole paths, then the longest prefix, then fewer parameters,
    /// then the one whose first parameter that differs comes later.
    pub(super) fn matches(&self, path: &[u8]) -> TemplateMatches<'_> {
        let mut found = SmallVec::new();
        if let Some(root) = self.nodes.first() {
            self.descend(root, path, 0, 0, &mut found);
        }
        // Stable: longer text before a parameter was followed first.
        found.sort_by_key(|found| (usize::MAX - found.len, found.parameters));
        found
    }

    fn descend<'t>(
        &'t self,
        node: &'t Node,
        path: &[u8],
        at: usize,
        parameters: usize,
        found: &mut TemplateMatches<'t>,
    ) {
        let rest = &path[at..];
        if let Some(candidates) = node.whole.get(rest) {
            found.push(TemplateMatch { len: usize::MAX, parameters, candidates });
        }
        for (len, candidates) in node.prefixes.prefixes_of(rest) {
            found.push(TemplateMatch { len: at + len, parameters, candidates });
        }
        for (len, next) in node.next.prefixes_with_lengths(rest) {
            let begin = at + len;
            let segment = &path[begin..];
            let end = begin + memchr::memchr(b'/', segment).unwrap_or(segment.len());
            if end > begin {
                self.descend(&self.nodes[*next as usize], path, end, parameters + 1, found);
            }
        }
    }
}

/// Collects paths with parameters.
#[derive(Debug, Default)]
pub(super) struct TemplatesBuilder {
    nodes: Vec<NodeBuilder>,
}

#[derive(Debug, Default)]
struct NodeBuilder {
    next: FxHashMap<String, u32>,
    whole: FxHashMap<String, CandidatesBuilder>,
    prefixes: FxHashMap<String, CandidatesBuilder>,
}

impl TemplatesBuilder {
    /// Whether a path belongs here.
    pub(super) fn takes(path: &str) -> bool {
        path.split('/').any(is_parameter)
    }

    /// Adds a path, which has parameters. `whole`: it is no prefix.
    pub(super) fn add(
        &mut self,
        index: usize,
        spec: &RouteSpec,
        path: &str,
        whole: bool,
    ) -> Result<(), RouteError> {
        if self.nodes.is_empty() {
            self.nodes.push(NodeBuilder::default());
        }
        let mut node = 0;
        let mut text = String::new();
        for segment in path.split('/').skip(1) {
            text.push('/');
            if !is_parameter(segment) {
                text.push_str(segment);
                continue;
            }
            let text = std::mem::take(&mut text);
            let fresh = u32::try_from(self.nodes.len()).expect("fewer than 2^32 parameters");
            let next = *self.nodes[node].next.entry(text).or_insert(fresh);
            if next == fresh {
                self.nodes.push(NodeBuilder::default());
            }
            node = next as usize;
        }
        let node = &mut self.nodes[node];
        let ends = if whole { &mut node.whole } else { &mut node.prefixes };
        ends.entry(text).or_default().add(index, spec)
    }

    pub(super) fn build(self) -> Templates {
        let nodes = self.nodes.into_iter().map(|node| Node {
            next: node.next.into_iter().map(|(text, next)| (text.into_bytes(), next)).collect(),
            whole: built(node.whole).map(|(text, found)| (text.into(), found)).collect(),
            prefixes: built(node.prefixes)
                .map(|(text, found)| {
                    let len = text.len();
                    (text, (len, found))
                })
                .collect(),
        });
        Templates { nodes: nodes.collect() }
    }
}

fn built(
    ends: FxHashMap<String, CandidatesBuilder>,
) -> impl Iterator<Item = (Vec<u8>, Candidates)> {
    ends.into_iter().filter_map(|(text, candidates)| Some((text.into_bytes(), candidates.build()?)))
}
