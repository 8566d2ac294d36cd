//! Dependencies in the language of Graphviz.

use std::fmt::Write as _;

use bs9_api::types::{Dependencies, DependencyKind, DependencyRelation};

use super::colour;

pub(super) fn draw(found: &Dependencies) -> String {
    let mut text = String::from(
        "digraph dependencies {\n  rankdir=LR;\n  node [style=filled, fontname=\"sans-serif\", fontcolor=white];\n  edge [fontname=\"sans-serif\", fontsize=10];\n",
    );
    for node in &found.nodes {
        let shape = match node.kind {
            DependencyKind::Service => "box",
            DependencyKind::Listener => "cds",
            DependencyKind::Database => "cylinder",
            DependencyKind::Unit => "component",
            DependencyKind::Outside => "ellipse",
        };
        let _infallible = writeln!(
            text,
            "  {} [label={}, shape={shape}, fillcolor=\"{}\"];",
            quoted(&node.id),
            quoted(&format!("{}\n{}", node.name, node.health.as_str())),
            colour(node.health)
        );
    }
    for edge in &found.edges {
        let style = match edge.kind {
            DependencyRelation::After | DependencyRelation::Wants => "dashed",
            DependencyRelation::Configured => "dotted",
            _ => "solid",
        };
        let _infallible = writeln!(
            text,
            "  {} -> {} [label={}, style={style}];",
            quoted(&edge.from),
            quoted(&edge.to),
            quoted(&format!("{}: {}", edge.source.as_str(), edge.detail))
        );
    }
    text.push_str("}\n");
    text
}

fn quoted(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("\"{text}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_and_edge_is_in_it_and_quotes_are_quoted() {
        let text = draw(&super::super::sample());
        assert_eq!(text.matches(" -> ").count(), 5, "{text}");
        assert!(text.contains("\"service:b<&\\\"\" [label"), "{text}");
        assert!(text.starts_with("digraph") && text.ends_with("}\n"));
    }
}
