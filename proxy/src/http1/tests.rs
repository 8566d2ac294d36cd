//! The codec held against the letter of the RFCs, against itself on arriving in pieces, and against
//! plain readings.

use super::*;

mod chunks;
mod edits;
mod mutations;
mod requests;
mod responses;
mod round_trips;

/// Small enough for tables to go beyond.
const LIMITS: HeadLimits = HeadLimits { max_head_bytes: 1024, max_headers: 16, max_uri_bytes: 64 };

/// What becomes of a request: `partial`, `none`, `length 5`, `chunked`, or status and reason of the
/// refusal.
fn request_verdict(bytes: &[u8], limits: &HeadLimits) -> String {
    let mut storage = HeaderStorage::new();
    match parse_request(bytes, limits, &mut storage) {
        Ok(Parsed::Partial) => "partial".into(),
        Ok(Parsed::Complete(head)) => match head.framing {
            BodyFraming::None => "none".into(),
            BodyFraming::Length(length) => format!("length {length}"),
            BodyFraming::Chunked => "chunked".into(),
        },
        Err(error) => format!("{} {}", error.status(), error.reason()),
    }
}

/// What becomes of a response: `partial`, its framing, or the reason of the refusal.
fn response_verdict(bytes: &[u8], request: ResponseTo, limits: &HeadLimits) -> String {
    let mut storage = HeaderStorage::new();
    match parse_response(bytes, limits, request, &mut storage) {
        Ok(Parsed::Partial) => "partial".into(),
        Ok(Parsed::Complete(head)) => match head.framing {
            ResponseFraming::None => "none".into(),
            ResponseFraming::Length(length) => format!("length {length}"),
            ResponseFraming::Chunked => "chunked".into(),
            ResponseFraming::UntilClose => "until close".into(),
            ResponseFraming::Tunnel => "tunnel".into(),
        },
        Err(error) => error.reason().into(),
    }
}

/// Gives every beginning of `bytes` to `verdict`: it must say `partial` until it gives its final
/// verdict, and keep it.
#[track_caller]
fn assert_settles(bytes: &[u8], verdict: impl Fn(&[u8]) -> String) {
    let last = verdict(bytes);
    let mut settled = false;
    for len in 0..bytes.len() {
        let now = verdict(&bytes[..len]);
        if now != "partial" {
            settled = true;
        }
        assert!(
            now == if settled { last.as_str() } else { "partial" },
            "{now} after {len} bytes, {last} in the end: {}",
            bytes.escape_ascii()
        );
    }
}
