//! Responses that the proxy makes itself.

/// Appends a whole response: head with `Content-Length`, and the body unless it answers a HEAD.
///
/// `headers` must be well-formed names and values, without framing or `Connection` fields.
/// `keep_alive` announces what HTTP/1.1 clients assume; close the connection of other clients.
pub fn write_simple_response(
    out: &mut Vec<u8>,
    status: u16,
    reason: &str,
    headers: &[(&str, &str)],
    body: &[u8],
    keep_alive: bool,
    head_request: bool,
) {
    out.extend_from_slice(b"HTTP/1.1 ");
    push_decimal(out, u64::from(status));
    out.push(b' ');
    out.extend_from_slice(reason.as_bytes());
    out.extend_from_slice(b"\r\n");
    for (name, value) in headers {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    // RFC 9110 section 8.6 and 15.4.5: no length in these; that of a 304 would be that of a 200.
    let bodiless = status < 200 || matches!(status, 204 | 304);
    if !bodiless {
        out.extend_from_slice(b"Content-Length: ");
        push_decimal(out, body.len() as u64);
        out.extend_from_slice(b"\r\n");
    }
    if !keep_alive && status >= 200 {
        out.extend_from_slice(b"Connection: close\r\n");
    }
    out.extend_from_slice(b"\r\n");
    if !bodiless && !head_request {
        out.extend_from_slice(body);
    }
}

/// Appends a number in decimal.
pub(crate) fn push_decimal(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_are_written_in_full() {
        for number in [0, 7, 10, 65_535, u64::MAX] {
            assert_eq!(text(|out| push_decimal(out, number)), number.to_string());
        }
    }

    #[test]
    fn lengths_are_stated_even_when_the_body_is_left_out() {
        let plain = [("Content-Type", "text/plain")];
        assert_eq!(
            text(|out| write_simple_response(out, 404, "Not Found", &plain, b"no\n", true, false)),
            "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nno\n",
        );
        assert_eq!(
            text(|out| write_simple_response(out, 404, "Not Found", &[], b"no\n", false, true)),
            "HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\nConnection: close\r\n\r\n",
        );
    }

    #[test]
    fn statuses_without_a_body_get_none() {
        assert_eq!(
            text(|out| write_simple_response(out, 204, "No Content", &[], b"x", true, false)),
            "HTTP/1.1 204 No Content\r\n\r\n",
        );
        assert_eq!(
            text(|out| write_simple_response(out, 100, "Continue", &[], b"", false, false)),
            "HTTP/1.1 100 Continue\r\n\r\n",
        );
    }
}
