//! Dependencies as a tree.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use bs9_api::types::{Dependencies, DependencyEdge, DependencyHealth, DependencyNode};

use crate::terminal::{BAD, FAINT, GOOD, NOTE, STRONG};

/// Levels of a tree that are drawn.
const MAX_DEPTH: usize = 32;

pub(super) fn draw(found: &Dependencies, center: Option<&str>) -> String {
    let mut tree = Tree { found, text: String::new(), drawn: BTreeSet::new() };
    if found.nodes.is_empty() {
        return "no services".to_owned();
    }
    let needed = |id: &str| found.edges.iter().any(|edge| edge.to == id && edge.from != id);
    let center = center.map(|name| format!("service:{name}"));
    if let Some(center) = &center {
        tree.root(center);
        let by: BTreeSet<&str> =
            found.edges.iter().filter(|e| e.to == *center).map(|e| e.from.as_str()).collect();
        if !by.is_empty() {
            let _infallible = writeln!(tree.text, "\n{STRONG}needed by{STRONG:#}");
            for from in by {
                let edges: Vec<_> =
                    found.edges.iter().filter(|e| e.from == from && e.to == *center).collect();
                let line = format!("  {}{}", tree.label(from), because(&edges));
                tree.text.push_str(&line);
                tree.text.push('\n');
            }
        }
        return tree.text;
    }
    for node in found.nodes.iter().filter(|node| !needed(&node.id)) {
        tree.root(&node.id);
    }
    // What is left is in circles.
    for node in &found.nodes {
        if !tree.drawn.contains(&node.id) {
            tree.root(&node.id);
        }
    }
    tree.text
}

struct Tree<'d> {
    found: &'d Dependencies,
    text: String,
    drawn: BTreeSet<String>,
}

impl Tree<'_> {
    fn root(&mut self, id: &str) {
        let line = self.label(id);
        self.text.push_str(&line);
        self.text.push('\n');
        self.drawn.insert(id.to_owned());
        self.below(id, "", &mut vec![id.to_owned()]);
    }

    fn below(&mut self, id: &str, margin: &str, above: &mut Vec<String>) {
        let targets: BTreeSet<&str> =
            self.found.edges.iter().filter(|e| e.from == id).map(|e| e.to.as_str()).collect();
        let last = targets.len().saturating_sub(1);
        for (nth, to) in targets.into_iter().enumerate() {
            let (branch, more) =
                if nth == last { ("└── ", "    ") } else { ("├── ", "│   ") };
            let edges: Vec<_> =
                self.found.edges.iter().filter(|e| e.from == id && e.to == to).collect();
            let circle = above.iter().any(|known| known == to);
            let again = !circle && self.drawn.contains(to);
            let mark = match (circle, again) {
                (true, _) => format!(" {NOTE}(circle){NOTE:#}"),
                (false, true) => format!(" {FAINT}(above){FAINT:#}"),
                (false, false) => String::new(),
            };
            let line = format!("{margin}{branch}{}{}{mark}\n", self.label(to), because(&edges));
            self.text.push_str(&line);
            if !circle && !again && above.len() < MAX_DEPTH {
                self.drawn.insert(to.to_owned());
                above.push(to.to_owned());
                self.below(to, &format!("{margin}{more}"), above);
                above.pop();
            }
        }
    }

    fn label(&self, id: &str) -> String {
        let Some(node) = self.found.nodes.iter().find(|node| node.id == id) else {
            return id.to_owned();
        };
        let style = match node.health {
            DependencyHealth::Good => GOOD,
            DependencyHealth::Degraded => NOTE,
            DependencyHealth::Bad => BAD,
            DependencyHealth::Unknown => FAINT,
        };
        let state = word(node);
        format!(
            "{style}●{style:#} {STRONG}{}{STRONG:#} {FAINT}{}{state}{FAINT:#}",
            node.name,
            node.kind.as_str()
        )
    }
}

fn word(node: &DependencyNode) -> String {
    let state = node.state.as_deref().map(|state| format!(", {state}")).unwrap_or_default();
    match (&node.reason, node.health) {
        (Some(reason), DependencyHealth::Bad | DependencyHealth::Degraded) => {
            format!("{state}: {}", reason.lines().next().unwrap_or_default())
        }
        _ => state,
    }
}

/// What says so, each with where.
fn because(edges: &[&DependencyEdge]) -> String {
    let all: Vec<String> = edges
        .iter()
        .map(|edge| format!("{} by {} {}", edge.kind.as_str(), edge.source.as_str(), edge.detail))
        .collect();
    format!(" {FAINT}← {}{FAINT:#}", all.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_ends_at_circles_and_says_why() {
        let text = draw(&super::super::sample(), None);
        let plain = anstream::adapter::strip_str(&text).to_string();
        let lines: Vec<_> = plain.lines().collect();
        assert_eq!(lines[0], "● web listener, running");
        assert_eq!(lines[1], "└── ● a service, running ← routes by proxy routes[0]");
        assert!(
            lines[2].contains("configured by environment B_URL; connects by socket"),
            "{plain}"
        );
        assert!(plain.contains("(circle)") && plain.contains("db:5432"), "{plain}");
        let text = draw(&super::super::sample(), Some("a"));
        assert!(text.contains("needed by"), "{text}");
    }
}
