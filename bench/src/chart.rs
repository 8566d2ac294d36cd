//! The ratios of a run as a picture: for each row and peer the median with its
//! range, and the goal.

use std::path::Path;

use crate::figures::{Comparison, Figures, Ratio, Row, Verdict};
use crate::svg::{Anchor, Svg};

const WIDTH: f64 = 900.0;
/// Where the ratios are drawn.
const LEFT: f64 = 215.0;
const RIGHT: f64 = 640.0;
const TOP: f64 = 108.0;
const LINE: f64 = 22.0;
const GAP: f64 = 14.0;
/// The ratios at the edges; what lies outside is drawn at the edge, with an arrow.
const LEAST: f64 = 0.25;
const MOST: f64 = 2.0;
const TICKS: [f64; 7] = [0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0];

/// A line of the picture.
#[derive(Debug)]
struct Lane {
    label: String,
    ratio: Option<Ratio>,
    goal: Option<f64>,
    verdict: Option<Verdict>,
    said: String,
}

/// Draws the report in the file `json`.
pub(crate) fn draw(json: &Path) -> anyhow::Result<String> {
    Ok(Figures::read(json)?.svg())
}

impl Figures {
    fn svg(&self) -> String {
        let lanes: Vec<Vec<Lane>> = self.rows.iter().map(Row::lanes).collect();
        let lines: usize = lanes.iter().map(|lanes| lanes.len() + 1).sum();
        let bottom = TOP + lines as f64 * LINE + lanes.len() as f64 * GAP;
        let mut svg = Svg::new(WIDTH, bottom + 44.0, "bs9 over its peers, row by row");
        self.head(&mut svg, bottom);
        let mut y = TOP;
        for (row, lanes) in self.rows.iter().zip(&lanes) {
            y += LINE;
            svg.text("head", Anchor::Start, 16.0, y, &row.name);
            svg.text("note", Anchor::Start, LEFT, y, &row.figure());
            for lane in lanes {
                y += LINE;
                lane.draw(&mut svg, y);
            }
            y += GAP;
        }
        let machine = &self.machine;
        let day = self.began_at.split('T').next().unwrap_or_default();
        let below = format!(
            "{day} · {} · {}, Linux {} · {} rounds of {} s, medians with their ranges",
            machine.cpu, machine.system, machine.kernel, self.rounds, self.measured_seconds
        );
        svg.text("note", Anchor::Start, 16.0, bottom + 28.0, &below);
        svg.finish()
    }

    fn head(&self, svg: &mut Svg, bottom: f64) {
        svg.text("title", Anchor::Start, 16.0, 30.0, "bs9 over its peers");
        svg.text(
            "note",
            Anchor::Start,
            16.0,
            50.0,
            "Our figure over theirs, in one run: left of 1 we need less.",
        );
        let mut x = 16.0;
        for (class, word, width) in [
            ("good", "goal met", 78.0),
            ("fair", "milestone met", 108.0),
            ("bad", "missed", 68.0),
            ("plain", "no goal", 70.0),
        ] {
            svg.circle(class, x + 5.0, 66.0, 5.0);
            svg.text("note", Anchor::Start, x + 15.0, 70.0, word);
            x += width + 12.0;
        }
        svg.line("goal", x + 4.0, 59.0, x + 4.0, 73.0);
        svg.text("note", Anchor::Start, x + 12.0, 70.0, "goal");
        for tick in TICKS {
            let at = place(tick);
            svg.line(if tick == 1.0 { "even" } else { "grid" }, at, TOP - 6.0, at, bottom);
            svg.text("note", Anchor::Middle, at, TOP - 12.0, &format!("{tick}"));
        }
    }
}

impl Row {
    fn figure(&self) -> String {
        let unit = &self.unit;
        match self.measure.as_str() {
            "cpu" => format!("CPU time of a {unit}"),
            "cpu_at_same_rate" => format!("CPU time of a {unit}, at the same rate"),
            "p99" => format!("p99 of a {unit}"),
            "memory" => format!("memory of a {unit}"),
            _ => format!("time of a {unit}"),
        }
    }

