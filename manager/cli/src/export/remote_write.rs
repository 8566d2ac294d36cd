//! Prometheus' remote write protocol 1.0: one `prometheus.WriteRequest` in Protocol
//! Buffers, in Snappy's block format (of literals only, which is valid and needs
//! no compressor).

use std::io::{self, Write};

use bs9_api::types::SeriesPoints;

use super::Writer;

/// Bytes of a request before it is compressed; receivers refuse larger ones.
const MAX_REQUEST_BYTES: usize = 32 << 20;
/// Bytes of one literal of Snappy.
const LITERAL_BYTES: usize = 1 << 16;

/// Types of fields on the wire of Protocol Buffers.
const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const BYTES: u64 = 2;

/// Gathers a request.
pub(super) struct RemoteWrite<W> {
    out: W,
    request: Vec<u8>,
}

impl<W: Write> RemoteWrite<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out, request: Vec::new() }
    }
}

impl<W: Write> Writer for RemoteWrite<W> {
    fn series(&mut self, series: &SeriesPoints, _: u32) -> io::Result<()> {
        let mut message = Vec::new();
        // Labels in order of their names; `__name__` comes before letters.
        put_bytes(&mut message, 1, &label("__name__", &series.of.name));
        if let Some(name) = series.of.label() {
            put_bytes(&mut message, 1, &label(name, &series.of.subject));
        }
        for point in &series.points {
            let mut sample = Vec::new();
            put_key(&mut sample, 1, FIXED64);
            sample.extend_from_slice(&point.mean().to_le_bytes());
            put_key(&mut sample, 2, VARINT);
            put_varint(&mut sample, point.at.as_millisecond() as u64);
            put_bytes(&mut message, 2, &sample);
        }
        put_bytes(&mut self.request, 1, &message);
        if self.request.len() > MAX_REQUEST_BYTES {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                "a remote write request has at most 32 MiB; export less at once",
            ));
        }
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.out.write_all(&snappy(&self.request))?;
        self.out.flush()
    }
}

fn label(name: &str, value: &str) -> Vec<u8> {
    let mut label = Vec::new();
    put_bytes(&mut label, 1, name.as_bytes());
    put_bytes(&mut label, 2, value.as_bytes());
    label
}

fn put_key(out: &mut Vec<u8>, field: u64, kind: u64) {
    put_varint(out, field << 3 | kind);
}

fn put_bytes(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    put_key(out, field, BYTES);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The block format: the length, then literals with their lengths less one.
fn snappy(bytes: &[u8]) -> Vec<u8> {
    /// A literal whose length less one follows in two bytes.
    const TWO_BYTES: u8 = 61 << 2;

    let mut out = Vec::with_capacity(bytes.len() + bytes.len() / 1_000 + 16);
    put_varint(&mut out, bytes.len() as u64);
    for literal in bytes.chunks(LITERAL_BYTES) {
        out.push(TWO_BYTES);
        out.extend_from_slice(&((literal.len() - 1) as u16).to_le_bytes());
        out.extend_from_slice(literal);
    }
    out
}

#[cfg(test)]
mod tests {
    use bs9_api::types::{SeriesName, SeriesPoint};
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn a_request_byte_by_byte() {
        let point = SeriesPoint {
            at: Timestamp::from_millisecond(300).unwrap(),
            min: 1.0,
            max: 1.0,
            sum: 1.0,
            count: 1,
            p50: None,
            p95: None,
            p99: None,
        };
        let of = SeriesName { name: "bs9_service_tasks".into(), subject: "w".into() };
        let mut out = Vec::new();
        let mut writer = RemoteWrite::new(&mut out);
        writer.series(&SeriesPoints { of, points: vec![point] }, 1).unwrap();
        writer.finish().unwrap();
        let name = b"\x0a\x1d\x0a\x08__name__\x12\x11bs9_service_tasks".as_slice();
        let service = b"\x0a\x0c\x0a\x07service\x12\x01w".as_slice();
        let sample = b"\x12\x0c\x09\0\0\0\0\0\0\xf0\x3f\x10\xac\x02".as_slice();
        let series = [name, service, sample].concat();
        let request = [&[0x0a, series.len() as u8], series.as_slice()].concat();
        let length = request.len() as u8;
        let block = [&[length, 61 << 2, length - 1, 0], request.as_slice()].concat();
        assert_eq!(out, block);
    }

    #[test]
    fn long_requests_are_several_literals() {
        let bytes = vec![7; LITERAL_BYTES + 5];
        let block = snappy(&bytes);
        assert_eq!(block[..6], [0x85, 0x80, 0x04, 61 << 2, 0xff, 0xff]);
        assert_eq!(block[6 + LITERAL_BYTES..][..3], [61 << 2, 4, 0]);
    }
}
