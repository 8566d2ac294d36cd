//! Curves through measured points, by least squares.

use serde::Serialize;

/// How a cost grows with a size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Shape {
    Constant,
    /// With the logarithm of the size.
    Logarithmic,
    Linear,
}

/// `base + slope × x`, where x is nothing, log₂ of the size, or the size.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Curve {
    pub(crate) shape: Shape,
    pub(crate) base: f64,
    pub(crate) slope: f64,
    /// Root of the mean square of what it is off.
    pub(crate) error: f64,
}

impl Shape {
    fn x(self, size: f64) -> f64 {
        match self {
            Self::Constant => 0.0,
            Self::Logarithmic => size.log2(),
            Self::Linear => size,
        }
    }
}

impl Curve {
    /// A growth below this part of the mean, over all sizes, is none; nor is a decline.
    const NO_GROWTH: f64 = 0.01;

    /// The curve that is least off; constant unless another halves the error and
    /// shows growth worth a name.
    ///
    /// `points` are sizes of at least 1 and costs. `None` for fewer than two.
    pub(crate) fn through(points: &[(f64, f64)]) -> Option<Self> {
        if points.len() < 2 {
            return None;
        }
        let constant = Self::of(Shape::Constant, points);
        let grown = [Shape::Logarithmic, Shape::Linear]
            .map(|shape| Self::of(shape, points))
            .into_iter()
            .min_by(|a, b| a.error.total_cmp(&b.error))?;
        let [least, most] = [f64::min, f64::max]
            .map(|pick| points.iter().map(|(size, _)| *size).reduce(pick).unwrap_or(1.0));
        let growth = grown.at(most) - grown.at(least);
        let real =
            growth > Self::NO_GROWTH * constant.base.abs() && grown.error < constant.error / 2.0;
        Some(if real { grown } else { constant })
    }

    /// What it says for a size.
    pub(crate) fn at(&self, size: f64) -> f64 {
        self.base + self.slope * self.shape.x(size)
    }

    /// A straight line through points whose sizes may be anything: times, say.
    pub(crate) fn straight(points: &[(f64, f64)]) -> Self {
        Self::of(Shape::Linear, points)
    }

    fn of(shape: Shape, points: &[(f64, f64)]) -> Self {
        let count = points.len().max(1) as f64;
        let mean =
            |value: &dyn Fn(&(f64, f64)) -> f64| points.iter().map(value).sum::<f64>() / count;
        let (x, y) = (mean(&|point| shape.x(point.0)), mean(&|point| point.1));
        let spread = mean(&|point| (shape.x(point.0) - x).powi(2));
        let common = mean(&|point| (shape.x(point.0) - x) * (point.1 - y));
        let slope = if spread > 0.0 { common / spread } else { 0.0 };
        let base = y - slope * x;
        let error = mean(&|point| (base + slope * shape.x(point.0) - point.1).powi(2)).sqrt();
        Self { shape, base, slope, error }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SIZES: [f64; 5] = [1.0, 10.0, 100.0, 1_000.0, 10_000.0];

    fn shape(cost: impl Fn(f64) -> f64) -> Shape {
        Curve::through(&SIZES.map(|size| (size, cost(size)))).unwrap().shape
    }

    #[test]
    fn the_shape_is_the_one_that_made_the_points() {
        assert_eq!(shape(|_| 12_000.0), Shape::Constant);
        assert_eq!(shape(|size| 12_000.0 + 50.0 * size.log2()), Shape::Logarithmic);
        assert_eq!(shape(|size| 12_000.0 + 3.0 * size), Shape::Linear);
        assert_eq!(shape(|size| 12_000.0 - size / 10.0), Shape::Constant);
    }

    #[test]
    fn noise_is_no_growth() {
        let noise = [3.0, -7.0, 5.0, 9.0, -4.0];
        let points: Vec<_> =
            SIZES.iter().zip(noise).map(|(size, noise)| (*size, 12_000.0 + noise)).collect();
        assert_eq!(Curve::through(&points).unwrap().shape, Shape::Constant);
        assert_eq!(Curve::through(&points[..1]), None);
    }

    proptest! {
        #[test]
        fn a_line_is_found_again(base in -1e6..1e6f64, slope in -1e3..1e3f64) {
            let points = SIZES.map(|size| (size, base + slope * size));
            let line = Curve::straight(&points);
            let scale = base.abs() + slope.abs() * 1e4 + 1.0;
            prop_assert!((line.at(777.0) - (base + slope * 777.0)).abs() < 1e-6 * scale);
        }
    }
}
