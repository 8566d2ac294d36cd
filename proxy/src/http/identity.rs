//! Ids of requests, and W3C trace context: passed on or made.

use std::{
    cell::Cell,
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

use bs9_config::{HttpListener, TraceContext};

use crate::http1::{raw_fields, raw_lines};

/// Bytes of an id that a client sent, at most.
const MAX_ID_BYTES: usize = 128;

/// What a listener does about it.
#[derive(Debug, Clone)]
pub(crate) struct Identities {
    request_id: Option<RequestId>,
    trace: Option<TraceContext>,
}

#[derive(Debug, Clone)]
struct RequestId {
    header: Arc<str>,
    keep: bool,
}

/// What was made for a request.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Made {
    pub(crate) request_id: Option<u128>,
    pub(crate) trace_id: Option<u128>,
}

impl Identities {
    /// `None`: what clients send passes.
    pub(crate) fn new(http: &HttpListener) -> Option<Self> {
        let request_id = http
            .request_id
            .as_ref()
            .map(|wanted| RequestId { header: Arc::clone(&wanted.header), keep: wanted.keep });
        let trace = http.trace_context;
        (request_id.is_some() || trace.is_some()).then_some(Self { request_id, trace })
    }

    /// Makes what is missing in `sent`, the client's head, and puts it into `out`, the whole head
    /// for the endpoint.
    pub(crate) fn stamp(&self, sent: &[u8], ids: &Ids, out: &mut Vec<u8>) -> Made {
        let mut made = Made::default();
        if let Some(RequestId { header, keep }) = &self.request_id {
            let kept = *keep && only(sent, header.as_bytes()).is_some_and(is_id);
            if !kept {
                let id = ids.next();
                made.request_id = Some(id);
                replace(out, &[header], format_args!("{header}: {id:032x}\r\n"));
            }
        }
        if let Some(trace) = &self.trace {
            let sent = only(sent, b"traceparent").and_then(parse_traceparent);
            if !(trace.keep && sent.is_some()) {
                let (id, span) = (ids.next(), ids.next() as u64 | 1);
                made.trace_id = Some(id);
                let flags = u8::from(ids.happens(trace.sample));
                replace(
                    out,
                    &["traceparent", "tracestate"],
                    format_args!("traceparent: 00-{id:032x}-{span:016x}-{flags:02x}\r\n"),
                );
            }
        }
        made
    }
}

/// The value of the only field of this name.
fn only<'h>(head: &'h [u8], name: &[u8]) -> Option<&'h [u8]> {
    let mut values = raw_fields(head)
        .filter(|(found, _)| found.eq_ignore_ascii_case(name))
        .map(|(_, value)| value);
    values.next().filter(|_| values.next().is_none())
}

fn is_id(value: &[u8]) -> bool {
    (1..=MAX_ID_BYTES).contains(&value.len()) && value.iter().all(u8::is_ascii_graphic)
}

/// The trace id of a `traceparent` (W3C Trace Context section 3.2); `None`: it is not to be
/// continued.
pub(crate) fn parse_traceparent(value: &[u8]) -> Option<&[u8]> {
    let (fixed, rest) = value.split_at_checked(55)?;
    let dashes = [2, 35, 52].iter().all(|at| fixed[*at] == b'-');
    let (version, trace, span, flags) = (&fixed[..2], &fixed[3..35], &fixed[36..52], &fixed[53..]);
    let hex = |digits: &[u8]| digits.iter().all(|d| matches!(d, b'0'..=b'9' | b'a'..=b'f'));
    let nothing = |digits: &[u8]| digits.iter().all(|digit| *digit == b'0');
    let well_formed = dashes
        && [version, trace, span, flags].into_iter().all(hex)
        && version != b"ff"
        && !nothing(trace)
        && !nothing(span)
        // Later versions may have more to say.
        && (rest.is_empty() || (version != b"00" && rest[0] == b'-'));
    well_formed.then_some(trace)
}

/// Takes the lines of these fields out of a whole head, and puts one in at its end.
fn replace(head: &mut Vec<u8>, names: &[&str], line: std::fmt::Arguments<'_>) {
    use std::io::Write as _;

    loop {
        let base = head.as_ptr().addr();
        let found = raw_lines(head).find(|line| {
            let colon = memchr::memchr(b':', line).unwrap_or(0);
            names.iter().any(|name| line[..colon].eq_ignore_ascii_case(name.as_bytes()))
        });
        let Some(found) = found else { break };
        let start = found.as_ptr().addr() - base;
        head.drain(start..start + found.len());
    }
    debug_assert!(head.ends_with(b"\r\n\r\n"), "a whole head of ours");
    head.truncate(head.len().saturating_sub(2));
    // Writing to a vector does not fail.
    let _infallible = head.write_fmt(line);
    head.extend_from_slice(b"\r\n");
}

/// A shard's source of ids: unpredictable at its start, and never the same twice in a process.
#[derive(Debug)]
pub(crate) struct Ids {
    key: u64,
    count: Cell<u64>,
}

