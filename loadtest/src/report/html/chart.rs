//! A chart as SVG: axes, lines, bars, and what a pointer is told.

use std::fmt::Write as _;

use super::scale::Scale;

/// The size of the paper; browsers scale it.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 260.0;
/// Room for labels around the plot.
const LEFT: f64 = 64.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 20.0;
const BOTTOM: f64 = 34.0;
/// Most places that tell a pointer something.
const MAX_HINTS: usize = 240;

/// A chart in the making. Colours are classes, which the page's style fills in.
pub(super) struct Chart {
    x: Scale,
    y: Scale,
    grid: String,
    layers: String,
    hints: Vec<Hint>,
}

/// What a pointer is told between two places.
struct Hint {
    from: f64,
    to: f64,
    text: String,
}

/// Text, so that it is nothing else in XML.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

impl Chart {
    /// Empty, with axes; `show_x` and `show_y` say how values are written.
    pub(super) fn new(
        (x, show_x): (Scale, &dyn Fn(f64) -> String),
        (y, show_y): (Scale, &dyn Fn(f64) -> String),
    ) -> Self {
        let x = x.over(LEFT, WIDTH - RIGHT);
        let y = y.over(HEIGHT - BOTTOM, TOP);
        let mut chart =
            Self { x, y, grid: String::new(), layers: String::new(), hints: Vec::new() };
        for value in y.ticks() {
            chart.horizontal(value, &show_y(value));
        }
        for value in x.ticks() {
            chart.label_below(value, &show_x(value));
        }
        chart
    }

    /// The same, where labels below stand at places of their own.
    pub(super) fn with_labels(
        x: Scale,
        labels: &[(f64, String)],
        (y, show_y): (Scale, &dyn Fn(f64) -> String),
    ) -> Self {
        let mut chart = Self::new((x, &|_| String::new()), (y, show_y));
        for (value, label) in labels {
            chart.label_below(*value, label);
        }
        chart
    }

    fn horizontal(&mut self, value: f64, label: &str) {
        let (y, right, at) = (self.y.place(value), WIDTH - RIGHT, LEFT - 8.0);
        let label = escaped(label);
        let _infallible = write!(
            self.grid,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
             <text class=\"label\" x=\"{at}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
            y + 4.0
        );
    }

    fn label_below(&mut self, value: f64, label: &str) {
        if label.is_empty() {
            return;
        }
        let (x, bottom, y) = (self.x.place(value), HEIGHT - BOTTOM, HEIGHT - BOTTOM + 18.0);
        // The outermost ones stay on the paper.
        let anchor = if x > WIDTH - RIGHT - 20.0 { "end" } else { "middle" };
        let label = escaped(label);
        let _infallible = write!(
            self.grid,
            "<line class=\"tick\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{bottom}\" y2=\"{}\"/>\
             <text class=\"label\" x=\"{x:.1}\" y=\"{y}\" text-anchor=\"{anchor}\">{label}</text>",
            bottom + 4.0
        );
    }

    /// Points joined by a line; a gap where there is none.
    pub(super) fn line(&mut self, class: &str, points: impl Iterator<Item = Option<(f64, f64)>>) {
        let mut path = String::new();
        let mut pen_down = false;
        let mut alone = None;
        for point in points.chain(std::iter::once(None)) {
            match point {
                Some((x, y)) => {
                    let command = if pen_down { 'L' } else { 'M' };
                    let (x, y) = (self.x.place(x), self.y.place(y));
                    let _infallible = write!(path, "{command}{x:.1} {y:.1}");
                    alone = (!pen_down).then_some((x, y));
                    pen_down = true;
                }
                None => {
                    // One point makes no line.
                    if let Some((x, y)) = alone.take() {
                        let _infallible = write!(
                            self.layers,
                            "<circle class=\"dot {class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.5\"/>"
                        );
                    }
                    pen_down = false;
                }
            }
        }
        let _infallible = write!(self.layers, "<path class=\"line {class}\" d=\"{path}\"/>");
    }

    /// The room under points.
    pub(super) fn area(&mut self, class: &str, points: &[(f64, f64)]) {
        let (Some(first), Some(last)) = (points.first(), points.last()) else { return };
        let base = self.y.base();
        let mut path = format!("M{:.1} {base:.1}", self.x.place(first.0));
        for &(x, y) in points {
            let _infallible = write!(path, "L{:.1} {:.1}", self.x.place(x), self.y.place(y));
        }
        let _infallible = write!(path, "L{:.1} {base:.1}Z", self.x.place(last.0));
        let _infallible = write!(self.layers, "<path class=\"area {class}\" d=\"{path}\"/>");
    }

