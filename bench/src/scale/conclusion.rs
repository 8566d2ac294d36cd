//! What the counts of a study come to.

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};

use super::{Point, Series, Study};
use crate::document;
use crate::fit::Shape;
use crate::svg::{Anchor, Svg};

/// How far beyond what was counted a curve is followed.
const BEYOND: f64 = 10.0;

/// The picture: where its lanes are, how high, and for how many powers of ten.
const WIDTH: f64 = 760.0;
const LEFT: f64 = 120.0;
const RIGHT: f64 = 560.0;
const TOP: f64 = 66.0;
const LANE: f64 = 60.0;
const DECADES: i32 = 4;
/// The top of a lane, unless something costs more: small growth is to look small.
const LEAST_HIGH: f64 = 1.10;

impl Study {
    /// For a terminal.
    pub(super) fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(UTF8_FULL_CONDENSED).set_header(HEADER);
        for line in self.lines() {
            table.add_row(line);
        }
        for column in 1..table.column_count() {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table.to_string()
    }

    /// For a document.
    pub(super) fn markdown(&self) -> String {
        let table = document::table(&HEADER.map(str::to_owned), &self.lines(), 1);
        let sentences: Vec<_> = self.conclusions().iter().map(|s| format!("- {s}\n")).collect();
        format!(
            "bs9 {}, {}, Linux {}.\n\n{table}\n{}",
            self.bs9,
            self.machine.system,
            self.machine.kernel,
            sentences.concat()
        )
    }

    fn lines(&self) -> Vec<Vec<String>> {
        self.series.iter().map(Series::line).collect()
    }

    /// In words, and what they mean for more than was counted.
    pub(super) fn conclusions(&self) -> Vec<String> {
        self.series.iter().map(Series::conclusion).collect()
    }

    /// A lane for each dimension: cost at each size over the cost at 1, all on one scale.
    pub(super) fn svg(&self) -> String {
        let ratios =
            self.series.iter().flat_map(|s| s.points.iter().map(|p| p.instructions / s.first()));
        let highest = ratios.fold(LEAST_HIGH, f64::max);
        let bottom = TOP + self.series.len() as f64 * LANE;
        let x = |size: f64| LEFT + size.log10() / f64::from(DECADES) * (RIGHT - LEFT);

        let mut svg = Svg::new(WIDTH, bottom + 40.0, "What a request costs as things grow");
        svg.text("title", Anchor::Start, 16.0, 30.0, "Instructions of a request as things grow");
        let scale = format!(
            "bs9's own code. The dashed line is the cost with one; a lane is {:.0} % high.",
            (highest - 1.0) * 100.0
        );
        svg.text("note", Anchor::Start, 16.0, 50.0, &scale);
        for size in (0..=DECADES).map(|decade| 10f64.powi(decade)) {
            svg.line("grid", x(size), TOP, x(size), bottom);
            svg.text("note", Anchor::Middle, x(size), bottom + 20.0, &grouped(size));
        }
        for (number, series) in self.series.iter().enumerate() {
            let floor = TOP + (number + 1) as f64 * LANE - 12.0;
            let y = |ratio: f64| floor - (ratio - 1.0) / (highest - 1.0) * (LANE - 20.0);
            let class = format!("series{number}");
            svg.line("even", LEFT, floor, RIGHT, floor);
            let points: Vec<_> = series
                .points
                .iter()
                .map(|p| (x(p.size as f64), y(p.instructions / series.first())))
                .collect();
            svg.polyline(&class, &points);
            points.iter().for_each(|(x, y)| svg.circle(&class, *x, *y, 4.0));
            svg.text("head", Anchor::Start, 16.0, floor - 4.0, series.name);
            // To a tenth of a percent; adding zero takes the sign off a zero.
            let growth = ((series.last() / series.first() - 1.0) * 1000.0).round() / 10.0 + 0.0;
            let said = format!(
                "{} → {} ({growth:+.1} %)",
                grouped(series.first()),
                grouped(series.last())
            );
            svg.text("", Anchor::Start, RIGHT + 16.0, floor - 4.0, &said);
        }
        svg.finish()
    }
}

