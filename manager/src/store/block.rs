//! How points lie on disk: steps of every series while they are new, blocks of
//! one series once a block's time is over.

use std::collections::BTreeMap;

use super::{
    bytes::{Reader, put_signed, put_unsigned, seal, unseal},
    level::Level,
    point::{Point, is_whole},
    sketch::Sketch,
};

/// Points of a block at most; guards reading.
const MAX_POINTS: u64 = 100_000;

// === A step of every series ===

/// Writes the points of one step, in order of their series.
pub(super) fn write_step(points: &[(u32, Point)]) -> Vec<u8> {
    let mut out = Vec::with_capacity(points.len() * 12);
    let mut before = 0;
    for (series, point) in points {
        put_unsigned(&mut out, u64::from(series.wrapping_sub(before)));
        before = *series;
        point.write(&mut out);
    }
    seal(&mut out);
    out
}

/// Hands each point of a step to `take`; `false` when the step is damaged.
pub(super) fn read_step(bytes: &[u8], mut take: impl FnMut(u32, Point)) -> bool {
    let Some(content) = unseal(bytes) else { return false };
    let mut reader = Reader::new(content);
    let mut series = 0_u32;
    while !reader.is_empty() {
        let Some(ahead) = reader.unsigned() else { return false };
        series = series.wrapping_add(ahead as u32);
        let Some(point) = Point::read(&mut reader) else { return false };
        take(series, point);
    }
    true
}

/// The same with what a step of that time holds already: one that comes twice (a clock
/// set back, a second cut in two by a restart) is one step. A damaged one is replaced.
pub(super) fn merge_step(there: Option<&[u8]>, points: &[(u32, Point)]) -> Vec<u8> {
    let Some(there) = there else { return write_step(points) };
    let mut merged = BTreeMap::new();
    if !read_step(there, |series, point| {
        merged.insert(series, point);
    }) {
        merged.clear();
    }
    for (series, point) in points {
        merged
            .entry(*series)
            .and_modify(|known: &mut Point| known.merge(point))
            .or_insert_with(|| point.clone());
    }
    write_step(&merged.into_iter().collect::<Vec<_>>())
}

/// Steps of a level that are put together into blocks.
#[derive(Debug)]
pub(super) struct Gathering {
    level: Level,
    blocks: BTreeMap<(i64, u32), Vec<(i64, Point)>>,
    /// Steps that were damaged, which are left out.
    pub(super) damaged: u64,
}

impl Gathering {
    pub(super) fn new(level: Level) -> Self {
        Self { level, blocks: BTreeMap::new(), damaged: 0 }
    }

    /// Takes in a step; they come in order.
    pub(super) fn take(&mut self, at: i64, bytes: &[u8]) {
        let start = self.level.block_of(at);
        let whole = read_step(bytes, |series, point| {
            self.blocks.entry((start, series)).or_default().push((at, point));
        });
        self.damaged += u64::from(!whole);
    }

    /// When each block begins, whose it is, and its bytes.
    pub(super) fn blocks(&self) -> impl Iterator<Item = (i64, u32, Vec<u8>)> {
        let step = self.level.seconds();
        self.blocks.iter().map(move |((start, series), points)| {
            (*start, *series, write_block(*start, step, points))
        })
    }
}

// === A block of one series ===

/// Every point has one value: only one column of numbers is written.
const SINGLE: u8 = 1;
const SKETCHED: u8 = 2;

/// Writes points of one series that begin `step` seconds apart or more, oldest
/// first.
pub(super) fn write_block(start: i64, step: i64, points: &[(i64, Point)]) -> Vec<u8> {
    let single = points.iter().all(|(_, p)| p.count == 1 && p.min == p.max && p.max == p.sum);
    let sketched = points.iter().any(|(_, point)| point.sketch.is_some());
    let mut out = Vec::with_capacity(points.len() * 4);
    out.push(u8::from(single) * SINGLE + u8::from(sketched) * SKETCHED);
    put_unsigned(&mut out, points.len() as u64);
    let mut expected = start;
    runs(
        &mut out,
        points.iter().map(|(at, _)| {
            let ahead = (at - expected) / step;
            expected = at + step;
            ahead as u64
        }),
    );
    column(&mut out, points.iter().map(|(_, point)| point.sum));
    if !single {
        runs(&mut out, points.iter().map(|(_, point)| point.count));
        column(&mut out, points.iter().map(|(_, point)| point.min));
        column(&mut out, points.iter().map(|(_, point)| point.max));
    }
    if sketched {
        for (_, point) in points {
            match &point.sketch {
                Some(sketch) => sketch.write(&mut out),
                None => Sketch::default().write(&mut out),
            }
        }
    }
    seal(&mut out);
    out
}

/// The points of a block; `None` when it is damaged.
pub(super) fn read_block(start: i64, step: i64, bytes: &[u8]) -> Option<Vec<(i64, Point)>> {
    let mut reader = Reader::new(unseal(bytes)?);
    let kind = reader.byte()?;
    let many = Some(reader.unsigned()?).filter(|many| *many <= MAX_POINTS)? as usize;
    let ahead = read_runs(&mut reader, many)?;
    let sums = read_column(&mut reader, many)?;
    let (counts, mins, maxes) = if kind & SINGLE != 0 {
        (vec![1; many], sums.clone(), sums.clone())
    } else {
        let counts = read_runs(&mut reader, many)?;
        (counts, read_column(&mut reader, many)?, read_column(&mut reader, many)?)
    };
    let mut points = Vec::with_capacity(many);
    let mut at = start;
    for index in 0..many {
        at = at.checked_add(i64::try_from(ahead[index]).ok()?.checked_mul(step)?)?;
        let point = Point {
            min: mins[index],
            max: maxes[index],
            sum: sums[index],
            count: counts[index],
            sketch: None,
        };
        points.push((at, point));
        at = at.checked_add(step)?;
    }
    if kind & SKETCHED != 0 {
        for (_, point) in &mut points {
            point.sketch = Some(Box::new(Sketch::read(&mut reader)?));
        }
    }
    Some(points)
}

