//! Nodes and edges, and the circles in them.

use std::collections::{BTreeMap, BTreeSet};

use bs9_api::types::{
    DependencyEdge, DependencyHealth, DependencyKind, DependencyNode, DependencyRelation,
    DependencySource,
};

/// Edges that are kept at most.
const MAX_EDGES: usize = 20_000;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Graph {
    nodes: BTreeMap<String, DependencyNode>,
    edges: BTreeSet<DependencyEdge>,
}

/// The id of a node.
pub(super) fn id(kind: DependencyKind, name: &str) -> String {
    format!("{}:{name}", kind.as_str())
}

impl Graph {
    /// Adds a node, unless it is there.
    pub(super) fn node(&mut self, kind: DependencyKind, name: &str) -> &mut DependencyNode {
        let id = id(kind, name);
        self.nodes.entry(id.clone()).or_insert_with(|| DependencyNode {
            id,
            kind,
            name: name.to_owned(),
            health: DependencyHealth::Unknown,
            state: None,
            reason: None,
            addresses: Vec::new(),
        })
    }

    /// Adds an edge between nodes; one from a node to itself says nothing.
    pub(super) fn edge(
        &mut self,
        from: &str,
        to: &str,
        kind: DependencyRelation,
        source: DependencySource,
        detail: impl Into<String>,
    ) {
        if from != to && self.edges.len() < MAX_EDGES {
            self.edges.insert(DependencyEdge {
                from: from.to_owned(),
                to: to.to_owned(),
                kind,
                source,
                detail: detail.into(),
            });
        }
    }

    /// Keeps what a node needs, and who needs it.
    pub(super) fn around(&mut self, center: &str) {
        let mut kept = self.reach(center, |edge| (&edge.from, &edge.to));
        kept.extend(self.reach(center, |edge| (&edge.to, &edge.from)));
        self.nodes.retain(|id, _| kept.contains(id));
        self.edges.retain(|edge| kept.contains(&edge.from) && kept.contains(&edge.to));
    }

    fn reach(
        &self,
        center: &str,
        step: impl Fn(&DependencyEdge) -> (&String, &String),
    ) -> BTreeSet<String> {
        let mut reached = BTreeSet::from([center.to_owned()]);
        let mut next = vec![center.to_owned()];
        while let Some(id) = next.pop() {
            for (from, to) in self.edges.iter().map(&step) {
                if *from == id && reached.insert(to.clone()) {
                    next.push(to.clone());
                }
            }
        }
        reached
    }

    /// Groups of nodes that need each other in a circle; an order of starts is no need.
    pub(super) fn cycles(&self) -> Vec<Vec<String>> {
        let needs = |edge: &&DependencyEdge| edge.kind != DependencyRelation::After;
        let mut left: BTreeSet<String> = self.nodes.keys().cloned().collect();
        let reachable = |from: &str| {
            let mut reached = BTreeSet::new();
            let mut next = vec![from.to_owned()];
            while let Some(id) = next.pop() {
                for edge in self.edges.iter().filter(needs).filter(|edge| edge.from == id) {
                    if reached.insert(edge.to.clone()) {
                        next.push(edge.to.clone());
                    }
                }
            }
            reached
        };
        let mut cycles = Vec::new();
        while let Some(id) = left.pop_first() {
            let from_here = reachable(&id);
            if !from_here.contains(&id) {
                continue;
            }
            let circle: Vec<String> =
                from_here.into_iter().filter(|other| reachable(other).contains(&id)).collect();
            for other in &circle {
                left.remove(other);
            }
            cycles.push(circle);
        }
        cycles
    }

    pub(super) fn into_parts(self) -> (Vec<DependencyNode>, Vec<DependencyEdge>) {
        (self.nodes.into_values().collect(), self.edges.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(edges: &[(&str, &str, DependencyRelation)]) -> Graph {
        let mut graph = Graph::default();
        for (from, to, kind) in edges {
            for name in [from, to] {
                graph.node(DependencyKind::Service, name);
            }
            let id = |name: &str| id(DependencyKind::Service, name);
            graph.edge(&id(from), &id(to), *kind, DependencySource::Socket, "");
        }
        graph
    }

    #[test]
    fn circles_are_told_once_and_an_order_is_none() {
        use bs9_api::types::DependencyRelation::{After, Connects};
        let edges = [("a", "b", Connects), ("b", "c", Connects), ("c", "a", Connects)];
        let found = graph(&edges).cycles();
        assert_eq!(found, [["service:a", "service:b", "service:c"]]);
        assert!(graph(&[("a", "b", Connects), ("b", "a", After)]).cycles().is_empty());
        assert!(graph(&[("a", "a", Connects)]).cycles().is_empty());
        let two = [
            ("a", "b", Connects),
            ("b", "a", Connects),
            ("c", "d", Connects),
            ("d", "c", Connects),
        ];
        assert_eq!(graph(&two).cycles().len(), 2);
    }

    #[test]
    fn around_a_node_is_what_it_needs_and_who_needs_it() {
        use bs9_api::types::DependencyRelation::Connects;
        let mut graph = graph(&[
            ("a", "b", Connects),
            ("b", "c", Connects),
            ("d", "c", Connects),
            ("e", "f", Connects),
        ]);
        graph.around("service:b");
        let (nodes, edges) = graph.into_parts();
        let names: Vec<_> = nodes.iter().map(|node| node.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "c"]);
        assert_eq!(edges.len(), 2);
    }
}