const HEADER: [&str; 7] = [
    "what grows",
    "counted at",
    "instructions of a request",
    "curve",
    "off by",
    "at ten times as many",
    "and each second, in thousands",
];

impl Series {
    fn first(&self) -> f64 {
        self.points.first().map_or(1.0, |point| point.instructions)
    }

    fn last(&self) -> f64 {
        self.points.last().map_or(1.0, |point| point.instructions)
    }

    fn most(&self) -> f64 {
        self.points.last().map_or(1.0, |point| point.size as f64)
    }

    fn line(&self) -> Vec<String> {
        let list = |value: fn(&Point) -> f64| {
            let values: Vec<_> = self.points.iter().map(|point| grouped(value(point))).collect();
            values.join(" · ")
        };
        let curve = &self.curve;
        let base = grouped(curve.base);
        vec![
            self.about.to_owned(),
            list(|point| point.size as f64),
            list(|point| point.instructions),
            match curve.shape {
                Shape::Constant => base,
                Shape::Logarithmic => format!("{base} + {:.1} · log₂ n", curve.slope),
                Shape::Linear => format!("{base} + {:.3} · n", curve.slope),
            },
            format!("{:.1} %", curve.error / curve.base.abs().max(1.0) * 100.0),
            grouped(curve.at(self.most() * BEYOND)),
            list(|point| point.instructions_per_second / 1e3),
        ]
    }

    fn conclusion(&self) -> String {
        let (name, curve, most) = (self.name, &self.curve, self.most());
        let beyond = (curve.at(most * BEYOND) / self.first() - 1.0) * 100.0;
        let beyond = format!("{beyond:+.0} % at {}", grouped(most * BEYOND));
        let most = grouped(most);
        match curve.shape {
            Shape::Constant if name == "shards" => format!(
                "**shards**: constant up to {most}. Shards share nothing on the path of a request, so a larger machine \
                 serves as many times more as it has cores, until its network or kernel is the limit."
            ),
            Shape::Constant => format!(
                "**{name}**: constant up to {most}. How many there are costs memory, and nothing for each request."
            ),
            Shape::Logarithmic => format!(
                "**{name}**: with the logarithm, {:.0} instructions for each doubling: {beyond}. Of no concern on any machine.",
                curve.slope
            ),
            Shape::Linear => format!(
                "**{name}**: linear, {:.2} instructions for each: {beyond}. A larger machine with more of them pays \
                 for it with each request.",
                curve.slope
            ),
        }
    }
}

/// `12,345`.
fn grouped(number: f64) -> String {
    let digits = format!("{:.0}", number.abs());
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if number <= -0.5 { format!("−{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::Curve;
    use crate::machine::Machine;

    fn study(cost: fn(f64) -> f64) -> Study {
        let measured = [1.0, 10.0, 100.0, 1_000.0].map(|n| (n, cost(n)));
        let curve = Curve::through(&measured).unwrap();
        let point = |(size, instructions)| Point {
            size: size as usize,
            instructions,
            instructions_per_second: 5_000.0,
        };
        let points = measured.map(point).into();
        let series = Series { name: "routes", about: "routes", points, curve };
        Study { machine: Machine::describe(), bs9: "0.1.0".into(), series: vec![series] }
    }

    #[test]
    fn growth_is_told_in_words() {
        let said = |cost| study(cost).conclusions().concat();
        assert!(said(|_| 9_000.0).contains("constant up to 1,000"));
        assert!(said(|n| 9_000.0 + 90.0 * n.log2()).contains("90 instructions for each doubling"));
        let linear = said(|n| 9_000.0 + 9.0 * n);
        assert!(linear.contains("9.00 instructions for each: +999 % at 10,000"), "{linear}");
    }

    #[test]
    fn pictures_and_tables_name_what_was_counted() {
        let study = study(|n| 9_000.0 + 90.0 * n.log2());
        assert!(study.svg().contains(">routes<"));
        assert!(
            study.markdown().contains("| 9,000 · 9,299 · 9,598 · 9,897 |"),
            "{}",
            study.markdown()
        );
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(
            [0.4, 999.0, 1_000.0, 1_234_567.0].map(grouped),
            ["0", "999", "1,000", "1,234,567"]
        );
        assert_eq!(grouped(-1_500.0), "−1,500");
    }
}
