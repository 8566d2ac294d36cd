//! Answers of our own to calls of gRPC
//! (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>).

use super::failure::Failure;
use crate::http1::write_simple_response;

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
    fn failures_have_the_names_that_clients_act_upon() {
        for (failure, status) in [
            (Failure::ConnectFailed, "14"),
            (Failure::NoHealthyEndpoint, "14"),
            (Failure::UpstreamGoneAway, "14"),
            (Failure::ResponseTimeout, "4"),
            (Failure::NoRoute, "12"),
            (Failure::AddressDenied, "7"),
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
