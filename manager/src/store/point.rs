//! What a series did within one step of a resolution.

use super::{
    bytes::{Reader, put_signed, put_unsigned},
    sketch::Sketch,
};

/// Smallest, largest, sum and count of the values of a step.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Point {
    pub(crate) min: f64,
    pub(crate) max: f64,
    pub(crate) sum: f64,
    pub(crate) count: u64,
    /// Of latencies only.
    pub(crate) sketch: Option<Box<Sketch>>,
}

/// One value, in eight bytes or fewer.
const SINGLE: u8 = 1;
/// With a sketch.
const SKETCHED: u8 = 2;
/// Every number is a whole one.
const WHOLE: u8 = 4;

/// Whole numbers up to here are exact.
const EXACT: f64 = 9_007_199_254_740_992.0;

impl Point {
    /// One value.
    pub(crate) fn of(value: f64) -> Self {
        Self { min: value, max: value, sum: value, count: 1, sketch: None }
    }

    /// A latency that so many requests had on average.
    pub(crate) fn of_latency(seconds: f64, times: u64) -> Self {
        let mut sketch = Sketch::default();
        sketch.add(seconds, times);
        Self {
            min: seconds,
            max: seconds,
            sum: seconds * times as f64,
            count: times,
            sketch: Some(Box::new(sketch)),
        }
    }

    /// Takes in what another step of the same series did.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        self.sum += other.sum;
        self.count = self.count.saturating_add(other.count);
        match (&mut self.sketch, &other.sketch) {
            (Some(own), Some(others)) => own.merge(others),
            (None, Some(others)) => self.sketch = Some(others.clone()),
            (_, None) => {}
        }
    }

    fn is_single(&self) -> bool {
        self.count == 1 && self.min == self.max && self.max == self.sum
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let whole = [self.min, self.max, self.sum].into_iter().all(is_whole);
        let mut kind = 0;
        if self.is_single() {
            kind |= SINGLE;
        }
        if whole {
            kind |= WHOLE;
        }
        if self.sketch.is_some() {
            kind |= SKETCHED;
        }
        out.push(kind);
        put_number(out, self.sum, whole);
        if !self.is_single() {
            put_number(out, self.min, whole);
            put_number(out, self.max, whole);
            put_unsigned(out, self.count);
        }
        if let Some(sketch) = &self.sketch {
            sketch.write(out);
        }
    }

    /// `None` when it is not a point.
    pub(super) fn read(from: &mut Reader<'_>) -> Option<Self> {
        let kind = from.byte()?;
        let whole = kind & WHOLE != 0;
        let sum = number(from, whole)?;
        let (min, max, count) = if kind & SINGLE != 0 {
            (sum, sum, 1)
        } else {
            (number(from, whole)?, number(from, whole)?, from.unsigned()?)
        };
        let sketch = match kind & SKETCHED {
            0 => None,
            _ => Some(Box::new(Sketch::read(from)?)),
        };
        Some(Self { min, max, sum, count, sketch })
    }
}

/// Whether `value` survives as an integer.
pub(super) fn is_whole(value: f64) -> bool {
    value.fract() == 0.0 && value.abs() <= EXACT && !(value == 0.0 && value.is_sign_negative())
}

fn put_number(out: &mut Vec<u8>, value: f64, whole: bool) {
    if whole {
        put_signed(out, value as i64);
    } else {
        out.extend_from_slice(&value.to_le_bytes());
    }
}

fn number(from: &mut Reader<'_>, whole: bool) -> Option<f64> {
    if whole {
        return Some(from.signed()? as f64);
    }
    Some(f64::from_le_bytes(from.take(8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn finite() -> impl Strategy<Value = f64> {
        prop_oneof![(-1_000_000..1_000_000_i64).prop_map(|n| n as f64), -1e12..1e12_f64]
    }

    proptest! {
        #[test]
        fn points_come_back(values in prop::collection::vec(finite(), 1..20), latency: bool) {
            let mut point: Option<Point> = None;
            for value in values {
                let next = if latency { Point::of_latency(value.abs(), 3) } else { Point::of(value) };
                match &mut point {
                    Some(point) => point.merge(&next),
                    None => point = Some(next),
                }
            }
            let point = point.unwrap();
            let mut out = Vec::new();
            point.write(&mut out);
            let mut reader = Reader::new(&out);
            prop_assert_eq!(Point::read(&mut reader), Some(point));
            prop_assert!(reader.is_empty());
        }
    }

    #[test]
    fn a_whole_number_is_short() {
        let mut out = Vec::new();
        Point::of(12.0).write(&mut out);
        assert_eq!(out.len(), 2);
    }
}