impl Ids {
    pub(crate) fn new() -> Self {
        // The standard library's only source of randomness from the system.
        let random = || RandomState::new().hash_one(0_u8);
        Self { key: random(), count: Cell::new(random()) }
    }

    /// An id; not 0.
    pub(crate) fn next(&self) -> u128 {
        let count = self.count.get().wrapping_add(1);
        self.count.set(count);
        let (high, low) =
            (mix(count ^ self.key), mix(count.wrapping_add(self.key.rotate_left(32))));
        (u128::from(high) << 64 | u128::from(low)).max(1)
    }

    /// Whether something of this probability, 0 to 1, happens now.
    pub(crate) fn happens(&self, probability: f64) -> bool {
        probability >= 1.0 || (self.next() as u32) < (probability * 2_f64.powi(32)) as u32
    }
}

/// SplitMix64's finalizer (Steele, Lea, Flood 2014): a bijection, so that counting never repeats.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &[u8] = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn identities(keep: bool) -> Identities {
        Identities {
            request_id: Some(RequestId { header: "X-Request-Id".into(), keep }),
            trace: Some(TraceContext { keep, sample: 0.0 }),
        }
    }

    fn stamped(keep: bool, fields: &str) -> (Made, String) {
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}X: y\r\n\r\n");
        let mut out = head.clone().into_bytes();
        let made = identities(keep).stamp(head.as_bytes(), &Ids::new(), &mut out);
        (made, String::from_utf8(out).unwrap())
    }

    #[test]
    fn what_is_missing_is_made() {
        let (made, out) = stamped(true, "");
        let (request, trace) = (made.request_id.unwrap(), made.trace_id.unwrap());
        assert!(out.starts_with("GET / HTTP/1.1\r\nHost: a\r\nX: y\r\nX-Request-Id: "), "{out}");
        assert!(out.contains(&format!("X-Request-Id: {request:032x}\r\n")), "{out}");
        assert!(out.contains(&format!("traceparent: 00-{trace:032x}-")), "{out}");
        assert!(out.ends_with("-00\r\n\r\n"), "{out}");
        let parent = out.split("traceparent: ").nth(1).unwrap().trim();
        assert_eq!(
            parse_traceparent(parent.as_bytes()).unwrap(),
            format!("{trace:032x}").as_bytes()
        );
    }

    #[test]
    fn what_a_client_sent_is_kept_when_it_may_be() {
        let parent = std::str::from_utf8(PARENT).unwrap();
        // Not hexadecimal: an id that is made may hold any digits.
        let sent = format!("x-request-id: theirs\r\nTraceParent: {parent}\r\ntracestate: a=b\r\n");
        let (made, out) = stamped(true, &sent);
        assert!(made.request_id.is_none() && made.trace_id.is_none());
        assert!(out.contains(&sent), "{out}");
        let (made, out) = stamped(false, &sent);
        assert!(made.request_id.is_some() && made.trace_id.is_some());
        assert!(
            !out.contains("theirs") && !out.contains("tracestate") && !out.contains(parent),
            "{out}"
        );
    }

    #[test]
    fn what_cannot_be_an_id_is_replaced() {
        for sent in [
            "x-request-id: a\r\nx-request-id: b\r\n",
            "x-request-id: a b\r\n",
            "x-request-id:\r\n",
            "traceparent: 00-00\r\ntracestate: a\r\n",
        ] {
            let (made, out) = stamped(true, sent);
            assert!(made.request_id.is_some() && made.trace_id.is_some());
            assert_eq!(out.to_ascii_lowercase().matches("x-request-id").count(), 1, "{out}");
            assert_eq!(out.matches("traceparent").count(), 1, "{out}");
            assert!(!out.contains("tracestate"), "{out}");
        }
    }

    #[test]
    fn traceparents() {
        assert_eq!(parse_traceparent(PARENT), Some(&PARENT[3..35]));
        let with = |at: usize, byte: u8| {
            let mut bytes = PARENT.to_vec();
            bytes[at] = byte;
            bytes
        };
        for wrong in [
            with(2, b'_'),
            with(5, b'A'),
            with(5, b'g'),
            PARENT[..54].to_vec(),
            [PARENT, b"-x"].concat(),
            b"ff".iter().chain(&PARENT[2..]).copied().collect(),
            b"00-00000000000000000000000000000000-b7ad6b7169203331-01".to_vec(),
            b"00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01".to_vec(),
        ] {
            assert_eq!(parse_traceparent(&wrong), None, "{}", String::from_utf8_lossy(&wrong));
        }
        let later: Vec<u8> = b"01".iter().chain(&PARENT[2..]).chain(b"-more").copied().collect();
        assert!(parse_traceparent(&later).is_some());
    }

    #[test]
    fn ids_differ_between_shards_and_requests() {
        let sources = [Ids::new(), Ids::new()];
        let mut seen = std::collections::HashSet::new();
        for _ in 0..1_000 {
            assert!(sources.iter().all(|ids| seen.insert(ids.next())));
        }
        assert!(sources[0].happens(1.0) && !sources[0].happens(0.0));
    }
}
