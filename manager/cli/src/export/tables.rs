//! JSON and CSV.

use std::io::{self, Write};

use bs9_api::types::SeriesPoints;
use serde::Serialize;

use super::Writer;

/// An array of series, written one by one.
pub(super) struct Json<W> {
    out: W,
    begun: bool,
}

impl<W: Write> Json<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out, begun: false }
    }
}

#[derive(Serialize)]
struct JsonSeries<'a> {
    schema: u32,
    resolution_seconds: u32,
    #[serde(flatten)]
    series: &'a SeriesPoints,
}

impl<W: Write> Writer for Json<W> {
    fn series(&mut self, series: &SeriesPoints, resolution_seconds: u32) -> io::Result<()> {
        self.out.write_all(if self.begun { b",\n" } else { b"[\n" })?;
        self.begun = true;
        let schema = bs9_api::types::SCHEMA;
        let series = JsonSeries { schema, resolution_seconds, series };
        serde_json::to_writer(&mut self.out, &series)?;
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.out.write_all(if self.begun { b"\n]\n" } else { b"[]\n" })?;
        self.out.flush()
    }
}

/// One line a point (RFC 4180).
pub(super) struct Csv<W> {
    out: W,
    begun: bool,
}

impl<W: Write> Csv<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out, begun: false }
    }
}

const HEADER: &str =
    "timestamp,service_name,metric,resolution_seconds,min,mean,max,sum,count,p50,p95,p99\n";

impl<W: Write> Writer for Csv<W> {
    fn series(&mut self, series: &SeriesPoints, resolution_seconds: u32) -> io::Result<()> {
        if !self.begun {
            self.out.write_all(HEADER.as_bytes())?;
            self.begun = true;
        }
        let (subject, name) = (quoted(&series.of.subject), quoted(&series.of.name));
        let optional = |value: Option<f64>| value.map_or_else(String::new, |v| v.to_string());
        for point in &series.points {
            writeln!(
                self.out,
                "{},{subject},{name},{resolution_seconds},{},{},{},{},{},{},{},{}",
                point.at,
                point.min,
                point.mean(),
                point.max,
                point.sum,
                point.count,
                optional(point.p50),
                optional(point.p95),
                optional(point.p99),
            )?;
        }
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        if !self.begun {
            self.out.write_all(HEADER.as_bytes())?;
        }
        self.out.flush()
    }
}

fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use bs9_api::types::{SeriesName, SeriesPoint};
    use jiff::Timestamp;

    use super::*;

    fn series(subject: &str) -> SeriesPoints {
        let point = SeriesPoint {
            at: Timestamp::UNIX_EPOCH,
            min: 1.0,
            max: 3.0,
            sum: 4.0,
            count: 2,
            p50: Some(1.5),
            p95: None,
            p99: None,
        };
        let of = SeriesName { name: "m".to_owned(), subject: subject.to_owned() };
        SeriesPoints { of, points: vec![point] }
    }

    #[test]
    fn csv_has_a_line_a_point() {
        let mut out = Vec::new();
        let mut csv = Csv::new(&mut out);
        csv.series(&series("a,\"b\""), 60).unwrap();
        csv.finish().unwrap();
        let expected = "1970-01-01T00:00:00Z,\"a,\"\"b\"\"\",m,60,1,2,3,4,2,1.5,,\n";
        assert_eq!(String::from_utf8(out).unwrap(), format!("{HEADER}{expected}"));
    }

    #[test]
    fn json_is_an_array_whatever_there_is() {
        for many in 0..3 {
            let mut out = Vec::new();
            let mut json = Json::new(&mut out);
            for _ in 0..many {
                json.series(&series("a"), 1).unwrap();
            }
            json.finish().unwrap();
            let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
            assert_eq!(value.as_array().unwrap().len(), many);
        }
    }
}
