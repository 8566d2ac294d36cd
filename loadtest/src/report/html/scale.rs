//! From values to places on paper, and what stands on the axes.

/// One axis.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    kind: Kind,
    least: f64,
    most: f64,
    /// Where they lie.
    start: f64,
    end: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Linear,
    /// By powers of ten.
    Logarithmic,
}

/// Room that a label needs, at least.
const LABELS_AT_MOST: usize = 7;

impl Scale {
    /// From `least` to `most`, evenly.
    pub(super) fn linear(least: f64, most: f64) -> Self {
        let most = if most > least { most } else { least + 1.0 };
        Self { kind: Kind::Linear, least, most, start: 0.0, end: 1.0 }
    }

    /// Each tenfold takes the same room. Both are more than zero.
    pub(super) fn logarithmic(least: f64, most: f64) -> Self {
        let least = least.max(1e-12);
        let most = if most > least { most } else { least * 10.0 };
        Self { kind: Kind::Logarithmic, least, most, start: 0.0, end: 1.0 }
    }

    /// The same from `start` to `end` on paper.
    pub(super) fn over(self, start: f64, end: f64) -> Self {
        Self { start, end, ..self }
    }

    /// Where a value lies; those out of range lie at the edge.
    pub(super) fn place(&self, value: f64) -> f64 {
        let part = match self.kind {
            Kind::Linear => (value - self.least) / (self.most - self.least),
            Kind::Logarithmic => {
                (value.max(self.least) / self.least).log10() / (self.most / self.least).log10()
            }
        };
        self.start + part.clamp(0.0, 1.0) * (self.end - self.start)
    }

    /// Where the least value lies.
    pub(super) fn base(&self) -> f64 {
        self.start
    }

    /// Round values to write on the axis.
    pub(super) fn ticks(&self) -> Vec<f64> {
        match self.kind {
            Kind::Linear => self.even_ticks(),
            Kind::Logarithmic => self.decade_ticks(),
        }
    }

    fn even_ticks(&self) -> Vec<f64> {
        let step = round_step((self.most - self.least) / LABELS_AT_MOST as f64);
        let first = (self.least / step).ceil();
        let mut ticks = Vec::new();
        let mut count = 0.0;
        while (first + count) * step <= self.most * (1.0 + 1e-9) {
            ticks.push((first + count) * step);
            count += 1.0;
        }
        ticks
    }

    fn decade_ticks(&self) -> Vec<f64> {
        let (first, last) = (self.least.log10().floor() as i32, self.most.log10().ceil() as i32);
        let inside = |factors: &[f64]| -> Vec<f64> {
            (first..=last)
                .flat_map(|decade| factors.iter().map(move |factor| factor * 10f64.powi(decade)))
                .filter(|value| (self.least * 0.999..=self.most * 1.001).contains(value))
                .collect()
        };
        [&[1.0, 2.0, 5.0][..], &[1.0, 3.0], &[1.0]]
            .into_iter()
            .map(inside)
            .find(|ticks| ticks.len() <= LABELS_AT_MOST)
            .unwrap_or_else(|| inside(&[1.0]))
    }
}

/// 1, 2 or 5 times a power of ten, at least `step`.
fn round_step(step: f64) -> f64 {
    let power = 10f64.powf(step.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power >= step * 0.999);
    factor.unwrap_or(10.0) * power
}

/// A bound that leaves a little room above the highest value.
pub(super) fn rounded_up(most: f64) -> f64 {
    if most <= 0.0 {
        return 1.0;
    }
    let step = round_step(most / 5.0);
    (most / step).ceil() * step
}

/// `950`, `1.2k`, `3.4M`, for people.
pub(super) fn short(value: f64) -> String {
    let (value, unit) = match value {
        v if v >= 999_950.0 => (v / 1e6, "M"),
        v if v >= 999.95 => (v / 1e3, "k"),
        v => (v, ""),
    };
    let text = match value {
        v if v >= 100.0 => format!("{v:.0}"),
        v if v >= 10.0 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    };
    let text =
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{unit}")
}

/// `200 µs`, `5 ms`, `1.5 s`: a latency on an axis.
pub(super) fn latency(seconds: f64) -> String {
    let (value, unit) = match seconds {
        s if s < 0.999_5e-6 => (s * 1e9, "ns"),
        s if s < 0.999_5e-3 => (s * 1e6, "µs"),
        s if s < 0.999_5 => (s * 1e3, "ms"),
        s => (s, "s"),
    };
    format!("{} {unit}", short(value))
}

/// `30 s`, `5 min`: a time since the beginning on an axis.
pub(super) fn moment(seconds: f64) -> String {
    if seconds >= 120.0 && (seconds / 60.0).fract() < 1e-9 {
        return format!("{} min", seconds / 60.0);
    }
    format!("{} s", short(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_their_place() {
        let scale = Scale::linear(0.0, 10.0).over(100.0, 0.0);
        assert_eq!([0.0, 5.0, 10.0, 20.0].map(|value| scale.place(value)), [100.0, 50.0, 0.0, 0.0]);
        let scale = Scale::logarithmic(0.001, 1.0).over(0.0, 300.0);
        let places = [0.0001, 0.001, 0.01, 1.0].map(|value| scale.place(value).round());
        assert_eq!(places, [0.0, 0.0, 100.0, 300.0]);
    }

    #[test]
    fn ticks_are_round_and_few() {
        assert_eq!(Scale::linear(0.0, 9.7).ticks(), [0.0, 2.0, 4.0, 6.0, 8.0]);
        let shown = |scale: Scale| scale.ticks().into_iter().map(latency).collect::<Vec<_>>();
        assert_eq!(shown(Scale::logarithmic(0.0008, 0.012)), ["1 ms", "2 ms", "5 ms", "10 ms"]);
        assert_eq!(
            shown(Scale::logarithmic(1e-6, 1.0)),
            ["1 µs", "10 µs", "100 µs", "1 ms", "10 ms", "100 ms", "1 s"]
        );
        for scale in [Scale::linear(0.0, 0.0), Scale::logarithmic(0.0, 0.0)] {
            assert!((1..=LABELS_AT_MOST + 1).contains(&scale.ticks().len()), "{scale:?}");
        }
    }

    #[test]
    fn numbers_are_short() {
        for (value, shown) in [
            (0.0, "0"),
            (0.25, "0.25"),
            (950.0, "950"),
            (999.99, "1k"),
            (1_234.0, "1.23k"),
            (45_600.0, "45.6k"),
            (3_400_000.0, "3.4M"),
        ] {
            assert_eq!(short(value), shown);
        }
        assert_eq!([90.0, 120.0, 150.0].map(moment), ["90 s", "2 min", "150 s"]);
        assert_eq!([0.0, 7.3, 480.0].map(rounded_up), [1.0, 8.0, 500.0]);
    }
}
