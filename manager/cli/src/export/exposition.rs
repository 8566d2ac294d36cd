//! OpenMetrics text with times (OpenMetrics 1.0.0), which `promtool tsdb
//! create-blocks-from openmetrics` takes in.

use std::io::{self, Write};

use bs9_api::types::{SeriesName, SeriesPoint, SeriesPoints};

use super::Writer;

/// Samples of one metric stand together, so they wait until the next one begins.
pub(super) struct OpenMetrics<W> {
    out: W,
    metric: String,
    /// Of the mean, the smallest and the largest value.
    families: [Vec<u8>; 3],
}

const SUFFIXES: [&str; 3] = ["", "_min", "_max"];

impl<W: Write> OpenMetrics<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out, metric: String::new(), families: Default::default() }
    }

    fn flush_metric(&mut self) -> io::Result<()> {
        for (suffix, family) in SUFFIXES.iter().zip(&mut self.families) {
            if !family.is_empty() {
                writeln!(self.out, "# TYPE {}{suffix} gauge", self.metric)?;
                self.out.write_all(family)?;
                family.clear();
            }
        }
        Ok(())
    }
}

impl<W: Write> Writer for OpenMetrics<W> {
    fn series(&mut self, series: &SeriesPoints, _: u32) -> io::Result<()> {
        let SeriesPoints { of, points } = series;
        if of.name != self.metric {
            self.flush_metric()?;
            self.metric.clone_from(&of.name);
        }
        let labels = labels(of);
        let values: [fn(&SeriesPoint) -> f64; 3] =
            [SeriesPoint::mean, |point| point.min, |point| point.max];
        // A point of one value is its own smallest and largest.
        let several = points.iter().any(|point| point.count > 1);
        for ((suffix, value), family) in SUFFIXES.iter().zip(values).zip(&mut self.families) {
            if suffix.is_empty() || several {
                for point in points {
                    let (value, at) = (value(point), point.at.as_second());
                    writeln!(family, "{}{suffix}{labels} {value} {at}", of.name)?;
                }
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.flush_metric()?;
        self.out.write_all(b"# EOF\n")?;
        self.out.flush()
    }
}

fn labels(of: &SeriesName) -> String {
    let escaped = of.subject.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    of.label().map_or_else(String::new, |label| format!("{{{label}=\"{escaped}\"}}"))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn samples_of_a_metric_stand_together() {
        let series = |name: &str, subject: &str, count| SeriesPoints {
            of: SeriesName { name: name.to_owned(), subject: subject.to_owned() },
            points: vec![SeriesPoint {
                at: Timestamp::from_second(60).unwrap(),
                min: 1.0,
                max: 3.0,
                sum: 2.0 * count as f64,
                count,
                p50: None,
                p95: None,
                p99: None,
            }],
        };
        let mut out = Vec::new();
        let mut text = OpenMetrics::new(&mut out);
        text.series(&series("bs9_service_tasks", "a\"b", 2), 60).unwrap();
        text.series(&series("bs9_service_tasks", "c", 1), 60).unwrap();
        text.series(&series("bs9_host_load_1m", "", 1), 60).unwrap();
        text.finish().unwrap();
        let expected = "\
# TYPE bs9_service_tasks gauge
bs9_service_tasks{service=\"a\\\"b\"} 2 60
bs9_service_tasks{service=\"c\"} 2 60
# TYPE bs9_service_tasks_min gauge
bs9_service_tasks_min{service=\"a\\\"b\"} 1 60
# TYPE bs9_service_tasks_max gauge
bs9_service_tasks_max{service=\"a\\\"b\"} 3 60
# TYPE bs9_host_load_1m gauge
bs9_host_load_1m 2 60
# EOF
";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
