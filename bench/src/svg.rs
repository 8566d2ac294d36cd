//! Pictures as SVG: shapes and words in classes, whose colours follow the reader's
//! choice of a light or a dark page.

use std::fmt::Write;

const STYLE: &str = "
  svg { --page: #ffffff; --ink: #1f2328; --soft: #59636e; --grid: #d8dee4; --good: #1a7f37;
        --fair: #9a6700; --bad: #cf222e; --c0: #0969da; --c1: #bc4c00; --c2: #1a7f37; --c3: #8250df;
        --c4: #bf3989; }
  @media (prefers-color-scheme: dark) {
    svg { --page: #0d1117; --ink: #e6edf3; --soft: #9198a1; --grid: #2f363d; --good: #3fb950;
          --fair: #d29922; --bad: #f85149; --c0: #58a6ff; --c1: #f0883e; --c2: #3fb950; --c3: #bc8cff;
          --c4: #ff7bb0; } }
  .page { fill: var(--page); }
  text { font: 13px system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif; fill: var(--ink); }
  text.title { font-size: 17px; font-weight: 600; }
  text.head { font-weight: 600; }
  text.note { font-size: 12px; fill: var(--soft); }
  line { stroke-width: 1; stroke: var(--ink); }
  line.grid { stroke: var(--grid); }
  line.even { stroke: var(--soft); stroke-dasharray: 3 3; }
  line.goal { stroke: var(--ink); stroke-width: 2; }
  line.range { stroke-width: 5; stroke-linecap: round; stroke-opacity: 0.35; }
  line.good { stroke: var(--good); } line.fair { stroke: var(--fair); }
  line.bad { stroke: var(--bad); } line.plain { stroke: var(--soft); }
  circle.good { fill: var(--good); } circle.fair { fill: var(--fair); }
  circle.bad { fill: var(--page); stroke: var(--bad); stroke-width: 2.5; }
  circle.plain { fill: var(--soft); }
  polyline { fill: none; stroke-width: 2; }
  polyline.series0 { stroke: var(--c0); } circle.series0, text.series0 { fill: var(--c0); }
  polyline.series1 { stroke: var(--c1); } circle.series1, text.series1 { fill: var(--c1); }
  polyline.series2 { stroke: var(--c2); } circle.series2, text.series2 { fill: var(--c2); }
  polyline.series3 { stroke: var(--c3); } circle.series3, text.series3 { fill: var(--c3); }
  polyline.series4 { stroke: var(--c4); } circle.series4, text.series4 { fill: var(--c4); }
";

/// A picture that is drawn.
#[derive(Debug)]
pub(crate) struct Svg {
    text: String,
}

/// Which end of a text stands at its place.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

impl Svg {
    /// An empty page; `title` is what a screen reader says.
    pub(crate) fn new(width: f64, height: f64, title: &str) -> Self {
        let title = escaped(title);
        Self {
            text: format!(
                "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
                 width=\"{width}\" height=\"{height}\" role=\"img\">\n<title>{title}</title>\n\
                 <style>{STYLE}</style>\n\
                 <rect class=\"page\" width=\"{width}\" height=\"{height}\" rx=\"6\"/>\n"
            ),
        }
    }

    pub(crate) fn line(&mut self, class: &str, x1: f64, y1: f64, x2: f64, y2: f64) {
        self.push(format_args!(
            "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>"
        ));
    }

    pub(crate) fn circle(&mut self, class: &str, x: f64, y: f64, radius: f64) {
        self.push(format_args!(
            "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\"/>"
        ));
    }

    pub(crate) fn polyline(&mut self, class: &str, points: &[(f64, f64)]) {
        let points: Vec<_> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let points = points.join(" ");
        self.push(format_args!("<polyline class=\"{class}\" points=\"{points}\"/>"));
    }

    pub(crate) fn text(&mut self, class: &str, anchor: Anchor, x: f64, y: f64, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let text = escaped(text);
        self.push(format_args!(
            "<text class=\"{class}\" text-anchor=\"{anchor}\" x=\"{x:.1}\" y=\"{y:.1}\">{text}</text>"
        ));
    }

    /// The whole file.
    pub(crate) fn finish(mut self) -> String {
        self.text.push_str("</svg>\n");
        self.text
    }

    fn push(&mut self, shape: std::fmt::Arguments<'_>) {
        writeln!(self.text, "{shape}").expect("writing to a string does not fail");
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_escaped_and_shapes_closed() {
        let mut svg = Svg::new(10.0, 10.0, "a < b & c");
        svg.text("note", Anchor::End, 1.0, 2.0, "<script>");
        svg.polyline("series0", &[(0.0, 1.0), (2.0, 3.0)]);
        let text = svg.finish();
        assert!(text.contains("<title>a &lt; b &amp; c</title>"));
        assert!(text.contains(">&lt;script&gt;</text>"));
        assert!(text.contains("points=\"0.0,1.0 2.0,3.0\""));
        assert!(text.ends_with("</svg>\n"));
    }
}