/// Numbers that hardly ever change: each with how often it comes.
fn runs(out: &mut Vec<u8>, numbers: impl Iterator<Item = u64>) {
    let mut run: Option<(u64, u64)> = None;
    for number in numbers {
        match &mut run {
            Some((current, times)) if *current == number => *times += 1,
            _ => {
                if let Some((current, times)) = run.replace((number, 1)) {
                    put_unsigned(out, times);
                    put_unsigned(out, current);
                }
            }
        }
    }
    if let Some((current, times)) = run {
        put_unsigned(out, times);
        put_unsigned(out, current);
    }
}

fn read_runs(reader: &mut Reader<'_>, many: usize) -> Option<Vec<u64>> {
    let mut numbers = Vec::with_capacity(many);
    while numbers.len() < many {
        let times = usize::try_from(reader.unsigned()?).ok()?;
        let number = reader.unsigned()?;
        if times == 0 || times > many - numbers.len() {
            return None;
        }
        numbers.resize(numbers.len() + times, number);
    }
    Some(numbers)
}

/// How a column of numbers is written.
const DIFFERENCES: u8 = 0;
const XOR: u8 = 1;

/// As differences when all are whole, else as what changed in their bits.
fn column(out: &mut Vec<u8>, numbers: impl Iterator<Item = f64> + Clone) {
    if numbers.clone().all(is_whole) {
        out.push(DIFFERENCES);
        let mut before = 0_i64;
        for number in numbers {
            put_signed(out, (number as i64).wrapping_sub(before));
            before = number as i64;
        }
        return;
    }
    out.push(XOR);
    let mut before = 0_u64;
    for number in numbers {
        let bits = number.to_bits();
        let changed = bits ^ before;
        before = bits;
        // Which of the eight bytes are written: from the first that is not 0 to the last.
        let bytes = changed.to_be_bytes();
        let first = (changed.leading_zeros() / 8).min(7) as usize;
        let last = 8 - (changed.trailing_zeros() / 8).min(7) as usize;
        let last = last.max(first + 1);
        out.push((first << 4 | (last - first)) as u8);
        out.extend_from_slice(&bytes[first..last]);
    }
}

fn read_column(reader: &mut Reader<'_>, many: usize) -> Option<Vec<f64>> {
    let mut numbers = Vec::with_capacity(many);
    match reader.byte()? {
        DIFFERENCES => {
            let mut number = 0_i64;
            for _ in 0..many {
                number = number.wrapping_add(reader.signed()?);
                numbers.push(number as f64);
            }
        }
        XOR => {
            let mut bits = 0_u64;
            for _ in 0..many {
                let shape = reader.byte()?;
                let (first, length) = (usize::from(shape >> 4), usize::from(shape & 0xf));
                let mut bytes = [0; 8];
                bytes.get_mut(first..first + length)?.copy_from_slice(reader.take(length)?);
                bits ^= u64::from_be_bytes(bytes);
                numbers.push(f64::from_bits(bits));
            }
        }
        _ => return None,
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn number() -> impl Strategy<Value = f64> {
        prop_oneof![
            Just(0.0),
            Just(-0.0),
            (-1_000_000..1_000_000_i64).prop_map(|n| n as f64),
            -1e12..1e12_f64,
        ]
    }

    fn point() -> impl Strategy<Value = Point> {
        let several = (number(), number(), number(), 0..10_000_u64)
            .prop_map(|(min, max, sum, count)| Point { min, max, sum, count, sketch: None });
        prop_oneof![3 => number().prop_map(Point::of), 1 => several]
    }

    proptest! {
        #[test]
        fn blocks_come_back(
            values in prop::collection::vec((point(), 1..4_i64), 0..400),
            latencies: bool,
        ) {
            let mut at = 600 - 10;
            let points: Vec<(i64, Point)> = values
                .into_iter()
                .map(|(mut point, ahead)| {
                    at += 10 * ahead;
                    if latencies {
                        point = Point::of_latency(point.max.abs(), point.count + 1);
                    }
                    (at, point)
                })
                .collect();
            let bytes = write_block(600, 10, &points);
            prop_assert_eq!(read_block(600, 10, &bytes), Some(points));
        }

        #[test]
        fn steps_come_back(values in prop::collection::btree_map(any::<u32>(), point(), 0..100)) {
            let points: Vec<(u32, Point)> = values.into_iter().collect();
            let bytes = write_step(&points);
            let mut read = Vec::new();
            prop_assert!(read_step(&bytes, |series, point| read.push((series, point))));
            prop_assert_eq!(read, points);
        }

        #[test]
        fn garbage_is_damage_and_no_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read_block(0, 1, &bytes);
            // Even when the checksum is right.
            seal(&mut bytes);
            let _ = read_block(0, 1, &bytes);
            let _ = read_step(&bytes, |_, _| {});
        }
    }

    #[test]
    fn a_steady_series_takes_little_room() {
        let points: Vec<_> =
            (0..360).map(|n| (n * 60, Point::of(4096.0 * (n % 3) as f64))).collect();
        assert!(write_block(0, 60, &points).len() < 900);
    }
}
