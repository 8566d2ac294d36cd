//! Dependencies as a picture: columns from who is asked first to who is asked last.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use bs9_api::types::{Dependencies, DependencyEdge, DependencyRelation};

use super::colour;

const WIDTH: usize = 200;
const HEIGHT: usize = 44;
const GAP: (usize, usize) = (140, 26);
const MARGIN: usize = 20;
/// Letters of a label that fit.
const LETTERS: usize = 26;

pub(super) fn draw(found: &Dependencies) -> String {
    let columns = columns(found);
    let mut rows: BTreeMap<usize, usize> = BTreeMap::new();
    let mut places: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for node in &found.nodes {
        let column = columns.get(node.id.as_str()).copied().unwrap_or(0);
        let row = rows.entry(column).or_default();
        places.insert(
            &node.id,
            (MARGIN + column * (WIDTH + GAP.0), MARGIN + *row * (HEIGHT + GAP.1)),
        );
        *row += 1;
    }
    let wide = rows.keys().max().map_or(1, |column| column + 1);
    let high = rows.values().max().copied().unwrap_or(1);
    let size =
        (2 * MARGIN + wide * (WIDTH + GAP.0) - GAP.0, 2 * MARGIN + high * (HEIGHT + GAP.1) - GAP.1);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} {1}\" font-family=\"sans-serif\" font-size=\"12\">\n<defs><marker id=\"end\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" markerWidth=\"8\" markerHeight=\"8\" orient=\"auto\"><path d=\"M0 0L8 4L0 8z\" fill=\"#777\"/></marker></defs>\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
        size.0, size.1
    );
    for ((from, to), edges) in pairs(found) {
        if let (Some(from), Some(to)) = (places.get(from), places.get(to)) {
            text.push_str(&line(*from, *to, &edges));
        }
    }
    for node in &found.nodes {
        let Some((x, y)) = places.get(node.id.as_str()) else { continue };
        let why = node.reason.as_deref().unwrap_or_default();
        let _infallible = writeln!(
            text,
            "<g><title>{} {}</title><rect x=\"{x}\" y=\"{y}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" rx=\"6\" fill=\"{}\"/><text x=\"{}\" y=\"{}\" fill=\"white\" font-weight=\"bold\">{}</text><text x=\"{}\" y=\"{}\" fill=\"white\" font-size=\"10\">{} · {}</text></g>",
            escaped(&node.id),
            escaped(why),
            colour(node.health),
            x + 10,
            y + 19,
            escaped(&short(&node.name)),
            x + 10,
            y + 34,
            node.kind.as_str(),
            node.health.as_str(),
        );
    }
    text.push_str("</svg>\n");
    text
}

/// All edges between the same two, together.
fn pairs(found: &Dependencies) -> BTreeMap<(&str, &str), Vec<&DependencyEdge>> {
    let mut pairs: BTreeMap<(&str, &str), Vec<&DependencyEdge>> = BTreeMap::new();
    for edge in &found.edges {
        pairs.entry((&edge.from, &edge.to)).or_default().push(edge);
    }
    pairs
}

/// Each node stands right of all that need it, as far as circles let.
fn columns(found: &Dependencies) -> BTreeMap<&str, usize> {
    let mut columns: BTreeMap<&str, usize> =
        found.nodes.iter().map(|node| (node.id.as_str(), 0)).collect();
    let circle: BTreeMap<&str, usize> = found
        .cycles
        .iter()
        .enumerate()
        .flat_map(|(number, ids)| ids.iter().map(move |id| (id.as_str(), number)))
        .collect();
    // As many rounds as the longest way can have steps.
    for _ in 0..found.nodes.len() {
        let mut moved = false;
        for edge in found.edges.iter().filter(|edge| edge.kind != DependencyRelation::After) {
            let (from, to) = (edge.from.as_str(), edge.to.as_str());
            let together = circle.contains_key(from) && circle.get(from) == circle.get(to);
            let wanted = columns.get(from).copied().unwrap_or(0) + 1;
            if let Some(column) = columns.get_mut(to)
                && !together
                && *column < wanted
            {
                *column = wanted;
                moved = true;
            }
        }
        if !moved {
            break;
        }
    }
    columns
}

fn line(from: (usize, usize), to: (usize, usize), edges: &[&DependencyEdge]) -> String {
    let sources: BTreeSet<&str> = edges.iter().map(|edge| edge.source.as_str()).collect();
    let all: Vec<String> = edges
        .iter()
        .map(|edge| format!("{} by {}: {}", edge.kind.as_str(), edge.source.as_str(), edge.detail))
        .collect();
    let hard = edges.iter().any(|edge| {
        !matches!(edge.kind, DependencyRelation::After | DependencyRelation::Configured)
    });
    let dash = if hard { "" } else { " stroke-dasharray=\"4 3\"" };
    let (x1, y1) = (from.0 + WIDTH, from.1 + HEIGHT / 2);
    let (x2, y2) = (to.0, to.1 + HEIGHT / 2);
    let bend = GAP.0 / 2;
    let back = x2.saturating_sub(bend);
    format!(
        "<g><title>{}</title><path d=\"M{x1} {y1}C{} {y1} {back} {y2} {x2} {y2}\" fill=\"none\" stroke=\"#777\"{dash} marker-end=\"url(#end)\"/><text x=\"{}\" y=\"{}\" fill=\"#555\" font-size=\"9\" text-anchor=\"middle\">{}</text></g>\n",
        escaped(&all.join("\n")),
        x1 + bend,
        x1.midpoint(x2),
        y1.midpoint(y2) - 4,
        sources.into_iter().collect::<Vec<_>>().join(", "),
    )
}

fn short(name: &str) -> String {
    match name.chars().count() > LETTERS {
        true => name.chars().take(LETTERS - 1).chain(['…']).collect(),
        false => name.to_owned(),
    }
}

/// As text of XML.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_needed_stands_to_the_right_and_nothing_breaks_the_xml() {
        let sample = super::super::sample();
        let columns = columns(&sample);
        assert_eq!((columns["listener:web"], columns["service:a"]), (0, 1));
        assert_eq!(columns["outside:db:5432"], 1, "its only way leads through the circle");
        let text = draw(&sample);
        assert_eq!(text.matches("<path d=\"M").count(), 1 + 4, "one line for each pair: {text}");
        assert!(text.contains("b&lt;&amp;&quot;") && !text.contains("b<&"), "{text}");
        assert_eq!(text.matches("<g>").count(), text.matches("</g>").count());
    }
}