    /// A bar over `from..to`, reaching from one value to another.
    pub(super) fn bar(&mut self, class: &str, (from, to): (f64, f64), (low, high): (f64, f64)) {
        let (left, right) = (self.x.place(from), self.x.place(to));
        let (bottom, top) = (self.y.place(low), self.y.place(high));
        let gap = if right - left > 4.0 { 1.0 } else { 0.0 };
        let _infallible = write!(
            self.layers,
            "<rect class=\"bar {class}\" x=\"{:.1}\" y=\"{top:.1}\" width=\"{:.1}\" \
             height=\"{:.1}\"/>",
            left + gap / 2.0,
            (right - left - gap).max(0.5),
            (bottom - top).max(0.0),
        );
    }

    /// A line from top to bottom with a name.
    pub(super) fn mark(&mut self, class: &str, at: f64, name: &str) {
        let (x, bottom) = (self.x.place(at), HEIGHT - BOTTOM);
        let near_the_end = x > WIDTH - RIGHT - 70.0;
        let (anchor, text_x) = if near_the_end { ("end", x - 4.0) } else { ("start", x + 4.0) };
        let name = escaped(name);
        let _infallible = write!(
            self.layers,
            "<line class=\"mark {class}\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{bottom}\"/>\
             <text class=\"label {class}\" x=\"{text_x:.1}\" y=\"{}\" text-anchor=\"{anchor}\">{name}</text>",
            TOP - 6.0,
        );
    }

    /// Tells a pointer something between two places.
    pub(super) fn hint(&mut self, from: f64, to: f64, text: String) {
        self.hints.push(Hint { from, to, text });
    }

    /// The chart; `title` is for those who do not see it.
    pub(super) fn into_svg(self, title: &str) -> String {
        let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
        let title = escaped(title);
        let mut svg = format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\">{}{}\
             <line class=\"axis\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{bottom}\" y2=\"{bottom}\"/>",
            self.grid, self.layers
        );
        // Where there are many, several share one place: the last one speaks.
        let every = self.hints.len().div_ceil(MAX_HINTS).max(1);
        for hints in self.hints.chunks(every) {
            let (Some(first), Some(last)) = (hints.first(), hints.last()) else { continue };
            let (left, right) = (self.x.place(first.from), self.x.place(last.to));
            let _infallible = write!(
                svg,
                "<rect class=\"hint\" x=\"{left:.1}\" y=\"{TOP}\" width=\"{:.1}\" \
                 height=\"{}\"><title>{}</title></rect>",
                (right - left).max(0.5),
                bottom - TOP,
                escaped(&last.text)
            );
        }
        svg.push_str("</svg>");
        svg
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart() -> Chart {
        let show = |value: f64| format!("<{value}>");
        Chart::new((Scale::linear(0.0, 10.0), &show), (Scale::linear(0.0, 4.0), &show))
    }

    #[test]
    fn gaps_stay_gaps_and_lone_points_are_seen() {
        let mut chart = chart();
        let points = [Some((0.0, 1.0)), Some((1.0, 2.0)), None, Some((3.0, 2.0)), None];
        chart.line("a", points.into_iter());
        assert_eq!(chart.layers.matches('M').count(), 2);
        assert_eq!(chart.layers.matches("<circle").count(), 1);
    }

    #[test]
    fn texts_are_only_texts() {
        let mut chart = chart();
        chart.mark("s", 5.0, "a<b>&\"c\"");
        chart.hint(0.0, 1.0, "<script>".to_owned());
        let svg = chart.into_svg("<x>");
        assert!(svg.contains("a&lt;b&gt;&amp;&quot;c&quot;") && !svg.contains("<script>"), "{svg}");
        assert!(svg.contains("aria-label=\"&lt;x&gt;\""));
    }

    #[test]
    fn many_hints_share_places() {
        let mut chart = chart();
        (0..1_000).for_each(|at| {
            chart.hint(f64::from(at) / 100.0, f64::from(at + 1) / 100.0, String::new())
        });
        assert!(chart.into_svg("x").matches("class=\"hint\"").count() <= MAX_HINTS);
    }
}