    fn lanes(&self) -> Vec<Lane> {
        let peers = self.comparisons.iter().map(|comparison| {
            let Comparison { peer, ratio, goal, verdict } = comparison;
            let version = self.contenders.iter().find(|c| c.name == *peer).map(|c| &c.version);
            let version = version.and_then(|v| v.split(['-', '+']).next()).unwrap_or_default();
            let said = ratio
                .map_or_else(|| "no ratio: see the table".to_owned(), |ratio| ratio.to_string());
            let label = format!("{peer} {version}");
            Lane {
                label,
                ratio: *ratio,
                goal: goal.as_ref().map(|g| g.most),
                verdict: *verdict,
                said,
            }
        });
        let own = self.limit.iter().map(|limit| {
            let over = limit.value.map(|value| Ratio {
                median: value.median / limit.most,
                low: value.low / limit.most,
                high: value.high / limit.most,
            });
            let most = self.amount(limit.most);
            let said = limit.value.map_or_else(
                || format!("not measured, ≤ {most}"),
                |value| format!("{} of {most}", self.amount(value.median)),
            );
            Lane {
                label: "own limit".into(),
                ratio: over,
                goal: Some(1.0),
                verdict: limit.verdict,
                said,
            }
        });
        let missing = self.missing.iter().map(|why| {
            let (name, _) = why.split_once(':').unwrap_or((why, ""));
            Lane {
                label: name.to_owned(),
                ratio: None,
                goal: None,
                verdict: None,
                said: "not in this run".into(),
            }
        });
        peers.chain(own).chain(missing).collect()
    }

    fn amount(&self, value: f64) -> String {
        match self.measure.as_str() {
            "memory" => format!("{:.1} KiB", value / 1024.0),
            _ => format!("{:.1} ms", value * 1e3),
        }
    }
}

impl Lane {
    fn draw(&self, svg: &mut Svg, y: f64) {
        let middle = y - 4.0;
        let class = match self.verdict {
            Some(Verdict::GoalMet) => "good",
            Some(Verdict::MilestoneMet) => "fair",
            Some(Verdict::Missed) => "bad",
            None => "plain",
        };
        svg.text("", Anchor::Start, 28.0, y, &self.label);
        svg.line("grid", LEFT, middle, RIGHT, middle);
        if let Some(Ratio { median, low, high }) = self.ratio {
            svg.line(&format!("range {class}"), place(low), middle, place(high), middle);
            if median < LEAST {
                svg.text("beyond", Anchor::End, LEFT - 6.0, y, "◂");
            } else if median > MOST {
                svg.text("beyond", Anchor::Start, RIGHT + 4.0, y, "▸");
            }
            svg.circle(class, place(median), middle, 5.0);
        }
        if let Some(goal) = self.goal {
            svg.line("goal", place(goal), middle - 8.0, place(goal), middle + 8.0);
        }
        let goal = self.goal.filter(|goal| *goal != 1.0 || self.label != "own limit");
        let goal = goal.map_or_else(String::new, |goal| format!("  goal ≤ {goal:.2}"));
        svg.text("", Anchor::Start, RIGHT + 18.0, y, &self.said);
        svg.text("note", Anchor::End, WIDTH - 16.0, y, goal.trim());
    }
}

/// On a logarithmic scale: half and double are as far from 1.
fn place(ratio: f64) -> f64 {
    let part = (ratio.clamp(LEAST, MOST) / LEAST).ln() / (MOST / LEAST).ln();
    LEFT + part * (RIGHT - LEFT)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = r#"{
        "schema": 3, "began_at": "2026-11-21T05:00:00Z", "rounds": 3, "measured_seconds": 3.0,
        "machine": { "cpu": "Some CPU", "kernel": "6.18", "system": "Debian", "memory_bytes": 1 },
        "rows": [
          { "name": "http-keepalive", "about": "x", "measure": "cpu", "unit": "request", "missing": ["caddy: none"],
            "contenders": [{ "name": "bs9", "version": "0.1.0" }, { "name": "nginx", "version": "1.22.1-9" }],
            "comparisons": [
              { "peer": "nginx", "ratio": { "median": 0.75, "low": 0.7, "high": 0.9 },
                "goal": { "most": 0.8, "milestone": null }, "verdict": "goal_met" },
              { "peer": "haproxy", "ratio": null, "goal": { "most": 0.8, "milestone": null }, "verdict": null }],
            "limit": null },
          { "name": "start", "about": "x", "measure": "time", "unit": "start", "missing": [],
            "contenders": [], "comparisons": [],
            "limit": { "most": 0.05, "value": { "median": 0.0125, "low": 0.01, "high": 0.02 }, "verdict": "goal_met" } }]
    }"#;

    #[test]
    fn every_row_peer_and_refusal_is_in_the_picture() {
        let figures: Figures = serde_json::from_str(REPORT).unwrap();
        let svg = figures.svg();
        for said in [
            "http-keepalive",
            "nginx 1.22.1<",
            "0.75 (0.70–0.90)",
            "goal ≤ 0.80",
            "no ratio",
            "caddy",
            "not in this run",
            "12.5 ms of 50.0 ms",
            "2026-11-21 · Some CPU",
        ] {
            assert!(svg.contains(said), "{said}: {svg}");
        }
    }

    #[test]
    fn the_scale_is_logarithmic_and_ends() {
        let [half, even, double] = [0.5, 1.0, 2.0].map(place);
        assert!(((even - half) - (double - even)).abs() < 1e-9);
        assert_eq!(place(99.0), RIGHT);
        assert_eq!(place(0.0), LEFT);
    }
}
