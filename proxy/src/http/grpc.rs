//! Calls of gRPC: how long they may take, and answers of our own to them
//! (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>).

use std::time::Duration;

use bs9_net::{CoarseInstant, now};

use super::failure::Failure;
use crate::http1::write_simple_response;

/// Digits of a `grpc-timeout`, at most.
const MAX_TIMEOUT_DIGITS: usize = 8;

/// A call that has just come.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call {
    /// When the caller gives up; [`CoarseInstant::NEVER`]: it does not say.
    pub(super) until: CoarseInstant,
}

impl Call {
    /// Of a caller who waits for so long, which ends now.
    pub(crate) fn new(timeout: Option<Duration>) -> Self {
        Self { until: timeout.map_or(CoarseInstant::NEVER, |timeout| now().plus(timeout)) }
    }
}

/// A `grpc-timeout`: up to eight digits and a unit. `None`: it is something else, of which the
/// endpoint may make what it likes. Zero, which there should not be, is what callers write whose
/// time has run out.
pub(crate) fn parse_timeout(text: &[u8]) -> Option<Duration> {
    let (unit, digits) = text.split_last()?;
    if digits.is_empty() || digits.len() > MAX_TIMEOUT_DIGITS {
        return None;
    }
    let unit = match unit {
        b'H' => Duration::from_secs(60 * 60),
        b'M' => Duration::from_secs(60),
        b'S' => Duration::from_secs(1),
        b'm' => Duration::from_millis(1),
        b'u' => Duration::from_micros(1),
        b'n' => Duration::from_nanos(1),
        _ => return None,
    };
    let count = digits.iter().try_fold(0, |count: u32, byte| {
        byte.is_ascii_digit().then(|| count * 10 + u32::from(byte - b'0'))
    });
    Some(unit * count?)
}

/// Whether this is the content type of a call.
pub(crate) fn is_call(content_type: &[u8]) -> bool {
    let rest = content_type.strip_prefix(b"application/grpc");
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

/// What a failure is called in gRPC. Clients know what to do after `UNAVAILABLE`; they would
/// make it of 502 and 503 themselves, but not `DEADLINE_EXCEEDED` of 504.
fn status_of(failure: Failure) -> &'static str {
    match failure.status() {
        499 => "1",             // CANCELLED
        408 | 504 => "4",       // DEADLINE_EXCEEDED
        403 => "7",             // PERMISSION_DENIED
        413 | 414 | 431 => "8", // RESOURCE_EXHAUSTED
        404 | 405 => "12",      // UNIMPLEMENTED
        502 | 503 => "14",      // UNAVAILABLE
        _ => "13",              // INTERNAL
    }
}

/// Appends the answer to a call that failed: a head which is its trailers as well.
pub(super) fn write_failure(
    out: &mut Vec<u8>,
    failure: Failure,
    keep_alive: bool,
    reason_header: bool,
) {
    let message = message(&failure.to_string());
    let mut fields = vec![
        ("Content-Type", "application/grpc"),
        ("Grpc-Status", status_of(failure)),
        ("Grpc-Message", &*message),
    ];
    if reason_header {
        fields.push(("X-Bs9-Reason", failure.reason()));
    }
    write_simple_response(out, 200, "OK", &fields, b"", keep_alive, false);
}

/// Text in percent-encoding, as `grpc-message` has it.
fn message(text: &str) -> String {
    let mut message = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => message.push(byte.into()),
            _ => message.push_str(&format!("%{byte:02X}")),
        }
    }
    message
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn types_of_calls_are_told_from_others() {
        for (text, expected) in [
            ("application/grpc", true),
            ("application/grpc+json", true),
            ("application/grpc;charset=x", true),
            ("application/grpc-web", false),
            ("application/json", false),
        ] {
            assert_eq!(is_call(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn timeouts_are_a_few_digits_and_a_unit() {
        let seconds = Duration::from_secs;
        for (text, expected) in [
            ("1H", Some(seconds(3_600))),
            ("2M", Some(seconds(120))),
            ("10S", Some(seconds(10))),
            ("250m", Some(Duration::from_millis(250))),
            ("7u", Some(Duration::from_micros(7))),
            ("1n", Some(Duration::from_nanos(1))),
            ("0n", Some(Duration::ZERO)),
            ("00000005S", Some(seconds(5))),
            ("99999999H", Some(seconds(99_999_999 * 3_600))),
            ("100000000n", None),
            ("", None),
            ("S", None),
            ("5", None),
            ("5s", None),
            ("5 S", None),
            (" 5S", None),
            ("+5S", None),
            ("-5S", None),
            ("1.5S", None),
            ("5SS", None),
            ("\u{661}S", None),
        ] {
            assert_eq!(parse_timeout(text.as_bytes()), expected, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_timeout_or_none(text in "[0-9]{0,10}[+0-9 ]?.?") {
            let is_one = text.split_at_checked(text.len().saturating_sub(1)).is_some_and(
                |(digits, unit)| {
                    (1..=8).contains(&digits.len())
                        && digits.chars().all(|digit| digit.is_ascii_digit())
                        && ["H", "M", "S", "m", "u", "n"].contains(&unit)
                },
            );
            prop_assert_eq!(parse_timeout(text.as_bytes()).is_some(), is_one);
        }

        #[test]
        fn what_is_written_is_read(count in 0_u32..100_000_000, unit in 0_usize..6) {
            let (unit, nanoseconds) = [
                ("H", 3_600_000_000_000_u128), ("M", 60_000_000_000), ("S", 1_000_000_000),
                ("m", 1_000_000), ("u", 1_000), ("n", 1),
            ][unit];
            let read = parse_timeout(format!("{count}{unit}").as_bytes()).unwrap();
            prop_assert_eq!(read.as_nanos(), u128::from(count) * nanoseconds);
        }
    }

    #[test]
    fn a_call_may_say_by_when_it_gives_up() {
        let until = |timeout: &str| Call::new(parse_timeout(timeout.as_bytes())).until;
        assert!(until("1S") > now() && until("1S") < now().plus(Duration::from_secs(9)));
        assert_eq!(until("99999999H"), CoarseInstant::NEVER);
        assert_eq!(until("soon"), CoarseInstant::NEVER);
    }

    #[test]
    fn failures_have_the_names_that_clients_act_upon() {
        for (failure, status) in [
            (Failure::ConnectFailed, "14"),
            (Failure::NoHealthyEndpoint, "14"),
            (Failure::UpstreamGoneAway, "14"),
            (Failure::ResponseTimeout, "4"),
            (Failure::NoRoute, "12"),
            (Failure::AddressDenied, "7"),
            (Failure::RouteDenied, "7"),
            (Failure::BodyTooLarge, "8"),
        ] {
            assert_eq!(status_of(failure), status, "{failure}");
        }
        let mut out = Vec::new();
        write_failure(&mut out, Failure::NoRoute, true, true);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nGrpc-Status: 12\r\n\
             Grpc-Message: no route matches\r\nX-Bs9-Reason: no_route\r\nContent-Length: 0\r\n\r\n"
        );
    }

    #[test]
    fn messages_are_ascii() {
        assert_eq!(message("100 % \u{e4}\n"), "100 %25 %C3%A4%0A");
    }
}
